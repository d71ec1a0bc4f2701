"""Who belongs to a selection: names are looked up in an index, and sets of people joined as the selection says."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from pyroaring import BitMap

from feature_repo.core.errors import DataError, did_you_mean
from serving.audiences.columns import Numbers, Tags
from serving.audiences.index import Index
from serving.audiences.parsing import parse, refusal
from serving.audiences.selection import (
    Always,
    Among,
    Both,
    Either,
    Known,
    Name,
    Not,
    Selection,
    Test,
    Value,
    Within,
    tests,
)

_TAG = "tag__"
_SHOWN = 8


@dataclass(frozen=True, eq=False)
class Answer:
    """Of whom a selection is true, and of whom false; of all others it is unknown."""

    yes: BitMap
    no: BitMap


@dataclass(frozen=True, eq=False)
class Members:
    """Who belongs to an audience.

    Attributes
    ----------
    text
        The selection.
    people
        Those of whom it is true.
    unknown
        Of how many it is neither true nor false.
    columns
        Full names of the columns it asks, in order.
    notes
        What may be a slip: values that nobody has.
    """

    text: str
    people: BitMap
    unknown: int
    columns: tuple[str, ...]
    notes: tuple[str, ...]


def members(index: Index, text: str) -> Members:
    """Return who belongs to a selection.

    Raises
    ------
    DataError
        It is no selection, asks for a column the snapshot lacks, or compares it with another kind of value.
    """
    selection = parse(text)
    asked = _Asked(index, text)
    answer = asked.answer(selection)
    found = list(tests(selection))
    columns = dict.fromkeys(asked.full_name(each.name) for each in found)
    unknown = len(index.everyone) - len(answer.yes) - len(answer.no)
    return Members(text, answer.yes, unknown, tuple(columns), tuple(asked.notes(found)))


def full_name(index: Index, name: str) -> str | None:
    """Return the full name of a column: itself, a tag's without ``tag__``, or the only one that ends so; else None.

    ``amount_sum_84d`` stands for ``user_payments__amount_sum_84d`` where no other view has such a feature, ``churn``
    for ``score__churn`` where nothing else is called so. A tag comes first.
    """
    if name in index.names:
        return name
    if _TAG + name in index.names:
        return _TAG + name
    found = candidates(index, name)
    return found[0] if len(found) == 1 else None


def candidates(index: Index, name: str) -> list[str]:
    """Return the columns a short name may stand for."""
    return [each for each in index.names if each.endswith(f"__{name}")]


@dataclass(frozen=True)
class _Asked:
    index: Index
    text: str

    def answer(self, selection: Selection) -> Answer:
        if isinstance(selection, Both):
            left, right = self.answer(selection.left), self.answer(selection.right)
            return Answer(left.yes & right.yes, left.no | right.no)
        if isinstance(selection, Either):
            left, right = self.answer(selection.left), self.answer(selection.right)
            return Answer(left.yes | right.yes, left.no & right.no)
        if isinstance(selection, Not):
            part = self.answer(selection.part)
            return Answer(part.no, part.yes)
        everyone = self.index.everyone
        if isinstance(selection, Always):
            return Answer(everyone, BitMap()) if selection.holds else Answer(BitMap(), everyone)
        column = self.index.column(self.full_name(selection.name))
        if isinstance(selection, Known):
            return Answer(column.known, everyone - column.known)
        yes = self._holders(selection, column)
        return Answer(yes, column.known - yes)

    def full_name(self, name: Name) -> str:
        found = full_name(self.index, name.text)
        if found is None:
            raise self._unknown(name)
        return found

    def _holders(self, test: Among | Within, column: Tags | Numbers) -> BitMap:
        if isinstance(test, Within):
            if isinstance(column, Tags):
                raise self._other_kind(test.name, test.name.at, column)
            return column.between(test.low, test.high, above=test.above, below=test.below)
        return BitMap.union(BitMap(), *(self._having(value, test.name, at, column) for value, at in test.values))

    def _having(self, value: Value, name: Name, at: int, column: Tags | Numbers) -> BitMap:
        if isinstance(column, Numbers) and not isinstance(value, bool | str):
            return column.between(value, value)
        if isinstance(column, Tags) and isinstance(value, bool if column.boolean else str):
            return column.holders.get(value, BitMap())
        raise self._other_kind(name, at, column)

    def notes(self, found: Iterable[Test]) -> list[str]:
        """Name the values of tags that nobody has."""
        asked = [(test, self.index.column(self.full_name(test.name))) for test in found if isinstance(test, Among)]
        return [
            f"Nobody has {test.name.text} '{value}': {_other_values(str(value), column)}"
            for test, column in asked
            if isinstance(column, Tags) and not column.boolean
            for value, _ in test.values
            if value not in column.holders
        ]

    def _unknown(self, name: Name) -> DataError:
        several = candidates(self.index, name.text)
        if several:
            what, hint = f"'{name.text}' may be one of several columns", "write " + " or ".join(several) + "."
        elif name.text in self.index.left_out:
            kind = self.index.left_out[name.text]
            what, hint = f"'{name.text}' is of type {kind}", "audiences are selected by texts, numbers and yes or no."
        else:
            what, hint = f"There is no column '{name.text}'", self._close(name.text)
        return refusal(self.text, name.at, what, hint)

    def _close(self, name: str) -> str:
        short = {each.split("__", 1)[-1]: each for each in self.index.names}
        known = [*self.index.names, *short]
        close = difflib.get_close_matches(name, known, n=1) or sorted(
            (each for each in known if name.lower() in each), key=len
        )
        return f"did you mean '{close[0]}'?" if close else "`portrait audience columns` lists what there is."

    def _other_kind(self, name: Name, at: int, column: Tags | Numbers) -> DataError:
        if isinstance(column, Numbers):
            return refusal(self.text, at, f"'{name.text}' is a number", f"write {name.text} > 3, for example.")
        if column.boolean:
            return refusal(self.text, at, f"'{name.text}' is yes or no", f"write {name.text}, or not {name.text}.")
        first = next(iter(column.holders), "...")
        return refusal(self.text, at, f"'{name.text}' is a text", f"write {name.text} = '{first}', for example.")


def _other_values(value: str, column: Tags) -> str:
    held = {str(each): len(people) for each, people in column.holders.items()}
    if not held:
        return "it is known of nobody, and `portrait tags compute` says why."
    frequent = sorted(held, key=lambda each: -held[each])[:_SHOWN]
    return did_you_mean(value, difflib.get_close_matches(value, held, n=1) or frequent)
