"""Complete Journey, imported whole: the counts of its cleaning rules, and nothing lost, doubled or named."""

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from cursors import duckdb_cursor
from feature_repo.core.clock import DAY, FixedClock, to_us
from feature_repo.core.errors import DataError, SettingsError
from feature_repo.core.settings import Settings
from feature_repo.events.complete_journey import SOURCES, TABLE_NAMES, Journey, package_folder
from feature_repo.events.demo import ensure_demo, load_demo
from feature_repo.events.door import admit
from feature_repo.events.log import read_snapshot
from feature_repo.events.schema import arrow_schema
from feature_repo.events.stats import log_stats
from feature_repo.events.wall_clock import WEEK
from feature_repo.privacy.pseudonyms import Pseudonymiser, load_pseudonymiser

pytestmark = pytest.mark.slow(33)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)  # as in conftest.py
CLOCK = FixedClock(to_us(NOW))
PEOPLE = ("purchase", "payment", "campaign_exposure", "coupon_redeem", "users", "quarantine")


def ask(demo, query: str, **parameters: object) -> list[tuple]:
    """Rows of a query in which {purchase} is the table of purchases, and so on; local is the shops' wall time."""
    tables = {name: read_snapshot(demo.settings.log_root / name).sql() for name in (*TABLE_NAMES, "quarantine")}
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE MACRO local(at_) AS at_ AT TIME ZONE 'America/New_York'")
        found = connection.sql(query.format(**tables), params=parameters).to_arrow_table()
        return [tuple(row.values()) for row in found.to_pylist()]


def test_every_rule_touches_the_rows_the_data_is_known_for(demo) -> None:
    assert demo.report.rules == {
        "no_money_dropped": 5_834,
        "quantity_zero_kept": 8_869 - 5_834,
        "quantity_zero_of_missing_product": 4_804,
        "missing_product": 4_836,
        "missing_category": 2_209,
        "sold_by_volume": 14_697,
        "sold_by_volume_over_1000": 13_494,
        "volume_not_recorded": 1_177,
        "other_date_in_local_time": 250_533,
        "category_respelled": 866,
        "duplicate_coupon_rows": 4_872,
        "campaign_starts_before_data": 12 + 17 + 118,
        "campaign_ends_after_data": 17 + 244 + 65 + 276 + 183,
        "redemption_stamped_at_local_noon": 2_102,
        "undated_user_stamped_at_first_instant": 801,
        "undated_item_stamped_at_first_instant": 92_331,
    }


def test_every_line_is_published_or_in_quarantine(demo) -> None:
    assert demo.report.published == {
        "users": 801,
        "items": 92_331,
        "campaign_exposure": 6_589,
        "coupon_redeem": 2_102,
        "purchase": 1_469_307 - 5_834,
        "payment": 155_528,
    }
    assert demo.report.quarantined == {"no_money": 5_834}
    assert demo.report.duplicates == 0
    assert demo.report.read == 1_469_307 + 801 + 92_331 + 6_589 + 2_102
    assert ask(demo, "SELECT count(*), count(DISTINCT user_id) FROM {purchase}") == [(1_463_473, 2_469)]


@pytest.mark.parametrize("name", TABLE_NAMES)
def test_a_table_has_no_null_where_its_event_has_none(demo, name: str) -> None:
    required = [field.name for field in arrow_schema(name) if not field.nullable]
    missing = " OR ".join(f"{column} IS NULL" for column in required)
    assert ask(demo, f"SELECT count(*) FROM {{{name}}} WHERE {missing}") == [(0,)]


@pytest.mark.parametrize("name", [*TABLE_NAMES, "quarantine"])
def test_an_event_was_known_when_it_happened_and_none_lies_in_the_future(demo, name: str) -> None:
    late = "ingested_at <> event_timestamp OR event_timestamp > $now"
    assert ask(demo, f"SELECT count(*) FROM {{{name}}} WHERE {late}", now=NOW) == [(0,)]


@pytest.mark.parametrize("name", PEOPLE)
def test_every_shopper_in_the_log_is_a_pseudonym(demo, name: str) -> None:
    raw = "NOT regexp_full_match(user_id, 'u_[0-9a-f]{{32}}')"
    assert ask(demo, f"SELECT count(*) FROM {{{name}}} WHERE {raw}") == [(0,)]


