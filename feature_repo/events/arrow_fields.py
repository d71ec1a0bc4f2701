"""The column of an Arrow schema that a field of a declaration stands for."""

from __future__ import annotations

import types
from datetime import datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pyarrow as pa
from pydantic import AwareDatetime

from feature_repo.core.errors import DeclarationError

_ARROW_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    datetime: pa.timestamp("us", "UTC"),
    AwareDatetime: pa.timestamp("us", "UTC"),
}


def arrow_field(event_type: str, name: str, annotation: Any) -> pa.Field:
    """Return the Arrow field of a declared one; it may be NULL where the declaration allows None.

    Raises
    ------
    DeclarationError
        It is of a type that no column of the log has.

    >>> arrow_field("consent", "granted", bool)
    pyarrow.Field<granted: bool not null>
    """
    plain, nullable = _plain(annotation)
    if plain not in _ARROW_TYPES:
        raise DeclarationError(
            f"Column '{name}' of event '{event_type}' is {plain!r}.",
            hint="declare it as str, int, float, bool or an instant.",
        )
    return pa.field(name, _ARROW_TYPES[plain], nullable=nullable)


def _plain(annotation: Any) -> tuple[Any, bool]:
    """Strip ``Annotated`` and ``| None``: the bare type, and whether it may be NULL."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _plain(get_args(annotation)[0])
    if origin is Literal:
        return str, False
    if origin in (Union, types.UnionType):
        [inner] = [part for part in get_args(annotation) if part is not types.NoneType]
        return _plain(inner)[0], True
    return annotation, False
