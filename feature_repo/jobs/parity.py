"""Does Redis say what the log says? Compare online values with offline ones, at one instant and one log version."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from feast import FeatureView

from feature_repo.core.clock import Clock
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb, connect_redis, redis_answers
from feature_repo.engine.feature_store import kept_views, open_store, stored_views
from feature_repo.engine.positions import Position, Positions
from feature_repo.engine.row_writer import head_of
from feature_repo.engine.sources import is_delta, reading_from
from feature_repo.engine.spec import is_windowed
from feature_repo.jobs.both_sides import BothSides
from feature_repo.jobs.causes import Cause, Held
from feature_repo.jobs.log_side import LogSide, sample
from feature_repo.jobs.redis_side import RedisSide

ATTEMPTS = 3


@dataclass(frozen=True)
class ParityReport:
    """How many values were compared, and which differ.

    Attributes
    ----------
    checked, mismatches
        Values compared, values that differ.
    by_view, by_feature, by_cause
        Mismatches; causes by the words of :class:`feature_repo.jobs.causes.Cause`. A view whose state is
        missing, or none of the log that is there, is counted once, and under no feature.
    sampled
        Pseudonyms of the shoppers compared.
    at
        Instant of the comparison, microseconds.
    """

    checked: int
    mismatches: int
    by_view: dict[str, int]
    by_feature: dict[str, int]
    by_cause: dict[str, int]
    sampled: tuple[str, ...]
    at: int


@dataclass(frozen=True)
class Mismatch:
    """A value that differs; ``feature`` is empty where the whole view is unfit."""

    view: str
    feature: str
    cause: Cause


class _Comparison:
    def __init__(self, settings: Settings, at: int) -> None:
        self.at = at
        self.store = open_store()
        self.checked = 0
        self.found: list[Mismatch] = []
        self.connection = connect_duckdb(settings)
        self.client = connect_redis(settings)
        self.positions = Positions(self.client, self.store.project)

    def view(self, view: FeatureView, users: Sequence[str]) -> None:
        position = self.positions.held(view)
        unfit = _unfit(view, position) if position else Cause.NOT_MATERIALIZED
        if position is None or unfit:
            self.found += [Mismatch(view.name, "", unfit)] if unfit else []
            return
        for _ in range(ATTEMPTS):
            pair, after = self._read(view, users, position)
            if pair.stable or after is None:
                break
            position = after
        # A file has no versions: what it held when it was written to Redis cannot be read any more.
        self._compare(pair, None if head_of(view).table_id == position.table_id else Cause.BEHIND)

    def _versions(self, view: FeatureView, position: Position, held: Sequence[Held]) -> list[int | None]:
        """Versions up to which the log is compared with each entity: appliers write their position last."""
        if not is_delta(view.batch_source):
            return [None] * len(held)
        if not is_windowed(view):
            return [position.version] * len(held)
        return [max(position.version, -1 if each.upto is None else each.upto) for each in held]

    def _read(self, view: FeatureView, users: Sequence[str], position: Position) -> tuple[BothSides, Position | None]:
        log = LogSide(self.connection, view, self.at)
        redis = RedisSide(self.store, self.client, view, log.entities(users), self.at)
        held = redis.held()
        versions = self._versions(view, position, held)
        offline, online = log.values(redis.entities, versions), redis.values(held)
        after = self.positions.held(view)
        stable = after == position and redis.held() == held
        return BothSides(log, redis, held, versions, offline, online, stable), after

    def _compare(self, pair: BothSides, known: Cause | None) -> None:
        self.checked += sum(map(len, pair.offline.values()))
        for name, causes in pair.differences().items():
            self.found += [Mismatch(pair.log.view.name, name, known or cause) for cause in causes]

    def close(self) -> None:
        self.connection.close()
        self.client.close()


def parity(
    settings: Settings,
    clock: Clock,
    *,
    users: int = 200,
    views: list[str] | None = None,
    seed: int = 0,
    progress: Callable[[str, float], None] = lambda _step, _done: None,
) -> ParityReport:
    """Compare what Redis serves with what the offline store computes, for a sample of shoppers and now.

    Views of other entities are compared for what the sampled shoppers touched: their items, their categories, and a key
    that was never seen. The log is read up to the version each state holds, so events that are committed but not
    applied yet are no mismatch. Integers, texts and times have to be equal, floats of windows within 1e-9 of the sum of
    what the window holds (of the largest, for a standard deviation). Every difference is counted under its cause.

    Raises
    ------
    StoreUnavailableError, LogError
        Redis or a table cannot be used.
    """
    with contextlib.closing(_Comparison(settings, clock.now_us())) as comparison, redis_answers():
        chosen = stored_views(comparison.store, views)
        if views is None:
            chosen = kept_views(chosen, comparison.positions.recorded())
        with reading_from(*[view.batch_source for view in chosen]):
            sampled = sample(comparison.connection, chosen, users, seed)
            for i, view in enumerate(chosen):
                progress(view.name, i / len(chosen))
                comparison.view(view, sampled)
    found = comparison.found
    return ParityReport(
        checked=comparison.checked,
        mismatches=len(found),
        by_view=dict(Counter(each.view for each in found)),
        by_feature=dict(Counter(f"{each.view}:{each.feature}" for each in found if each.feature)),
        by_cause=dict(Counter(each.cause.words for each in found)),
        sampled=sampled,
        at=comparison.at,
    )


def _unfit(view: FeatureView, position: Position) -> Cause | None:
    """Why a view's state is none of the log that is there, so that there is nothing to compare it with."""
    head = head_of(view)
    if is_delta(view.batch_source) and head.table_id != position.table_id:
        return Cause.RECREATED
    return Cause.LOST_COMMITS if head.version < position.version else None