def test_pseudonyms_are_those_of_the_homes_key(demo) -> None:
    pseudonymiser = load_pseudonymiser(demo.settings.home)
    with duckdb_cursor() as connection:
        file = str(package_folder() / "demographics.parquet")
        raw = connection.sql("SELECT household_id FROM read_parquet($file)", params={"file": file}).to_arrow_table()
    expected = set(pseudonymiser.pseudonyms(raw["household_id"]).to_pylist())
    assert {user for (user,) in ask(demo, "SELECT user_id FROM {users}")} == expected


def test_the_quarantined_payload_names_the_pseudonym_alone(demo) -> None:
    payloads = [json.loads(payload) for (payload,) in ask(demo, "SELECT payload FROM {quarantine}")]
    assert all(
        "household_id" not in payload and re.fullmatch(r"u_[0-9a-f]{32}", payload["user_id"]) for payload in payloads
    )
    assert {payload["sales_value"] for payload in payloads} == {0.0}


@pytest.mark.parametrize("name", ["campaign_exposure", "coupon_redeem", "users"])
def test_event_ids_are_hashes_of_content(demo, name: str) -> None:
    hashed = "count(*) FILTER (regexp_full_match(event_id, 'cj-[0-9a-f]{{32}}'))"
    [(distinct, keyed)] = ask(demo, f"SELECT count(DISTINCT event_id), {hashed} FROM {{{name}}}")
    assert distinct == keyed == demo.report.published[name]


def test_fuel_has_a_volume_and_no_units(demo) -> None:
    [found] = ask(
        demo,
        "SELECT count(*) FILTER (quantity IS NULL), count(volume), count(*) FILTER (volume > 1000), "
        "min(volume), max(volume), max(quantity), count(quantity + volume) FROM {purchase}",
    )
    assert found == (14_697, 14_697 - 1_177, 13_494, 10.0, 89_638.0, 144, 0)


def test_coupons_on_missing_products_keep_their_money(demo) -> None:
    [(lines, discount)] = ask(
        demo,
        "SELECT count(*), sum(coupon_discount) FROM {purchase} WHERE coupon_discount > 0 AND item_id NOT IN "
        "(SELECT item_id FROM {items})",
    )
    assert (lines, round(discount)) == (2_969, 6_530)


def test_no_category_has_two_spellings(demo) -> None:
    dirty = "category <> trim(category) OR category LIKE '%  %' OR category = ''"
    assert ask(demo, f"SELECT count(*) FROM {{purchase}} WHERE {dirty}") == [(0,)]
    assert ask(demo, "SELECT count(*) FROM {items} WHERE category = 'CHRISTMAS SEASONAL'") == [(866,)]


def test_a_payment_is_the_sum_of_its_lines(demo) -> None:
    wrong = ask(
        demo,
        """
        SELECT count(*) FROM {payment} AS p FULL JOIN (
            SELECT order_id, user_id, event_timestamp, sum(amount) AS amount, count(*) AS lines,
                coalesce(sum(quantity), 0) AS items, count(DISTINCT category) AS categories,
                coalesce(sum(retail_discount), 0) AS retail, coalesce(sum(coupon_discount), 0) AS coupon,
                count(*) FILTER (coupon_discount > 0 OR coupon_match_discount > 0) AS coupon_lines
            FROM {purchase} GROUP BY ALL
        ) AS q USING (order_id, user_id, event_timestamp)
        WHERE (abs(p.amount - q.amount) < 1e-6 AND abs(coalesce(retail_discount, 0) - retail) < 1e-6
            AND abs(coalesce(coupon_discount, 0) - coupon) < 1e-6 AND p.lines = q.lines AND p.items = q.items
            AND p.categories = q.categories AND p.coupon_lines = q.coupon_lines) IS NOT true
        """,
    )
    assert wrong == [(0,)]


def test_a_discount_nobody_gave_is_not_known_rather_than_zero(demo) -> None:
    for table in ("purchase", "payment"):
        [(zeros, given)] = ask(
            demo,
            "SELECT count(*) FILTER (coupon_discount = 0 OR retail_discount = 0 OR coupon_match_discount = 0), "
            f"count(coupon_discount) FROM {{{table}}}",
        )
        assert zeros == 0
        assert given > 0


