"""What Redis last said of recent shoppers: answered, and marked as degraded, while it does not answer.

Kept is what was read, as Redis holds it: nothing is decoded before it is needed, and then as of the instant it was read
at. Of each feature service about as many rows are kept as a setting says, the latest, for so long as another says. What
tells of consent is never kept, and of people who were erased since nothing is answered, though it was read before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_repo.core.clock import SECOND
from feature_repo.core.errors import PortraitError, StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.engine.window_reader import Served
from feature_repo.privacy.tombstones import Tombstones
from serving.entities import USER
from serving.online_features import Reading, ServicePlan
from serving.service_views import Entities

# A view whose rows say what a shopper allowed: what cannot be read is not permitted.
_CONSENT = "user_consent"

# The head of a row, then what Redis holds of each view.
_Row = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class _Head:
    """What rows that were read together have in common; ``beside`` is whatever was read with them."""

    at: int
    served: tuple[Served | None, ...]
    beside: Any


@dataclass
class _Kept:
    """Rows of a service by entity. When the young ones are half of what may be kept, the older are given up."""

    plan: ServicePlan
    since: int
    young: dict[Any, _Row] = field(default_factory=dict)
    old: dict[Any, _Row] = field(default_factory=dict)

    def get(self, entity: Any) -> _Row | None:
        return self.young.get(entity) or self.old.get(entity)


@dataclass(frozen=True, eq=False)
class Recalled:
    """Rows that were read before, each at its own instant, as :class:`serving.features.FeatureTable` says.

    Attributes
    ----------
    pieces
        What was read at each instant.
    order
        Place of each row among those of all pieces.
    at
        Instant each row was read at (us); of a row of defaults, when they were asked for.
    beside
        What was kept beside each row.
    """

    pieces: tuple[Reading, ...]
    order: npt.NDArray[np.int64]
    at: tuple[int, ...]
    beside: tuple[Any, ...]

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Whether Redis held anything about each row's entities."""
        found: npt.NDArray[np.bool_] = np.concatenate([piece.known for piece in self.pieces])[self.order]
        return found

    @property
    def length(self) -> int:
        """Rows."""
        return len(self.order)

    @property
    def names(self) -> Sequence[str]:
        """Full names of the features, in the service's order."""
        return self.pieces[0].names

    @cached_property
    def table(self) -> pa.Table:
        """One row per row of the question; see :attr:`serving.online_features.Reading.table`."""
        return pa.concat_tables([piece.table for piece in self.pieces]).take(pa.array(self.order)).combine_chunks()

    def lists(self) -> dict[str, list[Any]]:
        """Return columns as Python's values; see :meth:`serving.online_features.Reading.lists`."""
        found = [piece.lists() for piece in self.pieces]
        order = self.order.tolist()
        return {name: _in_order([each[name] for each in found], order) for name in found[0]}

    def matrix(
        self, columns: Sequence[str], texts: Mapping[str, Sequence[str]] | None = None
    ) -> npt.NDArray[np.float64]:
        """Return features for a model; see :meth:`serving.online_features.Reading.matrix`."""
        found: npt.NDArray[np.float64] = np.vstack([piece.matrix(columns, texts) for piece in self.pieces])[self.order]
        return found


def _in_order(pieces: Sequence[Sequence[Any]], order: Sequence[int]) -> list[Any]:
    values = [value for piece in pieces for value in piece]
    return [values[place] for place in order]


