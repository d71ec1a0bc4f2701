"""The textbook segmentation, which ours is compared with: five by k-means, over all visits up to one instant.

Recency is in whole days, as the textbook has it. By the microsecond the hour of the last visit moves borders among
those who came within days, and resampled shoppers give other ones: on Complete Journey the adjusted Rand index is .887
(mean of 200, standard error .003), in whole days .902 (of 800, .002).
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.events.log import reading
from training.data.log_views import Versions, open_tables
from training.segments.rfm import KEY
from training.segments.selection import Sample, candidates, labels_of
from training.written.instants import PULSE

K = 5
RESAMPLES = 200  # the mean of 40 has a standard error of .008, more than its distance from the gate; of 200, .004

_WHOLE_LOG = """
SELECT
    user_id,
    (($at - max(epoch_us(event_timestamp))) // 86400000000)::DOUBLE AS recency,
    count(*)::DOUBLE AS visits,
    round(greatest(coalesce(sum(amount), 0), 0), 2) AS money
FROM payment WHERE epoch_us(event_timestamp) < $at
GROUP BY user_id ORDER BY recency, visits, money, user_id
"""
_COLUMNS = ["recency", "visits", "money"]


@dataclass(frozen=True)
class Reference:
    """How the textbook's segments do, and how far ours agree with them (adjusted Rand index, 1 is the same)."""

    silhouette: float
    stability: float
    agreement: float


def compare(settings: Settings, versions: Versions, at: int, ours: pd.Series[str]) -> Reference | None:
    """Cut all shoppers by their whole history and compare.

    Parameters
    ----------
    ours
        Our segment of each shopper at the instant, by pseudonym.

    Returns
    -------
    Reference | None
        None where there are too few shoppers to cut.
    """
    rows = _rows(settings, versions, at)
    if len(rows) < 2 * K:
        return None
    everybody = np.arange(len(rows))
    sample = Sample(rows[_COLUMNS].to_numpy(np.float64), everybody, np.ones(len(rows), bool))
    [found] = candidates(sample, "kmeans", [K], resamples=RESAMPLES)
    theirs = labels_of(found.cut, found.scaling, sample.matrix)
    agreement = adjusted_rand_score(theirs, ours.reindex(rows[KEY]).to_numpy())
    return Reference(found.silhouette, found.stability, float(agreement))


def _rows(settings: Settings, versions: Versions, at: int) -> pd.DataFrame:
    with closing(connect_duckdb(settings)) as connection:
        snapshots = open_tables(connection, settings, {PULSE: versions[PULSE]})
        with reading(*snapshots):
            found: pd.DataFrame = connection.sql(_WHOLE_LOG, params={"at": at}).to_arrow_table().to_pandas()
    return found
