"""Sixty and more ways a file can be wrong: each is told with reason and line, and takes no good row with it."""

import gzip
import json
from pathlib import Path

import pytest

from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from importing_homes import files_with, import_text, rows_of

CSV = """
source: {format: csv, encoding: ENCODING, delimiter: "DELIMITER"}
time: {zone: Europe/Berlin, gap: refuse, fold: refuse}
event_type: {column: kind, values: {buy: purchase, allow: consent}}
columns:
  {user_id: who, event_timestamp: at, item_id: item, quantity: units, amount: amount, purpose: item, granted: yes}
duplicates: keep
"""
JSON = CSV.replace("format: csv", "format: jsonl")
HEADER = b"who,at,kind,item,units,amount,yes\n"
GOOD = b"secret-ada,2024-05-01 10:00,buy,7,1,2.50,\n"
LAST = b"secret-bob,2024-05-02 11:00,buy,8,2,3.50,\n"


def row(**cells: str) -> bytes:
    usual = {"who": "secret-eve", "at": "2024-05-01 12:00", "kind": "buy", "item": "9", "units": "1", "amount": "1"}
    return (",".join({**usual, "yes": "", **cells}.values()) + "\n").encode()


BROKEN_LINES = {
    "too few cells": (b"secret-eve,2024-05-01\n", "too_few_cells"),
    "too many cells": (GOOD[:-1] + b",more\n", "too_many_cells"),
    "one cell": (b"secret-eve\n", "too_few_cells"),
    "not UTF-8": (b"secret-eve,2024-05-01,buy,th\xe9,1,1,\n", "not_in_the_encoding"),
    "half a character": (b"secret-eve,2024-05-01,buy,\xe2\x82,1,1,\n", "not_in_the_encoding"),
    "a NUL": (row(item="a\0b"), "nul_character_item_id"),
    "a NUL in a user id": (row(who="secret\0eve"), "nul_character_user_id"),
    "a NUL in a number": (row(units="1\0"), "not_an_integer_quantity"),
    "an open quote": (b'secret-eve,"2024-05-01,buy,9,1,1,\n', "unclosed_quote"),
    "an open quote behind a quoted cell": (b'"secret-eve","2024-05-01,buy,9,1,1,\n', "unclosed_quote"),
    "text behind a quote": (b'"secret"-eve,2024-05-01,buy,9,1,1,\n', "text_behind_a_quote"),
    "a carriage return in a cell": (row(item="a\rb"), "carriage_return_in_a_cell"),
    "a huge cell": (row(item="x" * 200_000), "cell_too_large"),
    "a huge line": (row(item="x" * 3_000_000), "line_too_long"),
    "no user": (row(who=""), "missing_user_id"),
    "white space for a user": (row(who="   "), "missing_user_id"),
    "no time": (row(at=""), "missing_event_timestamp"),
    "words for a time": (row(at="yesterday"), "not_a_time_event_timestamp"),
    "a day no month has": (row(at="2024-02-30"), "not_a_time_event_timestamp"),
    "hour 25": (row(at="2024-05-01 25:00"), "not_a_time_event_timestamp"),
    "another order of day and month": (row(at="13.05.2024"), "not_a_time_event_timestamp"),
    "seconds of Unix among dates": (row(at="1714557600"), "not_a_time_event_timestamp"),
    "an offset without a time": (row(at="2024-05-01+02:00"), "not_a_time_event_timestamp"),
    "before 1970": (row(at="1899-12-31"), "time_out_of_range_event_timestamp"),
    "year 9999": (row(at="9999-12-31"), "time_out_of_range_event_timestamp"),
    "the future": (row(at="2031-01-01"), "time_in_future"),
    "an hour that summer time skips": (row(at="2024-03-31 02:30"), "time_skipped_by_summer_time_event_timestamp"),
    "an hour that comes twice": (row(at="2024-10-27 02:30"), "time_that_comes_twice_event_timestamp"),
    "an unknown event type": (row(kind="sell"), "unknown_event_type"),
    "no event type": (row(kind=""), "unknown_event_type"),
    "an event type in capitals": (row(kind="BUY"), "unknown_event_type"),
    "words for an integer": (row(units="two"), "not_an_integer_quantity"),
    "a fraction for an integer": (row(units="1.5"), "not_an_integer_quantity"),
    "an integer past 2^53": (row(units="9007199254740993"), "integer_out_of_range_quantity"),
    "an integer past int64": (row(units="9" * 30), "not_an_integer_quantity"),
    "hexadecimal": (row(units="0x1F"), "not_an_integer_quantity"),
    "an integer with words": (row(units="3 pcs"), "not_an_integer_quantity"),
    "an amount with its currency": (row(amount="EUR 3"), "not_a_number_amount"),
    "two decimal marks": (row(amount="1.000.50"), "not_a_number_amount"),
    "NaN": (row(amount="NaN"), "not_a_number_amount"),
    "infinity": (row(amount="inf"), "not_a_number_amount"),
    "a number past double": (row(amount="1e999"), "not_a_number_amount"),
    "a formula's error": (row(amount="#REF!"), "not_a_number_amount"),
    "neither yes nor no": (row(kind="allow", item="ads", yes="perhaps"), "not_true_or_false_granted"),
    "a required flag left out": (row(kind="allow", item="ads"), "missing_granted"),
    "a required text left out": (row(kind="allow", item="", yes="yes"), "missing_purpose"),
    "the header again": (HEADER, "unknown_event_type"),
}


