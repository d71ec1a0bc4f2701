"""What tags read of the log: features of everybody at an instant, by the point-in-time engine.

The readings are of the same kind as those of Redis, so that on-demand features, models and tags are computed from them
by the same code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_repo.core.clock import delta_us, from_us
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.duckdb_sql import quote
from feature_repo.engine.point_in_time import EVENT_TIMESTAMP, PointInTimeQuery, Request, write_spine
from feature_repo.engine.sources import MappedSource, located, reading_from
from feature_repo.engine.window_reader import Answers
from feature_repo.events.log import LOG_VERSION, read_snapshot
from feature_repo.privacy.tombstones import Tombstones
from serving.entities import USER
from serving.online_features import Reading, ServicePlan
from serving.service_views import Columns, OrdinaryPart, WindowedPart
from serving.tags.inputs import NEVER, Ints

Part = WindowedPart | OrdinaryPart

_INSTANT = pa.timestamp("us", "UTC")


@dataclass(frozen=True, eq=False)
class Read:
    """What was read of some shoppers.

    Attributes
    ----------
    reading
        Of the plan.
    stamps
        Ordinary view -> event time (us) of each shopper's row in force, ``NEVER`` without one.
    known
        Whether anything had happened with each by then: ``bool[n]``.
    """

    reading: Reading
    stamps: Mapping[str, Ints]
    known: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LogSource:
    """The log as of an instant, at the versions its tables have when it is first asked.

    Attributes
    ----------
    plan
        What is read, all about shoppers alone.
    at
        Instant (us): windows end there, and of ordinary views the latest row holds that is not later, as online.
    """

    settings: Settings
    plan: ServicePlan
    at: int

    def everybody(self) -> list[str]:
        """Return the pseudonyms of all who had done anything the plans read, sorted; nobody who was erased.

        Raises
        ------
        LogError
            A table is missing or damaged.
        """
        with self._connected() as connection:
            found = connection.sql(f"SELECT {USER} FROM ({self._people}) ORDER BY 1").to_arrow_table()
        standing: list[str] = Tombstones(self.settings.home).standing_rows(found)[USER].to_pylist()
        return standing

    def read(self, users: Sequence[str]) -> Read:
        """Return what the plan says of some shoppers, in their order.

        Raises
        ------
        LogError
            A table is missing or damaged.
        """
        rows, at = len(users), from_us(self.at)
        spine = pa.table({USER: pa.array(users, pa.string()), EVENT_TIMESTAMP: pa.array([at] * rows, _INSTANT)})
        with self._connected() as connection:
            found = PointInTimeQuery(self._request).run(connection, write_spine(connection, spine, EVENT_TIMESTAMP))
            connection.register("asked", spine.append_column("row", pa.array(np.arange(rows))))
            stamps = {part.name: self._stamps(connection, part) for part in self.plan.ordinary}
            known = self._known(connection)
        columns = {name: found[name].combine_chunks() for name in found.column_names[spine.num_columns :]}
        stored: Columns = {name: columns[name] for part in self._parts for name in part.types}
        return Read(Reading(self.plan, stored, known, rows, (), Answers([], [], [])), stamps, known)

    @cached_property
    def log_versions(self) -> dict[str, int]:
        """Table -> version, of every table that is read."""
        places = sorted({located(part.declared.batch_source.path) for part in self._parts})
        return {Path(place).name: read_snapshot(place).version for place in places}

    @property
    def _parts(self) -> tuple[Part, ...]:
        return (*self.plan.windowed, *self.plan.ordinary)

    @property
    def _request(self) -> Request:
        """Everything the plan reads."""
        refs = dict.fromkeys(name.replace("__", ":", 1) for part in self._parts for name in part.types)
        views = [part.declared for part in self._parts]
        versions = {view.name: self.log_versions[_table(view)] for view in views}
        return Request.of(views, list(refs), full_feature_names=True, versions=versions)

    @contextmanager
    def _connected(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with (
            closing(connect_duckdb(self.settings)) as connection,
            reading_from(*[part.declared.batch_source for part in self._parts]),
        ):
            yield connection

    @property
    def _people(self) -> str:
        """Query of everybody who had done anything."""
        return " UNION ".join(self._before(part, USER) for part in self._parts)

    def _before(self, part: Part, picked: str) -> str:
        """Query of what the log held of somebody at the instant, for a view."""
        mapped, held = MappedSource.of(part.declared.batch_source), "<=" if isinstance(part, OrdinaryPart) else "<"
        ts = quote(mapped.timestamp_field)
        where = f"{USER} IS NOT NULL AND {ts} {held} make_timestamptz({self.at})"
        if LOG_VERSION in mapped.schema.names:
            where += f" AND {LOG_VERSION} <= {self.log_versions[_table(part.declared)]}"
        return f"SELECT {picked.format(ts=ts)} FROM {mapped.relation} WHERE {where}"

    def _stamps(self, connection: duckdb.DuckDBPyConnection, part: OrdinaryPart) -> Ints:
        latest = f"{self._before(part, f'{USER}, max(epoch_us({{ts}})) AS stamp')} GROUP BY {USER}"
        stamps = self._of_each(connection, latest, f"coalesce(stamp, {NEVER})").astype(np.int64)
        oldest = self.at - delta_us(part.declared.ttl) if part.declared.ttl else NEVER
        return np.where(stamps >= oldest, stamps, NEVER)

    def _known(self, connection: duckdb.DuckDBPyConnection) -> npt.NDArray[np.bool_]:
        here = self._of_each(connection, f"SELECT {USER}, true AS here FROM ({self._people})", "here IS NOT NULL")
        return here.astype(np.bool_)

    def _of_each(self, connection: duckdb.DuckDBPyConnection, query: str, picked: str) -> npt.NDArray[Any]:
        """Return something of each shopper who was asked about, in their order."""
        joined = connection.sql(f"SELECT {picked} AS found FROM asked LEFT JOIN ({query}) USING ({USER}) ORDER BY row")
        found: npt.NDArray[Any] = joined.to_arrow_table()["found"].to_numpy()
        return found


def _table(view: Any) -> str:
    return Path(located(view.batch_source.path)).name
