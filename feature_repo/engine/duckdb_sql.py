"""Compile windowed and ordinary views to DuckDB SQL.

A windowed view is answered by equi-joins: the events of the entities asked for are folded into tiles once, spine rows
take the whole tiles of their longest window, and the raw events of the tile they stand in; each window is a FILTER over
the pieces of a row. The functions here are pure: text in, text out, so a reviewer can read the SQL in the snapshots.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from feature_repo.engine.monoids import SQL_TYPES, TIME, Monoid
from feature_repo.engine.spec import WindowedFeature, WindowedView
from feature_repo.engine.tiles import floor_sql

ROW = "__row"
AT = "__at"


@dataclass(frozen=True)
class Source:
    """Where a view's rows come from.

    Attributes
    ----------
    relation
        DuckDB table expression.
    upto_version
        Rows with a higher ``log_version`` are not read; None reads all.
    known_by_at
        Read only rows the log had learned of at the row's instant (``filter_by_created_timestamp``).
    versioned
        Whether rows carry ``log_version``: of rows with one event time, the one of the latest commit is a correction.
    """

    relation: str
    upto_version: int | None = None
    known_by_at: bool = False
    versioned: bool = True

    @property
    def condition(self) -> str:
        """Rows of the log version, as a WHERE condition."""
        limited = self.versioned and self.upto_version is not None
        return f"log_version <= {self.upto_version}" if limited else "true"

    @property
    def tie(self) -> str:
        """Which of several rows with one event time holds, as ORDER BY terms over ``known`` and the row's columns."""
        return f"{'log_version DESC, ' if self.versioned else ''}known DESC NULLS LAST"


@dataclass(frozen=True)
class StateColumns:
    """State columns ``s0..`` of a query, and how they are made, merged and read."""

    monoids: tuple[Monoid, ...]

    @classmethod
    def of(cls, features: Sequence[WindowedFeature]) -> StateColumns:
        found = {monoid.key: monoid for feature in features for monoid in feature.monoids}
        return cls(tuple(found[key] for key in sorted(found)))

    @property
    def names(self) -> str:
        return ", ".join(f"s{i}" for i in range(len(self.monoids)))

    def lifted(self, about: str) -> str:
        """Aggregates over raw events; the states refer to the instant ``about`` (BIGINT us)."""
        return ", ".join(
            f"{monoid.lift_sql(input_column(monoid), ts='ts', event_id='event_id', about=about)} AS s{i}"
            for i, monoid in enumerate(self.monoids)
        )

    def merges(self, view: WindowedView, features: Sequence[WindowedFeature]) -> str:
        needed = {(self.monoids.index(monoid), feature.reach) for feature in features for monoid in feature.monoids}
        return ", ".join(self._merge(view, i, window) for i, window in sorted(needed))

    def _merge(self, view: WindowedView, i: int, window: int) -> str:
        condition = f"tile >= {_first_tile(view, window)}"
        merged = self.monoids[i].merge_sql(f"s{i}", condition=condition, about="spine.instant")
        return f"{merged} AS m{i}_{window}"

    def merged_names(self, feature: WindowedFeature) -> list[str]:
        return [f"m{self.monoids.index(monoid)}_{feature.reach}" for monoid in feature.monoids]


def quote(name: str) -> str:
    """Quote an identifier.

    >>> quote('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def windows_sql(
    view: WindowedView,
    features: Sequence[WindowedFeature],
    *,
    source: Source,
    spine: str,
    keys: dict[str, str],
    span: tuple[int, int],
    outputs: Sequence[str],
) -> str:
    """Return a query giving one row per spine row: ``__row`` and the features under ``outputs``.

    Parameters
    ----------
    spine
        Relation with ``__row`` (BIGINT), ``__at`` (BIGINT us) and the key columns.
    keys
        Join key of the view -> SQL expression over the spine, in the type of the source's column.
    span
        Smallest and largest ``__at`` of the spine: events outside their windows are not read.
    """
    state = StateColumns.of(features)
    longest = max(feature.reach for feature in features)
    join = " AND ".join(f"e.k{i} = s.k{i}" for i in range(len(keys)))
    key_list = ", ".join(f"k{i}" for i in range(len(keys)))
    end = f"(tile + 1) * {view.hop}"
    prompt = f"known < {end}" if source.known_by_at else "true"
    late = _late_pieces(view, longest, state.lifted(end), join) if source.known_by_at else ""
    head_known = "AND e.known < s.instant" if source.known_by_at else ""
    values = ", ".join(
        f"{_value(feature, state.merged_names(feature))} AS {quote(output)}"
        for feature, output in zip(features, outputs, strict=True)
    )
    return f"""
