"""What is said of a shopper's tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class TagEvidence:
    """A feature or score behind a tag.

    Attributes
    ----------
    name
        Full name of a feature, or ``score__<task>``.
    value
        int, float, str, bool, aware datetime, or None for NULL; a score to eight digits.
    description, zh
        What it says, in English and in Chinese.
    """

    name: str
    value: Any
    description: str
    zh: str


@dataclass(frozen=True)
class TagValue:
    """One tag of a shopper.

    Attributes
    ----------
    name, version, kind, dimension
        As declared.
    english, chinese
        What the tag is called.
    value
        Text or flag; None where it is not known.
    word, zh
        What the value says, in English and in Chinese; empty where it is not known.
    strength
        0 on the threshold to another value, 1 beyond doubt; None where the tag does not say.
    evidence
        What it was made of.
    model
        ``task@version`` that was asked, of model tags.
    as_of
        Event time of the oldest row behind it; the instant of reading, if it is made of windows alone.
    unknown
        Why the value is not known; empty if it is.
    """

    name: str
    version: int
    kind: str
    dimension: str
    english: str
    chinese: str
    value: str | bool | None
    word: str
    zh: str
    strength: float | None
    evidence: tuple[TagEvidence, ...]
    model: str | None
    as_of: datetime
    unknown: str


@dataclass(frozen=True)
class ShopperTags:
    """A shopper's tags now.

    Attributes
    ----------
    user_id
        Pseudonym.
    known
        Whether the store holds anything about the shopper.
    tags
        In the order of their declarations.
    read_at
        When their inputs were read.
    """

    user_id: str
    known: bool
    tags: tuple[TagValue, ...]
    read_at: datetime

    def __getitem__(self, name: str) -> TagValue:
        """Return a tag by its name.

        Raises
        ------
        KeyError
            There is no such tag.
        """
        return self._by_name[name]

    def to_dict(self) -> dict[str, str | bool | None]:
        """Return name -> value."""
        return {tag.name: tag.value for tag in self.tags}

    @property
    def dimensions(self) -> dict[str, tuple[TagValue, ...]]:
        """Dimension -> its tags whose values are known."""
        return by_dimension(self.tags)

    @property
    def _by_name(self) -> dict[str, TagValue]:
        return {tag.name: tag for tag in self.tags}


def by_dimension(tags: Sequence[TagValue]) -> dict[str, tuple[TagValue, ...]]:
    """Return the tags whose values are known, by dimension."""
    names = dict.fromkeys(tag.dimension for tag in tags)
    return {name: tuple(tag for tag in tags if tag.dimension == name and tag.value is not None) for name in names}
