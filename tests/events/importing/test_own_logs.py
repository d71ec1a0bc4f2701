"""The logs people bring, each a small file of ours with its mapping, and what is in the log afterwards."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from feature_repo.core.clock import FixedClock, to_us
from feature_repo.core.settings import Settings
from feature_repo.events.importing.draft import draft_mapping
from feature_repo.events.importing.job import ImportReport, import_events
from feature_repo.events.importing.mapping_file import load_mapping, read_mapping
from feature_repo.privacy.pseudonyms import load_pseudonymiser
from importing_homes import NOW, rows_of

FIXTURES = Path(__file__).parents[1] / "fixtures"


def bring(settings: Settings, data: str, mapping: str, **options: Any) -> ImportReport:
    rules = load_mapping(FIXTURES / f"{mapping}.yaml")
    return import_events(settings, FixedClock(to_us(NOW)), [str(FIXTURES / data)], rules, **options)


def names(settings: Settings, *raw: str) -> list[str]:
    return [load_pseudonymiser(settings.home).pseudonym(each) for each in raw]


def test_a_clickstream_without_products_goes_to_several_tables_by_a_column(own_settings: Settings) -> None:
    report = bring(own_settings, "clicks.jsonl", "clicks")
    assert (report.read, report.published, report.ignored, report.quarantined) == (5, 4, 1, {})
    assert report.tables == {"view": 3, "search": 1}
    first, *_others, nobody = rows_of(own_settings, "view")
    assert first["event_timestamp"] == datetime(2024, 3, 30, 22, 59, 59, 500_000, tzinfo=UTC)
    assert (first["item_id"], first["price"], first["session_id"]) == (None, None, "s1")
    assert [first["user_id"], nobody["user_id"]] == [*names(own_settings, "0017"), None]
    [search] = rows_of(own_settings, "search")
    assert (search["query"], search["event_timestamp"]) == ("grüner Tee", datetime(2024, 3, 31, 1, tzinfo=UTC))


def test_order_lines_that_are_alike_are_both_kept_and_ids_keep_their_zeros(own_settings: Settings) -> None:
    report = bring(own_settings, "order_lines.csv", "order_lines")
    assert (report.read, report.published, report.duplicates, report.quarantined) == (5, 5, 0, {})
    assert report.rules == {"times_skipped_by_summer_time": 1, "times_that_come_twice": 1}
    rows = rows_of(own_settings, "purchase")
    assert [row["item_id"] for row in rows[:3]].count("00123") == 2
    assert len({row["event_id"] for row in rows}) == 5
    assert sorted(row["amount"] or 0 for row in rows) == [0, 12.5, 12.5, 12.5, 1003.0]
    assert {row["event_timestamp"] for row in rows[:3]} == {datetime(2024, 3, 30, 17, 30, tzinfo=UTC)}
    skipped, twice = rows[3:]
    assert skipped["event_timestamp"] == datetime(2024, 3, 31, 1, 30, tzinfo=UTC)
    assert twice["event_timestamp"] == datetime(2024, 10, 27, 1, 30, tzinfo=UTC)
    assert [skipped["user_id"], twice["user_id"]] == names(own_settings, "7", "000007")
    assert all(row["ingested_at"] == row["event_timestamp"] for row in rows)


def test_a_spreadsheets_table_with_dates_is_read_at_the_declared_hour(own_settings: Settings) -> None:
    report = bring(own_settings, "reviews.tsv", "reviews")
    assert (report.read, report.published, report.duplicates) == (3, 2, 1)
    assert report.rules == {"blank_lines": 1, "dates_without_time": 3}
    summer, winter = rows_of(own_settings, "review")
    assert summer["event_timestamp"] == datetime(2024, 7, 1, 22, tzinfo=UTC)
    assert winter["event_timestamp"] == datetime(2024, 12, 24, 23, tzinfo=UTC)
    assert (summer["item_id"], winter["rating"]) == ("A", 4.5)


def test_a_table_set_apart_by_spaces_reads_ids_as_declared(own_settings: Settings) -> None:
    assert bring(own_settings, "ratings.txt", "ratings").published == 3
    rows = rows_of(own_settings, "review")
    assert [row["item_id"] for row in rows] == ["000377", "000242", "000302"]
    assert [row["user_id"] for row in rows] == names(own_settings, "22", "196", "196")
    assert rows[1]["event_timestamp"] == datetime(1997, 12, 4, 15, 55, 49, tzinfo=UTC)


def test_attributes_that_change_are_facts_of_their_dates(own_settings: Settings) -> None:
    bring(own_settings, "members.csv", "members")
    five = [row for row in rows_of(own_settings, "users") if row["user_id"] == names(own_settings, "5")[0]]
    assert [(row["age_band"], row["home_ownership"]) for row in five] == [("25-34", "renter"), ("35-44", "owner")]


def test_one_file_is_read_twice_for_two_kinds_of_facts(own_settings: Settings) -> None:
    bring(own_settings, "members.csv", "members")
    assert bring(own_settings, "members.csv", "consents").published == 3
    assert [row["granted"] for row in rows_of(own_settings, "consent") if row["purpose"] == "marketing"].count(
        True
    ) == 2


def test_half_of_the_shoppers_came_once_and_none_is_lost(own_settings: Settings, tmp_path: Path) -> None:
    lines = [f"{user},2025-01-{day:02},9" for user in range(100) for day in range(1, 2 if user < 51 else 4)]
    (tmp_path / "visits.csv").write_text("user,date,amount\n" + "\n".join(lines))
    rules = read_mapping(draft_mapping(str(tmp_path / "visits.csv")).mapping, "draft")
    import_events(own_settings, FixedClock(to_us(NOW)), [str(tmp_path / "visits.csv")], rules)
    users = [row["user_id"] for row in rows_of(own_settings, "purchase")]
    assert sum(users.count(user) == 1 for user in set(users)) == 51
    assert (len(set(users)), len(users)) == (100, 51 + 49 * 3)


def test_a_date_and_its_time_of_day_stand_in_two_columns(own_settings: Settings) -> None:
    report = bring(own_settings, "tills.csv", "tills")
    assert (report.read, report.published, report.quarantined) == (8, 7, {"missing_event_timestamp": 1})
    times = {row["event_timestamp"] for row in rows_of(own_settings, "purchase")}
    assert times == {
        datetime(2024, 3, 4, 23, 5, tzinfo=UTC),
        datetime(2024, 3, 5, 8, 30, tzinfo=UTC),
        datetime(2024, 3, 5, 8, 31, tzinfo=UTC),
        datetime(2024, 3, 5, 17, 30, tzinfo=UTC),
    }


def test_payments_are_the_sums_of_orders_paid_with_their_last_line(own_settings: Settings) -> None:
    report = bring(own_settings, "tills.csv", "tills")
    assert (report.published, report.derived, report.tables) == (7, 3, {"purchase": 7, "payment": 3})
    night, morning, evening = rows_of(own_settings, "payment")
    assert [row["user_id"] for row in (night, morning, evening)] == names(own_settings, "00007", "00042", "00007")
    assert morning["event_timestamp"] == morning["ingested_at"] == datetime(2024, 3, 5, 8, 31, tzinfo=UTC)
    wanted = {"order_id": "0001", "amount": 14.0, "lines": 3, "items": 4, "categories": 2, "coupon_discount": 1.0}
    assert {name: morning[name] for name in wanted} == wanted
    assert (morning["coupon_lines"], morning["retail_discount"], morning["method"]) == (1, None, None)
    assert (night["items"], night["categories"], night["coupon_lines"]) == (1, 1, 0)
    assert (night["coupon_discount"], round(night["amount"], 9)) == (None, 0.3)
    # Without an order id: what a shopper buys at one instant.
    assert (evening["order_id"], evening["amount"], evening["lines"]) == (None, 7.0, 2)


def test_text_of_a_spreadsheet_in_utf_16_is_read_as_it_is(own_settings: Settings) -> None:
    report = bring(own_settings, "unicode_text.txt", "unicode_text")
    assert (report.read, report.published) == (2, 2)
    rows = rows_of(own_settings, "search")
    # The bytes of the second word hold a line feed's twice.
    assert [row["query"] for row in rows] == ["grüner Tee 绿茶 🍵", "ਊ"]
    assert rows[0]["event_timestamp"] == datetime(2024, 7, 1, 9, 30, tzinfo=UTC)


def test_a_zip_archive_with_one_file_is_that_file(own_settings: Settings) -> None:
    report = bring(own_settings, "clicks.zip", "clicks")
    assert (report.read, report.tables) == (5, {"view": 3, "search": 1})
    assert bring(own_settings, "clicks.jsonl", "clicks").duplicates == 4


PAIRS = [
    ("tills.csv", "tills"),
    ("unicode_text.txt", "unicode_text"),
    ("clicks.zip", "clicks"),
    ("clicks.jsonl", "clicks"),
    ("order_lines.csv", "order_lines"),
    ("reviews.tsv", "reviews"),
    ("ratings.txt", "ratings"),
    ("members.csv", "members"),
]


@pytest.mark.parametrize(("data", "mapping"), PAIRS)
def test_importing_twice_adds_nothing(own_settings: Settings, data: str, mapping: str) -> None:
    first, again = bring(own_settings, data, mapping), bring(own_settings, data, mapping)
    assert (again.published, again.duplicates) == (0, first.published + first.duplicates)
    assert again.read == first.read


@pytest.mark.parametrize(("data", "mapping"), PAIRS)
def test_a_rehearsal_writes_no_event(own_settings: Settings, data: str, mapping: str) -> None:
    report = bring(own_settings, data, mapping, dry_run=True)
    assert (report.read > 0, report.published, report.dry_run) == (True, 0, True)
    assert not own_settings.log_root.exists()


@pytest.mark.parametrize(
    "data",
    [
        "clicks.jsonl",
        "order_lines.csv",
        "reviews.tsv",
        "ratings.txt",
        "members.csv",
        "tills.csv",
        "unicode_text.txt",
        "clicks.zip",
    ],
)
def test_a_draft_is_a_mapping_and_holds_no_cell_of_the_file(data: str) -> None:
    draft = draft_mapping(str(FIXTURES / data))
    mapping = read_mapping(draft.mapping, "draft")
    assert draft.open_questions
    for cell in ("0017", "4711", "000042", "0002", "196", "25-34", "00042", "930", "Tee"):
        assert cell not in draft.mapping
    assert set(mapping.wanted) <= {*(guess.column for guess in draft.columns), "NAME_IN_THE_FILE", mapping_column(data)}


def mapping_column(data: str) -> str:
    return "action" if data.startswith("clicks.") else ""


def test_a_draft_guesses_delimiter_header_time_and_decimal_mark() -> None:
    mapping = read_mapping(draft_mapping(str(FIXTURES / "order_lines.csv")).mapping, "draft")
    assert (mapping.source.delimiter, mapping.source.header, mapping.source.decimal) == (";", True, ",")
    assert (mapping.source.thousands, mapping.source.null_values) == (".", ("n/a",))
    assert (mapping.time.format, mapping.event_type, mapping.duplicates) == ("%d.%m.%Y %H:%M", "purchase", "keep")
    assert mapping.columns["user_id"].column == "customer"
    ratings = read_mapping(draft_mapping(str(FIXTURES / "ratings.txt")).mapping, "draft")
    assert (ratings.source.delimiter, ratings.source.header, ratings.time.format) == ("whitespace", False, "epoch_s")
    reviews = read_mapping(draft_mapping(str(FIXTURES / "reviews.tsv")).mapping, "draft")
    assert (reviews.source.delimiter, reviews.columns["user_id"].column, reviews.event_type) == (
        "\t",
        "member",
        "review",
    )


def test_a_draft_sees_a_time_of_day_beside_a_date_and_orders_to_derive_payments_from(own_settings: Settings) -> None:
    draft = draft_mapping(str(FIXTURES / "tills.csv"))
    mapping = read_mapping(draft.mapping, "draft")
    at = mapping.columns["event_timestamp"]
    assert (at.parts, at.time.pad if at.time else 0) == (("day", "sale_time"), 4)
    assert (mapping.time.format, mapping.derive) == ("%d.%m.%Y %H%M", "payment")
    assert [each.targets for each in draft.columns if each.column == "sale_time"] == [("event_timestamp",)]
    report = import_events(own_settings, FixedClock(to_us(NOW)), [str(FIXTURES / "tills.csv")], mapping)
    assert (report.published, report.derived) == (7, 3)


def test_a_draft_sees_utf_16_and_what_is_in_an_archive(own_settings: Settings) -> None:
    text = read_mapping(draft_mapping(str(FIXTURES / "unicode_text.txt")).mapping, "draft")
    assert (text.source.encoding, text.source.delimiter, text.time.format) == ("utf-16", "\t", "%Y-%m-%d %H:%M")
    assert text.columns["event_timestamp"].parts == ("day", "clock")
    assert read_mapping(draft_mapping(str(FIXTURES / "clicks.zip")).mapping, "draft").source.format == "jsonl"
