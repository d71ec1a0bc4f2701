"""Segments as a model of shoppers: what is fitted, and what it says of everybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from feature_repo.core.clock import from_us
from feature_repo.core.settings import Settings
from feature_repo.engine.contract import fingerprint, service_contract
from feature_repo.engine.feature_store import open_store, quiet_feast
from training.data.labels import AT
from training.segments.clustering import SEED
from training.segments.lifecycle import LIFECYCLE, stages_of
from training.segments.model import check_asked, segment
from training.segments.record import NAME, version_of
from training.segments.reference import Reference, compare
from training.segments.rfm import KEY, SERVICE, Shoppers, shoppers_at
from training.segments.table import SegmentLine, StageLine, segment_table, stage_table
from training.written.instants import weeks_before
from training.written.model import Made, Said, ShopperModel, Step
from training.written.report import FitReport, ShowReport
from training.written.version import Champion

SNAPSHOTS = 8


@dataclass(frozen=True)
class Tried:
    """One number of segments."""

    k: int
    silhouette: float
    stability: float


@dataclass(frozen=True, kw_only=True)
class SegmentsFit(FitReport):
    """What a fit found.

    Attributes
    ----------
    k, silhouette, stability
        Of the segmentation: how many segments, how far apart, how well resampled shoppers give them again.
    tried
        The same of every number of segments that was tried.
    reference
        The textbook's segmentation beside it; None where there are too few shoppers.
    """

    method: str
    k: int
    silhouette: float
    stability: float
    tried: tuple[Tried, ...]
    reference: Reference | None
    segments: tuple[SegmentLine, ...]
    stages: tuple[StageLine, ...]


@dataclass(frozen=True, kw_only=True)
class SegmentsShow(ShowReport):
    """Segments and stages at an instant, by the champion."""

    segments: tuple[SegmentLine, ...]
    stages: tuple[StageLine, ...]


@dataclass(frozen=True)
class Segments(ShopperModel):
    """Segments by a method, so many or as many as are found to be best; fitted on eight weekly snapshots.

    Raises
    ------
    DeclarationError
        There is no such method, or `k` is out of its range.
    """

    method: str = "kmeans"
    k: int | None = None

    name: ClassVar[str] = NAME
    table: ClassVar[str] = "user_segments"
    report: ClassVar[type[FitReport]] = SegmentsFit

    def __post_init__(self) -> None:
        check_asked(self.method, self.k)

    @property
    def recipe(self) -> dict[str, Any]:
        """Method, number of segments (None: chosen), snapshots and seed."""
        return {"method": self.method, "k": self.k, "snapshots": SNAPSHOTS, "seed": SEED}

    @property
    def rules(self) -> object:
        """The stages of life."""
        return LIFECYCLE

    def definitions(self) -> str:
        """Fingerprint of the service ``segments_v1``."""
        with quiet_feast():
            return fingerprint(service_contract(open_store(), SERVICE))

    def rows(self, settings: Settings, at: int) -> Shoppers:
        """Everybody at eight weekly instants up to one (us)."""
        return shoppers_at(settings, weeks_before(at, SNAPSHOTS - 1))

    def fitted(self, settings: Settings, rows: Shoppers, progress: Step) -> Made:
        """Cut, measure, and compare with the textbook's segments."""
        progress("cutting", 0.2)
        made = segment(rows, method=self.method, k=self.k)
        progress("comparing", 0.7)
        reference = compare(settings, rows.log_versions, rows.at, made.segments)
        figures = {
            "method": self.method,
            "k": made.chosen.k,
            "silhouette": made.chosen.silhouette,
            "stability": made.chosen.stability,
            "tried": tuple(Tried(each.k, each.silhouette, each.stability) for each in made.found),
            "reference": reference,
            "segments": made.table,
            "stages": made.stages,
        }
        return Made(version_of(made, reference), made.gates, figures)

    def said(self, settings: Settings, champion: Champion, instants: Sequence[int], progress: Step) -> Said:
        """Segment and stage of everybody who had come by each instant."""
        shoppers = shoppers_at(settings, instants)
        progress("placing", 0.7)
        found: Any = champion.model.predict(None, shoppers.frame)
        rows = pd.DataFrame({KEY: shoppers.frame[KEY], AT: shoppers.frame[AT], **found})
        rows["stage"] = stages_of(shoppers.frame)
        return Said(pa.Table.from_pandas(rows, preserve_index=False), _shown(shoppers, rows, champion.version))


SEGMENTS = Segments()


def _shown(shoppers: Shoppers, placed: pd.DataFrame, version: str) -> SegmentsShow:
    last = shoppers.last
    return SegmentsShow(
        at=from_us(shoppers.at),
        model_version=version,
        shoppers=shoppers.shoppers,
        segments=segment_table(shoppers.frame[last], _words(placed, "segment")[last]),
        stages=stage_table(_words(placed, "stage")[last]),
    )


def _words(placed: pd.DataFrame, column: str) -> npt.NDArray[np.object_]:
    return np.asarray(placed[column], object)
