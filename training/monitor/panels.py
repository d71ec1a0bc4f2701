"""What is watched, week by week: events as they arrive, and the model's inputs for whom it could be asked about now.

A panel is a table with the week (0 ends at the instant asked for, 1 a week before, ..), the shopper, and columns that
are compared between weeks. What shoppers do within a week is seen at once in the events; the inputs, of windows up to
a year, follow slowly, and are what the model reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from feature_repo.core.clock import delta_us, from_us
from feature_repo.core.errors import DeclarationError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.duckdb_sql import quote
from feature_repo.engine.feature_store import open_store, quiet_feast
from feature_repo.engine.services import ServiceViews, StoredView, service_views
from feature_repo.events.log import reading
from feature_repo.events.schema import arrow_schema
from training.data.features import features_at
from training.data.labels import AT
from training.data.log_views import SPAN, Versions, head_versions, open_tables, tables_in
from training.task import Task

WEEK, SHOPPER = "week", "shopper"
ACTIVE, SPINE = "active_shoppers", "asked_about"
WEEK_US = delta_us(timedelta(days=7))
ACTIVE_WEEKS = 12
NEW_WEEKS = 4
MOST_ROWS = 150_000
MOST_EVENTS = 600_000
# Inputs that are of fewer things a week are no sample: what PSI says of so few is noise.
LEAST_THINGS = 100

EVENT, SHOPPERS, FEATURE, SCORE = "event", "shopper", "feature", "score"
_OWN = ("event_id", "user_id", "log_version")


@dataclass(frozen=True, eq=False)
class Panel:
    """Rows of several weeks.

    Attributes
    ----------
    kind
        What its columns are: ``event``, ``shopper`` or ``feature``.
    frame
        ``week``, ``shopper`` and the columns compared, each under the name it is shown by.
    left_out
        Columns that are not compared: the same in all rows, as the caller's defaults, or of a few things alone.
    """

    kind: str
    frame: pd.DataFrame
    left_out: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The columns compared."""
        return [name for name in self.frame.columns if name not in (WEEK, SHOPPER, *self.left_out)]

    def kind_of(self, name: str) -> str:
        """Return what a column is: the panel's kind, or ``score``."""
        return SCORE if name == SCORE else self.kind

    def with_scores(self, scores: npt.NDArray[np.float64]) -> Panel:
        """Return the panel with a column of scores."""
        return replace(self, frame=self.frame.assign(**{SCORE: scores}))


@dataclass(frozen=True)
class Sample:
    """Of how many shoppers one is looked at: in the model's inputs, and in the events."""

    inputs: int = 1
    events: int = 1


@dataclass(frozen=True, eq=False)
class Look:
    """What is looked at: a task, at an instant (microseconds, itself not included), over so many weeks before it."""

    task: Task
    key: str
    settings: Settings
    versions: Versions
    at: int
    weeks: int

    @property
    def tables(self) -> list[str]:
        """Tables of the log the task's inputs and answers come from."""
        return sorted(self.versions)


def task_versions(task: Task, settings: Settings) -> Versions:
    """Return the head version of every table the task reads.

    Raises
    ------
    LogError
        A table is missing or damaged.
    """
    return head_versions(settings, _views(task).tables | tables_in(task.label) | {task.pulse})


def join_key(task: Task) -> str:
    """Return the column that names the task's entity."""
    with quiet_feast():
        return next(str(each.join_key) for each in open_store().list_entities() if each.name == task.entity)


def last_event(settings: Settings, table: str, versions: Versions) -> int | None:
    """Return the instant of a table's last event, microseconds; None without one.

    Raises
    ------
    LogError
        The table is missing or damaged.
    """
    with closing(connect_duckdb(settings)) as connection:
        snapshots = open_tables(connection, settings, {table: versions[table]})
        with reading(*snapshots):
            [(found,)] = connection.execute(f"SELECT epoch_us(max({AT})) FROM {quote(table)}").fetchall()
    return None if found is None else int(found)


