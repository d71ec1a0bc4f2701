"""Whoever looks changes nothing, whatever the home's settings keep of answers to others."""

from __future__ import annotations

from pathlib import Path

import pytest

from feature_repo.core.clock import SystemClock
from feature_repo.core.errors import DataError, PortraitError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import connect_redis
from serving.console.desk import Desk
from serving.console.feature_view import catalogue_view, feature_view
from serving.console.recommended import list_view
from serving.console.scores import score_views
from serving.console.shopper import shopper_view
from serving.console.timeline import timeline_view
from serving.console.words import Words

EN = Words("en")


def files(home: Path) -> dict[Path, tuple[int, int]]:
    found = {path: path.stat() for path in home.rglob("*") if path.is_file() and "redis" not in path.parts}
    return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in found.items()}


def look_at_all(desk: Desk, user: str) -> None:
    assert shopper_view(desk, user, EN).known
    assert timeline_view(desk, user, "", EN).entries
    assert [score.task for score in score_views(desk, user, EN)] == ["redemption"]
    with pytest.raises(PortraitError):
        list_view(desk, user, EN)
    catalogue = catalogue_view(desk, EN)
    assert feature_view(desk, catalogue, "user_payments__count_28d", EN)
    assert all(desk.shelf.run(model.versions[0].run_id) for model in desk.shelf.models())


def test_all_pages_change_no_file_and_no_key(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_SERVED_SAMPLE", "1")
    desk = Desk.of(load_settings(), SystemClock())
    desk.portrait.tasks()  # whoever opens the MLflow of a home that was moved brings its addresses to where it is
    with connect_redis(shop) as client:
        before, keys = files(shop.home), client.dbsize()
        look_at_all(desk, desk.key("2375"))
        desk.portrait.close()
        assert client.dbsize() == keys
    assert files(shop.home) == before


def test_to_look_at_an_empty_home_makes_no_key(home: Path) -> None:
    desk = Desk.of(load_settings(), SystemClock())
    with pytest.raises(DataError, match="No shopper is known") as caught:
        desk.key("2375")
    assert "portrait demo" in caught.value.hint
    assert "2375" not in str(caught.value)
    assert desk.key("u_" + "a" * 32) == "u_" + "a" * 32
    assert not home.exists()
