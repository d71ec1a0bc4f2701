"""What a caller of the SDK passes, as JSON a server understands as the SDK in process does."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from serving.entities import USER, check_single, checked_id, listed_ids


def json_question(asked: Any) -> dict[str, Any]:
    """Return ``users`` or ``entities`` of a request.

    Of a DataFrame, columns of texts, numbers and flags are sent, whatever else they are for.

    Raises
    ------
    DataError
        It is no id and no iterable of them, one is of a type JSON cannot say, or a column's name stands for several.

    >>> json_question(["a", 7, None])
    {'users': ['a', 7, None]}
    >>> json_question(pd.DataFrame({"user_id": ["a"], "campaign_days": [30.0], "bytes": [b""]}))
    {'entities': {'user_id': ['a'], 'campaign_days': [30.0]}}
    """
    if not isinstance(asked, pd.DataFrame):
        ids = listed_ids(asked, USER)
        return {"users": [_json_id(value, row, USER) for row, value in enumerate(ids)]}
    for name in asked.columns[asked.columns.duplicated()]:
        check_single(asked, name)
    columns = {str(name): asked[name].tolist() for name in asked.columns}
    if USER in columns:
        columns[USER] = [_json_id(value, row, USER) for row, value in enumerate(columns[USER])]
    return {"entities": {name: [json_value(v) for v in values] for name, values in columns.items() if _sayable(values)}}


def json_context(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``context`` of a request.

    >>> json_context({"campaign_days": np.array([30, 32]), "campaign_type_a": float("nan")})
    {'campaign_days': [30, 32], 'campaign_type_a': None}
    """
    return {name: [*map(json_value, said)] if _is_column(said) else json_value(said) for name, said in context.items()}


def json_value(value: Any) -> Any:
    """Return a cell as JSON says it: NULL of any kind is null, numpy's scalars Python's.

    Infinities become texts that pandas reads as such: the server has to find that they are no finite numbers.

    >>> [json_value(each) for each in (np.int64(7), pd.NaT, float("inf"), "a", [])]
    [7, None, 'inf', 'a', 'list']
    """
    if value is None or isinstance(value, str):
        return value if value is None or _encodable(value) else "no text"
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return None if math.isnan(value) else float(value) if math.isfinite(value) else str(float(value))
    return None if value is pd.NA or value is pd.NaT else type(value).__name__


def _json_id(value: Any, row: int, name: str) -> Any:
    # What JSON has is judged by the server, which knows what the column is called.
    if value is None or (type(value) in {int, bool, list, dict}) or (type(value) is str and _encodable(value)):
        return value
    return value if type(value) is float and math.isfinite(value) else checked_id(value, row, name)


def _sayable(values: list[Any]) -> bool:
    return all(
        value is None or isinstance(value, str | numbers.Number | np.bool_) or pd.isna(value) for value in values
    )


def _is_column(said: Any) -> bool:
    return isinstance(said, Iterable) and not isinstance(said, str | bytes)


def _encodable(text: str) -> bool:
    return not any("\ud800" <= each <= "\udfff" for each in text)
