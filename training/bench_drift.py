"""`portrait bench drift`: are changes injected into a copy of the real log told apart from its quiet weeks.

The log is cut eight weeks before its end and a champion trained on it. The weeks after it, as they were, must be quiet;
with a change of :mod:`training.monitor.changes` in the last of four, they must alarm. The peer is the usual rule on the
model's inputs and scores alone: an alarm where the PSI passes 0.25 (Siddiqi 2006).
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from feature_repo.bench.bench import Bench, Findings, Size
from feature_repo.bench.ground import Ground
from feature_repo.core.clock import HOUR
from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import redis_url
from feature_repo.events.demo import load_demo
from feature_repo.events.schema import TABLES, log_table
from feature_repo.jobs.features import apply
from training.data.log_views import head_versions
from training.declaring.recipe import Linear, Recipe
from training.jobs.train import train
from training.monitor.changes import CHANGES, Change, play
from training.monitor.drift import DriftReport, drift_of, load_champion
from training.monitor.panels import WEEK_US, last_event
from training.monitor.thresholds import USUAL
from training.refreshing.action import Action
from training.refreshing.refresh import refresh
from training.task import Task, all_tasks

LATER_WEEKS = 8
CHANGED_WEEK = 4
# What is looked at ends whole weeks after the cut log's last event: a little more than these weeks has to be there.
MARGIN_US = 6 * HOUR
PATIENT = timedelta(days=3650)


@dataclass(frozen=True)
class Scale:
    """How many changes and quiet weeks, for which tasks, and whether each is refreshed and not only looked at."""

    changes: int
    weeks: int
    tasks: tuple[str, ...]
    refreshed: bool


def measure(ground: Ground, scale: Scale) -> Findings:
    """Look at every case with the champion of the log that was cut."""
    known = all_tasks()
    return measure_tasks(ground, scale, [open_task(known[name]) for name in scale.tasks if name in known])


def open_task(task: Task) -> Task:
    """Return the task with a model that is fitted quickly and always promoted: its gates are for the whole log."""
    quick = Recipe(linear=(task.model.linear or Linear()))
    return replace(task, model=quick, baselines={}, gates=(), must_beat=(), not_worse_than=())


def measure_tasks(ground: Ground, scale: Scale, tasks: Sequence[Task]) -> Findings:
    """Do it for tasks that need not be declared."""
    whole = _load(ground)
    end = last_event(whole, tasks[0].pulse, head_versions(whole, [tasks[0].pulse])) or 0
    cases = Cases(ground, whole, whole.home.parent / "then", tasks, end)
    cases.train()
    found = [row for case in cases.run(scale) for row in case]
    ours, peer = ({"alarms in": _told(found, who)} for who in ("ours", "peer"))
    return Findings(
        ours={**ours, "cases": {f"{row['task']}: {row['case']}": row["shown"] for row in found}},
        peer=peer,
        ratio=_right(found, "ours") / max(_right(found, "peer"), 1),
        unit="cases told rightly",
        setup={"peer": "PSI > 0.25 on inputs and score", "cases": len(found)},
    )


@dataclass(frozen=True)
class Cases:
    """The cut log with its champions, to which weeks are added case by case."""

    ground: Ground
    whole: Settings
    then: Path
    tasks: Sequence[Task]
    end: int

    @property
    def begin(self) -> int:
        """Where the log was cut, microseconds."""
        return self.end - LATER_WEEKS * WEEK_US

    def train(self) -> None:
        """Cut the log and train the champions."""
        self.ground.step("cutting the log", 0.1)
        shutil.copytree(self.whole.home, self.then, ignore=shutil.ignore_patterns("log"))
        with self._at_home(self.then) as settings:
            for name in TABLES:
                log_table(settings.log_root, name).ensure()
            play(self.whole, settings, 0, self.begin)
            for task in self.tasks:
                self.ground.step(f"training {task.name}", 0.2)
                train(task, settings)

    def run(self, scale: Scale) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of each case: the changes, then the quiet weeks."""
        for n, change in enumerate(CHANGES[: scale.changes]):
            self.ground.step(change.name, 0.3 + 0.4 * n / scale.changes)
            yield self._case(change.name, CHANGED_WEEK, scale, change)
        for week in range(1, scale.weeks + 1):
            self.ground.step(f"quiet week {week}", 0.7 + 0.3 * week / scale.weeks)
            yield self._case(f"quiet week {week}", week, scale, None)

    def _case(self, name: str, weeks: int, scale: Scale, change: Change | None) -> list[dict[str, Any]]:
        home = self.then.with_name(f"case {weeks} {change.name if change else ''}".strip())
        shutil.copytree(self.then, home)
        self.ground.empty_redis()
        with self._at_home(home) as settings:
            middle = self.begin + (weeks - (change.weeks if change else 0)) * WEEK_US
            play(self.whole, settings, self.begin, middle)
            play(self.whole, settings, middle, self.begin + weeks * WEEK_US + MARGIN_US, change)
            reports = {task.name: drift_of(task, settings, load_champion(task, settings)) for task in self.tasks}
            done = self._refresh(settings) if scale.refreshed else {}
        shutil.rmtree(home)
        return [_row(name, report, done.get(task, ""), change) for task, report in reports.items()]

    def _refresh(self, settings: Settings) -> dict[str, str]:
        clock = self.ground.clock
        first = {each.task: each for each in refresh(settings, clock, self.tasks, max_age=PATIENT).tasks}
        second = refresh(settings, clock, self.tasks, max_age=PATIENT).tasks
        again = [each.task for each in second if each.action is not Action.KEPT]
        return {name: f"{each.action.value}{' TWICE' if name in again else ''}" for name, each in first.items()}

    @contextmanager
    def _at_home(self, home: Path) -> Iterator[Settings]:
        """Let PORTRAIT_HOME name a home for a while: MLflow and Feast keep what they opened, so none is used twice."""
        named = {"PORTRAIT_HOME": str(home), "PORTRAIT_REDIS_URL": redis_url(self.ground.settings)}
        before = {name: os.environ.get(name) for name in named}
        os.environ.update(named)
        try:
            yield load_settings()
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def _load(ground: Ground) -> Settings:
    """Import the real log, and copy what it needs out of the ground's home."""
    ground.step("importing the demo", 0.0)
    apply()
    load_demo(ground.settings, ground.clock)
    whole = ground.settings.model_copy(update={"home": ground.settings.home.parent / "whole"})
    shutil.copytree(ground.settings.home, whole.home, ignore=shutil.ignore_patterns("redis", "run", "tmp"))
    return whole


