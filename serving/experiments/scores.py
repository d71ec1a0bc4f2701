"""Answers of a task whose shoppers are split between its models."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.core.errors import DataError, ModelUnavailableError
from serving.experiments.enrolment import Assignment
from serving.experiments.experiment import Experiment
from serving.models import Model, Score, Scores, spread

_log = logging.getLogger("portrait")


@dataclass(frozen=True)
class VariantScore(Score):
    """One answer, and the variant that gave it: ``why`` as in :class:`Assignment`."""

    variant: str
    enrolled: bool
    why: str


@dataclass(frozen=True, eq=False)
class SplitScores:
    """Answers in the order of the question, each by the model of the shopper's variant.

    Attributes
    ----------
    assignments
        What each shopper got.
    parts
        Answers by model: each with the rows of the question they are about.
    """

    assignments: Sequence[Assignment]
    parts: Sequence[tuple[Sequence[int], Scores]]

    @cached_property
    def scores(self) -> tuple[VariantScore, ...]:
        """All of them."""
        found = {row: score for rows, scores in self.parts for row, score in zip(rows, scores, strict=True)}
        return tuple(
            VariantScore(**vars(found[row]), variant=each.variant, enrolled=each.enrolled, why=each.why)
            for row, each in enumerate(self.assignments)
        )

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """``float64[n]``."""
        return np.array([score.value for score in self.scores], np.float64)

    def __iter__(self) -> Iterator[VariantScore]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.assignments)

    def __getitem__(self, row: int) -> VariantScore:
        return self.scores[row]

    def to_df(self) -> pd.DataFrame:
        """One row per answer, indexed by ``user_id``; columns are the other fields of :class:`VariantScore`."""
        names = [*VariantScore.__dataclass_fields__]
        frame = pd.DataFrame([[getattr(score, name) for name in names] for score in self.scores], columns=names)
        return frame.set_index("user_id")


ModelOf = Callable[[str, str], Model]
Ask = Callable[[Model, Any, Mapping[str, Any]], Scores]


def split_scores(
    experiment: Experiment,
    assignments: Sequence[Assignment],
    users: Any,
    context: Mapping[str, Any],
    *,
    model_of: ModelOf,
    ask: Ask,
) -> SplitScores:
    """Ask each variant's model about its shoppers, and the champion about those who are not in the experiment.

    Where a variant's model cannot answer, the champion does, and its shoppers are not in the experiment.

    Parameters
    ----------
    users
        Pseudonyms, or a DataFrame with a row for each.
    model_of
        The model of a task by alias or version.
    ask
        What a model says of shoppers; raises ``ModelUnavailableError`` if it was trained on other definitions.

    Raises
    ------
    ModelUnavailableError
        The champion cannot answer either.
    """
    columns = spread(context, len(assignments))

    def told(name: str, rows: Sequence[int]) -> Scores:
        mine = users.iloc[list(rows)] if isinstance(users, pd.DataFrame) else [users[row] for row in rows]
        given = {each: [column[row] for row in rows] for each, column in columns.items()}
        return ask(model_of(experiment.task, name), mine, given)

    rest, parts, found = [], [], list(assignments)
    for name, rows in _rows_by_model(experiment, assignments).items():
        try:
            parts.append((rows, told(name, rows)))
        except ModelUnavailableError as error:
            _log.warning("Experiment '%s': the champion answers for '%s': %s", experiment.name, name, error.what)
            rest += rows
            for row in rows:
                found[row] = replace(found[row], variant=experiment.control.name, enrolled=False, why="no_model")
    rest += [row for row, each in enumerate(assignments) if not each.enrolled]
    if rest or not parts:
        parts.append((rest, told("champion", rest)))
    return SplitScores(found, parts)


def check_task(experiment: Experiment, task: Any) -> None:
    """Refuse to ask one task by the variants of another.

    Raises
    ------
    DataError
        The experiment is about something else.
    """
    if experiment.task != task:
        about = f"task '{experiment.task}'" if experiment.task else f"'{experiment.subject}', which is no task"
        raise DataError(
            f"Experiment '{experiment.name}' is about {about}.", hint="ask that task, or leave the experiment out."
        )


def _rows_by_model(experiment: Experiment, assignments: Sequence[Assignment]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row, each in enumerate(assignments):
        if each.enrolled:
            found.setdefault(experiment.variant(each.variant).model, []).append(row)
    return found
