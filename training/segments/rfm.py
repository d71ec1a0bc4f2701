"""Recency, frequency and money of every shopper at given instants, from the log at pinned versions.

The values are those of the service ``segments_v1``, point-in-time like any training set. What the log is asked for
beside them is who had come by then, and when first.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.core.clock import from_us
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.contract import Contract, service_contract
from feature_repo.engine.feature_store import open_store, quiet_feast
from feature_repo.engine.services import service_views
from feature_repo.events.log import reading
from training.data.features import features_at
from training.data.labels import AT
from training.data.log_views import Versions, head_versions, open_tables
from training.task import TaskUnavailableError
from training.written.basis import content_fingerprint
from training.written.instants import PULSE

SERVICE, KEY = "segments_v1", "user_id"
RECENCY, FREQUENCY, MONEY = (
    "user_payments__days_since",
    "user_payments__count_84d",
    "user_payments__amount_sum_84d",
)
RFM = (RECENCY, FREQUENCY, MONEY)
# Who has not come within the window of `days_since` counts as absent for all of it.
LONGEST_DAYS = 364.0
FILL = (LONGEST_DAYS, 0.0, 0.0)
_CENTS = 2

_SPINE = """
SELECT user_id, make_timestamptz(at_us) AS event_timestamp, min(event_timestamp) AS first_at
FROM payment, (SELECT unnest($instants::BIGINT[]) AS at_us)
WHERE epoch_us(event_timestamp) < at_us
GROUP BY user_id, at_us ORDER BY at_us, user_id
"""


@dataclass(frozen=True, eq=False)
class Shoppers:
    """Shoppers at instants.

    Attributes
    ----------
    frame
        One row per shopper and instant: ``user_id``, ``event_timestamp`` (the instant, UTC microseconds), the features
        of ``segments_v1`` by full name, and what stages are told by: ``days_since``, ``tenure_days``,
        ``visits_28d_84d``. No NULLs. Ordered by instant and content, never by pseudonym.
    instants
        Microseconds, ascending.
    contract
        What each feature means.
    log_versions
        Table -> version everything was read at.
    """

    frame: pd.DataFrame = field(repr=False)
    instants: tuple[int, ...]
    contract: Contract = field(repr=False)
    log_versions: Versions

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """Recency, frequency and money: ``float64[n, 3]``."""
        return self.frame[list(RFM)].to_numpy(np.float64)

    @property
    def at(self) -> int:
        """The last instant (us)."""
        return self.instants[-1]

    @property
    def shoppers(self) -> int:
        """How many there are at the last instant."""
        return int(self.last.sum())

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits of the content, whoever's it is."""
        return content_fingerprint(self.matrix)

    @property
    def last(self) -> npt.NDArray[np.bool_]:
        """Which rows are of the last instant."""
        return np.asarray(self.frame[AT] == pd.Timestamp(from_us(self.instants[-1])))


def shoppers_at(settings: Settings, instants: Sequence[int]) -> Shoppers:
    """Return everybody who had come before each instant (us), with what was known of them then.

    Raises
    ------
    TaskUnavailableError
        Nobody had come by any of the instants.
    LogError
        A table is missing or damaged.
    """
    with quiet_feast():
        store = open_store()
        contract, views = service_contract(store, SERVICE), service_views(store, SERVICE)
    versions = head_versions(settings, views.tables | {PULSE})
    spine = _spine(settings, versions, instants)
    if spine.empty:
        raise TaskUnavailableError(
            f"No shopper had come before {from_us(max(instants)):%Y-%m-%d %H:%M} UTC.",
            hint="ask for an instant after the first visits of the log, or import some.",
        )
    frame = _completed(features_at(views, spine, versions=versions, settings=settings))
    return Shoppers(_ordered(frame), tuple(sorted(instants)), contract, versions)


def _spine(settings: Settings, versions: Versions, instants: Sequence[int]) -> pd.DataFrame:
    with closing(connect_duckdb(settings)) as connection:
        snapshots = open_tables(connection, settings, {PULSE: versions[PULSE]})
        with reading(*snapshots):
            asked = connection.sql(_SPINE, params={"instants": sorted(set(instants))})
            found: pd.DataFrame = asked.to_arrow_table().to_pandas()
    return found


def _completed(frame: pd.DataFrame) -> pd.DataFrame:
    """Fill NULLs, round sums (whose last bits differ from run to run), and add what stages are told by."""
    filled = frame.fillna(dict(zip(RFM, FILL, strict=True)))
    visits = {days: filled[f"user_payments__count_{days}d"].fillna(0) for days in (28, 84)}
    tenure = (filled[AT] - filled["first_at"]).dt.total_seconds() / 86400
    return filled.assign(
        **{
            MONEY: filled[MONEY].clip(lower=0).round(_CENTS),
            "days_since": filled[RECENCY],
            "tenure_days": tenure,
            "visits_28d_84d": visits[84] - visits[28],
        }
    )


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values([AT, *RFM, "tenure_days", KEY], kind="stable").reset_index(drop=True)
