"""The commands around a log of one's own, as a user types them."""

import json
import re
from pathlib import Path

import pytest

from feature_repo.core.settings import Settings
from feature_repo.privacy.pseudonyms import load_pseudonymiser
from feature_repo.privacy.tombstones import Tombstones
from support_commands import portrait, run_portrait

FIXTURES = Path(__file__).parents[1] / "events" / "fixtures"


@pytest.mark.slow(3)
def test_import_tells_in_json_what_became_of_every_row(tmp_path: Path) -> None:
    data = tmp_path / "orders.csv"
    data.write_bytes((FIXTURES / "order_lines.csv").read_bytes() + b"000042;never;0009;00123;1;1,00\n")
    words = f"events import {data} --mapping {FIXTURES / 'order_lines.yaml'}"
    report = run_portrait(words, tmp_path / "home")
    assert {name: report[name] for name in ("read", "published", "duplicates", "quarantined")} == {
        "read": 6,
        "published": 5,
        "duplicates": 0,
        "quarantined": {"not_a_time_event_timestamp": 1},
    }
    again = run_portrait(words, tmp_path / "home")
    assert (again["published"], again["duplicates"], again["quarantined"]) == (0, 5, report["quarantined"])


def test_import_tells_a_reader_where_a_reason_was_met_first(tmp_path: Path) -> None:
    data = tmp_path / "orders.csv"
    data.write_bytes((FIXTURES / "order_lines.csv").read_bytes() + b"000042;never;0009;00123;1;1,00\n")
    told = portrait(f"events import {data} --mapping {FIXTURES / 'order_lines.yaml'}", tmp_path / "home")
    assert "6 rows of 1 files read, 5 published, 0 known already, 1 refused" in told
    assert f"{data}, line 7" in told


@pytest.mark.slow(3)
def test_too_many_bad_rows_exit_with_1_and_a_wrong_mapping_with_2(tmp_path: Path) -> None:
    data = tmp_path / "orders.csv"
    data.write_bytes((FIXTURES / "order_lines.csv").read_bytes() + b"x\n")
    words = f"events import {data} --mapping {FIXTURES / 'order_lines.yaml'} --max-bad 0.1"
    assert "CheckFailedError" in run_portrait(words, tmp_path / "home", expect=1)["error"]["type"]
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((FIXTURES / "order_lines.yaml").read_text().replace("item_id", "item_ids"))
    error = run_portrait(f"events import {data} --mapping {wrong}", tmp_path / "home", expect=2)["error"]
    assert "line 9, `columns.item_ids`" in error["what"]
    assert error["hint"] == "did you mean 'item_id'?"


@pytest.mark.slow(3)
def test_a_file_of_which_no_row_is_good_exits_with_1_and_says_its_reasons(tmp_path: Path) -> None:
    data = tmp_path / "orders.csv"
    first, *_ = (FIXTURES / "order_lines.csv").read_bytes().splitlines(keepends=True)
    data.write_bytes(first + b"000042;never;0009;00123;1;1,00\n")
    words = f"events import {data} --mapping {FIXTURES / 'order_lines.yaml'}"
    told = portrait(words, tmp_path / "home", expect=1)
    assert "1 refused" in told
    assert f"{data}, line 2" in told
    report = run_portrait(words, tmp_path / "home", expect=1)
    assert report["quarantined"] == {"not_a_time_event_timestamp": 1}


@pytest.mark.slow(3)
def test_map_writes_a_draft_once(tmp_path: Path) -> None:
    out = tmp_path / "draft.yaml"
    report = run_portrait(f"events map {FIXTURES / 'order_lines.csv'} --out {out}", tmp_path / "home")
    assert report["mapping"] == out.read_text()
    assert "In which time zone are the times?" in report["open_questions"]
    assert portrait(f"events map {FIXTURES / 'order_lines.csv'}", tmp_path / "home") == out.read_text()
    assert "exists already" in json.dumps(
        run_portrait(f"events map {FIXTURES / 'order_lines.csv'} --out {out}", tmp_path / "home", expect=2)
    )


