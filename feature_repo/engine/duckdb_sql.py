"""What the SQL of views has in common: names, sources, the events a view reads. Pure functions: text in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from feature_repo.engine.monoids import Monoid
from feature_repo.engine.spec import WindowedView
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
