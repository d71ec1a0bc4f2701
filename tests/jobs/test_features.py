"""A mistake in a declaration is the writer's to correct: it is told with its file and line, and nothing is written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from checkouts import ROOT, Checkout
from feature_repo.core.errors import DeclarationError
from feature_repo.definitions.purchases import user_payments
from feature_repo.engine.contract import service_contract
from feature_repo.engine.feature_store import open_store, stored_views
from feature_repo.jobs.features import apply, catalogue, describe


def apply_changed(place: Path, file: str, old: str, new: str) -> tuple[int, dict[str, Any]]:
    """Apply a copy of the checkout in which one text of a declaration file is another."""
    checkout = Checkout.copied(place / "checkout", place / "home")
    checkout.change(f"feature_repo/definitions/{file}", old, new)
    done = checkout.portrait("features apply")
    assert "Traceback" not in done.stderr
    assert not (place / "home" / "registry.db").exists() or done.returncode == 0
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("(days=(7, 14, 28, 56, 84, 182, 364))", "(days=(7, 14, 35, 56, 84, 182, 364))", "count_28d"),
        ("*largest(", "*biggest(", "purchases.py, line .*NameError: name 'biggest'"),
        ("*largest(", "largest(", "purchases.py, line "),
        ("user_payments = windowed_view(", "user_payments = windowed_view((", "purchases.py, line "),
        ("days=(28, 84, 182)", "days=(28.01,)", "no windows"),
    ],
)
@pytest.mark.slow(26)
def test_a_mistake_in_a_declaration_is_told_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    code, answer = apply_changed(tmp_path, "purchases.py", old, new)
    assert code == 2, answer
    assert answer["error"]["type"] == "DeclarationError"
    assert answer["error"]["hint"]
    assert re.search(said, answer["error"]["what"]), answer


def test_a_new_feature_is_one_line(tmp_path: Path) -> None:
    line = "*largest("
    code, answer = apply_changed(
        tmp_path, "purchases.py", line, '*largest("retail_discount", days=(28,)),\n        ' + line
    )
    assert code == 0, answer
    assert {"stream feature view", "feature service"} <= {change["kind"] for change in answer["changes"]}
    told = [(change["kind"], change["name"]) for change in answer["changes"]]
    assert told == sorted(told)


@pytest.fixture
def applied(home: Path) -> Path:
    apply()
    return home


def test_a_service_is_about_the_entities_its_ratios_are_about(applied: Path) -> None:
    found = describe("redemption_v1")
    assert found.entities == ("user",)
    assert {line.entity for line in found.features} == {"user"}
    assert "__dummy" not in {line.entity for line in catalogue()}
    assert describe("user_trends").entities == ("user",)


def test_a_name_that_is_not_there_is_told_in_whole_sentences(applied: Path) -> None:
    with pytest.raises(DeclarationError) as caught:
        describe("x")
    assert caught.value.what == "There is no view or service 'x'."
    with pytest.raises(DeclarationError) as caught:
        service_contract(open_store(), "x")
    assert caught.value.what == "There is no feature service 'x' in the registry."
    assert "`portrait features apply`" in caught.value.hint
    with pytest.raises(DeclarationError) as caught:
        stored_views(open_store(), ["x"])
    assert caught.value.what == "There is no stored view 'x'."


@pytest.mark.slow(8)
def test_a_plan_after_an_apply_finds_nothing_and_a_second_apply_writes_nothing(applied: Path) -> None:
    written = (applied / "registry.db").stat()
    assert apply().changes == ()
    after = (applied / "registry.db").stat()
    assert (after.st_ino, after.st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    done = subprocess.run(
        [Path(sys.executable).with_name("feast"), "plan"],
        cwd=ROOT / "feature_repo",
        env={**os.environ, "PYTHONPATH": str(ROOT), "PORTRAIT_HOME": str(applied)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "No changes to registry" in done.stdout
    assert "Updated" not in done.stdout


def test_a_stream_view_equals_its_registered_self_and_no_changed_one(applied: Path) -> None:
    [registered] = [view for view in stored_views(open_store()) if view.name == "user_payments"]
    declared = deepcopy(user_payments)
    declared.entity_columns = registered.entity_columns  # as Feast completes it
    assert declared == registered
    assert registered == declared
    for name, value in {"tiling_hop_size": timedelta(hours=2), "owner": "x", "aggregations": [], "tags": {}}.items():
        changed = deepcopy(declared)
        setattr(changed, name, value)
        assert changed != registered, name
    assert declared != "user_payments"


def test_a_service_the_door_does_not_list_is_refused_with_what_to_do(tmp_path: Path) -> None:
    new = 'redemption_v2 = FeatureService(name="redemption_v2", features=[user_trends])\n\nredemption_v1 = '
    code, answer = apply_changed(tmp_path, "services.py", "redemption_v1 = ", new)
    assert code == 2, answer
    assert answer["error"]["what"].startswith("services.py declares 'redemption_v2'")
    assert "import `redemption_v2` there" in answer["error"]["hint"]


def test_a_ratio_says_what_it_is_in_each_language_by_itself(applied: Path) -> None:
    told = {line.feature: (line.description, line.zh) for line in describe("user_trends").features}
    assert told["spend_trend_28d_84d"] == ("Spend in 28 days against the average 28 of 84 days.", "消费金额趋势")
    assert all(line.zh for line in catalogue())
