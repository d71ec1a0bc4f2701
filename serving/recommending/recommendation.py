"""What is recommended, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import pandas as pd


@dataclass(frozen=True)
class Recommended:
    """One item of a list.

    Attributes
    ----------
    item_id, category
        The item; its category is empty if unknown.
    score
        What the model says; it orders items of one list, and is no probability. Of whoever bought nothing yet it is the
        share of shoppers who buy it, of the store if that is known, and of all.
    kind
        Of the reason, see :mod:`serving.recommending.reasons`.
    reason, zh
        Why it is there, in English and in Chinese.
    bought
        Whether the shopper bought it before.
    """

    item_id: str
    category: str
    score: float
    kind: str
    reason: str
    zh: str
    bought: bool


@dataclass(frozen=True)
class Recommendations:
    """A list for one shopper, the best first.

    Attributes
    ----------
    user_id
        Pseudonym.
    recommendation_id
        Names this list in `feedback`.
    model
        Name and version, ``items@3``.
    features_as_of
        Instant the features were read at.
    history_as_of
        Instant up to which it is known which items the shopper bought; None if nothing is known of the shopper. What
        came later is in the features.
    items
        At most as many as were asked for.
    """

    user_id: str
    recommendation_id: str
    model: str
    features_as_of: datetime
    history_as_of: datetime | None
    items: tuple[Recommended, ...]

    def __iter__(self) -> Iterator[Recommended]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> Recommended:
        return self.items[place]

    def to_df(self) -> pd.DataFrame:
        """One row per item, in order; columns are the fields of :class:`Recommended`."""
        return pd.DataFrame([vars(each) for each in self.items], columns=list(Recommended.__dataclass_fields__))
