"""What other packages do in a refresh: in order, each for itself, and told."""

from __future__ import annotations

from typing import Any

from feature_repo.core.clock import FixedClock
from feature_repo.core.errors import LogError
from feature_repo.core.settings import Settings
from training.refreshing.page import page
from training.refreshing.refresh import RefreshReport, report_json
from training.refreshing.steps import contributed_steps, run_steps


def test_one_that_fails_keeps_no_other_from_its_turn(settings: Settings) -> None:
    asked: list[Any] = []

    def fine(_settings: Settings, _clock: FixedClock, *, dry_run: bool) -> str:
        asked.append(dry_run)
        return "done <well>"

    def refused(*_: Any, **__: Any) -> str:
        raise LogError("A table is damaged.")

    def broken(*_: Any, **__: Any) -> str:
        raise KeyError("u_secret")

    steps = {"refused": refused, "broken": broken, "fine": fine}
    found = run_steps(steps, settings, FixedClock(0), dry_run=True)
    assert [(each.step, each.needs_look) for each in found] == [("refused", True), ("broken", True), ("fine", False)]
    assert asked == [True]
    report = RefreshReport(0, True, {}, "", (), 0.0, steps=found)
    assert report.needs_look == ["refused: A table is damaged.", "broken: KeyError; its own command says more."]
    assert "u_secret" not in page(report) + str(report_json(report))
    assert "done &lt;well&gt;" in page(report)


def test_habits_come_before_the_snapshot_that_reads_them() -> None:
    assert list(contributed_steps())[:2] == ["habits", "snapshot"]
