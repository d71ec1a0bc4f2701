"""Finds and opens the files of an import; a file that cannot be one says so here."""

from __future__ import annotations

import glob
import gzip
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from feature_repo.core.errors import DataError
from feature_repo.events.importing.mapping import UTF_16
from feature_repo.events.importing.packing import GZIP, ZIP, unpacked
from feature_repo.events.importing.utf16 import MARKS, as_utf8

# A line or a field beyond these is no data: it is refused, and the lines behind it are read.
MAX_LINE_BYTES = 1 << 20

_FOREIGN = {
    b"\xd0\xcf\x11\xe0": ("an old Excel or Word file", "export it as CSV (UTF-8)."),
    b"SQLite format 3": ("an SQLite database", "export the table: `sqlite3 -csv -header FILE 'SELECT ...'`."),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "unpack it, or compress it by gzip."),
    b"BZh": ("compressed by bzip2", "unpack it, or compress it by gzip."),
    b"\xfd7zXZ": ("compressed by xz", "unpack it, or compress it by gzip."),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", "unpack it, or compress it by gzip."),
    b"%PDF": ("a PDF", "export the data as CSV."),
    b"\xff\xfe\0\0": ("UTF-32", "convert it: `iconv -f UTF-32 -t UTF-8 FILE`."),
    b"\0\0\xfe\xff": ("UTF-32", "convert it: `iconv -f UTF-32 -t UTF-8 FILE`."),
    b"PK\x05\x06": ("a ZIP archive without a file in it", "name a file with some rows in it."),
    GZIP: ("packed twice", "unpack it once."),
    ZIP: ("packed twice", "unpack it once."),
}
PARQUET = b"PAR1"


@dataclass
class Opened:
    """A file being read.

    Attributes
    ----------
    path
        As found.
    stream
        Its bytes, unpacked; of a file in UTF-16 its text in UTF-8.
    encoding
        ``utf-16`` of such a file, which says so by its byte order mark; empty if the file says nothing.
    """

    path: Path
    stream: BinaryIO
    _packed: BinaryIO
    encoding: str = ""

    def position(self) -> int:
        """Bytes of the file on disk that were read so far."""
        return self._packed.tell()


def find_files(patterns: Sequence[str]) -> list[Path]:
    """Return the files that paths and globs name, each once, in order of their names within a pattern.

    Raises
    ------
    DataError
        A path names nothing or a directory, or a glob finds no file.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        found.update(dict.fromkeys(_matches(pattern)))
    return list(found)


def _matches(pattern: str) -> list[Path]:
    path = Path(pattern)
    if os.path.isdir(path):  # noqa: PTH112 - false, not an error, for a name that no file can have
        raise DataError(f"'{pattern}' is a directory.", hint=f"name its files: '{pattern.rstrip('/')}/*.csv'.")
    if os.path.isfile(path):  # noqa: PTH113
        return [path]
    if os.path.exists(path):  # noqa: PTH110
        raise DataError(f"'{pattern}' is a pipe or a device.", hint="write it to a file and import that.")
    files = [Path(name) for name in sorted(glob.glob(pattern, recursive=True)) if Path(name).is_file()]  # noqa: PTH207
    if not files:
        raise DataError(f"There is no file '{pattern}'.", hint="check the path; quote a pattern: 'data/*.csv.gz'.")
    return files


@contextmanager
def open_file(path: Path) -> Iterator[Opened]:
    """Open a file, unpacking gzip and ZIP, UTF-16 as UTF-8; what is wrong with it while it is read names it.

    Raises
    ------
    DataError
        It cannot be read, is damaged or cut off, or is of a kind that is not imported.
    """
    with ExitStack() as stack:
        try:
            packed = cast("BinaryIO", stack.enter_context(path.open("rb")))
            stream = unpacked(path, packed, stack)
            _check_kind(path, stream)
            yield _decoded(path, stream, packed)
        except zipfile.BadZipFile:
            raise DataError(
                f"'{path}' is a ZIP archive or an Excel sheet that is damaged or cut off; nothing was imported.",
                hint="fetch it again; export a sheet as CSV (UTF-8).",
            ) from None
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise DataError(
                f"The packed file '{path}' is damaged or cut off; nothing was imported.",
                hint="fetch it again, or unpack what is left of it (`gunzip -c`) and import that.",
            ) from None
        except OSError as error:
            raise DataError(f"'{path}' cannot be read: {error.strerror or type(error).__name__}.") from None


def _decoded(path: Path, stream: BinaryIO, packed: BinaryIO) -> Opened:
    if head_of(stream, 2) not in MARKS:
        return Opened(path, stream, packed)
    return Opened(path, as_utf8(stream), packed, UTF_16)


def _check_kind(path: Path, stream: BinaryIO) -> None:
    head = head_of(stream, 16)
    for magic, (kind, hint) in _FOREIGN.items():
        if head.startswith(magic):
            raise DataError(f"'{path}' is {kind}, which is not imported.", hint=hint)


def head_of(stream: BinaryIO, size: int) -> bytes:
    """First bytes of a stream at its start, which stays there."""
    head = stream.read(size)
    stream.seek(0)
    return head


def encoding_of(opened: Opened, said: str) -> str:
    """Encoding of a stream as it is read, where ``said`` is that of the file.

    Raises
    ------
    DataError
        It is said to be UTF-16, and has no byte order mark.
    """
    if opened.encoding:
        return "utf-8"
    if said == UTF_16:
        raise DataError(
            f"'{opened.path}' has no byte order mark of UTF-16.",
            hint="write its encoding into the mapping, or convert it: `iconv -f UTF-16LE -t UTF-8 FILE`.",
        )
    return said


def check_line_ends(path: Path, stream: BinaryIO) -> None:
    """Refuse a file whose lines end by a carriage return alone: it would be one long line.

    Raises
    ------
    DataError
        It is one.
    """
    head = head_of(stream, 1 << 16)
    if b"\n" not in head and b"\r" in head.rstrip(b"\r"):
        raise DataError(
            f"The lines of '{path}' end by a carriage return alone.", hint="convert it: `tr '\\r' '\\n' < FILE`."
        )
