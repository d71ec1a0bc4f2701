"""What lists of ten are worth beyond their hits: how much of the shelf they show, how alike, how popular, how new.

Every method proposes from the same candidates, which hold its own best, and is measured as the two-stage model is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.data.candidates import BUYERS, CATEGORY, IS_NEW, ITEM, RELEVANT_NEW
from training.data.dataset import Dataset
from training.declaring.objective import NDCG, RECALL
from training.evaluation.listed import K, of_groups
from training.evaluation.metrics import top_rows
from training.task import LABEL

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

FIGURES = {
    "coverage": "share of the items any shopper bought in the test stretch or was proposed that some list shows",
    "diversity": "share of the pairs on a list that differ in category",
    "novelty": "mean bits an item on a list tells: -log2 of the share of shoppers who bought it before",
    "serendipity": "hits per list among items the shopper never bought and the ten most popular do not have",
    "popularity_bias": "mean number of earlier buyers of a listed item, over that of an item proposed",
    "new_recall_at_10": "recall of a list of never bought items alone, against what was bought for the first time",
    "new_ndcg_at_10": "the same as NDCG",
}


@dataclass(frozen=True)
class Shown:
    """What the lists of one method are like: ``figures`` by name of ``FIGURES``."""

    figures: Mapping[str, float]


def lists_of(data: Dataset, scores: Mapping[str, Floats]) -> dict[str, Shown]:
    """Measure the lists of each method on the test rows of a task that ranks.

    Parameters
    ----------
    scores
        Method -> score of each test row.
    """
    frame, groups = data.frame.loc[data.test].reset_index(drop=True), data.groups
    if groups is None:
        raise ValueError(f"task '{data.task.name}' does not rank")
    of = groups[data.test]
    popular = set(frame.groupby(ITEM)["popular"].first().nlargest(K).index)
    return {name: Shown(dict(_figures(frame, of, each, popular))) for name, each in scores.items()}


def _figures(frame: pd.DataFrame, groups: Places, scores: Floats, popular: set[str]) -> Iterator[tuple[str, float]]:
    listed = frame.iloc[top_rows(scores, groups, K)].assign(group=groups[top_rows(scores, groups, K)])
    shoppers = frame[BUYERS].max()
    yield "coverage", listed[ITEM].nunique() / frame[ITEM].nunique()
    yield "diversity", float(listed.groupby("group")[CATEGORY].agg(_differing).mean())
    yield "novelty", float(-np.log2(np.maximum(listed[BUYERS], 1) / max(shoppers, 1)).mean())
    surprising = listed[IS_NEW] & ~listed[ITEM].isin(popular) & (listed[LABEL] == 1)
    yield "serendipity", float(surprising.sum() / listed["group"].nunique())
    yield "popularity_bias", float(listed[BUYERS].mean() / frame[BUYERS].mean())
    yield from _of_new(frame, groups, scores)


def _of_new(frame: pd.DataFrame, groups: Places, scores: Floats) -> Iterator[tuple[str, float]]:
    rows = (frame[IS_NEW] & (frame[RELEVANT_NEW] > 0)).to_numpy()
    measured = scores[rows], frame[LABEL].to_numpy()[rows], groups[rows], frame[RELEVANT_NEW].to_numpy()[rows]
    for metric in (RECALL, NDCG):
        found, _ = of_groups(metric, *measured)
        yield f"new_{metric}", float(found.mean()) if len(found) else float("nan")


def _differing(names: pd.Series[str]) -> float:
    """Share of pairs that differ; an unknown (empty) name differs from every other."""
    counts = names[names != ""].value_counts().to_numpy()
    pairs = len(names) * (len(names) - 1) / 2
    return float(1 - (counts * (counts - 1) / 2).sum() / pairs) if pairs else float("nan")
