"""Lists for shoppers who are known and who are not, and what moves them at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

import made_baskets as shop_of
from feature_repo.candidates.kept import history_key, read_history
from feature_repo.core.clock import FixedClock, from_us
from feature_repo.core.errors import DataError, ModelUnavailableError, NotMaterializedError, PortraitError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_redis
from feature_repo.engine.feature_store import open_store
from feature_repo.engine.positions import Positions
from feature_repo.jobs.histories import bring_histories
from feature_repo.jobs.materialize import materialize
from feature_repo.privacy.tombstones import Tombstones
from running_app import Running
from serving import AsyncProfileClient, ProfileClient
from serving.recommending.recommendation import Recommendations

pytestmark = pytest.mark.slow(40)

ADA, BOB = shop_of.user(0), shop_of.user(1)  # who buys of the bakery, and of the garden


@pytest.fixture
def portrait(baskets: Settings, clock: FixedClock) -> Iterator[ProfileClient]:
    with ProfileClient(settings=baskets, clock=clock) as client:
        yield client


def items(found: Recommendations) -> list[str]:
    return [each.item_id for each in found]


def of_kind(found: Recommendations, kind: str) -> float:
    return sum(each.item_id.startswith(kind) for each in found) / len(found)


def happens(settings: Settings, clock: FixedClock, table: str, row: dict[str, Any]) -> None:
    """Commit an event and bring Redis to the log's head; no history is written anew."""
    shop_of.commit(settings, table, [row])
    materialize(settings, clock)


def test_a_shopper_is_recommended_what_the_shopper_buys(baskets: Settings, portrait: ProfileClient) -> None:
    with connect_redis(baskets) as client:
        history = read_history(client, ADA)
    assert history is not None
    found = portrait.recommend(ADA, k=5)
    assert len(set(items(found))) == 5
    assert len(set(items(found)) & set(history.items[:7])) >= 4
    assert {each.kind for each in found} <= {"you_buy_it", "you_bought_it"}
    assert of_kind(portrait.recommend(BOB, k=6), "garden") > 0.7


def test_a_list_says_whose_it_is_and_of_when(portrait: ProfileClient, clock: FixedClock) -> None:
    found = portrait.recommend(ADA, k=3)
    assert (found.user_id, found.features_as_of, found.history_as_of) == (ADA, *[from_us(clock.now_us())] * 2)
    assert found.model.startswith("items@")
    assert found == portrait.recommend(ADA, k=3)
    assert found.recommendation_id != portrait.recommend(BOB, k=3).recommendation_id
    assert list(found.to_df()["item_id"]) == items(found)
    assert all(each.reason.endswith(".") and each.zh for each in found)


def test_a_new_shopper_is_recommended_what_sells(portrait: ProfileClient) -> None:
    found = portrait.recommend("never seen", k=10)
    assert len(found) == 10
    assert found.history_as_of is None
    assert not any(each.bought for each in found)
    assert {each.kind for each in found} <= {"popular", "trending"}


def test_a_new_shopper_in_a_store_is_recommended_what_the_store_sells(portrait: ProfileClient) -> None:
    for kind in shop_of.KINDS:
        found = portrait.recommend("never seen", k=5, context={"store": f"store {kind}"})
        told = [each for each in found if each.kind == "your_store"]
        assert told, kind
        assert all(each.item_id.startswith(kind) for each in told)


def test_an_item_sold_since_the_model_was_trained_is_recommended(baskets: Settings, clock: FixedClock) -> None:
    at = shop_of.END + timedelta(hours=1)
    lines = [shop_of.line(at, shop_of.user(n), "novelty", f"n{n}") for n in range(2, 62)]
    shop_of.commit(baskets, "purchase", lines)
    bring_histories(baskets, clock)
    with ProfileClient(settings=baskets, clock=clock) as portrait:
        assert "novelty" in items(portrait.recommend("never seen", k=20))


