"""What the highest scores of the real campaigns brought, and how far off expectations were."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings, load_settings
from training.data.dataset import Dataset
from training.evaluation.trained import fit_and_measure
from training.models.lift_cli import models
from training.registry.register import register
from training.registry.targeting import lift_of
from training.runs.tracking import tracking
from training.task import Task

pytestmark = [pytest.mark.slow(30), pytest.mark.usefixtures("undrawn")]


def silent(_what: str, _share: float) -> None:
    """Tell nobody."""


@pytest.fixture
def champion(own_demo: Settings, rows: Dataset, redemption: Task) -> Settings:
    """A home with a champion of `redemption`, fitted as declared; its baselines are of no consequence here."""
    plain = replace(redemption, baselines={}, must_beat=(), not_worse_than=())
    trained = fit_and_measure(replace(rows, task=plain), threads=2, step=silent)
    register(trained, load_settings())
    return own_demo


def test_the_highest_100_of_the_real_test_campaigns_redeem_far_more_often_than_chance(champion: Settings) -> None:
    found = lift_of(champion, "redemption", "champion", top=100, by="campaign_id", step=silent)
    assert (found.rows, found.top) == (1653, 100)
    assert found.base == pytest.approx(0.161, abs=0.0005)
    assert found.share.value == found.answered / 100
    assert found.share.value >= 0.76
    assert found.share.low < found.share.value < found.share.high
    assert found.by_chance.low < found.base < found.by_chance.high < found.share.low
    tested = {each.name: each for each in found.campaigns if each.tested}
    assert sorted(tested) == ["16", "17", "18", "19"]
    assert sum(each.rows for each in tested.values()) == found.rows
    assert sum(each.answered for each in tested.values()) == round(found.base * found.rows)
    before = [each for each in found.campaigns if not each.tested]
    assert len(before) >= 4
    assert all(each.fitted_on >= 1000 for each in before)
    assert 0.3 < found.spread < 2.0  # campaigns differ by more than coins
    assert found.covered >= found.checked - 2
    with tracking(champion) as client:
        assert float(client.get_model_version_by_alias("redemption", "champion").tags["spread"]) == pytest.approx(
            found.spread_of_all, abs=1e-4
        )
    words = ["lift", "redemption", "--top", "50", "--json"]
    told = json.loads(CliRunner().invoke(models, words, catch_exceptions=False).stdout)
    assert (told["top"], told["campaigns"]) == (50, [])


def test_only_answers_of_yes_and_no_make_a_list(own_demo: Settings) -> None:
    with pytest.raises(DataError, match="not yes or no"):
        lift_of(own_demo, "spend", "champion", top=100, by="", step=silent)
