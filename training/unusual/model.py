"""Fits the score and measures it on injected abuse, before anything is registered."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from feature_repo.core.settings import Settings
from training.task import TaskUnavailableError
from training.unusual.behaviour import BEHAVIOURS, Behaviour, opened
from training.unusual.forest import fit_forest
from training.unusual.injection import CHOICE, GATE, KINDS, TRIALS, USUAL, Trial, inject
from training.unusual.isolation import Isolation
from training.unusual.policy import POLICY, Policy, judge

AUC = 0.93
FEWEST = 50


@dataclass(frozen=True)
class Noticed:
    """How well injected abuse of one kind is told from real shoppers.

    Attributes
    ----------
    auc
        Of the score: the chance that a copy with abuse scores higher than a real shopper.
    watched
        Share of the copies whose tier asks for any response.
    """

    trial: str
    kind: str
    copies: int
    auc: float
    watched: float


@dataclass(frozen=True, eq=False)
class Unusual:
    """A score with what was measured on it.

    Attributes
    ----------
    real
        What it was fitted on.
    noticed
        By trial and kind of abuse.
    watched
        Share of the real shoppers whose tier asks for any response.
    """

    real: Behaviour = field(repr=False)
    head: dict[str, Any] = field(repr=False)
    noticed: tuple[Noticed, ...]
    watched: float

    @property
    def auc(self) -> float:
        """Of the kind of abuse the gate is about, in the trial nothing was chosen by."""
        return self._auc(GATE)

    @property
    def choice_auc(self) -> float:
        """The same in the trial the inputs were chosen by."""
        return self._auc(CHOICE)

    def _auc(self, trial: Trial) -> float:
        return next(each.auc for each in self.noticed if (each.trial, each.kind) == (trial.name, USUAL.name))

    @property
    def gates(self) -> dict[str, bool]:
        """Gate -> whether it holds."""
        return {f"auc[abuse={USUAL.name}] >= {AUC:g}": self.auc >= AUC}

    @cached_property
    def scores(self) -> npt.NDArray[np.float64]:
        """Scores of the real shoppers."""
        return Isolation.of(self.head).score(self.real.matrix)


def fit_unusual(settings: Settings, real: Behaviour, policy: Policy = POLICY) -> Unusual:
    """Fit on how shoppers behaved, and measure on copies of them with abuse put in.

    Raises
    ------
    TaskUnavailableError
        Too few shoppers bought something in the 84 days before.
    LogError
        A table is damaged.
    """
    if real.shoppers < FEWEST:
        raise TaskUnavailableError(
            f"{real.shoppers} shoppers bought something in the last 84 days, too few to say what is usual.",
            hint=f"{FEWEST} are the fewest; import more order lines ('purchase' events).",
        )
    head = fit_forest(real.matrix, BEHAVIOURS)
    with opened(settings, real.at, real.log_versions) as log:
        copies = {(trial.name, abuse.name): inject(log, real, abuse, trial) for trial in TRIALS for abuse in KINDS}
    model = Isolation.of(head)
    usual = model.raw(real.matrix)
    noticed = tuple(_noticed(*which, model, usual, each, policy) for which, each in copies.items())
    return Unusual(real, head, noticed, _watched(model, real, policy))


def _noticed(
    trial: str, kind: str, model: Isolation, usual: npt.NDArray[np.float64], copies: Behaviour, policy: Policy
) -> Noticed:
    if copies.frame.empty:
        return Noticed(trial, kind, 0, float("nan"), float("nan"))
    raw = np.concatenate([usual, model.raw(copies.matrix)])
    auc = roc_auc_score(np.arange(len(raw)) >= len(usual), raw)
    return Noticed(trial, kind, len(copies.frame), float(auc), _watched(model, copies, policy))


def _watched(model: Isolation, rows: Behaviour, policy: Policy) -> float:
    responses = judge(rows.frame, model.score(rows.matrix), policy).response
    return float(np.mean(responses != "none"))