def test_the_shift_is_the_largest_that_leaves_no_event_after_now(demo) -> None:
    [(last,)] = ask(demo, "SELECT max(event_timestamp) FROM {purchase}")
    assert NOW - timedelta(days=7) < last <= NOW
    assert json.loads((demo.settings.home / "demo.json").read_text())["shift_weeks"] == demo.report.shift_weeks


def test_campaigns_run_from_local_midnight_to_local_midnight(demo) -> None:
    [found] = ask(
        demo,
        "SELECT count(DISTINCT campaign_id), bool_and(event_timestamp = starts_at AND starts_at < ends_at), "
        "bool_and(local(starts_at) = local(starts_at)::DATE AND local(ends_at) = local(ends_at)::DATE), "
        "list(DISTINCT campaign_type ORDER BY campaign_type) FROM {campaign_exposure}",
    )
    assert found == (27, True, True, ["A", "B", "C"])


def test_a_campaign_ends_after_its_last_day(demo) -> None:
    [(starts, ends)] = ask(
        demo, "SELECT DISTINCT local(starts_at), local(ends_at) FROM {campaign_exposure} WHERE campaign_id = '18'"
    )
    assert (ends - starts).days == 56  # 30 October to 24 December, both included


def test_redemptions_are_at_local_noon_and_inside_their_campaign(demo) -> None:
    [found] = ask(
        demo,
        "SELECT count(*), bool_and(local(r.event_timestamp)::TIME = '12:00'), "
        "count(*) FILTER (r.event_timestamp >= starts_at AND r.event_timestamp < ends_at) "
        "FROM {coupon_redeem} r JOIN {campaign_exposure} USING (user_id, campaign_id)",
    )
    assert found[:2] == (2_102, True)
    assert found[2] == 2_102


def test_undated_facts_are_stamped_at_the_first_instant(demo) -> None:
    [(first,)] = ask(demo, "SELECT min(event_timestamp) FROM {campaign_exposure}")
    assert ask(demo, "SELECT DISTINCT event_timestamp FROM {users} UNION SELECT event_timestamp FROM {items}") == [
        (first,)
    ]


def test_progress_rises_from_nothing_to_done(demo) -> None:
    shares = [done for _, done in demo.steps]
    assert shares == sorted(shares)
    assert (demo.steps[0], demo.steps[-1]) == (("read", 0.0), ("done", 1.0))


def test_importing_again_changes_nothing_even_weeks_later(demo) -> None:
    names = (*TABLE_NAMES, "quarantine")
    before = {name: read_snapshot(demo.settings.log_root / name) for name in names}
    again = load_demo(demo.settings, FixedClock(to_us(NOW) + 30 * DAY))
    assert sum(again.published.values()) == 0
    assert again.duplicates == sum(rows for name, rows in demo.report.published.items() if name != "payment")
    assert again.read == again.duplicates + sum(again.quarantined.values())
    assert again.shift_weeks == demo.report.shift_weeks
    assert {name: read_snapshot(demo.settings.log_root / name) for name in names} == before


def test_a_demo_that_is_there_is_not_read_again(demo, tmp_path: Path) -> None:
    assert ensure_demo(demo.settings, CLOCK, folder=tmp_path) is None


