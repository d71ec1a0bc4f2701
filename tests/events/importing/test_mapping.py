"""A mapping that cannot be right is refused with its line, its key, and what to write instead."""

from pathlib import Path

import pytest

from feature_repo.core.errors import DeclarationError
from feature_repo.events.importing.mapping_file import load_mapping, read_mapping

GOOD = """source:
  format: csv
time:
  zone: Europe/Berlin
event_type: purchase
columns:
  user_id: who
  event_timestamp: at
  amount: {column: paid}
duplicates: keep
"""

WRONG = {
    "a misspelt key": ("columns:", "columnz:", "line 1, `columns`: is missing", "'columnz' is not a key there"),
    "a misspelt key beside the right ones": (
        "duplicates:",
        "duplicate: x\nduplicates:",
        "line 10, `duplicate`",
        "duplicates",
    ),
    "a misspelt key below": ("zone:", "zon:", "line 4, `time.zon`: is not a key there", "did you mean 'zone'?"),
    "a misspelt target": ("amount:", "amuont:", "line 9, `columns.amuont`", "did you mean 'amount'?"),
    "a target of another event": ("amount:", "dwell_s:", "purchase have no 'dwell_s'", "known are"),
    "a misspelt event type": ("purchase", "purchasee", "line 5, `event_type`", "did you mean 'purchase'?"),
    "an unknown format": ("format: csv", "format: xlsx", "line 2, `source.format`: is 'xlsx'", "csv, jsonl or parquet"),
    "an unknown zone": ("Europe/Berlin", "Berlin", "'Berlin'; did you mean 'Europe/Berlin'?", "time"),
    "an unknown encoding": ("format: csv", "format: csv\n  encoding: utf-88", "no encoding 'utf-88'", "source"),
    "a wide encoding": ("format: csv", "format: csv\n  encoding: utf-16-le", "convert the file to UTF-8", "source"),
    "payments of no purchase": (
        "event_type: purchase",
        "derive: payment\nevent_type: return",
        "no event type is purchase",
        "leave it out",
    ),
    "payments beside payments": (
        "event_type: purchase",
        "derive: payment\nevent_type: {column: a, values: {b: purchase, c: payment}}",
        "payments are in the file already",
        "leave it out",
    ),
    "something else to derive": (
        "duplicates: keep",
        "duplicates: keep\nderive: views",
        "`derive`: is 'views'",
        "payment",
    ),
    "a time of day of an amount": ("{column: paid}", "{column: paid, time: at}", "'amount' is no time", "two columns"),
    "a time of day of a number": (
        "event_timestamp: at",
        "event_timestamp: {column: at, time: clock, format: epoch_s}",
        "'epoch_s' is not of a date and a time",
        "%d.%m.%Y %H:%M",
    ),
    "a time of day beside the format of a date": (
        "event_timestamp: at",
        "event_timestamp: {column: at, time: clock, format: '%d.%m.%Y'}",
        "line 8, `columns.event_timestamp.time`",
        "%d.%m.%Y %H:%M",
    ),
    "a misspelt key of a time of day": (
        "event_timestamp: at",
        "event_timestamp: {column: at, time: {column: b, pads: 4}}",
        "`columns.event_timestamp.time.pads`: is not a key there",
        "did you mean 'pad'?",
    ),
    "a delimiter of two characters": ("format: csv", 'format: csv\n  delimiter: "||"', "a delimiter is one", "source"),
    "a time format without a pattern": ("zone:", "format: DD.MM\n  zone:", "'DD.MM' is no format", "time"),
    "a time format with a wrong letter": ("zone:", "format: '%Q'\n  zone:", "no pattern of strptime", "%d.%m.%Y"),
    "an hour of day that is none": ("zone:", "date_at: '25:00'\n  zone:", "line 4, `time.date_at`", "time"),
    "no user": ("  user_id: who\n", "", "event type 'purchase' needs 'user_id'", "user_id: NAME IN THE FILE"),
    "no time": ("  event_timestamp: at\n", "", "needs 'event_timestamp'", "event_timestamp: NAME"),
    "no say about duplicates": ("duplicates: keep\n", "", "`duplicates`: is missing", "keep (rows alike"),
    "ids that nobody gives": ("keep", "event_id", "no column is mapped to event_id", "map event_id"),
    "ids beside a rule": ("  amount", "  event_id: id\n  amount", "is 'keep' though event_id is mapped", "leave the"),
    "a constant that is a column": ("duplicates", "constants: {amount: 1}\nduplicates", "is a column too", "keep one"),
    "one id for all": (
        "duplicates",
        "constants: {event_id: x}\nduplicates",
        "all rows would have one",
        "from a column",
    ),
    "a derived column": ("amount:", "ingested_at:", "'ingested_at' is not mapped", "leave it out"),
    "names beside a header": ("format: csv", "format: csv\n  names: [a]", "names are given though", "header: false"),
    "no names without a header": ("format: csv", "format: csv\n  header: false", "has no names", "names: [a, b]"),
    "a name twice": ("format: csv", "format: csv\n  header: false\n  names: [a, a]", "given twice", "name of its own"),
    "one mark for two things": ("format: csv", "format: csv\n  thousands: '.'", "is the decimal mark too", "both"),
    "a column without a name": ("{column: paid}", "{pad: 3}", "`columns.amount.column`: is missing", "column"),
    "a key twice": (
        "duplicates: keep",
        "duplicates: keep\nduplicates: drop",
        "line 11: 'duplicates' is given twice",
        "YAML",
    ),
    "no YAML": ("columns:", "columns: [", "mapping.yaml, line", "YAML"),
    "a tab for an indent": ("  format: csv", "\tformat: csv", "mapping.yaml, line 2", "YAML"),
    "a list": (GOOD, "- a", "has no keys", "source, event_type, columns and duplicates"),
    "nothing": (GOOD, "", "has no keys", "source, event_type, columns and duplicates"),
    "words that mean no event": ("purchase", "{column: a, values: {b: null}}", "every word leaves", "event type"),
    "words that mean an unknown event": (
        "purchase",
        "{column: a, values: {b: vieww}}",
        "event_type.values.b",
        "'view'",
    ),
    "words without a column": ("purchase", "{values: {b: view}}", "`event_type.column`: is missing", "column"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_mapping_is_told_with_line_key_and_what_to_write(name: str) -> None:
    old, new, what, hint = WRONG[name]
    assert old in GOOD
    with pytest.raises(DeclarationError) as raised:
        read_mapping(GOOD.replace(old, new, 1), "mapping.yaml")
    assert what in raised.value.what
    assert hint in raised.value.hint


def test_values_stay_as_they_are_written() -> None:
    text = GOOD.replace("purchase", "{column: kind, values: {007: purchase, no: view, 1e3: null}}")
    assert read_mapping(text, "m").event_type.values == {"007": "purchase", "no": "view", "1e3": None}


def test_a_mapping_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="cannot be read"):
        load_mapping(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DeclarationError, match="not UTF-8"):
        load_mapping(tmp_path / "binary.yaml")


def test_an_anchor_that_holds_itself_is_refused() -> None:
    with pytest.raises(DeclarationError):
        read_mapping("source: &a {b: *a}\n", "m")
