"""One JSON object per line; every value becomes the text that stands there, so that no id loses a digit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from feature_repo.core.errors import DataError, did_you_mean
from feature_repo.events.importing.files import check_line_ends, head_of
from feature_repo.events.importing.rows import PIECE_ROWS, TEXT_CHARACTERS, Piece, Refusal
from feature_repo.events.importing.text_lines import TextLines

_SURROGATE = re.compile("[\ud800-\udfff]")
_decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)

Row = tuple[int, list[str | None]]


class _BadRowError(Exception):
    """A line that is no object with plain values."""


def read_json_lines(path: Path, stream: BinaryIO, encoding: str, wanted: Mapping[str, bool]) -> Iterator[Piece]:
    """Read JSON lines in pieces; a key that an object lacks is NULL.

    Raises
    ------
    DataError
        The file is one large array, or no object of it has a wanted key.
    """
    check_line_ends(path, stream)
    if head_of(stream, 64).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"["):
        raise DataError(f"'{path}' is one JSON array.", hint="write one object per line: `jq -c '.[]' FILE`.")
    reader = _Reader(TextLines(stream, encoding), wanted)
    while (piece := reader.piece()) is not None:
        yield piece
    reader.check(path)


class _Reader:
    def __init__(self, lines: TextLines, wanted: Mapping[str, bool]) -> None:
        self._lines = lines
        self._wanted = wanted
        self._missing = {name for name, optional in wanted.items() if not optional}
        self._keys: set[str] = set()
        self._over = False

    def piece(self) -> Piece | None:
        """Read the next rows; None behind the last."""
        if self._over:
            return None
        rows: list[Row] = []
        refused: list[Refusal] = []
        for text in self._lines:
            try:
                if not text:
                    break
                rows.append((self._lines.number, self._row(text)))
            except _BadRowError as error:
                refused.append(Refusal(self._lines.number, str(error), text[:TEXT_CHARACTERS]))
            if len(rows) + len(refused) >= PIECE_ROWS or self._lines.large():
                break
        else:
            self._over = True
        columns = {
            name: pa.array([cells[at] for _, cells in rows], pa.string()) for at, name in enumerate(self._wanted)
        }
        return self._lines.piece([number for number, _ in rows], columns, refused)

    def check(self, path: Path) -> None:
        """Refuse a file in which a wanted key never comes: it is misspelt in the mapping."""
        if self._keys and self._missing:
            name = min(self._missing)
            meant = did_you_mean(name, self._keys)
            # What is like the name is one; the others may be anything, as in an object whose keys are ids.
            near = f"{meant} " if meant.startswith("did you mean") else ""
            hint = f"{near}A key that may be absent is written with `optional: true`."
            raise DataError(f"No object of '{path}' has a key '{name}'.", hint=hint)

    def _row(self, text: str) -> list[str | None]:
        try:
            found = _decoder.decode(text)
        except (ValueError, RecursionError):
            raise _BadRowError("not_json") from None
        if not isinstance(found, dict):
            raise _BadRowError("not_an_object")
        if len(self._keys) < 1000:  # noqa: PLR2004 - enough to say what was meant
            self._keys.update(found)
        return [self._cell(found, name) for name in self._wanted]

    def _cell(self, found: dict[str, Any], name: str) -> str | None:
        value = found[name] if name in found else _nested(found, name)
        if value is _ABSENT:
            return None
        self._missing.discard(name)
        if value is None:
            return None
        if isinstance(value, bool):
            return "true" if value else "false"
        if not isinstance(value, str):
            raise _BadRowError("not_a_plain_value")
        if not value.isascii() and _SURROGATE.search(value):
            raise _BadRowError("not_unicode")
        return value


_ABSENT: Any = object()


def _nested(found: dict[str, Any], name: str) -> Any:
    value: Any = found
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return _ABSENT
        value = value[part]
    return value
