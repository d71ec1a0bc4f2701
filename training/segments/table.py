"""What a segment is, in a line: how many, how lately, how often, how much, and what share of all that is spent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.definitions.segment_names import SEGMENTS, STAGES
from training.segments.rfm import FREQUENCY, MONEY, RECENCY


@dataclass(frozen=True)
class SegmentLine:
    """One segment at an instant.

    Attributes
    ----------
    recency_days, visits_84d, money_84d
        Means: days since the last visit, visits and spend in 84 days.
    revenue_share
        Of what all shoppers spent in 84 days; NaN if nobody spent anything.
    """

    segment: str
    zh: str
    meaning: str
    size: int
    share: float
    recency_days: float
    visits_84d: float
    money_84d: float
    revenue_share: float


@dataclass(frozen=True)
class StageLine:
    """One stage of life at an instant."""

    stage: str
    zh: str
    size: int
    share: float


def segment_table(frame: pd.DataFrame, segments: npt.NDArray[np.object_]) -> tuple[SegmentLine, ...]:
    """Describe the segments of some rows, the one that spends most per shopper first."""
    spent = float(frame[MONEY].sum()) or float("nan")
    parts = {str(name): part for name, part in frame.groupby(np.asarray(segments, str), sort=True)}
    lines = [_line(name, part, len(frame), spent) for name, part in parts.items()]
    return tuple(sorted(lines, key=lambda line: -line.money_84d))


def stage_table(stages: npt.NDArray[np.object_]) -> tuple[StageLine, ...]:
    """Count the stages of some rows, in the order of life; stages nobody is in are left out."""
    counts = {name: int((stages == name).sum()) for name in STAGES}
    return tuple(
        StageLine(name, STAGES[name].chinese, count, count / len(stages)) for name, count in counts.items() if count
    )


def _line(name: str, part: pd.DataFrame, everybody: int, spent: float) -> SegmentLine:
    words = SEGMENTS[name]
    return SegmentLine(
        segment=name,
        zh=words.chinese,
        meaning=words.meaning,
        size=len(part),
        share=len(part) / everybody,
        recency_days=float(part[RECENCY].mean()),
        visits_84d=float(part[FREQUENCY].mean()),
        money_84d=float(part[MONEY].mean()),
        revenue_share=float(part[MONEY].sum()) / spent,
    )
