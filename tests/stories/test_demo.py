"""The main job, and the main job again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support_commands import run_portrait

pytestmark = pytest.mark.slow(70)


@pytest.fixture(scope="module")
def second_home(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("again") / "shop"
    shutil.copytree(built_shop, home)
    yield home
    run_portrait("down", home)


def state_of(home: Path) -> tuple[object, ...]:
    tables = [(each["name"], each["rows"], each["version"]) for each in run_portrait("events stats", home)["tables"]]
    return tables, run_portrait("status", home)["redis"]["keys"]


def test_a_second_demo_changes_nothing(second_home: Path) -> None:
    run_portrait("up", second_home)
    before = state_of(second_home)
    again = run_portrait("demo", second_home)
    assert state_of(second_home) == before
    assert again["model_version"] == "1"
    assert again["promoted"]
    assert again["parity"]["mismatches"] == 0
    assert again["rejected"] == {"no_money": 5834}
    assert again["metrics"]["auc"] >= 0.83
    assert len(list(again["scores"]["scores"])) == 5
    assert set(again["segments"]) == {"champions", "loyal", "promising", "at_risk", "hibernating"}
    assert sum(again["segments"].values()) == 2469
    assert list(again["tiers"]) == ["very_unusual", "unusual", "notable", "usual"]
    assert sum(again["tiers"].values()) == 2319


def test_what_the_demo_says_of_shoppers_is_in_the_portrait(second_home: Path) -> None:
    run_portrait("up", second_home)
    table = {each["name"]: each["rows"] for each in run_portrait("events stats", second_home)["tables"]}
    assert (table["user_segments"], table["user_unusual"]) == (2469, 2319)
    found = run_portrait("profile 2375", second_home)["dimensions"]["lifecycle"]
    facts = {each["name"]: each["value"] for each in found}
    segments = [each["segment"] for each in run_portrait("segments show", second_home)["segments"]]
    assert facts["user_segments__segment"] in segments


def test_feasts_own_commands_work_from_the_checkout(second_home: Path) -> None:
    root = Path(__file__).parents[2]
    feast = [str(Path(sys.executable).with_name("feast")), "-c", "feature_repo"]
    run_portrait("up", second_home)
    before = state_of(second_home)
    for words in (["apply"], ["plan"], ["materialize-incremental", "2099-01-01T00:00:00", "-v", "user_campaigns"]):
        done = subprocess.run(
            [*feast, *words],
            cwd=root,
            env={"PATH": "", "HOME": str(second_home), "PORTRAIT_HOME": str(second_home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    assert state_of(second_home) == before
