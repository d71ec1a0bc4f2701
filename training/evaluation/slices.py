"""Which rows the model is good for: figures with intervals by store, tenure, spend, device and region.

A slice is data: a column of the task's label query, what :mod:`training.evaluation.attributes` finds in the log, or
bands of a feature. Adding one is a line in ``SLICES``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.core.settings import Settings
from training.data.dataset import Dataset
from training.data.log_views import Versions
from training.data.split import Mask
from training.evaluation.attributes import Attribute, Latest, Tenure, attributes_of
from training.evaluation.evaluate import Estimate
from training.evaluation.metrics import auc
from training.evaluation.tallies import Figures, Floats, Tallies, auc_of_counts, ratio, score_cells

LEAST_ROWS = 50
_VISITS = ("view", "search", "click", "cart")


@dataclass(frozen=True)
class Names:
    """Values as they are: the most frequent ones of the training rows, the others together."""

    source: Attribute
    most: int = 8

    @property
    def name(self) -> str:
        """Name of the slice."""
        return self.source.name

    def cut(self, values: pd.Series[Any], train: Mask) -> pd.Series[str]:
        """Return the slice of each row."""
        shown = [str(value) for value in values[train].dropna().value_counts(sort=True).index[: self.most]]
        texts = values.astype(str).where(values.notna(), "unknown")
        return texts.where(texts.isin([*sorted(shown), "unknown"]), "others")


@dataclass(frozen=True)
class Bands:
    """Numbers in bands: between given edges, or between quantiles of the training rows.

    Attributes
    ----------
    source
        An attribute, or the full name of a feature.
    unit
        What the numbers are, for the bands' names.
    edges
        Ends of bands; a band includes its upper end.
    shares
        Instead of edges: which quantiles of the training rows.
    """

    name: str
    source: Attribute | str
    unit: str = ""
    edges: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()

    def cut(self, values: pd.Series[Any], train: Mask) -> pd.Series[str]:
        """Return the slice of each row, ordered by the numbers."""
        numbers = pd.to_numeric(values).to_numpy(np.float64, na_value=np.nan)
        known = numbers[train][~np.isnan(numbers[train])]
        edges = self.edges or tuple(np.unique(np.quantile(known, self.shares))) if len(known) else self.edges
        names = [*_band_names(edges, self.unit), "unknown"]
        places = np.where(np.isnan(numbers), len(names) - 1, np.searchsorted(edges, numbers, side="left"))
        bands = pd.Categorical.from_codes(places.tolist(), pd.Index(names), ordered=True)
        return pd.Series(bands, index=values.index)


Derived: TypeAlias = Names | Bands

SLICES: tuple[Derived, ...] = (
    Names(Latest("store", "store_id", ("payment",))),
    Bands("tenure", Tenure("tenure", ("payment", "purchase", *_VISITS)), unit=" days", edges=(28, 91, 182)),
    Bands("spend_band", "user_payments__amount_sum_84d", shares=(0.25, 0.5, 0.75)),
    Names(Latest("device", "device", _VISITS)),
    Names(Latest("region", "region", _VISITS)),
)


SOURCES: tuple[Attribute, ...] = tuple(each.source for each in SLICES if not isinstance(each.source, str))
"""What the slices look up in the log."""


@dataclass(frozen=True)
class Part:
    """Some of the test rows.

    Attributes
    ----------
    rows, positives
        How many.
    metrics
        Of a binary task ``auc``, ``share`` (of positives), ``score`` (the mean) and ``excess`` (score less share);
        of a regression ``r2``, ``mae``, ``share`` (the mean answer), ``score`` and ``excess``. Empty for less than
        ``LEAST_ROWS`` rows, or where all answers are the same: listed, not measured.
    """

    rows: int
    positives: int
    metrics: dict[str, Estimate]


def cut_rows(data: Dataset, settings: Settings, versions: Versions | None = None) -> dict[str, pd.Series[str]]:
    """Return slice -> the value of each row of a dataset: the task's own first, then those of ``SLICES`` it allows.

    ``versions`` as of :func:`training.evaluation.attributes.attributes_of`.
    """
    own = {name: data.frame[name].astype(str) for name in data.task.slices}
    wanted = [each for each in SLICES if each.name not in own]
    sources = tuple(each.source for each in wanted if not isinstance(each.source, str))
    found: Mapping[str, Any] = attributes_of(data, sources, settings, versions)
    for each in wanted:
        values = data.frame.get(each.source) if isinstance(each.source, str) else found.get(each.name)
        if values is not None:
            own[each.name] = each.cut(values, data.train)
    return own


def measure_slices(
    scores: Floats, labels: npt.NDArray[Any], shoppers: npt.NDArray[np.object_], slices: Mapping[str, pd.Series[str]]
) -> dict[str, Part]:
    """Measure ``"<slice>=<value>"`` on the test rows, in the values' order."""
    return {
        f"{name}={value}": measure_part(scores[rows], labels[rows], shoppers[rows])
        for name, values in slices.items()
        for value, rows in _masks(values)
    }


def measure_part(scores: Floats, labels: npt.NDArray[Any], shoppers: npt.NDArray[np.object_]) -> Part:
    """Measure some rows, if they are enough and have more than one answer."""
    counted = Part(len(scores), int((labels > 0).sum()), {})
    if len(scores) < LEAST_ROWS or len(np.unique(labels)) == 1:
        return counted
    tallies = Tallies.of(shoppers)
    plain = tallies.estimates(tallies.sums(np.ones(len(scores)), labels, scores), level)
    if labels.dtype.kind == "i":
        return replace(counted, metrics={"auc": area(scores, labels, tallies), **plain})
    errors = tallies.sums(np.ones(len(scores)), labels, labels**2, (labels - scores) ** 2, np.abs(labels - scores))
    return replace(counted, metrics={**tallies.estimates(errors, _errors), **plain})


def area(scores: Floats, labels: npt.NDArray[Any], tallies: Tallies) -> Estimate:
    """Return the AUC, exact, with its interval."""
    cells, size = score_cells(scores, labels)
    found = tallies.estimates(tallies.counts(cells, size), lambda counts: {"auc": auc_of_counts(counts)})["auc"]
    return replace(found, value=float(auc(scores, labels, np.ones((1, len(scores))))[0]))


def level(sums: Floats) -> Figures:
    """Mean answer, mean score, and the distance of the two, from sums of ones, answers and scores."""
    rows, answers, scores = sums.T
    return {"share": ratio(answers, rows), "score": ratio(scores, rows), "excess": ratio(scores - answers, rows)}


def _errors(sums: Floats) -> Figures:
    rows, answers, squares, squared_error, absolute_error = sums.T
    return {"r2": 1 - ratio(squared_error, squares - ratio(answers**2, rows)), "mae": ratio(absolute_error, rows)}


def _masks(values: pd.Series[str]) -> Iterator[tuple[str, Mask]]:
    if isinstance(values.dtype, pd.CategoricalDtype):
        known = [value for value in values.cat.categories if (values == value).any()]
    else:
        known = sorted(values.unique(), key=lambda value: (value in {"others", "unknown"}, value))
    yield from ((str(value), (values == value).to_numpy()) for value in known)


def _band_names(edges: tuple[float, ...], unit: str) -> list[str]:
    if not len(edges):
        return [f"any{unit}"]
    ends = [f"{edge:,.0f}" for edge in edges]
    between = [f"{low} to {high}{unit}" for low, high in pairwise(ends)]
    return [f"up to {ends[0]}{unit}", *between, f"over {ends[-1]}{unit}"]
