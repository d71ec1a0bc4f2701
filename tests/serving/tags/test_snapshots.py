"""Snapshots: whole or not there, of nobody who is erased, as many as are kept."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.core.clock import DAY, FixedClock, from_us, to_us
from feature_repo.core.errors import DataError, DeclarationError, LogError
from feature_repo.core.settings import Settings
from feature_repo.events.door import admit
from feature_repo.jobs.erase import erase
from feature_repo.jobs.features import apply
from feature_repo.jobs.habits import write_habits
from feature_repo.privacy.tombstones import Tombstones
from serving.tags import snapshots as module
from serving.tags.compute import compute
from serving.tags.declared import live_tags
from serving.tags.refresh import refresh_snapshot
from serving.tags.snapshots import Manifest, erase_snapshots, snapshots, write_snapshot

NOW = datetime(2026, 6, 1, 13, tzinfo=UTC)
CLOCK = FixedClock(to_us(NOW))
USERS = [f"u_{n:032x}" for n in range(4)]


def pay(settings: Settings, user: str, at: datetime, event: str) -> None:
    row = {"event_id": event, "event_timestamp": at, "ingested_at": at, "user_id": user, "amount": 3.5, "lines": 2}
    admit(settings.log_root, "payment", pa.table({name: [value] for name, value in row.items()}), source="test")


@pytest.fixture
def shop_log(settings: Settings) -> Settings:
    apply()
    for n, user in enumerate(USERS):
        pay(settings, user, NOW - timedelta(days=7 * n + 1), f"e{n}")
    write_habits(settings, CLOCK)
    return settings


def manifest(at: datetime, **said: object) -> Manifest:
    facts = {"as_of": at, "computed_at": NOW, "people": 4, "log_versions": {"payment": 4}, "models": {}, "tags": {}}
    return Manifest(**{**facts, **said})  # type: ignore[arg-type]


def people() -> pa.Table:
    return pa.table({"user_id": USERS, "tag__often": [True, None, False, True]})


def test_a_snapshot_holds_everybody_by_the_names_audiences_read(shop_log: Settings) -> None:
    report = compute(shop_log, CLOCK)
    assert report.people == 4
    table = pq.read_table(Path(report.path) / "people.parquet")
    assert table["user_id"].to_pylist() == sorted(USERS)
    assert [name for name in table.column_names if name.startswith("tag__")] == [f"tag__{t.name}" for t in live_tags()]
    assert {str(table.schema.field(f"tag__{tag.name}").type) for tag in live_tags()} == {"string", "bool"}
    rest = [name for name in table.column_names[1:] if not name.startswith(("tag__", "score__"))]
    texts = {"user_segments__segment", "user_segments__stage"}
    assert texts < set(rest)
    assert all(str(table.schema.field(name).type) in {"int64", "double"} for name in set(rest) - texts)
    assert {"user_payments__count_84d", "user_trends__spend_trend_28d_84d"} < set(rest)
    assert table["user_payments__count_28d"].to_pylist() == [1, 1, 1, 1]
    assert table["tag__value_band"].null_count == 0
    said = json.loads((Path(report.path) / "manifest.json").read_text("utf-8"))
    assert said["as_of"] == said["computed_at"] == "2026-06-01T13:00:00Z"
    assert said["log_versions"]["payment"] == 4
    assert said["tags"]["churn_risk"] == 1
    assert said["models"] == {}
    assert set(report.wanting) == {"churn", "redemption", "spend"}


def test_a_snapshot_of_before_knows_what_the_log_knew_then(shop_log: Settings) -> None:
    report = compute(shop_log, CLOCK, at=to_us(NOW - timedelta(days=8)))
    table = pq.read_table(Path(report.path) / "people.parquet")
    assert table["user_id"].to_pylist() == USERS[2:]  # at its own instant an event is not known yet
    assert [each.manifest.as_of for each in snapshots(shop_log)] == [NOW - timedelta(days=8)]


def test_nobody_and_the_future_are_refused(shop_log: Settings) -> None:
    with pytest.raises(DeclarationError, match="future"):
        compute(shop_log, CLOCK, at=CLOCK.now_us() + 1)
    with pytest.raises(DataError, match="Nobody had done anything"):
        compute(shop_log, CLOCK, at=to_us(NOW - timedelta(days=90)))


@pytest.mark.slow(5)
def test_twice_is_once_until_the_log_goes_on(shop_log: Settings) -> None:
    first, again = compute(shop_log, CLOCK), compute(shop_log, CLOCK)
    assert (first.unchanged, again.unchanged, first.path) == (False, True, again.path)
    pay(shop_log, USERS[0], NOW - timedelta(hours=1), "more")
    third = compute(shop_log, CLOCK)
    assert (third.unchanged, third.path) == (False, first.path)
    assert pq.read_table(Path(third.path) / "people.parquet")["user_payments__count_28d"][0].as_py() == 2
    assert len(snapshots(shop_log)) == 1


def test_a_death_while_writing_leaves_the_one_of_before(
    home: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_snapshot(settings, people(), manifest(NOW))

    def dies(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(module, "_replace", dies)
    with pytest.raises(OSError, match="no space"):
        write_snapshot(settings, people().slice(0, 1), manifest(NOW))
    monkeypatch.undo()
    [left] = snapshots(settings)
    assert pq.read_table(left.people).num_rows == 4
    assert [path.name for path in (settings.home / "snapshots").iterdir()] == [left.path.name]


def test_the_newest_are_kept(settings: Settings) -> None:
    few = settings.model_copy(update={"snapshots": 3})
    for n in (5, 1, 4, 2, 3, 6):
        write_snapshot(few, people(), manifest(NOW - timedelta(days=n)))
    assert [each.manifest.as_of for each in snapshots(few)] == [NOW - timedelta(days=n) for n in (3, 2, 1)]


@pytest.mark.slow(6)
def test_who_is_erased_leaves_every_snapshot_and_the_scan_proves_it(shop_log: Settings) -> None:
    for days in (0, 1, 2):
        compute(shop_log, FixedClock(to_us(NOW) + days * DAY))
    later = FixedClock(to_us(NOW) + 3 * DAY)
    dry = erase(shop_log, later, USERS[1], dry_run=True)
    assert dry.elsewhere["snapshots"] == 3
    report = erase(shop_log, later, USERS[1], pause=lambda _s: None)
    assert (report.elsewhere["snapshots"], report.found) == (3, 0)
    for each in snapshots(shop_log):
        assert pq.read_table(each.people)["user_id"].to_pylist() == [USERS[0], *USERS[2:]]
    assert erase_snapshots(shop_log, USERS[1].removeprefix("u_"), dry_run=False) == 0


def test_a_snapshot_that_was_computed_before_an_erasure_is_written_without_the_person(settings: Settings) -> None:
    Tombstones(settings.home).add(USERS[2])
    found = write_snapshot(settings, people(), manifest(NOW))
    assert pq.read_table(found.people)["user_id"].to_pylist() == [*USERS[:2], USERS[3]]


def test_what_a_killed_process_left_half_done_is_no_snapshot_and_goes_with_an_erasure(settings: Settings) -> None:
    found = write_snapshot(settings, people(), manifest(NOW))
    left = found.path.with_name(f".{found.path.name}.dead.partial")
    left.mkdir()
    for file in found.path.iterdir():
        (left / file.name).write_bytes(file.read_bytes())
    assert len(snapshots(settings)) == 1
    erase_snapshots(settings, USERS[0].removeprefix("u_"), dry_run=False)
    assert not left.exists()


def test_damage_is_named_with_what_to_do(settings: Settings) -> None:
    found = write_snapshot(settings, people(), manifest(NOW))
    os.truncate(found.people, 100)
    with pytest.raises(LogError, match="tags compute --at"):
        erase_snapshots(settings, USERS[0].removeprefix("u_"), dry_run=True)
    (found.path / "manifest.json").write_text("{}", "utf-8")
    with pytest.raises(LogError, match="manifest"):
        snapshots(settings)


@pytest.mark.slow(4)
def test_a_refresh_makes_one_a_day(shop_log: Settings) -> None:
    assert "would be written" in refresh_snapshot(shop_log, CLOCK, dry_run=True)
    assert "4 shoppers" in refresh_snapshot(shop_log, CLOCK, dry_run=False)
    assert "of today" in refresh_snapshot(shop_log, FixedClock(to_us(NOW) + DAY // 4), dry_run=False)
    assert "4 shoppers" in refresh_snapshot(shop_log, FixedClock(to_us(NOW) + DAY // 2), dry_run=False)
    assert len(snapshots(shop_log)) == 2


def test_names_are_in_the_order_of_instants() -> None:
    instants = [0, 1, 999_999, DAY, to_us(NOW), to_us(NOW) + 1]
    names = [manifest(from_us(at)).name for at in instants]
    assert names == sorted(names)
    assert names[-1] == "20260601T130000.000001Z"
