"""Rows of a stream on their way into the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from feature_repo.events.stream.channel import Ints


@dataclass(frozen=True)
class Arrivals:
    """Rows of one event type, and which entry of the stream each came from.

    Attributes
    ----------
    rows
        In the shape of their type, all of them good.
    partition, position
        Of each row's entry; int64.
    app_ids
        Partition -> what its positions are positions of.
    """

    rows: pa.Table
    partition: Ints
    position: Ints
    app_ids: Mapping[int, str]

    def only(self, mask: pa.Array) -> Arrivals:
        """Return some of the rows, by a mask without NULLs."""
        chosen = mask.to_numpy(zero_copy_only=False)
        return Arrivals(self.rows.filter(mask), self.partition[chosen], self.position[chosen], self.app_ids)
