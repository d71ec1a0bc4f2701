"""What is said of models is what MLflow holds of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from feature_repo.core.clock import FixedClock, SystemClock
from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.settings import Settings, load_settings
from serving.console.model_view import model_line, version_view
from serving.console.shelf import Move, Registered, Run, Shelf, Version
from serving.console.words import Words
from training.registry.models import show_version

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
EN = Words("en")


def version(number: str, *aliases: str, **tags: str) -> Version:
    return Version("churn", number, aliases, tags, f"run{number}", 1_772_539_200_000)  # 2026-03-03 12:00 UTC


def run(**metrics: float) -> Run:
    return Run(metrics, "", {}, {}, {}, {})


def model(*versions: Version) -> Registered:
    return Registered(
        "churn", "Will they go?", versions, (Move("champion", "", "1", "2026-03-01", "me", "train", "x"),)
    )


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def view(found: Run, *, rival: tuple[Version, Run] | None = None) -> Any:
    champion = version("2", "champion", trained_until="2026-02-01T00:00:00Z", feature_refs='["a__b", "c__d"]')
    return version_view(model(champion, version("1")), champion, found, rival, NOW, EN)


@pytest.fixture
def shelf(shop: Settings) -> Iterator[Shelf]:
    return Shelf(shop, SystemClock())


def test_the_list_says_who_answers_and_how_well() -> None:
    champion = version("2", "champion", gates="passed", trained_until="2026-02-01T00:00:00Z")
    line = model_line(model(version("3", "challenger"), champion), run(auc=0.8, auc_low=0.7, auc_high=0.9, ece=0.1), EN)
    assert (line.champion, line.challenger, line.gates, line.trained_until) == ("2", "3", "passed", "2026-02-01")
    assert line.figures == ("AUC 0.800 [0.700, 0.900]", "ECE 0.100")
    nothing = model_line(model(), None, EN)
    assert (nothing.champion, nothing.gates, nothing.figures) == ("", "", ())


def test_metrics_are_the_versions_and_what_it_has_to_beat() -> None:
    logged = {"auc": 0.8, "auc_low": 0.7, "auc_high": 0.9, "slice/x/auc": 0.1, "baseline/recency/auc": 0.6}
    found = view(run(**logged)).metrics
    assert found.heads == ("", "AUC")
    assert found.rows == (("churn@2", "0.800 [0.700, 0.900]"), ("recency", "0.600"))
    assert found.on == 0


def test_figures_of_parts_are_no_figures_of_the_model() -> None:
    found = view(run(**{"silhouette": 0.3, "k": 5.0, "k2/silhouette": 0.4, "k_low": 1.0})).metrics
    assert found.heads == ("", "k", "silhouette")
    assert found.rows == (("churn@2", "5.000", "0.300"),)


def test_champion_and_challenger_stand_beside_each_other() -> None:
    assert view(run(auc=0.8)).beside is None
    found = view(run(auc=0.8), rival=(version("3", "challenger"), run(auc=0.7))).beside
    assert found.rows == (("churn@2", "Champion", "0.800"), ("churn@3", "Challenger", "0.700"))


def test_a_gap_beyond_chance_is_said_to_be_one() -> None:
    gap = {"highest": "young", "lowest": "old", "estimate": estimate(0.3), "chance": 0.2}
    within = {**gap, "chance": 0.4}
    groups = {"young": {"rows": 1200, "shoppers": 7, "metrics": {"tpr": estimate(0.5)}}}
    age = {"is_input": False, "unknown_rows": 3, "groups": groups, "gaps": {"tpr": gap, "fpr": within}}
    found = view(Run({}, "", {}, {"age": age}, {}, {}))
    [fair] = found.fairness
    assert fair.told == "The model does not read it. Not known in 3 rows."
    assert [row[-1] for row in fair.gaps.rows] == ["yes", "no"]
    assert fair.groups.rows == (("young", "1,200", "7", "0.500 [0.400, 0.600]"),)


def test_what_was_not_measured_is_told_with_why() -> None:
    found = view(Run({}, "", {}, {"unavailable": "fairlearn is not installed"}, {}, {}))
    assert (found.fairness, found.fairness_missing) == ((), "fairlearn is not installed")
    assert view(run()).fairness_missing == ""


def test_pictures_are_those_that_were_drawn() -> None:
    found = view(Run({}, "", {}, {}, {}, {"calibration": b"c", "importance": b"i", "other": b"o"}))
    assert (found.calibration, found.pictures, found.fairness_pictures) == ((b"c",), (b"i",), ())


def test_a_version_that_is_not_there_is_the_champion() -> None:
    found = model(version("3"), version("2", "champion"))
    assert [getattr(found.find(asked), "number", None) for asked in ("3", "9", "")] == ["3", "2", "2"]
    assert model(version("3")).find("").number == "3"  # type: ignore[union-attr]
    assert model().find("") is None


def test_the_shelf_holds_what_portrait_models_show_says(shop: Settings, shelf: Shelf) -> None:
    found = {each.name: each for each in shelf.models()}
    assert {"redemption", "segments", "unusual"} <= set(found)
    champion = found["redemption"].having("champion")
    assert champion
    said = show_version(shop, "redemption", "champion")
    read = shelf.run(champion.run_id)
    assert (champion.number, champion.run_id) == (said.facts.version, said.facts.run_id)
    assert read.card == said.card
    assert read.report == said.report
    for name, value in said.facts.metrics.items():
        assert read.metrics[name] == value["value"]
    assert champion.features == set(json.loads(said.tags["feature_refs"]))
    assert [vars(each) for each in found["redemption"].moves] == [vars(each) for each in said.moves]
    assert read.pictures["calibration"].startswith(b"\x89PNG")


def test_what_was_read_is_kept_for_ten_seconds(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FixedClock(0)
    shelf = Shelf(shop, clock)
    first = shelf.models()
    monkeypatch.setattr("serving.console.shelf.reading_mlflow", None)
    clock.at_us = 9_000_000
    assert shelf.models() is first
    clock.at_us = 10_000_000
    with pytest.raises(TypeError):
        shelf.models()


def test_a_home_without_mlflow_has_no_models_and_gets_no_database(home: Path) -> None:
    settings = load_settings()
    assert Shelf(settings, SystemClock()).models() == ()
    assert not home.exists()


def test_a_server_that_is_away_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(StoreUnavailableError, match="MLflow"):
        Shelf(load_settings(), SystemClock()).models()
