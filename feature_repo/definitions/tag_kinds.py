"""What a tag (标签) is: a word about a shopper, from one feature, from a rule over features, or from a model's score.

A tag's value is a short text or a flag, or NULL for what is not known. It is declared once as SQL over features by full
name (``view__feature``); one evaluator reads it for one shopper online and for everybody offline (``serving.tags``).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from itertools import pairwise
from typing import ClassVar, Literal, get_args

from feature_repo.core.errors import DeclarationError, did_you_mean
from feature_repo.definitions.tag_features import FEATURE_TYPES, TASKS
from feature_repo.definitions.tag_sql import FLAG, NUMBER, SCORE, TEXT, Expression, expression

Lifecycle = Literal["draft", "live", "retired"]
Dimension = Literal["basic", "behaviour", "preference", "value", "lifecycle", "risk"]

_NAME = re.compile(r"[a-z][a-z0-9_]{1,39}")
_CHINESE = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True, kw_only=True)
class Tag(ABC):
    """A declared tag.

    Attributes
    ----------
    name
        Snake case; the column ``tag__<name>`` of snapshots.
    english, chinese
        What it is called.
    description
        One sentence.
    owner
        Who answers for it.
    version
        Goes up when its meaning changes.
    lifecycle
        Of a draft only `portrait tags show --drafts` knows; a retired one is listed, and computed no more.
    dimension
        Part of the portrait it belongs to.
    fresh
        How old a row of an ordinary view behind it may be; an older one is as none. None: any age. Windows end when
        they are read, and are never old.
    values
        Value -> what it says in English and in Chinese; empty where values are the shop's own words.

    Raises
    ------
    DeclarationError
        A name or word that is none, an unknown feature or task, SQL that cannot be used.
    """

    name: str
    english: str
    chinese: str
    description: str
    owner: str
    version: int
    dimension: Dimension
    fresh: timedelta | None
    values: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    lifecycle: Lifecycle = "live"

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        said = {"dimension": (self.dimension, get_args(Dimension)), "lifecycle": (self.lifecycle, get_args(Lifecycle))}
        if not _NAME.fullmatch(self.name):
            raise DeclarationError(
                f"A tag is named '{self.name}'.", hint="write it as churn_risk: at most 40 characters."
            )
        for what, (word, known) in said.items():
            if word not in known:
                raise DeclarationError(f"{self} has {what} '{word}'.", hint=did_you_mean(word, known))
        texts = [(self.english, self.chinese), *self.values.values()]
        if not all(english and _CHINESE.search(chinese) for english, chinese in texts) or not self.description:
            raise DeclarationError(f"{self} lacks words.", hint="say it and its values in English and in Chinese.")
        if self.version < 1 or (self.fresh is not None and self.fresh <= timedelta(0)):
            raise DeclarationError(f"{self} has version {self.version}, and may be {self.fresh} old.", hint="above 0.")
        self._check()

    def __str__(self) -> str:
        return f"Tag '{self.name}'"

    @property
    @abstractmethod
    def value(self) -> Expression:
        """Its value: text or boolean."""

    @property
    @abstractmethod
    def strength(self) -> Expression:
        """How far the shopper is from another value: 0 on the threshold, 1 beyond doubt; NULL where that is unsaid."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Everything it reads, by full name."""
        return tuple(sorted({*self.value.columns, *self.strength.columns}))

    @property
    def features(self) -> tuple[str, ...]:
        """Of these, the features."""
        return tuple(name for name in self.columns if not name.startswith(SCORE))

    @property
    def task(self) -> str | None:
        """The task whose score it reads, if any."""
        return None

    def _check(self) -> None:
        if self.value.kind not in {TEXT, FLAG}:
            raise DeclarationError(
                f"{self} has values of type {self.value.kind}.", hint="write CASE WHEN ... THEN 'word', or a condition."
            )
        if self.strength.kind != NUMBER:
            raise DeclarationError(f"{self} has a strength of type {self.strength.kind}.", hint="write a number.")

    def _parsed(self, text: str, types: Mapping[str, str] = FEATURE_TYPES) -> Expression:
        return expression(text, types, whose=str(self))


@dataclass(frozen=True, kw_only=True)
class FactTag(Tag):
    """A feature as it is, with its values named.

    Attributes
    ----------
    feature
        Full name; a text or a flag.
    measured
        Feature that says how strongly it is so, if there is one.
    """

    feature: str
    measured: str = ""

    kind = "fact"

    @cached_property
    def value(self) -> Expression:
        """The feature."""
        return self._parsed(self.feature)

    @cached_property
    def strength(self) -> Expression:
        """The feature that says so."""
        return self._parsed(self.measured or "NULL::DOUBLE")

    def _check(self) -> None:
        if self.value.columns != (self.feature,):
            raise DeclarationError(f"{self} is no feature as it is.", hint="declare a RuleTag.")
        super()._check()


