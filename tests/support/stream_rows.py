"""Rows of the event 'follow', as a stream or an import brings them."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from feature_repo.events.cleaning import complete
from feature_repo.events.stream.arrivals import Arrivals

NOW = 1_700_000_000_000_000
DAY = 86_400_000_000


def rows(ids: Sequence[str], at: int = NOW) -> pa.Table:
    times = [at] * len(ids)
    said = {"event_id": ids, "event_timestamp": times, "ingested_at": times, "user_id": ["u_" + "0" * 32] * len(ids)}
    return complete(pa.table(said), "follow")


def arrivals(ids: Sequence[str], first: int = 1, at: int = NOW, partition: int = 0) -> Arrivals:
    positions = np.arange(first, first + len(ids))
    return Arrivals(rows(ids, at), np.full(len(ids), partition), positions, {partition: f"stream-{partition}"})