def test_what_was_just_bought_leaves_the_list_at_once(baskets: Settings, clock: FixedClock) -> None:
    who = shop_of.user(4)
    with ProfileClient(settings=baskets, clock=clock) as portrait:
        first = portrait.recommend(who)[0].item_id
        happens(baskets, clock, "purchase", shop_of.line(shop_of.END + timedelta(hours=5), who, first, "just now"))
        assert first not in items(portrait.recommend(who, k=50))


def test_what_was_dismissed_leaves_the_list_at_once_and_comes_back_after_a_while(
    baskets: Settings, clock: FixedClock
) -> None:
    who = shop_of.user(6)
    with ProfileClient(settings=baskets, clock=clock) as portrait:
        first = portrait.recommend(who)[0].item_id
        said = {
            "event_id": "no",
            "event_timestamp": shop_of.END + timedelta(hours=5),
            "user_id": who,
            "item_id": first,
            "action": "dismissed",
        }
        happens(baskets, clock, "feedback", said)
        assert first not in items(portrait.recommend(who, k=50))
    later = FixedClock(clock.now_us() + 30 * 86_400_000_000)
    with ProfileClient(settings=baskets, clock=later) as portrait:
        assert first in items(portrait.recommend(who, k=50))


def test_what_is_out_of_stock_is_not_shown_and_a_category_can_be_asked_for(portrait: ProfileClient) -> None:
    whole = portrait.recommend(ADA, k=5)
    rest = portrait.recommend(ADA, k=5, context={"unavailable": items(whole)[:3]})
    assert not set(items(whole)[:3]) & set(items(rest))
    assert len(rest) == 5
    only = portrait.recommend(ADA, k=3, context={"category": "garden 2"})
    assert {each.category for each in only} == {"garden 2"}
    assert len(portrait.recommend(ADA, context={"category": "no such"})) == 0


def test_without_the_view_of_shoppers_and_items_nobody_is_recommended_anything(
    baskets: Settings, clock: FixedClock
) -> None:
    with connect_redis(baskets) as client, ProfileClient(settings=baskets, clock=clock) as portrait:
        key = Positions(client, open_store().project).key
        served = client.hget(key, "serve:user_item_purchases")
        client.hdel(key, "serve:user_item_purchases")
        try:
            with pytest.raises(NotMaterializedError, match="user_item_purchases") as raised:
                portrait.recommend(ADA)
        finally:
            client.hset(key, "serve:user_item_purchases", served)
    assert raised.value.hint is not None
    assert "portrait jobs histories" in raised.value.hint


def test_the_view_of_shoppers_and_items_is_built_when_asked_and_kept_up_from_then_on(settings: Settings) -> None:
    from feature_repo.jobs.features import apply  # noqa: PLC0415

    apply()
    shop_of.fill(settings)
    clock = FixedClock(int(shop_of.END.timestamp() * 1_000_000) + 1)
    assert "user_item_purchases" not in {each.view for each in materialize(settings, clock).views}
    bring_histories(settings, clock)
    shop_of.commit(settings, "purchase", [shop_of.line(shop_of.END, BOB, "garden-00", "another")])
    done = {each.view: each.action for each in materialize(settings, clock).views}
    assert done["user_item_purchases"] == "applied"


def test_who_was_erased_has_no_history(baskets: Settings, clock: FixedClock) -> None:
    who = shop_of.user(8)
    with connect_redis(baskets) as client:
        assert client.exists(history_key(who))
        client.delete(history_key(who))
        Tombstones(baskets.home).add(who)
        bring_histories(baskets, clock)
        assert not client.exists(history_key(who))


