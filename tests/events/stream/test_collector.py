"""What a shop says is in the stream under the shopper's pseudonym, or rejected with the reason."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from feature_repo.core.clock import FixedClock, SystemClock, from_us
from feature_repo.core.errors import BufferFullError, DataError, StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.events.schema import EVENTS, Purchase, arrow_schema
from feature_repo.events.stream.channel import Entries, Message, partition_of
from feature_repo.events.stream.collector import Collected, Collector
from feature_repo.events.stream.decode import Decoded, decode
from feature_repo.events.stream.redis_channel import RedisReader
from feature_repo.jobs import services
from feature_repo.privacy.pseudonyms import is_pseudonym, load_pseudonymiser
from feature_repo.privacy.tombstones import Tombstones

NOW = 1_764_000_000_000_000
ADA = "u_" + "0" * 32
BUY = {"event_type": "purchase", "event_id": "a", "user_id": ADA, "item_id": "7", "amount": 3.49}


@pytest.fixture
def collector(settings: Settings) -> Iterator[Collector]:
    found = Collector(settings, FixedClock(NOW))
    yield found
    found.close()


def waiting(settings: Settings) -> Decoded:
    reader = RedisReader(settings, name="test")
    reader.owned()
    found = decode(reader.read(10_000, wait_s=0), "redis")
    reader.close()
    return found


def rows(settings: Settings, event_type: str = "purchase") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = waiting(settings).arrivals[event_type].rows.sort_by("event_id").to_pylist()
    return found


class Unsent:
    """A channel that keeps what it is sent."""

    partitions = 4

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, messages: list[Message]) -> None:
        self.messages += messages

    def close(self) -> None:
        """Keep all."""


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Unsent:
    found = Unsent()
    monkeypatch.setattr("feature_repo.events.stream.collector.open_channel", lambda _settings, **_: found)
    return found


@pytest.mark.parametrize("said", [None, 3, "purchase", b"{}"])
def test_what_is_no_event_and_no_list_is_refused_as_a_whole(collector: Collector, said: Any) -> None:
    with pytest.raises(DataError, match="neither an event nor a list"):
        collector.collect(said)


def test_an_event_arrives_with_its_columns_times_and_pseudonym(collector: Collector, settings: Settings) -> None:
    happened = datetime(2025, 11, 24, 15, tzinfo=timezone(timedelta(hours=8)))
    said = {**BUY, "user_id": "2375", "event_timestamp": happened, "ingested_at": 7, "quantity": 2.0, "brand": " "}
    assert collector.collect(said) == Collected(accepted=1, rejected=())
    [row] = rows(settings)
    known = {name: value for name, value in row.items() if value is not None}
    assert known == {
        "event_id": "a",
        "event_timestamp": happened.astimezone(UTC),
        "ingested_at": from_us(NOW),
        "user_id": load_pseudonymiser(settings.home).pseudonym("2375"),
        "item_id": "7",
        "amount": 3.49,
        "quantity": 2,
    }


def test_one_shopper_by_any_name_is_one_and_in_one_partition(collector: Collector, settings: Settings) -> None:
    pseudonym = load_pseudonymiser(settings.home).pseudonym("2375")
    for n, name in enumerate(["2375", 2375, np.int64(2375), pseudonym]):
        collector.collect({**BUY, "event_id": str(n), "user_id": name})
    found = waiting(settings).arrivals["purchase"]
    assert set(found.rows["user_id"].to_pylist()) == {pseudonym}
    assert found.partition.tolist() == [partition_of(pseudonym, 4)] * 4


def test_who_is_not_signed_in_stays_with_the_visit(collector: Collector, settings: Settings) -> None:
    visits = [{"event_type": "view", "session_id": "s1"} for _ in range(9)]
    alone = [{"event_type": "view", "event_id": str(n)} for n in range(50)]
    assert collector.collect([*visits, *alone]).accepted == 59
    found = waiting(settings).arrivals["view"]
    inside = np.array(found.rows["session_id"].is_valid().to_pylist())
    assert len(set(found.partition[inside])) == 1
    assert len(set(found.partition[~inside])) == 4


def test_without_an_id_and_a_time_it_gets_both(collector: Collector, settings: Settings) -> None:
    said = {"event_type": "view", "user_id": ADA}
    collector.collect([said, {**said, "event_id": ""}, {**said, "client_timestamp": NOW - 5}])
    found = rows(settings, "view")
    assert all(uuid.UUID(row["event_id"]).version == 4 for row in found)
    assert sorted(row["event_timestamp"] for row in found) == [from_us(NOW - 5), from_us(NOW), from_us(NOW)]
    assert said == {"event_type": "view", "user_id": ADA}  # what was passed stays as it was


def test_an_instance_of_a_declared_class_is_an_event(collector: Collector, settings: Settings) -> None:
    at = from_us(NOW - 10)
    event = Purchase(event_id="p", event_timestamp=at, ingested_at=at, user_id=ADA, amount=1.5)
    assert collector.collect([event]).accepted == 1
    [row] = rows(settings)
    assert (row["event_id"], row["event_timestamp"], row["amount"]) == ("p", at, 1.5)


def test_records_of_a_data_frame_are_events(collector: Collector, settings: Settings) -> None:
    frame = pd.DataFrame(
        {
            "event_type": ["purchase", "purchase"],
            "event_id": ["a", "b"],
            "user_id": [1, 2],
            "amount": [1.5, np.nan],
            "event_timestamp": pd.to_datetime(["2025-11-01", "2025-11-02"], utc=True),
        }
    )
    assert collector.collect(frame.to_dict("records")).rejected == ()
    assert [row["amount"] for row in rows(settings)] == [1.5, None]


REJECTED: dict[str, tuple[object, str]] = {
    "no object": (7, "not_an_object"),
    "no type": ({"user_id": ADA}, "missing_event_type"),
    "another type": ({**BUY, "event_type": "purchased"}, "unknown_event_type"),
    "a list as type": ({**BUY, "event_type": ["purchase"]}, "unknown_event_type"),
    "another column": ({**BUY, "amuont": 1}, "unknown_column"),
    "a column of the log's own": ({**BUY, "log_version": 1}, "unknown_column"),
    "a number as column": ({**BUY, 7: 1}, "unknown_column"),
    "text for a number": ({**BUY, "amount": "3.49"}, "wrong_type_amount"),
    "half a unit": ({**BUY, "quantity": 0.5}, "wrong_type_quantity"),
    "endless units": ({**BUY, "quantity": float("inf")}, "wrong_type_quantity"),
    "truth as number": ({**BUY, "quantity": True}, "wrong_type_quantity"),
    "too many units": ({**BUY, "quantity": 2**53 + 1}, "out_of_range_quantity"),
    "number for a text": ({**BUY, "item_id": 7}, "wrong_type_item_id"),
    "half a character": ({**BUY, "item_id": "\ud800"}, "wrong_type_item_id"),
    "no zone": ({**BUY, "event_timestamp": datetime(2026, 1, 1)}, "wrong_type_event_timestamp"),  # noqa: DTZ001
    "no zone in text": ({**BUY, "event_timestamp": "2026-01-01T00:00:00"}, "wrong_type_event_timestamp"),
    "no instant": ({**BUY, "event_timestamp": pd.NaT}, "wrong_type_event_timestamp"),
    "nanoseconds": ({**BUY, "event_timestamp": NOW * 1000}, "out_of_range_event_timestamp"),
    "nobody": ({**BUY, "user_id": None}, "missing_user_id"),
    "a blank user": ({**BUY, "user_id": " "}, "missing_user_id"),
    "a fraction as user": ({**BUY, "user_id": 2.5}, "wrong_type_user_id"),
    "truth as user": ({**BUY, "user_id": True}, "wrong_type_user_id"),
    "a required column that is blank": (
        {"event_type": "consent", "user_id": ADA, "purpose": " ", "granted": True},
        "missing_purpose",
    ),
}


@pytest.mark.parametrize(("bad", "reason"), REJECTED.values(), ids=REJECTED)
def test_a_bad_event_is_rejected_with_its_place_and_reason_and_the_others_are_not(
    collector: Collector, channel: Unsent, bad: Any, reason: str
) -> None:
    found = collector.collect([BUY, bad, {**BUY, "event_id": "b"}])
    assert [(each.index, each.reason) for each in found.rejected] == [(1, reason)]
    assert found.rejected[0].message.endswith((".", "?"))
    assert [json.loads(message.body)["event_id"] for message in channel.messages] == ["a", "b"]


def test_a_slip_of_the_pen_is_answered_with_what_was_meant(collector: Collector, channel: Unsent) -> None:
    [column, kind] = collector.collect([{**BUY, "amuont": 1}, {**BUY, "event_type": "purchased"}]).rejected
    assert column.message == "Event 'purchase' has no such column 'amuont': did you mean 'amount'?"
    assert kind.message == "There is no event type 'purchased': did you mean 'purchase'?"


def test_no_message_repeats_what_may_be_a_person(collector: Collector, channel: Unsent) -> None:
    raw = "ada@example.com"
    bad = [{**BUY, "event_type": raw}, {**BUY, raw: 1}, *({**BUY, name: [raw]} for name in BUY)]
    found = collector.collect(bad)
    assert len(found.rejected) == len(bad)
    assert raw not in str(found)


def test_the_bound_says_from_which_event_on_to_send_again(settings: Settings) -> None:
    collector = Collector(settings.model_copy(update={"stream_limit": 8}), FixedClock(NOW))
    events = [BUY, {"event_type": "nothing"}, {**BUY, "event_id": "b"}, {**BUY, "event_id": "c"}, {"event_type": "x"}]
    with pytest.raises(BufferFullError) as caught:
        collector.collect(events)
    assert caught.value.accepted == 3
    assert [each.index for each in caught.value.rejected] == [1]
    assert [row["event_id"] for row in rows(settings)] == ["a", "b"]
    collector.close()


def test_events_of_erased_people_are_dropped_before_they_are_sent(
    collector: Collector, settings: Settings, channel: Unsent
) -> None:
    events = [BUY, {**BUY, "user_id": "gone"}, {"event_type": "view", "event_id": "v"}]
    assert collector.collect(events).accepted == 3
    channel.messages.clear()
    Tombstones(settings.home).add(load_pseudonymiser(settings.home).pseudonym("gone"))
    assert collector.collect(events) == Collected(accepted=2, rejected=(), erased=1)
    assert [json.loads(message.body)["event_id"] for message in channel.messages] == ["a", "v"]


def test_nothing_to_send_asks_nobody(home: Path) -> None:
    collector = Collector(Settings(home=home, redis_url="redis://127.0.0.1:1/0"), FixedClock(NOW))
    assert collector.collect([]) == Collected(0, ())
    assert collector.collect([{}]).accepted == 0
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        collector.collect(BUY)


def test_a_collector_finds_a_server_that_was_started_again(home: Path) -> None:
    settings = Settings(home=home, redis_url="")
    collector = Collector(settings, SystemClock())
    services.up(settings, SystemClock())
    try:
        collector.collect(BUY)
        services.down(settings)
        with pytest.raises(StoreUnavailableError, match="portrait up"):
            collector.collect(BUY)
        services.up(settings, SystemClock())
        assert collector.collect({**BUY, "event_id": "b"}).accepted == 1
        assert [row["event_id"] for row in rows(settings)] == ["a", "b"]
    finally:
        collector.close()
        services.down(settings)


loose = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.datetimes()),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
columns = sorted({name for kind in EVENTS for name in arrow_schema(kind).names})
said_events = st.dictionaries(st.sampled_from(columns), loose, max_size=5).flatmap(
    lambda row: st.sampled_from([*EVENTS, "x", None]).map(lambda kind: {**row, "event_type": kind})
)


@given(st.lists(said_events, max_size=4))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_accepted_is_never_refused_later(collector: Collector, channel: Unsent, events: list[dict]) -> None:
    channel.messages.clear()
    found = collector.collect(events)
    assert found.accepted + len(found.rejected) == len(events)
    sent = channel.messages
    assert len(sent) == found.accepted
    entries = [entry_of(message, n) for n, message in enumerate(sent)]
    decoded = decode(entries, "test")
    assert decoded.refused.num_rows == 0
    users = [u for a in decoded.arrivals.values() for u in a.rows["user_id"].to_pylist() if u is not None]
    assert all(map(is_pseudonym, users))


def entry_of(message: Message, n: int) -> Any:
    one = np.array([n + 1], np.int64)
    return Entries(message.partition, f"x-{message.partition}", one, one, [message.event_type], [message.body])
