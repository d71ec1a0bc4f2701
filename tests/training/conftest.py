"""The real data with its registry, made once and copied to each worker; and small logs written by hand."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pytest
from matplotlib.figure import Figure

from feature_repo.core.clock import FixedClock, to_us
from feature_repo.core.settings import Settings, load_settings
from feature_repo.events.demo import load_demo
from feature_repo.events.schema import TABLES, arrow_schema, log_table
from feature_repo.jobs.features import apply
from once import made_once, once
from training.data.dataset import Dataset, dataset
from training.registry import register
from training.runs.tracking import tracking
from training.task import Task, find_task

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
Write = Callable[..., None]


@pytest.fixture(scope="session")
def demo_home(shared_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the demo, an applied registry and an empty MLflow; tests that write to it must do so into a copy."""

    def make(home: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            _use(patch, home)
            apply()
            load_demo(load_settings(), FixedClock(to_us(NOW)))
            with tracking(load_settings()):  # MLflow takes a second to make its database
                pass

    home = tmp_path_factory.mktemp("training-demo") / "home"
    shutil.copytree(made_once(shared_root, "demo", make), home)
    return home


@pytest.fixture
def demo(demo_home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of the demo's home, which PORTRAIT_HOME names too."""
    _use(monkeypatch, demo_home)
    return load_settings()


@pytest.fixture(scope="session")
def redemption() -> Task:
    return find_task("redemption")


@pytest.fixture(scope="session")
def rows(demo_home: Path, redemption: Task) -> Dataset:
    """The demo's rows of the task ``redemption``."""
    with pytest.MonkeyPatch.context() as patch:
        _use(patch, demo_home)
        return dataset(redemption)


@pytest.fixture(scope="module")
def one_reference() -> Iterator[None]:
    """For a file whose homes hold one log and whose tests ask no drift: what monitoring compares with is found once."""
    with pytest.MonkeyPatch.context() as patch:
        once(patch, register, "reference_text")
        yield


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """For a file whose tests look at no picture: they are a seventh of the time of a training, and are left empty."""

    def empty(_: Figure, place: Path | IO[bytes], **_how: Any) -> None:
        place.write_bytes(b"") if isinstance(place, Path) else place.write(b"")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", empty)
        yield


@pytest.fixture
def shop(home: Path) -> Settings:
    """An empty log with every table, and an applied registry."""
    settings = load_settings()
    for name in TABLES:
        log_table(settings.log_root, name).ensure()
    apply()
    return settings


@pytest.fixture
def own_demo(demo_home: Path, home: Path) -> Settings:
    """A copy of the demo's home that may be written to, which PORTRAIT_HOME names too."""
    shutil.copytree(demo_home, home)
    return load_settings()


@pytest.fixture
def write_to() -> Write:
    """Write events: ``write_to(settings, "purchase", [{"event_timestamp": at, "user_id": ...}])``."""
    return write_events


@pytest.fixture
def write(shop: Settings) -> Write:
    """Write one event: ``write("purchase", at, user_id=..., amount=...)``."""

    def one(table: str, at: datetime, **columns: Any) -> None:
        write_events(shop, table, [{"event_timestamp": at, **columns}])

    return one


def write_events(settings: Settings, table: str, events: list[dict[str, Any]]) -> None:
    stamped = [{"event_id": uuid.uuid4().hex, "ingested_at": event["event_timestamp"], **event} for event in events]
    schema = pa.schema([field.with_nullable(True) for field in arrow_schema(table)])
    log_table(settings.log_root, table).commit(pa.Table.from_pylist(stamped, schema=schema))


def _use(patch: pytest.MonkeyPatch, home: Path) -> None:
    for name in ("PORTRAIT_REDIS_URL", "MLFLOW_TRACKING_URI"):
        patch.delenv(name, raising=False)
    patch.setenv("PORTRAIT_HOME", str(home))
    patch.setenv("PORTRAIT_THREADS", "2")
