"""Lines of a text file, decoded one by one, so that a broken one takes no other with it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from feature_repo.events.importing.files import MAX_LINE_BYTES
from feature_repo.events.importing.rows import PIECE_CHARACTERS, TEXT_CHARACTERS, Piece, Refusal

_MAX_REFUSED = 10_000
_BOM = b"\xef\xbb\xbf"


class TextLines:
    """An iterator over the lines of a stream, their ends kept; lines that are no text are refused and left out.

    An empty text asks to hand on what was refused (`piece`), before it takes too much memory.

    Parameters
    ----------
    stream
        At its start. A byte order mark of UTF-8 is not part of the first line.
    encoding
        In which a line's end is the byte 10.

    Attributes
    ----------
    number
        Line given last, the first is 1.
    inside
        Set by a reader in the midst of a cell: then a blank line is text.
    refused
        Lines that are too long or not in the encoding.
    rules
        ``blank_lines`` passed over.
    """

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self.number = 0
        self.inside = False
        self._characters = 0
        self.refused: list[Refusal] = []
        self.rules: Counter[str] = Counter()
        self._encoding = encoding
        self._raw = _whole_lines(stream)
        self._again: deque[tuple[int, str]] = deque()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._again:
            self.number, again = self._again.popleft()
            return again
        for number, line in self._raw:
            if line.isspace() and not self.inside:
                self.rules["blank_lines"] += 1
            elif len(line) > MAX_LINE_BYTES:
                # The head of a line stands for it: lines that long are not told apart further.
                self._refuse(number, "line_too_long", line, {"more_than_bytes": MAX_LINE_BYTES})
            elif (text := self._decoded(number, line)) is not None:
                return text
            if len(self.refused) >= _MAX_REFUSED:
                return ""
        raise StopIteration

    def give_again(self, lines: list[tuple[int, str]]) -> None:
        """Put lines back, to be read next."""
        self._again.extendleft(reversed(lines))

    def large(self) -> bool:
        """Whether the lines since the last piece are enough for one, however few they are."""
        return self._characters >= PIECE_CHARACTERS or len(self.refused) >= _MAX_REFUSED

    def piece(self, lines: list[int], columns: dict[str, pa.Array], refused: list[Refusal]) -> Piece:
        """Hand on rows with what was refused since the last piece, here and by the reader."""
        piece = Piece(pa.array(lines, pa.int64()), columns, (*self.refused, *refused), self.rules.copy())
        self.refused.clear()
        self.rules.clear()
        self._characters = 0
        return piece

    def skip(self, lines: int) -> None:
        """Leave out lines, whatever they hold."""
        for _ in range(lines):
            next(self._raw, None)

    def _decoded(self, number: int, line: bytes) -> str | None:
        try:
            text = line.decode(self._encoding)
        except UnicodeDecodeError:
            self._refuse(number, "not_in_the_encoding", line, {"encoding": self._encoding})
            return None
        self.number = number
        self._characters += len(text)
        return text

    def _refuse(self, number: int, reason: str, line: bytes, facts: dict[str, object]) -> None:
        self.refused.append(Refusal(number, reason, line[:TEXT_CHARACTERS].decode("latin-1"), facts))


def _whole_lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers; of one that is too long its head, one byte longer than allowed."""
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if number == 1 and line.startswith(_BOM):
            line = line[len(_BOM) :] or b"\n"
        yield number, line
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE_BYTES + 1)
            if len(line) <= MAX_LINE_BYTES:
                break