@pytest.mark.slow(10)
@pytest.mark.parametrize("mapping", ["", "order_lines"])
def test_check_says_what_a_log_supports_and_why_not(tmp_path: Path, mapping: str) -> None:
    if mapping:
        words = f"events import {FIXTURES / 'order_lines.csv'} --mapping {FIXTURES / 'order_lines.yaml'}"
        portrait(words, tmp_path / "home")
    report = run_portrait("features check", tmp_path / "home")
    views = {each["name"]: each for each in report["views"]}
    assert views["user_payments"] == {
        "name": "user_payments",
        "supported": False,
        "reasons": ["The log has no 'payment' events."],
    }
    assert views["user_trends"]["reasons"] == ["It reads 'user_payments', which is not supported."]
    assert views["user_purchases"]["supported"] is bool(mapping)
    assert views["item_purchases"]["supported"] is bool(mapping)
    assert not views["user_category_purchases"]["supported"]
    if mapping:
        assert views["user_purchases"]["reasons"] == [
            "Never known: coupon_discount, coupon_match_discount, retail_discount."
        ]
        assert views["user_category_purchases"]["reasons"] == ["No 'purchase' event has a 'category'."]
    tasks = {each["name"]: each for each in report["tasks"]}
    assert set(tasks) == {"category", "churn", "items", "purchase_intent", "redemption", "spend"}
    assert not any(each["supported"] for each in tasks.values())
    assert "'campaign_exposure'" in tasks["redemption"]["reasons"][0]


@pytest.mark.slow(13)
def test_check_finds_that_the_demo_supports_all_but_views_of_what_shoppers_do_in_a_web_shop(shop_home: Path) -> None:
    report = run_portrait("features check", shop_home)
    lacking = {each["name"]: each["reasons"] for each in report["views"] if not each["supported"]}
    without = {
        "view": ("item_views_live", "user_category_views", "user_views", "user_views_live"),
        "search": ("user_searches", "user_searches_live"),
        "click": ("user_clicks", "user_clicks_live"),
        "cart": ("item_carts_live", "user_carts", "user_carts_live", "user_category_carts"),
        "consent": ("user_consent",),
        "feedback": ("user_feedback", "user_item_feedback"),
    }
    assert lacking == {
        "shop_calendar": ["It reads 'user_views_live', which is not supported."],
        "user_intent": [f"It reads '{name}', which is not supported." for name in ("user_carts", "user_views")],
        **{name: [f"The log has no '{event}' events."] for event, names in without.items() for name in names},
    }
    unsupported = {each["name"]: each["reasons"] for each in report["tasks"] if not each["supported"]}
    assert unsupported.keys() == {"purchase_intent"}  # until a web shop's events are there
    assert "'view'" in unsupported["purchase_intent"][0]


def test_a_rehearsal_says_how_many_rows_are_good(tmp_path: Path) -> None:
    data = tmp_path / "orders.csv"
    data.write_bytes((FIXTURES / "order_lines.csv").read_bytes() + b"000042;never;0009;00123;1;1,00\n")
    told = portrait(f"events import {data} --mapping {FIXTURES / 'order_lines.yaml'} --dry-run", tmp_path / "home")
    assert "6 rows of 1 files read, 5 good (those the log knows already included), 1 refused" in told


@pytest.mark.slow(3)
def test_rows_of_a_person_who_was_erased_are_counted_among_those_read(tmp_path: Path) -> None:
    words = f"events import {FIXTURES / 'order_lines.csv'} --mapping {FIXTURES / 'order_lines.yaml'}"
    portrait(words, tmp_path / "home")
    settings = Settings(home=tmp_path / "home")
    Tombstones(settings.home).add(load_pseudonymiser(settings.home).pseudonym("000042"))
    report = run_portrait(words, tmp_path / "home")
    assert report["erased"] > 0
    assert f"{report['duplicates']} known already, {report['erased']} of people who were erased, 0 refused" in portrait(
        words, tmp_path / "home"
    )


def test_an_empty_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    data = tmp_path / "orders.csv"
    data.touch()
    words = f"events import {data} --mapping {FIXTURES / 'order_lines.yaml'}"
    error = run_portrait(words, tmp_path / "home", expect=2)["error"]
    assert (error["what"], error["hint"]) == (f"'{data}' is empty.", "name a file with some rows in it.")


def test_the_reasons_of_refused_rows_have_lines_of_their_own(tmp_path: Path) -> None:
    data = tmp_path / "orders.csv"
    lines = b"000042;never;0009;00123;1;1,00\n;30.03.2024 18:30;0009;00123;1;1,00\n"
    data.write_bytes((FIXTURES / "order_lines.csv").read_bytes() + lines)
    portrait(f"events import {data} --mapping {FIXTURES / 'order_lines.yaml'}", tmp_path / "home")
    told = portrait("events stats", tmp_path / "home")
    assert max(map(len, told.splitlines())) <= 100
    assert re.search(r"purchase +not_a_time_event_timestamp +1\n", told)
