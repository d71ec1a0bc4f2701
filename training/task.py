"""What a model answers, as data: label, inputs, split, recipe, and what must hold before it is promoted."""

from __future__ import annotations

import hashlib
import json
import pkgutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import cache
from importlib import import_module
from typing import Any

from feature_repo.core.allowed import ANY, Allowed
from feature_repo.core.clock import delta_us
from feature_repo.core.degrading import LAST_KNOWN, WITHOUT_REDIS
from feature_repo.core.errors import DataError, DeclarationError, did_you_mean
from training.declaring.baselines import baselines_of
from training.declaring.candidates import BOUGHT, Candidates
from training.declaring.objective import BINARY, BY_OBJECTIVE, METRICS, RANKED, RANKING, Objective
from training.declaring.recipe import Recipe

OBJECTIVES = tuple(BY_OBJECTIVE)
TOLERANCE = 0.005

LABEL = "label"
KNOWN_AT = "known_at"


class TaskUnavailableError(DataError):
    """The log cannot support the task: it lacks what the label or the split needs."""


@dataclass(frozen=True)
class Context:
    """A model input that is not a feature of the shopper: whoever asks for a prediction knows it.

    Attributes
    ----------
    name
        Column of the label query, and of a prediction's input.
    description
        What it says and in which unit.
    default
        What serving takes when the caller does not say.
    allowed
        What it may be; serving refuses other numbers.
    zh
        The description in Chinese.
    """

    name: str
    description: str
    default: float
    allowed: Allowed = ANY
    zh: str = ""

    def __post_init__(self) -> None:
        if not self.allowed.permits(self.default):
            raise DeclarationError(
                f"Context '{self.name}' has default {self.default:g}, and may be {self.allowed}.",
                hint="choose a default that is allowed.",
            )


