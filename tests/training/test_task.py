from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

import training
from feature_repo.core.allowed import Allowed
from feature_repo.core.errors import DeclarationError
from training import tasks
from training.declaring.recipe import Boosting, Linear, Recipe
from training.evaluation.listed import BY_NAME as LISTS
from training.evaluation.metrics import BY_NAME
from training.task import METRICS, Context, Gate, Task, all_tasks, find_task

DAY = timedelta(days=1)
MINIMAL = {
    "name": "visit",
    "description": "Will this shopper come?",
    "service": "profile_v1",
    "label": "SELECT 1",
    "model": Recipe(linear=Linear()),
    "holdout": DAY,
    "validation": DAY,
}


def task(**changes) -> Task:
    return Task(**{**MINIMAL, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "two words"}, "is not one word"),
        ({"objective": "binary:logistics"}, "did you mean 'binary:logistic'"),
        ({"must_beat": ("rfm_logistics",)}, "did you mean 'rfm_logistic'"),
        ({"not_worse_than": ("xgboost",)}, "no baseline 'xgboost'"),
        ({"holdout": timedelta(0)}, "holdout is 0:00:00"),
        ({"gates": (Gate("auc", at_least=0.5, where="region=north"),)}, "'region', which is no slice"),
    ],
)
def test_a_task_that_contradicts_itself_cannot_be_built(changes: dict, message: str):
    with pytest.raises(DeclarationError, match=message):
        task(**changes)


def test_an_input_has_a_default_that_it_may_be():
    assert Context("days", "Length.", default=47.0, allowed=Allowed(at_least=1)).default == 47
    with pytest.raises(DeclarationError, match="'days' has default 0, and may be at least 1"):
        Context("days", "Length.", default=0.0, allowed=Allowed(at_least=1))
    with pytest.raises(DeclarationError, match="permits nothing"):
        Allowed(at_least=2, at_most=1)


def test_a_gate_has_exactly_one_bound():
    with pytest.raises(DeclarationError, match="no single bound"):
        Gate("auc")
    with pytest.raises(DeclarationError, match="no single bound"):
        Gate("auc", at_least=0.5, at_most=0.6)
    with pytest.raises(DeclarationError, match="did you mean 'auc'"):
        Gate("auk", at_least=0.5)


@pytest.mark.parametrize(("value", "holds"), [(0.03, True), (0.0300001, False), (float("nan"), False)])
def test_a_bound_is_itself_allowed_and_nan_never_is(value: float, holds: bool):
    assert Gate("ece", at_most=0.03).holds(value) is holds


def test_a_recipe_must_fit_something():
    with pytest.raises(DeclarationError, match="fits nothing"):
        Recipe()
    with pytest.raises(DeclarationError, match="both rise and fall"):
        Boosting(rising=("a",), falling=("a",))
    with pytest.raises(DeclarationError, match="no seed"):
        Boosting(seeds=())


def test_every_metric_a_gate_may_name_is_measured():
    assert (*BY_NAME, *LISTS) == METRICS


def test_a_fingerprint_follows_every_part_of_the_declaration():
    changed = [task(), task(label="SELECT 2"), task(holdout=2 * DAY), task(model=Recipe(linear=Linear(strength=2.0)))]
    assert len({each.fingerprint for each in changed}) == len(changed)
    assert task().fingerprint == task().fingerprint


def test_an_unknown_task_suggests_a_known_one():
    with pytest.raises(DeclarationError, match="did you mean 'redemption'"):
        find_task("redemptoin")


@pytest.mark.parametrize("name", [None, 3, "", ["redemption"], pd.NA])
def test_what_is_no_name_of_a_task_is_refused_with_the_names(name: object):
    with pytest.raises(DeclarationError) as caught:
        find_task(name)
    assert "redemption" in caught.value.hint


@pytest.mark.parametrize("ask", [training.dataset, training.train, training.up_to_date])
@pytest.mark.parametrize("name", [None, 3, "redemptoin"])
def test_dataset_and_train_refuse_what_is_no_task(home: Path, ask, name: object):
    with pytest.raises(DeclarationError, match="task") as caught:
        ask(name)
    assert "redemption" in caught.value.hint
    assert not home.exists()


def test_adding_a_file_is_enough_to_add_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    imports = "import datetime\nfrom training.declaring.recipe import Linear, Recipe\nfrom training.task import Task\n"
    (tmp_path / "added_visit.py").write_text(f"{imports}VISIT = {task()!r}\n")
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    all_tasks.cache_clear()
    try:
        assert find_task("visit") == task()
    finally:
        all_tasks.cache_clear()
        sys.modules.pop("training.tasks.added_visit", None)


def test_importing_training_imports_nothing_heavy():
    heavy = ("feast", "mlflow", "pandas", "numpy", "duckdb", "sklearn", "xgboost")
    code = f"import sys, training, training.jobs.cli; print(sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
