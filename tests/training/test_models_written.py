"""Which version of segments and of unusual behaviour speaks is decided by hand as of a task's models."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from feature_repo import cli
from feature_repo.core.clock import DAY, FixedClock, to_us
from feature_repo.core.errors import ModelUnavailableError
from feature_repo.core.settings import Settings, load_settings
from training.models.kinds import check_version
from training.registry.promotion import promote, rollback
from training.runs.aliases import moves
from training.runs.tracking import tracking
from training.segments.shopper_model import Segments
from training.unusual.shopper_model import UNUSUAL, UnusualBehaviour
from training.written.instants import log_end
from training.written.job import assign, fit, show
from training.written.model import ShopperModel

pytestmark = [pytest.mark.slow(40), pytest.mark.usefixtures("undrawn")]

CLOCK = FixedClock(to_us(datetime(2026, 11, 21, 12, tzinfo=UTC)))  # the demo's, as the fixture loads it
BOTH = (Segments(k=5), UNUSUAL)


@pytest.fixture(scope="module")
def fitted_home(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The demo with two versions of each model, of a week before the log's end and of its end."""
    home = tmp_path_factory.mktemp("spoken") / "home"
    shutil.copytree(demo_home, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("PORTRAIT_HOME", str(home))
        for model in BOTH:
            for at in (log_end(load_settings()) - 7 * DAY, None):
                assert fit(model, load_settings(), at=at).promoted
        yield home


@pytest.fixture
def own(fitted_home: Path, home: Path) -> Settings:
    """A copy of it to write to."""
    shutil.copytree(fitted_home, home)
    return load_settings()


@pytest.mark.parametrize("model", BOTH, ids=lambda model: model.name)
def test_what_is_written_follows_the_alias_there_and_back(own: Settings, model: ShopperModel):
    assert assign(model, own, CLOCK).show.model_version == "2"
    assert cli.main(["models", "promote", model.name, "1"]) == 0
    again = assign(model, own, CLOCK)
    assert (again.show.model_version, again.written.known) == ("1", 0)
    assert cli.main(["models", "rollback", model.name]) == 0
    assert show(model, own).model_version == "2"
    assert (assign(model, own, CLOCK).written.rows, cli.main(["models", "rollback", model.name])) == (0, 0)
    assert show(model, own).model_version == "1"
    with tracking(own) as client:
        history = [(each.after, each.action) for each in moves(client, model.name) if each.alias == "champion"]
    assert history == [("1", "fit"), ("2", "fit"), ("1", "promote"), ("2", "rollback"), ("1", "rollback")]


def test_a_version_of_other_definitions_does_not_speak(own: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(UnusualBehaviour, "definitions", lambda self: "others")
    for refused in (
        lambda: promote(own, "unusual", "1", check=check_version),
        lambda: rollback(own, "unusual", check=check_version),
    ):
        with pytest.raises(ModelUnavailableError, match=r"unusual@1 was fitted on other definitions"):
            refused()
    monkeypatch.undo()


def test_a_version_whose_gates_fail_speaks_only_for_a_reason(own: Settings, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr("training.unusual.model.AUC", 1.0)
        assert not fit(UNUSUAL, own).promoted
    assert cli.main(["models", "promote", "unusual", "3"]) == 1
    assert show(UNUSUAL, own).model_version == "2"
    assert cli.main(["models", "promote", "unusual", "3", "--despite-gates", "nothing else is there"]) == 0
    assert show(UNUSUAL, own).model_version == "3"