def _row(case: str, report: DriftReport, done: str, change: Change | None) -> dict[str, Any]:
    known = [each for each in report.findings if math.isfinite(each.psi) and each.limit]  # not where nobody was asked
    top = max(known, key=lambda each: (each.verdict == "alarm", each.psi / each.limit))
    plain = any(each.kind in ("feature", "score") and each.psi > USUAL.alarm for each in report.findings)
    facts = [f"{len(report.alarms)} alarms", f"{top.name} {top.psi:.2f} (alarm above {top.limit:.2f})", done]
    return {
        "task": report.task,
        "case": case,
        "change": change is not None,
        "ours": bool(report.alarms),
        "peer": plain,
        "shown": "; ".join(each for each in facts if each),
    }


def _told(found: list[dict[str, Any]], who: str) -> dict[str, str]:
    changed, quiet = ([row[who] for row in found if row["change"] is kind] for kind in (True, False))
    return {"changes": f"{sum(changed)} of {len(changed)}", "quiet weeks": f"{sum(quiet)} of {len(quiet)}"}


def _right(found: list[dict[str, Any]], who: str) -> int:
    return sum(row[who] is row["change"] for row in found)


BENCH = Bench(
    name="drift",
    sizes={
        Size.SMALL: Scale(changes=len(CHANGES), weeks=LATER_WEEKS, tasks=("redemption",), refreshed=False),
        Size.FULL: Scale(
            changes=len(CHANGES), weeks=LATER_WEEKS, tasks=("redemption", "churn", "spend"), refreshed=True
        ),
    },
    measure=measure,
)
