"""The peer: Feast as it comes, with its own DuckDB, Redis and engine classes, beside ours in the bench's home."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import yaml
from feast import FeatureStore, RepoConfig

from feature_repo.core.errors import PortraitError, StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import LOOPBACK, read_embedded
from feature_repo.engine.feature_store import open_store, quiet_feast

# As long as ours, "portrait": the name is part of every key, and longer keys take more memory.
PROJECT = "baseline"
CLASSES = "stock Feast: DuckDBOfflineStore, RedisOnlineStore, local engine"


def check_installed() -> None:
    """Tell whether Feast's own DuckDB store can be used here.

    Raises
    ------
    PortraitError
        It reads through ibis, which is not installed.
    """
    if importlib.util.find_spec("ibis") is None:
        raise PortraitError(
            "The benches compare with stock Feast, whose DuckDB store needs ibis.",
            hint="pip install 'user-portrait[bench]' (in a checkout: pip install -e '.[bench]').",
        )


def our_store() -> FeatureStore:
    """Portrait's classes, as its feature_store.yaml names them, over the registry of the bench's home."""
    return open_store()


def stock_store(settings: Settings) -> FeatureStore:
    """Feast's own classes over the same Redis, in a project of their own.

    Raises
    ------
    StoreUnavailableError
        The bench's Redis is not running.
    """
    return FeatureStore(config=RepoConfig(**_config(settings)))


def write_stock_repo(settings: Settings) -> Path:
    """Write what :func:`stock_store` opens as a repo that Feast's own commands read; return its directory.

    Raises
    ------
    StoreUnavailableError
        The bench's Redis is not running.
    """
    folder = settings.home / "stock"
    folder.mkdir(mode=0o700)  # the file holds the password of the bench's server
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(_config(settings)), "utf-8")
    return folder


def _config(settings: Settings) -> dict[str, Any]:
    server = read_embedded(settings)
    if server is None:
        raise StoreUnavailableError("The bench's Redis is not running.")
    return {
        "project": PROJECT,
        "provider": "local",
        "registry": str(settings.home / "stock.db"),
        "offline_store": {"type": "duckdb"},
        "online_store": {
            "type": "redis",
            "connection_string": f"{LOOPBACK}:{server.port},password={server.password}",
        },
        "batch_engine": {"type": "local"},
        "entity_key_serialization_version": 3,
    }


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Feast and ibis from printing and from warning of their own business while they are measured."""
    with quiet_feast(), redirect_stdout(io.StringIO()), contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        # ibis 12 calls a method DuckDB 2.0 renamed.
        warnings.filterwarnings("ignore", message="fetch_arrow_table", category=DeprecationWarning)
        yield