class LastKnown:
    """Remembers what is read. Threads may share one.

    Parameters
    ----------
    settings
        ``remembered`` says how many rows of a service are kept, ``remembered_s`` for how long.
    """

    def __init__(self, settings: Settings) -> None:
        self._most, self._age_us = settings.remembered, settings.remembered_s * SECOND
        self._tombstones = Tombstones(settings.home)
        self._turning = Lock()
        self._kept: dict[str, _Kept] = {}

    def note(self, reading: Reading, entities: Entities, at: int, *, of: str = "", beside: Any = None) -> None:
        """Keep rows.

        Parameters
        ----------
        at
            Instant they were read at (us).
        of
            Whose memory it is; the service's if it is not said.
        beside
            To be told with the rows.
        """
        if not self._most:
            return
        kept = self._kept_of(of or reading.plan.service, reading.plan, at)
        if kept is not None:
            head = _Head(at, tuple(states.served for states in reading.answers.states), beside)
            kept.young.update(zip(_ids(reading.plan, entities), zip(repeat(head), *_columns(reading)), strict=False))

    def recall(
        self,
        plan: ServicePlan,
        entities: Entities,
        now: int,
        *,
        error: StoreUnavailableError,
        of: str = "",
        defaults: bool = False,
    ) -> Recalled:
        """Return rows as they were last read.

        People who were erased have the values of no events, as they would have in Redis.

        Parameters
        ----------
        now
            The present instant (us).
        error
            Why they cannot be read now.
        defaults
            Whether a row that is not kept has the values of no events, too.

        Raises
        ------
        StoreUnavailableError
            ``error``: a row is not kept, or nothing is ever kept of it.
        """
        if not self._most or _tells_of_consent(plan):
            raise error
        kept = self._kept.get(of or plan.service)
        ids = list(_ids(plan, entities))
        found = [kept.get(each) if kept is not None and kept.plan is plan else None for each in ids]
        rows = [row if row and now - row[0].at <= self._age_us else None for row in found]
        erased = self._erased(entities, len(rows), error)
        if any(row is None and not gone for row, gone in zip(rows, erased, strict=True)) and not defaults:
            raise error
        return _recalled(plan, [None if gone else row for row, gone in zip(rows, erased, strict=True)], now)

    def _kept_of(self, of: str, plan: ServicePlan, at: int) -> _Kept | None:
        kept = self._kept.get(of)
        if kept is not None and kept.plan is plan and not self._full(kept, at):
            return kept
        if _tells_of_consent(plan):
            return None
        with self._turning:
            kept = self._kept.get(of)
            if kept is None or kept.plan is not plan:
                kept = self._kept[of] = _Kept(plan, at)
            elif self._full(kept, at):
                kept = self._kept[of] = _Kept(plan, at, old=kept.young)
        return kept

    def _full(self, kept: _Kept, at: int) -> bool:
        return 2 * len(kept.young) >= self._most or at - kept.since > self._age_us

    def _erased(self, entities: Entities, rows: int, error: StoreUnavailableError) -> list[bool]:
        try:
            if USER not in entities or not self._tombstones.count:
                return [False] * rows
            return [self._tombstones.holds(user) for user in entities[USER]]
        except PortraitError:  # nobody can be told from an erased person
            raise error from None


def _tells_of_consent(plan: ServicePlan) -> bool:
    views = [part.declared for part in plan.windowed] + [part.declared for part in plan.ordinary]
    return any(view.name == _CONSENT for view in views)


def _ids(plan: ServicePlan, entities: Entities) -> Iterable[Any]:
    columns = [entities[name] for name in plan.entity_columns]
    return columns[0] if len(columns) == 1 else zip(*columns, strict=True)


def _columns(reading: Reading) -> Iterator[Sequence[bytes | None]]:
    """What Redis holds of each view, one element per row of the request."""
    answers = reading.answers
    held = [*([states.blobs] for states in answers.states), *answers.fields]
    for place, fields in zip(reading.plan.about, held, strict=True):
        positions = reading.rows[place].positions
        for each in fields:
            yield each if positions is None else [each[row] for row in positions.tolist()]


def _recalled(plan: ServicePlan, rows: Sequence[_Row | None], now: int) -> Recalled:
    groups: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(id(row[0]) if row else 0, []).append(place)
    pieces = [_piece(plan, [rows[place] for place in places], now) for places in groups.values()]
    behind = [place for places in groups.values() for place in places]
    order = np.empty(len(rows), np.int64)
    order[behind] = np.arange(len(rows))
    return Recalled(
        pieces=tuple(pieces) or (plan.nothing(0, now),),
        order=order,
        at=tuple(row[0].at if row else now for row in rows),
        beside=tuple(row[0].beside if row else None for row in rows),
    )


def _piece(plan: ServicePlan, rows: Sequence[_Row | None], now: int) -> Reading:
    whole = [row for row in rows if row is not None]
    if not whole:
        return plan.nothing(len(rows), now)
    head: _Head = whole[0][0]
    columns = list(zip(*whole, strict=True))[1:]
    return plan.again(head.served, columns, head.at)
