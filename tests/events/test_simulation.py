"""The simulated shop is a shop: what it sends is what was asked for, and the door finds it."""

import json
import math
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from feature_repo import cli
from feature_repo.core.clock import DAY, HOUR, from_us
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.events import simulation_sending
from feature_repo.events.log import read_snapshot
from feature_repo.events.simulation import SimulationReport, simulate
from feature_repo.events.simulation_events import LATE_US, QUERIES
from feature_repo.events.simulation_model import calendar
from feature_repo.events.simulation_plan import Plan, kept_plan, plan_path
from feature_repo.events.simulation_sending import chunks, parcels
from feature_repo.events.simulation_stream import in_time_order
from feature_repo.events.simulation_visits import prepare, simulate_visits
from feature_repo.privacy.pseudonyms import Pseudonymiser, key_path, load_pseudonymiser

NOW = 1_795_262_400_000_000 + 12_345_678  # 21 November 2026, 12:00 UTC and a bit
PLAN = Plan(seed=7, users=400, events=40_000, end_us=NOW, late=0.05, duplicates=0.03, malformed=0.01)
TABLES = (*QUERIES, "quarantine")


@dataclass(frozen=True)
class Shop:
    """A home with a simulated shop in it."""

    settings: Settings
    report: SimulationReport

    def ask(self, query: str) -> list[tuple]:
        """Rows of a query in which {view} is the table of views, and so on."""
        tables = {name: read_snapshot(self.settings.log_root / name).sql() for name in (*TABLES, "items")}
        with duckdb.connect(config={"threads": 2}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            found = connection.sql(query.format(**tables)).to_arrow_table()
            return [tuple(row.values()) for row in found.to_pylist()]

    def rows(self, name: str, *, of: set[str] | None = None) -> pa.Table:
        """All columns but the log's own, in the order of the ids; of some shoppers only."""
        with duckdb.connect(config={"threads": 2}) as connection:
            query = f"SELECT * EXCLUDE (log_version) FROM {read_snapshot(self.settings.log_root / name).sql()}"
            found = connection.sql(
                f"{query} ORDER BY event_id, payload" if name == "quarantine" else f"{query} ORDER BY 1"
            )
            table = found.to_arrow_table()
        return table if of is None else table.filter(pa.array([user in of for user in table["user_id"].to_pylist()]))


def opened(home: Path, plan: Plan, *, key: Path | None = None) -> Shop:
    if key is not None:
        key_path(home).parent.mkdir(parents=True)
        shutil.copy(key, key_path(home))
    settings = Settings(home=home, threads=2, memory="1GB")
    return Shop(settings, simulate(settings, plan))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The shop of PLAN; do not write to it, except by simulating it again."""
    return opened(tmp_path_factory.mktemp("shop") / "home", PLAN)


# The same seed is the same shop ---------------------------------------------------------------------------------------


@pytest.mark.slow(8)
def test_a_seed_gives_the_same_rows_however_they_are_cut(shop: Shop, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(simulation_sending, "_MOST_EVENTS", 9_000)
    assert len(chunks(shop.settings, PLAN)) == 5
    again = opened(tmp_path / "home", PLAN, key=key_path(shop.settings.home))
    for name in (*TABLES, "items"):
        assert again.rows(name).equals(shop.rows(name)), name


def test_a_shopper_does_the_same_among_few_and_many(shop: Shop, tmp_path: Path) -> None:
    half = replace(PLAN, users=200, events=20_000)
    few = opened(tmp_path / "home", half, key=key_path(shop.settings.home))
    pseudonymiser = load_pseudonymiser(shop.settings.home)
    known = {pseudonymiser.pseudonym(half.raw_id(number)) for number in range(half.users)}
    for name in QUERIES:
        assert few.rows(name).equals(shop.rows(name, of=known)), name


def test_the_good_rows_do_not_depend_on_the_bad(shop: Shop, tmp_path: Path) -> None:
    clean = replace(PLAN, duplicates=0, malformed=0)
    without = opened(tmp_path / "home", clean, key=key_path(shop.settings.home))
    assert (without.report.quarantined, without.report.duplicates) == ({}, 0)
    for name in QUERIES:
        assert without.rows(name).equals(shop.rows(name)), name


def test_another_seed_is_another_shop(shop: Shop, tmp_path: Path) -> None:
    other = opened(tmp_path / "home", replace(PLAN, seed=8), key=key_path(shop.settings.home))
    for column in ("event_id", "user_id", "event_timestamp"):
        assert not set(other.rows("view")[column].to_pylist()) & set(shop.rows("view")[column].to_pylist())


def test_simulating_again_adds_nothing_even_weeks_later(shop: Shop) -> None:
    before = {name: read_snapshot(shop.settings.log_root / name) for name in TABLES}
    again = simulate(shop.settings, replace(PLAN, end_us=NOW + 30 * DAY))
    assert {name: read_snapshot(shop.settings.log_root / name) for name in TABLES} == before
    assert sum(again.published.values()) == 0
    assert again.duplicates == shop.report.events + shop.report.sent_twice
    assert (again.plan, again.quarantined) == (shop.report.plan, shop.report.quarantined)


def test_another_shop_of_the_same_seed_is_refused(shop: Shop) -> None:
    with pytest.raises(DataError, match=r"holds the shop of seed 7 with users 400, late 0.05\."):
        simulate(shop.settings, replace(PLAN, users=401, late=0.1))


def test_a_damaged_plan_is_said(own_settings: Settings) -> None:
    assert kept_plan(own_settings.home, 7) is None
    plan_path(own_settings.home, 7).parent.mkdir(parents=True)
    plan_path(own_settings.home, 7).write_text('{"seed": 7}')
    with pytest.raises(DataError, match=r"plan .*7\.json cannot be read"):
        kept_plan(own_settings.home, 7)


# What was asked for ---------------------------------------------------------------------------------------------------


def test_the_door_finds_what_was_sent(shop: Shop) -> None:
    report = shop.report
    assert report.plan == PLAN
    assert sum(report.published.values()) == report.events
    assert report.duplicates == report.sent_twice > 0
    assert report.quarantined == report.sent_broken
    assert set(report.quarantined) == {"missing_event_id", "missing_event_timestamp", "user_id_not_a_pseudonym"}
    assert report.read == report.events + report.sent_twice + sum(report.sent_broken.values())
    assert dict(shop.ask("SELECT reason, count(*) FROM {quarantine} GROUP BY 1")) == report.quarantined
    late = " UNION ALL ".join(
        f"SELECT count(*) AS n FROM {{{name}}} WHERE epoch_us(ingested_at) - epoch_us(event_timestamp) >= {LATE_US}"
        for name in QUERIES
    )
    assert shop.ask(f"SELECT sum(n)::BIGINT FROM ({late})") == [(report.late,)]


@pytest.mark.parametrize(("late", "duplicates", "malformed"), [(0, 0, 0), (1, 1, 1), (0.3, 0, 0.2), (0, 0.4, 0)])
def test_shares_are_what_was_asked(own_settings: Settings, late: float, duplicates: float, malformed: float) -> None:
    plan = replace(PLAN, users=40, events=4_000, late=late, duplicates=duplicates, malformed=malformed)
    report = simulate(own_settings, plan)
    broken = sum(report.quarantined.values())
    young = 40  # events of the last hour cannot be an hour late
    for share, found, slack in ((late, report.late, young), (duplicates, report.duplicates, 0), (malformed, broken, 0)):
        spread = 4 * math.sqrt(report.events * share * (1 - share))
        assert abs(found - report.events * share) <= spread + slack
    assert sum(report.published.values()) == report.events


@pytest.mark.parametrize(("users", "events"), [(0, 0), (1, 0), (0, 100), (1, 1), (3, 10), (50, 5)])
def test_tiny_shops_are_shops(own_settings: Settings, users: int, events: int) -> None:
    report = simulate(own_settings, replace(PLAN, users=users, events=events))
    assert sum(report.published.values()) == report.events <= 40 * max(events, 1) * min(users, 1)
    assert simulate(own_settings, replace(PLAN, users=users, events=events)).duplicates == report.read - sum(
        report.quarantined.values()
    )


def test_about_as_many_events_as_asked(own_settings: Settings) -> None:
    plan = replace(PLAN, users=20_000, events=500_000)
    sent = parcels(own_settings, plan, Pseudonymiser(bytes(32)), since_us=plan.begin_us, until_us=NOW + 1)
    assert sum(parcel.sent.good for parcel in sent) == pytest.approx(plan.events, rel=0.03)


@pytest.mark.parametrize(
    "wrong", [{"late": 1.5}, {"users": -1}, {"days": 0}, {"seed": 2**31}, {"malformed": math.nan}, {"end_us": 0}]
)
def test_a_plan_out_of_range_is_refused(wrong: dict) -> None:
    with pytest.raises(DataError, match=r"is|before 1970"):
        replace(PLAN, **wrong)


# A shop ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUERIES)
def test_nothing_happens_or_arrives_in_the_future(shop: Shop, name: str) -> None:
    [(first, last, inverted)] = shop.ask(
        "SELECT min(event_timestamp), max(ingested_at), count(*) FILTER (ingested_at < event_timestamp) "
        f"FROM {{{name}}}"
    )
    assert from_us(PLAN.begin_us) <= first <= last <= from_us(NOW)
    assert inverted == 0


def test_a_visit_is_a_funnel(shop: Shop) -> None:
    unseen = shop.ask(
        "SELECT count(*) FROM {cart} AS c WHERE NOT EXISTS (FROM {view} AS v WHERE v.session_id = c.session_id "
        "AND v.item_id = c.item_id AND v.event_timestamp < c.event_timestamp)"
    )
    unclicked = shop.ask(
        "SELECT count(*) FROM {cart} AS c WHERE NOT EXISTS (FROM {click} AS v WHERE v.session_id = c.session_id "
        "AND v.item_id = c.item_id AND v.event_timestamp < c.event_timestamp)"
    )
    # A visit ends with its order: a cart is bought in the visit that filled it, or within two days of its start.
    uncarted = shop.ask(
        "SELECT count(*) FROM {purchase} AS p WHERE NOT EXISTS (FROM {cart} AS c WHERE c.user_id = p.user_id "
        "AND c.item_id = p.item_id AND c.quantity = p.quantity AND c.event_timestamp < p.event_timestamp "
        "AND c.event_timestamp >= p.event_timestamp - INTERVAL 49 HOUR)"
    )
    entry = shop.ask(
        "SELECT count(*) FROM (SELECT session_id, min(event_timestamp) AS first FROM {click} GROUP BY 1) "
        "LEFT JOIN (SELECT session_id, event_timestamp FROM {search} UNION ALL SELECT session_id, event_timestamp "
        "FROM {view} WHERE item_id IS NULL) AS e USING (session_id) WHERE (e.event_timestamp <= first) IS NOT true"
    )
    assert unseen == unclicked == uncarted == entry == [(0,)]
    assert shop.ask("SELECT count(*) > 500 FROM {purchase}") == [(True,)]


def test_what_comes_after_an_order_is_about_it(shop: Shop) -> None:
    for name in ("return", "review"):
        [(rows, about)] = shop.ask(
            f"SELECT count(*), count(p.order_id) FROM {{{name}}} AS r LEFT JOIN {{purchase}} AS p ON "
            "p.order_id = r.order_id AND p.item_id = r.item_id AND p.user_id = r.user_id "
            "AND p.event_timestamp < r.event_timestamp"
        )
        assert rows <= about > 0, name
    assert shop.ask("SELECT count(*) FROM {review} WHERE length(text) <> length OR text IS NULL") == [(0,)]
    assert shop.ask("SELECT corr(rating, (text LIKE '%Well made%')::INT) > 0 FROM {review}") == [(True,)]


def test_a_payment_is_the_sum_of_its_lines(shop: Shop) -> None:
    wrong = shop.ask(
        "SELECT count(*) FROM {payment} AS p FULL JOIN (SELECT order_id, sum(amount) AS amount, count(*) AS lines, "
        "sum(quantity) AS items, sum(coupon_discount) AS coupon FROM {purchase} GROUP BY 1) AS q USING (order_id) "
        "WHERE (abs(p.amount - q.amount) < 1e-6 AND p.lines = q.lines AND p.items = q.items AND "
        "coalesce(coupon_discount, 0) - coalesce(coupon, 0) < 1e-6) IS NOT true"
    )
    assert wrong == [(0,)]


def test_taste_drifts(shop: Shop) -> None:
    def changed(half: str) -> float:
        """Share of shoppers whose favourite category differs between the two halves of their clicks."""
        tops = (
            f"SELECT user_id, {half} AS half, mode(category) AS top FROM {{click}} GROUP BY ALL HAVING count(*) >= 30"
        )
        [(share,)] = shop.ask(
            f"SELECT avg((a.top <> b.top)::INT) FROM ({tops}) AS a JOIN ({tops}) AS b "
            "ON a.user_id = b.user_id AND a.half = 0 AND b.half = 1"
        )
        return share

    middle = PLAN.end_us - PLAN.days * DAY // 2
    assert changed(f"(epoch_us(event_timestamp) >= {middle})::INT") > changed("(hash(session_id) % 2)::INT") + 0.25


def test_robots_can_be_told_by_what_they_do(shop: Shop) -> None:
    suspects = shop.ask(
        "SELECT DISTINCT user_id FROM (SELECT user_id, session_id, count(*) AS pages, count(DISTINCT gap) AS gaps FROM "
        "(SELECT *, epoch_us(event_timestamp) - lag(epoch_us(event_timestamp)) OVER (PARTITION BY session_id "
        "ORDER BY event_timestamp) AS gap FROM {view} WHERE item_id IS NOT NULL) GROUP BY ALL) "
        "WHERE pages >= 25 AND gaps <= 2"
    )
    settings, pseudonymiser = shop.settings, load_pseudonymiser(shop.settings.home)
    with connect_duckdb(settings) as connection:
        prepare(connection, PLAN)
        simulate_visits(connection, PLAN, pseudonymiser, 0, PLAN.users)
        robots = connection.sql("SELECT DISTINCT user_id FROM visit WHERE bot").to_arrow_table()["user_id"].to_pylist()
    assert {user for (user,) in suspects} == set(robots) != set()
    bought = {user for (user,) in shop.ask("SELECT user_id FROM {purchase} UNION SELECT user_id FROM {click}")}
    assert not bought & set(robots)


def test_the_hours_of_the_day_are_seen(shop: Shop) -> None:
    hours = dict(shop.ask("SELECT hour(event_timestamp), count(*) FROM {search} GROUP BY 1"))
    assert sum(hours[hour] for hour in (19, 20, 21)) > 3 * sum(hours.get(hour, 0) for hour in (2, 3, 4))


def test_the_calendar_knows_weekends_and_december() -> None:
    year = Plan(seed=0, users=0, events=0, end_us=NOW, days=364)
    days = calendar(year)[: 364 * 24].reshape(364, 24).sum(axis=1)
    dates = [from_us(year.begin_us + n * DAY + 12 * HOUR) for n in range(364)]
    months, weekdays = np.array([date.month for date in dates]), np.array([date.weekday() for date in dates])
    assert days[months == 12].mean() > 1.4 * days[months == 6].mean()
    assert days[weekdays == 6].mean() > 1.2 * days[weekdays == 1].mean()


def test_names_of_one_number_look_independent(shop: Shop) -> None:
    # With one round of DuckDB's hash they correlate by -0.6.
    with connect_duckdb(shop.settings) as connection:
        prepare(connection, PLAN)
        [found] = (
            connection.sql("""
            SELECT corr(unit('x', n), unit('y', n)) AS names, corr(unit('x', n), unit('x', n + 1)) AS neighbours,
                corr(unit('x', n, 1), unit('x', 1, n)) AS places, avg(unit('x', n)) - 0.5 AS mean
            FROM range(100000) t(n)
        """)
            .to_arrow_table()
            .to_pylist()
        )
    assert all(abs(value) < 0.015 for value in found.values()), found


def test_nobody_is_named_by_a_raw_id(shop: Shop) -> None:
    for name in TABLES:
        [(raw, broken)] = shop.ask(
            "SELECT count(*) FILTER (user_id IS NOT NULL AND NOT regexp_full_match(user_id, 'u_[0-9a-f]{{32}}')), "
            f"count(*) FILTER (t::VARCHAR LIKE '%raw id%' OR t::VARCHAR LIKE '%shopper-%') FROM {{{name}}} AS t"
        )
        assert (raw, broken) == (0, 0), name


# In time --------------------------------------------------------------------------------------------------------------


def test_in_time_order_it_is_the_same_shop(shop: Shop) -> None:
    batches = list(in_time_order(shop.settings, PLAN, since_us=PLAN.begin_us, until_us=NOW + 1, rows=5_000))
    whole = pa.Table.from_batches(batches)
    due = whole["due"].to_pylist()
    assert due == sorted(due)
    assert max(batch.num_rows for batch in batches) <= 5_000
    assert whole.num_rows == shop.report.read
    sent = Counter()
    for name, event in zip(whole["event_type"].to_pylist(), whole["event"].to_pylist(), strict=True):
        said = json.loads(event)
        sent[name, said["event_id"]] += 1
        assert said.get("user_id") is not None
    for name in QUERIES:
        assert all(sent[name, known] >= 1 for known in shop.rows(name)["event_id"].to_pylist()), name


def test_behind_now_the_same_shoppers_go_on(shop: Shop) -> None:
    coming = list(in_time_order(shop.settings, PLAN, since_us=NOW + 1, until_us=NOW + 2 * DAY))
    events = [json.loads(event) for batch in coming for event in batch["event"].to_pylist()]
    assert len(events) > 100
    happened = [event["event_timestamp"] for event in events if event["event_timestamp"]]
    assert min(happened) > NOW
    assert max(happened) < NOW + 2 * DAY
    known = {event_id for name in QUERIES for event_id in shop.rows(name)["event_id"].to_pylist()}
    assert not known & {event["event_id"] for event in events}
    users = set(shop.rows("view")["user_id"].to_pylist())
    assert len({event["user_id"] for event in events} & users) > 20


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command_tells_what_it_did(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["events", "simulate", "--users", "20", "--events", "900", "--seed", "3"]
    assert cli.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["read"] == found["events"] + found["sent_twice"] + sum(found["sent_broken"].values())
    assert found["plan"]["users"] == 20
    assert cli.main(words) == 0
    assert f"{found['events']:,} events in " in capsys.readouterr().out
    assert cli.main([*words, "--late", "2"]) == 2
    assert "late is 2.0." in capsys.readouterr().err
    assert kept_plan(home, 3).seed == 3
