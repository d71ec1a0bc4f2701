"""Something is missing or broken: each time a clear error with what to do, and nothing stored is lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_repo.core.clock import SystemClock
from feature_repo.core.errors import LogError, StoreUnavailableError, ViewsRefusedError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.jobs import services
from feature_repo.jobs.materialize import materialize
from feature_repo.jobs.parity import parity
from support_commands import portrait, run_portrait


@pytest.fixture
def broken(built_shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A shop of the test's own, to be broken."""
    home = tmp_path / "shop"
    shutil.copytree(built_shop, home)
    monkeypatch.delenv("PORTRAIT_REDIS_URL", raising=False)
    monkeypatch.setenv("PORTRAIT_HOME", str(home))
    settings = load_settings()
    services.up(settings, SystemClock())
    yield settings
    services.down(settings)


def test_a_damaged_file_of_the_log_is_named_and_heals_when_it_is_put_back(broken: Settings) -> None:
    [file, *_] = sorted((broken.log_root / "campaign_exposure").glob("*.parquet"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ViewsRefusedError, match="campaign_exposure") as caught:
        materialize(broken, SystemClock(), views=["user_campaigns"], full=True)
    assert caught.value.hint
    with pytest.raises(LogError, match="campaign_exposure"):
        parity(broken, SystemClock(), users=5, views=["user_campaigns"])
    file.write_bytes(whole)
    assert parity(broken, SystemClock(), users=50, views=["user_campaigns"]).mismatches == 0
    materialize(broken, SystemClock(), views=["user_campaigns"], full=True)
    assert parity(broken, SystemClock(), users=50, views=["user_campaigns"]).mismatches == 0


def test_a_missing_table_is_named(broken: Settings) -> None:
    (broken.log_root / "purchase").rename(broken.home / "elsewhere")
    with pytest.raises(ViewsRefusedError, match="no table 'purchase'"):
        materialize(broken, SystemClock(), views=["user_purchases"], full=True)
    (broken.home / "elsewhere").rename(broken.log_root / "purchase")
    assert materialize(broken, SystemClock(), views=["user_purchases"]).views[0].action == "at head"


def test_redis_gone_is_told_within_the_time_out(broken: Settings) -> None:
    services.down(broken)
    with pytest.raises(StoreUnavailableError, match="portrait up"):
        materialize(broken, SystemClock(), views=["user_campaigns"])


@pytest.mark.slow(5)
def test_a_damaged_registry_says_how_to_make_it_anew(broken: Settings) -> None:
    kept = broken.registry_path.read_bytes()
    broken.registry_path.write_bytes(b"\xff\xff not a registry")
    error = run_portrait("jobs materialize", broken.home, expect=2)["error"]
    assert "cannot be read" in error["what"]
    assert "features apply" in error["hint"]
    broken.registry_path.write_bytes(kept)
    assert "at head" in portrait("jobs materialize", broken.home)
