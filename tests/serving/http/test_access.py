"""Who may ask over HTTP, and how often."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from feature_repo import cli
from feature_repo.core.clock import SECOND, FixedClock
from feature_repo.core.errors import DataError, SettingsError, TooManyRequestsError
from feature_repo.core.settings import Settings
from made_keys import make_one
from running_app import Running
from serving.http.access import Buckets
from serving.http.keys import ApiKeys
from serving.http.server import check_guarded

BUY = {"event_type": "purchase", "event_id": "a", "user_id": "ada@example.com", "amount": 3.49}
CLOCK = FixedClock(7)


@pytest.fixture
def running(settings: Settings) -> Iterator[Running]:
    found = Running(settings)
    yield found
    found.close()


def asked(running: Running, path: str, key: str | None = None) -> int:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return running.post(path, json={"events": [BUY]} if path == "/v1/events" else {}, headers=headers).status_code


def test_without_keys_everybody_may_ask(running: Running) -> None:
    assert asked(running, "/v1/events") == 202
    assert asked(running, "/v1/predict") == 422  # let in, and found wanting


def test_a_key_may_do_what_its_roles_say_until_it_is_revoked(running: Running, settings: Settings) -> None:
    keys = ApiKeys(settings.home)
    (reader, read), (_, write) = keys.make("dashboard", ["read"], CLOCK), keys.make("shop", ["write"], CLOCK)
    _, both = keys.make("app", ["read", "write"], CLOCK)
    seen = {
        name: (asked(running, "/v1/predict", key), asked(running, "/v1/events", key))
        for name, key in {"read": read, "write": write, "both": both, "none": None, "wrong": read[:-1] + "?"}.items()
    }
    assert seen == {
        "read": (422, 403),
        "write": (403, 202),
        "both": (422, 202),
        "none": (401, 401),
        "wrong": (401, 401),
    }
    keys.revoke(reader.id)
    assert asked(running, "/v1/predict", read) == 401


@pytest.mark.parametrize("said", ["", "Bearer", "Basic {key}", "{key}", "Bearer portrait__", "Bearer portrait_"])
def test_what_is_no_key_is_told_how_to_ask(running: Running, settings: Settings, said: str) -> None:
    _, key = ApiKeys(settings.home).make("shop", ["write"], CLOCK)
    headers = {"Authorization": said.format(key=key)}
    answer = running.post("/v1/events", json={"events": [BUY]}, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["error"]["type"] == "UnknownKeyError"
    assert key not in answer.text


def test_nobody_may_ask_once_the_last_key_is_revoked(running: Running, settings: Settings) -> None:
    keys = ApiKeys(settings.home)
    made, key = keys.make("shop", ["write"], CLOCK)
    keys.revoke(made.id)
    assert asked(running, "/v1/events", key) == asked(running, "/v1/events") == 401


def test_secrets_are_not_kept(settings: Settings) -> None:
    _, key = ApiKeys(settings.home).make("shop", ["write"], CLOCK)
    [path] = settings.home.glob("api_keys.json")
    assert key.split("_", 2)[2] not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


def test_keys_made_at_once_are_all_kept(settings: Settings) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        made = [pool.submit(make_one, settings.home) for _ in range(12)]
        assert all(ApiKeys(settings.home).holder(each.result()) for each in made)
    assert len(ApiKeys(settings.home).all()) == 12


@pytest.mark.parametrize("content", ["", "[", "{}", '[{"id": 1}]', '[{"id": "a", "name": "b"}]', "[7]"])
def test_damaged_keys_let_nobody_in(running: Running, settings: Settings, content: str) -> None:
    settings.home.mkdir(exist_ok=True)
    (settings.home / "api_keys.json").write_text(content)
    assert asked(running, "/v1/events") == 401
    assert asked(running, "/v1/events", "portrait_a_b") == (401 if content == "{}" else 500)


def test_a_caller_that_asks_too_often_is_told_when_to_come_back(settings: Settings) -> None:
    keys = ApiKeys(settings.home)
    (_, one), (_, other) = (keys.make(name, ["write"], CLOCK) for name in ("one", "other"))
    running = Running(settings.model_copy(update={"rate_limit": 2.0}))
    try:
        assert [asked(running, "/v1/events", one) for _ in range(3)] == [202, 202, 429]
        assert asked(running, "/v1/events", other) == 202
        answer = running.post("/v1/events", json={}, headers={"Authorization": f"Bearer {one}"})
        assert (answer.headers["retry-after"], answer.json()["error"]["type"]) == ("1", "TooManyRequestsError")
    finally:
        running.close()


class Ticking:
    now = 0

    def now_us(self) -> int:
        return self.now


def test_a_bucket_fills_by_so_many_a_second_and_no_further() -> None:
    clock = Ticking()
    buckets = Buckets(clock, 4.0)

    def taken() -> int:
        count = 0
        while True:
            try:
                buckets.take("a")
            except TooManyRequestsError:
                return count
            count += 1

    assert taken() == 4
    clock.now += SECOND // 2
    assert taken() == 2
    clock.now += 100 * SECOND
    assert taken() == 4
    clock.now -= SECOND  # a clock that is set back takes nothing away
    assert taken() == 0
    slow = Buckets(clock, 0.1)
    slow.take("a")
    with pytest.raises(TooManyRequestsError) as caught:
        slow.take("a")
    assert caught.value.retry_after_s == pytest.approx(10)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com"])
def test_a_server_without_keys_is_not_reached_from_elsewhere(settings: Settings, host: str) -> None:
    with pytest.raises(SettingsError, match="no API keys"):
        check_guarded(settings, host)
    for near in ("127.0.0.1", "::1", "localhost"):
        check_guarded(settings, near)
    ApiKeys(settings.home).make("shop", ["read"], CLOCK)
    check_guarded(settings, host)


@pytest.mark.parametrize(
    ("name", "roles"), [("", ["read"]), ("a\nb", ["read"]), ("a", ["rad"]), ("a", []), ("a" * 101, ["read"])]
)
def test_a_key_that_cannot_be_made_is_told(settings: Settings, name: str, roles: list[str]) -> None:
    with pytest.raises(DataError):
        ApiKeys(settings.home).make(name, roles, CLOCK)
    assert not ApiKeys(settings.home).guarding


def said(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert cli.main(["api-keys", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_commands_make_list_and_revoke(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    made = said(capsys, "create", "checkout", "--role", "read", "--role", "write")
    assert ApiKeys(settings.home).holder(made["key"])
    listed = said(capsys, "list")
    assert [(each["id"], each["name"], each["roles"]) for each in listed["keys"]] == [
        (made["id"], "checkout", ["read", "write"])
    ]
    assert "key" not in listed["keys"][0]
    assert said(capsys, "revoke", made["id"])["name"] == "checkout"
    assert said(capsys, "list") == {"keys": [], "guarding": True}
    assert cli.main(["api-keys", "revoke", made["id"]]) == 2
    assert cli.main(["api-keys", "list"]) == 0
    assert "nobody may ask" in capsys.readouterr().out
