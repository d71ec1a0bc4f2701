"""What goes wrong is told over HTTP without where things are on the machine."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from feature_repo.core.clock import FixedClock, SystemClock
from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import redis_url
from feature_repo.events.schema import table_path
from running_app import Running
from serving import ProfileClient
from serving.reasons.wire import jsonable

RAW = "2375"
PREDICT = {"task": "no_such_task", "users": [RAW]}


def placed(text: str) -> list[str]:
    """Paths in a text; the temporary directory of the tests is one."""
    return re.findall(r"(?:/tmp|/home|/root|/usr|/opt|/work|sqlite:)[^\s\"]*", text)


@pytest.fixture
def copied(shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Settings, Running]]:
    """The shop with a log of its own, which may be damaged; its states are those of the worker's Redis."""
    address = redis_url(shop)
    home = tmp_path / "李四 home"
    shutil.copytree(shop.home, home, ignore=shutil.ignore_patterns("redis", "run"))
    monkeypatch.setenv("PORTRAIT_HOME", str(home))
    monkeypatch.setenv("PORTRAIT_REDIS_URL", address)
    settings = load_settings()
    running = Running(settings, FixedClock(SystemClock().now_us()))
    while "warm_up" in running.http.get("/readyz").json()["wrong"]:
        time.sleep(0.05)
    yield settings, running
    running.close()


def gone(table: Path) -> None:
    shutil.rmtree(table)


def without_files(table: Path) -> None:
    for file in table.rglob("*.parquet"):
        file.unlink()


def overwritten(table: Path) -> None:
    for file in table.rglob("*.parquet"):
        file.write_bytes(b"PAR1 no more")


def without_head(table: Path) -> None:
    for file in (table / "_delta_log").iterdir():
        if file.is_file():
            file.write_bytes(b"{")


@pytest.mark.parametrize("damage", [gone, without_files, overwritten, without_head])
def test_a_damaged_log_is_503_in_the_shape_of_an_error_where_a_route_reads_it(
    copied: tuple[Settings, Running], damage: Callable[[Path], None]
) -> None:
    settings, running = copied
    with ProfileClient(settings=settings) as portrait:
        reason = next(each for each in portrait.explain("redemption", RAW).reasons if each.traces)
    evidence = {"user": RAW, "traces": jsonable(reason.traces), "most": 5}
    what_if = {"task": "redemption", "user": RAW}
    assert running.post("/v1/evidence", json=evidence).status_code == 200
    for kind in {trace.table for trace in reason.traces} | {"payment"}:
        damage(table_path(settings.log_root, kind))
    for route, asked in {"/v1/evidence": evidence, "/v1/what-if": what_if}.items():
        said = running.post(route, json=asked)
        assert (said.status_code, said.json()["error"]["type"]) == (503, "LogError"), (route, said.text)
        assert said.json()["error"]["what"]
        assert not placed(said.text), said.text
    # Nothing else reads the log.
    assert running.post("/v1/predict", json=PREDICT | {"task": "redemption"}).status_code == 200


def wrongs(running: Running) -> Iterator[Any]:
    yield running.post("/v1/predict", json=PREDICT)
    yield running.post("/v1/features", json={"users": [RAW]})
    yield running.post("/v1/profiles", json={"users": [RAW]})
    yield running.post("/v1/events", json={"events": [{"event_type": "purchase", "user_id": RAW, "amount": 1.0}]})
    yield running.post("/v1/pseudonyms", json={"users": [RAW]})
    yield running.http.get("/v1/tasks")
    yield running.http.get("/readyz")


def test_no_error_says_where_the_home_is(home: Path) -> None:
    """A home without anything; then one with a database of MLflow that is none, a registry and a key that are none."""
    settings = load_settings()
    running = Running(settings, FixedClock(SystemClock().now_us()))
    try:
        for spoilt in (False, True):
            if spoilt:
                (home / "mlflow").mkdir(parents=True, exist_ok=True)
                (home / "keys").mkdir(exist_ok=True)
                (home / "mlflow" / "mlflow.db").write_bytes(b"no database")
                (home / "registry.db").write_bytes(b"no registry")
                (home / "keys" / "user_id.key").write_bytes(b"short")
            found = list(wrongs(running))
            assert [each.status_code for each in found].count(200) <= 2  # pseudonyms, and that there are no tasks
            assert [each.text for each in found if placed(each.text)] == []
    finally:
        running.close()
