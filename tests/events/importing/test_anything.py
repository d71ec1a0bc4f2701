"""Whatever bytes a file has, it is imported, refused row by row, or told about: never a traceback."""

import gzip
import io
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from feature_repo.core.clock import FixedClock, to_us
from feature_repo.core.errors import PortraitError
from feature_repo.core.settings import Settings
from feature_repo.events.importing.draft import draft_mapping
from feature_repo.events.importing.job import import_events
from feature_repo.events.importing.mapping_file import read_mapping
from importing_homes import NOW

pieces = st.sampled_from(
    [
        b"user",
        b"ts",
        b"amount",
        b",",
        b";",
        b"\t",
        b"\n",
        b"\r\n",
        b"\r",
        b'"',
        b"7",
        b"2024-05-01",
        b"1,5",
        b"\x00",
        b"\xff",
        b'{"user": 7, "ts": 1714557600}',
        b"{",
        b"[",
        b"}",
        b"PAR1",
        b"\x1f\x8b",
        b"\xef\xbb\xbf",
        "茶".encode(),
        b" ",
        b"null",
    ]
)


def plain(content: bytes) -> bytes:
    return content


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as found:
        found.writestr("any", content)
    return packed.getvalue()


def bytes_of_utf_16(content: bytes) -> bytes:
    return content.decode("latin-1").encode("utf-16")


contents = st.one_of(st.lists(pieces, max_size=30).map(b"".join), st.binary(max_size=60))


@settings(max_examples=150)
@given(content=contents, pack=st.sampled_from([plain, gzip.compress, zipped, bytes_of_utf_16]))
@example(content=b'user,ts\n"', pack=plain)
@example(content=b"\n\n", pack=gzip.compress)
@example(content=b"PAR1PAR1", pack=plain)
@example(content=b"PAR1PAR1", pack=zipped)
@example(content=b'{"user": {"user": {"user": 1}}}', pack=plain)
@example(content=b",\n,\n", pack=plain)
@example(content=b"", pack=zipped)
@example(content=b"", pack=bytes_of_utf_16)
def test_any_file_makes_a_draft_and_an_import_or_an_error_that_says_what_to_do(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, pack: Callable[[bytes], bytes]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    path = folder / "any"
    path.write_bytes(pack(content))
    try:
        mapping = read_mapping(draft_mapping(str(path)).mapping, "draft")
        home = Settings(home=folder / "home", threads=1, memory="1GB")
        report = import_events(home, FixedClock(to_us(NOW)), [str(path)], mapping, dry_run=True)
    except PortraitError as error:
        told = error.what
    else:
        told = f"{report.read} rows" if report.read >= sum(report.quarantined.values()) + report.ignored else ""
    assert told