def test_an_empty_home_and_one_with_a_part_of_the_demo_get_it(demo, own_settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing"):
        ensure_demo(own_settings, CLOCK, folder=tmp_path)
    shutil.copytree(demo.settings.home, own_settings.home, dirs_exist_ok=True)
    shutil.rmtree(own_settings.log_root / TABLE_NAMES[-1])
    with pytest.raises(DataError, match="missing"):
        ensure_demo(own_settings, CLOCK, folder=tmp_path)


def test_the_demo_is_not_mixed_with_events_of_another_source(own_settings: Settings) -> None:
    load_pseudonymiser(own_settings.home)
    at = pa.array([NOW], pa.timestamp("us", "UTC"))
    row = {"event_id": ["a"], "event_timestamp": at, "ingested_at": at, "user_id": ["u_" + "0" * 32]}
    admit(own_settings.log_root, "purchase", pa.table(row), source="till")
    with pytest.raises(SettingsError, match="another source") as refused:
        ensure_demo(own_settings, CLOCK)
    assert "PORTRAIT_HOME" in refused.value.hint
    assert [each.rows for each in log_stats(own_settings)] == [1]
    assert not (own_settings.home / "demo.json").exists()


def test_another_shift_than_the_homes_is_refused(demo) -> None:
    with pytest.raises(DataError, match="not by 0"):
        load_demo(demo.settings, CLOCK, shift_weeks=0)


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    home = tmp_path_factory.mktemp("journey") / "home"
    return Journey(package_folder(), Settings(home=home, threads=2, memory="2GB"))


@pytest.mark.parametrize("weeks", [0, 1, -3, 35, 463])
def test_a_shift_keeps_dates_and_order_and_loses_nothing(journey: Journey, weeks: int) -> None:
    journey.place(Pseudonymiser(bytes(32)), weeks)
    moments = journey._connection.sql(
        "SELECT epoch_us(transaction_timestamp) AS source, epoch_us(instant) AS moved FROM moments ORDER BY source"
    ).to_arrow_table()
    source, moved = (np.asarray(moments[name]) for name in ("source", "moved"))
    assert (np.diff(moved) > 0).all()
    clock = journey.clock(int(moved.max()))
    assert np.array_equal(clock.to_wall(source) // DAY + 7 * weeks, clock.to_wall(moved) // DAY)
    if weeks == 0:
        assert np.array_equal(source, moved)


def test_unshifted_times_are_the_sources(journey: Journey) -> None:
    journey.place(Pseudonymiser(bytes(32)), 0)
    [[wrong]] = journey._connection.sql(
        "SELECT count(*) AS wrong FROM moments WHERE instant <> transaction_timestamp AT TIME ZONE 'UTC'"
    ).to_arrow_table()
    assert wrong.as_py() == 0
    assert journey.table("campaign_exposure")["starts_at"][0].as_py().isoformat() == "2016-11-14T05:00:00+00:00"


def test_order_and_item_make_a_line_unique(journey: Journey) -> None:
    [[lines]] = journey._connection.sql(
        "SELECT count(DISTINCT (basket_id, product_id)) AS n FROM lines"
    ).to_arrow_table()
    assert lines.as_py() == 1_469_307


def shuffled(folder: Path) -> Path:
    """The data cut down to a few households, in files written backwards."""
    folder.mkdir()
    with duckdb_cursor() as connection:
        for name in SOURCES:
            some = "WHERE household_id < 30" if "household_id" in SOURCES[name] else ""
            source, target = package_folder() / f"{name}.parquet", folder / f"{name}.parquet"
            connection.execute(
                f"COPY (SELECT * FROM read_parquet('{source}', file_row_number = true) {some} "
                f"ORDER BY file_row_number DESC) TO '{target}'".replace("SELECT *", "SELECT * EXCLUDE file_row_number")
            )
    return folder


def test_event_ids_do_not_depend_on_the_order_of_the_files(tmp_path: Path, own_settings: Settings) -> None:
    few = shuffled(tmp_path / "few")
    first = load_demo(own_settings, CLOCK, folder=few)
    assert first.published["purchase"] > 1_000
    second = load_demo(own_settings, CLOCK, folder=shuffled_again(few, tmp_path / "again"))
    assert sum(second.published.values()) == 0


def shuffled_again(source: Path, target: Path) -> Path:
    target.mkdir()
    with duckdb_cursor() as connection:
        for file in source.iterdir():
            connection.execute(f"COPY (SELECT * FROM '{file}' ORDER BY hash(COLUMNS(*))) TO '{target / file.name}'")
    return target


@pytest.mark.parametrize("damage", ["missing", "cut", "not parquet", "other columns"])
@pytest.mark.parametrize("name", ["transactions", "coupons"])
def test_a_damaged_file_is_named_and_nothing_is_written(
    tmp_path: Path, own_settings: Settings, name: str, damage: str
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(package_folder(), folder, ignore=shutil.ignore_patterns("promotions.parquet"))
    file = folder / f"{name}.parquet"
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(whole[: len(whole) // 2])
    elif damage == "not parquet":
        file.write_bytes(b"not parquet")
    else:
        shutil.copy(folder / "products.parquet", file)
    with pytest.raises(DataError, match=rf"'{name}\.parquet' is (missing|damaged).*(?s:.)*Hint: run `pip install"):
        load_demo(own_settings, CLOCK, folder=folder)
    assert not [path for path in own_settings.home.rglob("*") if path.is_file()]


def test_a_page_damaged_in_the_middle_is_found_before_anything_is_written(
    tmp_path: Path, own_settings: Settings
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(package_folder(), folder, ignore=shutil.ignore_patterns("promotions.parquet"))
    file = folder / "transactions.parquet"
    whole = bytearray(file.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 4096] = bytes(4096)
    file.write_bytes(whole)
    with pytest.raises(DataError, match=r"transactions\.parquet"):
        load_demo(own_settings, CLOCK, folder=folder)
    assert not [path for path in own_settings.home.rglob("*") if path.is_file()]


def test_too_little_memory_says_how_much_is_needed(own_settings: Settings) -> None:
    with pytest.raises(SettingsError, match="PORTRAIT_MEMORY = 30MB"):
        load_demo(own_settings.model_copy(update={"memory": "30MB"}), CLOCK)


@pytest.mark.parametrize("content", ["", "{}", '{"shift_weeks": "soon"}', "[]"])
def test_a_damaged_shift_is_not_guessed_anew(tmp_path: Path, own_settings: Settings, content: str) -> None:
    few = shuffled(tmp_path / "few")
    load_demo(own_settings, CLOCK, folder=few)
    (own_settings.home / "demo.json").write_text(content)
    with pytest.raises(DataError, match=r"demo\.json"):
        load_demo(own_settings, CLOCK, folder=few)


def test_an_interrupted_import_goes_on_where_it_stopped(tmp_path: Path, own_settings: Settings) -> None:
    few = shuffled(tmp_path / "few")

    def stop_at_payment(step: str, done: float) -> None:
        if step == "payment":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_demo(own_settings, CLOCK, folder=few, progress=stop_at_payment)
    later = FixedClock(to_us(NOW) + 5 * WEEK)
    report = load_demo(own_settings, later, folder=few)
    assert report.published["purchase"] == 0
    assert report.published["payment"] > 0
    assert load_demo(own_settings, later, folder=few).published["payment"] == 0


def test_a_refused_line_is_in_quarantine_and_in_the_report(tmp_path: Path, own_settings: Settings) -> None:
    few = shuffled(tmp_path / "few")
    file = few / "transactions.parquet"
    with duckdb_cursor() as connection:
        connection.execute(f"CREATE TABLE t AS FROM '{file}'")
        connection.execute("ALTER TABLE t ALTER quantity TYPE BIGINT")
        connection.execute(
            "UPDATE t SET quantity = 9007199254740993 WHERE product_id = (SELECT max(product_id) FROM t "
            "JOIN 'PRODUCTS' USING (product_id) WHERE product_type NOT LIKE 'GASOLINE%' AND sales_value > 0)".replace(
                "PRODUCTS", str(few / "products.parquet")
            )
        )
        connection.execute(f"COPY t TO '{file}'")
    report = load_demo(own_settings, CLOCK, folder=few)
    refused = report.quarantined
    assert set(refused) == {"no_money", "integer_out_of_range_quantity", "integer_out_of_range_items"}
    assert all(refused.values())
    [purchase] = [stats for stats in log_stats(own_settings) if stats.name == "purchase"]
    assert purchase.quarantined == {name: refused[name] for name in ("no_money", "integer_out_of_range_quantity")}
    with duckdb_cursor() as connection:
        lines = connection.sql(f"SELECT count(*) FROM '{file}'").fetchall()[0][0]
    assert report.published["purchase"] + sum(purchase.quarantined.values()) == lines


def test_no_file_of_the_home_has_a_column_of_household_ids(demo) -> None:
    files = [path for path in demo.settings.home.rglob("*") if path.is_file()]
    assert len(files) > len(TABLE_NAMES)
    assert not [path for path in files if b"household_id" in path.read_bytes()]
