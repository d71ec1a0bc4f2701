"""What figures are called in tables and pictures for people."""

from __future__ import annotations

_BINARY = {
    "selection_rate": "said yes",
    "tpr": "said yes, of positives (TPR)",
    "fpr": "said yes, of others (FPR)",
    "auc": "AUC",
    "share": "positives",
    "score": "mean score",
    "excess": "score less positives",
}
_REGRESSION = {
    "r2": "R2",
    "mae": "MAE",
    "share": "mean answer",
    "score": "mean score",
    "excess": "score less answer",
}


def title(figure: str, *, binary: bool) -> str:
    """Return what a figure of a slice or a group is called.

    >>> title("share", binary=True), title("share", binary=False)
    ('positives', 'mean answer')
    """
    return (_BINARY if binary else _REGRESSION)[figure]
