"""MLflow is needed to start and to change; while it is away after that, nobody notices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from feature_repo.core.clock import SECOND, FixedClock, SystemClock
from feature_repo.core.mlflow_client import CHAMPION, quiet_mlflow
from feature_repo.core.mlflow_home import settle
from feature_repo.core.settings import Settings, load_settings
from mlflow_process import MlflowServer
from running_app import Running

pytestmark = pytest.mark.slow(30)

ASKED = {"task": "redemption", "users": ["2375", "never seen"]}


class Served:
    """The shop over HTTP, its models in a real server's registry; time goes on when it is told to."""

    def __init__(self, settings: Settings) -> None:
        self.clock = FixedClock(SystemClock().now_us())
        self.settings = settings
        self.running = Running(settings, self.clock)
        while "warm_up" in self.state()["wrong"]:
            time.sleep(0.05)

    def state(self) -> dict[str, Any]:
        said: dict[str, Any] = self.running.http.get("/readyz").json()
        return said

    def predict(self, **asked: Any) -> list[dict[str, Any]]:
        """Ask, so late that the registry would be asked anew; in time, and fresh."""
        self.clock.at_us += 11 * SECOND
        began = time.monotonic()
        said = self.running.post("/v1/predict", json=ASKED | asked)
        assert time.monotonic() - began < self.settings.timeout_s
        assert said.status_code == 200, said.text
        scores: list[dict[str, Any]] = said.json()["scores"]
        assert not any(each["degraded"] for each in scores)
        return scores

    def until(self, model: str) -> None:
        """Ask until a model answers."""
        deadline = time.monotonic() + 60
        while {each["model"] for each in self.predict()} != {model}:
            assert time.monotonic() < deadline


@pytest.fixture
def mlflow(shop: Settings, tmp_path: Path) -> Iterator[MlflowServer]:
    """A server over a copy of the shop's registry; the artifacts stay where they are."""
    settle(shop)
    server = MlflowServer(tmp_path / "mlflow", shop.home / "mlflow" / "mlflow.db")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def served(shop: Settings, mlflow: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.address)
    found = Served(load_settings())
    yield found
    found.running.close()


def values(scores: list[dict[str, Any]]) -> list[float]:
    return [each["value"] for each in scores]


def promoted(mlflow: MlflowServer) -> str:
    """Register the champion once more and promote that; its name."""
    with quiet_mlflow():
        client = MlflowClient(tracking_uri=mlflow.address, registry_uri=mlflow.address)
        now = client.get_model_version_by_alias("redemption", CHAMPION)
        model = now.source.rpartition("/")[2]
        made = client.create_model_version(
            "redemption", now.source, now.run_id, tags=now.tags, await_creation_for=0, model_id=model
        )
        client.set_registered_model_alias("redemption", CHAMPION, made.version)
    return f"redemption@{made.version}"


def test_a_server_that_is_killed_after_the_start_changes_no_answer_and_is_found_again(
    served: Served, mlflow: MlflowServer
) -> None:
    before = served.predict()
    assert served.state() == {"ready": True, "wrong": {}}
    mlflow.stop()
    for _ in range(3):
        # Windows end later each time, by seconds.
        assert values(served.predict()) == pytest.approx(values(before), abs=1e-4)
    said = served.state()
    assert (said["ready"], list(said["wrong"])) == (True, ["mlflow"])
    # What was never loaded cannot be had meanwhile, and that is said.
    refused = served.running.post("/v1/predict", json=ASKED | {"version": 99})
    assert (refused.status_code, refused.json()["error"]["type"]) == (503, "ModelUnavailableError")
    mlflow.start()
    served.until(promoted(mlflow))
    assert served.state() == {"ready": True, "wrong": {}}
    served.until(promoted(mlflow))


def test_a_server_that_hangs_is_waited_for_by_one_question_and_within_its_deadline(
    served: Served, mlflow: MlflowServer
) -> None:
    served.predict()
    with mlflow.paused():
        for _ in range(4):
            served.predict()
        began = time.monotonic()
        for _ in range(5):
            served.predict()
        assert time.monotonic() - began < served.settings.timeout_s / 2  # none of them waits
        assert list(served.state()["wrong"]) == ["mlflow"]
    served.until(promoted(mlflow))
    assert served.state()["wrong"] == {}
