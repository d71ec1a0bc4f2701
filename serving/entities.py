"""Who is asked about: what a caller passes, as checked columns of ids. Raw ids of shoppers become pseudonyms here."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from feature_repo.core.errors import DataError
from feature_repo.privacy.pseudonyms import are_pseudonyms

USER = "user_id"


def entity_columns(asked: Any, columns: Sequence[str], pseudonym: Callable[[str], str]) -> dict[str, list[str]]:
    """Return the entity columns of a request, equally long.

    Parameters
    ----------
    asked
        One id, an iterable of ids (a list, a Series, an array), or a DataFrame with ``columns``; ids are texts, or
        integers, whose decimal digits are the id.
    columns
        What is asked about; without a DataFrame it must be one column.
    pseudonym
        Turns a raw id of a shopper into its pseudonym, and leaves a pseudonym as it is.

    Raises
    ------
    DataError
        An id is missing, empty or of another type; the message names its row, never its value.

    >>> entity_columns(["a", 7], ["item_id"], str.upper)
    {'item_id': ['a', '7']}
    >>> entity_columns("a", ["user_id"], str.upper)
    {'user_id': ['A']}
    """
    given = _given(asked, columns)
    found = {name: list(given[name]) for name in columns if name == USER and _pseudonyms(given[name])}
    for name in columns:
        if name not in found:
            ids = [checked_id(value, row, name) for row, value in enumerate(given[name])]
            found[name] = [pseudonym(value) for value in ids] if name == USER else ids
    return {name: found[name] for name in columns}


def _pseudonyms(ids: Any) -> bool:
    """Whether all are pseudonyms already, as those that applications hold mostly are."""
    return isinstance(ids, list) and set(map(type, ids)) == {str} and are_pseudonyms(ids)


def _given(asked: Any, columns: Sequence[str]) -> Mapping[str, Iterable[Any]]:
    needed = ", ".join(columns)
    if isinstance(asked, pd.DataFrame):
        lacking = [name for name in columns if name not in asked.columns]
        if lacking:
            raise DataError(f"The DataFrame has no column '{lacking[0]}'.", hint=f"give it the columns {needed}.")
        for name in columns:
            check_single(asked, name)
        return {name: asked[name].tolist() for name in columns}
    if len(columns) != 1:
        raise DataError(
            f"The question is about {needed}, and one list of ids was given.", hint=f"pass a DataFrame with {needed}."
        )
    return {columns[0]: listed_ids(asked, columns[0])}


def check_single(frame: pd.DataFrame, name: str) -> None:
    """Refuse a DataFrame in which a column's name stands for several.

    Raises
    ------
    DataError
        It does.
    """
    count = int((frame.columns == name).sum())
    if count > 1:
        raise DataError(
            f"The DataFrame has {count} columns named '{name}'.", hint="rename or drop all but one of them."
        )


def listed_ids(asked: Any, name: str) -> list[Any]:
    """Return the ids of a question, not checked yet.

    Raises
    ------
    DataError
        It is no id and no iterable of them.
    """
    if isinstance(asked, (str, numbers.Number)):
        return [asked]
    if isinstance(asked, Mapping) or not isinstance(asked, Iterable):
        raise DataError(
            f"'{name}' was asked for as {_kind(asked)}.",
            hint="pass an id, a list of ids, or a DataFrame with the column.",
        )
    return list(asked)


def checked_id(value: Any, row: int, name: str) -> str:
    """Return an id as text.

    Raises
    ------
    DataError
        It is missing, empty or of another type.
    """
    if type(value) is not bool and isinstance(value, numbers.Integral):
        return str(int(value))
    # A blank category may be one; a blank shopper is none, and has no pseudonym.
    blank = isinstance(value, str) and not (value.strip() if name == USER else value)
    if not isinstance(value, str) or blank or not _encodable(value):
        raise DataError(
            f"Row {row} of '{name}' is {_kind(value)}, not an id.",
            hint="ids are texts or integers; read such a column as text (dtype=str) and drop rows without an id.",
        )
    return value


def _kind(value: Any) -> str:
    if value is None or value is pd.NA or value is pd.NaT or value != value:  # noqa: PLR0124 - NaN is not itself
        return "missing (NULL)"
    if isinstance(value, str):
        return "a text that is not valid Unicode" if value.strip() else "an empty text"
    return f"of type {type(value).__name__}"


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
