"""SQL expressions of tags: parsed when they are declared, and held to what gives one value of one shopper's row.

DuckDB's own parser reads them, and they are evaluated as DuckDB writes them down again: what a comment or an unbalanced
bracket would smuggle in is gone by then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb

from feature_repo.core.errors import DeclarationError, did_you_mean

TEXT, FLAG, NUMBER = "VARCHAR", "BOOLEAN", "DOUBLE"

# Column of a task's score: ``score__churn``.
SCORE = "score__"

# Parts of expressions that look at one row, and at nothing else.
_PARTS = frozenset(
    {"COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "OPERATOR", "CASE", "CAST", "BETWEEN", "TYPE", "FUNCTION"}
)
# Functions of their arguments alone: none that knows the time, chance, files or settings.
FUNCTIONS = frozenset(
    {"+", "-", "*", "/", "//", "%", "||", "abs", "ceil", "concat", "floor", "greatest", "least", "ln", "lower", "round"}
    | {"sign", "sqrt", "trim", "upper"}
)


_SAMPLES = {"VARCHAR": "'word'", "BIGINT": "1", "DOUBLE": "0.5", "BOOLEAN": "true"} | {
    "TIMESTAMP WITH TIME ZONE": "'2026-01-01 00:00:00+00'"
}


@dataclass(frozen=True)
class Expression:
    """An expression over the features of a row.

    Attributes
    ----------
    sql
        As DuckDB writes it.
    columns
        Full names of the features it reads, sorted.
    kind
        DuckDB's type of its value.
    """

    sql: str
    columns: tuple[str, ...]
    kind: str


def expression(text: str, types: Mapping[str, str], *, whose: str) -> Expression:
    """Parse an expression.

    Parameters
    ----------
    types
        Full name of a feature -> DuckDB's type; what may be read.
    whose
        What it belongs to, for errors.

    Raises
    ------
    DeclarationError
        It does not parse, reads what it must not, or its parts do not fit each other.

    >>> expression("CASE WHEN a__n > 2 THEN 'many' END", {"a__n": "BIGINT"}, whose="A tag").columns
    ('a__n',)
    >>> expression("a__m > 2", {"a__n": "BIGINT"}, whose="Tag 'x'")
    Traceback (most recent call last):
    feature_repo.core.errors.DeclarationError: Tag 'x' reads 'a__m', which is no feature of a shopper.
    Hint: did you mean 'a__n'?
    """
    node, sql = _parsed(text, whose)
    columns = sorted({_column(each, types, whose) for each in _parts(node, whose) if each["class"] == "COLUMN_REF"})
    return Expression(sql, tuple(columns), _type_of(sql, tuple((name, types[name]) for name in columns), whose))


def _parsed(text: str, whose: str) -> tuple[dict[str, Any], str]:
    """Return the parts of a text that is one expression, and the text as DuckDB writes it."""
    [said] = _ask("SELECT json_serialize_sql(?)", [f"SELECT ({text}\n)"])
    parsed = json.loads(said)
    if parsed["error"]:
        raise DeclarationError(
            f"{whose} has an SQL expression that does not parse: {parsed['error_message']}.",
            hint=f"it is read as SELECT ({text}).",
        )
    statements = parsed["statements"]
    node = statements[0]["node"]
    if len(statements) != 1 or node["type"] != "SELECT_NODE" or node["from_table"]["type"] != "EMPTY":
        raise _no_expression(whose)
    if len(node["select_list"]) != 1 or any(node[name] for name in ("where_clause", "having", "qualify", "modifiers")):
        raise _no_expression(whose)
    [written] = _ask("SELECT json_deserialize_sql(?)", [json.dumps(parsed)])
    return node["select_list"][0], str(written).removeprefix("SELECT ")


def _no_expression(whose: str) -> DeclarationError:
    return DeclarationError(f"{whose} has more than an SQL expression.", hint="write what stands behind SELECT, alone.")


def _parts(node: Any, whose: str) -> Iterator[dict[str, Any]]:
    """Every part of an expression; refuses those that look beyond the row."""
    if isinstance(node, list):
        for each in node:
            yield from _parts(each, whose)
    elif isinstance(node, dict):
        if "class" in node:
            _check(node, whose)
            yield node
        for each in node.values():
            yield from _parts(each, whose)


def _check(node: Mapping[str, Any], whose: str) -> None:
    kind = node["class"]
    if kind not in _PARTS:
        raise DeclarationError(
            f"{whose} has a {kind.lower()} in its SQL expression.", hint="it may look at one shopper's features alone."
        )
    if kind == "FUNCTION" and node["function_name"] not in FUNCTIONS:
        raise DeclarationError(
            f"{whose} calls '{node['function_name']}'.", hint=did_you_mean(node["function_name"], FUNCTIONS)
        )


def _column(node: Mapping[str, Any], types: Mapping[str, str], whose: str) -> str:
    name = ".".join(node["column_names"])
    if name not in types:
        raise DeclarationError(
            f"{whose} reads '{name}', which is no feature of a shopper.", hint=did_you_mean(name, types)
        )
    return name


@cache
def _type_of(sql: str, columns: tuple[tuple[str, str], ...], whose: str) -> str:
    row = ", ".join(f'{_SAMPLES[kind]}::{kind} AS "{name}"' for name, kind in columns) or "NULL AS nothing"
    try:
        # The second column is there to be computed: that a text is no number is only found by comparing it with one.
        found, _ = _ask(f"SELECT typeof({sql}), {sql} FROM (SELECT {row})", [])
    except duckdb.Error as error:
        first = str(error).splitlines()[0]
        raise DeclarationError(f"{whose} has parts that do not fit: {first}", hint="see the features' types.") from None
    return str(found)


def _ask(query: str, given: list[str]) -> tuple[Any, ...]:
    row = _parser().execute(query, given).fetchone()
    return tuple(row or ())


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})
