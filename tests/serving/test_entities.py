from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.core.errors import DataError
from feature_repo.privacy.pseudonyms import Pseudonymiser, is_pseudonym
from serving.entities import entity_columns

KEYED = Pseudonymiser(bytes(32)).pseudonym


def users(asked: object) -> list[str]:
    return entity_columns(asked, ["user_id"], KEYED)["user_id"]


@given(st.lists(st.integers() | st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)))
def test_answers_carry_pseudonyms_and_a_pseudonym_is_never_hashed_again(raw: list[str | int]) -> None:
    once = users(raw)
    assert all(map(is_pseudonym, once))
    assert users(once) == once


def test_an_integer_is_its_decimal_digits_whatever_holds_it() -> None:
    for asked in (2375, [2375], np.array([2375]), pd.Series([2375]), "2375", pd.DataFrame({"user_id": [2375]}), {2375}):
        assert users(asked) == [KEYED("2375")]


@pytest.mark.parametrize("wrong", [None, float("nan"), 7.0, True, "", " ", b"7", pd.NA, pd.NaT, ["7"]])
def test_what_is_no_id_is_refused_by_its_row_and_never_quoted(wrong: object) -> None:
    with pytest.raises(DataError, match="Row 1 of 'user_id' is") as caught:
        users(["secret-id", wrong])
    assert "secret-id" not in str(caught.value)


@pytest.mark.parametrize("wrong", [None, {"a": 1}, object()])
def test_a_question_that_is_no_list_is_refused(wrong: object) -> None:
    with pytest.raises(DataError, match="pass an id, a list of ids"):
        users(wrong)


def test_two_entities_need_a_dataframe_with_both() -> None:
    keys = ["category", "user_id"]
    with pytest.raises(DataError, match="pass a DataFrame"):
        entity_columns(["1"], keys, KEYED)
    with pytest.raises(DataError, match="no column 'category'"):
        entity_columns(pd.DataFrame({"user_id": ["1"]}), keys, KEYED)
    frame = pd.DataFrame({"user_id": ["1"], "category": ["BEEF"]})
    assert entity_columns(frame, keys, KEYED) == {"category": ["BEEF"], "user_id": [KEYED("1")]}
