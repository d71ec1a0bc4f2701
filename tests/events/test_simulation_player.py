"""The simulated shop is played into a stream at a rate, by a clock that the test moves."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pytest

from feature_repo import cli
from feature_repo.core.clock import DAY, HOUR, SECOND, FixedClock
from feature_repo.core.errors import BufferFullError, DataError
from feature_repo.core.settings import Settings, ensure_home
from feature_repo.events.simulation_plan import Plan
from feature_repo.events.simulation_player import Coming, coming, play, play_live, stop_signals
from feature_repo.events.stream.channel import Message, partition_of

NOW = 20_000 * DAY
USER = "u_0000000a" + 24 * "0"
PLAN = Plan(seed=5, users=60, events=3_000, end_us=NOW, days=30, late=0.2, duplicates=0.2, malformed=0.2)


class Kept:
    """A channel that keeps what it takes, and is full once it holds ``room``."""

    partitions = 4

    def __init__(self, room: int = 10**9) -> None:
        self.room, self.messages, self.closed = room, list[Message](), False

    def send(self, messages: Sequence[Message]) -> None:
        free = self.room - len(self.messages)
        self.messages += messages[:free]
        if len(messages) > free:
            raise BufferFullError("full", accepted=free, retry_after_s=2.0)

    def close(self) -> None:
        self.closed = True

    @property
    def events(self) -> list[dict[str, object]]:
        return [json.loads(message.body) for message in self.messages]


class Waits:
    """Moves a clock on by what is waited for, and stops after so many times."""

    def __init__(self, clock: FixedClock, most: int = 10**9) -> None:
        self.clock, self.left, self.waited = clock, most, list[float]()

    def __call__(self, seconds: float) -> bool:
        self.waited.append(seconds)
        self.clock.at_us += round(seconds * SECOND)
        self.left -= 1
        return self.left < 0


def visits(late_us: int = 100) -> Iterator[Coming]:
    for n in range(10**9):
        yield Coming("view", {"event_id": f"e{n}", "user_id": USER, "event_timestamp": late_us}, again=False)


@pytest.mark.parametrize(("rate", "seconds", "sent"), [(200.0, 3.0, 600), (0.5, 10.0, 5), (250_000.0, 0.2, 50_000)])
def test_the_rate_holds_whatever_it_is(rate: float, seconds: float, sent: int) -> None:
    clock, channel = FixedClock(NOW), Kept()
    report = play(visits(), channel, clock, rate=rate, wait=Waits(clock), seconds=seconds)
    assert (report.sent, len(channel.messages)) == (sent, sent)
    assert report.seconds == pytest.approx(seconds)
    assert report.events_per_s == pytest.approx(rate)
    assert [event["event_id"] for event in channel.events] == [f"e{n}" for n in range(sent)]


def test_an_event_arrives_as_it_is_sent_and_happened_as_long_before_as_in_the_shop() -> None:
    clock, channel = FixedClock(NOW), Kept()
    play(visits(late_us=2 * HOUR), channel, clock, rate=10.0, wait=Waits(clock), seconds=1.0)
    arrived = [event["ingested_at"] for event in channel.events]
    assert arrived == sorted(arrived)
    assert arrived[0] == NOW + SECOND // 10
    assert arrived[-1] == NOW + SECOND
    assert all(event["ingested_at"] - event["event_timestamp"] == 2 * HOUR for event in channel.events)
    assert {message.partition for message in channel.messages} == {partition_of(USER, 4)}


def test_a_full_stream_is_waited_for_and_nothing_is_lost_or_caught_up_with() -> None:
    clock, channel = FixedClock(NOW), Kept(room=13)
    waits = Waits(clock)

    def wait(seconds: float) -> bool:
        if seconds == 2.0 and waits.waited.count(2.0) == 2:  # those who read have caught up
            channel.room = 10**9
        return waits(seconds)

    report = play(visits(), channel, clock, rate=100.0, wait=wait, seconds=1.0)
    assert waits.waited.count(2.0) == 3
    assert [event["event_id"] for event in channel.events] == [f"e{n}" for n in range(100)]
    assert (report.sent, report.seconds) == (100, pytest.approx(7.0))
    sizes = [event["ingested_at"] for event in channel.events]
    assert max(sizes.count(instant) for instant in sizes) <= 6


def test_a_player_that_is_stopped_while_the_stream_is_full_reports_what_was_taken() -> None:
    clock, channel = FixedClock(NOW), Kept(room=3)
    report = play(visits(), channel, clock, rate=100.0, wait=Waits(clock, most=4), seconds=60.0)
    assert report.sent == len(channel.messages) == 3


def test_a_slow_broker_is_caught_up_with() -> None:
    clock, channel = FixedClock(NOW), Kept()
    slow = channel.send

    def send(messages: Sequence[Message]) -> None:
        clock.at_us += SECOND if not channel.messages else 0
        slow(messages)

    channel.send = send
    report = play(visits(), channel, clock, rate=100.0, wait=Waits(clock), seconds=2.0)
    assert (report.sent, report.seconds) == (200, pytest.approx(2.0))


def test_one_that_cannot_keep_up_is_stopped_all_the_same() -> None:
    clock, channel = FixedClock(NOW), Kept()
    report = play(visits(), channel, clock, rate=1e9, wait=Waits(clock, most=3))
    assert report.sent == len(channel.messages) == 15_000


def test_progress_says_how_many_and_how_fast() -> None:
    clock, said = FixedClock(NOW), list[tuple[str, float]]()
    play(visits(), Kept(), clock, rate=100.0, wait=Waits(clock), seconds=2.0, progress=lambda *step: said.append(step))
    assert said[-1] == ("200 sent, 100 a second", 1.0)
    assert [share for _, share in said] == sorted(share for _, share in said)


@pytest.fixture
def settings(home: Path) -> Settings:
    settings = Settings(home=home)
    ensure_home(settings)
    return settings


def test_the_shops_flaws_are_played_and_counted(settings: Settings) -> None:
    clock, channel = FixedClock(NOW), Kept()
    events = islice(coming(settings, PLAN, run="a"), 4_000)
    report = play(events, channel, clock, rate=4_000.0, wait=Waits(clock), seconds=1.0)
    assert report.sent == 4_000
    found = channel.events
    same = sum(one.body == two.body for one, two in zip(channel.messages, channel.messages[1:], strict=False))
    assert report.duplicates == same > 100
    broken = [
        event
        for event in found
        if not event["event_id"] or not event["event_timestamp"] or event["user_id"] == "a raw id"
    ]
    assert report.malformed == len(broken) > 100
    ids = [event["event_id"] for event in found if event["event_id"] and event not in broken]
    assert len(ids) - len(set(ids)) == report.duplicates
    late = {
        event["event_id"]
        for event in found
        if event not in broken and event["ingested_at"] - event["event_timestamp"] >= HOUR
    }
    assert report.late == len(late) > 100
    assert all(
        message.partition == partition_of(str(event["user_id"]), 4)
        for message, event in zip(channel.messages, found, strict=True)
    )


def test_ids_are_new_in_every_run_and_every_pass(settings: Settings) -> None:
    week = Plan(seed=5, users=20, events=200, end_us=NOW, days=30, late=0, duplicates=0, malformed=0)
    first = [event.event["event_id"] for event in islice(coming(settings, week, run="a"), 800)]
    second = [event.event["event_id"] for event in islice(coming(settings, week, run="b"), 800)]
    assert {each.rsplit("-", 1)[1] for each in first} >= {"0", "1", "2"}
    assert len({*first, *second}) == 1_600


def test_a_shop_without_events_is_not_waited_for(settings: Settings) -> None:
    empty = Plan(seed=5, users=0, events=0, end_us=NOW, days=2)
    with pytest.raises(DataError, match="no events"):
        next(coming(settings, empty, run="a"))


@pytest.mark.parametrize(("rate", "seconds"), [(0.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0), (1.0, 0.0)])
def test_a_rate_or_time_of_nothing_is_refused(settings: Settings, rate: float, seconds: float) -> None:
    with pytest.raises(DataError, match="choose it above 0"):
        play_live(settings, PLAN, Kept(), FixedClock(NOW), rate=rate, seconds=seconds)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_player_and_no_longer_the_process(number: int) -> None:
    before = signal.getsignal(number)
    with stop_signals() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        assert stop.wait(60)
    assert signal.getsignal(number) == before


def test_the_command_plays_into_the_stream(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    channel = Kept()
    monkeypatch.setattr("feature_repo.events.stream.open.open_channel", lambda _settings: channel)
    words = ["events", "simulate", "--users", "20", "--events", "900", "--live", "500", "--seconds", "0.2"]
    assert cli.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == {"sent", "seconds", "events_per_s", "late", "duplicates", "malformed"}
    assert found["sent"] == len(channel.messages) == 100
    assert channel.closed
    assert cli.main(words) == 0
    told = capsys.readouterr().out
    assert "100 events sent in " in told
    assert "malformed (who reads them fills in a missing id or time, and refuses a raw id)" in told
    ids = [event["event_id"] for event in channel.events]
    assert len(ids) - len(set(ids)) <= 10  # duplicates; the second run's are new
    assert cli.main([*words[:-2], "--live", "0"]) == 2
    assert cli.main([*words[:-4], "--seconds", "3"]) == 2
    assert "--seconds is for --live" in capsys.readouterr().err