@dataclass(frozen=True, kw_only=True)
class RuleTag(Tag):
    """One SQL expression over features.

    Attributes
    ----------
    sql, strength_sql
        Over features by full name. NULL is what is not known; so is what compares with it.
    """

    sql: str
    strength_sql: str = "NULL::DOUBLE"

    kind = "rule"

    @cached_property
    def value(self) -> Expression:
        """The rule."""
        return self._parsed(self.sql)

    @cached_property
    def strength(self) -> Expression:
        """What the declaration says."""
        return self._parsed(self.strength_sql)


@dataclass(frozen=True, kw_only=True)
class ModelTag(Tag):
    """What a task's champion says, in words.

    Attributes
    ----------
    asked
        Name of the task; its score is the column ``score__<task>``.
    bands
        Thresholds, and a word for each part between them.
    only
        SQL condition over features: of whom the model was trained to be asked. Of others the tag is NULL.
    """

    asked: str
    bands: Bands
    only: str

    kind = "model"

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.asked

    @cached_property
    def value(self) -> Expression:
        """The word of the score's band."""
        return self._of_those(self.bands.sql(self._score))

    @cached_property
    def strength(self) -> Expression:
        """How far the score is from the nearest threshold."""
        return self._of_those(self.bands.strength_sql(self._score))

    @property
    def _score(self) -> str:
        return f"{SCORE}{self.asked}"

    def _of_those(self, sql: str) -> Expression:
        return self._parsed(f"CASE WHEN {self.only} THEN {sql} END", {**FEATURE_TYPES, self._score: NUMBER})

    def _check(self) -> None:
        if self.asked not in TASKS:
            raise DeclarationError(f"{self} asks task '{self.asked}'.", hint=did_you_mean(self.asked, TASKS))
        super()._check()


@dataclass(frozen=True)
class Bands:
    """Words for parts of a scale: ``Bands(("high", 0.4), ("medium", 0.15), ("low", 0.0), most=1.0)``.

    Attributes
    ----------
    parts
        Word and the smallest number it is said of, the greatest first; the last is the lower end of the scale.
    most
        Upper end of the scale.

    Raises
    ------
    DeclarationError
        There are fewer than two words, or the thresholds do not fall.
    """

    parts: tuple[tuple[str, float], ...]
    most: float

    def __init__(self, *parts: tuple[str, float], most: float) -> None:
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "most", most)
        ends = [most, *(end for _, end in parts)]
        if len(parts) < 2 or any(high <= low for high, low in pairwise(ends)):  # noqa: PLR2004
            raise DeclarationError(f"Bands {parts} up to {most} do not fall.", hint="write the greatest first.")

    @property
    def words(self) -> tuple[str, ...]:
        """In the order of the scale, the greatest first."""
        return tuple(word for word, _ in self.parts)

    def sql(self, number: str) -> str:
        """Return the word of a number; NULL of NULL.

        >>> Bands(("high", 0.5), ("low", 0.0), most=1.0).sql("x")
        "CASE WHEN x >= 0.5 THEN 'high' WHEN x IS NOT NULL THEN 'low' END"
        """
        *upper, (lowest, _) = self.parts
        cases = " ".join(f"WHEN {number} >= {least!r} THEN '{word}'" for word, least in upper)
        return f"CASE {cases} WHEN {number} IS NOT NULL THEN '{lowest}' END"

    def strength_sql(self, number: str) -> str:
        """Return 0 on a threshold, 1 in the middle of a band, or at the scale's end of an outer one."""
        pieces = []
        ceilings = (self.most, *(least for _, least in self.parts))
        for n, ((_, least), ceiling) in enumerate(zip(self.parts, ceilings, strict=False)):
            pieces.append(f"WHEN {number} >= {least!r} THEN {self._within(number, n, least, ceiling)}")
        return f"CASE {' '.join(pieces)} WHEN {number} IS NOT NULL THEN 1.0 END"

    def _within(self, number: str, n: int, least: float, ceiling: float) -> str:
        above, below, width = f"({number} - {least!r})", f"({ceiling!r} - {number})", ceiling - least
        if n == 0:
            return f"least(1.0, {above} / {width!r})"
        if n == len(self.parts) - 1:
            return f"{below} / {width!r}"
        return f"2.0 * least({above}, {below}) / {width!r}"


def check_distinct(tags: Sequence[Tag]) -> tuple[Tag, ...]:
    """Return tags by what no two of them have in common.

    Raises
    ------
    DeclarationError
        Two have one name.
    """
    names = [tag.name for tag in tags]
    for name in names:
        if names.count(name) > 1:
            raise DeclarationError(f"Two tags are named '{name}'.", hint="a new meaning is a new version of the tag.")
    return tuple(tags)
