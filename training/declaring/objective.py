"""What kind of answer a model gives, and with which metrics such answers are measured and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BINARY = "binary:logistic"
REGRESSION = "reg:squarederror"
RANKING = "rank:ndcg"
PRECISION = "precision_at_5"
PRECISION_WITH_ANY = "precision_at_5_with_any"
RANKED = (PRECISION, PRECISION_WITH_ANY)
RECALL, NDCG, MAP, PRECISION_10 = "recall_at_10", "ndcg_at_10", "map_at_10", "precision_at_10"
LISTED = (RECALL, NDCG, MAP, PRECISION_10)  # of lists of ten, against all there was to find


@dataclass(frozen=True)
class Objective:
    """A kind of answer.

    Attributes
    ----------
    metrics
        Measured on every model, see :mod:`training.evaluation.metrics`.
    shown
        Those in tables for people, with their titles.
    leading
        The metric models are compared by; higher is better.
    to_beat
        Metrics that must all be higher than a baseline's to beat it.
    early_stopping
        XGBoost's name of the loss the number of rounds is chosen by.
    link
        How a score follows from the model's margin, see :class:`training.scorer.Scorer`.
    linear
        What a linear model of this kind is called in the names of baselines; empty if there is none, as of rankings,
        where what is said of a shopper alone orders nothing.
    params
        What XGBoost is told besides.
    """

    metrics: tuple[str, ...]
    shown: dict[str, str]
    leading: str
    to_beat: tuple[str, ...]
    early_stopping: str
    link: str
    linear: str
    params: Mapping[str, Any] = field(default_factory=dict)


BY_OBJECTIVE = {
    BINARY: Objective(
        metrics=("auc", "average_precision", "logloss", "ece", "brier"),
        shown={"auc": "AUC", "average_precision": "AP", "logloss": "log loss", "ece": "ECE"},
        leading="auc",
        to_beat=("auc", "average_precision"),
        early_stopping="logloss",
        link="logit",
        linear="logistic",
    ),
    REGRESSION: Objective(
        metrics=("r2", "mae", "spearman"),
        shown={"r2": "R2", "mae": "MAE", "spearman": "Spearman"},
        leading="r2",
        to_beat=("r2", "spearman"),
        early_stopping="rmse",
        link="identity",
        linear="linear",
    ),
    RANKING: Objective(
        metrics=LISTED,
        shown={RECALL: "R@10", NDCG: "NDCG@10", MAP: "MAP@10", PRECISION_10: "P@10"},
        leading=NDCG,
        to_beat=(RECALL, NDCG),
        early_stopping="ndcg@10",
        link="identity",
        linear="",
        params={"lambdarank_pair_method": "topk", "lambdarank_num_pair_per_sample": 10},
    ),
}
METRICS = (
    *(name for each in BY_OBJECTIVE.values() for name in each.metrics if name not in LISTED),
    *RANKED,
    *LISTED,
)
SHOWN = {name: title for each in BY_OBJECTIVE.values() for name, title in each.shown.items()} | {
    PRECISION: "P@5",
    PRECISION_WITH_ANY: "P@5 of groups with any",
}
