"""Why a model answered as it did about one shopper: reasons that add up to its margin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# Dimensions of reasons that no portrait has: name -> English, Chinese.
BESIDE = {"context": ("Calendar", "日历"), "question": ("The question", "提问")}
QUESTION = "question"


@dataclass(frozen=True)
class Trace:
    """A windowed value behind a reason, and what it was computed over.

    Attributes
    ----------
    name
        Full name, ``view__feature``.
    view
        Name of the view in the registry.
    value
        As it was served: int, float, str, bool, aware datetime, or None for NULL.
    table
        Table of the event log.
    about
        Join keys beside the shopper's, such as ``{"category": "BEEF"}``.
    since, until
        The window: events of ``[since, until)``.
    log_version
        Version of the table the value holds; -1 of a shopper without a state, None if the view's is not built.
    """

    name: str
    view: str
    value: Any
    table: str
    about: Mapping[str, str]
    since: datetime
    until: datetime
    log_version: int | None


@dataclass(frozen=True)
class Part:
    """One input of the model.

    Attributes
    ----------
    name
        Of a feature its full name, of the context the column.
    value
        int, float, str, bool, or None for NULL.
    contribution
        What it adds to the margin.
    description, zh
        What it says, in English and in Chinese.
    """

    name: str
    value: Any
    contribution: float
    description: str
    zh: str


@dataclass(frozen=True)
class Reason:
    """Inputs that tell of one thing.

    Attributes
    ----------
    dimension
        Dimension of the portrait it belongs to; ``context`` of the calendar, ``question`` of what was asked with.
    contribution
        What its parts add to the margin together; above zero it raises the score.
    sentence, zh
        The same in words, in English and in Chinese.
    told
        Names of the parts and traces whose values the sentence is made of.
    parts
        Inputs of the model, the one that adds or takes most first.
    traces
        Windowed values the parts are, or are computed from; none of facts and of the question.
    """

    dimension: str
    contribution: float
    sentence: str
    zh: str
    told: tuple[str, ...]
    parts: tuple[Part, ...]
    traces: tuple[Trace, ...]


@dataclass(frozen=True)
class Explanation:
    """Why a model answered as it did.

    Attributes
    ----------
    user_id
        Pseudonym.
    task, model
        What was asked, and ``task@version`` of who answered.
    value
        The answer, as of ``predict``: a calibrated probability for a yes-or-no task.
    margin
        The model's sum before calibration: a logit for a yes-or-no task, else a number.
    base
        The margin of nobody in particular; ``base`` and all contributions add up to ``margin``.
    dimensions
        Dimension -> what its reasons add together, largest first.
    reasons
        Those that add or take most first.
    features_as_of
        Instant the features were read at.
    known
        Whether the store holds anything about the shopper; if not, these are the reasons of the defaults.
    missing, defaults
        As of a score: features that were NULL, context columns for which the model's default was taken.
    """

    user_id: str
    task: str
    model: str
    value: float
    margin: float
    base: float
    dimensions: Mapping[str, float]
    reasons: tuple[Reason, ...]
    features_as_of: datetime
    known: bool
    missing: tuple[str, ...]
    defaults: tuple[str, ...]

    @property
    def contributions(self) -> dict[str, float]:
        """Every input of the model by name, and what it adds to the margin."""
        return {part.name: part.contribution for reason in self.reasons for part in reason.parts}