WITH spine AS (
    SELECT {ROW} AS id, {_expressions(keys.values())}, {AT} AS instant, {floor_sql(AT, view.hop)} AS head FROM {spine}
),
events AS (
    SELECT {key_list}, ts, known, {floor_sql("ts", view.hop)} AS tile, {input_columns(state.monoids)}
    FROM ({events_sql(view, keys, state.monoids, source, span, longest)}) SEMI JOIN spine USING ({key_list})
),
tiles AS (SELECT {key_list}, tile, {state.lifted(end)} FROM events WHERE {prompt} GROUP BY ALL),
pieces AS (
    SELECT s.id, s.instant, e.tile, {state.names} FROM spine s JOIN tiles e
        ON {join} AND e.tile < s.head AND e.tile >= {_first_tile(view, longest, "s.instant")}
    UNION ALL
    SELECT s.id, s.instant, e.tile, {state.lifted(end)} FROM spine s JOIN events e
        ON {join} AND e.tile = s.head AND e.ts < s.instant {head_known} GROUP BY ALL{late}
),
merged AS (
    SELECT spine.id, spine.instant, {state.merges(view, features)}
    FROM spine LEFT JOIN pieces ON pieces.id = spine.id GROUP BY spine.id, spine.instant
)
SELECT id AS {ROW}, {values} FROM merged""".strip()


def asof_sql(
    *,
    source: Source,
    spine: str,
    keys: dict[str, str],
    columns: dict[str, str],
    timestamp_field: str,
    created_field: str,
    ttl: int,
) -> str:
    """Return a query giving one row per spine row: ``__row`` and an ordinary view's latest row at or before ``__at``.

    Of rows with the same event time the latest commit's is taken, of those the one created last. A row older than
    ``ttl`` (us; 0 = never) is NULL.

    Parameters
    ----------
    columns
        Source column -> output name.
    """
    created = quote(created_field) if created_field else "NULL::TIMESTAMPTZ"
    picked = ", ".join(f"{quote(column)} AS c{i}" for i, column in enumerate(columns))
    alive = f"r.ts >= s.instant - {ttl}" if ttl else "true"
    values = ", ".join(f"CASE WHEN {alive} THEN r.c{i} END AS {quote(name)}" for i, name in enumerate(columns.values()))
    join = " AND ".join(f"s.k{i} = r.k{i}" for i in range(len(keys)))
    key_list = ", ".join(f"k{i}" for i in range(len(keys)))
    version = "log_version, " if source.versioned else ""
    rows = f"""
    SELECT {_aliased(keys)}, epoch_us({quote(timestamp_field)}) AS ts, epoch_us({created}) AS known, {version} {picked}
    FROM {source.relation} WHERE {source.condition} AND {quote(timestamp_field)} IS NOT NULL"""
    spine_cte = f"SELECT {ROW} AS id, {AT} AS instant, {_expressions(keys.values())} FROM {spine}"
    if source.known_by_at:
        return f"""
WITH s AS ({spine_cte}), r AS ({rows}),
best AS (
    SELECT s.id, r.* FROM s JOIN r ON {join} AND r.ts <= s.instant AND r.known <= s.instant
    QUALIFY row_number() OVER (PARTITION BY s.id ORDER BY r.ts DESC, {source.tie}) = 1
)
SELECT s.id AS {ROW}, {values} FROM s LEFT JOIN best r ON r.id = s.id""".strip()
    return f"""
WITH s AS ({spine_cte}),
r AS (
    SELECT * FROM ({rows})
    QUALIFY row_number() OVER (PARTITION BY {key_list}, ts ORDER BY {source.tie}) = 1
)
SELECT s.id AS {ROW}, {values} FROM s ASOF LEFT JOIN r ON {join} AND s.instant >= r.ts""".strip()


def events_sql(
    view: WindowedView,
    keys: Iterable[str],
    monoids: Iterable[Monoid],
    source: Source,
    span: tuple[int, int] | None,
    longest: int,
    *,
    extra: str = "0 AS nothing",
) -> str:
    ts = quote(view.timestamp_field)
    known = f"epoch_us({quote(view.created_field)})" if source.known_by_at else "0"
    inputs = dict.fromkeys(f"{quote(monoid.column)} AS {input_column(monoid)}" for monoid in monoids if monoid.column)
    named = ["event_id"] if any(monoid.needs_event_id for monoid in monoids) else []
    columns = ", ".join([extra, *inputs, *named])
    within = ""
    if span is not None:
        oldest = (span[0] - longest) // view.hop * view.hop
        within = f" AND {ts} >= make_timestamptz({oldest}) AND {ts} < make_timestamptz({span[1]})"
    return (
        f"SELECT {_aliased(keys)}, epoch_us({ts}) AS ts, {known} AS known, {columns} "
        f"FROM {source.relation} WHERE {source.condition}{within}"
    )


def _late_pieces(view: WindowedView, longest: int, lifted: str, join: str) -> str:
    return f"""
    UNION ALL
    SELECT s.id, s.instant, e.tile, {lifted} FROM spine s JOIN events e
        ON {join} AND e.tile < s.head AND e.tile >= {_first_tile(view, longest, "s.instant")}
        AND e.known >= (e.tile + 1) * {view.hop} AND e.known < s.instant GROUP BY ALL"""


def _first_tile(view: WindowedView, window: int, at: str = "spine.instant") -> str:
    return floor_sql(f"({at} - {window})", view.hop)


def input_column(monoid: Monoid) -> str:
    """Return the quoted column of the events CTE a monoid reads."""
    return quote(f"x_{monoid.column}") if monoid.column else ""


def input_columns(monoids: Iterable[Monoid]) -> str:
    named = ["event_id"] if any(monoid.needs_event_id for monoid in monoids) else []
    return ", ".join([*dict.fromkeys(input_column(monoid) for monoid in monoids if monoid.column), *named]) or "nothing"


def _expressions(expressions: Iterable[str]) -> str:
    return ", ".join(f"{expression} AS k{i}" for i, expression in enumerate(expressions))


def _aliased(columns: Iterable[str]) -> str:
    return _expressions(quote(column) for column in columns)


def _value(feature: WindowedFeature, states: Sequence[str]) -> str:
    value = feature.kernel.value_sql(states, "instant", feature.kind)
    if feature.kind == TIME:
        return f"make_timestamptz({value})"
    return f"CAST({value} AS {SQL_TYPES[feature.kind]})"
