"""Tables of text: CSV with any delimiter, TSV, and columns set apart by white space."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from feature_repo.core.errors import DataError, did_you_mean
from feature_repo.events.importing.files import check_line_ends
from feature_repo.events.importing.mapping import WHITESPACE, Source
from feature_repo.events.importing.rows import PIECE_ROWS, TEXT_CHARACTERS, Piece, Refusal
from feature_repo.events.importing.text_lines import TextLines

# A quoted cell may hold ends of lines; a quote that nobody closed must not take the rest of the file with it.
MAX_ROW_LINES = 200

Row = tuple[int, list[str]]


def read_delimited(path: Path, stream: BinaryIO, source: Source, wanted: Mapping[str, bool]) -> Iterator[Piece]:
    """Read a table of text in pieces.

    Parameters
    ----------
    wanted
        Columns to read -> whether the file may lack them.

    Raises
    ------
    DataError
        A column is missing or named twice, or the lines end by a carriage return alone.
    """
    check_line_ends(path, stream)
    lines = TextLines(stream, source.encoding)
    lines.skip(source.skip_lines)
    rows = _Rows(lines, source.delimiter)
    header = list(source.names) if source.names else rows.header()
    rows.width = len(header or [])
    places = column_places(path, header, wanted) if header else {}
    while not rows.over:
        yield rows.piece(places)


def column_places(
    path: Path, header: Sequence[str], wanted: Mapping[str, bool], *, listed: bool = False
) -> dict[str, int]:
    """Return the places of the wanted columns in a header.

    Parameters
    ----------
    listed
        Whether the header may be shown: that of a text file may be a row, which names a person.

    Raises
    ------
    DataError
        One is missing, or there twice.
    """
    names = [name.strip() for name in header]
    for name, optional in wanted.items():
        if name not in names and not optional:
            raise DataError(f"'{path}' has no column '{name}'.", hint=_missing_hint(name, names, listed))
        if names.count(name) > 1:
            raise DataError(f"'{path}' has {names.count(name)} columns '{name}'.", hint="give each its own name.")
    return {name: names.index(name) for name in wanted if name in names}


def _missing_hint(name: str, names: list[str], listed: bool) -> str:
    meant = did_you_mean(name, names)
    if listed or meant.startswith("did you mean"):
        return meant
    return "look at its first line (`head -1`); for a file without a header write `header: false` and `names: [a, b]`."


class _Rows:
    """Rows of the right width; the others are refused."""

    def __init__(self, lines: TextLines, delimiter: str) -> None:
        self.width = 0
        self.over = False
        self._lines = lines
        self._refused: list[Refusal] = []
        self._rows = _split(lines) if delimiter == WHITESPACE else self._parse(delimiter)

    def header(self) -> list[str] | None:
        """First row, None of an empty file."""
        return next((cells for _, cells in self._rows if cells), None)

    def piece(self, places: Mapping[str, int]) -> Piece:
        """Read the next rows, as columns."""
        taken = self._take()
        refused = self._refused.copy()
        self._refused.clear()
        columns = list(zip(*(cells for _, cells in taken), strict=True))
        named = {name: pa.array(columns[at] if taken else [], pa.string()) for name, at in places.items()}
        return self._lines.piece([number for number, _ in taken], named, refused)

    def _take(self) -> list[Row]:
        taken: list[Row] = []
        for number, cells in self._rows:
            if len(cells) == self.width:
                taken.append((number, cells))
            elif cells:
                self._refused.append(_ragged(number, cells, self.width))
            if len(taken) + len(self._refused) >= PIECE_ROWS or self._lines.large():
                return taken
        self.over = True
        return taken

    def _parse(self, delimiter: str) -> Iterator[Row]:
        while True:
            record = _Record(self._lines)
            reader = csv.reader(record, delimiter=delimiter, strict=True)
            try:
                for cells in reader:
                    if record.broken(cells, self.width):
                        break
                    yield record.begin(), cells
                else:
                    return
                reason = "unclosed_quote"
            except csv.Error as error:
                reason = "unclosed_quote" if record.joined() else _csv_reason(str(error))
            except _TooLongError:
                reason = "unclosed_quote"
            self._refused.append(record.refuse_first(reason))


class _TooLongError(Exception):
    """A record goes on over more lines than a row may have."""


class _Record:
    """Feeds a CSV reader with lines and knows which of them the present record is made of."""

    def __init__(self, lines: TextLines) -> None:
        self._lines = lines
        self._fed: list[tuple[int, str]] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self._fed) >= MAX_ROW_LINES:
            raise _TooLongError
        self._lines.inside = bool(self._fed)
        text = next(self._lines)
        self._fed.append((self._lines.number, text))
        return text

    def broken(self, cells: list[str], width: int) -> bool:
        """Whether several lines make a row of another width: then a stray quote has joined them."""
        return self.joined() and len(cells) != width and width > 0

    def joined(self) -> bool:
        """Whether the record is made of several lines."""
        return len(self._fed) > 1

    def begin(self) -> int:
        """First line of the record, which is over."""
        [(number, _), *_others] = self._fed
        self._fed.clear()
        return number

    def refuse_first(self, reason: str) -> Refusal:
        """Refuse the line the record begins with; those behind it are read again."""
        [(number, text), *others] = self._fed
        self._lines.give_again(others)
        return Refusal(number, reason, text[:TEXT_CHARACTERS])


def _csv_reason(message: str) -> str:
    if "field larger" in message:
        return "cell_too_large"
    if "new-line character" in message:
        return "carriage_return_in_a_cell"
    return "unclosed_quote" if "unexpected end" in message else "text_behind_a_quote"


def _split(lines: TextLines) -> Iterator[Row]:
    for text in lines:
        yield lines.number, text.split()


def _ragged(number: int, cells: list[str], width: int) -> Refusal:
    reason = "too_few_cells" if len(cells) < width else "too_many_cells"
    return Refusal(number, reason, "\x1f".join(cells)[:TEXT_CHARACTERS], {"cells": len(cells), "expected": width})