WRONG: dict[str, Callable[[Any], Any]] = {
    "no number": lambda portrait: portrait.recommend(ADA, k=0),
    "too many": lambda portrait: portrait.recommend(ADA, k=101),
    "a flag": lambda portrait: portrait.recommend(ADA, k=True),
    "a blank": lambda portrait: portrait.recommend(" "),
    "a list of shoppers": lambda portrait: portrait.recommend([ADA, BOB]),
    "no context": lambda portrait: portrait.recommend(ADA, context={"shop": "1"}),
    "no store": lambda portrait: portrait.recommend(ADA, context={"store": 7}),
    "no items": lambda portrait: portrait.recommend(ADA, context={"unavailable": "a"}),
    "items that are none": lambda portrait: portrait.recommend(ADA, context={"unavailable": [7]}),
}
RIGHT: dict[str, Callable[[Any], Any]] = {
    "a list": lambda portrait: portrait.recommend(ADA),
    "by a raw id": lambda portrait: portrait.recommend("2375", k=3),
    "a number": lambda portrait: portrait.recommend(2375, k=3),
    "in a store": lambda portrait: portrait.recommend("never seen", context={"store": "store garden"}),
    "not these": lambda portrait: portrait.recommend(ADA, context={"unavailable": ["bakery-00", "bakery-01"]}),
    "of a category": lambda portrait: portrait.recommend(ADA, context={"category": "bakery 1", "store": None}),
    "nothing": lambda portrait: portrait.recommend(ADA, context={"category": "no such"}),
}


def told(question: Callable[[Any], Any], client: Any) -> Any:
    try:
        return question(client)
    except PortraitError as error:
        return type(error), error.what, error.hint


def test_every_way_gives_the_same_list_and_the_same_errors(baskets: Settings, clock: FixedClock) -> None:
    questions = WRONG | RIGHT
    with ProfileClient(settings=baskets, clock=clock) as portrait:
        expected = {name: told(question, portrait) for name, question in questions.items()}
    assert {name for name, answer in expected.items() if isinstance(answer, tuple)} == set(WRONG)
    assert all(answer[0] is DataError for answer in expected.values() if isinstance(answer, tuple))
    running = Running(baskets, clock)
    url = str(running.http.base_url)
    try:
        with ProfileClient(url=url) as portrait:
            assert {name: told(question, portrait) for name, question in questions.items()} == expected
        for options in ({"url": url}, {"settings": baskets, "clock": clock}):
            assert asyncio.run(awaited(questions, options)) == expected
    finally:
        running.close()


async def awaited(questions: dict[str, Callable[[Any], Any]], options: dict[str, Any]) -> dict[str, Any]:
    async with AsyncProfileClient(**options) as portrait:
        found = {}
        for name, question in questions.items():
            try:
                found[name] = await question(portrait)
            except PortraitError as error:
                found[name] = type(error), error.what, error.hint
        return found


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user": None},
        {"user": True},
        {"user": ADA, "k": "ten"},
        {"user": ADA, "k": 1.5},
        {"user": ADA, "context": []},
        {"user": ADA, "context": {"unavailable": {"a": 1}}},
        {"user": ADA, "kk": 1},
    ],
)
def test_a_request_that_cannot_be_meant_is_refused_and_not_repeated(
    baskets: Settings, clock: FixedClock, body: dict[str, Any]
) -> None:
    running = Running(baskets, clock)
    try:
        answer = running.post("/v1/recommend", json=body)
    finally:
        running.close()
    assert answer.status_code == 422, answer.text
    assert ADA not in answer.text
    assert set(answer.json()["error"]) == {"type", "what", "hint"}


def test_without_a_champion_it_says_what_to_run(shop: Settings, clock: FixedClock) -> None:
    with (
        ProfileClient(settings=shop, clock=clock) as portrait,
        pytest.raises(ModelUnavailableError, match="'items' has no champion"),
    ):
        portrait.recommend("2375")


def test_at_the_command_line(baskets: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    from serving.recommending.cli import recommend  # noqa: PLC0415

    recommend(ADA, k=3, without=["bakery-00"], as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert len(found["items"]) == 3
    recommend(ADA, k=2)
    assert ADA in capsys.readouterr().out
    assert baskets.home.exists()
