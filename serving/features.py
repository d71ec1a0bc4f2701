"""Feature values as they are answered, wherever they were read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa


class FeatureTable(Protocol):
    """Rows of a feature service: read from Redis here, or by a server."""

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Whether Redis holds anything about each row's entities."""

    @property
    def length(self) -> int:
        """Rows."""

    @property
    def names(self) -> Sequence[str]:
        """Full names of the features, in the service's order."""

    @property
    def table(self) -> pa.Table:
        """One column per feature."""

    def lists(self) -> dict[str, list[Any]]:
        """Return columns as Python's values; NULL and NaN are None."""

    def matrix(self, columns: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return columns of numbers, NaN for NULL."""


@dataclass(frozen=True, eq=False)
class Features:
    """Feature values, one row per row of the question.

    Attributes
    ----------
    entities
        Columns the question was about, pseudonyms for shoppers.
    reading
        What Redis said.
    as_of
        Instant the features were read at.
    degraded
        Whether Redis did not answer: these are the last known ones, and ``as_of`` is the earliest instant one was read.
    """

    entities: Mapping[str, Sequence[str]]
    reading: FeatureTable
    as_of: datetime
    degraded: bool = False

    @property
    def known(self) -> tuple[bool, ...]:
        """Whether the store holds anything about each row's entities; if not, the values are those of no events."""
        return tuple(self.reading.known.tolist())

    @property
    def missing(self) -> tuple[tuple[str, ...], ...]:
        """Features of each row that are NULL, by full name; a view without a state yet is NULL in all rows."""
        table = self.reading.table
        nulls = {name: table[name].is_null(nan_is_null=True).to_pylist() for name in table.column_names}
        return tuple(tuple(name for name, column in nulls.items() if column[row]) for row in range(self.reading.length))

    @property
    def nulls(self) -> int:
        """How many values are NULL: as many as :attr:`missing` names."""
        return sum(column.count(None) for column in self._lists.values())

    def rows(self) -> list[dict[str, Any]]:
        """Values of each row by full name, as Python's; NULL and NaN are None."""
        names = tuple(self._lists)
        return [dict(zip(names, row, strict=True)) for row in zip(*self._lists.values(), strict=True)]

    @cached_property
    def _lists(self) -> dict[str, list[Any]]:
        return self.reading.lists()

    def to_arrow(self) -> pa.Table:
        """Return the entity columns, then one column per feature under its full name.

        int64, double, string, bool and timestamp[us, UTC]; NULL is NULL.
        """
        ids = {name: pa.array(values, pa.string()) for name, values in self.entities.items()}
        table = self.reading.table
        return pa.table({**ids, **{name: table[name] for name in table.column_names}})

    def to_df(self) -> pd.DataFrame:
        """Return a DataFrame indexed by the entity columns; an integer column with a NULL becomes float64."""
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame.set_index(list(self.entities))

    def to_numpy(self, columns: Sequence[str] | None = None) -> npt.NDArray[np.float64]:
        """Return ``float64[n, d]`` in the order of ``columns`` (full names; the service's without), NaN for NULL.

        Raises
        ------
        DataError
            A column is not in the service, or holds text or times.
        """
        return self.reading.matrix(self.reading.names if columns is None else columns)
