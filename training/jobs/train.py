"""Trains a task: rows, fit, measure, register, promote."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from feature_repo.core.locks import locked
from feature_repo.core.settings import Settings, ensure_home, load_settings
from training.data.dataset import dataset
from training.evaluation.ceiling import ceiling_of
from training.evaluation.evaluate import Evaluation
from training.evaluation.extras import NOTHING_MORE, Extras
from training.evaluation.study import study
from training.evaluation.trained import Step, Trained, fit_and_measure
from training.fitting.options import Options
from training.preparing.prepare import prepare
from training.registry.pending import RunKeptError
from training.registry.register import read_report, register, up_to_date
from training.task import Task, as_task

Metrics = dict[str, float]
NO_OPTIONS = Options()


@dataclass(frozen=True)
class TrainReport:
    """What a training did.

    Attributes
    ----------
    metrics, intervals
        Of the model on the test rows: metric -> value, and -> low and high end of the 95% interval.
    baselines, slices
        Name -> the same metrics.
    gates
        Gate -> whether it holds.
    measured
        Gate -> what was measured, and the bound.
    rows
        ``train`` and ``test``: how many.
    model_version
        Version of the registered model named after the task.
    run_id
        MLflow run.
    promoted
        Whether the version is champion: every gate held, and it beats the champion of before.
    challenger
        Whether every gate held and it does not.
    reason
        Why it is one, the other or neither.
    kept
        Folder of the run if MLflow did not take it; then there is no version yet.
    notes
        What the options of the training found, and what it cost; empty without options.
    unchanged
        Nothing was trained, as nothing had changed since the champion was; the figures are the champion's.
    seconds
        Time it took.
    study
        Threshold and what it decides, lift, slices, fairness and what else was asked for, in short.
    lists
        Of a task that ranks: what the lists of the model, under the task's name, and of each baseline are like, see
        :mod:`training.evaluation.recommended`.
    """

    task: str
    metrics: Metrics
    intervals: dict[str, tuple[float, float]]
    baselines: dict[str, Metrics]
    slices: dict[str, Metrics]
    gates: dict[str, bool]
    measured: dict[str, str]
    rows: dict[str, int]
    seconds: float
    model_version: str = ""
    run_id: str = ""
    promoted: bool = False
    challenger: bool = False
    reason: str = ""
    kept: str = ""
    notes: tuple[str, ...] = ()
    unchanged: bool = False
    study: dict[str, Any] = field(default_factory=dict)
    lists: dict[str, Metrics] = field(default_factory=dict)


def train(
    task: Task | str,
    settings: Settings | None = None,
    *,
    progress: Step | None = None,
    if_changed: bool = False,
    extras: Extras = NOTHING_MORE,
    options: Options = NO_OPTIONS,
) -> TrainReport:
    """Train a task on the log as it is, and register the model, which may become champion (see `register`).

    Trainings of one task in one home take turns: the second of two at once reads the log when the first is done.

    Parameters
    ----------
    task
        A task, or its name.
    settings
        Read from the environment unless given; their home is the one ``PORTRAIT_HOME`` names.
    progress
        Called with what is being done and the share done, 0 to 1.
    if_changed
        Do nothing but report if the champion was trained on the same rows, definitions and declaration.
    extras
        What to measure besides.
    options
        What to do before the fit beyond the task's declaration.

    Raises
    ------
    DeclarationError
        There is no such task, or it contradicts itself or the registry.
    LogError
        A table of the log is missing or damaged.
    TaskUnavailableError
        The log cannot support the task.
    RunKeptError
        MLflow did not take the run, which is kept below the home; the error holds the report.
    PortraitError
        The task cannot be trained with these options.
    StoreUnavailableError
        MLflow does not answer, and was asked whether anything has changed, or for the champion to continue from.
    """
    task = as_task(task)
    settings, step, started = settings or load_settings(), progress or _silent, time.monotonic()
    step("waiting for another training of the task", 0.0)
    with locked(ensure_home(settings) / "run" / f"train-{task.name}.lock"):
        return _train(task, settings, step, started, if_changed=if_changed, extras=extras, options=options)


def _train(
    task: Task,
    settings: Settings,
    step: Step,
    started: float,
    *,
    if_changed: bool,
    extras: Extras,
    options: Options,
) -> TrainReport:
    step("reading the log", 0.0)
    data = dataset(task, settings)
    if if_changed and (champion := up_to_date(task, data, settings, options=options.said)):
        kept = _restored(read_report(settings, champion.run_id))
        if kept:
            return replace(kept, unchanged=True, promoted=True, seconds=time.monotonic() - started)
    prepared = (
        prepare(data, options, settings, step=lambda what, done: step(what, 0.1 + 0.2 * done)) if options else None
    )
    trained = fit_and_measure(
        data,
        threads=settings.threads,
        step=lambda what, done: step(what, 0.3 + 0.3 * done),
        ceiling=ceiling_of(data, settings),
        prepared=prepared,
    )
    step("studying the model", 0.6)
    if not task.candidates:  # lists are studied where they are measured; thresholds and lift are of probabilities
        found = study(data, trained.fitted, settings, extras=extras, recipe=trained.recipe, threads=settings.threads)
        trained = replace(trained, study=found)
    step("registering the model", 0.7)
    report = _report(trained, started)
    try:
        registered = register(trained, settings, asdict(report))
    except RunKeptError as error:
        error.report = replace(report, kept=str(error.folder))
        raise
    step("done", 1.0)
    return replace(report, **registered.facts, seconds=time.monotonic() - started)


def _report(trained: Trained, started: float) -> TrainReport:
    data, found = trained.data, trained.evaluation
    return TrainReport(
        task=data.task.name,
        metrics=_values(found),
        intervals={name: (estimate.low, estimate.high) for name, estimate in found.metrics.items()},
        baselines={name: _values(each) for name, each in trained.baselines.items()},
        slices={name: _values(each) for name, each in found.slices.items()},
        gates={name: outcome.holds for name, outcome in trained.gates.items()},
        measured={name: f"{outcome.value:.4f} ({outcome.bound})" for name, outcome in trained.gates.items()},
        rows={"train": int(data.train.sum()), "test": int(data.test.sum())},
        notes=trained.notes,
        seconds=time.monotonic() - started,
        study=trained.study.compact() if trained.study else {},
        lists={name: dict(each.figures) for name, each in trained.lists.items()},
    )


def _values(found: Evaluation) -> Metrics:
    return {name: estimate.value for name, estimate in found.metrics.items()}


def _restored(kept: Mapping[str, Any]) -> TrainReport | None:
    try:
        return TrainReport(**{**kept, "notes": tuple(kept.get("notes", ()))})
    except TypeError:  # a report of another version of this class
        return None


def _silent(what: str, done: float) -> None:
    del what, done
