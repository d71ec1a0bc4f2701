"""A person leaves the rows of every run, below the home and on an operator's own MLflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.core.mlflow_client import open_mlflow, quiet_mlflow
from feature_repo.core.settings import Settings
from feature_repo.privacy.tombstones import Tombstones
from training.registry.erasure import ENTITY_ROWS, erase_entity_rows
from training.registry.send import _log_entity_rows

ADA, BOB = ("u_" + digit * 32 for digit in "ab")


def rows(*users: str) -> pa.Table:
    return pa.table({"user_id": users, "label": list(range(len(users)))})


def test_below_the_home_the_files_of_all_runs_are_rewritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it when others name a server
    settings = Settings(home=tmp_path)
    files = [tmp_path / "mlflow" / "artifacts" / "task" / run / "artifacts" / ENTITY_ROWS for run in ("a", "b")]
    for file, users in zip(files, ((ADA, BOB, ADA), (BOB,)), strict=True):
        file.parent.mkdir(parents=True)
        pq.write_table(rows(*users), file)
    untouched = files[1].read_bytes()
    assert erase_entity_rows(settings, ADA[2:], dry_run=True) == 2
    assert pq.read_table(files[0]).num_rows == 3
    assert erase_entity_rows(settings, ADA[2:], dry_run=False) == 2
    assert pq.read_table(files[0]).to_pydict() == {"user_id": [BOB], "label": [1]}
    assert files[1].read_bytes() == untouched
    assert erase_entity_rows(settings, ADA[2:], dry_run=False) == 0


def test_on_another_mlflow_the_artifacts_of_all_runs_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"sqlite:///{tmp_path / 'theirs.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    settings = Settings(home=tmp_path / "home")
    with quiet_mlflow():
        client = open_mlflow(address)
        experiment = client.create_experiment("task", artifact_location=(tmp_path / "artifacts").as_uri())
        runs = [client.create_run(experiment).info.run_id for _ in range(3)]
        pq.write_table(rows(ADA, BOB), tmp_path / ENTITY_ROWS)
        for run in runs[:2]:
            client.log_artifact(run, str(tmp_path / ENTITY_ROWS))
        client.delete_run(runs[1])
    assert erase_entity_rows(settings, ADA[2:], dry_run=True) == 2
    assert erase_entity_rows(settings, ADA[2:], dry_run=False) == 2
    assert [users_of(client, run, tmp_path) for run in runs[:2]] == [[BOB], [BOB]]
    assert erase_entity_rows(settings, ADA[2:], dry_run=False) == 0


def test_who_is_erased_while_a_model_is_fitted_is_not_among_its_rows(tmp_path: Path) -> None:
    logged: list[dict[str, list[str]]] = []
    pq.write_table(rows(ADA, BOB), tmp_path / ENTITY_ROWS)
    Tombstones(tmp_path).add(ADA)
    client = Logs(lambda path: logged.append(pq.read_table(path).to_pydict()))
    _log_entity_rows(client, "run", tmp_path / ENTITY_ROWS, Settings(home=tmp_path))
    assert logged[0]["user_id"] == [BOB]


def test_an_erasure_that_begins_while_rows_are_listed_waits_and_finds_them(tmp_path: Path) -> None:
    order: list[str] = []
    tombstones = Tombstones(tmp_path)
    erasing = Thread(target=lambda: (tombstones.add(ADA), order.append("erased")))
    pq.write_table(rows(ADA, BOB), tmp_path / ENTITY_ROWS)

    def listed(_: str) -> None:
        erasing.start()
        erasing.join(0.2)  # without the lock it is through at once
        order.append("listed")

    _log_entity_rows(Logs(listed), "run", tmp_path / ENTITY_ROWS, Settings(home=tmp_path))
    erasing.join()
    assert order == ["listed", "erased"]


@dataclass(frozen=True)
class Logs:
    """What of MLflow's client lists rows."""

    listed: Callable[[str], None]

    def log_artifact(self, run_id: str, path: str) -> None:
        self.listed(path)


def users_of(client: Any, run: str, folder: Path) -> list[str]:
    place = folder / run
    place.mkdir()
    with quiet_mlflow():
        return pq.read_table(client.download_artifacts(run, ENTITY_ROWS, str(place)))["user_id"].to_pylist()
