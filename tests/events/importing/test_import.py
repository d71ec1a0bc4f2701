"""An import as a whole: what is read from any kind of file, what is counted, and what an interruption leaves."""

import csv
import gzip
import io
from collections import Counter
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.core.clock import FixedClock, to_us
from feature_repo.core.errors import CheckFailedError, CommitConflictError, DataError
from feature_repo.core.settings import Settings
from feature_repo.events.importing import job
from feature_repo.events.importing.job import ImportReport, import_events
from feature_repo.events.importing.mapping_file import read_mapping
from importing_homes import NOW, files_with, import_text, rows_of

ORDERS = """
source: {format: csv}
time: {zone: UTC}
event_type: purchase
columns: {user_id: who, event_timestamp: at, item_id: item, amount: paid}
duplicates: keep
"""
DROP = ORDERS.replace("keep", "drop")
GIVEN = ORDERS.replace("keep", "event_id").replace("{user_id", "{event_id: id, user_id")
PARQUET = ORDERS.replace("csv", "parquet").replace("zone: UTC", "zone: Europe/Berlin")
HEADER = "who,at,item,paid\n"
LINE = "ada,2024-05-01 10:00,7,2.50\n"


def bring(home: Settings, paths: list[Path | str], mapping: str, **options: Any) -> ImportReport:
    return import_events(
        home, FixedClock(to_us(NOW)), [str(path) for path in paths], read_mapping(mapping, "m"), **options
    )


def test_gzip_and_patterns_are_read_and_a_file_named_twice_is_read_once(own_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((HEADER + LINE).encode()))
    (tmp_path / "b.csv").write_text(HEADER + LINE.replace("ada", "bob"))
    (tmp_path / "c.csv").write_bytes(b"")
    report = bring(own_settings, [f"{tmp_path}/*.csv*", tmp_path / "b.csv"], ORDERS)
    assert (report.files, report.read, report.published, report.rules) == (3, 2, 2, {"empty_files": 1})


