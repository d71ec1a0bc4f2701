"""UTF-16 as UTF-8, while it is read: what spreadsheets call "Unicode text"."""

from __future__ import annotations

import codecs
import io
from typing import BinaryIO, cast

MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_CHUNK = 1 << 17
_HALF_A_UNIT = b"\xff"  # no UTF-8: its line is refused, as any that is not in the encoding


class _Transcoded(io.RawIOBase):
    """A stream of UTF-16 with its byte order mark, as UTF-8 without one; it can be read again from the start."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._begin()

    def _begin(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-16")("surrogatepass")
        self._ready = memoryview(b"")
        self._over = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if (offset, whence) != (0, io.SEEK_SET):
            raise io.UnsupportedOperation("it is read from its start on")
        self._begin()
        return self._stream.seek(0)

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        while not self._ready and not self._over:
            self._ready = memoryview(self._more())
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _more(self) -> bytes:
        raw = self._stream.read(_CHUNK)
        self._over = not raw
        left = self._decoder.getstate()[0]
        if self._over:
            return _HALF_A_UNIT if left else b""
        # Half a pair of surrogates is no text in UTF-8 either: its line is refused and no other.
        return self._decoder.decode(raw).encode("utf-8", "surrogatepass")


def as_utf8(stream: BinaryIO) -> BinaryIO:
    """Return the same text in UTF-8; the stream begins with a byte order mark of UTF-16."""
    return cast("BinaryIO", io.BufferedReader(_Transcoded(stream), 1 << 18))
