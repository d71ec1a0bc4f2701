"""Exposures of an experiment joined with what became of the shoppers, from the log: one row per shopper.

A shopper counts from the first exposure on, by the event's own time; nothing that happened by then is an outcome.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from feature_repo.core.clock import DAY
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.events.log import Snapshot, read_snapshot, reading
from feature_repo.events.schema import table_path
from feature_repo.privacy.tombstones import Tombstones
from serving.experiments.experiment import Experiment
from serving.experiments.inference import Sample
from serving.experiments.outcomes import TABLES, Outcome

EXPOSURES = "experiment_exposure"


@dataclass(frozen=True)
class Exposed:
    """Who met an experiment.

    Attributes
    ----------
    shoppers
        Those who met one variant, by variant; every declared one is there.
    crossed
        Shoppers who met more than one: they are in none.
    undeclared
        Shoppers whose one variant the experiment does not declare: neither.
    """

    shoppers: Mapping[str, int]
    crossed: int
    undeclared: int


class Joined:
    """What the log says of one experiment; see :func:`joined`.

    Attributes
    ----------
    exposed
        Who met it.
    known_until
        The log's last event (us), at most now; None for an empty log. A span that ends later is not over.
    """

    def __init__(self, connection: Any, experiment: Experiment, tables: Mapping[str, Snapshot], now: int) -> None:
        self._connection = connection
        self._experiment = experiment
        self._tables = tables
        self.known_until = _last_event(connection, tables, now)
        self.exposed = Exposed(dict.fromkeys((each.name for each in experiment.variants), 0), 0, 0)

    def meet(self, tombstones: Tombstones) -> None:
        """Find out who met the experiment, without erased people whose rows are not removed yet."""
        rows = tombstones.standing_rows(self._first_exposures())
        self._connection.register("exposed", rows)
        counts = self._connection.sql("SELECT variant, variants > 1, count(*) FROM exposed GROUP BY ALL").fetchall()
        declared = self.exposed.shoppers
        alone = {variant: count for variant, crossed, count in counts if not crossed}
        self.exposed = Exposed(
            shoppers={name: alone.get(name, 0) for name in declared},
            crossed=sum(count for _, crossed, count in counts if crossed),
            undeclared=sum(count for variant, count in alone.items() if variant not in declared),
        )

    def samples(self, outcome: Outcome) -> dict[str, Sample]:
        """Return what became of the shoppers of each variant whose span is over."""
        begin, end = (days * DAY for days in outcome.span(self._experiment))
        value = f"coalesce(found.value, {'0' if outcome.of_all else 'NULL'})"
        found = self._connection.sql(f"""
            SELECT variant, count(value), avg(value), var_samp(value)
            FROM (
                SELECT e.variant, ({value})::DOUBLE AS value
                FROM exposed AS e LEFT JOIN (
                    SELECT e.user_id, {_AGGREGATES[outcome.kind, outcome.of_all]} AS value
                    FROM exposed AS e JOIN ({self._events(outcome)}) AS o ON o.user_id = e.user_id
                        AND o.ts > e.ts + {begin} AND o.ts <= e.ts + {end}
                    GROUP BY e.user_id
                ) AS found ON found.user_id = e.user_id
                WHERE e.variants = 1 AND e.ts + {end} <= {self.known_until or 0}
            )
            GROUP BY variant
        """).fetchall()
        known = {variant: Sample(n, mean, variance) for variant, n, mean, variance in map(_numbers, found) if n}
        nobody = Sample(0, math.nan)
        return {variant.name: known.get(variant.name, nobody) for variant in self._experiment.variants}

    def _first_exposures(self) -> pa.Table:
        """user_id, variant (of the first), ts (us), variants (how many different ones)."""
        if EXPOSURES not in self._tables:
            return _EXPOSED.empty_table()
        start, end = self._experiment.span_us
        return self._connection.sql(f"""
            SELECT user_id, arg_min(variant, ts) AS variant, min(ts) AS ts, count(DISTINCT variant) AS variants
            FROM (SELECT *, epoch_us(event_timestamp) AS ts FROM {self._tables[EXPOSURES].sql()})
            WHERE experiment = '{self._experiment.name}' AND ts >= {start} AND ts < {end} AND user_id IS NOT NULL
            GROUP BY user_id
        """).to_arrow_table()

    def _events(self, outcome: Outcome) -> str:
        value = outcome.value or "1"
        wanted = {name: condition for name, condition in outcome.events.items() if name in self._tables}
        parts = [
            f"SELECT user_id, epoch_us(event_timestamp) AS ts, {value} AS value FROM {self._tables[name].sql()}"
            f" WHERE user_id IS NOT NULL AND ({condition})"
            for name, condition in wanted.items()
        ]
        return " UNION ALL ".join(parts) or "SELECT NULL::VARCHAR AS user_id, 0::BIGINT AS ts, 0 AS value WHERE false"


@contextmanager
def joined(settings: Settings, experiment: Experiment, now: int) -> Iterator[Joined]:
    """Read an experiment's exposures, and what its outcomes are made of, as the log stands now.

    Raises
    ------
    LogError
        A table is damaged. One that does not exist yet is an empty one.
    SettingsError
        Who was erased cannot be read.
    """
    names = dict.fromkeys((EXPOSURES, *TABLES))
    paths = {name: table_path(settings.log_root, name) for name in names}
    tables = {name: read_snapshot(path) for name, path in paths.items() if DeltaTable.is_deltatable(str(path))}
    with ExitStack() as stack:
        connection = stack.enter_context(closing(connect_duckdb(settings)))
        stack.enter_context(reading(*tables.values()))
        found = Joined(connection, experiment, tables, now)
        found.meet(Tombstones(settings.home))
        yield found


_AGGREGATES = {("rate", True): "1", ("mean", True): "sum(o.value)", ("mean", False): "avg(o.value)"}
_EXPOSED = pa.schema([("user_id", pa.string()), ("variant", pa.string()), ("ts", pa.int64()), ("variants", pa.int64())])


def _last_event(connection: Any, tables: Mapping[str, Snapshot], now: int) -> int | None:
    lasts = [f"SELECT max(epoch_us(event_timestamp)) AS ts FROM {table.sql()}" for table in tables.values()]
    if not lasts:
        return None
    [(found,)] = connection.sql(f"SELECT max(ts) FROM ({' UNION ALL '.join(lasts)})").fetchall()
    return None if found is None else min(int(found), now)


def _numbers(row: tuple[str, int, float | None, float | None]) -> tuple[str, int, float, float]:
    variant, count, mean, variance = row
    return variant, count, math.nan if mean is None else mean, math.nan if variance is None else variance