def panels(look: Look, sample: Sample | None = None) -> tuple[Sample, list[Panel]]:
    """Return the panels of the weeks before an instant, and the sample they are of.

    Parameters
    ----------
    sample
        As of the panels these will be compared with; chosen so that they stay small unless given.

    Raises
    ------
    LogError
        A table is missing or damaged.
    """
    with closing(connect_duckdb(look.settings)) as connection:
        snapshots = open_tables(connection, look.settings, look.versions)
        with reading(*snapshots):
            _ask(connection, look)
            sample = sample or _choose(connection, look)
            events = [_events(connection, look, name, sample.events) for name in look.tables]
            shoppers = _shoppers(connection, look, sample.inputs)
            spine = _fetch(connection, f"SELECT * FROM {SPINE} WHERE {_kept(look, sample.inputs)}")
    seen = [*events, Panel(SHOPPERS, shoppers)]
    if look.task.candidates:  # whose inputs are of what is proposed, which is learnt anew at every instant
        return sample, seen
    constants = look.task.context_names if look.task.horizon is None else ()
    inputs = Panel(FEATURE, _features(look, spine), (*constants, *_of_few(look, spine)))
    return sample, [*seen, inputs]


def _choose(connection: duckdb.DuckDBPyConnection, look: Look) -> Sample:
    events = sum(_count(connection, _recent(look, name)) for name in look.tables)
    return Sample(_count(connection, SPINE) // MOST_ROWS + 1, events // MOST_EVENTS + 1)


def _views(task: Task) -> ServiceViews:
    with quiet_feast():
        return service_views(open_store(), task.service)


def _ask(connection: duckdb.DuckDBPyConnection, look: Look) -> None:
    """Find out who is active and who is asked about, with a span that lets the label query ask at the instant too."""
    asked_until = from_us(look.at) + (look.task.horizon or timedelta(0))
    connection.execute(
        f"CREATE TEMP TABLE {SPAN} AS SELECT min({AT}) AS first_at, ?::TIMESTAMPTZ AS last_at "
        f"FROM {quote(look.task.pulse)}",
        [asked_until],
    )
    connection.execute(f"CREATE TEMP TABLE {ACTIVE} AS {_active_query(look)}")
    try:
        connection.execute(f"CREATE TEMP TABLE {SPINE} AS {_spine_query(look)}")
    except duckdb.BinderException as error:
        raise DeclarationError(
            f"Task '{look.task.name}' cannot be watched: {error}",
            hint="its label query has to give the shopper and the instant of each question.",
        ) from None


def _active_query(look: Look) -> str:
    """Who came in the last twelve weeks, by week, and whether the log had known them for four."""
    key = quote(look.key)
    return f"""
        WITH visited AS (
            SELECT DISTINCT {key}, {_week(look)} AS seen FROM {quote(look.task.pulse)} WHERE {_before(look)}
        ), came AS (
            SELECT *, max(seen) OVER (PARTITION BY {key}) AS first_seen FROM visited
        ), weeks AS (SELECT unnest(range({look.weeks})) AS {WEEK})
        SELECT DISTINCT {WEEK}, {key}, first_seen < {WEEK} + {NEW_WEEKS} AS is_new
        FROM came JOIN weeks ON seen >= {WEEK} AND seen < {WEEK} + {ACTIVE_WEEKS}
        WHERE {WEEK} <= (SELECT max(seen) FROM came) + 1 - {ACTIVE_WEEKS}
    """


def _spine_query(look: Look) -> str:
    """Whom the task could be asked about: by its own query where it asks by the clock, else whoever is active."""
    week = f"(({look.at} - epoch_us({AT})) // {WEEK_US})::BIGINT"
    if look.task.horizon is not None:
        return f"SELECT *, {week} AS {WEEK} FROM ({look.task.label}) WHERE {week} BETWEEN 0 AND {look.weeks - 1}"
    context = "".join(f", {each.default} AS {quote(each.name)}" for each in look.task.context)
    return f"""
        SELECT {WEEK}, {quote(look.key)}, make_timestamptz({look.at} - {WEEK} * {WEEK_US}) AS {AT} {context}
        FROM {ACTIVE}
    """


def _of_few(look: Look, spine: pd.DataFrame) -> Iterator[str]:
    """Inputs about a few things and not about shoppers, such as categories: what moves them is seen in the events."""
    for each in _views(look.task).stored:
        if _things(look, spine, each) < LEAST_THINGS:
            yield from (f"{each.prefix}__{name}" for name in each.features)


def _things(look: Look, spine: pd.DataFrame, view: StoredView) -> float:
    """Of how many entities a view is asked in a week at most; of shoppers it does not matter."""
    named = view.view.projection.join_key_map
    keys = [named.get(key, key) for key in view.view.join_keys]
    if look.key in keys or not set(keys) <= set(spine.columns):
        return math.inf
    return float(spine[[WEEK, *keys]].drop_duplicates().groupby(WEEK).size().max())


def _features(look: Look, spine: pd.DataFrame) -> pd.DataFrame:
    spine[AT] = spine[AT].dt.as_unit("us")
    views = _views(look.task)
    found = features_at(views, spine, versions=look.versions, settings=look.settings)
    named = found[[WEEK, look.key, *look.task.context_names, *views.names]]
    return named.rename(columns={look.key: SHOPPER})


def _shoppers(connection: duckdb.DuckDBPyConnection, look: Look, one_of: int) -> pd.DataFrame:
    """Per active shopper and week: whether they are new, and how many events of each table they made."""
    joins = "".join(
        f" LEFT JOIN (SELECT {WEEK}, {quote(look.key)}, count(*) AS n FROM {_recent(look, name)} GROUP BY ALL) "
        f"AS {quote(name)} USING ({WEEK}, {quote(look.key)})"
        for name in look.tables
        if look.key in arrow_schema(name).names
    )
    counts = "".join(
        f", coalesce({quote(name)}.n, 0) AS {quote(f'{name}.per_shopper')}"
        for name in look.tables
        if look.key in arrow_schema(name).names
    )
    query = (
        f"SELECT {WEEK}, {quote(look.key)} AS {SHOPPER}, is_new::BIGINT AS {quote('shopper.is_new')}{counts} "
        f"FROM {ACTIVE}{joins} WHERE {_kept(look, one_of)}"
    )
    return _fetch(connection, query)


def _events(connection: duckdb.DuckDBPyConnection, look: Look, name: str, one_of: int) -> Panel:
    """Rows of a table with the columns worth comparing; texts that name single things, as orders, are not."""
    columns = ", ".join(f"{quote(each)} AS {quote(f'{name}.{each}')}" for each in _compared(name))
    selected = f"{WEEK}, {quote(look.key)} AS {SHOPPER}, {AT}{', ' if columns else ''}{columns}"
    kept = _kept(look, one_of) if one_of > 1 else "true"
    frame = _fetch(connection, f"SELECT {selected} FROM {_recent(look, name)} WHERE {kept}")
    local = frame[AT].dt.tz_convert(look.settings.zone)
    return Panel(EVENT, frame.drop(columns=AT).assign(**{f"{name}.hour": local.dt.hour.astype("int64")}))


def _compared(name: str) -> Iterator[str]:
    for field in arrow_schema(name):
        if field.name not in _OWN and not pa.types.is_timestamp(field.type) and not field.name.endswith("_id"):
            yield field.name


def _recent(look: Look, name: str) -> str:
    since = look.at - look.weeks * WEEK_US
    return (
        f"(SELECT *, {_week(look)} AS {WEEK} FROM {quote(name)} WHERE {_before(look)} AND epoch_us({AT}) >= {since}) "
        f"AS recent"
    )


def _week(look: Look) -> str:
    return f"(({look.at - 1} - epoch_us({AT})) // {WEEK_US})::BIGINT"


def _before(look: Look) -> str:
    return f"epoch_us({AT}) < {look.at}"


def _kept(look: Look, one_of: int) -> str:
    return f"hash({quote(look.key)}) % {one_of} = 0"


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    [(found,)] = connection.execute(f"SELECT count(*) FROM {relation}").fetchall()
    return int(found)


def _fetch(connection: duckdb.DuckDBPyConnection, query: str) -> pd.DataFrame:
    found: pd.DataFrame = connection.sql(query).to_arrow_table().to_pandas()
    return found
