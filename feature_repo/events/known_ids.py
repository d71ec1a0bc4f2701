"""Which event ids a table holds: a set of 64-bit hashes, quick to ask for thousands of ids at once.

The hash is DuckDB's, so that ids of the log are hashed where they are read. It means nothing outside the process.
A new id whose hash is another's is taken for a duplicate: with ten million ids held, 5 of 10^13 new ones are.
"""

from __future__ import annotations

from typing import TypeAlias

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes: TypeAlias = npt.NDArray[np.uint64]
Mask: TypeAlias = npt.NDArray[np.bool_]

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


class KnownIds:
    """A growing set of hashes, as sorted runs of falling length.

    >>> known = KnownIds()
    >>> known.add(np.array([3, 1], np.uint64))
    >>> known.holds(np.array([1, 2, 3], np.uint64)).tolist(), len(known)
    ([True, False, True], 2)
    """

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, hashes: Hashes) -> None:
        """Take hashes in; those held already count once more in ``len``."""
        run = np.sort(hashes)
        while self._runs and len(self._runs[-1]) < _RATIO * len(run):
            run = _merged(self._runs.pop(), run)
        if len(run):
            self._runs.append(run)

    def holds(self, hashes: Hashes) -> Mask:
        """Whether each is in the set."""
        order = np.argsort(hashes)  # neighbours are looked for in the same cache lines
        wanted = hashes[order]
        found = np.zeros(len(hashes), bool)
        for run in self._runs:
            place = np.searchsorted(run, wanted)
            found |= run[np.minimum(place, len(run) - 1)] == wanted
        mask = np.empty(len(hashes), bool)
        mask[order] = found
        return mask


def _merged(left: Hashes, right: Hashes) -> Hashes:
    both = np.concatenate([left, right])
    both.sort(kind="stable")  # finds the two sorted halves
    return both
