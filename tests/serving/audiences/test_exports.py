"""Who may be addressed is handed out, the same people are held out every time, and what came of it is told."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from feature_repo.core.clock import FixedClock, SystemClock, to_us
from feature_repo.core.errors import DataError, NotMaterializedError
from feature_repo.core.settings import Settings
from feature_repo.events.door import admit
from feature_repo.jobs.erase import erase
from feature_repo.jobs.features import apply
from feature_repo.jobs.materialize import materialize
from feature_repo.privacy.tombstones import Tombstones
from made_snapshots import pseudonym, write_snapshot
from serving.audiences.audiences import Audiences
from serving.audiences.cli import audience
from serving.audiences.erasure import erase_audiences, handed_out
from serving.audiences.exported import Export, all_exports, find_export, read_members
from serving.audiences.exports import export
from serving.audiences.holdout import held_out
from serving.audiences.results import results_of
from serving.audiences.saved import save

NOW = FixedClock(to_us(datetime.now(UTC).replace(microsecond=0)) - 40 * 86_400_000_000)
PEOPLE = 1000
USERS = [pseudonym(n) for n in range(PEOPLE)]


def everybody(users: Sequence[str]) -> Any:
    return np.ones(len(users), np.bool_)


def number(user: str) -> int:
    return USERS.index(user)


def evens(users: Sequence[str]) -> Any:
    return np.array([number(each) % 2 == 0 for each in users], np.bool_)


def hand_out(home: Path, to: str, allowed: Any = everybody, share: float = 0.1, campaign: str = "spring") -> Export:
    if not (home / "snapshots").exists():
        write_snapshot(home, {"tag__risk": ["high"] * (PEOPLE - 1) + ["low"]})
    audiences = Audiences(Settings(home=home))
    return export(audiences, NOW, "risk = 'high'", home.parent / to, allowed, share=share, campaign=campaign)


def test_who_does_not_allow_marketing_was_erased_or_is_held_out_is_not_in_the_file(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write_snapshot(home, {"tag__risk": ["high"] * (PEOPLE - 1) + ["low"]})
    Tombstones(home).add(USERS[4])
    made = hand_out(home, "spring.csv", evens)
    expected = [user for user in USERS[:-1] if number(user) % 2 == 0 and user != USERS[4]]
    out = held_out("spring", expected, 0.1)
    with (tmp_path / "spring.csv").open(newline="") as file:
        assert [*csv.reader(file)] == [
            ["user_id"],
            *([user] for user, each in zip(expected, out, strict=True) if not each),
        ]
    assert (tmp_path / "spring.csv").stat().st_mode & 0o777 == 0o600
    assert (made.members, made.not_permitted) == (998, 500 - 1)
    assert (made.held_out, made.handed_out) == (out.sum(), (~out).sum())
    assert 25 <= made.held_out <= 75


def test_who_is_erased_between_the_count_and_the_file_is_not_in_it(tmp_path: Path) -> None:
    home = tmp_path / "home"

    def meanwhile(users: Sequence[str]) -> Any:
        Tombstones(home).add(USERS[4])
        return everybody(users)

    hand_out(home, "spring.parquet", meanwhile, share=0)
    assert USERS[4] not in pq.read_table(tmp_path / "spring.parquet")["user_id"].to_pylist()
    assert USERS[5] in pq.read_table(tmp_path / "spring.parquet")["user_id"].to_pylist()


def test_the_same_people_are_held_out_of_a_campaign_every_time_and_others_of_another() -> None:
    first = held_out("spring", USERS, 0.1)
    assert held_out("spring", USERS[::-1], 0.1)[::-1].tolist() == first.tolist()
    assert not (first & ~held_out("spring", USERS, 0.2)).any()
    other = held_out("summer", USERS, 0.1)
    assert 60 <= first.sum() <= 140
    assert (first & other).sum() <= 30
    with pytest.raises(DataError, match="cannot be held out"):
        held_out("spring", USERS, 0.6)


REFUSED = {
    "spring.xlsx": ("spring", "is no file an audience is written to"),
    "spring.csv": ("../spring", "cannot be called"),
}


@pytest.mark.parametrize("to", REFUSED)
def test_what_cannot_be_handed_out_is_refused_before_anything_is_written(tmp_path: Path, to: str) -> None:
    campaign, message = REFUSED[to]
    with pytest.raises(DataError, match=message):
        hand_out(tmp_path / "home", to, campaign=campaign)
    assert not all_exports(Settings(home=tmp_path / "home"))
    assert not (tmp_path / to).exists()


def test_nobody_is_handed_out_where_nobody_allows_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="999 belong to the audience, 0 of them allow marketing"):
        hand_out(tmp_path / "home", "spring.csv", lambda users: ~everybody(users))
    assert not (tmp_path / "spring.csv").exists()


def test_an_erasure_scrubs_the_lists_and_names_the_files_that_named_the_person_twice_too(tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings = Settings(home=home)
    for to in ("spring.csv", "home/own.csv", "home/own.parquet"):
        hand_out(home, to, evens)
    out = held_out("spring", USERS, 0.1)
    person = next(n for n in range(0, PEOPLE, 2) if not out[n])
    kept_back = next(n for n in range(0, PEOPLE, 2) if out[n])
    assert handed_out(settings, USERS[kept_back][2:]) == []  # on the lists, but in no file
    needle = USERS[person][2:]
    Tombstones(home).add(USERS[person])
    assert erase_audiences(settings, needle, dry_run=True) == 3
    assert erase_audiences(settings, needle, dry_run=False) == 3
    assert erase_audiences(settings, needle, dry_run=False) == 0
    files = [str(tmp_path / "spring.csv"), str(home / "own.csv"), str(home / "own.parquet")]
    assert sorted(handed_out(settings, needle)) == sorted(files)
    assert not [file for file in home.rglob("*") if file.suffix != ".parquet" and needle.encode() in _bytes(file)]
    for file in home.rglob("*.parquet"):
        if "snapshots" not in file.parts:  # whoever writes those removes the person there
            assert USERS[person] not in pq.read_table(file)["user_id"].to_pylist()
            assert USERS[person + 2] in pq.read_table(file)["user_id"].to_pylist() or out[person + 2]
    assert len((home / "own.csv").read_text().splitlines()) == find_export(settings, "spring").handed_out


def _bytes(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""


def events(settings: Settings, table: str, users: list[str], at: datetime, **columns: Any) -> None:
    times = pa.array([at] * len(users), pa.timestamp("us", "UTC"))
    ids = [f"{table}-{user}-{at:%j%H}" for user in users]
    rows = {"event_id": ids, "event_timestamp": times, "ingested_at": times, "user_id": users}
    admit(settings.log_root, table, pa.table({**rows, **columns}), source="test")


def test_an_effect_that_was_put_in_is_found_and_its_interval_covers_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings = Settings(home=home)
    made = hand_out(home, "spring.csv", share=0.4)
    after, members = made.made_at + timedelta(days=3), read_members(settings, made).to_pydict()
    random = np.random.default_rng(2)
    told = list(zip(members["user_id"], members["held_out"], strict=True))
    buyers = [user for user, out in told if random.random() < (0.2 if out else 0.4)]
    paid = [10.0] * len(buyers)
    events(settings, "purchase", buyers, after, item_id=["a"] * len(buyers), amount=paid)
    # Before the letter, at its instant, and behind the end: none of it counts.
    never = [user for user, _ in told if user not in buyers]
    for at in (made.made_at - timedelta(days=1), made.made_at, made.made_at + timedelta(days=28, microseconds=1)):
        events(settings, "purchase", never, at, item_id=["a"] * len(never), amount=[1.0] * len(never))
    found = results_of(settings, made, SystemClock(), days=28)
    bought = found.results["bought"]
    expected = {side: np.mean([user in buyers for user, out in told if out is side]) for side in (True, False)}
    assert (bought.addressed, bought.held_out) == pytest.approx((expected[False], expected[True]))
    assert bought.low < 0.2 < bought.high
    assert bought.p_value < 1e-6
    assert found.results["spent"].addressed == pytest.approx(10 * expected[False])
    assert found.results["redeemed"].difference == 0
    assert found.over
    assert "they bought more" in found.verdict
    assert "they spent, per shopper more" in found.verdict


def test_an_empty_holdout_tells_no_difference_and_says_so(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = hand_out(home, "spring.csv", share=0)
    settings = Settings(home=home)
    events(settings, "purchase", USERS[:500], made.made_at + timedelta(days=3), item_id=["a"] * 500, amount=[2.0] * 500)
    found = results_of(settings, made, SystemClock(), days=28)
    assert found.held_out == 0
    assert found.results["bought"].addressed == pytest.approx(500 / 999)
    assert np.isnan(found.results["bought"].difference)
    assert "The holdout is empty" in found.verdict
    assert not found.over


def test_only_the_coupons_of_a_campaign_count_where_one_is_named(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = hand_out(home, "spring.csv", share=0.5)
    settings = Settings(home=home)
    out = read_members(settings, made).to_pydict()
    some = [user for user, held in zip(out["user_id"], out["held_out"], strict=True) if not held][:100]
    for campaign in ("c1", "c'2"):
        who = some if campaign == "c1" else some[:50]
        at = made.made_at + timedelta(days=1 if campaign == "c1" else 2)
        events(settings, "coupon_redeem", who, at, campaign_id=[campaign] * len(who), coupon_id=["k"] * len(who))
    rates = [
        results_of(settings, made, SystemClock(), days=28, coupons_of=each).results["redeemed"].addressed
        for each in ("", "c1", "c'2", "none")
    ]
    assert rates == pytest.approx([100 / made.handed_out, 100 / made.handed_out, 50 / made.handed_out, 0])


@pytest.mark.slow(4)
def test_consent_is_what_redis_says_now_and_an_erasure_leaves_nothing(settings: Settings, redis: Any) -> None:
    home = settings.home
    write_snapshot(home, {"tag__risk": ["high"] * 8})
    runner = CliRunner()
    words = ["export", "@lapsing", "--to", str(home.parent / "lapsing.csv"), "--holdout", "0", "--json"]
    save(settings, NOW, "lapsing", "risk = 'high'")
    apply()
    with pytest.raises(NotMaterializedError):
        runner.invoke(audience, words, catch_exceptions=False)
    assert not (home.parent / "lapsing.csv").exists()
    said = datetime.now(UTC) - timedelta(days=2)
    events(settings, "consent", USERS[:4], said, purpose=["marketing"] * 4, granted=[True] * 4)
    events(settings, "consent", USERS[:1], said + timedelta(hours=1), purpose=["marketing"], granted=[False])
    materialize(settings, SystemClock())
    told = json.loads(runner.invoke(audience, words, catch_exceptions=False).stdout)
    assert (told["campaign"], told["members"], told["not_permitted"], told["handed_out"]) == ("lapsing", 8, 5, 3)
    assert (home.parent / "lapsing.csv").read_text().split() == ["user_id", *USERS[1:4]]
    for command in ("exports", "report lapsing"):
        assert runner.invoke(audience, command.split(), catch_exceptions=False).stdout
        assert json.loads(runner.invoke(audience, [*command.split(), "--json"], catch_exceptions=False).stdout)
    pq.write_table(pq.read_table(home / "snapshots" / "2026-11-24T000000Z" / "people.parquet").slice(3), home / "x")
    (home / "x").rename(home / "snapshots" / "2026-11-24T000000Z" / "people.parquet")
    report = erase(settings, SystemClock(), USERS[2])
    assert report.handed_out == (str(home.parent / "lapsing.csv"),)
    assert report.elsewhere["audiences"] == 1
    assert report.found == 0, report.places
