"""One view of served rows: what the offline store says of them, whole, and of what the state held of them."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Mapping, Sequence
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
from feature_repo.engine.oracle import oracle_value
from feature_repo.engine.point_in_time import EVENT_TIMESTAMP, PointInTimeQuery, Request, write_spine
from feature_repo.engine.services import StoredView
from feature_repo.engine.sources import MappedSource
from feature_repo.engine.spec import is_windowed, windowed_view_of
from feature_repo.engine.tiles import floor
from feature_repo.jobs.served import AT, HEAD, HELD, POSITION, version_in
from feature_repo.jobs.skew_causes import Beside
from feature_repo.jobs.skew_sql import RowsBeside
from feature_repo.jobs.skew_values import values_of

_ASKED = "skew_asked"

Columns = dict[str, list[Any]]


@dataclass(frozen=True, eq=False)
class SkewView:
    """A stored view of a service, and rows of it that were served and differ."""

    connection: duckdb.DuckDBPyConnection
    stored: StoredView
    rows: pa.Table

    def beside(self) -> list[Beside]:
        """What the log holds of each row beside what its state held."""
        self._register()
        log = self._log
        found = self.connection.execute(
            f"SELECT count(*) FILTER ({log.missing} AND {log.late}), "
            f"count(*) FILTER ({log.missing} AND NOT {log.late} AND NOT {log.fed}), "
            f"count(*) FILTER ({log.missing} AND NOT {log.late} AND {log.fed}), "
            f"count(*) FILTER ({log.ahead}), {self._expired} "
            f"FROM {_ASKED} a LEFT JOIN {log.joined} GROUP BY a.n, a.at ORDER BY a.n"
        ).fetchall()
        return [Beside(*counts) for counts in found]

    def as_held(self) -> Columns:
        """Features by the offline store over what each row's state held, at the instant of serving."""
        return self._over(self._log.held)

    def as_known(self) -> Columns:
        """Features over what had arrived by then, or was held."""
        return self._over(f"(coalesce({self._log.held}, false) OR NOT {self._log.late})")

    def as_read(self, held: Mapping[str, list[Any]], ahead: Sequence[int]) -> Columns:
        """Features as a reader of the state gets them, who counts what it holds of later instants too.

        Parameters
        ----------
        held
            What :meth:`as_held` returned.
        ahead
            Rows whose states hold such events: the others read what was held.
        """
        found = {name: list(values) for name, values in held.items()}
        for name, values in (self._counted(ahead) if self._windowed else self._latest(ahead)).items():
            for n, value in zip(ahead, values, strict=True):
                found[name][n] = value
        return found

    def _latest(self, ahead: Sequence[int]) -> Columns:
        later = self._over(self._log.held, at="greatest(a.at, a.held)") if ahead else {}
        return {name: [values[n] for n in ahead] for name, values in later.items()}

    def _counted(self, ahead: Sequence[int]) -> Columns:
        """Features of some rows by the slow way, which can be told to count events after the instant."""
        spec, at = self._log.source.read_by(windowed_view_of(self.stored.view)), values_of(self.rows[AT])
        events = [(at[n], self._events_held(n)) for n in ahead]
        return {
            f"{self.stored.prefix}__{name}": [
                oracle_value(spec, spec.feature(name), each, instant, before=math.inf) for instant, each in events
            ]
            for name in self.stored.features
        }

    def _events_held(self, n: int) -> list[dict[str, Any]]:
        """Events that the state of one row held, instants in microseconds."""
        query = f"SELECT r.* FROM {_ASKED} a JOIN {self._log.joined} WHERE a.n = {n} AND {self._log.held}"
        table = self.connection.sql(query).to_arrow_table()
        columns = [values_of(table[name]) for name in table.column_names]
        return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]

    def _over(self, condition: str, at: str = "a.at") -> Columns:
        """Features by the offline store over some rows of the log, at an instant of each row."""
        self._register()
        with tempfile.TemporaryDirectory(prefix="portrait-skew-") as folder:
            path = Path(folder) / "held.parquet"
            first, *others = self._log.keys
            # Each row is an entity of its own, with the history it was served from.
            self.connection.execute(
                f"COPY (SELECT r.* REPLACE (CAST(a.n AS VARCHAR) AS {quote(first)}) FROM {_ASKED} a "
                f"JOIN {self._log.joined} WHERE {condition}) TO '{path}' (FORMAT parquet)"
            )
            instants = self.connection.sql(f"SELECT make_timestamptz({at}) AS instant FROM {_ASKED} a ORDER BY n")
            columns = {first: pa.array([str(n) for n in range(self.rows.num_rows)])}
            columns |= {key: self.rows[self._columns[key]] for key in others}
            return self._answered(path, pa.table({**columns, EVENT_TIMESTAMP: instants.to_arrow_table()["instant"]}))

    def _answered(self, path: Path, spine: pa.Table) -> Columns:
        with quiet_feast():
            view = copy.copy(self.stored.view)
        view.projection = copy.copy(view.projection)
        view.projection.join_key_map = {}
        source = self._log.source
        view.batch_source = FileSource(
            name=view.batch_source.name,
            path=str(path),
            timestamp_field=source.timestamp_field,
            created_timestamp_column=source.created_field,
        )
        refs = [f"{self.stored.prefix}:{name}" for name in self.stored.features]
        query = PointInTimeQuery(Request.of([view], refs, full_feature_names=True))
        answer = query.run(self.connection, write_spine(self.connection, spine, EVENT_TIMESTAMP))
        names = [f"{self.stored.prefix}__{name}" for name in self.stored.features]
        return {name: values_of(answer[name], seconds=not self._windowed) for name in names}

    def _register(self) -> None:
        prefix, n = self.stored.prefix, self.rows.num_rows
        columns = {
            "n": pa.array(range(n), pa.int64()),
            "at": pa.array(values_of(self.rows[AT]), pa.int64()),
            "held": self.rows[HELD + prefix].cast(pa.int64()),
            "fed": self._versions(POSITION + prefix),
            "head": self._versions(HEAD + prefix),
            "since": pa.array(self._since(), pa.int64()),
            **{f"k{i}": self.rows[self._columns[key]] for i, key in enumerate(self._log.keys)},
        }
        self.connection.register(_ASKED, pa.table(columns))

    def _versions(self, column: str) -> pa.Array:
        known = column in self.rows.column_names  # files of before have fewer columns
        said = self.rows[column].to_pylist() if known else [None] * self.rows.num_rows
        return pa.array([version_in(each) for each in said], pa.int64())

    def _since(self) -> list[int]:
        """From when on a row of the log is in a state: what is older than all windows is not folded."""
        instants = values_of(self.rows[AT])
        if not self._windowed:
            return [0] * len(instants)
        spec = windowed_view_of(self.stored.view)
        return [floor(at - spec.lookback, spec.hop) for at in instants]

    @property
    def _expired(self) -> str:
        """Whether there was no row, where the log's last one was about as old as its ttl, as an aggregate."""
        view, log = self.stored.view, self._log
        if self._windowed or not view.ttl:
            return "false"
        age = f"a.at - max({log.happened}) FILTER ({log.before} AND NOT {log.late})"
        return f"coalesce(any_value(a.held) IS NULL AND abs({age} - {delta_us(view.ttl)}) <= {SECOND}, false)"

    @property
    def _windowed(self) -> bool:
        return is_windowed(self.stored.view)

    @cached_property
    def _log(self) -> RowsBeside:
        view = self.stored.view
        return RowsBeside(MappedSource.of(view.batch_source), sorted(view.join_keys), is_windowed(view))

    @cached_property
    def _columns(self) -> dict[str, str]:
        renamed = self.stored.view.projection.join_key_map or {}
        return {key: renamed.get(key, key) for key in self._log.keys}
