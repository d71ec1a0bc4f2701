"""Unpacks what files come packed in: gzip, and ZIP archives with one file in them."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

from feature_repo.core.errors import DataError

GZIP = b"\x1f\x8b"
ZIP = b"PK\x03\x04"

_BUFFER = 1 << 18
_READ_HERE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_SECRET = 0x01 | 0x40
# What a directory of an archive with wrong bytes in it makes the library raise, besides BadZipFile.
_NONSENSE = (ValueError, NotImplementedError, OverflowError, struct.error)
# What programs for macOS put beside the files.
_ADDED = ("__MACOSX/", ".DS_Store")
_AS_CSV = "export the sheet as CSV (UTF-8), with one header line, and import that."


def unpacked(path: Path, packed: BinaryIO, stack: ExitStack) -> BinaryIO:
    """Return the bytes of a file, unpacked if it is packed; what is opened is closed by the stack.

    Raises
    ------
    DataError
        It is a spreadsheet or a document, or an archive with more than one file, with none, or with a password.
    """
    head = packed.read(len(ZIP))
    packed.seek(0)
    if head.startswith(GZIP):
        return _buffered(stack, gzip.GzipFile(fileobj=packed))
    return _buffered(stack, _member(path, packed, stack)) if head == ZIP else packed


def _buffered(stack: ExitStack, stream: object) -> BinaryIO:
    raw = cast("io.RawIOBase", stack.enter_context(cast("BinaryIO", stream)))
    return stack.enter_context(io.BufferedReader(raw, _BUFFER))


def _member(path: Path, packed: BinaryIO, stack: ExitStack) -> object:
    try:
        archive = stack.enter_context(zipfile.ZipFile(packed))
        return archive.open(_only_one(path, archive))
    except _NONSENSE:
        raise zipfile.BadZipFile from None


def _only_one(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    if (kind := _document(archive.namelist())) is not None:
        raise DataError(f"'{path}' is {kind}, which is not imported.", hint=_AS_CSV)
    members = [each for each in archive.infolist() if not (each.is_dir() or each.filename.startswith(_ADDED))]
    if len(members) != 1:
        raise DataError(
            f"The ZIP archive '{path}' has {len(members)} files in it; one is read.",
            hint="unpack it, and name its files or a pattern of them.",
        )
    [member] = members
    if member.flag_bits & _SECRET:
        raise DataError(f"The ZIP archive '{path}' has a password.", hint="unpack it and import what is in it.")
    if member.compress_type not in _READ_HERE:
        raise DataError(
            f"The ZIP archive '{path}' is compressed in a way that is not read.", hint="compress the file by gzip."
        )
    return member


def _document(names: list[str]) -> str | None:
    if "[Content_Types].xml" in names:
        return "an Excel sheet (.xlsx)" if any(name.startswith("xl/") for name in names) else "an Office document"
    return "an OpenDocument sheet (.ods) or text" if {"mimetype", "content.xml"} <= set(names) else None
