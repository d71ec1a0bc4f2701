"""Questions about audiences, asked of one snapshot: how many, how many in both, and who."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyroaring import BitMap

from feature_repo.core.console import Step
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from serving.audiences.index import USER_ID, Index, file_facts, open_index
from serving.audiences.members import Members, members
from serving.audiences.saved import SIGN, definition
from serving.audiences.snapshots import find_snapshot


@dataclass(frozen=True)
class Estimate:
    """How many shoppers belong to an audience.

    Attributes
    ----------
    audience, selection
        What was asked; the same, unless the audience is a saved one.
    as_of
        Of the snapshot.
    size, everyone
        Exact counts.
    share
        Of everyone; NaN where there is nobody.
    unknown
        Of how many it cannot be told, as something it asks is not known of them.
    columns
        Full names of what it asks.
    notes
        What may be a slip of the pen.
    """

    audience: str
    selection: str
    as_of: datetime
    size: int
    everyone: int
    share: float
    unknown: int
    columns: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """How two audiences overlap: who is in both, as a share of each, and of who is in either (Jaccard)."""

    left: str
    right: str
    both: int
    share_of_left: float
    share_of_right: float
    jaccard: float


@dataclass(frozen=True)
class Overlap:
    """How audiences overlap.

    Attributes
    ----------
    sizes
        Audience -> how many.
    pairs
        Of each two.
    in_all, in_any
        How many are in all of them, and in at least one.
    """

    as_of: datetime
    sizes: dict[str, int]
    pairs: tuple[Pair, ...]
    in_all: int
    in_any: int


class Audiences:
    """Audiences of one snapshot.

    Parameters
    ----------
    settings
        Of the home.
    until
        The latest snapshot as of this instant or before is asked; the latest of all by default.

    Raises
    ------
    DataError
        There is no such snapshot, or it is damaged.
    """

    def __init__(
        self, settings: Settings, until: datetime | None = None, step: Step = lambda _what, _share: None
    ) -> None:
        self.settings = settings
        self.index: Index = open_index(settings, find_snapshot(settings, until), step)

    @property
    def as_of(self) -> datetime:
        """Of the snapshot."""
        return self.index.snapshot.as_of

    def members(self, audience: str) -> Members:
        """Return who belongs to an audience: a selection, or ``@NAME`` of a saved one.

        Raises
        ------
        DataError
            It is no selection of this snapshot, or there is no such audience.
        """
        name = audience.strip()
        text = definition(self.settings, name[1:]).selection if name.startswith(SIGN) else audience
        return members(self.index, text)

    def estimate(self, audience: str) -> Estimate:
        """Count an audience, exactly.

        Raises
        ------
        DataError
            As :meth:`members`.
        """
        found, everyone = self.members(audience), len(self.index.everyone)
        return Estimate(
            audience,
            found.text,
            self.as_of,
            len(found.people),
            everyone,
            _share(len(found.people), everyone),
            found.unknown,
            found.columns,
            found.notes,
        )

    def overlap(self, audiences: Sequence[str]) -> Overlap:
        """Compare two audiences or more.

        Raises
        ------
        DataError
            Fewer than two were named, or as :meth:`members`.
        """
        sets = {each: self.members(each).people for each in audiences}
        if len(sets) < 2:  # noqa: PLR2004
            raise DataError("An overlap is one of two audiences or more.", hint="name another one.")
        every = list(sets.values())
        return Overlap(
            self.as_of,
            {name: len(people) for name, people in sets.items()},
            tuple(_pair(left, right, sets) for left, right in combinations(sets, 2)),
            len(BitMap.intersection(*every)),
            len(BitMap.union(*every)),
        )

    def rows(self, people: BitMap, columns: Sequence[str] = ()) -> pa.Table:
        """Return ``user_id`` and some columns of people, in the order of their pseudonyms.

        Raises
        ------
        DataError
            The snapshot was removed or written anew meanwhile.
        """
        try:
            with self.index.snapshot.people.open("rb") as file:
                facts, table = file_facts(file), pq.read_table(file, columns=[USER_ID, *columns])
        except FileNotFoundError:
            facts = None
        if facts != self.index.file:  # people have other places now
            raise DataError(f"The snapshot {self.index.snapshot.name} has changed meanwhile.", hint="ask once more.")
        return table.take(np.array(people.to_array(), np.uint32))


def _pair(left: str, right: str, sets: dict[str, BitMap]) -> Pair:
    one, other = sets[left], sets[right]
    both = one.intersection_cardinality(other)
    return Pair(
        left,
        right,
        both,
        _share(both, len(one)),
        _share(both, len(other)),
        _share(both, len(one) + len(other) - both),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
