"""The first rows of a file of which nothing is known: its format, encoding, delimiter, header, and cells as text."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.core.errors import DataError
from feature_repo.events.importing.files import PARQUET, check_line_ends, head_of, open_file
from feature_repo.events.importing.guesses import is_time_or_number
from feature_repo.events.importing.mapping import WHITESPACE, Source
from feature_repo.events.importing.text_lines import TextLines

ROWS = 1_000

_DELIMITERS = (",", ";", "\t", "|")
_FALLBACK = "cp1252"


@dataclass(frozen=True)
class Sample:
    """Rows of a file.

    Attributes
    ----------
    source
        How to read it, as a mapping says it.
    columns
        Name -> cells as text, None for those that hold nothing.
    typed
        Columns that are times by their type.
    """

    source: Source
    columns: dict[str, list[str | None]]
    typed: frozenset[str] = frozenset()


def take_sample(path: Path) -> Sample:
    """Read the first thousand rows of a file.

    Raises
    ------
    DataError
        It cannot be read, is empty, or is of a kind that is not imported.
    """
    if not path.stat().st_size:
        raise DataError(f"'{path}' is empty.", hint="name a file with some rows in it.")
    with open_file(path) as opened:
        if head_of(opened.stream, 4) == PARQUET:
            return _parquet(path, opened.stream)
        check_line_ends(path, opened.stream)
        read_as = _encoding(opened.stream)
        lines = list(islice(TextLines(opened.stream, read_as), ROWS + 1))
        encoding = opened.encoding or read_as
    if not lines:
        raise DataError(f"'{path}' has no line of text.", hint="name a file with some rows in it.")
    if lines[0].lstrip().startswith(("{", "[")):
        return _json(path, lines, encoding)
    return _delimited(lines, encoding)


def _encoding(stream: BinaryIO) -> str:
    head = head_of(stream, 1 << 20)
    try:
        head[: head.rfind(b"\n") + 1].decode("utf-8-sig")
    except UnicodeDecodeError:
        return _FALLBACK
    return "utf-8"


def _parquet(path: Path, stream: BinaryIO) -> Sample:
    try:
        with pq.ParquetFile(stream) as file:
            batch = next(file.iter_batches(ROWS), None)
            schema = file.schema_arrow
    except (pa.ArrowException, OSError):
        raise DataError(f"The Parquet file '{path}' is damaged or cut off.", hint="fetch it again.") from None
    plain = [field for field in schema if not pa.types.is_nested(field.type) and not pa.types.is_binary(field.type)]
    columns: dict[str, list[str | None]] = {
        field.name: [] if batch is None else [_text(value) for value in batch.column(field.name).to_pylist()]
        for field in plain
    }
    typed = frozenset(each.name for each in plain if pa.types.is_timestamp(each.type) or pa.types.is_date(each.type))
    return Sample(Source(format="parquet"), columns, typed)


def _json(path: Path, lines: Sequence[str], encoding: str) -> Sample:
    if lines[0].lstrip().startswith("["):
        raise DataError(f"'{path}' is one JSON array.", hint="write one object per line: `jq -c '.[]' FILE`.")
    rows: list[dict[str, str | None]] = []
    for line in lines:
        try:
            rows.append(dict(_flat(json.loads(line, parse_float=str, parse_int=str), "")))
        except (ValueError, RecursionError):
            continue
    names = dict.fromkeys(name for row in rows for name in row)
    return Sample(Source(format="jsonl", encoding=encoding), {name: [row.get(name) for row in rows] for name in names})


def _flat(value: Any, prefix: str) -> list[tuple[str, str | None]]:
    """Cells of an object, those of an object in it under ``outer.inner``; lists are left out."""
    found: list[tuple[str, str | None]] = []
    for name, each in value.items() if isinstance(value, dict) else ():
        if isinstance(each, dict) and not prefix:
            found += _flat(each, f"{name}.")
        elif not isinstance(each, (dict, list)):
            found.append((prefix + name, _text(each)))
    return found


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else (str(value).strip() or None)


def _delimited(lines: Sequence[str], encoding: str) -> Sample:
    delimiter = _delimiter(lines)
    rows = _cells(lines, delimiter)
    first, *others = rows
    header = _is_header(first, others)
    names = [name.strip() or f"column_{n}" for n, name in enumerate(first, 1)]
    if not header:
        names, others = [f"column_{n}" for n in range(1, len(first) + 1)], rows
    kept = [row for row in others if len(row) == len(names)]
    columns = {name: [_text(row[n]) for row in kept] for n, name in enumerate(names)}
    source = Source(
        format="csv", delimiter=delimiter, header=header, names=None if header else tuple(names), encoding=encoding
    )
    return Sample(source, columns)


def _cells(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    if delimiter == WHITESPACE:
        return [line.split() for line in lines]
    try:
        return list(csv.reader(lines, delimiter=delimiter))
    except csv.Error:
        return [line.rstrip("\r\n").split(delimiter) for line in lines]


def _delimiter(lines: Sequence[str]) -> str:
    """Choose the delimiter that gives most lines the same width, and of several the widest."""

    def quality(delimiter: str) -> tuple[float, int]:
        widths = [len(row) for row in _cells(lines[:100], delimiter)]
        usual = max(set(widths), key=widths.count)
        return (widths.count(usual) / len(widths) if usual > 1 else 0.0, usual)

    best = max(_DELIMITERS, key=quality)
    if quality(best)[0] > 0:
        return best
    return WHITESPACE if quality(WHITESPACE)[0] > 0 else ","


def _is_header(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names columns: no cell is a number or a time, none comes twice, or again below."""
    cells = [cell.strip() for cell in first]
    if len(set(cells)) < len(cells) or any(is_time_or_number(cell) for cell in cells if cell):
        return False
    same = sum(
        any(len(row) > n and row[n].strip() == cell for row in others[:100]) for n, cell in enumerate(cells) if cell
    )
    return same == 0
