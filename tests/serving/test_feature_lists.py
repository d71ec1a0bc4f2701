"""Values on their way to JSON: what Arrow would have made of them, without NaN."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from feature_repo.engine.kernels import Values
from serving.features import Features
from serving.service_views import INSTANT, as_arrow, as_list
from serving.table_answer import TableAnswer

GONE = np.array([True, False, True])
COLUMNS: list[tuple[Any, pa.DataType]] = [
    (Values(np.array([1, 2**62, 3])), pa.int64()),
    (Values(np.array([1, 0, 3]), GONE), pa.int64()),
    (Values(np.array([1.5, math.nan, math.inf])), pa.float64()),
    (Values(np.array([1.5, 2.0, math.nan]), GONE), pa.float64()),
    (Values(np.array([1, 2, 3])), pa.float64()),
    (Values(np.array([True, False, True]), GONE), pa.bool_()),
    (Values(np.array(["a", None, "b"], object), GONE), pa.string()),
    (Values(np.array([1, 0, 1_000_001]), GONE), INSTANT),
    (pa.array([1.5, None, math.nan]), pa.float64()),
    (pa.array([], pa.int64()), pa.int64()),
]


@pytest.mark.parametrize(("column", "kind"), COLUMNS)
def test_a_list_holds_what_arrow_says_and_no_nan(column: Any, kind: pa.DataType) -> None:
    found, said = as_list(column, kind), as_arrow(column, kind).to_pylist()
    assert found == [None if isinstance(each, float) and math.isnan(each) else each for each in said]
    assert [type(each) for each in found if each is not None] == [
        type(each)
        for each in said
        if each is not None and each == each  # noqa: PLR0124
    ]


def test_rows_and_nulls_are_those_of_the_table() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    rows = [{"v__n": 1, "v__x": None, "v__at": at.isoformat()}, {"v__n": None, "v__x": 2.5, "v__at": None}]
    kinds = {"v__n": "int64", "v__x": "double", "v__at": str(INSTANT)}
    found = Features({"user_id": ["u", "w"]}, TableAnswer.of("s", kinds, rows, np.array([True, False])), at)
    assert found.rows() == found.reading.table.to_pylist()
    assert found.nulls == sum(map(len, found.missing)) == 3
