"""No answer waits for an exposure or fails for it; what is lost is counted."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event
from typing import Any

import pytest

from feature_repo.core.clock import DAY, FixedClock
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from feature_repo.events.stream.collector import Collected, Collector
from feature_repo.events.stream.redis_keys import FACTS
from feature_repo.privacy.tombstones import Tombstones
from serving.experiments.exposures import Exposure, Exposures
from shop_stream import pseudonym

NOW = 400 * DAY


def meets(number: int, variant: str = "control") -> Exposure:
    return Exposure(pseudonym(number), "home_page", variant)


def sending(settings: Settings, clock: FixedClock | None = None, **changes: Any) -> Exposures:
    clock = clock or FixedClock(NOW)
    return Exposures(Collector(settings.model_copy(update=changes), clock).collect, clock)


def waiting(redis: Any, settings: Settings) -> int:
    return sum(redis.xlen(f"{FACTS}:{partition}") for partition in range(settings.partitions))


def settled(found: Exposures) -> tuple[int, dict[str, int], int, int]:
    assert found.flush(30)
    return tuple(vars(found.counts()).values())  # type: ignore[return-value]


def test_an_exposure_is_sent_once_a_day_and_variant(settings: Settings, redis: Any) -> None:
    clock = FixedClock(NOW)
    with closing(sending(settings, clock)) as found:
        found.note([meets(1), meets(2)])
        found.note([meets(1), meets(1, "other")])
        assert settled(found) == (3, {}, 0, 0)
        clock.at_us += DAY
        found.note([meets(1)])
        assert settled(found) == (4, {}, 0, 0)
    assert waiting(redis, settings) == 4


def test_two_processes_give_one_meeting_one_id(settings: Settings) -> None:
    taken: list[dict[str, Any]] = []

    def send(events: list[dict[str, Any]]) -> Collected:
        taken.extend(events)
        return Collected(len(events), ())

    for _ in range(2):
        with closing(Exposures(send, FixedClock(NOW))) as found:
            found.note([meets(1)])
    assert len({event["event_id"] for event in taken}) == 1
    assert [event["event_timestamp"] for event in taken] == [NOW, NOW]


def test_nobody_waits_while_the_stream_does_not_answer() -> None:
    begun, answers = Event(), Event()

    def send(events: list[dict[str, Any]]) -> Collected:
        begun.set()
        assert answers.wait(30)
        return Collected(len(events), ())

    found = Exposures(send, FixedClock(NOW), most=5)
    found.note([meets(0)])
    assert begun.wait(30)
    found.note(meets(number) for number in range(1, 9))
    counts = found.counts()
    assert (counts.sent, counts.lost, counts.waiting) == (0, {"queue_full": 3}, 6)
    assert not found.flush(0)
    answers.set()
    assert settled(found) == (6, {"queue_full": 3}, 0, 0)
    found.note([meets(8)])
    assert settled(found)[0] == 7
    found.close()


def test_what_a_full_stream_does_not_take_is_lost_and_counted(settings: Settings, redis: Any) -> None:
    with closing(sending(settings, stream_limit=4)) as found:
        found.note(meets(number) for number in range(100))
        sent, lost, _, left = settled(found)
    assert (sent + sum(lost.values()), left, list(lost)) == (100, 0, ["stream_full"])
    assert sent == waiting(redis, settings) <= 4


def test_exposures_are_lost_while_the_stream_is_away_and_noted_again_afterwards(settings: Settings) -> None:
    clock, seen = FixedClock(NOW), Counter[str]()
    away = Collector(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}), clock)
    there = Collector(settings, clock)
    collectors = [away, there]

    def send(events: list[dict[str, Any]]) -> Collected:
        return collectors[0].collect(events)

    found = Exposures(send, clock, counted=lambda what, n: seen.update({what: n}))
    with closing(found):
        found.note([meets(1)])
        assert settled(found) == (0, {"stream_away": 1}, 0, 0)
        collectors.reverse()
        found.note([meets(1)])
        assert settled(found) == (1, {"stream_away": 1}, 0, 0)
    assert seen == {"stream_away": 1, "sent": 1}


@pytest.mark.parametrize("error", [DataError("no"), RuntimeError("a bug")])
def test_a_failure_of_any_kind_keeps_no_later_exposure_back(
    settings: Settings, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    fails = [True]
    collector = Collector(settings, FixedClock(NOW))

    def send(events: list[dict[str, Any]]) -> Collected:
        if fails[0]:
            raise error
        return collector.collect(events)

    with closing(Exposures(send, FixedClock(NOW))) as found:
        found.note([meets(1)])
        assert settled(found) == (0, {"refused": 1}, 0, 0)
        fails[0] = False
        found.note([meets(2)])
        assert settled(found) == (1, {"refused": 1}, 0, 0)
    assert "could not be sent" in caplog.text
    assert pseudonym(1) not in caplog.text


def test_of_an_erased_person_nothing_is_sent(settings: Settings, redis: Any) -> None:
    Tombstones(settings.home).add(pseudonym(1))
    with closing(sending(settings)) as found:
        found.note([meets(1), meets(2)])
        assert settled(found) == (1, {}, 1, 0)
    assert waiting(redis, settings) == 1


def test_what_waits_is_sent_before_the_end_and_threads_lose_none(settings: Settings, redis: Any) -> None:
    found = sending(settings)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: found.note([meets(n % 500), meets(n)]), range(1_000)))
    found.close()
    assert (found.counts().sent, waiting(redis, settings)) == (1_000, 1_000)
    found.note([meets(2_000)])
    found.close()
    assert waiting(redis, settings) == 1_001
