"""What a selection can ask of a snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from serving.audiences.audiences import Audiences
from serving.audiences.columns import Numbers
from serving.audiences.members import full_name

_SHOWN = 8


@dataclass(frozen=True)
class Asked:
    """A column of a snapshot.

    Attributes
    ----------
    name, short
        Its full name, and a shorter one that means it; the same where there is none.
    known
        Of how many people it is known.
    values
        Of a tag: how many have which, the most frequent first. Of a number: the least and the greatest.
    """

    name: str
    short: str
    kind: Literal["text", "boolean", "number"]
    known: int
    values: dict[str, int] | tuple[float, ...]


@dataclass(frozen=True)
class Columns:
    """All columns of a snapshot, in its order, and those nobody can select by, with their type."""

    as_of: datetime
    columns: tuple[Asked, ...]
    left_out: dict[str, str]

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield a line of text for each."""
        for each in self.columns:
            yield each.name, each.short if each.short != each.name else "", f"{each.known:,}", _values(each)


def columns_of(audiences: Audiences) -> Columns:
    """Return what can be asked."""
    index = audiences.index
    return Columns(index.snapshot.as_of, tuple(_asked(audiences, name) for name in index.names), {**index.left_out})


def _asked(audiences: Audiences, name: str) -> Asked:
    column, short = audiences.index.column(name), name.split("__", 1)[-1]
    short = short if full_name(audiences.index, short) == name else name
    if isinstance(column, Numbers):
        ends = (column.values[0], column.values[-1]) if len(column.values) else ()
        return Asked(name, short, "number", len(column.known), tuple(each.item() for each in ends))
    sizes = {str(value).lower() if column.boolean else str(value): len(who) for value, who in column.holders.items()}
    ordered = dict(sorted(sizes.items(), key=lambda each: (-each[1], each[0])))
    return Asked(name, short, "boolean" if column.boolean else "text", len(column.known), ordered)


def _values(asked: Asked) -> str:
    if isinstance(asked.values, tuple):
        return " to ".join(f"{each:,.6g}" for each in asked.values)
    more = len(asked.values) - _SHOWN
    return ", ".join([*asked.values][:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
