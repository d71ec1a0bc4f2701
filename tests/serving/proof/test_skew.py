"""What is served beside flowing and late events is what the log says of that instant, or is told why it is not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from feature_repo import cli
from feature_repo.core.clock import DAY, HOUR, SystemClock
from feature_repo.core.errors import LogError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.events.upkeep import compact
from feature_repo.jobs.erase import erase
from feature_repo.jobs.served import ServedFacts, ServedRows, erase_served, read_served, served_root, write_served
from feature_repo.jobs.skew import skew
from feature_repo.jobs.skew_causes import SkewCause
from feature_repo.privacy.tombstones import Tombstones
from own_shops import Sender, consume_all, import_rows, opened
from served_shop import rewritten
from serving.sdk import ProfileClient
from shop_stream import USERS, Traffic, pseudonym

pytestmark = pytest.mark.slow(50)

SHOPPERS = [pseudonym(n) for n in range(USERS)]
ROUNDS = 3
PAUSE_S = 0.1


@contextmanager
def served_meanwhile(settings: Settings) -> Iterator[None]:
    """Ask about everybody again and again until the end of the block."""
    ending, failed = threading.Event(), []

    def ask() -> None:
        try:
            with ProfileClient(settings=settings) as client:
                while not ending.wait(PAUSE_S):
                    client.features(SHOPPERS)
        except BaseException as error:  # noqa: BLE001 - raised at the end of the block
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
    assert not failed, failed


@pytest.fixture
def sampled(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("PORTRAIT_SERVED_SAMPLE", "1")
    with opened(load_settings()) as settings:
        yield settings


def fill(settings: Settings, *, late: int) -> None:
    """Import a purchase of each shopper, which happened so long ago (us) and arrives now."""
    now = SystemClock().now_us()
    rows = [
        {
            "event_id": f"own-{now}-{n}",
            "event_timestamp": now - late,
            "ingested_at": now,
            "user_id": user,
            "item_id": "i1",
            "category": "c1",
            "quantity": 1,
            "amount": 2.25,
        }
        for n, user in enumerate(SHOPPERS)
    ]
    import_rows(settings.log_root, "purchase", rows)


def test_what_is_served_beside_flowing_and_late_events_is_explained_to_the_last_value(sampled: Settings) -> None:
    traffic = Traffic(3, sampled.partitions)
    fill(sampled, late=HOUR)
    consume_all(sampled)
    sender = Sender(sampled, traffic)
    with served_meanwhile(sampled):
        for _ in range(ROUNDS):
            sender._send(traffic.batch(300, SystemClock().now_us()))
            consume_all(sampled)
            fill(sampled, late=HOUR)
            consume_all(sampled)
    report = skew(sampled)
    assert report.rows >= ROUNDS * USERS
    assert report.lost == 0
    assert report.by_cause["late event"] > 0
    assert report.unexplained == 0, {name: each for name, each in report.features.items() if each.mismatches}


def test_a_value_that_the_state_did_not_hold_is_unexplained(sampled: Settings) -> None:
    fill(sampled, late=HOUR)
    consume_all(sampled)
    with ProfileClient(settings=sampled) as client:
        name = "user_purchases__count_28d"
        assert name in client.features(SHOPPERS).to_arrow().column_names
    assert skew(sampled).mismatches == 0
    [rows] = read_served(sampled)
    rewritten(sampled, name, pc.add(rows.table[name], 1))
    report = skew(sampled)
    assert report.by_cause == {"unexplained": USERS}
    assert report.features[name].by_cause == {"unexplained": USERS}
    assert report.features[name].rate == 1.0


def test_an_erased_person_leaves_what_was_served_and_is_not_written_again(sampled: Settings) -> None:
    fill(sampled, late=HOUR)
    consume_all(sampled)
    gone = SHOPPERS[7]
    with ProfileClient(settings=sampled) as client:
        client.features(SHOPPERS)
        client._transport._served.flush()
        client.features(SHOPPERS)
        report = erase(sampled, SystemClock(), gone)
        assert report.elsewhere["served_features"] == 1
        assert report.found == 0, report.places
    kept = [each.table["user_id"].to_pylist() for each in read_served(sampled)]
    assert sum(map(len, kept)) == 2 * USERS - 2
    assert not any(gone in each for each in kept)


def test_rows_that_come_faster_than_they_are_written_are_counted(sampled: Settings) -> None:
    with ProfileClient(settings=sampled) as client:
        client._transport._served._most_rows = USERS
        for _ in range(3):
            client.features(SHOPPERS)
    assert sum(each.facts.lost for each in read_served(sampled)) in {USERS, 2 * USERS}


def test_nothing_is_kept_unless_it_is_asked_for(home: Path) -> None:
    with opened(load_settings()) as settings, ProfileClient(settings=settings) as client:
        client.features(SHOPPERS)
    assert not served_root(settings).exists()
    assert skew(settings).rows == 0


def test_a_file_half_written_by_a_process_that_was_killed_goes_with_an_erasure(home: Path) -> None:
    settings = load_settings()
    facts = ServedFacts("s_v1", "", ("user_id",), (), {}, ())
    at = pa.array([0], pa.timestamp("us", "UTC"))
    rows = pa.table({"__at": at, "user_id": pa.array([SHOPPERS[0]])})
    Tombstones(home).add(SHOPPERS[1])
    assert write_served(settings, ServedRows(facts, rows)) == 1
    assert write_served(settings, ServedRows(facts, rows.set_column(1, "user_id", pa.array([SHOPPERS[1]])))) == 0
    partial = served_root(settings) / ".x.parquet.0.partial"
    partial.write_text(SHOPPERS[0], "utf-8")
    assert erase_served(settings, SHOPPERS[0].removeprefix("u_"), dry_run=True) == 1
    assert partial.exists()
    assert erase_served(settings, SHOPPERS[0].removeprefix("u_"), dry_run=False) == 1
    assert not partial.exists()


def test_a_damaged_file_is_named_to_who_erases_and_who_compares(home: Path) -> None:
    settings = load_settings()
    served_root(settings).mkdir(parents=True)
    (served_root(settings) / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(LogError, match=r"cut\.parquet cannot be read"):
        erase_served(settings, "0" * 32, dry_run=False)
    with pytest.raises(LogError, match=r"cut\.parquet cannot be read"):
        list(read_served(settings))


def test_events_that_had_arrived_and_were_not_applied_are_behind_the_log(sampled: Settings) -> None:
    fill(sampled, late=HOUR)
    with ProfileClient(settings=sampled) as client:
        client.features(SHOPPERS)
    assert set(skew(sampled).by_cause) == {SkewCause.BEHIND.words}


def test_events_of_an_erased_person_were_counted_in_items_and_are_removed_since(sampled: Settings) -> None:
    fill(sampled, late=HOUR)
    consume_all(sampled)
    with ProfileClient(settings=sampled) as client:
        served = client.features(pd.DataFrame({"item_id": ["i1"]}), service="item_v1").to_df()
    assert served["item_purchases__count_28d"].tolist() == [USERS]
    assert skew(sampled).mismatches == 0
    erase(sampled, SystemClock(), SHOPPERS[7])
    report = skew(sampled)
    assert set(report.by_cause) == {SkewCause.REMOVED.words}
    assert "item_purchases__count_28d" in {name for name, each in report.features.items() if each.mismatches}


def test_events_past_their_retention_are_removed_since_where_a_window_reached_them(
    sampled: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(sampled, late=25 * DAY)
    fill(sampled, late=HOUR)
    consume_all(sampled)
    with ProfileClient(settings=sampled) as client:
        client.features(SHOPPERS)
    kept = sampled.model_copy(update={"retention": "purchase=20d"})
    compact(kept, SystemClock())
    report = skew(kept)
    assert set(report.by_cause) == {SkewCause.REMOVED.words}
    assert report.features["user_purchases__count_28d"].by_cause == {"removed since": USERS}
    forever = skew(sampled)
    assert forever.unexplained == report.mismatches > 0
    assert cli.main(["monitor", "skew"]) == 1
    told = capsys.readouterr()
    assert f"unexplained: {SkewCause.UNEXPLAINED.remedy}" in told.out
    assert "nothing explains them" in told.err
