"""What a label query says of a row, besides its label, is known at the row's instant: recomputed, not assumed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from feature_repo.core.errors import DeclarationError
from feature_repo.core.settings import Settings
from training.data.labels import label_rows
from training.data.log_views import head_versions, tables_in
from training.data.lookahead import check_lookahead
from training.task import Task, find_task

pytestmark = pytest.mark.slow(24)

KEYS = {"redemption": ["user_id"], "churn": ["user_id"], "spend": ["user_id"], "category": ["user_id", "category"]}


def check(task: Task, keys: list[str], settings: Settings, instants: int = 4) -> None:
    versions = head_versions(settings, tables_in(task.label) | {task.pulse})
    found = label_rows(task, settings, versions=versions, key=keys[0], others=keys[1:])
    check_lookahead(task, settings, found, versions=versions, keys=keys, instants=instants)


@pytest.mark.parametrize("name", KEYS)
def test_rows_come_out_the_same_when_the_log_ends_and_labels_when_they_are_final(name: str, demo: Settings):
    check(find_task(name), KEYS[name], demo)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "CASE WHEN spent < 200",
            "CASE WHEN visits_ahead < 1",
            'changes "spend_band" when the log ends at the instant',
        ),
        ("(visits_ahead = 0)", "(spent < (SELECT count(*) FROM payment) - 100000)", "changes \"label\".*'known_at'"),
        ("FROM visitor\n", "FROM visitor WHERE visits_ahead > 0\n", "rows, and 0 when the log ends at the instant"),
    ],
)
def test_a_query_that_looks_ahead_is_told_with_the_column(old: str, new: str, message: str, demo: Settings):
    churn = find_task("churn")
    assert old in churn.label
    with pytest.raises(DeclarationError, match=message):
        check(replace(churn, label=churn.label.replace(old, new)), ["user_id"], demo)
