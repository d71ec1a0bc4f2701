"""Compile windowed and ordinary views to DuckDB SQL.

A windowed view is answered by equi-joins: the events of the entities asked for are folded into tiles once, spine rows
take the whole tiles of their longest window, and the raw events of the tile they stand in; each window is a FILTER over
the pieces of a row. The functions here are pure: text in, text out, so a reviewer can read the SQL in the snapshots.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from feature_repo.engine.monoids import Monoid
from feature_repo.engine.spec import WindowedFeature, WindowedView
from feature_repo.events.log import EVENT_ID

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
    def states(self) -> list[str]:
        """Names of the state columns."""
        return [f"s{i}" for i in range(len(self.monoids))]

    @property
    def names(self) -> str:
        """Names of the state columns, as a select list."""
        return ", ".join(self.states)

    @property
    def inputs(self) -> list[str]:
        """Columns of ``events_sql`` that the states are made of, ``ts`` and ``known`` apart."""
        columns = dict.fromkeys(input_column(monoid) for monoid in self.monoids if monoid.column)
        return [*(["event_id"] if needs_event_id(self.monoids) else []), *columns]

    def lifted(self, about: str) -> str:
        """Aggregates over raw events; the states refer to the instant ``about`` (BIGINT us)."""
        return ", ".join(
            f"{monoid.lift_sql(input_column(monoid), ts='ts', event_id='event_id', about=about)} AS s{i}"
            for i, monoid in enumerate(self.monoids)
        )

    def merged(self, i: int, condition: str, about: str) -> str:
        """Aggregate over the states ``s<i>`` for which the condition holds, about an instant."""
        return self.monoids[i].merge_sql(f"s{i}", condition=condition, about=about)

    def remerged(self, about: str) -> str:
        """Aggregates over all states, under their own names."""
        return ", ".join(f"{self.merged(i, 'true', about)} AS s{i}" for i in range(len(self.monoids)))


def needs_event_id(monoids: Iterable[Monoid]) -> bool:
    """Whether a state breaks ties by event id."""
    return any(monoid.needs_event_id for monoid in monoids)


def quote(name: str) -> str:
    """Quote an identifier.

    >>> quote('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def events_sql(
    view: WindowedView,
    keys: Iterable[str],
    monoids: Sequence[Monoid],
    source: Source,
    span: tuple[int, int] | None,
    longest: int,
    *,
    extra: str = "",
) -> str:
    """Return a query of the events a view reads: keys ``k0..``, ``ts`` and ``known`` (BIGINT us), inputs of monoids.

    Parameters
    ----------
    span
        Instants of the spine: events that none of its windows can hold are left out; None leaves nothing out.
    longest
        How far back the windows look (us).
    extra
        A further column.
    """
    ts = quote(view.timestamp_field)
    created = quote(view.created_field)
    inputs = dict.fromkeys(f"{quote(monoid.column)} AS {input_column(monoid)}" for monoid in monoids if monoid.column)
    columns = [aliased(map(quote, keys)), f"epoch_us({ts}) AS ts", *([extra] if extra else [])]
    conditions = [source.condition]
    if source.known_by_at:
        columns.append(f"epoch_us({created}) AS known")
        conditions.append(f"{created} IS NOT NULL")
    if needs_event_id(monoids):
        columns.append(f"CAST({quote(EVENT_ID)} AS VARCHAR) AS event_id")
    if span is not None:
        oldest = (span[0] - longest) // view.hop * view.hop
        conditions += [f"{ts} >= make_timestamptz({oldest})", f"{ts} < make_timestamptz({span[1]})"]
    where = " AND ".join(condition for condition in conditions if condition != "true") or "true"
    return f"SELECT {', '.join([*columns, *inputs])} FROM {source.relation} WHERE {where}"


def input_column(monoid: Monoid) -> str:
    """Return the quoted column of the events query that a monoid reads."""
    return quote(f"x_{monoid.column}") if monoid.column else ""


def aliased(expressions: Iterable[str]) -> str:
    """Select list of key expressions: ``k0``, ``k1``."""
    return ", ".join(f"{expression} AS k{i}" for i, expression in enumerate(expressions))
