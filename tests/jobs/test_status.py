"""What `portrait jobs status` says is what Redis, the broker and the log hold, whether or not a consumer runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import redis as redis_py
from prometheus_client.parser import text_string_to_metric_families

from feature_repo.cli import main
from feature_repo.core.clock import SECOND, FixedClock, SystemClock
from feature_repo.core.errors import SettingsError
from feature_repo.core.settings import Settings
from feature_repo.engine.feature_store import open_store, stored_views
from feature_repo.engine.positions import Positions
from feature_repo.events.simulation import simulate
from feature_repo.events.simulation_plan import Plan
from feature_repo.events.stream.channel import Message
from feature_repo.events.stream.open import open_channel, open_reader
from feature_repo.jobs.consume import CONSUMERS, Consumer
from feature_repo.jobs.consuming.declared import declarations
from feature_repo.jobs.consuming.meter import Reading
from feature_repo.jobs.consuming.metrics import served, status_text
from feature_repo.jobs.features import apply
from feature_repo.jobs.materialize import materialize
from feature_repo.jobs.status import CONSUMERS as READ_FROM
from feature_repo.jobs.status import StreamStatus, ViewStatus, stream_status
from tansu_process import Broker

pytestmark = pytest.mark.slow(14)

NOW = 1_795_262_400_000_000
READING = Reading(
    events=7,
    events_per_s=3.5,
    lag=2,
    freshness_ms={"p50": 40.0, "p99": 90.0},
    late=1,
    duplicates=2,
    replayed=3,
    quarantined={"not_json": 4},
    erased=5,
    expired=6,
)


def send(settings: Settings, *bodies: str, event_type: str = "view") -> None:
    with closing(open_channel(settings)) as channel:
        channel.send([Message(event_type, n % channel.partitions, body.encode()) for n, body in enumerate(bodies)])


def view(number: int) -> str:
    at = SystemClock().now_us()
    user = f"u_{number:032x}"
    return json.dumps({"event_id": f"v{number}", "event_timestamp": at, "ingested_at": at, "user_id": user})


def say(redis: redis_py.Redis, name: str, reading: Reading, at: int) -> None:
    word = {"at_us": at, "seen_tombstones": 0, "partitions": [1, 2], "reading": asdict(reading)}
    redis.hset(CONSUMERS, name, json.dumps(word))


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Values of metrics by name and labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_without_a_consumer_it_says_so_and_what_waits_and_changes_nothing(
    settings: Settings, redis: redis_py.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = stream_status(settings, SystemClock())
    assert (empty.lag, empty.running, empty.stream.partitions, empty.views) == (0, 0, (), ())
    assert redis.keys() == []
    send(settings, "a", "b", "c", "d", "e")
    found = stream_status(settings, SystemClock())
    assert found.lag == 5
    assert [part.waiting for part in found.stream.partitions] == [2, 1, 1, 1]
    assert all(0 <= SystemClock().now_us() - part.oldest_us < 60 * SECOND for part in found.stream.partitions)
    assert main(["jobs", "status"]) == 0
    assert "none is running" in capsys.readouterr().out


def test_a_consumers_word_is_what_it_counted(settings: Settings) -> None:
    send(settings, *map(view, range(6)), view(0), "nonsense")
    seen: list[StreamStatus] = []
    Consumer(
        settings,
        SystemClock(),
        until_empty=True,
        progress=lambda _: seen.append(stream_status(settings, SystemClock())),
    ).run()
    [consumer] = seen[0].consumers
    assert READ_FROM == CONSUMERS
    assert (consumer.alive, consumer.partitions) == (True, (0, 1, 2, 3))
    assert (seen[0].events, seen[0].duplicates, sum(seen[0].quarantined.values())) == (6, 1, 1)
    assert seen[0].freshness_ms["p50"] <= seen[0].freshness_ms["p99"]
    assert (seen[0].lag, seen[0].running) == (0, 1)
    after = stream_status(settings, SystemClock())
    assert after.consumers == ()  # it ended, and took its word along
    assert {table.name: table.version for table in after.tables} == {"quarantine": 1, "view": 1}


def test_sums_are_over_consumers_and_freshness_is_of_the_least_fresh(settings: Settings, redis: redis_py.Redis) -> None:
    say(redis, "one", READING, NOW - SECOND)
    say(redis, "two", Reading(**{**asdict(READING), "freshness_ms": {"p50": 50.0, "p99": 60.0}}), NOW)
    found = stream_status(settings, FixedClock(NOW))
    assert (found.events_per_s, found.events, found.late, found.duplicates) == (7.0, 14, 2, 4)
    assert (found.freshness_ms, found.quarantined) == ({"p50": 50.0, "p99": 90.0}, {"not_json": 8})


def test_a_consumer_silent_for_ten_seconds_is_dead_and_forgotten_after_a_minute(
    settings: Settings, redis: redis_py.Redis
) -> None:
    say(redis, "gone", READING, NOW)
    for silent, alive in ((10 * SECOND, True), (10 * SECOND + 1, False), (60 * SECOND, False)):
        found = stream_status(settings, FixedClock(NOW + silent))
        assert [each.alive for each in found.consumers] == [alive]
        assert (found.running, found.events) == (int(alive), 7)
    assert found.events_per_s == 0
    assert stream_status(settings, FixedClock(NOW + 60 * SECOND + 1)).consumers == ()
    assert redis.hlen(CONSUMERS) == 0


@pytest.fixture
def declared(settings: Settings) -> Settings:
    """A home with declarations and a small shop, and nothing built yet."""
    simulate(settings, Plan(seed=3, users=40, events=1_500, end_us=SystemClock().now_us()))
    apply()
    return settings


def by_name(settings: Settings) -> dict[str, ViewStatus]:
    return {each.name: each for each in stream_status(settings, SystemClock()).views}


def test_views_behind_the_log_are_told_from_those_that_hold_it(declared: Settings, redis: redis_py.Redis) -> None:
    before = by_name(declared)
    assert {each.why for each in before.values()} == {"not built"}
    materialize(declared, SystemClock())
    built = by_name(declared)
    assert set(built) == set(before)
    assert {(each.behind, each.why) for each in built.values()} == {(0, "")}
    positions = Positions(redis, open_store().project)
    assert {name: each.held for name, each in built.items()} == {
        each.name: positions.held(each).version for each in stored_views(open_store()) if each.name in built
    }
    simulate(declared, Plan(seed=4, users=40, events=1_500, end_us=SystemClock().now_us()))
    head = stream_status(declared, SystemClock())
    moved = next(each.version for each in head.tables if each.name == "view") - built["user_views"].head
    assert moved > 0
    assert by_name(declared)["user_views"].behind == moved
    assert samples(status_text(head))["portrait_view_behind", "user_views"] == moved


def test_what_reads_and_writes_tables_is_not_imported_to_say_how_they_are(declared: Settings) -> None:
    heavy = {"feast", "pandas", "numpy", "pyarrow", "duckdb", "mlflow", "xgboost"}
    told = f"import sys; from feature_repo.cli import main; main(['jobs', 'status']); print({heavy} & {{*sys.modules}})"
    assert stream_status(declared, SystemClock()).tables
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_feast_is_imported_only_when_the_registry_has_changed(declared: Settings) -> None:
    known = declarations(declared)
    assert len(known.views) > 10
    told = "import sys; from feature_repo.cli import main; main(['jobs', 'status']); print('feast' in sys.modules)"
    assert run_python(told).splitlines()[-1] == "False"
    (declared.home / "run" / "views.json").write_text("{")
    assert run_python(told).splitlines()[-1] == "True"
    assert declarations(declared) == known


def test_a_home_that_cannot_be_written_is_read_all_the_same(declared: Settings) -> None:
    known = declarations(declared)
    shutil.rmtree(declared.home / "run")
    (declared.home / "run").write_text("")
    assert declarations(declared) == known


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_metrics_of_status_name_each_consumer(
    settings: Settings, redis: redis_py.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    send(settings, "a", "b", "c", "d", "e")
    say(redis, "one", READING, NOW)
    found = samples(status_text(stream_status(settings, FixedClock(NOW))))
    assert found["portrait_stream_lag",] == 5
    assert found["portrait_stream_waiting", "0"] == 2
    assert found["portrait_events_total", "one"] == 7
    assert found["portrait_late_total", "one"] == 1
    assert found["portrait_duplicates_total", "one"] == 2
    assert found["portrait_quarantined_total", "one", "not_json"] == 4
    assert found["portrait_freshness_ms", "one", "0.99"] == 90
    assert main(["jobs", "status", "--prometheus"]) == 0
    assert samples(capsys.readouterr().out)["portrait_stream_lag",] == 5


def test_a_consumer_serves_what_it_said_last(home: Path) -> None:
    said: list[Reading | None] = [None]
    with served(0, lambda: said[0]) as port:
        assert samples(fetched(port)) == {}
        said[0] = READING
        found = samples(fetched(port))
        assert (found["portrait_stream_lag",], found["portrait_events_total",]) == (2, 7)
        assert (found["portrait_freshness_ms", "0.5"], found["portrait_quarantined_total", "not_json"]) == (40, 4)
        with pytest.raises(SettingsError, match="--metrics-port"), served(port, lambda: None):
            pass


def fetched(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text: str = answer.read().decode()
    return text


@pytest.fixture
def kafka(kafka_broker: Broker, settings: Settings) -> Settings:
    return settings.model_copy(
        update={"kafka_bootstrap": kafka_broker.address, "kafka_topic": "portrait.status", "partitions": 3}
    )


def test_the_lag_of_kafka_is_known_without_joining_its_readers(kafka: Settings) -> None:
    with closing(open_channel(kafka)) as channel:
        for n in range(7):  # this broker tells where the last batch begins: each is a batch of its own
            channel.send([Message("view", n % 3, b"x")])
    assert [part.waiting for part in stream_status(kafka, SystemClock()).stream.partitions] == [3, 2, 2]
    with closing(open_reader(kafka, SystemClock(), name="one")) as reader:
        got: list[Any] = []
        while sum(len(each.bodies) for each in got) < 7:
            got += reader.read(100, wait_s=0.2)
        assert stream_status(kafka, SystemClock()).lag == 7
        reader.acknowledge({0: 2, 1: 2})
        found = stream_status(kafka, SystemClock())
    assert [part.waiting for part in found.stream.partitions] == [1, 0, 2]
    assert [part.acknowledged for part in found.stream.partitions] == ["2", "2", None]
    assert found.stream.bound is None
