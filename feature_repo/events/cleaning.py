"""What every row passes before it is committed, wherever it comes from: rules on whole Arrow tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.core.errors import DataError
from feature_repo.events.log import CLIENT_TIMESTAMP, EVENT_TIMESTAMP, INGESTED_AT
from feature_repo.events.records import INT_MAX, INT_MIN
from feature_repo.events.schema import arrow_schema, choices
from feature_repo.privacy.pseudonyms import PSEUDONYM_PATTERN

USER_ID = "user_id"

# What Python's calendar has; an instant outside it is a unit taken for another, and whoever prints it fails.
_FIRST_INSTANT = pa.scalar(datetime(1, 1, 1, tzinfo=UTC), pa.timestamp("us", "UTC"))
_LAST_INSTANT = pa.scalar(datetime.max.replace(tzinfo=UTC), pa.timestamp("us", "UTC"))


def normalise(table: pa.Table) -> pa.Table:
    """Apply the door's rules; twice is once.

    Parameters
    ----------
    table
        Any columns; instants as ``timestamp[us, UTC]``. Without ``client_timestamp`` the given ``event_timestamp`` is
        the client's word.

    Returns
    -------
    pa.Table
        The same columns and rows. ``event_timestamp`` is the earlier of the client's time and ``ingested_at``; where
        that moved it, ``client_timestamp`` (added if missing) keeps the client's. Floats that are not finite are NULL
        and ``-0.0`` is ``0.0``; strings are stripped, and NULL when nothing is left.

    >>> normalise(pa.table({"amount": [-0.0, float("nan")], "query": [" tea ", " "]})).to_pydict()
    {'amount': [0.0, None], 'query': ['tea', None]}
    """
    for index, field in enumerate(table.schema):
        rule = _RULES.get(field.type)
        if rule is not None:
            table = table.set_column(index, field.name, rule(table[field.name]))
    return _not_after_arrival(table)


def complete(table: pa.Table, event_type: str) -> pa.Table:
    """Bring a table into the shape of its event type: declared columns in order, missing ones NULL, others dropped.

    Raises
    ------
    DeclarationError
        There is no such event type.
    DataError
        A column has a value its declared type cannot hold.
    """
    columns = [_column(table, field, event_type) for field in arrow_schema(event_type)]
    return pa.table(columns, names=arrow_schema(event_type).names)


def faults(table: pa.Table, event_type: str) -> pa.ChunkedArray:
    """Why each row cannot be committed: a short reason, the first that applies; NULL for a good row.

    Parameters
    ----------
    table
        A table in the shape of its event type (`complete`), after `normalise`.

    Returns
    -------
    pa.ChunkedArray
        ``missing_<column>`` for NULL in a column that must not be, ``integer_out_of_range_<column>`` outside
        ``-2^53 .. 2^53``, ``unknown_<column>`` for a word the column does not know, ``user_id_not_a_pseudonym``,
        ``instant_out_of_range_<column>`` outside the years 1 to 9999.

    >>> row = {"event_id": ["a"], "event_timestamp": [0], "ingested_at": [0], "user_id": ["2375"]}
    >>> faults(complete(pa.table(row), "purchase"), "purchase").to_pylist()
    ['user_id_not_a_pseudonym']
    """
    reasons = pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    for reason, bad in _checks(table, event_type):
        if not pc.any(bad).as_py():
            continue  # as nearly always; a column of reasons is not built for nothing
        applies = pc.and_(pc.is_null(reasons), pc.fill_null(bad, False))
        reasons = pc.if_else(applies, reason, reasons)
    return reasons


def named(user_ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether each value is a pseudonym; NULL for NULL."""
    return pc.match_substring_regex(user_ids, PSEUDONYM_PATTERN)


def _column(table: pa.Table, field: pa.Field, event_type: str) -> pa.ChunkedArray | pa.Array:
    if field.name not in table.column_names:
        return pa.nulls(table.num_rows, field.type)
    column = table[field.name]
    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # Arrow's message quotes the value, which may name a person.
        raise DataError(
            f"Column '{field.name}' of '{event_type}' has a {column.type} that is no {field.type}.",
            hint=f"bring it as {field.type}, or as a type all of whose values it can hold.",
        ) from None


def _checks(table: pa.Table, event_type: str) -> list[tuple[str, pa.ChunkedArray]]:
    schema = arrow_schema(event_type)
    missing = [(f"missing_{field.name}", pc.is_null(table[field.name])) for field in schema if not field.nullable]
    integers = [field.name for field in schema if field.type == pa.int64()]
    ranges = [(f"integer_out_of_range_{name}", _out_of_range(table[name])) for name in integers]
    words = [
        (f"unknown_{name}", pc.invert(pc.is_in(table[name], pa.array(known))))
        for name, known in choices(event_type).items()
    ]
    users = [("user_id_not_a_pseudonym", pc.invert(named(table[USER_ID])))] if USER_ID in schema.names else []
    instants = [field.name for field in schema if pa.types.is_timestamp(field.type)]
    calendar = [(f"instant_out_of_range_{name}", _out_of_calendar(table[name])) for name in instants]
    return [*missing, *ranges, *words, *users, *calendar]


def _out_of_range(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.or_(pc.less(column, INT_MIN), pc.greater(column, INT_MAX))


def _out_of_calendar(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.or_(pc.less(column, _FIRST_INSTANT), pc.greater(column, _LAST_INSTANT))


def _finite(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # Adding 0.0 turns -0.0 into 0.0 and changes nothing else.
    return pc.if_else(pc.is_finite(column), pc.add(column, 0.0), pa.scalar(None, pa.float64()))


def _stripped(column: pa.ChunkedArray) -> pa.ChunkedArray:
    text = pc.utf8_trim_whitespace(column)
    ruled = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    # Most columns are clean already; handing them on as they are saves a copy of the table.
    return column if ruled.equals(column) else ruled


def _not_after_arrival(table: pa.Table) -> pa.Table:
    if EVENT_TIMESTAMP not in table.column_names or INGESTED_AT not in table.column_names:
        return table
    said = table[EVENT_TIMESTAMP]
    client = table[CLIENT_TIMESTAMP] if CLIENT_TIMESTAMP in table.column_names else pa.nulls(len(said), said.type)
    claimed = pc.coalesce(client, said)
    arrived = table[INGESTED_AT]
    ahead = pc.fill_null(pc.less(arrived, claimed), False)
    happened = pc.coalesce(pc.if_else(ahead, arrived, claimed), arrived)
    kept = pc.if_else(pc.and_kleene(pc.is_null(client), pc.equal(claimed, happened)), client, claimed)
    return _put(_put(table, EVENT_TIMESTAMP, happened), CLIENT_TIMESTAMP, kept)


def _put(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    if name not in table.column_names:
        return table.append_column(name, column)
    return table.set_column(table.column_names.index(name), name, column)


_RULES: dict[pa.DataType, Callable[[pa.ChunkedArray], pa.ChunkedArray]] = {
    pa.float64(): _finite,
    pa.string(): _stripped,
}
