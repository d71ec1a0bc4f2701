"""A run is built and fitted again from what it says of itself."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from feature_repo import cli
from feature_repo.core.clock import FixedClock, to_us
from feature_repo.core.errors import DataError, DeclarationError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.events.removal import remove_rows
from feature_repo.events.schema import TABLES, table_path
from feature_repo.events.upkeep import compact
from training import task as task_module
from training.data.dataset import Dataset
from training.declaring.recipe import Linear, Recipe
from training.evaluation.extras import Extras
from training.evaluation.study import study
from training.evaluation.trained import fit_and_measure
from training.jobs.reproduce import Rows, check_declared, check_log, outcome_of, reproduce
from training.registry.erasure import erase_entity_rows
from training.registry.recorded import read_run
from training.registry.register import STUDY, Registered, register
from training.runs.tracking import tracking
from training.task import Task

pytestmark = [pytest.mark.slow(60), pytest.mark.usefixtures("undrawn")]


def small_of(task: Task) -> Task:
    return replace(
        task, model=Recipe(linear=Linear(strength=0.03)), baselines={}, gates=(), must_beat=(), not_worse_than=()
    )


@pytest.fixture(scope="module")
def made(
    demo_home: Path, tmp_path_factory: pytest.TempPathFactory, rows: Dataset, redemption: Task
) -> Iterator[tuple[Path, Registered]]:
    """A home with one run."""
    home = tmp_path_factory.mktemp("made") / "home"
    shutil.copytree(demo_home, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("PORTRAIT_HOME", str(home))
        settings = load_settings()
        trained = fit_and_measure(replace(rows, task=small_of(redemption)), threads=1, step=silent)
        trained = replace(trained, study=study(trained.data, trained.fitted, settings, extras=Extras(2, permute=True)))
        yield home, register(trained, settings)


@pytest.fixture
def small(redemption: Task, monkeypatch: pytest.MonkeyPatch) -> Task:
    task = small_of(redemption)
    monkeypatch.setattr(task_module, "all_tasks", lambda: {"redemption": task})
    return task


@pytest.fixture
def settings(made: tuple[Path, Registered], home: Path) -> Settings:
    shutil.copytree(made[0], home)
    return load_settings()


@pytest.fixture
def run(made: tuple[Path, Registered]) -> str:
    return made[1].run_id


STUDIED = {
    "threshold",
    "fairness/age/gap_selection_rate",
    "slice/tenure_over 182 days/auc",
    "rolling/2/auc",
    "permutation/user_redemptions",
}


def silent(what: str, done: float) -> None:
    del what, done


def test_a_run_comes_out_the_same_after_new_events_and_compaction(
    settings: Settings, small: Task, run: str, rows: Dataset, write_to, capsys
):
    last = rows.frame.known_at.max().to_pydatetime()
    someone = rows.frame.user_id.iloc[0]
    new = [{"event_timestamp": last - timedelta(days=n), "user_id": someone, "amount": 9.0} for n in range(5, 60)]
    write_to(settings, "purchase", new)
    write_to(settings, "payment", new)
    write_to(settings, "view", [{"event_timestamp": row["event_timestamp"], "user_id": someone} for row in new])
    stated = {"event_timestamp": last - timedelta(days=300), "age": "25-34", "income": "50-74K"}
    write_to(settings, "users", [{**stated, "user_id": who} for who in rows.frame.user_id.unique()])
    compact(settings, FixedClock(to_us(last + timedelta(days=40))))
    assert cli.main(["train", "redemption", "--reproduce", run, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["outcome"] == "same"
    assert found["fingerprints"] == [rows.fingerprint, rows.fingerprint]
    assert found["rows"]["recorded"] == found["rows"]["rebuilt"]
    assert [found["rows"][name] for name in ("erased", "removed", "changed", "added")] == [0, 0, 0, 0]
    assert found["largest_difference"] <= found["tolerance"]
    assert {"auc", "auc_low", "ece", "slice/campaign_type_A/auc_low", *STUDIED} <= set(found["metrics"])
    assert found["not_compared"] == []
    with tracking(settings) as client:
        assert len(client.search_model_versions("name = 'redemption'")) == 1
        assert len(client.search_runs([client.get_experiment_by_name("redemption").experiment_id])) == 1
    assert reproduce(small, "redemption@champion", settings, progress=silent).run_id == run


def test_a_run_that_does_not_say_what_its_study_read_is_told_what_was_not_compared(
    settings: Settings, small: Task, run: str, capsys
):
    with tracking(settings) as client:
        client.delete_tag(run, STUDY)
        client.delete_model_version_tag("redemption", "1", STUDY)
    found = reproduce(small, run, settings, progress=silent)
    assert found.outcome == "same"
    assert STUDIED - {"slice/tenure_over 182 days/auc"} <= set(found.not_compared)
    assert not set(found.not_compared) & set(found.metrics)
    assert cli.main(["train", "redemption", "--reproduce", run]) == 0
    assert re.search(
        r"Not compared, as they are not made again: .*\d+ figures of .*, \d+ of rolling", capsys.readouterr().out
    )


def test_a_figure_of_the_study_that_differs_is_found_out(
    settings: Settings, small: Task, run: str, capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("training.evaluation.permutation.TIMES", 4)
    assert cli.main(["train", "redemption", "--reproduce", run]) == 1
    assert "permutation/" in capsys.readouterr().err


def test_rows_erased_since_are_counted_and_the_others_are_the_same(
    settings: Settings, small: Task, run: str, rows: Dataset
):
    someone = rows.frame.user_id.value_counts().index[0]
    theirs = int((rows.frame.user_id == someone).sum())
    for table in TABLES:
        if table_path(settings.log_root, table).exists():
            remove_rows(table_path(settings.log_root, table), someone[2:])
    assert erase_entity_rows(settings, someone[2:], dry_run=False) == theirs
    found = reproduce(small, run, settings, progress=silent)
    assert (found.outcome, found.rows.erased, found.rows.removed) == ("rows_gone", theirs, 0)
    assert (found.rows.changed, found.rows.added) == (0, 0)
    assert sum(found.rows.recorded.values()) - sum(found.rows.rebuilt.values()) == theirs


def test_a_log_that_says_something_else_is_found_out(
    settings: Settings, small: Task, run: str, rows: Dataset, write_to, capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("training.jobs.reproduce.entity_rows", tampered)
    assert cli.main(["train", "redemption", "--reproduce", run]) == 1
    out, err = capsys.readouterr()
    assert "did NOT come out the same" in out
    assert "1 changed" in out
    assert "1 rows hold other values" in err


def tampered(data: Dataset):
    from training.data.entity_rows import entity_rows  # noqa: PLC0415

    columns = [name for name in data.features if data.frame[name].notna().iloc[0]][:1]
    frame = data.frame.assign(**{columns[0]: data.frame[columns[0]] + pd.Series([1.0] + [0.0] * (len(data.frame) - 1))})
    return entity_rows(replace(data, frame=frame))


def test_a_task_declared_otherwise_is_refused_by_the_name_of_its_field(settings: Settings, small: Task, run: str):
    other = replace(small, model=Recipe(linear=Linear(strength=0.5)), validation=timedelta(days=80))
    with pytest.raises(DeclarationError, match=r"'model.linear.strength', 'validation' differ"):
        reproduce(other, run, settings, progress=silent)


def test_features_defined_otherwise_are_refused_by_name(settings: Settings, small: Task, run: str, rows: Dataset):
    found = read_run(settings, "redemption", run)
    first, second = list(rows.contract)[:2]
    check_declared(small, found, lambda service: rows.contract)
    changed = {**rows.contract, first: "other", "v__new": "new"}
    with pytest.raises(DeclarationError, match=f"'{first}', 'v__new'"):
        check_declared(small, found, lambda service: changed)
    lost = {name: text for name, text in rows.contract.items() if name != second}
    with pytest.raises(DeclarationError, match=f"'{second}'"):
        check_declared(small, found, lambda service: lost)


def test_what_is_no_run_of_the_task_is_told(settings: Settings, small: Task, run: str, capsys):
    with pytest.raises(DataError, match="no run 'feed'"):
        reproduce(small, "feed", settings, progress=silent)
    with pytest.raises(DataError, match="no training of task 'other'"):
        reproduce(replace(small, name="other"), run, settings, progress=silent)
    assert cli.main(["train", "--all", "--reproduce", run]) == 2
    assert "Name the task" in capsys.readouterr().err


def test_an_older_log_is_refused():
    with pytest.raises(Exception, match="holds less of 'purchase'"):
        check_log({"purchase": 5, "view": 1}, {"purchase": 4, "view": 1})


def test_gone_rows_explain_nothing_that_changed():
    rows = Rows({"train": 2}, {"train": 1}, erased=1, removed=0, changed=1, added=0)
    assert outcome_of(rows, ("a", "b"), 0.1) == "differs"
    assert outcome_of(replace(rows, changed=0), ("a", "b"), 0.1) == "rows_gone"
