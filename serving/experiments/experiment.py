"""What an experiment is: a declaration. A file in ``declared`` is one; nothing else has to know of it."""

from __future__ import annotations

import math
import pkgutil
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from importlib import import_module
from typing import Any, Literal

from feature_repo.core.clock import to_us
from feature_repo.core.errors import DeclarationError, did_you_mean
from feature_repo.privacy.consent import PurposeName, known_purpose
from serving.experiments.outcomes import OUTCOMES, WEEK

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FEWEST = 2


@dataclass(frozen=True)
class Variant:
    """One way to treat a shopper.

    Attributes
    ----------
    name
        As exposures name it.
    meaning
        What is done with a shopper who gets it, in words.
    model
        Where the experiment is about a task: the alias (``champion``, ``challenger``) or the version that scores.
    weight
        Its part of the shoppers, beside the other variants' weights.
    """

    name: str
    meaning: str
    model: str = ""
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A comparison of variants, each shopper in one.

    Attributes
    ----------
    name
        Its name; the split hangs on it, so another name is another split.
    question
        What is asked, in English, and in Chinese (``zh``).
    task, subject
        What is varied: the model that answers a task, or something of the application's (``home_page``). One of them.
    variants
        Two or more; the first is the control, which the others are compared with. Another weight or order while it
        runs moves shoppers to other variants, and the report leaves those out.
    start, end
        First instant, included, and end, excluded: outside of it nobody is in it.
    purpose
        Use of data it is, of ``feature_repo.privacy.consent``: who does not permit it is not in it.
    outcome
        The one it is decided by, of ``serving.experiments.outcomes``; chosen before anybody looks.
    conversion_days, retention_days
        Days after the first exposure in which something is bought, and after which a shopper still comes.
    unit
        Who is split.

    Raises
    ------
    DeclarationError
        The declaration contradicts itself.
    """

    name: str
    question: str
    zh: str = ""
    variants: tuple[Variant, ...]
    start: datetime
    end: datetime
    task: str = ""
    subject: str = ""
    purpose: PurposeName = "service"
    outcome: str = "conversion"
    conversion_days: int = 7
    retention_days: int = 28
    unit: Literal["user"] = "user"

    def __post_init__(self) -> None:
        self._check_names()
        self._check_times()
        for wrong, hint in self._wrong():
            raise DeclarationError(f"Experiment '{self.name}' {wrong}.", hint=hint)

    @property
    def control(self) -> Variant:
        """What the others are compared with."""
        return self.variants[0]

    @cached_property
    def shares(self) -> tuple[float, ...]:
        """Part of the shoppers each variant gets; 1 together."""
        whole = math.fsum(variant.weight for variant in self.variants)
        return tuple(variant.weight / whole for variant in self.variants)

    @cached_property
    def span_us(self) -> tuple[int, int]:
        """First instant and end."""
        return to_us(self.start), to_us(self.end)

    def variant(self, name: str) -> Variant:
        """Return a variant by its name.

        Raises
        ------
        DeclarationError
            There is none.
        """
        found = {variant.name: variant for variant in self.variants}
        if name not in found:
            raise DeclarationError(f"Experiment '{self.name}' has no variant '{name}'.", hint=did_you_mean(name, found))
        return found[name]

    def _check_names(self) -> None:
        names = [variant.name for variant in self.variants]
        for name in (self.name, *names):
            if not _NAME.fullmatch(name):
                raise DeclarationError(
                    f"{name!r} is no name of an experiment or a variant.",
                    hint="use small letters, digits and '_', 64 at most, a letter first.",
                )
        if len(names) < _FEWEST or len(set(names)) < len(names):
            raise DeclarationError(
                f"Experiment '{self.name}' has the variants {names}.", hint="declare two or more of different names."
            )

    def _check_times(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None or self.start >= self.end:
            raise DeclarationError(
                f"Experiment '{self.name}' goes from {self.start} to {self.end}.",
                hint="give it aware datetimes, the end after the start.",
            )

    def _wrong(self) -> list[tuple[str, str]]:
        known_purpose(self.purpose)
        weights = [variant.weight for variant in self.variants]
        models = [bool(variant.model) for variant in self.variants]
        found = {
            ("has a weight that is not above 0", "give each variant its part, for example 1.0."): not all(
                math.isfinite(weight) and weight > 0 for weight in weights
            ),
            ("varies a task and a subject, or neither", "give it one of task= and subject=."): bool(self.task)
            == bool(self.subject),
            ("does not say which model each variant is", "give model= to all variants of a task, to no other."): (
                not all(models) if self.task else any(models)
            ),
            (f"is decided by '{self.outcome}', which is no outcome", did_you_mean(self.outcome, OUTCOMES)): (
                self.outcome not in OUTCOMES
            ),
            ("has days that are none", "conversion_days is 1 or more, retention_days 7 or more."): (
                self.conversion_days < 1 or self.retention_days < WEEK
            ),
        }
        return [text for text, wrong in found.items() if wrong]


@cache
def all_experiments() -> dict[str, Experiment]:
    """Every experiment that a module of ``declared`` declares, by name, in the modules' order.

    Raises
    ------
    DeclarationError
        Two experiments have one name, or a declaration contradicts itself.

    >>> "redemption_model" in all_experiments()
    True
    """
    from serving.experiments import declared  # noqa: PLC0415 - the declarations import this module

    found: dict[str, Experiment] = {}
    for module in sorted(module.name for module in pkgutil.iter_modules(declared.__path__)):
        for each in vars(import_module(f"{declared.__name__}.{module}")).values():
            if isinstance(each, Experiment) and found.setdefault(each.name, each) is not each:
                raise DeclarationError(f"Two experiments are named '{each.name}'.", hint="rename one of them.")
    return found


def find_experiment(name: Any) -> Experiment:
    """Return an experiment by its name.

    Raises
    ------
    DeclarationError
        There is none, or it is not a name.
    """
    known = all_experiments()
    if not isinstance(name, str):
        kind = type(name).__name__
        raise DeclarationError(
            f"An experiment was asked for by something of type {kind}.", hint=did_you_mean("", known)
        )
    if name not in known:
        raise DeclarationError(f"There is no experiment '{name}'.", hint=did_you_mean(name, known))
    return known[name]
