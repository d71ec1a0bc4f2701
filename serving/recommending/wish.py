"""What a caller says beside the shopper: where, and what is not to be shown now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from feature_repo.core.errors import DataError, did_you_mean

MOST = 100
MOST_UNAVAILABLE = 10_000


@dataclass(frozen=True)
class Wish:
    """Context of a recommendation.

    Attributes
    ----------
    store
        Where the shopper is: its favourites are proposed, which is all there is to go by for somebody new.
    category
        Items of this category alone.
    unavailable
        Items that are out of stock, or must not be shown.
    """

    store: str = ""
    category: str = ""
    unavailable: frozenset[str] = frozenset()

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> Wish:
        """Check what a caller said; what is None is not said.

        Raises
        ------
        DataError
            There is no such thing to say, or it is of another type.

        >>> Wish.of({"store": "330", "unavailable": ["1082185"]}).unavailable
        frozenset({'1082185'})
        """
        known = [each.name for each in fields(cls)]
        for name in context:
            if name not in known:
                raise DataError(f"Recommendations take no context '{name}'.", hint=did_you_mean(str(name), known))
        said = {name: value for name, value in context.items() if value is not None}
        for name in ("store", "category"):
            if not isinstance(said.get(name, ""), str):
                raise DataError(f"Context '{name}' is no text.", hint=f"pass the {name} as your events name it.")
        return cls(**{**said, "unavailable": _items(said.get("unavailable", ()))})


def checked_count(k: Any) -> int:
    """Return how many items are asked for.

    Raises
    ------
    DataError
        It is no whole number from 1 to ``MOST``.
    """
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MOST:
        raise DataError(f"How many items is no whole number from 1 to {MOST}.", hint="pass k=10, or another.")
    return k


def _items(said: Any) -> frozenset[str]:
    listed = isinstance(said, list | tuple | set | frozenset) and len(said) <= MOST_UNAVAILABLE
    if not listed or not all(isinstance(each, str) for each in said):
        raise DataError(
            "Context 'unavailable' is no list of item ids.", hint=f"pass a list of texts, at most {MOST_UNAVAILABLE:,}."
        )
    return frozenset(said)
