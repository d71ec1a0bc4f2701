"""Feature values that a server read, with the types they have there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from serving.feature_types import check_number
from serving.service_views import as_floats, as_list

INSTANT = pa.timestamp("us", tz="UTC")
KINDS = {str(kind): kind for kind in (pa.int64(), pa.float64(), pa.string(), pa.bool_(), INSTANT)}


@dataclass(frozen=True, eq=False)
class TableAnswer:
    """Rows of a feature service, as :class:`serving.features.FeatureTable` says."""

    service: str
    table: pa.Table
    known: npt.NDArray[np.bool_]

    @classmethod
    def of(
        cls, service: str, types: Mapping[str, str], rows: Sequence[Mapping[str, Any]], known: npt.NDArray[np.bool_]
    ) -> TableAnswer:
        """Read rows of JSON, of types by feature."""
        kinds = {name: KINDS[kind] for name, kind in types.items()}
        columns = {name: _column([row[name] for row in rows], kind) for name, kind in kinds.items()}
        return cls(service, pa.table(columns, pa.schema(kinds)), known)

    @property
    def length(self) -> int:
        """Rows."""
        return len(self.known)

    @property
    def names(self) -> list[str]:
        """Full names of the features, in the service's order."""
        return list(self.table.column_names)

    def lists(self) -> dict[str, list[Any]]:
        """Return columns as Python's values; NULL and NaN are None."""
        return {field.name: as_list(self.table[field.name].combine_chunks(), field.type) for field in self.table.schema}

    def matrix(self, columns: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return columns of numbers, NaN for NULL.

        Raises
        ------
        DataError
            A column is not in the service, or holds text or times.
        """
        types = {field.name: field.type for field in self.table.schema}
        for name in columns:
            check_number(self.service, types, name)
        matrix = np.empty((self.length, len(columns)))
        for i, name in enumerate(columns):
            matrix[:, i] = as_floats(self.table[name].combine_chunks())
        return matrix


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if kind == INSTANT:
        values = [None if value is None else datetime.fromisoformat(value) for value in values]
    return pa.array(values, kind)