@pytest.mark.parametrize(
    ("name", "message"), [("none.csv", "There is no file"), ("*.none", "There is no file"), ("", "is a directory")]
)
def test_a_path_that_names_no_file_is_told(own_settings: Settings, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        bring(own_settings, [f"{tmp_path}/{name}"], ORDERS)


def test_a_header_alone_is_a_day_without_events(own_settings: Settings, tmp_path: Path) -> None:
    report = import_text(own_settings, tmp_path / "a.csv", HEADER.encode(), ORDERS)
    assert (report.read, report.published, report.quarantined) == (0, 0, {})


def test_rows_alike_are_numbered_within_their_file_so_that_overlapping_exports_are_one(
    own_settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "monday.csv").write_text(HEADER + LINE * 3)
    (tmp_path / "week.csv").write_text(HEADER + LINE * 2 + LINE.replace("7", "8"))
    assert bring(own_settings, [tmp_path / "monday.csv"], ORDERS).published == 3
    assert bring(own_settings, [tmp_path / "week.csv"], ORDERS).published == 1
    assert Counter(row["item_id"] for row in rows_of(own_settings, "purchase")) == {"7": 3, "8": 1}


def test_files_of_one_import_are_numbered_as_if_they_came_one_by_one(own_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "monday.csv").write_text(HEADER + LINE * 3)
    (tmp_path / "week.csv").write_text(HEADER + LINE * 2 + LINE.replace("7", "8"))
    report = bring(own_settings, [f"{tmp_path}/*.csv"], ORDERS)
    assert (report.read, report.published, report.duplicates) == (6, 4, 2)


def test_rows_alike_are_one_where_the_mapping_says_so(own_settings: Settings, tmp_path: Path) -> None:
    report = import_text(own_settings, tmp_path / "a.csv", (HEADER + LINE * 3).encode(), DROP)
    assert (report.published, report.duplicates) == (1, 2)


def test_given_ids_tell_rows_apart_and_the_first_of_an_id_counts(own_settings: Settings, tmp_path: Path) -> None:
    text = "id," + HEADER + "1," + LINE + "2," + LINE + "1," + LINE.replace("7", "8") + "," + LINE
    report = import_text(own_settings, tmp_path / "a.csv", text.encode(), GIVEN)
    assert (report.published, report.duplicates, report.quarantined) == (2, 1, {"missing_event_id": 1})
    assert [row["item_id"] for row in rows_of(own_settings, "purchase")] == ["7", "7"]


def test_rows_older_than_their_type_is_kept_are_counted_and_left_out(own_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + LINE + LINE.replace("2024", "2019"))
    days = (NOW - datetime(2024, 1, 1, tzinfo=UTC)).days
    short = own_settings.model_copy(update={"retention": f"purchase={days}d"})
    report = bring(short, [tmp_path / "a.csv"], ORDERS)
    assert (report.read, report.published, report.expired) == (2, 1, 1)


def test_too_many_bad_rows_stop_before_anything_is_written(own_settings: Settings, tmp_path: Path) -> None:
    text = (HEADER + LINE * 3 + "secret,never,7,1\n").encode()
    with pytest.raises(
        CheckFailedError, match=r"1 of 4 rows are bad.*not_a_time_event_timestamp 1 \(first: .*line 5\)"
    ):
        import_text(own_settings, tmp_path / "a.csv", text, ORDERS, max_bad=0.24)
    assert not own_settings.log_root.exists()
    assert list((own_settings.home / "tmp").iterdir()) == []
    assert import_text(own_settings, tmp_path / "a.csv", text, ORDERS, max_bad=0.25).published == 3


def test_an_import_interrupted_between_two_commits_is_finished_by_the_next(
    own_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feature_repo.events.importing.delimited.PIECE_ROWS", 2)
    monkeypatch.setattr("feature_repo.events.importing.staging.COMMIT_ROWS", 2)
    (tmp_path / "a.csv").write_text(HEADER + LINE * 5)
    commits, real = [], job.admit

    def dies_at_the_second(*given: Any, **named: Any) -> Any:
        commits.append(given)
        if len(commits) == 2:
            raise KeyboardInterrupt
        return real(*given, **named)

    monkeypatch.setattr(job, "admit", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        bring(own_settings, [tmp_path / "a.csv"], ORDERS)
    assert len(rows_of(own_settings, "purchase")) == 2
    assert list((own_settings.home / "tmp").iterdir()) == []
    report = bring(own_settings, [tmp_path / "a.csv"], ORDERS)
    assert (report.published, report.duplicates) == (3, 2)


def test_every_good_row_passes_the_one_door(
    own_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed, real = [], job.admit

    def watched(root: Path, kind: str, rows: pa.Table, **named: Any) -> Any:
        passed.append((kind, len(rows)))
        return real(root, kind, rows, **named)

    monkeypatch.setattr(job, "admit", watched)
    import_text(own_settings, tmp_path / "a.csv", (HEADER + LINE * 2).encode(), ORDERS)
    assert passed == [("purchase", 2)]


def test_a_raw_id_reaches_neither_log_nor_staging_nor_quarantine(
    own_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Path] = []
    real = job._publish

    def looked_at(*given: Any) -> Any:
        found.extend(files_with(own_settings.home, b"secret"))
        return real(*given)

    monkeypatch.setattr(job, "_publish", looked_at)
    shifted = "2024-05-01 10:00,secret-ada,secret-ada,secret-ada\n"
    text = HEADER + LINE.replace("ada", "secret-ada") + shifted + "secret-ada\n" + '"secret-ada,x\n'
    report = import_text(own_settings, tmp_path / "a.csv", text.encode(), ORDERS)
    assert (report.published, sum(report.quarantined.values())) == (1, 3)
    assert found == files_with(own_settings.home, b"secret") == []


def test_a_bad_row_keeps_its_shoppers_pseudonym_so_that_erasure_finds_it(
    own_settings: Settings, tmp_path: Path
) -> None:
    text = HEADER + LINE + LINE.replace("2.50", "free")
    import_text(own_settings, tmp_path / "a.csv", text.encode(), ORDERS)
    [refused] = rows_of(own_settings, "quarantine")
    assert refused["user_id"] == rows_of(own_settings, "purchase")[0]["user_id"]
    assert (refused["event_type"], refused["payload"]) == ("purchase", '{"columns": ["amount"]}')


def test_an_event_slightly_ahead_of_the_clock_happened_when_it_was_imported(
    own_settings: Settings, tmp_path: Path
) -> None:
    text = HEADER + "ada,2026-01-01 06:00,7,1\n"
    assert import_text(own_settings, tmp_path / "a.csv", text.encode(), ORDERS).published == 1
    [row] = rows_of(own_settings, "purchase")
    assert (row["event_timestamp"], row["client_timestamp"]) == (NOW, datetime(2026, 1, 1, 6, tzinfo=UTC))


def test_quoted_cells_hold_delimiters_quotes_and_ends_of_lines(own_settings: Settings, tmp_path: Path) -> None:
    text = HEADER + 'ada,2024-05-01 10:00,"a, ""b""\n\nc",1\r\n' + LINE
    assert import_text(own_settings, tmp_path / "a.csv", text.encode(), ORDERS).published == 2
    assert {row["item_id"] for row in rows_of(own_settings, "purchase")} == {'a, "b"\n\nc', "7"}


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-8-sig", "gb18030"])
def test_an_encoding_is_read_as_declared(own_settings: Settings, tmp_path: Path, encoding: str) -> None:
    item = "茶叶" if encoding == "gb18030" else "thé"
    mapping = ORDERS.replace("format: csv", f"format: csv, encoding: {encoding}, skip_lines: 1")
    text = "an export of ours\n" + HEADER + LINE.replace("7", item)
    assert import_text(own_settings, tmp_path / "a.csv", text.encode(encoding), mapping).published == 1
    assert rows_of(own_settings, "purchase")[0]["item_id"] == item


TIMES = {
    "2024-05-01T10:00:00Z": "2024-05-01T10:00:00+00:00",
    "2024-05-01 10:00:00.123456789+02:00": "2024-05-01T08:00:00.123456+00:00",
    "2024-05-01T10:00-0330": "2024-05-01T13:30:00+00:00",
    "2024-05-01T10:00+02": "2024-05-01T08:00:00+00:00",
    "2024-05-01 10:00:00,5": "2024-05-01T10:00:00.500000+00:00",
    "2024-02-29 23:59": "2024-02-29T23:59:00+00:00",
    "2024-05-01": "2024-05-01T12:00:00+00:00",
}


@pytest.mark.parametrize("text", TIMES)
def test_iso_times_are_read_with_their_offsets(own_settings: Settings, tmp_path: Path, text: str) -> None:
    import_text(own_settings, tmp_path / "a.csv", (HEADER + f'ada,"{text}",7,1\n').encode(), ORDERS)
    assert rows_of(own_settings, "purchase")[0]["event_timestamp"].isoformat() == TIMES[text]


@pytest.mark.parametrize(
    ("unit", "text"), [("epoch_s", "1714557600.5"), ("epoch_ms", "1714557600500"), ("epoch_us", "1714557600500000")]
)
def test_seconds_of_unix_in_any_unit(own_settings: Settings, tmp_path: Path, unit: str, text: str) -> None:
    mapping = ORDERS.replace("zone: UTC", f"format: {unit}")
    import_text(own_settings, tmp_path / "a.csv", (HEADER + f"ada,{text},7,1\n").encode(), mapping)
    assert rows_of(own_settings, "purchase")[0]["event_timestamp"] == datetime(
        2024, 5, 1, 10, 0, 0, 500_000, tzinfo=UTC
    )


def test_a_local_time_without_a_zone_is_refused(own_settings: Settings, tmp_path: Path) -> None:
    mapping = ORDERS.replace("time: {zone: UTC}", "")
    report = import_text(own_settings, tmp_path / "a.csv", (HEADER + LINE).encode(), mapping)
    assert report.quarantined == {"time_without_zone_event_timestamp": 1}


TYPED = {
    "instants": (pa.array([datetime(2024, 5, 1, 10, tzinfo=UTC)] * 2, pa.timestamp("ns", "UTC")), 10),
    "instants in another zone": (
        pa.array([datetime(2024, 5, 1, 10, tzinfo=UTC)] * 2, pa.timestamp("ms", "Asia/Tokyo")),
        10,
    ),
    "wall times": (pa.array([to_us(datetime(2024, 5, 1, 10, tzinfo=UTC))] * 2, pa.timestamp("us")), 8),
    "dates": (pa.array([date(2024, 5, 1)] * 2, pa.date32()), 10),
    "texts": (pa.array(["2024-05-01 10:00"] * 2), 8),
}


@pytest.mark.parametrize("name", TYPED)
def test_parquet_keeps_types_of_times_and_digits_of_ids(own_settings: Settings, tmp_path: Path, name: str) -> None:
    times, hour = TYPED[name]
    table = pa.table(
        {
            "who": pa.array([7.0, None], pa.float64()),
            "at": times,
            "item": pa.array(["007", "8"]).dictionary_encode(),
            "paid": pa.array([Decimal("3.10"), Decimal("4.00")]),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    report = bring(own_settings, [tmp_path / "a.parquet"], PARQUET)
    assert (report.read, report.published, report.quarantined) == (2, 1, {"missing_user_id": 1})
    [row] = rows_of(own_settings, "purchase")
    assert (row["item_id"], row["amount"], row["event_timestamp"]) == (
        "007",
        3.1,
        datetime(2024, 5, 1, hour, tzinfo=UTC),
    )
    (tmp_path / "b.csv").write_text("who,at,item,paid\n7,2024-05-01 10:00,007,3.10\n")
    bring(own_settings, [tmp_path / "b.csv"], ORDERS)
    assert len({each["user_id"] for each in rows_of(own_settings, "purchase")}) == 1
    assert rows_of(own_settings, "quarantine")[0]["line"] == 1


def nested(path: Path) -> None:
    pq.write_table(pa.table({"who": [["a"]], "at": ["x"], "item": ["x"], "paid": ["x"]}), path)


def bytes_column(path: Path) -> None:
    pq.write_table(pa.table({"who": [b"a"], "at": ["x"], "item": ["x"], "paid": ["x"]}), path)


def cut_off(path: Path) -> None:
    pq.write_table(
        pa.table({"who": ["a"] * 1000, "at": ["x"] * 1000, "item": ["x"] * 1000, "paid": ["x"] * 1000}), path
    )
    path.write_bytes(path.read_bytes()[:-20])


def text(path: Path) -> None:
    path.write_text(HEADER + LINE)


def misspelt(path: Path) -> None:
    pq.write_table(pa.table({"whom": ["a"], "at": ["x"], "item": ["x"], "paid": ["x"]}), path)


CLOCKED = PARQUET.replace("event_timestamp: at", "event_timestamp: {column: at, time: clock}")
DAYS = {
    "dates": pa.array([date(2024, 7, 1), None], pa.date32()),
    "timestamps of midnight": pa.array([datetime(2024, 7, 1), None], pa.timestamp("ns")),  # noqa: DTZ001 - no zone
    "text": pa.array(["2024-07-01", None]),
}
CLOCKS = {
    "times": pa.array([time(9, 30), time(9, 30)], pa.time64("us")),
    "text": pa.array([" 09:30:00 ", "09:30"]),
}


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("day", DAYS)
def test_a_typed_date_is_joined_with_its_time_of_day(
    own_settings: Settings, tmp_path: Path, day: str, clock: str
) -> None:
    columns = {"who": ["ada", "bob"], "at": DAYS[day], "clock": CLOCKS[clock], "item": ["7", "7"], "paid": [1.0, 1.0]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    report = bring(own_settings, [tmp_path / "a.parquet"], CLOCKED)
    assert (report.published, report.quarantined) == (1, {"missing_event_timestamp": 1})
    assert rows_of(own_settings, "purchase")[0]["event_timestamp"] == datetime(2024, 7, 1, 7, 30, tzinfo=UTC)


def test_a_file_that_lacks_the_column_of_the_time_of_day_is_told(own_settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no column 'clock'"):
        import_text(own_settings, tmp_path / "a.csv", (HEADER + LINE).encode(), CLOCKED.replace("parquet", "csv"))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (nested, "not a column of plain values"),
        (bytes_column, "holds bytes"),
        (cut_off, "damaged or cut off"),
        (text, "is no Parquet file"),
        (misspelt, "has no column 'who'"),
    ],
)
def test_a_parquet_file_that_cannot_be_read_is_told(
    own_settings: Settings, tmp_path: Path, write: Any, message: str
) -> None:
    write(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        bring(own_settings, [tmp_path / "a.parquet"], PARQUET)
    assert not own_settings.log_root.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b'[{"who": "ada"}]', "one JSON array"), (b'{"whom": "ada"}\n', "No object of .* has a key")],
)
def test_a_json_file_that_cannot_be_meant_is_told(
    own_settings: Settings, tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        import_text(own_settings, tmp_path / "a.jsonl", content, ORDERS.replace("csv", "jsonl"))


cell = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), max_size=6)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    items=st.lists(cell, min_size=1, max_size=8),
    broken=st.lists(st.binary(max_size=12), max_size=4),
    quoting=st.booleans(),
)
def test_whatever_stands_between_them_the_rows_a_csv_writer_wrote_are_all_there(
    tmp_path_factory: pytest.TempPathFactory, items: list[str], broken: list[bytes], quoting: bool
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    home = Settings(home=folder / "home", threads=1, memory="1GB")
    lines = []
    for n, item in enumerate(items):
        out = io.StringIO()
        writer = csv.writer(out, quoting=csv.QUOTE_ALL if quoting else csv.QUOTE_MINIMAL)
        writer.writerow([f"user-{n}", "2024-05-01", item.replace("\n", " "), "1"])
        lines.append(out.getvalue().encode())
        if n < len(broken):
            lines.append(broken[n].replace(b"\n", b"").replace(b",", b"") + b"\n")
    report = import_text(home, folder / "a.csv", HEADER.encode() + b"".join(lines), ORDERS)
    refused = sum(report.quarantined.values())
    assert report.read == report.published + report.duplicates + refused
    assert report.published == len(items)
    expected = Counter(item.replace("\n", " ").strip() or None for item in items)
    assert Counter(row["item_id"] for row in rows_of(home, "purchase")) == expected


def test_a_stream_that_is_always_quicker_makes_the_commits_smaller(
    own_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "SMALL_COMMIT_ROWS", 1)
    tried, real = [], job.admit

    def quick_enough_for_two(root: Path, kind: str, rows: pa.Table, **named: Any) -> Any:
        tried.append(len(rows))
        if len(rows) > 2:
            raise CommitConflictError("others were first")
        return real(root, kind, rows, **named)

    monkeypatch.setattr(job, "admit", quick_enough_for_two)
    report = import_text(own_settings, tmp_path / "a.csv", (HEADER + LINE * 5).encode(), ORDERS)
    assert (report.published, tried) == (5, [5, 2, 3, 1, 2])


def test_a_file_none_of_whose_lines_can_be_decoded_is_refused_line_by_line_in_pieces(
    own_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feature_repo.events.importing.text_lines._MAX_REFUSED", 3)
    text = HEADER.encode() + b"\xff\n" * 10 + LINE.encode() + b"\xff\n" * 4
    report = import_text(own_settings, tmp_path / "a.csv", text, ORDERS)
    assert (report.read, report.published, report.quarantined) == (15, 1, {"not_in_the_encoding": 14})
    assert [row["line"] for row in rows_of(own_settings, "quarantine")].count(12) == 0


def test_a_file_without_its_header_does_not_show_its_first_row(own_settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        import_text(own_settings, tmp_path / "a.csv", LINE.replace("ada", "secret-ada").encode(), ORDERS)
    assert "secret" not in str(raised.value)
    assert "header: false" in raised.value.hint


def test_a_prefix_keeps_the_ids_of_two_sources_apart(own_settings: Settings, tmp_path: Path) -> None:
    text = ("id," + HEADER + "1," + LINE).encode()
    for source in ("web", "till"):
        mapping = GIVEN.replace("event_id: id", f"event_id: {{column: id, prefix: {source}-}}")
        assert import_text(own_settings, tmp_path / "a.csv", text, mapping).published == 1
    assert [row["event_id"] for row in rows_of(own_settings, "purchase")] == ["till-1", "web-1"]