@dataclass(frozen=True)
class Gate:
    """A bound on a metric of the test rows that must hold before a model is promoted.

    Attributes
    ----------
    metric
        One of ``METRICS``, measured for the task's objective.
    at_least, at_most
        The bound, itself allowed; exactly one.
    where
        ``"<slice column>=<value>"``; empty for all rows.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    where: str = ""

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise DeclarationError(f"A gate names metric '{self.metric}'.", hint=did_you_mean(self.metric, METRICS))
        if (self.at_least is None) == (self.at_most is None):
            raise DeclarationError(f"Gate '{self.name}' has no single bound.", hint="give it at_least or at_most.")

    @property
    def name(self) -> str:
        """``auc``, or ``auc@campaign_type=B/C``."""
        return f"{self.metric}@{self.where}" if self.where else self.metric

    @property
    def bound(self) -> str:
        """The bound as text.

        >>> Gate("ece", at_most=0.03).bound
        '<= 0.03'
        """
        return f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"

    def holds(self, value: float) -> bool:
        """Whether a value is within the bound; NaN never is.

        >>> Gate("auc", at_least=0.83).holds(0.83), Gate("auc", at_least=0.83).holds(float("nan"))
        (True, False)
        """
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most


@dataclass(frozen=True)
class Task:
    """A question about an entity, asked at an instant, whose answer the log gives later.

    Attributes
    ----------
    name
        Of the task and of the registered model.
    description
        The question, in one sentence.
    service
        Feature service the model reads.
    label
        SQL over the tables of the log, by their names, and ``log_span(first_at, last_at)``: the first and last event of
        ``pulse``. One row per observation, with the entity's join key, ``event_timestamp`` (the instant of the
        question), ``label`` (0 or 1, or a number for a regression; decided by events at or after that instant and
        before ``known_at``), ``known_at`` (when the label is final) unless ``horizon`` is given, the keys of
        ``others``, the context columns and the slices. Other columns are carried along. Nothing but the label may
        follow from events after the instant: :mod:`training.data.lookahead` recomputes.
    model
        How it is fitted.
    holdout
        Test rows are observed in this stretch before the log's end.
    validation
        The last rows of training, observed in this stretch before the holdout, choose the number of rounds and the
        calibration.
    pulse
        Event type that happens all the time: its last event says how far the log reaches.
    horizon
        How long after its instant a label is final; None when the label query says it row by row.
    entity
        Feast entity the question is about; its rows are resampled together.
    others
        Further entities of a row, for instance the category a shopper may buy of.
    objective
        One of ``OBJECTIVES``.
    groups
        Columns whose rows are ranked against each other; with them ``precision_at_5`` is measured, and
        ``precision_at_5_with_any``, of groups with a positive alone.
    context
        Inputs that are not features.
    slices
        Columns of the label query the metrics are broken down by.
    baselines
        Besides those every task has, see :mod:`training.declaring.baselines`.
    gates
        Bounds on the test rows.
    must_beat
        Baselines whose AUC and average precision (R2 and Spearman of a regression) must both be lower.
    without_redis
        What its models may answer while Redis does not: ``refuse`` (nothing), ``last_known`` (by the shopper's features
        as they were last read, some minutes ago), ``defaults`` (so, and by those of no events for a shopper whose are
        not kept). Answers say that they are degraded.
    ceiling
        Share of the ceiling's AUC that must be reached where the true probabilities are known, see
        :mod:`training.evaluation.ceiling`; 0 for a task without.
    surely_beats
        Baselines whose leading metric must be lower beyond noise: the paired 95% interval of the difference, resampled
        by shopper, is above 0.
    candidates
        What is ranked, where the label query asks about shoppers alone: ``others`` are then what each row is about
        besides.
    not_worse_than
        Baselines whose AUC (R2) may be higher by at most ``TOLERANCE``.
    """

    name: str
    description: str
    service: str
    label: str
    model: Recipe
    holdout: timedelta
    validation: timedelta
    pulse: str = "purchase"
    horizon: timedelta | None = None
    entity: str = "user"
    others: tuple[str, ...] = ()
    objective: str = BINARY
    groups: tuple[str, ...] = ()
    context: tuple[Context, ...] = ()
    slices: tuple[str, ...] = ()
    baselines: Mapping[str, Recipe] = field(default_factory=dict)
    gates: tuple[Gate, ...] = ()
    must_beat: tuple[str, ...] = ()
    not_worse_than: tuple[str, ...] = ()
    without_redis: str = LAST_KNOWN
    ceiling: float = 0.0
    surely_beats: tuple[str, ...] = ()
    candidates: Candidates | None = None

    def __post_init__(self) -> None:
        self._check_words()
        self._check_gates()
        for what in ("holdout", "validation", "horizon"):
            length = getattr(self, what)
            if length is not None and length <= timedelta(0):
                raise DeclarationError(f"Task '{self.name}': {what} is {length}.", hint="give it a positive length.")

    def _check_words(self) -> None:
        if not self.name.isidentifier():
            raise DeclarationError(f"Task name '{self.name}' is not one word.", hint="use letters, digits and _.")
        if self.objective not in OBJECTIVES:
            hint = did_you_mean(self.objective, OBJECTIVES)
            raise DeclarationError(f"Task '{self.name}' has objective '{self.objective}'.", hint=hint)
        if self.without_redis not in WITHOUT_REDIS:
            hint = did_you_mean(self.without_redis, WITHOUT_REDIS)
            raise DeclarationError(f"Task '{self.name}' may answer '{self.without_redis}' without Redis.", hint=hint)
        if (self.objective == RANKING) != (self.candidates is not None) or (self.candidates and not self.groups):
            raise DeclarationError(
                f"Task '{self.name}' ranks what is not proposed, or proposes what is not ranked.",
                hint=f"give it objective '{RANKING}', candidates= and groups= together.",
            )
        names = self.context_names
        if len(set(names)) != len(names):
            raise DeclarationError(f"Task '{self.name}' declares a context column twice.", hint="name them apart.")

    def _check_gates(self) -> None:
        known = self.all_baselines
        for name in (*self.must_beat, *self.not_worse_than, *self.surely_beats):
            if name not in known:
                raise DeclarationError(f"Task '{self.name}' has no baseline '{name}'.", hint=did_you_mean(name, known))
        for gate in self.gates:
            if gate.metric not in self.metrics:
                hint = did_you_mean(gate.metric, self.metrics)
                raise DeclarationError(f"Task '{self.name}' does not measure '{gate.metric}'.", hint=hint)
            column = gate.where.partition("=")[0]
            if column and column not in self.slices:
                raise DeclarationError(
                    f"Task '{self.name}': gate '{gate.name}' is about '{column}', which is no slice of the task.",
                    hint=did_you_mean(column, self.slices),
                )

    @property
    def context_names(self) -> tuple[str, ...]:
        """Context columns in the model's order, which is behind the features."""
        return tuple(each.name for each in self.context)

    @property
    def answers(self) -> tuple[str, ...]:
        """Columns of the label query that events after the instant decide."""
        return (LABEL, BOUGHT) if self.candidates else (LABEL,)

    @property
    def kind(self) -> Objective:
        """What follows from the objective."""
        return BY_OBJECTIVE[self.objective]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics measured on its models."""
        return (*self.kind.metrics, *RANKED) if self.groups and not self.candidates else self.kind.metrics

    @property
    def all_baselines(self) -> dict[str, Recipe]:
        """Every baseline by name, the task's own included."""
        return baselines_of(self.model, self.baselines, linear=self.kind.linear)

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with anything declared here."""
        facts = json.dumps(asdict(self), sort_keys=True, default=_length)
        return hashlib.sha256(facts.encode()).hexdigest()[:16]


def _length(value: object) -> int:
    if isinstance(value, timedelta):
        return delta_us(value)
    raise TypeError(f"a task holds {type(value).__name__}, which has no fingerprint")


@cache
def all_tasks() -> dict[str, Task]:
    """Every task that a module of ``training/tasks`` declares, by name, in the modules' order.

    Raises
    ------
    DeclarationError
        Two tasks have one name, or a declaration contradicts itself.

    >>> "redemption" in all_tasks()
    True
    """
    from training import tasks  # noqa: PLC0415 - the declarations import this module

    found: dict[str, Task] = {}
    for module in sorted(module.name for module in pkgutil.iter_modules(tasks.__path__)):
        for task in vars(import_module(f"{tasks.__name__}.{module}")).values():
            if isinstance(task, Task) and found.setdefault(task.name, task) is not task:
                raise DeclarationError(f"Two tasks are named '{task.name}'.", hint="rename one of them.")
    return found


def find_task(name: Any) -> Task:
    """Return a task by its name.

    Raises
    ------
    DeclarationError
        There is none, or it is not a name.
    """
    known = all_tasks()
    if not isinstance(name, str):
        kind = type(name).__name__
        raise DeclarationError(f"A task was asked for by something of type {kind}.", hint=did_you_mean("", known))
    if name not in known:
        raise DeclarationError(f"There is no task '{name}'.", hint=did_you_mean(name, known))
    return known[name]


def as_task(asked: Any) -> Task:
    """Return what was asked for: a task as it is, or the one of that name.

    Raises
    ------
    DeclarationError
        It is neither.
    """
    return asked if isinstance(asked, Task) else find_task(asked)
