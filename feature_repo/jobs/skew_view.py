"""One view of served rows: what the offline store says of them, whole, and of what the state held of them."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from feast import FileSource

from feature_repo.core.clock import SECOND, delta_us
from feature_repo.engine.duckdb_sql import quote
from feature_repo.engine.feature_store import quiet_feast
from feature_repo.engine.point_in_time import EVENT_TIMESTAMP, PointInTimeQuery, Request, write_spine
from feature_repo.engine.services import StoredView
from feature_repo.engine.sources import MappedSource
from feature_repo.engine.spec import is_windowed, windowed_view_of
from feature_repo.engine.tiles import floor
from feature_repo.events.log import LOG_VERSION
from feature_repo.jobs.both_sides import TOLERANCE, distance, same
from feature_repo.jobs.served import AT, HELD, POSITION
from feature_repo.jobs.skew_causes import Beside

_ASKED = "skew_asked"


def differ(served: Any, offline: Any) -> bool:
    """Whether two values differ by more than the noise of floats.

    >>> differ(1.0, 1.0 + 1e-12), differ(1.0, None), differ(3, 4)
    (False, True, True)
    """
    if same(offline, served):
        return False
    size = max([1.0, *(abs(each) for each in (served, offline) if isinstance(each, float))])
    return distance(offline, served) > TOLERANCE * size


def values_of(column: pa.ChunkedArray, *, seconds: bool = False) -> list[Any]:
    """Return plain values; times in microseconds, of ordinary views cut to seconds, as Feast stores them."""
    if not pa.types.is_timestamp(column.type):
        return list(column.to_pylist())
    unit = SECOND if seconds else 1
    times = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist()
    return [None if at is None else at // unit * unit for at in times]


@dataclass(frozen=True, eq=False)
class SkewView:
    """A stored view of a service, and rows of it that were served and differ."""

    connection: duckdb.DuckDBPyConnection
    stored: StoredView
    rows: pa.Table

    @cached_property
    def ttl(self) -> int:
        """How long a row of an ordinary view is alive (us); 0 for ever."""
        view = self.stored.view
        return delta_us(view.ttl) if view.ttl and not self._windowed else 0

    def ages(self) -> list[int | None]:
        """How old each row of an ordinary view was when it was served (us)."""
        held = self.rows[HELD + self.stored.prefix].to_pylist()
        at = values_of(self.rows[AT])
        known = not self._windowed
        return [
            instant - stamp if known and stamp is not None else None for instant, stamp in zip(at, held, strict=True)
        ]

    def beside(self) -> list[Beside]:
        """What the log holds of each row beside what its state held."""
        self._register()
        ts, at = self._ts, "a.at"
        before = f"{ts} < {at}" if self._windowed else f"{ts} <= {at}"
        fed = f"{LOG_VERSION} <= a.fed" if self._versioned else "false"
        out = f"NOT coalesce({self._held}, false) AND {before} AND {ts} >= a.since"
        found = self.connection.execute(
            f"SELECT count(*) FILTER ({out} AND {self._late}), "
            f"count(*) FILTER ({out} AND NOT {self._late} AND NOT coalesce({fed}, false)), "
            f"count(*) FILTER ({out} AND NOT {self._late} AND coalesce({fed}, false)), "
            f"count(*) FILTER (coalesce({self._held}, false) AND NOT ({before})) "
            f"FROM {_ASKED} a LEFT JOIN {self._mapped.relation} r ON {self._matched} "
            f"GROUP BY a.n ORDER BY a.n"
        ).fetchall()
        return [Beside(*counts) for counts in found]

    def as_held(self) -> dict[str, list[Any]]:
        """Features by the offline store over what each row's state held, at the instant of serving."""
        self._register()
        with tempfile.TemporaryDirectory(prefix="portrait-skew-") as folder:
            path = Path(folder) / "held.parquet"
            first, *others = self._keys
            # Each row is an entity of its own, with the history it was served from.
            self.connection.execute(
                f"COPY (SELECT r.* REPLACE (CAST(a.n AS VARCHAR) AS {quote(first)}) FROM {_ASKED} a "
                f"JOIN {self._mapped.relation} r ON {self._matched} WHERE {self._held}) TO '{path}' (FORMAT parquet)"
            )
            columns = {first: pa.array([str(n) for n in range(self.rows.num_rows)])}
            columns |= {key: self.rows[self._columns[key]] for key in others}
            return self._answered(path, pa.table({**columns, EVENT_TIMESTAMP: self.rows[AT]}))

    def _answered(self, path: Path, spine: pa.Table) -> dict[str, list[Any]]:
        with quiet_feast():
            view = copy.copy(self.stored.view)
        view.projection = copy.copy(view.projection)
        view.projection.join_key_map = {}
        mapped = self._mapped
        view.batch_source = FileSource(
            name=view.batch_source.name,
            path=str(path),
            timestamp_field=mapped.timestamp_field,
            created_timestamp_column=mapped.created_field,
        )
        refs = [f"{self.stored.prefix}:{name}" for name in self.stored.features]
        query = PointInTimeQuery(Request.of([view], refs, full_feature_names=True))
        answer = query.run(self.connection, write_spine(self.connection, spine, EVENT_TIMESTAMP))
        names = [f"{self.stored.prefix}__{name}" for name in self.stored.features]
        return {name: values_of(answer[name], seconds=not self._windowed) for name in names}

    def _register(self) -> None:
        prefix, n = self.stored.prefix, self.rows.num_rows
        fed = [int(each.rsplit(":", 1)[1]) if each else None for each in self.rows[POSITION + prefix].to_pylist()]
        self.connection.register(
            _ASKED,
            pa.table(
                {
                    "n": pa.array(range(n), pa.int64()),
                    "at": pa.array(values_of(self.rows[AT]), pa.int64()),
                    "held": self.rows[HELD + prefix].cast(pa.int64()),
                    "fed": pa.array(fed, pa.int64()),
                    "since": pa.array(self._since(), pa.int64()),
                    **{f"k{i}": self.rows[self._columns[key]] for i, key in enumerate(self._keys)},
                }
            ),
        )

    def _since(self) -> list[int]:
        """From when on a row of the log is in a state: what is older than all windows is not folded."""
        instants = values_of(self.rows[AT])
        if not self._windowed:
            return [0] * len(instants)
        spec = windowed_view_of(self.stored.view)
        return [floor(at - spec.lookback, spec.hop) for at in instants]

    @property
    def _held(self) -> str:
        """Rows of the log that the state held, as a condition over both."""
        if not self._windowed:
            # A row of the same instant may be a correction that came later.
            return f"({self._ts} <= a.held AND NOT {self._late})"
        return f"({LOG_VERSION} <= a.held)" if self._versioned else "true"

    @property
    def _late(self) -> str:
        created = self._mapped.created_field
        return f"coalesce(epoch_us(r.{quote(created)}) > a.at, false)" if created else "false"

    @property
    def _ts(self) -> str:
        return f"epoch_us(r.{quote(self._mapped.timestamp_field)})"

    @property
    def _matched(self) -> str:
        return " AND ".join(f"CAST(r.{quote(key)} AS VARCHAR) = a.k{i}" for i, key in enumerate(self._keys))

    @property
    def _windowed(self) -> bool:
        return is_windowed(self.stored.view)

    @property
    def _versioned(self) -> bool:
        return LOG_VERSION in self._mapped.schema.names

    @cached_property
    def _keys(self) -> Sequence[str]:
        return sorted(self.stored.view.join_keys)

    @cached_property
    def _columns(self) -> dict[str, str]:
        renamed = self.stored.view.projection.join_key_map or {}
        return {key: renamed.get(key, key) for key in self._keys}

    @cached_property
    def _mapped(self) -> MappedSource:
        return MappedSource.of(self.stored.view.batch_source)
