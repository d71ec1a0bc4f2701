from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from feature_repo.core.errors import DeclarationError, SettingsError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.jobs.features import apply
from serving.catalogue import Catalogue


@pytest.fixture
def applied(home: Path) -> Settings:
    """Settings of a home with nothing but a registry."""
    apply()
    return load_settings()


def applied_anew(settings: Settings) -> None:
    stat = settings.registry_path.stat()
    os.utime(settings.registry_path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def test_threads_share_one_plan_until_the_registry_is_applied_anew(applied: Settings) -> None:
    catalogue = Catalogue(applied)
    with ThreadPoolExecutor(8) as pool:
        plans = list(pool.map(catalogue.plan, ["profile_v1"] * 16))
    # The plans themselves, not their addresses: one that is gone may leave its address to the next.
    assert all(plan is catalogue.plan("profile_v1") for plan in plans)
    labels = catalogue.labels()
    applied_anew(applied)
    assert catalogue.plan("profile_v1") is not plans[0]
    assert catalogue.labels() is not labels
    assert catalogue.labels() == labels


def test_a_plan_of_the_old_registry_is_not_kept_for_the_new_one(
    applied: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = Catalogue(applied)
    old = catalogue._current()
    applied_anew(applied)
    with monkeypatch.context() as patch:
        patch.setattr(catalogue, "_current", lambda: old)  # a thread that looked before the registry changed
        stale = catalogue.plan("item_v1")
    assert catalogue.plan("item_v1") is not stale


def test_nothing_applied_is_told(home: Path) -> None:
    with pytest.raises(DeclarationError, match="no registry"):
        Catalogue(load_settings()).plan("profile_v1")


def test_settings_of_another_home_are_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="PORTRAIT_HOME is"):
        Catalogue(Settings(home=tmp_path / "other"))
