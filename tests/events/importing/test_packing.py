"""What files come packed in: UTF-16 is its text, an archive the one file in it; a sheet is told to be exported."""

import io
import random
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.core.errors import DataError, PortraitError
from feature_repo.core.settings import Settings
from feature_repo.events.importing import utf16
from feature_repo.events.importing.files import open_file
from feature_repo.events.importing.utf16 import as_utf8
from importing_homes import files_with, import_text, rows_of

SEARCHES = """
source: {format: csv}
time: {zone: UTC}
event_type: search
columns: {user_id: who, event_timestamp: at, query: words}
duplicates: keep
"""
HEADER = "who,at,words\n"
LINE = "secret-ada,2024-05-01 10:00,tea\n"


def archive(*names: str, text: str = HEADER + LINE, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as found:
        for name in names:
            found.writestr(name, text)
    return packed.getvalue()


def with_flag(content: bytes, flag: int) -> bytes:
    """An archive whose first member is marked, in its own head and in the directory behind."""
    changed = bytearray(content)
    changed[6] |= flag
    changed[content.index(b"PK\x01\x02") + 8] |= flag
    return bytes(changed)


WRONG = {
    "two files": (archive("a.csv", "b.csv"), "has 2 files in it; one is read", "unpack it"),
    "directories only": (archive("a/", "a/b/"), "has 0 files in it", "unpack it"),
    "nothing": (archive(), "a ZIP archive without a file in it", "some rows"),
    "a password": (with_flag(archive("a.csv"), 1), "has a password", "unpack it"),
    "a rare compression": (archive("a.csv", method=zipfile.ZIP_LZMA), "in a way that is not read", "gzip"),
    "an archive in it": (archive("a.zip", text="PK\x03\x04"), "is packed twice", "unpack it once"),
    "an Excel sheet": (archive("[Content_Types].xml", "xl/workbook.xml"), r"Excel sheet \(.xlsx\)", "as CSV"),
    "a Word document": (archive("[Content_Types].xml", "word/document.xml"), "an Office document", "as CSV"),
    "an OpenDocument sheet": (archive("mimetype", "content.xml"), r"OpenDocument sheet \(.ods\)", "as CSV"),
    "one that is cut off": (archive("a.csv")[:-9], "damaged or cut off", "fetch it again"),
    "one with wrong bytes": (archive("a.csv").replace(b"ada", b"eve"), "", ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_archive_that_is_not_one_file_is_told_and_nothing_is_written(
    own_settings: Settings, tmp_path: Path, name: str
) -> None:
    content, message, hint = WRONG[name]
    if name == "one with wrong bytes":
        content, message, hint = damaged(content), "damaged or cut off", "fetch it again"
    with pytest.raises(DataError, match=message) as raised:
        import_text(own_settings, tmp_path / "shop.zip", content, SEARCHES)
    assert hint in raised.value.hint
    assert str(tmp_path / "shop.zip") in raised.value.what
    assert not own_settings.log_root.exists()


def damaged(content: bytes) -> bytes:
    """An archive in the midst of whose packed bytes one is another."""
    middle = content.index(b"PK\x01\x02") // 2 + 20
    return content[:middle] + bytes([content[middle] ^ 0x5A]) + content[middle + 1 :]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_large_file_in_an_archive_is_read_to_its_end(own_settings: Settings, tmp_path: Path, method: int) -> None:
    text = HEADER + "".join(LINE.replace("tea", f"tea {n}") for n in range(20_000))
    report = import_text(own_settings, tmp_path / "shop.zip", archive("a/b.csv", text=text, method=method), SEARCHES)
    assert (report.read, report.published) == (20_000, 20_000)


def test_an_archive_of_utf_16_is_read_too(own_settings: Settings, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as found:
        found.writestr("a.csv", (HEADER + LINE).encode("utf-16"))
    assert import_text(own_settings, tmp_path / "shop.zip", packed.getvalue(), SEARCHES).published == 1


def test_archives_of_any_bytes_are_read_or_told(tmp_path: Path) -> None:
    chance = random.Random(7)
    whole = archive("a.csv")
    for n in range(300):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(4, len(content))] = chance.randrange(256)
        path = tmp_path / f"{n}.zip"
        path.write_bytes(content)
        told = f"'{path}' was read"
        try:
            with open_file(path) as opened:
                opened.stream.read()
        except PortraitError as error:
            told = error.what
        assert str(path) in told


@given(
    text=st.text(st.sampled_from("a,\n\r\0é茶🍵\u0a0a\u010a")),
    chunk=st.integers(1, 5),
    encoding=st.sampled_from(["utf-16-le", "utf-16-be"]),
)
def test_utf_16_is_its_text_however_it_is_cut_and_again_from_the_start(text: str, chunk: int, encoding: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(utf16, "_CHUNK", chunk)
        stream = as_utf8(io.BytesIO(f"\ufeff{text}".encode(encoding)))
        head = stream.read(3)
        stream.seek(0)
        assert stream.read() == text.encode()
        assert text.encode().startswith(head)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_the_mark_of_a_file_counts_whatever_the_mapping_says(
    own_settings: Settings, tmp_path: Path, encoding: str, order: str
) -> None:
    mapping = SEARCHES.replace("format: csv", f"format: csv, encoding: {encoding}")
    content = f"\ufeff{HEADER}{LINE.replace('tea', '绿茶')}".encode(order)
    assert import_text(own_settings, tmp_path / "shop.csv", content, mapping).published == 1
    assert rows_of(own_settings, "search")[0]["query"] == "绿茶"


def test_json_lines_in_utf_16_are_read(own_settings: Settings, tmp_path: Path) -> None:
    mapping = SEARCHES.replace("format: csv", "format: jsonl")
    content = '{"who": "ada", "at": "2024-05-01 10:00", "words": "绿茶"}\n'.encode("utf-16")
    assert import_text(own_settings, tmp_path / "shop.jsonl", content, mapping).published == 1


def test_utf_16_without_its_mark_is_told(own_settings: Settings, tmp_path: Path) -> None:
    mapping = SEARCHES.replace("format: csv", "format: csv, encoding: UTF-16")
    with pytest.raises(DataError, match="has no byte order mark of UTF-16") as raised:
        import_text(own_settings, tmp_path / "shop.csv", (HEADER + LINE).encode("utf-16-le"), mapping)
    assert "iconv" in raised.value.hint


@pytest.mark.parametrize(
    "broken",
    ["secret-eve,2024-05-01,\ud83c\n".encode("utf-16-le", "surrogatepass"), "secret-eve".encode("utf-16-le") + b"\n"],
    ids=["half a pair of surrogates", "half a unit at the end"],
)
def test_what_is_no_utf_16_takes_its_own_line_only(own_settings: Settings, tmp_path: Path, broken: bytes) -> None:
    content = f"\ufeff{HEADER}{LINE}".encode("utf-16-le") + broken
    report = import_text(own_settings, tmp_path / "shop.csv", content, SEARCHES)
    assert (report.published, report.quarantined) == (1, {"not_in_the_encoding": 1})
    assert rows_of(own_settings, "quarantine")[0]["line"] == 3
    assert files_with(own_settings.home, b"secret") == []
