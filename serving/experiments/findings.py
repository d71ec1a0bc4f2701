"""What is found out of an experiment: the shapes of its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

State = Literal["planned", "running", "over"]


@dataclass(frozen=True)
class Arm:
    """One variant, and how its shoppers fared.

    Attributes
    ----------
    variant
        Its name.
    shoppers
        Whose span is over; of ``satisfaction``, who answered.
    value, low, high
        Rate or mean with its interval; NaN of nobody.
    """

    variant: str
    shoppers: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Effect:
    """How a variant differs from the control.

    Attributes
    ----------
    variant
        Its name.
    difference, low, high
        Variant minus control, with its interval; NaN where too few are known.
    relative
        The difference as a part of the control's value; NaN where that is 0.
    p_value
        How often chance alone differs as much.
    """

    variant: str
    difference: float
    low: float
    high: float
    relative: float
    p_value: float


@dataclass(frozen=True)
class Measured:
    """One outcome: ``description`` in words, its variants (the control first), and the effects of the others."""

    description: str
    kind: str
    arms: tuple[Arm, ...]
    effects: tuple[Effect, ...]


@dataclass(frozen=True)
class Share:
    """How many shoppers met a variant, and how many of all were to."""

    variant: str
    meaning: str
    shoppers: int
    expected: float


@dataclass(frozen=True)
class SampleRatio:
    """Whether shoppers are split as declared: an ``alarm`` says that something keeps some of them out."""

    p_value: float
    alarm: bool


@dataclass(frozen=True)
class ExperimentReport:
    """An experiment as the log tells it.

    Attributes
    ----------
    experiment, question, state
        What was asked, and whether it is ``planned``, ``running`` or ``over``.
    known_until
        The log's last event; None for an empty log.
    shares
        Shoppers by variant, the control first.
    crossed, undeclared
        Shoppers left out: those who met two variants, and those who met one that is not declared.
    sample_ratio
        Check of the split.
    decided_by
        The outcome that was named beforehand.
    outcomes
        All outcomes by name.
    verdict
        What it says, in a sentence.
    """

    experiment: str
    question: str
    state: State
    start: datetime
    end: datetime
    known_until: datetime | None
    shares: tuple[Share, ...]
    crossed: int
    undeclared: int
    sample_ratio: SampleRatio
    decided_by: str
    outcomes: Mapping[str, Measured]
    verdict: str