@pytest.mark.parametrize("name", BROKEN_LINES)
def test_a_broken_line_is_refused_with_its_reason_and_line_and_the_others_are_kept(
    own_settings: Settings, tmp_path: Path, name: str
) -> None:
    line, reason = BROKEN_LINES[name]
    report = import_text(own_settings, tmp_path / "shop.csv", HEADER + GOOD + line + LAST, CSV)
    assert (report.read, report.published, report.duplicates) == (3, 2, 0)
    assert report.quarantined == {reason: 1}
    assert sorted(each["item_id"] for each in rows_of(own_settings, "purchase")) == ["7", "8"]
    [refused] = rows_of(own_settings, "quarantine")
    assert (refused["source"], refused["line"], refused["reason"]) == (str(tmp_path / "shop.csv"), 3, reason)
    assert files_with(own_settings.home, b"secret") == []


BROKEN_OBJECTS = {
    "no JSON": (b'{"who": "secret-eve"\n', "not_json"),
    "a bare word": (b"secret-eve\n", "not_json"),
    "two objects on a line": (b'{"who": "secret-eve"} {"who": "secret-eve"}\n', "not_json"),
    "an array": (b'["secret-eve"]\n', "not_an_object"),
    "a number": (b"7\n", "not_an_object"),
    "null": (b"null\n", "not_an_object"),
    "a list for a value": (b'{"who": ["secret-eve"], "at": "2024-05-01", "kind": "buy"}\n', "not_a_plain_value"),
    "an object for a value": (
        b'{"who": {"id": "secret-eve"}, "at": "2024-05-01", "kind": "buy"}\n',
        "not_a_plain_value",
    ),
    "half a surrogate pair": (b'{"who": "secret-eve\\ud800", "at": "2024-05-01", "kind": "buy"}\n', "not_unicode"),
    "an escaped NUL": (b'{"who": "secret\\u0000eve", "at": "2024-05-01", "kind": "buy"}\n', "nul_character_user_id"),
    "nested without end": (b"[" * 200_000 + b"\n", "not_json"),
    "not UTF-8": (b'{"who": "secret-\xff"}\n', "not_in_the_encoding"),
    "a key left out": (b'{"who": "secret-eve", "kind": "buy"}\n', "missing_event_timestamp"),
    "NaN": (b'{"who": "secret-eve", "at": "2024-05-01", "kind": "buy", "amount": NaN}\n', "not_a_number_amount"),
    "text for a number": (
        b'{"who": "secret-eve", "at": "2024-05-01", "kind": "buy", "units": "x"}\n',
        "not_an_integer_quantity",
    ),
}


@pytest.mark.parametrize("name", BROKEN_OBJECTS)
def test_a_broken_object_is_refused_with_its_reason_and_line(own_settings: Settings, tmp_path: Path, name: str) -> None:
    line, reason = BROKEN_OBJECTS[name]
    good = {
        "who": "secret-ada",
        "at": "2024-05-01 10:00",
        "kind": "buy",
        "item": 7,
        "units": 1,
        "amount": 2.5,
        "yes": None,
    }
    text = json.dumps(good).encode() + b"\n" + line + json.dumps(good | {"item": "07"}).encode()
    report = import_text(own_settings, tmp_path / "shop.jsonl", text, JSON)
    assert (report.read, report.published, report.quarantined) == (3, 2, {reason: 1})
    assert sorted(each["item_id"] for each in rows_of(own_settings, "purchase")) == ["07", "7"]
    assert rows_of(own_settings, "quarantine")[0]["line"] == 2
    assert files_with(own_settings.home, b"secret") == []


WRONG_FILES = {
    "empty": (b"", "is empty"),
    "a header without a column": (b"who,at,kind,item,units,yes\n", "has no column 'amount'"),
    "a header with a column twice": (HEADER.replace(b"yes", b"yes,who") + GOOD, "has 2 columns 'who'"),
    "another delimiter": (HEADER.replace(b",", b";") + GOOD, "has no column"),
    "no header": (GOOD + LAST, "has no column"),
    "lines ended by a carriage return": ((HEADER + GOOD).replace(b"\n", b"\r"), "carriage return alone"),
    "UTF-32": ((HEADER + GOOD).decode().encode("utf-32"), "is UTF-32"),
    "a ZIP archive": (b"PK\x03\x04" + GOOD, "a ZIP archive or an Excel sheet"),
    "bzip2": (b"BZh9" + GOOD, "compressed by bzip2"),
    "gzip cut off": (gzip.compress(HEADER + GOOD)[:-9], "damaged or cut off"),
    "gzip of nothing sensible": (b"\x1f\x8b" + GOOD, "damaged or cut off"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_a_file_that_is_none_is_an_error_and_nothing_is_written(
    own_settings: Settings, tmp_path: Path, name: str
) -> None:
    content, message = WRONG_FILES[name]
    with pytest.raises(DataError, match=message) as raised:
        import_text(own_settings, tmp_path / "shop.csv", content, CSV)
    assert str(tmp_path / "shop.csv") in str(raised.value)
    assert not own_settings.log_root.exists()


def test_a_stray_quote_takes_neither_the_lines_behind_it_nor_the_next_stray_quote(
    own_settings: Settings, tmp_path: Path
) -> None:
    stray = b'secret-eve,"2024-05-01,buy,9,1,1,\n'
    many = b"".join(row(item=str(n)) for n in range(300))
    report = import_text(own_settings, tmp_path / "shop.csv", HEADER + stray + GOOD + stray + many + LAST, CSV)
    assert (report.published, report.quarantined) == (302, {"unclosed_quote": 2})
