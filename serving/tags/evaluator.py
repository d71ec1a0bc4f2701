"""Evaluates tags: one SQL statement over a table of inputs, whether it holds one shopper or all of them.

To plan the statement takes DuckDB some forty times as long as to run it for one shopper. So it is prepared once, over a
relation that hands out whatever table it holds at the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from threading import local
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from feature_repo.core.clock import delta_us
from feature_repo.engine.duckdb_sql import quote
from serving.tags.inputs import AGE, Inputs

if TYPE_CHECKING:
    from feature_repo.definitions.tag_kinds import Tag

STRENGTH = "strength__"

_INPUTS = "inputs"


class Evaluator:
    """The value and the strength of some tags. Threads may share one: each has a connection of its own.

    Parameters
    ----------
    tags
        What to evaluate; retired ones are left out.
    """

    def __init__(self, tags: Iterable[Tag]) -> None:
        self.tags = tuple(tag for tag in tags if tag.lifecycle != "retired")
        self._kept = local()

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Tasks whose scores are read."""
        return tuple(sorted({tag.task for tag in self.tags if tag.task is not None}))

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Features that are read, by full name."""
        return tuple(sorted({name for tag in self.tags for name in tag.features}))

    def evaluate(self, inputs: Inputs) -> pa.Table:
        """Return ``<tag>`` (text or flag) and ``strength__<tag>`` (0 to 1) of each shopper, in their order."""
        table = inputs.table(self.features, self.tasks)
        kept = getattr(self._kept, "prepared", None)
        if kept is None or kept.schema != table.schema:
            kept = self._kept.prepared = _Prepared(self.sql(sorted(inputs.stamps)), table.schema)
        return kept.answer(table)

    def sql(self, views: Sequence[str]) -> str:
        """Return the statement.

        Parameters
        ----------
        views
            Ordinary views among the inputs, whose rows have ages.
        """
        query = _INPUTS
        for fresh, tags in self._by_freshness:
            stale = ", ".join(self._masked(views, fresh))
            masked = f"SELECT * REPLACE ({stale}) FROM {query}" if stale else f"SELECT * FROM {query}"
            said = ", ".join(part for tag in tags for part in _said(tag))
            query = f"(SELECT *, {said} FROM ({masked}))"
        return f"SELECT {', '.join(map(_picked, self.tags))} FROM {query}"

    @property
    def _by_freshness(self) -> list[tuple[timedelta | None, list[Tag]]]:
        """Those that take rows of any age first: what is too old for one is too old for all that come later."""
        limits = sorted({tag.fresh for tag in self.tags if tag.fresh is not None}, reverse=True)
        groups = [(fresh, [tag for tag in self.tags if tag.fresh == fresh]) for fresh in (None, *limits)]
        return [(fresh, tags) for fresh, tags in groups if tags]

    def _masked(self, views: Sequence[str], fresh: timedelta | None) -> Iterator[str]:
        """Features of ordinary views, NULL where the row is too old."""
        if fresh is None:
            return
        for name in self.features:
            view = name.split("__", 1)[0]
            if view in views:
                yield f"CASE WHEN {quote(AGE + view)} <= {delta_us(fresh)} THEN {quote(name)} END AS {quote(name)}"


def _said(tag: Tag) -> Iterator[str]:
    yield f"{tag.value.sql} AS {quote(tag.name)}"
    yield f"CAST({tag.strength.sql} AS DOUBLE) AS {quote(STRENGTH + tag.name)}"


def _picked(tag: Tag) -> str:
    """The tag and its strength, within 0 and 1; what is not known has none."""
    value, strength = quote(tag.name), quote(STRENGTH + tag.name)
    cases = f"WHEN {value} IS NULL THEN NULL WHEN {strength} > 1.0 THEN 1.0 WHEN {strength} < 0.0 THEN 0.0"
    return f"{value}, CASE {cases} ELSE {strength} END AS {strength}"


class _Prepared:
    """A statement over tables of one schema, planned once."""

    def __init__(self, sql: str, schema: pa.Schema) -> None:
        self.schema = schema
        self._feed = _Feed(schema.empty_table())
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.register(_INPUTS, self._feed)
        self._connection.execute(f"PREPARE said AS {sql}")

    def answer(self, table: pa.Table) -> pa.Table:
        self._feed.table = table
        try:
            return self._connection.sql("EXECUTE said").to_arrow_table()
        finally:
            self._feed.table = self.schema.empty_table()


class _Feed:
    """A relation that DuckDB reads by Arrow's C interface at every execution: the table it holds then."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_schema__(self) -> Any:
        return self.table.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)
