"""Compares what a champion would be asked about now with its reference."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from feature_repo.core.errors import LogError, ModelUnavailableError
from feature_repo.core.mlflow_client import champion_of
from feature_repo.core.settings import Settings
from training.data.labels import AT, label_rows
from training.data.log_views import Versions
from training.monitor.bins import noise, null_share, psi, share_noise
from training.monitor.panels import WEEK_US, Look, join_key, last_event, panels, task_versions
from training.monitor.references import Answers, Predicts, Reference, read_reference, scored
from training.monitor.signals import MOST_LAG, Seen, Signal, see
from training.monitor.thresholds import USUAL, Thresholds
from training.runs.tracking import tracking
from training.task import KNOWN_AT, LABEL, Task, TaskUnavailableError, as_task

ANSWER = "answer"


class Verdict(StrEnum):
    """What a difference means, the gravest first."""

    ALARM = "alarm"
    WATCH = "watch"
    UNKNOWN = "unknown"
    QUIET = "quiet"


ORDER = tuple(Verdict)


@dataclass(frozen=True)
class Finding:
    """One signal now against the reference.

    Attributes
    ----------
    name, kind
        What was compared: an event's column, what shoppers did, a feature, the ``score``, or the ``answer``.
    verdict
        See :class:`Verdict`; ``unknown`` where the reference saw too few weeks, or too little is there to tell.
    psi, limit
        The population stability index, and the one from which it is an alarm. Of the answer: the distance of its mean
        from the reference's. NaN without rows.
    quiet
        The largest among the reference's own weeks at this distance in time.
    null_now, null_then
        Shares of NULL.
    null_limit
        The change of it from which it is an alarm.
    shoppers
        Behind what is compared now; of the answer: how many are new.
    """

    name: str
    kind: str
    verdict: Verdict
    psi: float
    limit: float
    quiet: float
    null_now: float
    null_then: float
    null_limit: float
    shoppers: int


@dataclass(frozen=True)
class DriftReport:
    """What drift a task's champion meets.

    Attributes
    ----------
    task, model_version
        The champion.
    since, at
        End of the reference and of the week looked at, microseconds.
    alarms
        Names of the signals that alarm.
    findings
        Every signal: alarms first, then by how close to its limit.
    """

    task: str
    model_version: str
    since: int
    at: int
    alarms: tuple[str, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Champion:
    """The version that answers for a task, and what it is compared with."""

    version: Any
    scorer: Predicts
    reference: Reference


def check_drift(
    task: Task | str, settings: Settings, *, at: int | None = None, thresholds: Thresholds = USUAL
) -> DriftReport:
    """Compare the last week, and the inputs of whoever could be asked about now, with the champion's reference.

    Parameters
    ----------
    at
        Instant to look at, microseconds, itself not included. Unless given, the latest one that is whole weeks after
        the reference's: what differs between days of a week, or hours of a day, is no drift.

    Raises
    ------
    ModelUnavailableError
        The task has no champion, or one without a reference.
    LogError
        A table is missing or damaged, or the instant lies outside the log.
    StoreUnavailableError
        MLflow does not answer.
    """
    task = as_task(task)
    return drift_of(task, settings, load_champion(task, settings), at=at, thresholds=thresholds)


def load_champion(task: Task, settings: Settings) -> Champion:
    """Load a task's champion with its reference.

    Raises
    ------
    ModelUnavailableError
        There is none, or it has no reference.
    """
    with tracking(settings) as client:
        import mlflow  # noqa: PLC0415 - seconds

        version = champion_of(client, task.name)
        if version is None:
            raise ModelUnavailableError(
                f"Task '{task.name}' has no champion.", hint=f"train one (`portrait train {task.name}`)."
            )
        try:
            found = json.loads(mlflow.artifacts.load_text(f"runs:/{version.run_id}/reference.json"))
        except (mlflow.MlflowException, OSError, ValueError):
            found = {}
        reference = read_reference(found, task.name)
        model = mlflow.pyfunc.load_model(f"models:/{task.name}/{version.version}")
    return Champion(version, model.unwrap_python_model(), reference)


def drift_of(
    task: Task, settings: Settings, champion: Champion, *, at: int | None = None, thresholds: Thresholds = USUAL
) -> DriftReport:
    """Compare with the reference of a champion that is at hand; see :func:`check_drift`."""
    versions, reference = task_versions(task, settings), champion.reference
    instant = _instant(task, settings, versions, reference, at)
    look = Look(task, join_key(task), settings, versions, instant, weeks=1)
    known = {signal.name: signal for signal in reference.signals}
    seen = [scored(panel, champion.scorer) for panel in panels(look, reference.sample)[1]]
    lag = min(max(1, round((instant - reference.instant) / WEEK_US)), MOST_LAG)
    found = [
        judge(known[name], see(known[name], panel), lag, thresholds)
        for panel in seen
        for name in panel.columns
        if name in known
    ]
    found.append(_answers(look, reference.answers, thresholds))
    ordered = tuple(sorted(found, key=_gravity))
    return DriftReport(
        task=task.name,
        model_version=str(champion.version.version),
        since=reference.instant,
        at=instant,
        alarms=tuple(each.name for each in ordered if each.verdict is Verdict.ALARM),
        findings=ordered,
    )


def judge(signal: Signal, seen: Seen, lag: int, thresholds: Thresholds) -> Finding:
    """Say what a difference means, ``lag`` weeks after the reference (1 to ``MOST_LAG``)."""
    counts = np.asarray(signal.counts, np.int64)
    used = int(((counts + seen.counts) > 0).sum())
    then, now = null_share(counts), null_share(seen.counts)
    # Rows of one shopper are alike, which quiet weeks show for as many shoppers as they had: fewer vary by more.
    fewer = max(1.0, signal.shoppers / max(seen.shoppers, 1))
    quiet, quiet_null = signal.quiet[lag - 1], signal.quiet_null[lag - 1]
    rows = int(seen.counts.sum()), int(counts.sum())
    sampling = noise(used, *rows, level=thresholds.level)
    chance = share_noise((then + now) / 2, *rows, level=thresholds.level)
    floor = max(thresholds.quiet_factor * quiet * fewer, sampling)
    null_floor = max(thresholds.quiet_factor * quiet_null * fewer, chance)
    alarm = max(thresholds.alarm_of(signal.kind), floor)
    null_alarm = max(thresholds.null_alarm, null_floor)
    value, change = psi(counts, seen.counts), abs(now - then)
    if signal.comparisons < thresholds.least_weeks or np.isnan(value):
        verdict = Verdict.UNKNOWN
    elif value > alarm or change > null_alarm:
        verdict = Verdict.ALARM
    elif value > max(thresholds.watch, floor) or change > max(thresholds.null_watch, null_floor):
        verdict = Verdict.WATCH
    else:
        verdict = Verdict.QUIET
    return Finding(
        name=signal.name,
        kind=signal.kind,
        verdict=verdict,
        psi=value,
        limit=alarm,
        quiet=quiet,
        null_now=now,
        null_then=then,
        null_limit=null_alarm,
        shoppers=seen.shoppers,
    )


def judge_answers(reference: Answers, labels: npt.NDArray[np.float64], thresholds: Thresholds) -> Finding:
    """Say whether the answers that came since differ in their mean."""
    n = len(labels)
    distance = abs(float(labels.mean()) - reference.mean) if n else float("nan")
    sampling = share_noise(0.5, n, reference.rows, level=thresholds.level) * 2 * reference.deviation
    limit = max(thresholds.label_factor * reference.spread, sampling)
    verdict = Verdict.UNKNOWN if n < thresholds.least_answers else Verdict.QUIET
    if verdict is Verdict.QUIET and distance > limit:
        verdict = Verdict.ALARM
    return Finding(
        name=ANSWER,
        kind=ANSWER,
        verdict=verdict,
        psi=distance,
        limit=limit,
        quiet=reference.spread,
        null_now=0.0,
        null_then=0.0,
        null_limit=1.0,
        shoppers=n,
    )


def _instant(task: Task, settings: Settings, versions: Versions, reference: Reference, at: int | None) -> int:
    end = last_event(settings, task.pulse, versions)
    if end is None:
        raise TaskUnavailableError(f"Task '{task.name}' needs '{task.pulse}' events, and the log has none.")
    if at is None:
        return reference.instant + max(0, (end - reference.instant) // WEEK_US) * WEEK_US
    if at > end + WEEK_US:
        raise LogError(
            f"The log of '{task.pulse}' ends more than a week before the instant asked for.",
            hint="name an earlier one, or import what is missing.",
        )
    return at


def _answers(look: Look, reference: Answers, thresholds: Thresholds) -> Finding:
    try:
        rows = label_rows(look.task, look.settings, versions=look.versions, key=look.key).rows
    except TaskUnavailableError:
        return judge_answers(reference, np.empty(0), thresholds)
    asked, known = (rows[name].dt.as_unit("us").astype(np.int64) for name in (AT, KNOWN_AT))
    since = (asked > reference.until) & (known <= look.at)
    return judge_answers(reference, rows[LABEL][since].to_numpy(np.float64), thresholds)


def _gravity(finding: Finding) -> tuple[int, float]:
    share = finding.psi / finding.limit if finding.limit else 0.0
    null = abs(finding.null_now - finding.null_then) / finding.null_limit
    return ORDER.index(finding.verdict), -max(-1.0 if np.isnan(share) else share, null)
