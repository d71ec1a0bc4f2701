"""A fit of segments or unusual behaviour while MLflow is away is kept, and uploaded once; what came since stays."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from feature_repo import cli
from feature_repo.core.clock import DAY
from feature_repo.core.settings import Settings, load_settings
from mlflow_process import MlflowServer
from training.models.kinds import judge_bundle
from training.registry.pending import RunKeptError, pending, pending_root
from training.registry.upload import Uploaded, upload
from training.runs.tracking import tracking
from training.segments.shopper_model import Segments
from training.unusual.shopper_model import UNUSUAL, UnusualBehaviour
from training.written.instants import log_end
from training.written.job import fit, show
from training.written.model import ShopperModel

pytestmark = [pytest.mark.slow(80), pytest.mark.usefixtures("undrawn")]

FIVE = Segments(k=5)
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def server(tmp_path: Path, demo_home: Path) -> Iterator[MlflowServer]:
    started = MlflowServer(tmp_path / "server", demo_home / "mlflow" / "mlflow.db")
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture
def away(own_demo: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The demo, whose MLflow is not there."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return load_settings()


@pytest.fixture
def back(own_demo: Settings) -> Settings:
    """The same home with the MLflow below it."""
    return own_demo


def keep(model: ShopperModel, settings: Settings, *, at: int | None = None, promote: bool = True) -> RunKeptError:
    with pytest.raises(RunKeptError, match="is kept in") as caught:
        fit(model, settings, at=at, promote=promote)
    return caught.value


def uploaded(settings: Settings) -> list[Uploaded]:
    return upload(settings, judge_bundle)


@pytest.mark.parametrize("model", [FIVE, UNUSUAL], ids=lambda model: model.name)
@pytest.mark.parametrize("moment", ["before", "during"])
def test_a_server_that_is_killed_costs_no_fit(
    own_demo: Settings, server: MlflowServer, model: ShopperModel, moment: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings = load_settings()
    if moment == "before":
        server.stop(signal.SIGKILL)
    else:
        die_before_the_version(server, monkeypatch)
    error = keep(model, settings)
    assert pending(settings) == [error.folder]
    assert (error.report.kept, error.report.model_version) == (str(error.folder), "")
    assert all(error.report.gates.values())
    with pytest.raises(RunKeptError):  # it is still away
        uploaded(settings)
    server.start()
    [done] = uploaded(settings)
    assert (done.registered.version, done.registered.promoted) == ("1", True)
    assert (uploaded(settings), pending_root(settings).exists()) == ([], False)
    check_whole(settings, model, done)


def die_before_the_version(server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> None:
    real = mlflow.MlflowClient.create_model_version

    def dying(self, *given, **named):
        monkeypatch.setattr(mlflow.MlflowClient, "create_model_version", real)
        server.stop(signal.SIGKILL)
        return real(self, *given, **named)

    monkeypatch.setattr(mlflow.MlflowClient, "create_model_version", dying)


def check_whole(settings: Settings, model: ShopperModel, done: Uploaded) -> None:
    """One run, finished, with its evidence; its model speaks."""
    with tracking(settings) as client:
        [run] = client.search_runs([client.get_experiment_by_name(model.name).experiment_id])
        [version] = client.search_model_versions(f"name = '{model.name}'")
        files = {each.path for each in client.list_artifacts(run.info.run_id)}
    assert (run.info.run_id, run.info.status) == (done.registered.run_id, "FINISHED")
    assert version.tags["gates"] == "passed"
    assert "model_card.md" in files
    assert "entity_rows.parquet" not in files
    assert run.data.tags["mlflow.note.content"].startswith(f"# {model.name}")
    assert show(model, settings).model_version == "1"


@pytest.mark.parametrize("words", [["--json"], []])
def test_the_command_tells_what_was_found_and_where_the_run_is(
    away: Settings, words: list[str], capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["unusual", "fit", *words]) == 2
    out, err = capsys.readouterr()
    [folder] = pending(away)
    assert "portrait models upload" in err
    if words:
        found = json.loads(out)
        assert (found["kept"], found["model_version"], found["auc"] > 0.9) == (str(folder), "", True)
    else:
        assert f"unusual is fitted and NOT registered: its run is kept in {folder}" in out


def test_the_upload_command_knows_these_models(
    away: Settings, back: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    keep(UNUSUAL, away)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert cli.main(["models", "upload", "--json"]) == 0
    [done] = json.loads(capsys.readouterr().out)["uploaded"]
    assert (done["task"], done["registered"]["promoted"]) == ("unusual", True)
    assert show(UNUSUAL, back).model_version == "1"


def test_of_two_that_were_kept_the_later_one_speaks(away: Settings, back: Settings):
    keep(UNUSUAL, away, at=log_end(away) - 7 * DAY)
    keep(UNUSUAL, away)
    found = [each.registered for each in uploaded(back)]
    assert [(each.version, each.promoted, each.reason) for each in found] == [
        ("1", True, "there was no champion"),
        ("2", True, "fitted later"),
    ]


def test_what_was_fitted_since_is_not_replaced(away: Settings, back: Settings):
    keep(UNUSUAL, away)
    assert fit(UNUSUAL, back).promoted
    [done] = uploaded(back)
    assert (done.registered.promoted, done.registered.challenger) == (False, True)
    assert done.registered.reason == "unusual@1 was fitted later"


def test_a_champion_that_was_to_stay_stays(away: Settings, back: Settings):
    assert fit(UNUSUAL, back, at=log_end(back) - 7 * DAY).promoted
    keep(UNUSUAL, away, promote=False)
    [done] = uploaded(back)
    assert (done.registered.promoted, done.registered.reason) == (False, "the champion was to stay")


def test_what_was_fitted_on_other_definitions_does_not_speak(
    away: Settings, back: Settings, monkeypatch: pytest.MonkeyPatch
):
    keep(UNUSUAL, away)
    monkeypatch.setattr(UnusualBehaviour, "definitions", lambda self: "others")
    [done] = uploaded(back)
    assert (done.registered.promoted, done.registered.reason) == (False, "its features are defined otherwise now")


def test_what_fails_its_gates_is_kept_and_uploaded_without_an_alias(
    away: Settings, back: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("training.unusual.model.AUC", 1.0)
    assert not all(keep(UNUSUAL, away).report.gates.values())
    [done] = uploaded(back)
    assert (done.registered.promoted, done.registered.challenger) == (False, False)
