"""Keeps the champions fresh: bring Redis to the head, look for drift, retrain what drifted or aged, promote or keep.

One job for cron or any orchestrator. It may run as often as one likes: without new events it trains nothing, and what
it trained on these rows before it does not train again, whether that was promoted or not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from feature_repo.core.clock import DAY, Clock, from_us
from feature_repo.core.errors import ModelUnavailableError, PortraitError, ViewsRefusedError
from feature_repo.core.locks import locked
from feature_repo.core.settings import Settings, ensure_home
from feature_repo.engine.contract import fingerprint, service_contract
from feature_repo.engine.feature_store import open_store, quiet_feast
from feature_repo.jobs.materialize import MaterializeReport, materialize
from training.data.dataset import dataset
from training.fitting.options import Options
from training.jobs.train import train
from training.monitor.drift import Champion, DriftReport, drift_of, load_champion
from training.monitor.panels import last_event, task_versions
from training.refreshing.action import Action
from training.refreshing.steps import Step as Contributed
from training.refreshing.steps import StepRefresh, run_steps
from training.refreshing.written import WrittenRefresh, refresh_written
from training.registry.register import OPTIONS, trained_on
from training.task import Task, TaskUnavailableError
from training.written.model import ShopperModel

Step = Callable[[str, float], None]


@dataclass(frozen=True)
class TaskRefresh:
    """What became of one task.

    Attributes
    ----------
    task, action
        Which task, and what was done.
    reason
        Why, in a sentence.
    champion
        Version that answers now; empty without one.
    trained
        Version that was trained now, or on these rows before; empty without one.
    metrics, gates
        Of what was trained now; gate -> whether it holds.
    measured
        Gate -> what was measured, and the bound.
    needs_look
        Whether somebody should look: it failed, or it is due and could not be promoted.
    drift
        What the champion of before meets; None where nothing could be compared.
    seconds
        Time it took.
    """

    task: str
    action: Action
    reason: str
    champion: str = ""
    trained: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    gates: dict[str, bool] = field(default_factory=dict)
    measured: dict[str, str] = field(default_factory=dict)
    needs_look: bool = False
    drift: DriftReport | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class RefreshReport:
    """What a refresh did.

    Attributes
    ----------
    at
        When it began, microseconds.
    dry_run
        Nothing was written.
    materialized
        View -> what was done to its state in Redis.
    materialize_error
        Why some view, or all, could not be brought to the head; empty if they were.
    tasks
        In the order of their declarations.
    written
        The models of shoppers whose words are written to views.
    steps
        What other packages did then.
    seconds
        Time it took.
    """

    at: int
    dry_run: bool
    materialized: dict[str, str]
    materialize_error: str
    tasks: tuple[TaskRefresh, ...]
    seconds: float
    written: tuple[WrittenRefresh, ...] = ()
    steps: tuple[StepRefresh, ...] = ()

    @property
    def needs_look(self) -> list[str]:
        """What somebody should look at, in words; empty if all is well."""
        found = [f"{each.task}: {each.reason}" for each in self.tasks if each.needs_look]
        found += [f"{each.model}: {each.reason}" for each in self.written if each.needs_look]
        found += [f"{each.step}: {each.done}" for each in self.steps if each.needs_look]
        return [f"materialize: {self.materialize_error}", *found] if self.materialize_error else found


def refresh(
    settings: Settings,
    clock: Clock,
    tasks: Sequence[Task],
    *,
    models: Sequence[ShopperModel] = (),
    steps: Mapping[str, Contributed] = MappingProxyType({}),
    max_age: timedelta | None = None,
    dry_run: bool = False,
    progress: Step = lambda _what, _done: None,
) -> RefreshReport:
    """Refresh tasks and models; one that fails does not keep the others from it. Two at once in one home take turns.

    Parameters
    ----------
    models
        Those that say something of every shopper: what they say at the end of the log is written, too.
    steps
        What other packages do then, by name: :func:`training.refreshing.steps.contributed_steps`.
    max_age
        A champion whose log ended longer before today's is trained anew; ``settings.max_age_days`` unless given. It is
        measured in the log's time: a log that stands still makes no model old.
    dry_run
        Say what would be done; train and write nothing.

    Raises
    ------
    SettingsError
        The home cannot be written.
    """
    started, at = time.monotonic(), clock.now_us()
    oldest = max_age or timedelta(days=settings.max_age_days)
    with locked(ensure_home(settings) / "run" / "refresh.lock"):
        progress("bringing views to the head", 0.0)
        views, error = _materialize(settings, clock, dry_run=dry_run)
        turns = len(tasks) + len(models) + 1
        done = []
        for n, task in enumerate(tasks):
            progress(task.name, (n + 1) / turns)
            done.append(_guarded(task, settings, oldest, dry_run=dry_run))
        said = []
        for n, model in enumerate(models):
            progress(model.name, (len(tasks) + n + 1) / turns)
            said.append(refresh_written(model, settings, clock, oldest, dry_run=dry_run))
        others = run_steps(steps, settings, clock, dry_run=dry_run)
    return RefreshReport(at, dry_run, views, error, tuple(done), time.monotonic() - started, tuple(said), others)


def _materialize(settings: Settings, clock: Clock, *, dry_run: bool) -> tuple[dict[str, str], str]:
    try:
        return _done(materialize(settings, clock, dry_run=dry_run)), ""
    except ViewsRefusedError as error:
        return _done(error.report), error.what
    except PortraitError as error:  # training reads the log, not Redis
        return {}, error.what


def _done(report: MaterializeReport) -> dict[str, str]:
    return {each.view: each.action for each in report.views}


def _guarded(task: Task, settings: Settings, oldest: timedelta, *, dry_run: bool) -> TaskRefresh:
    started = time.monotonic()
    try:
        found = _Turn(task, settings, oldest, dry_run=dry_run).take()
    except TaskUnavailableError as error:
        found = TaskRefresh(task.name, Action.UNAVAILABLE, error.what)
    except PortraitError as error:
        found = TaskRefresh(task.name, Action.FAILED, error.what, needs_look=True)
    except Exception as error:  # noqa: BLE001 - a fault in one task must not keep the others from their turn
        # Messages of other libraries may quote what a row holds, and a report goes to many.
        what = f"{type(error).__name__} in training or monitoring; `portrait train {task.name}` says more."
        found = TaskRefresh(task.name, Action.FAILED, what, needs_look=True)
    return _timed(found, time.monotonic() - started)


def _timed(found: TaskRefresh, seconds: float) -> TaskRefresh:
    return TaskRefresh(**{**vars(found), "seconds": seconds})


@dataclass(frozen=True)
class _Turn:
    """One task's turn."""

    task: Task
    settings: Settings
    oldest: timedelta
    dry_run: bool

    def take(self) -> TaskRefresh:
        try:
            champion = load_champion(self.task, self.settings)
        except ModelUnavailableError as error:
            return self._retrain(error.what, None, None)
        redeclared = self._redeclared(champion)
        if redeclared:
            return self._retrain(redeclared, champion, None)
        drift = drift_of(self.task, self.settings, champion)
        reason = _drifted(drift) or self._aged(champion)
        if reason:
            return self._retrain(reason, champion, drift)
        version = str(champion.version.version)
        return TaskRefresh(self.task.name, Action.KEPT, _quiet(drift), version, drift=drift)

    def _redeclared(self, champion: Champion) -> str:
        """Say whether the champion answers another question, or reads other features, than are declared now."""
        tags = champion.version.tags
        with quiet_feast():
            definitions = fingerprint(service_contract(open_store(), self.task.service))
        if tags.get("definitions") != definitions:
            return "Its features are defined otherwise now."
        return "" if tags.get("task_fingerprint") == self.task.fingerprint else "The task is declared otherwise now."

    def _aged(self, champion: Champion) -> str:
        end = last_event(self.settings, self.task.pulse, task_versions(self.task, self.settings)) or 0
        age = timedelta(microseconds=end - champion.reference.instant)
        if age < self.oldest:
            return ""
        return f"The log has gone on for {age.days} days since it was trained, and {self.oldest.days} are allowed."

    def _retrain(self, reason: str, before: Champion | None, drift: DriftReport | None) -> TaskRefresh:
        """Train with the options of the champion before, unless that was done on these rows."""
        champion = str(before.version.version) if before else ""
        options = Options.heard(before.version.tags.get(OPTIONS, "") if before else "").anew
        known = trained_on(dataset(self.task, self.settings), self.settings, options=options.said)
        if known is not None:
            return self._known(reason, champion, str(known.version), drift)
        if self.dry_run:
            return TaskRefresh(self.task.name, Action.WOULD_TRAIN, reason, champion, drift=drift)
        found = train(self.task, self.settings, options=options)
        failed = [name for name, holds in found.gates.items() if not holds]
        lacks = f"fails {', '.join(failed)}" if failed else f"is challenger: {found.reason}"
        why = "" if found.promoted else f" Version {found.model_version} {lacks}."
        return TaskRefresh(
            task=self.task.name,
            action=Action.PROMOTED if found.promoted else Action.NOT_PROMOTED,
            reason=f"{reason}{why}",
            champion=found.model_version if found.promoted else champion,
            trained=found.model_version,
            metrics=found.metrics,
            gates=found.gates,
            measured=found.measured,
            needs_look=not found.promoted,
            drift=drift,
        )

    def _known(self, reason: str, champion: str, known: str, drift: DriftReport | None) -> TaskRefresh:
        if known == champion:
            reason = f"{reason} It was trained on these very rows: training again would give the same."
        else:
            reason = f"{reason} Version {known} was trained on these very rows, and was not promoted."
        return TaskRefresh(self.task.name, Action.KEPT, reason, champion, known, needs_look=True, drift=drift)


def _drifted(drift: DriftReport) -> str:
    if not drift.alarms:
        return ""
    shown = ", ".join(drift.alarms[:3])
    more = f" and {len(drift.alarms) - 3} more" if len(drift.alarms) > 3 else ""  # noqa: PLR2004 - as shown
    return f"Drift in {shown}{more}."


def _quiet(drift: DriftReport) -> str:
    days = (drift.at - drift.since) // DAY
    if not days:
        return "No whole week has passed since it was trained, and nothing before has changed."
    return f"No drift in the week before {from_us(drift.at):%Y-%m-%d %H:%M} UTC, {days} days after it was trained."


def report_json(report: RefreshReport) -> dict[str, Any]:
    """Return a report as JSON knows it, with what needs a look and instants as datetimes."""
    return {**vars(report), "at": from_us(report.at), "needs_look": report.needs_look}
