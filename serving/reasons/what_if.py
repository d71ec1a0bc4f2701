"""What a score would be if some of a shopper's events had not happened: features again from the log, without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import pyarrow as pa

from feature_repo.core.clock import from_us
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.point_in_time import EVENT_TIMESTAMP, PointInTimeQuery, Request, write_spine
from feature_repo.engine.sources import MappedSource, reading_from
from feature_repo.events.log import EVENT_ID
from feature_repo.jobs.log_side import NOWHERE
from feature_repo.jobs.skew_values import differ
from feature_repo.privacy.tombstones import Tombstones
from serving.asked import Asked
from serving.entities import USER
from serving.reasons.answers import (
    LAST_PURCHASE,
    MOST_LEFT_OUT,
    Changed,
    LoggedEvent,
    WhatIf,
    Without,
    check_without,
)
from serving.reasons.explain import Grounds, unanswered, values_of, versions_of
from serving.reasons.lineage import Origin
from serving.reasons.logged import History, listed
from serving.service_views import Columns

_ORDERS = ("payment", "purchase")
_ORDER = "order_id"


def what_if(settings: Settings, grounds: Grounds, asked: Asked, without: Without) -> WhatIf:
    """Score the one shopper who was asked about again, without some events.

    Windowed features are computed as of the instant they were served at, over the log up to the version their state
    held; facts are left as they are. Of a person who was erased the log is not read.

    Parameters
    ----------
    without
        ``last_purchase``: everything of the last order, its payment, its lines and the coupons redeemed in it. Or ids
        of events; of those that the model reads nothing of, nothing changes.

    Raises
    ------
    DataError
        It is neither, or the model reads no purchases.
    LogError
        A table is missing or damaged.
    """
    check_without(without)
    [score] = asked.scores()
    with closing(connect_duckdb(settings)) as connection:
        log = _Log(connection, grounds, asked, erased=Tombstones(settings.home).holds(score.user_id))
        with reading_from(*log.sources):
            left_out = log.named(without)
            again = log.scored(())
            changed = log.scored(left_out) if left_out else again
    values = [values_of(each.reading, grounds.lineage, grounds.model.features) for each in (again, changed)]
    [recomputed], [lacking] = again.scores(), changed.scores()
    return WhatIf(
        user_id=score.user_id,
        task=grounds.model.task,
        model=score.model,
        features_as_of=score.features_as_of,
        score=score.value,
        recomputed=recomputed.value,
        without=lacking.value,
        left_out=left_out,
        changed=_changes(*values),
        sentence=_sentence(without, left_out, recomputed.value, lacking.value),
    )


@dataclass(frozen=True, eq=False)
class _Log:
    """The log as of one question."""

    connection: duckdb.DuckDBPyConnection
    grounds: Grounds
    asked: Asked
    erased: bool

    @property
    def sources(self) -> list[Any]:
        """Feast sources of the tables it reads."""
        return [part.declared.batch_source for part in self.asked.reading.plan.windowed]

    def named(self, without: Without) -> tuple[LoggedEvent, ...]:
        """Return the shopper's events that are to be left out."""
        if without == LAST_PURCHASE:
            return self._last_order()
        return tuple(event for table in self._tables for event in self._found(table, EVENT_ID, tuple(without)))

    def scored(self, left_out: Sequence[LoggedEvent]) -> Asked:
        """Return what was asked, of features computed again without some events."""
        reading = self.asked.reading
        return replace(self.asked, reading=replace(reading, stored={**reading.stored, **self._windowed(left_out)}))

    def _windowed(self, left_out: Sequence[LoggedEvent]) -> Columns:
        plan, versions = self.asked.reading.plan, versions_of(self.asked.reading)
        ids = {table: tuple(event.event_id for event in left_out if event.table == table) for table in self._tables}
        request = Request.of(
            [part.declared for part in plan.windowed],
            [f"{part.prefix}:{feature.name}" for part in plan.windowed for feature in part.features],
            full_feature_names=True,
            versions={
                part.declared.name: -1 if version is None else version
                for part, version in zip(plan.windowed, versions, strict=True)
            },
        )
        of_views = {origin.part.declared.name: ids[origin.table] for origin in self._origins}
        request = replace(request, without=tuple(of_views.items()))
        answer = PointInTimeQuery(request).run(
            self.connection, write_spine(self.connection, self._spine, EVENT_TIMESTAMP)
        )
        left = unanswered(self.asked.reading)
        return {name: answer[name].combine_chunks() for name in self.grounds.lineage.origins if name not in left}

    @property
    def _spine(self) -> pa.Table:
        columns = {name: pa.array(values, pa.string()) for name, values in self.asked.entities.items()}
        if self.erased:
            columns[USER] = pa.array([NOWHERE], pa.string())
        return pa.table({**columns, EVENT_TIMESTAMP: pa.array([from_us(self.asked.at)], pa.timestamp("us", "UTC"))})

    def _last_order(self) -> tuple[LoggedEvent, ...]:
        orders = [table for table in _ORDERS if table in self._tables]
        if not orders:
            raise DataError(
                f"Model {self.grounds.model.name} reads no purchases.", hint="name events by their ids instead."
            )
        latest = [event for table in orders for event in self._history(table).newest("", 0, self.asked.at, 1)]
        if not latest:
            return ()
        last = max(latest, key=lambda event: (event.at, event.event_id))
        order = last.facts.get(_ORDER)
        if order is None:
            return (last,)
        return tuple(event for table in self._tables for event in self._found(table, _ORDER, (order,)))

    def _found(self, table: str, column: str, values: tuple[str, ...]) -> tuple[LoggedEvent, ...]:
        return self._history(table).having(column, values, self.asked.at, MOST_LEFT_OUT)

    def _history(self, table: str) -> History:
        """Return the shopper's own events of a table, whatever else the view that reads it is about."""
        versions = versions_of(self.asked.reading)
        origins = [origin for origin in self._origins if origin.table == table]
        own = next((each for each in origins if USER in each.part.entity.join_keys), origins[0])
        held = [versions[each.place] for each in origins]
        upto = -1 if self.erased else max(-1 if version is None else version for version in held)
        source = MappedSource.of(own.part.declared.batch_source)
        return History(self.connection, table, source, {USER: self.asked.entities[USER][0]}, upto)

    @property
    def _origins(self) -> list[Origin]:
        return list(self.grounds.lineage.origins.values())

    @property
    def _tables(self) -> list[str]:
        return list(dict.fromkeys(origin.table for origin in self._origins))


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Changed, ...]:
    return tuple(Changed(name, value, after[name]) for name, value in before.items() if differ(value, after[name]))


def _sentence(without: Without, left_out: Sequence[LoggedEvent], before: float, after: float) -> str:
    if not left_out:
        return f"Nothing was left out: the score is {before:.4g}."
    latest = max(event.at for event in left_out)
    what = "the last purchase" if without == LAST_PURCHASE else f"{len(left_out)} events"
    score = f"the score would be {after:.4g} instead of {before:.4g}"
    return f"Without {what} ({latest:%Y-%m-%d %H:%M} UTC: {listed(left_out)}) {score}."
