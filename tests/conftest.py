"""A home of its own for every test, and one real Redis per worker, emptied before each test that uses it."""

from __future__ import annotations

import gc
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import redis as redis_py

from feature_repo.core.clock import SystemClock
from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import connect_redis, redis_url
from feature_repo.jobs import services
from once import made_once
from redis_process import REDIS_SERVER, debian_redis
from running_shop import living_in, running_copy
from support_commands import portrait
from tansu_process import Broker, tansu_binary, tansu_broker

# A model file the tests log to MLflow, not a module of tests: importing it for doctests makes MLflow read it.
collect_ignore = ["serving/tiny_scorer.py"]

# A machine without Debian's server tests the embedded one; in CI a missing server is a failure.
SERVERS = ["embedded_redis"]
if shutil.which(REDIS_SERVER) or os.environ.get("CI"):
    SERVERS.append("installed_redis")

UNSAID_S = 30.0  # of a slow test that does not say how long it takes

# Two shared cores: how long an example takes says nothing about the code.
hypothesis.settings.register_profile("portrait", deadline=None)
hypothesis.settings.load_profile("portrait")


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """No test leaves the environment to the next as it changed it: MLflow sets variables of its own."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home that PORTRAIT_HOME names; no service of the machine is inherited."""
    for name in ("PORTRAIT_REDIS_URL", "PORTRAIT_KAFKA_BOOTSTRAP", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "home"
    monkeypatch.setenv("PORTRAIT_HOME", str(path))
    return path


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose slow tests take longest come first, the others in whatever order they are in.

    A worker takes whole files, and one more before it is done: a long one begun last would be waited for.
    """
    seconds: dict[Path, dict[int, float]] = defaultdict(dict)
    for item in items:
        for mark in item.iter_markers("slow"):
            seconds[item.path][id(mark)] = sum(mark.args) or UNSAID_S
    items.sort(key=lambda item: -sum(seconds[item.path].values()))


def pytest_collection_finish() -> None:
    """Leave what is imported out of the collections of garbage that follow: a twentieth of the processor's time."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # else libraries complain of what is never collected


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("both_servers") and "redis_server" in metafunc.fixturenames:
        metafunc.parametrize("redis_server", SERVERS, indirect=True, scope="session")


@pytest.fixture(scope="session")
def redis_server(request: pytest.FixtureRequest) -> str:
    """Address of a real server that lives as long as the worker: the embedded one, unless a test asks for both."""
    address: str = request.getfixturevalue(getattr(request, "param", "embedded_redis"))
    return address


@pytest.fixture(scope="session")
def embedded_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an embedded server."""
    settings = Settings(home=tmp_path_factory.mktemp("redis-home"), redis_url="")
    services.up(settings, SystemClock())
    yield redis_url(settings)
    services.down(settings)


@pytest.fixture(scope="session")
def installed_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of Debian's redis-server."""
    with debian_redis(tmp_path_factory.mktemp("redis-server")) as address:
        yield address


@pytest.fixture(scope="session")
def tansu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The binary of a broker that speaks Kafka's protocol."""
    return tansu_binary(tmp_path_factory.mktemp("tansu"))


@pytest.fixture
def kafka_broker(tansu: Path) -> Iterator[Broker]:
    """A broker of this test alone: it starts in a moment, and members of other tests' groups are not waited for."""
    with tansu_broker(tansu) as broker:
        yield broker


@pytest.fixture
def settings(home: Path, redis_server: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an empty home and an empty Redis, as the environment of subprocesses says too."""
    monkeypatch.setenv("PORTRAIT_REDIS_URL", redis_server)
    settings = load_settings()
    with connect_redis(settings) as client:
        client.flushall()
        client.script_flush()
    return settings


@pytest.fixture
def redis(settings: Settings) -> Iterator[redis_py.Redis]:
    """A client of the empty Redis."""
    with connect_redis(settings) as client:
        yield client


@pytest.fixture(scope="session")
def shared_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of all workers."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def built_shop(shared_root: Path) -> Path:
    """A home with the demo loaded, materialized and trained on: made once for all workers, by a user's commands."""

    def make(home: Path) -> None:
        (shared_root / "shop.txt").write_text(portrait("demo", home), "utf-8")
        portrait("down", home)

    # A name that paths, URIs and globs all treat differently.
    return made_once(shared_root, "张三 shop", make)


@pytest.fixture(scope="session")
def demo_text(built_shop: Path) -> str:
    """What the first `portrait demo` printed."""
    return (built_shop.parent / "shop.txt").read_text("utf-8")


@pytest.fixture(scope="session")
def shop_home(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """This worker's copy of the shop, with its own Redis running."""
    with running_copy(built_shop, tmp_path_factory.mktemp("worker") / "shop") as home:
        yield home


@pytest.fixture
def shop(shop_home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of the shop. Its events, registry, state and models are shared: a test that changes them copies it."""
    return living_in(shop_home, monkeypatch)
