"""Reads a selection as it is typed: ``churn_risk = 'high' and not segment in ('champions', 'loyal')``.

The grammar is SQL's, read by sqlglot in DuckDB's dialect, of which only what :mod:`serving.audiences.selection` knows
is let through: nothing is computed, called or looked up, whatever a text says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from feature_repo.core.errors import DataError
from serving.audiences.selection import (
    Always,
    Among,
    Both,
    Either,
    Known,
    Name,
    Not,
    Number,
    Selection,
    Value,
    Within,
)

LONGEST = 4_000
DEEPEST = 200
_DIGITS = 40  # more than any column's number has
_FORM = (
    "write NAME = 'text', NAME > 3, NAME between 1 and 2, NAME in (...), NAME is null, or NAME of yes and no, "
    "joined by and, or, not and brackets."
)


def parse(text: str) -> Selection:
    """Read a selection.

    Raises
    ------
    DataError
        It is no selection; the message shows where.

    >>> parse("spend > 3")
    Within(name=Name(text='spend', at=0), low=3, high=None, above=True, below=False)
    """
    if not text.strip() or len(text) > LONGEST:
        raise DataError(f"A selection has 1 to {LONGEST:,} characters; this one has {len(text):,}.", hint=_FORM)
    try:
        tree = sqlglot.parse_one(text, dialect="duckdb", into=exp.Condition)
        return _Reader(text).read(tree, 0)
    except SqlglotError as error:
        raise _unread(text, error) from None
    except RecursionError:
        raise DataError(
            "The selection is nested too deeply.", hint="write NAME in (...) for many values of one column."
        ) from None


def refusal(text: str, at: int, what: str, hint: str) -> DataError:
    """Return an error that points at a place of a selection."""
    line = text.count("\n", 0, at)
    start = text.rfind("\n", 0, at) + 1
    pointer = " " * _wide(text[start:at]) + "^"
    where = f"at character {at - start + 1}" + (f" of line {line + 1}" if line else "")
    return DataError(f"{what} ({where}):\n  {text.splitlines()[line]}\n  {pointer}", hint=hint)


def _wide(text: str) -> int:
    from rich.cells import cell_len  # noqa: PLC0415

    return cell_len(text)


def _unread(text: str, error: SqlglotError) -> DataError:
    for found in getattr(error, "errors", ()):
        word = found.get("highlight") or ""
        before = sum(len(each) + 1 for each in text.split("\n")[: found["line"] - 1])
        at = min(max(0, before + found["col"] - len(word)), max(0, len(text.rstrip()) - 1))
        return refusal(text, at, f"'{word}' cannot stand here" if word else "The selection is cut short", _FORM)
    quote = text.find("'") if text.count("'") % 2 else text.find('"')
    return refusal(text, max(quote, 0), "A quoted text does not end", "close it by ' ; a ' inside is written ''.")


class _Reader:
    """Turns sqlglot's tree into a selection, and refuses all that is none."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read(self, tree: Any, depth: int) -> Selection:
        if depth > DEEPEST:
            raise RecursionError
        if type(tree) in _JOINS:
            return _JOINS[type(tree)](self.read(tree.this, depth + 1), self.read(tree.expression, depth + 1))
        if isinstance(tree, exp.Not):
            return Not(self.read(tree.this, depth + 1))
        if isinstance(tree, exp.Paren):
            return self.read(tree.this, depth + 1)
        if isinstance(tree, exp.Boolean):
            return Always(bool(tree.this))
        return self._test(tree)

    def _test(self, tree: Any) -> Selection:
        if isinstance(tree, exp.Column):
            name = self._name(tree)
            return Among(name, ((True, name.at),))
        if type(tree) in _COMPARISONS:
            return self._comparison(tree)
        if isinstance(tree, exp.In) and tree.expressions and not _others(tree, "this", "expressions"):
            return Among(self._name(tree.this), tuple(map(self._value, tree.expressions)))
        if isinstance(tree, exp.Between) and not _others(tree, "this", "low", "high"):
            low, high = (self._number(tree.args[end], "between") for end in ("low", "high"))
            return Within(self._name(tree.this), low, high)
        if isinstance(tree, exp.Is):
            return self._is(tree)
        raise self._refused(tree)

    def _comparison(self, tree: Any) -> Selection:
        left, right, kind = tree.this, tree.expression, type(tree)
        if isinstance(right, exp.Column) and not isinstance(left, exp.Column):
            left, right, kind = right, left, _TURNED[kind]
        name = self._name(left)
        if kind is exp.EQ:
            return Among(name, (self._value(right),))
        if kind is exp.NEQ:
            return Not(Among(name, (self._value(right),)))
        return _BOUNDS[kind](name, self._number(right, _SIGNS[kind]))

    def _is(self, tree: Any) -> Selection:
        name, said = self._name(tree.this), tree.expression
        if isinstance(said, exp.Null):
            return Not(Known(name))
        if isinstance(said, exp.Boolean):
            return Both(Known(name), Among(name, ((bool(said.this), name.at),)))
        raise self._refused(said)

    def _name(self, tree: Any) -> Name:
        if not isinstance(tree, exp.Column) or _others(tree, "this") or not isinstance(tree.this, exp.Identifier):
            raise self._refused(tree)
        return Name(str(tree.name), int(tree.this.meta.get("start", 0)))

    def _value(self, tree: Any) -> tuple[Value, int]:
        at = self._at(tree)
        if isinstance(tree, exp.Boolean):
            return bool(tree.this), at
        if isinstance(tree, exp.Literal) and tree.is_string:
            return str(tree.this), at
        if isinstance(tree, exp.Null):
            raise refusal(self._text, at, "Nothing equals null", "write NAME is null, or is not null.")
        if isinstance(tree, exp.Column) and tree.this.args.get("quoted"):
            raise refusal(self._text, at, f'"{tree.name}" names a column', f"a text is written '{tree.name}'.")
        return self._number(tree, "="), at

    def _number(self, tree: Any, sign: str) -> Number:
        if isinstance(tree, exp.Neg):
            return -self._number(tree.this, sign)
        if not isinstance(tree, exp.Literal) or tree.is_string:
            compared = f"'{sign}' compares with a number; texts are compared by = and in."
            raise self._refused(tree, _FORM if sign == "=" else compared)
        try:
            found = Decimal(str(tree.this))
        except InvalidOperation:
            raise self._refused(tree) from None
        return int(found) if found == found.to_integral_value() and found.adjusted() < _DIGITS else found

    def _at(self, tree: Any) -> int:
        places = [each.meta["start"] for each in tree.walk() if "start" in each.meta]
        return min(places, default=self._after(tree))

    def _after(self, tree: Any) -> int:
        """Where a part without a place of its own stands: behind what came before it."""
        seen = [each.meta["end"] + 1 for each in tree.root().walk() if "end" in each.meta] if tree.parent else []
        return min(seen, default=0)

    def _refused(self, tree: Any, hint: str = _FORM) -> DataError:
        what = f"'{tree.sql(dialect='duckdb')}' is nothing a selection can ask"
        return refusal(self._text, self._at(tree), what, hint)


def _others(tree: Any, *known: str) -> bool:
    return any(value for name, value in tree.args.items() if name not in known)


_JOINS: Mapping[type, Callable[[Selection, Selection], Selection]] = MappingProxyType({exp.And: Both, exp.Or: Either})
_COMPARISONS = frozenset({exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE})
_TURNED = MappingProxyType(
    {exp.EQ: exp.EQ, exp.NEQ: exp.NEQ, exp.LT: exp.GT, exp.LTE: exp.GTE, exp.GT: exp.LT, exp.GTE: exp.LTE}
)
_SIGNS = MappingProxyType({exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="})
_BOUNDS: Mapping[type, Callable[[Name, Number], Within]] = MappingProxyType(
    {
        exp.LT: lambda name, bound: Within(name, high=bound, below=True),
        exp.LTE: lambda name, bound: Within(name, high=bound),
        exp.GT: lambda name, bound: Within(name, low=bound, above=True),
        exp.GTE: lambda name, bound: Within(name, low=bound),
    }
)
