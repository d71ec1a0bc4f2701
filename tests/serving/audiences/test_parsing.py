"""What is no selection is refused, with the place."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.core.errors import DataError
from serving.audiences.parsing import LONGEST, parse
from serving.audiences.selection import Among, Either, Name

REFUSED = {
    "": "has 1 to 4,000 characters",
    "a" * (LONGEST + 1): "has 1 to 4,000 characters",
    "a = = 3": "'=' cannot stand here (at character 5)",
    "a > 1 and": "(at character 7)",
    "a = 3 b": "'b' cannot stand here (at character 7)",
    "a = 'x": "A quoted text does not end (at character 5)",
    "(a": "(at character 2)",
    "a) or (b": "')' cannot stand here (at character 2)",
    "select 1": "'select' cannot stand here (at character 1)",
    "a = 1; drop table people": "'drop' cannot stand here (at character 8)",
    "a in (select user_id from people)": "is nothing a selection can ask (at character 1)",
    "a > (select 1)": "is nothing a selection can ask",
    "a in ()": "is nothing a selection can ask (at character 1)",
    "getenv('HOME') = 'x'": "is nothing a selection can ask (at character 1)",
    "read_text('/etc/passwd') is null": "is nothing a selection can ask",
    "a + 1 > 2": "'a + 1' is nothing a selection can ask (at character 1)",
    "a::int = 3": "is nothing a selection can ask (at character 1)",
    "case when a then b end": "is nothing a selection can ask",
    "a like 'x%'": "is nothing a selection can ask (at character 1)",
    "a is distinct from 3": "is nothing a selection can ask (at character 1)",
    "view.a = 1": "'view.a' is nothing a selection can ask (at character 1)",
    "a > b": "'b' is nothing a selection can ask (at character 5)",
    "a > 'x'": "''x'' is nothing a selection can ask (at character 5)",
    "a = null": "Nothing equals null",
    "a in (1, null)": "Nothing equals null",
    'a = "high"': '"high" names a column (at character 5)',
    "1 = 1": "is nothing a selection can ask (at character 1)",
    "current_date = '2026-01-01'": "is nothing a selection can ask",
    "a = 1 or\n  chrun = now()": "(at character 11 of line 2)",
    "not " * 900 + "a": "nested too deeply",
    "(" * 1500 + "a" + ")" * 1500: "nested too deeply",
}


@pytest.mark.parametrize("text", REFUSED, ids=[text[:30] or "empty" for text in REFUSED])
def test_what_is_no_selection_is_refused_with_the_place(text: str) -> None:
    with pytest.raises(DataError) as raised:
        parse(text)
    assert REFUSED[text] in raised.value.what
    assert raised.value.hint


def test_the_pointer_stands_under_the_place_also_behind_chinese() -> None:
    with pytest.raises(DataError) as raised:
        parse("分群 = '冠军' and x = y()")
    _, line, pointer = raised.value.what.split("\n")
    assert line == "  分群 = '冠军' and x = y()"
    assert pointer.index("^") == 2 + len("分群 = '冠军' and x = ") + 4  # each of four characters is two wide


@given(st.text(alphabet="ab'\"()=<>!,.-; 1\n*/%@#:\\中and or not in is null", max_size=40))
def test_any_text_is_a_selection_or_a_clear_error(text: str) -> None:
    with suppress(DataError):
        parse(text)


def test_names_may_be_quoted_and_comments_are_none_of_the_selection() -> None:
    assert parse('"a b" = 1 -- why') == Among(Name("a b", 0), ((1, 8),))


def test_a_long_list_of_alternatives_is_read() -> None:
    assert isinstance(parse(" or ".join(["a = 1"] * 150)), Either)
