"""Fits a segmentation and measures it, before anything is registered."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.core.errors import DeclarationError, did_you_mean
from training.segments.assigner import Assigner, Placed
from training.segments.clustering import METHODS, SEED
from training.segments.lifecycle import stages_of
from training.segments.naming import OTHERS, names_of
from training.segments.rfm import FILL, KEY, RFM, Shoppers
from training.segments.selection import (
    LEAST,
    MOST,
    SILHOUETTE,
    STABILITY,
    WANTED,
    Candidate,
    Sample,
    candidates,
    choose,
)
from training.segments.table import SegmentLine, StageLine, segment_table, stage_table
from training.task import TaskUnavailableError

MOST_SHOPPERS = 20_000
FEWEST = 50


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A segmentation with what was measured on it.

    Attributes
    ----------
    shoppers
        What it was fitted on.
    found
        Every number of segments that was tried.
    chosen
        The one it is.
    least
        So many segments it must have to replace others: fewer only say who is busy, unless they were asked for.
    """

    method: str
    shoppers: Shoppers = field(repr=False)
    found: tuple[Candidate, ...]
    chosen: Candidate
    least: int = WANTED

    @cached_property
    def head(self) -> dict[str, Any]:
        """State of the model."""
        cut = self.chosen.cut
        middles = np.array([cut.points[cut.owner == each].mean(axis=0) for each in range(cut.segments)])
        names = names_of(middles) + ([] if cut.reach is None else [OTHERS])
        return self.chosen.scaling.head(cut, RFM, FILL, names)

    @property
    def gates(self) -> dict[str, bool]:
        """Gate -> whether it holds."""
        measured = {"silhouette": (self.chosen.silhouette, SILHOUETTE), "stability": (self.chosen.stability, STABILITY)}
        held = {f"{name} >= {least:g}": value >= least for name, (value, least) in measured.items()}
        return held | {f"segments >= {self.least}": self.chosen.k >= self.least}

    @property
    def last(self) -> pd.DataFrame:
        """Rows of the last instant."""
        return self.shoppers.frame[self.shoppers.last].reset_index(drop=True)

    @cached_property
    def placed(self) -> Placed:
        """Where the rows of the last instant are."""
        return Assigner.of(self.head).place(self.last[list(RFM)].to_numpy(np.float64))

    @property
    def segments(self) -> pd.Series[str]:
        """Segment of each shopper at the last instant, by pseudonym."""
        names = np.array(self.head["names"], object)[self.placed.segment]
        return pd.Series(names, index=self.last[KEY].to_numpy())

    @property
    def table(self) -> tuple[SegmentLine, ...]:
        """The segments at the last instant."""
        return segment_table(self.last, self.segments.to_numpy())

    @property
    def stages(self) -> tuple[StageLine, ...]:
        """The stages of life at the last instant."""
        return stage_table(stages_of(self.last))


def segment(shoppers: Shoppers, *, method: str = "kmeans", k: int | None = None) -> Segmentation:
    """Cut shoppers into segments.

    Parameters
    ----------
    shoppers
        At one instant or several; the segments are judged at the last. Snapshots of several weeks keep one day's
        chance from moving the borders.
    method
        One of ``METHODS``.
    k
        How many segments; chosen among 2 to 8 unless given. DBSCAN finds its own.

    Raises
    ------
    DeclarationError
        There is no such method, or `k` is not among 2 to 8.
    TaskUnavailableError
        There are too few shoppers.
    """
    check_asked(method, k)
    sample = sample_of(shoppers)
    if sample.shoppers < FEWEST:
        raise TaskUnavailableError(
            f"The log has {sample.shoppers} shoppers, too few to cut into segments.",
            hint=f"{FEWEST} are the fewest; import more events.",
        )
    found = tuple(candidates(sample, method, [k] if k else range(LEAST, MOST + 1)))
    return Segmentation(method, shoppers, found, choose(found), k or WANTED)


def check_asked(method: str, k: int | None) -> None:
    """Check how a segmentation is to be made.

    Raises
    ------
    DeclarationError
        There is no such method, or `k` is not among 2 to 8.
    """
    if method not in METHODS:
        raise DeclarationError(f"There is no method '{method}'.", hint=did_you_mean(method, METHODS))
    if k is not None and not LEAST <= k <= MOST:
        raise DeclarationError(f"{k} segments were asked for.", hint=f"ask for {LEAST} to {MOST}.")


def sample_of(shoppers: Shoppers) -> Sample:
    """Return the rows to fit on: of all shoppers, or of 20,000 drawn among them."""
    keys = shoppers.frame.loc[shoppers.last, KEY].to_numpy()
    if len(keys) > MOST_SHOPPERS:
        keys = keys[np.sort(np.random.default_rng(SEED).choice(len(keys), MOST_SHOPPERS, replace=False))]
    number = shoppers.frame[KEY].map(pd.Series(np.arange(len(keys)), index=keys))
    kept = number.notna().to_numpy()
    return Sample(shoppers.matrix[kept], number[kept].to_numpy(np.int64), shoppers.last[kept])
