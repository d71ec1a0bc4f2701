"""Windows at past instants: which events of a sorted history each of them holds, as ranges of positions.

Events are sorted by entity and time, so the events of a window stand next to each other. The ranges of several
entities are found by one binary search each, over a line of integers on which entity stands behind entity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

PIECES = 1 << 21


@dataclass(frozen=True)
class Line:
    """Instants of several entities as integers in order: entity behind entity, each as long as the span.

    Attributes
    ----------
    first, last
        The span (us). An instant outside of it has the place of the nearest one that is beside it.
    """

    first: int
    last: int

    @property
    def width(self) -> int:
        """Places of one entity."""
        return self.last - self.first + 3

    @property
    def capacity(self) -> int:
        """How many entities have a place."""
        return max(1, (1 << 62) // self.width)

    def places(self, entity: Ints, instants: Ints) -> Ints:
        """Places of instants (us) of entities, numbered from 0."""
        found: Ints = entity * self.width + np.clip(instants - self.first + 1, 0, self.width - 1)
        return found


@dataclass(frozen=True, eq=False)
class Past:
    """Events of some entities, and the ranges of them that windows at past instants hold.

    Attributes
    ----------
    entity, ts
        Of each event, sorted by both; shape ``[events]``.
    lo
        Position of the first event of each window, the longest windows first; shape ``[rows, windows]``.
    hi
        Position behind the last event of a row's windows, which all end at its instant; shape ``[rows]``.
    at
        Instant of each row (us); shape ``[rows]``.
    """

    entity: Ints
    ts: Ints
    lo: Ints
    hi: Ints
    at: Ints

    @classmethod
    def of(cls, line: Line, *, entity: Ints, ts: Ints, row_entity: Ints, at: Ints, since: Sequence[Ints]) -> Past:
        """Find the ranges of windows that begin at ``since`` (us), one array per window, and end before ``at``."""
        events = line.places(entity, ts)
        found = [np.searchsorted(events, line.places(row_entity, instants)) for instants in (*since, at)]
        return cls(entity, ts, np.stack(found[:-1], axis=1), found[-1], at)

    def only(self, windows: Sequence[int]) -> Past:
        """Return the same of some of the windows."""
        if len(windows) == self.lo.shape[1]:
            return self
        return Past(self.entity, self.ts, self.lo[:, list(windows)], self.hi, self.at)

    @cached_property
    def first(self) -> Ints:
        """Position of the first event of each event's entity."""
        return firsts(self.entity)

    def counted(self, amounts: Array) -> Ints:
        """Sum integers over each window, exactly; shape ``[rows, windows]``."""
        sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(amounts, dtype=np.int64)])
        found: Ints = sums[self.hi][:, None] - sums[self.lo]
        return found

    def latest(self, chosen: npt.NDArray[np.bool_] | None = None) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Position of the last of the chosen events in each window, and whether there is one."""
        if not len(self.ts):
            return np.zeros_like(self.lo), np.zeros(self.lo.shape, bool)
        position = np.arange(len(self.ts))
        if chosen is not None:
            position = np.maximum.accumulate(np.where(chosen, position, -1))
        last = position[np.maximum(self.hi - 1, 0)]
        last = np.where(self.hi > 0, last, -1)[:, None]
        there = last >= self.lo
        return np.where(there, last, 0), there


def firsts(entity: Ints) -> Ints:
    """Position of the first element of each element's run."""
    begins = np.ones(len(entity), bool)
    begins[1:] = entity[1:] != entity[:-1]
    found: Ints = np.maximum.accumulate(np.where(begins, np.arange(len(begins)), 0))
    return found


def spread(lo: Ints, hi: Ints) -> tuple[Ints, Ints]:
    """Positions in ranges, range behind range, and where each range starts among them."""
    lengths = hi - lo
    starts = np.cumsum(lengths) - lengths
    positions: Ints = np.repeat(lo - starts, lengths) + np.arange(int(lengths.sum()))
    return positions, starts


def portions(lengths: Ints, *, most: int | None = None) -> Iterator[slice]:
    """Slices of consecutive ranges, at most so many, whose lengths add up to what is handled at once."""
    ends = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        before = ends[start] - lengths[start]
        stop = max(start + 1, int(np.searchsorted(ends, before + PIECES, side="right")))
        stop = stop if most is None else min(stop, start + most)
        yield slice(start, stop)
        start = stop


def below(values: Ints, start: Ints, stop: Ints, limit: Ints) -> Ints:
    """Count the values below a limit in ranges: ``sum(values[start[i]:stop[i]] < limit[i])`` for every ``i``.

    ``values`` and ``limit`` are not negative. A wavelet matrix: the values are sorted bit by bit from the highest, each
    time stably, and every question follows the bits of its limit; O((values + questions) * bits).
    Source: Claude, Navarro and Ordóñez, The wavelet matrix: an efficient wavelet tree for large alphabets, 2015.
    """
    count = np.zeros(len(stop), np.int64)
    for bit in reversed(range(int(max(values.max(initial=0), limit.max(initial=0))).bit_length())):
        ones = (values >> bit) & 1 == 1
        zeros = np.concatenate([np.zeros(1, np.int64), np.cumsum(~ones)])
        starts, stops = zeros.take(start), zeros.take(stop)
        up = (limit >> bit) & 1 == 1
        count += (stops - starts) * up
        start = np.where(up, zeros[-1] + start - starts, starts)
        stop = np.where(up, zeros[-1] + stop - stops, stops)
        values = np.concatenate([values[~ones], values[ones]])
    return count
