from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from feature_repo.core.errors import DeclarationError
from feature_repo.core.settings import Settings
from feature_repo.events.schema import EVENTS
from feature_repo.events.stream.decode import decode
from feature_repo.events.stream.redis_channel import RedisReader
from serving import Event, ProfileClient


def test_an_event_is_tracked_and_once_however_often_it_is_sent(settings: Settings) -> None:
    bought = Event.purchase(user_id="2375", item_id="995242", amount=3.49)
    with ProfileClient() as portrait:
        pseudonym = portrait.key("2375")
        assert portrait.track(bought).accepted == 1
        assert portrait.track([bought, Event.view(user_id=2375)]).accepted == 2
    reader = RedisReader(settings, name="test")
    reader.owned()
    found = decode(reader.read(100, wait_s=0), "redis").arrivals
    reader.close()
    assert set(found["purchase"].rows["event_id"].to_pylist()) == {bought["event_id"]}
    assert found["view"].rows["user_id"].to_pylist() == [pseudonym]


@pytest.mark.parametrize("event_type", sorted(EVENTS))
def test_every_declared_type_has_a_constructor(event_type: str) -> None:
    new = getattr(Event, f"{event_type}_" if event_type == "return" else event_type)
    assert new(user_id="2375")["event_type"] == event_type
    assert inspect.getdoc(new) == inspect.getdoc(EVENTS[event_type])
    assert event_type in dir(Event)


def test_a_slip_of_the_pen_is_told_at_once(home: Path) -> None:
    with pytest.raises(AttributeError, match="did you mean 'purchase'"):
        Event.purchased(user_id="2375")
    with pytest.raises(DeclarationError, match="did you mean 'amount'"):
        Event.purchase(user_id="2375", amuont=1)
