"""The linear part of a model: its terms, what is learnt of them on training rows, and the regression over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression, Ridge

from training.data.dataset import Labels, Matrix
from training.declaring.objective import BINARY
from training.declaring.recipe import Linear
from training.scorer import IS_NULL, terms

Part = dict[str, Any]
Categories = Mapping[str, Sequence[str]]


def design(linear: Linear, columns: Sequence[str], categories: Categories, matrix: Matrix) -> Part:
    """Return the terms of inputs, without coefficients: see :func:`training.scorer.terms`.

    Parameters
    ----------
    matrix
        The rows to learn means and deviations from.
    """
    part: Part = _terms(linear, columns, categories)
    values = terms({**part, "mean": 0.0, "scale": 1.0}, matrix)
    deviation = values.std(axis=0)
    return part | {"mean": values.mean(axis=0).tolist(), "scale": np.where(deviation > 0, deviation, 1.0).tolist()}


def regress(part: Part, linear: Linear, objective: str, matrix: Matrix, labels: Labels) -> Part:
    """Return the terms with their coefficients: the linear part of ``head.json``."""
    values = terms(part, matrix)
    axes = principal_axes(values, linear.variance) if linear.variance else None
    fitted = _estimator(linear, objective).fit(values if axes is None else values @ axes, labels)
    found = np.ravel(fitted.coef_)
    coef = found if axes is None else axes @ found
    return part | {"coef": coef.tolist(), "intercept": float(np.ravel(fitted.intercept_)[0])}


def principal_axes(values: Matrix, share: float) -> npt.NDArray[np.float64]:
    """Return the fewest directions that hold a share of the variance, ``float64[terms, k]`` (Pearson 1901).

    >>> principal_axes(np.array([[1.0, 2.0], [2.0, 4.0], [-3.0, -6.0]]), 0.95).shape
    (2, 1)
    """
    sizes, axes = np.linalg.eigh(np.cov(values, rowvar=False, ddof=0).reshape(values.shape[1], -1))
    held = np.cumsum(sizes[::-1]) / max(float(sizes.sum()), np.finfo(float).tiny)
    count = min(int(np.searchsorted(held, share - 1e-12)) + 1, len(sizes))
    return np.asarray(axes[:, ::-1][:, :count])


def _terms(linear: Linear, columns: Sequence[str], categories: Categories) -> Part:
    found = [
        (place, level, fill)
        for place, name in enumerate(columns)
        if linear.reads(name)
        for level, fill in _levels(linear, name, categories)
    ]
    source, level, fill = (list(each) for each in zip(*found, strict=True))
    part: Part = {"fill": fill, "logarithmic": linear.logarithmic}
    if source != list(range(len(columns))) or any(each is not None for each in level):
        part |= {"source": source, "level": level}
    return part


def _levels(linear: Linear, column: str, categories: Categories) -> list[tuple[int | None, float]]:
    """Level and fill of each term of a column."""
    null = linear.null(column)
    if column in categories:
        found: list[tuple[int | None, float]] = [(n, 0.0) for n in range(min(linear.levels, len(categories[column])))]
    else:
        found = [(None, null.value)]
    return [*found, (IS_NULL, 0.0)] if null.own_term or not found else found


def _estimator(linear: Linear, objective: str) -> Any:
    if objective == BINARY:
        return LogisticRegression(C=linear.strength, max_iter=3000)
    return Ridge(alpha=1 / linear.strength)
