"""Values of one view as the log and as Redis say them, where they differ, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import pyarrow as pa

from feature_repo.engine.spec import WindowedFeature, is_windowed, windowed_view_of
from feature_repo.jobs.causes import Cause, Held, Logged, cause_of
from feature_repo.jobs.log_side import LogSide
from feature_repo.jobs.redis_side import RedisSide

TOLERANCE = 1e-9
# A difference between the two has the size of noise, and is too large for it.
ROUNDING = 1e-6

_Told = TypeVar("_Told")


@dataclass(frozen=True, eq=False)
class BothSides:
    """Both sides of a view at one instant.

    Attributes
    ----------
    held
        What Redis held of each entity.
    versions
        Log version that each entity's values were computed up to; None for a source without versions.
    offline, online
        Values by feature, one per entity.
    stable
        Whether Redis held the same before and after it was read.
    """

    log: LogSide
    redis: RedisSide
    held: list[Held]
    versions: list[int | None]
    offline: dict[str, list[Any]]
    online: dict[str, list[Any]]
    stable: bool

    def differences(self) -> dict[str, list[Cause]]:
        """Causes of the values that differ by more than the noise of floats, by feature."""
        sizes = {name: self._differing(name) for name in self.offline}
        logged = self._of_log(sorted({i for rows in sizes.values() for i in rows}), self.log.logged)
        return {name: [self._cause(name, i, rows[i], logged[i]) for i in rows] for name, rows in sizes.items() if rows}

    def _differing(self, name: str) -> dict[int, float]:
        """Entities whose values differ, and the size that noise of each is relative to."""
        rows = [i for i, both in enumerate(zip(self.offline[name], self.online[name], strict=True)) if not same(*both)]
        sizes = dict.fromkeys(rows, 0.0)
        noisy = [i for i in rows if math.isfinite(self._noise(name, i))]
        feature = self._windows.get(name)
        if feature:
            sizes |= self._of_log(noisy, lambda entities, upto: self.log.magnitudes(entities, feature, upto))
        return {i: size for i, size in sizes.items() if self._noise(name, i) > TOLERANCE * size}

    def _cause(self, name: str, i: int, size: float, logged: Logged) -> Cause:
        if name in self.redis.unanswered:
            return Cause.DEFINITION
        if not self.stable:
            return Cause.MOVED
        rounding = self._noise(name, i) <= ROUNDING * size
        return cause_of(self.held[i], logged, now=self.redis.now, rounding=rounding)

    def _of_log(self, rows: Sequence[int], ask: Callable[[pa.Table, int | None], list[_Told]]) -> dict[int, _Told]:
        found: dict[int, _Told] = {}
        for version in {self.versions[i] for i in rows}:
            chosen = [i for i in rows if self.versions[i] == version]
            answers = ask(self.redis.entities.take(pa.array(chosen, pa.int64())), version)
            found |= dict(zip(chosen, answers, strict=True))
        return found

    def _noise(self, name: str, i: int) -> float:
        return distance(self.offline[name][i], self.online[name][i])

    @cached_property
    def _windows(self) -> dict[str, WindowedFeature]:
        view = self.log.view
        return {each.name: each for each in windowed_view_of(view).features} if is_windowed(view) else {}


def same(offline: Any, online: Any) -> bool:
    """Whether two values are one: None is only None, and a NaN, which a file may hold, is a NaN.

    >>> same(1.0, 1.0), same(None, 0), same(float("nan"), float("nan"))
    (True, False, True)
    """
    return bool(offline == online or (offline != offline and online != online))  # noqa: PLR0124 - NaN


def distance(offline: Any, online: Any) -> float:
    """Distance of two floats, infinite for all else: only floats have noise.

    >>> distance(1.5, 1.0), distance(1.5, None), distance(3, 4)
    (0.5, inf, inf)
    """
    both = isinstance(offline, float) and isinstance(online, float)
    found = abs(offline - online) if both else math.inf
    return math.inf if math.isnan(found) else found
