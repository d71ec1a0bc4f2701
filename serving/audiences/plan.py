"""Whom a budget is best spent on: propensity x value, and how many answers that may bring.

It is a policy of propensity, not of effect: who would answer anyway is addressed too. What addressing changes, only a
holdout tells (`portrait audience export --holdout`, `portrait audience report`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from feature_repo.core.errors import DataError
from feature_repo.core.mlflow_client import champion_of, open_mlflow, quiet_mlflow
from feature_repo.core.settings import Settings
from feature_repo.quality.targeting import SPREAD_TAG, Expected, best, expected
from serving.audiences.audiences import Audiences
from serving.audiences.columns import Numbers
from serving.audiences.members import full_name

_SCORE = "score__"


@dataclass(frozen=True)
class Plan:
    """Whom to address.

    Attributes
    ----------
    audience, selection, as_of
        Of whom.
    task, spread
        Whose score it is, and how campaigns differ beyond it (deviation on the logit scale).
    candidates
        How many of the audience have a score and a value.
    addressed
        How many are worth it, and within the budget.
    least_score
        The least score among them: ``selection and score__TASK >= least_score`` selects them, but for equal ones.
    cost
        Of addressing them.
    answers, value
        Expected, with 95 % intervals.
    by_chance
        Answers expected of as many of the candidates by chance.
    """

    audience: str
    selection: str
    as_of: datetime
    task: str
    spread: float
    candidates: int
    addressed: int
    least_score: float
    cost: float
    answers: Expected
    value: Expected
    by_chance: float


def plan(
    audiences: Audiences, audience: str, *, task: str, value: str, cost: float, budget: float, spread: float
) -> Plan:
    """Choose whom of an audience to address, so that the expected value is greatest within a budget.

    Parameters
    ----------
    value
        What an answer is worth: a number, or a column of the snapshot.
    cost
        Of addressing one, answer or not.
    budget
        For all that.
    spread
        Between campaigns; :func:`known_spread` is what the champion was found to have.

    Raises
    ------
    DataError
        The snapshot has no score of the task or no such column, or as :meth:`Audiences.members`.
    """
    if not cost > 0 or not budget > 0:
        raise DataError("Addressing somebody costs more than 0, and the budget is more than 0.", hint="--cost 0.5")
    found = audiences.members(audience)
    score = _column(audiences, _SCORE + task, f"`portrait train {task}`, then `portrait tags compute`")
    column = None if _is_number(value) else _column(audiences, value, "name a number, or a column of numbers")
    rows = audiences.rows(found.people, [score] if column is None else [score, column])
    scores = _numbers(rows[score])
    worth = np.full(len(scores), float(value)) if column is None else _numbers(rows[column])
    known = np.isfinite(scores) & np.isfinite(worth)
    scores, worth = scores[known], np.maximum(worth[known], 0.0)
    chosen = best(scores, worth, cost=cost, most=int(budget / cost * (1 + 1e-12)))
    return Plan(
        audience,
        found.text,
        audiences.as_of,
        task,
        spread,
        len(scores),
        len(chosen),
        float(scores[chosen].min()) if len(chosen) else float("nan"),
        cost * len(chosen),
        expected(scores[chosen], spread),
        expected(scores[chosen], spread, worth[chosen]),
        float(scores.mean() * len(chosen)) if len(scores) else 0.0,
    )


def known_spread(settings: Settings, task: str) -> float | None:
    """Return how campaigns differ, as `portrait models lift TASK --by COLUMN` found of the champion; None: not yet.

    Raises
    ------
    StoreUnavailableError
        MLflow does not answer.
    """
    with quiet_mlflow():
        version = champion_of(open_mlflow(settings.tracking_uri), task)
    said = dict(version.tags).get(SPREAD_TAG) if version is not None else None
    return None if said is None else float(said)


def _column(audiences: Audiences, name: str, hint: str) -> str:
    found = full_name(audiences.index, name)
    if found is None or not isinstance(audiences.index.column(found), Numbers):
        raise DataError(f"The snapshot has no column of numbers '{name}'.", hint=f"{hint}.")
    return found


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _numbers(column: object) -> npt.NDArray[np.float64]:
    plain = pc.cast(column, "float64").to_numpy()
    return np.asarray(plain, np.float64)
