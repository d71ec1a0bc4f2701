"""What tags are evaluated over, wherever it was read: features, how old their rows are, and the scores of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.core.errors import DeclarationError
from feature_repo.definitions.tag_sql import SCORE
from serving.models import Model
from serving.online_features import Reading
from serving.service_views import as_arrow

Ints = npt.NDArray[np.int64]

AGE = "age__"
NEVER = np.iinfo(np.int64).min
# Online and offline agree on floats to nine digits of what was added up (DESIGN, section 4). A threshold is a round
# number; a value that is one too must not fall on either side of it by chance.
DIGITS = 8


@dataclass(frozen=True, eq=False)
class Inputs:
    """One row per shopper.

    Attributes
    ----------
    users
        Pseudonyms.
    known
        Whether anything is held of each: ``bool[n]``.
    reading
        Of the features that tags and models read.
    stamps
        View -> event time (us) of each shopper's row in force, ``NEVER`` without one: of ordinary views.
    scores
        Task -> what its champion says of each: ``float64[n]``; NaN of nobody.
    models
        Task -> ``task@version`` of the champion that was asked; a task without one is not there.
    at
        Instant everything was read at (us).
    """

    users: Sequence[str]
    known: npt.NDArray[np.bool_]
    reading: Reading
    stamps: Mapping[str, Ints]
    scores: Mapping[str, npt.NDArray[np.float64]]
    models: Mapping[str, str]
    at: int

    def table(self, features: Sequence[str], tasks: Sequence[str]) -> pa.Table:
        """Return the columns of the evaluator: features by full name, ``score__<task>``, ``age__<view>`` (us, or NULL).

        Numbers are rounded to ``DIGITS`` digits; NaN is NULL.
        """
        columns = {name: _rounded(self.feature(name)) for name in features}
        for task in tasks:
            columns[SCORE + task] = self._score(task)
        for view, stamps in self.stamps.items():
            columns[AGE + view] = pa.array(self.at - stamps, pa.int64(), mask=stamps == NEVER)
        return pa.table(columns)

    def feature(self, name: str) -> pa.Array:
        """Return a feature by its full name.

        Raises
        ------
        DeclarationError
            The registry has no such feature.
        """
        try:
            return as_arrow(self.reading.columns[name], self.reading.plan.types[name])
        except KeyError:
            raise DeclarationError(
                f"The registry does not know '{name}', which a tag reads.", hint="run `portrait features apply`."
            ) from None

    def _score(self, task: str) -> pa.Array:
        if task not in self.scores:
            return pa.nulls(len(self.users), pa.float64())
        return _rounded(pa.array(self.scores[task], pa.float64()))


def score_rows(model: Model, reading: Reading) -> npt.NDArray[np.float64]:
    """Return what a model says of the rows of a reading of its service, in its default context."""
    features = reading.matrix(model.features, model.texts)
    given = np.full((reading.length, len(model.context)), np.nan)
    return np.asarray(model.scorer.score(model.inputs(features, given)), np.float64)


def _rounded(column: pa.Array) -> pa.Array:
    """Return a column, its floats to ``DIGITS`` digits."""
    if not pa.types.is_floating(column.type):
        return column
    values = column.to_numpy(zero_copy_only=False)
    nulls = np.isnan(values) | pc.is_null(column).to_numpy(zero_copy_only=False)
    return pa.array(rounded(values), pa.float64(), mask=nulls)


def rounded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return numbers to ``DIGITS`` significant digits; what is no number, and zero, as it is.

    >>> rounded(np.array([0.4 + 1e-12, -123456.784999, 0.0])).tolist()
    [0.4, -123456.78, 0.0]
    """
    plain = np.isfinite(values) & (values != 0)
    some = values[plain]
    places = (DIGITS - 1 - np.floor(np.log10(np.abs(some)))).astype(np.int64)
    found = values.copy()
    found[plain] = [round(value, place) for value, place in zip(some.tolist(), places.tolist(), strict=True)]
    return found
