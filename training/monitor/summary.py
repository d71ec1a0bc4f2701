"""A summary of model inputs as they were in training, which monitoring compares live inputs with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

QUANTILES = np.linspace(0.1, 0.9, 9)


def summary(columns: tuple[str, ...], matrix: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Summarise a matrix of inputs by column.

    Returns
    -------
    dict
        ``rows``, and under ``columns`` for each name: ``null_share``; ``edges``, the distinct deciles; ``shares`` of
        the values that are not NULL in ``(-inf, e1], (e1, e2], .. (ek, inf)``, which sum to 1; ``mean``; ``std``.
        Without any value the lists are empty and the figures null.

    >>> found = summary(("x",), np.array([[0.0], [0.0], [4.0], [np.nan]]))["columns"]["x"]
    >>> found["null_share"], found["edges"], [round(share, 2) for share in found["shares"]]
    (0.25, [0.0, 4.0], [0.67, 0.33, 0.0])
    """
    return {"rows": len(matrix), "columns": {name: _column(matrix[:, i]) for i, name in enumerate(columns)}}


def _column(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    known = values[~np.isnan(values)]
    null_share = float(1 - len(known) / len(values)) if len(values) else 0.0
    if not len(known):
        return {"null_share": null_share, "edges": [], "shares": [], "mean": None, "std": None}
    edges = np.unique(np.round(np.quantile(known, QUANTILES, method="inverted_cdf"), 6))
    counts = np.bincount(np.searchsorted(edges, np.round(known, 6), side="left"), minlength=len(edges) + 1)
    return {
        "null_share": null_share,
        "edges": edges.tolist(),
        "shares": (counts / len(known)).tolist(),
        "mean": float(known.mean()),
        "std": float(known.std()),
    }
