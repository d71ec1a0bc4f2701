"""Which features of a service are numbers."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from feature_repo.core.errors import DataError, did_you_mean


def check_number(service: str, types: Mapping[str, pa.DataType], name: str) -> None:
    """Refuse a feature that is no number.

    Raises
    ------
    DataError
        The service has no such feature, or it holds text or times.
    """
    kind = type_of(service, types, name)
    if not is_number(kind):
        raise DataError(
            f"Feature '{name}' is a {kind}, and models read numbers.",
            hint="leave it out of the model's service, or derive a number from it in an on-demand view.",
        )


def is_number(kind: pa.DataType) -> bool:
    """Return whether models read a type as it is."""
    return not (pa.types.is_string(kind) or pa.types.is_timestamp(kind))


def type_of(service: str, types: Mapping[str, pa.DataType], name: str) -> pa.DataType:
    """Return the type of a feature.

    Raises
    ------
    DataError
        The service has no such feature.
    """
    if name not in types:
        raise DataError(f"Service '{service}' has no feature '{name}'.", hint=did_you_mean(name, types))
    return types[name]
