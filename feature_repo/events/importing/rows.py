"""What every reader hands on: a piece of a file as columns, and the lines that are no rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

# Rows of one piece: enough to work on whole columns, few enough to hold several.
PIECE_ROWS = 50_000
PIECE_CHARACTERS = 1 << 25
# So much of a refused row tells it from others at its place.
TEXT_CHARACTERS = 1_000


@dataclass(frozen=True)
class Refusal:
    """A row that cannot be an event.

    Attributes
    ----------
    line
        Line of a text file, the first is 1; row of a Parquet file, the first is 0.
    reason
        Short and countable, such as ``too_few_fields``.
    text
        What stands there. It may name a person: it is hashed with the key, and never written.
    facts
        What may be written about it: counts and names of columns, nothing that stands in the row.
    """

    line: int
    reason: str
    text: str = field(repr=False)
    facts: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Piece:
    """Rows of one file in its order.

    Attributes
    ----------
    lines
        int64, where each row stands, as in `Refusal`.
    columns
        The wanted columns by their name in the file: strings as they stand there, or instants (timestamps and dates)
        of a file that has them. A column that a file may lack and does is not here.
    refused
        Lines between them that are no rows.
    rules
        How often a rule of reading applied, such as ``blank_lines``.
    """

    lines: pa.Array
    columns: dict[str, pa.Array]
    refused: tuple[Refusal, ...] = ()
    rules: Counter[str] = field(default_factory=Counter)


def part_of(piece: Piece, chosen: npt.NDArray[np.int64]) -> Piece:
    """Return some rows of a piece, by their number in it."""
    return Piece(piece.lines.take(chosen), {name: column.take(chosen) for name, column in piece.columns.items()})
