"""Searches parameters of a recipe with Optuna: by the loss on the validation slice; the test rows are not read.

Tree-structured Parzen estimator (Bergstra and others 2011) with a fixed seed. The declared parameters are the first
trial, so that nothing worse is taken. A trial fits one booster of the recipe's first seed; every ``EVERY`` rounds its
loss on the validation slice is reported, and from round ``WARMUP`` on a trial that is among the worst quarter at that
round ends: not earlier and not by the median, or small steps, which begin slowly and may end best, had no chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from xgboost.callback import TrainingCallback

from feature_repo.core.errors import PortraitError
from training.data.dataset import Dataset
from training.declaring.objective import BINARY
from training.declaring.recipe import Recipe
from training.evaluation.trained import Step
from training.fitting.fit import Fitting

SEED = 7
EVERY, WARMUP = 10, 40
STARTUP = 5
LINEAR = "strength"
EVAL_LOG = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Trial:
    """One set of parameters.

    Attributes
    ----------
    params
        Name -> value; ``strength`` is the linear part's, the others are boosting's.
    loss
        On the validation slice, of the recipe as a whole; None of a trial that was ended early.
    rounds
        Trees that were fitted.
    """

    params: Mapping[str, float]
    loss: float | None
    rounds: int


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes
    ----------
    metric
        The loss: ``logloss``, or ``rmse`` of a regression.
    trials
        In their order; the first has the declared parameters.
    recipe
        With the best parameters.
    """

    metric: str
    trials: tuple[Trial, ...]
    recipe: Recipe = field(repr=False)

    @property
    def best(self) -> Trial:
        """The trial of the least loss; the earliest of two alike."""
        return min(self.trials, key=_loss)

    @property
    def pruned(self) -> int:
        """Trials that were ended early."""
        return sum(each.loss is None for each in self.trials)

    def to_json(self) -> dict[str, Any]:
        """Return what the run keeps of it."""
        return {"metric": self.metric, "best": asdict(self.best), "trials": [asdict(each) for each in self.trials]}


def search(recipe: Recipe, data: Dataset, trials: int, *, threads: int, step: Step) -> Search:
    """Try ``trials`` sets of parameters besides the declared ones.

    Raises
    ------
    PortraitError
        Optuna is not installed, or the recipe has no parameters.
    """
    if recipe.linear is None and recipe.boosting is None:
        raise PortraitError("A recipe that copies an input has no parameters.", hint="leave --trials out.")
    optuna, trying = _optuna(), _Trying(recipe, data, threads)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=SEED),
        pruner=optuna.pruners.PercentilePruner(75.0, n_startup_trials=STARTUP, n_warmup_steps=WARMUP),
    )
    study.enqueue_trial(declared(recipe))
    total = trials + 1

    def told(study: Any, trial: Any) -> None:
        best = min(_loss_of(each) for each in study.get_trials(deepcopy=False))
        step(f"trial {trial.number + 1} of {total}, best {trying.metric} {best:.5f}", (trial.number + 1) / total)

    study.optimize(trying, n_trials=total, callbacks=[told])
    found = tuple(
        Trial(each.params, _finished(each), int(each.user_attrs.get("rounds", 0)))
        for each in study.get_trials(deepcopy=False)
    )
    best = min(found, key=_loss)
    return Search(trying.metric, found, recipe if best is found[0] else with_params(recipe, best.params))


def declared(recipe: Recipe) -> dict[str, float]:
    """Return the parameters of a recipe that a search varies."""
    found = {name: getattr(recipe.boosting, name) for name in _SPACE} if recipe.boosting else {}
    return {**found, LINEAR: recipe.linear.strength} if recipe.linear else found


def with_params(recipe: Recipe, params: Mapping[str, float]) -> Recipe:
    """Return a recipe with other parameters."""
    own: dict[str, Any] = {name: value for name, value in params.items() if name != LINEAR}
    linear = recipe.linear and replace(recipe.linear, strength=params[LINEAR])
    return replace(recipe, linear=linear, boosting=recipe.boosting and replace(recipe.boosting, **own))


@dataclass(frozen=True)
class _Range:
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def ask(self, trial: Any, name: str, inside: float) -> float:
        """Ask for a value; the range reaches as far as what was declared."""
        low, high = min(self.low, inside), max(self.high, inside)
        ask = trial.suggest_int if self.whole else trial.suggest_float
        found: float = ask(name, low, high, log=self.log and low > 0)
        return found


_SPACE = {
    "eta": _Range(0.01, 0.2, log=True),
    "max_depth": _Range(2, 6, whole=True),
    "subsample": _Range(0.5, 1.0),
    "colsample_bytree": _Range(0.2, 1.0),
    "min_child_weight": _Range(1.0, 100.0, log=True),
    "reg_lambda": _Range(0.1, 50.0, log=True),
}
_STRENGTH = _Range(0.001, 10.0, log=True)


class _Trying:
    def __init__(self, recipe: Recipe, data: Dataset, threads: int) -> None:
        one = recipe.boosting and replace(recipe.boosting, seeds=recipe.boosting.seeds[:1])
        self._recipe, self._data, self._threads = replace(recipe, boosting=one), data, threads
        self._declared = declared(recipe)
        self.metric = data.task.kind.early_stopping

    def __call__(self, trial: Any) -> float:
        ranges = {**_SPACE, LINEAR: _STRENGTH}
        params = {name: ranges[name].ask(trial, name, inside) for name, inside in self._declared.items()}
        fitting = Fitting.of(with_params(self._recipe, params), self._data, self._threads)
        reported = [_Pruning(trial, self.metric)] if self._recipe.boosting else []
        fitted = fitting.on(self._data.split.fit, valid=self._data.valid, watched=reported)
        trial.set_user_attr("rounds", fitted.rounds)
        return self._loss(fitted.scorer().score(fitting.matrix[self._data.valid]))

    def _loss(self, scores: Any) -> float:
        labels = self._data.labels[self._data.valid]
        if self._data.task.objective != BINARY:
            return float(np.sqrt(((scores - labels) ** 2).mean()))
        share = np.clip(np.where(labels == 1, scores, 1 - scores), np.finfo(float).tiny, None)
        return float(-np.log(share).mean())


class _Pruning(TrainingCallback):
    def __init__(self, trial: Any, metric: str) -> None:
        super().__init__()
        self._trial, self._metric = trial, metric

    def after_iteration(self, model: Any, epoch: int, evals_log: EVAL_LOG) -> bool:
        del model
        if epoch % EVERY == 0:
            self._trial.report(evals_log["valid"][self._metric][-1], epoch)
            if self._trial.should_prune():
                self._trial.set_user_attr("rounds", epoch + 1)
                raise _optuna().TrialPruned
        return False


def _loss(trial: Trial) -> float:
    return math.inf if trial.loss is None else trial.loss


def _finished(trial: Any) -> float | None:
    # Optuna gives a trial that was ended the last loss it reported, which is one of trees alone.
    return float(trial.value) if trial.state.name == "COMPLETE" else None


def _loss_of(trial: Any) -> float:
    found = _finished(trial)
    return math.inf if found is None else found


def _optuna() -> Any:
    try:
        import optuna  # noqa: PLC0415 - an extra, which takes a second
    except ModuleNotFoundError:
        raise PortraitError(
            "--trials needs Optuna, which is not installed.", hint="run `pip install 'user-portrait[search]'`."
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
