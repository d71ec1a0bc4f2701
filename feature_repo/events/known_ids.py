"""Which event ids of the last days a table holds: 64-bit hashes, quick to ask for thousands of ids at once.

The hash is DuckDB's, so that ids of the log are hashed where they are read. It means nothing outside the process.
A new id whose hash is another's is taken for a duplicate: with ten million ids held, 5 of 10^13 new ones are.

Ids come in generations of a million, and a generation goes as a whole when all of it is too old: no id is looked
at again for its age. An id takes 9 bytes, with a bit for each of its generation's 8 million remainders: 8 of 9 new ids
are told apart by that, and only the others are searched for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_repo.core.clock import DAY

Hashes: TypeAlias = npt.NDArray[np.uint64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Times: TypeAlias = npt.NDArray[np.int64]

# Merging a generation's runs takes a few milliseconds, which a commit waits for; searching takes time per generation.
GENERATION = 2**20
# 0.6 GB of one table, at most: beyond that, the oldest are looked for in the table.
MOST_GENERATIONS = 64

# A run is merged into the one before it until that one is this many times as long: few runs to search, and an id is
# moved a few times in all.
_RATIO = 4


def hash_ids(connection: duckdb.DuckDBPyConnection, ids: pa.ChunkedArray) -> Hashes:
    """Hash a column of strings, in its order."""
    connection.register("ids", pa.table({"id": ids}))
    try:
        found = connection.sql("SELECT hash(id) AS h FROM ids").to_arrow_table()["h"]
    finally:
        connection.unregister("ids")
    return np.asarray(found.to_numpy(), np.uint64)


def first_of_each(hashes: Hashes) -> Mask:
    """Whether each is the first of its kind in the array."""
    mask = np.zeros(len(hashes), bool)
    mask[np.unique(hashes, return_index=True)[1]] = True
    return mask


@dataclass
class _Generation:
    """Hashes in sorted runs of falling length, marks of all of them, and the latest time of any (us)."""

    until: int
    runs: list[Hashes] = field(default_factory=list)
    marks: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(GENERATION, np.uint8))

    def __len__(self) -> int:
        return sum(map(len, self.runs))

    def add(self, hashes: Hashes, until: int) -> None:
        self.until = max(self.until, until)
        run = np.sort(hashes)
        full = len(self) + len(run) >= GENERATION
        while self.runs and (full or len(self.runs[-1]) < _RATIO * len(run)):
            run = _merged(self.runs.pop(), run)
        self.runs.append(run)
        np.bitwise_or.at(self.marks, *_marks(hashes))

    def holds(self, hashes: Hashes, place: Hashes, bit: npt.NDArray[np.uint8]) -> Mask:
        found: Mask = (self.marks[place] & bit) != 0
        searched = np.flatnonzero(found)
        wanted = hashes[searched]
        held = np.zeros(len(wanted), bool)
        for run in self.runs:
            held |= run[np.minimum(np.searchsorted(run, wanted), len(run) - 1)] == wanted
        found[searched] = held
        return found


class KnownIds:
    """Hashes of the last days, by the time each came at.

    All that came at ``since`` (us) or later are held; of those before, some may be.

    Parameters
    ----------
    newest
        Latest time there is at the beginning (us).
    days
        How far ``since`` stays behind the latest time; it is nearer when there are more than ``MOST_GENERATIONS``.

    >>> known = KnownIds(0, days=7)
    >>> known.add(np.array([3, 1], np.uint64), np.array([0, 9 * DAY]))
    >>> known.holds(np.array([1, 2, 3], np.uint64)).tolist(), len(known), known.since == 2 * DAY
    ([True, False, False], 1, True)
    """

    def __init__(self, newest: int, *, days: int) -> None:
        self.since = newest - days * DAY
        self._days = days
        self._generations: list[_Generation] = []

    def __len__(self) -> int:
        return sum(map(len, self._generations))

    def add(self, hashes: Hashes, times: Times) -> None:
        """Take hashes in, and forget what is too old; those held already count once more in ``len``."""
        if not len(hashes):
            return
        self.since = max(self.since, int(times.max()) - self._days * DAY)
        recent = times >= self.since
        hashes, times = hashes[recent], times[recent]
        if len(hashes) > GENERATION:
            order = np.argsort(times, kind="stable")  # or every generation would last as long as the latest
            hashes, times = hashes[order], times[order]
        while len(hashes):
            generation = self._open()
            room = GENERATION - len(generation)
            generation.add(hashes[:room], int(times[:room].max()))
            hashes, times = hashes[room:], times[room:]
        self._forget()

    def holds(self, hashes: Hashes) -> Mask:
        """Whether each is in the set."""
        order = np.argsort(hashes)  # neighbours are looked for in the same cache lines
        wanted = hashes[order]
        found, marks = np.zeros(len(hashes), bool), _marks(wanted)
        for generation in self._generations:
            found |= generation.holds(wanted, *marks)
        mask = np.empty(len(hashes), bool)
        mask[order] = found
        return mask

    def _open(self) -> _Generation:
        if not self._generations or len(self._generations[-1]) >= GENERATION:
            self._generations.append(_Generation(self.since))
        return self._generations[-1]

    def _forget(self) -> None:
        while len(self._generations) > MOST_GENERATIONS:
            oldest = min(self._generations, key=lambda each: each.until)
            self._generations.remove(oldest)
            self.since = max(self.since, oldest.until + 1)
        self._generations = [each for each in self._generations if each.until >= self.since]


def _merged(left: Hashes, right: Hashes) -> Hashes:
    both = np.concatenate([left, right])
    both.sort(kind="stable")  # finds the two sorted halves
    return both


def _marks(hashes: Hashes) -> tuple[Hashes, npt.NDArray[np.uint8]]:
    """Byte and bit of each in a generation's marks."""
    remainder = hashes % np.uint64(8 * GENERATION)
    return remainder >> np.uint64(3), np.left_shift(1, remainder & np.uint64(7), dtype=np.uint8, casting="unsafe")
