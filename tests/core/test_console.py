from __future__ import annotations

import enum
import io
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from feature_repo.core import console


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True)
class Report:
    name: str
    value: object


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (float("nan"), None),
        (-float("inf"), None),
        (np.float32("nan"), None),
        (np.float64(0.5), 0.5),
        (np.int64(2**60), 2**60),
        (np.bool_(True), True),
        (np.array([[1.0, np.nan]]), [[1.0, None]]),
        (np.datetime64("NaT"), None),
        (pd.NaT, None),
        (pd.NA, None),
        (pd.Timestamp("2026-01-02", tz="UTC"), "2026-01-02T00:00:00Z"),
        (pd.Series([1, 2]), [1, 2]),
        (datetime(2026, 1, 2, 8, tzinfo=timezone(timedelta(hours=8))), "2026-01-02T00:00:00Z"),
        (timedelta(seconds=1.5), 1.5),
        (Path("a") / "b", "a/b"),
        (Colour.RED, "red"),
        ({Colour.RED: 1, 7: 2}, {"red": 1, "7": 2}),
        (Report("x", (Report("y", None),)), {"name": "x", "value": [{"name": "y", "value": None}]}),
        (frozenset({3, 1}), [1, 3]),
        ("顾客", "顾客"),
    ],
)
def test_a_report_becomes_what_json_knows(value: object, wanted: object):
    assert json.loads(console.to_json({"it": value}))["it"] == wanted


def test_a_naive_time_is_refused():
    with pytest.raises(ValueError, match="no time zone"):
        console.plain(datetime(2026, 1, 2))  # noqa: DTZ001


def test_what_json_cannot_say_is_refused():
    with pytest.raises(TypeError, match="object, which JSON cannot say"):
        console.plain({"x": object()})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes(timezones=st.just(UTC)),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    )
)
def test_no_report_prints_nan(report: object):
    def refuse(constant: str) -> object:
        raise AssertionError(constant)

    json.loads(console.to_json(report), parse_constant=refuse)


def test_what_libraries_print_goes_to_stderr(capsys: pytest.CaptureFixture[str]):
    with console.one_json_object() as written:
        sys.stdout.write("hello from a library\n")
        assert not written()
        console.emit({"a": 1}, True, lambda _: None)
        assert written()
    assert capsys.readouterr() == ('{"a": 1}\n', "hello from a library\n")


def test_a_second_object_is_refused():
    with console.one_json_object():
        console.write_json({})
        with pytest.raises(RuntimeError, match="exactly one"):
            console.write_json({})


def test_a_terminal_that_knows_only_ascii_gets_escapes(monkeypatch: pytest.MonkeyPatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    console.write_json("顾客")
    assert json.loads(raw.getvalue()) == "顾客"


def test_a_table_lines_up_under_chinese_text(capsys: pytest.CaptureFixture[str]):
    console.table(["zh", "n"], [["顾客", 1], [None, 2]])
    assert capsys.readouterr().out == "zh    n\n顾客  1\n      2\n"


def test_a_bar_is_drawn_only_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    with console.progress("Importing") as step:
        step("purchases", 0.5)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with console.progress("Importing") as step:
        step("purchases", 0.5)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Importing: purchases" in err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [40, 60, 100])
def test_a_table_keeps_to_a_terminals_width_and_loses_no_word(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    shown = Terminal()
    monkeypatch.setattr("sys.stdout", shown)
    monkeypatch.setenv("COLUMNS", str(columns))
    because = "user_habits__weekday 7, user_habits__weekday_share [0.23], 常购日不固定，按周统计"
    console.table(["tag", "标签", "because"], [["shopping_day", "常购日", because], [None, "x", "[bold]"]])
    lines = shown.getvalue().splitlines()
    assert all(cell_len(line) <= columns for line in lines)
    squeezed = "".join("".join(lines).split())
    assert {"shopping_day", "常购日"} <= set(shown.getvalue().split())
    assert "[bold]" in squeezed
    assert all(part in squeezed for part in ("[0.23],", "按周统计"))


def test_a_table_that_fits_or_is_piped_has_a_line_per_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    for shown, cell in ((Terminal(), "short"), (io.StringIO(), "long " * 20)):
        monkeypatch.setattr("sys.stdout", shown)
        console.table(["a", "b"], [["1", cell.strip()]])
        assert shown.getvalue().splitlines() == ["a  b", f"1  {cell.strip()}"]
