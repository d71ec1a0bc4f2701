"""Cells become numbers exactly where Python reads the same number from them, and nothing else does."""

import math
import re

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from feature_repo.events.importing import cells
from feature_repo.events.importing.mapping import Column, Source

PLAIN = Source(format="csv")
digits = st.text(st.sampled_from("0123456789+-.eE_ x,"), min_size=1, max_size=8)


def python_float(text: str) -> float | None:
    """What Python reads, without the spellings no table means: underscores, spaces, words, 5-digit exponents."""
    if not re.fullmatch(r"[0-9.eE+-]+", text) or re.search(r"[eE][+-]?\d{5}", text):
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@given(text=digits)
@example("1.")
@example(".5")
@example("+1e-3")
@example("1e999")
@example("--1")
def test_a_number_is_what_python_reads(text: str) -> None:
    found = cells.floats(pa.array([text]), PLAIN)
    assert found.values.to_pylist() == [python_float(text)]
    assert found.bad.to_pylist() == [python_float(text) is None]


@given(text=digits)
@example("7.000")
@example("-0")
@example("000000000000000000")
@example("1234567890123456789")
def test_an_integer_is_a_whole_number_of_up_to_18_digits(text: str) -> None:
    found = cells.integers(pa.array([text]), PLAIN)
    shape = re.fullmatch(r"([+-]?[0-9]{1,18})(\.0*)?", text)
    assert found.values.to_pylist() == [int(shape[1]) if shape else None]
    assert found.bad.to_pylist() == [shape is None]


@given(number=st.integers(-(10**9), 10**9), fraction=st.integers(0, 99))
def test_marks_of_a_language_are_read_as_declared(number: int, fraction: int) -> None:
    written = f"{number:,}.{fraction:02}".translate(str.maketrans(",.", ".,"))
    german = Source(format="csv", decimal=",", thousands=".")
    assert cells.floats(pa.array([written]), german).values.to_pylist() == [float(f"{number}.{fraction:02}")]


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        ({}, " 007 ", "007"),
        ({"kind": "integer"}, "007.0", "7"),
        ({"kind": "integer"}, "-0012", "-12"),
        ({"kind": "integer"}, "A07", "A07"),
        ({"kind": "integer"}, "000", "0"),
        ({"pad": 5}, "7", "00007"),
        ({"kind": "integer", "pad": 3, "prefix": "u"}, "0007", "u007"),
        ({"values": {"Y": "true", "?": None}}, "Y", "true"),
        ({"values": {"Y": "true", "?": None}}, "?", None),
        ({"values": {"Y": "true"}}, "N", "N"),
        ({"pad": 5, "prefix": "u"}, " ", None),
    ],
)
def test_a_text_is_made_as_declared(rule: dict, before: str, after: str | None) -> None:
    assert cells.texts(pa.array([before]), PLAIN, Column(column="x", **rule)).to_pylist() == [after]


def test_words_for_nothing_are_nothing_only_where_they_are_declared() -> None:
    column = pa.array(["n/a", "NULL", "-"])
    declared = Source(format="csv", null_values=("n/a", "-"))
    assert cells.texts(column, declared, Column(column="x")).to_pylist() == [None, "NULL", None]
    assert cells.texts(column, PLAIN, Column(column="x")).to_pylist() == ["n/a", "NULL", "-"]
