"""Who belongs to a selection is whom DuckDB finds by the same text, whatever is NULL, equal or extreme."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from example_counts import examples
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from feature_repo.privacy.tombstones import Tombstones
from made_snapshots import pseudonym, write_snapshot
from serving.audiences import index as index_module
from serving.audiences.audiences import Audiences
from serving.audiences.columns import BLOCKS, column_of, people_of
from serving.audiences.index import Index, open_index
from serving.audiences.index_files import drop_indices, index_root
from serving.audiences.members import full_name, members
from serving.audiences.snapshots import find_snapshot

RISKS = ("high", "low", "it's", "高")
# Every bound that is compared with is a value of somebody too, or next to one.
WHOLE = (-(2**63), -2, -1, 0, 1, 2, 3, 2**53, 2**53 + 1, 2**63 - 1)
REAL = (-1e300, -0.5, 0.0, 0.1, 0.3, 1.0, 2.5, 1e300)
NUMBERS = ("-2", "-1", "0", "1", "2", "2.5", "3", "0.1", "0.30", "-0.5", "9007199254740993", "9223372036854775807")
SCHEMA = {
    "tag__risk": pa.string(),
    "tag__weekend": pa.bool_(),
    "user_payments__count_84d": pa.int64(),
    "user_payments__amount_mean_84d": pa.float64(),
}


def people() -> st.SearchStrategy[dict[str, Any]]:
    row = st.tuples(
        st.none() | st.sampled_from(RISKS),
        st.none() | st.booleans(),
        st.none() | st.sampled_from(WHOLE),
        st.none() | st.sampled_from(REAL),
    )
    return st.lists(row, min_size=1, max_size=3 * BLOCKS).map(
        lambda rows: {name: pa.array([row[n] for row in rows], kind) for n, (name, kind) in enumerate(SCHEMA.items())}
    )


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


NUMBER_COLUMNS = st.sampled_from(["user_payments__count_84d", "user_payments__amount_mean_84d"])
SIGNS = st.sampled_from(["=", "<>", "!=", "<", "<=", ">", ">="])
LEAVES = st.one_of(
    st.builds("{} {} {}".format, NUMBER_COLUMNS, SIGNS, st.sampled_from(NUMBERS)),
    st.builds("{1} {2} {0}".format, NUMBER_COLUMNS, st.sampled_from(NUMBERS), SIGNS),
    st.builds("{} between {} and {}".format, NUMBER_COLUMNS, st.sampled_from(NUMBERS), st.sampled_from(NUMBERS)),
    st.builds("{} not in ({}, {})".format, NUMBER_COLUMNS, st.sampled_from(NUMBERS), st.sampled_from(NUMBERS)),
    st.builds("tag__risk {} {}".format, st.sampled_from(["=", "<>"]), st.sampled_from(RISKS).map(quoted)),
    st.lists(st.sampled_from([*RISKS, "nobody"]).map(quoted), min_size=1, max_size=3).map(
        lambda texts: f"tag__risk in ({', '.join(texts)})"
    ),
    st.sampled_from(["tag__weekend", "not tag__weekend", "tag__weekend = false", "tag__weekend is true"]),
    st.sampled_from(["tag__weekend is not false", "tag__weekend <> true", "true", "false"]),
    st.builds("{} is {}".format, st.sampled_from([*SCHEMA]), st.sampled_from(["null", "not null"])),
)
SELECTIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("{} or {} and {}".format, LEAVES, inner, inner),
        st.builds("not ({})".format, inner),
        st.builds("not {}".format, inner),
    ),
    max_leaves=8,
)


def indexed(home: Path, columns: dict[str, Any]) -> Index:
    write_snapshot(home, columns)
    made = Settings(home=home)
    return open_index(made, find_snapshot(made))


@examples(400, seconds=16)
@given(columns=people(), texts=st.lists(SELECTIONS, min_size=1, max_size=4))
def test_an_audience_is_whom_duckdb_finds_by_the_same_text(columns: dict[str, Any], texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as oracle:
        index = indexed(Path(folder), columns)
        rows = pq.read_table(index.snapshot.people)
        oracle.register("people", rows)
        for text in texts:
            found = members(index, text)
            ids = oracle.execute(f"SELECT user_id FROM people WHERE {text} ORDER BY user_id").fetchall()
            assert [pseudonym(n) for n in found.people] == [row[0] for row in ids], text
            assert oracle.execute(f"SELECT count(*) FROM people WHERE ({text}) IS NULL").fetchone() == (found.unknown,)


HALVES = st.integers(-2, 20).map(lambda n: Decimal(n) / 2)


@given(n=st.integers(0, 5 * BLOCKS + 3), whole=st.booleans(), data=st.data())
def test_a_range_of_a_sorted_column_is_what_a_scan_finds(n: int, whole: bool, data: st.DataObject) -> None:
    kind = np.int64 if whole else np.float64
    values = np.array(data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n)), kind)
    column = column_of(pa.array(values), np.arange(n, dtype=np.uint32))
    low, high = data.draw(HALVES), data.draw(HALVES)
    above, below = data.draw(st.booleans()), data.draw(st.booleans())
    inside = (values > float(low) if above else values >= float(low)) & (
        values < float(high) if below else values <= float(high)
    )
    assert column.between(low, high, above=above, below=below) == people_of(np.flatnonzero(inside).astype(np.uint32))


def test_whole_numbers_are_compared_exactly_also_where_floats_are_not(tmp_path: Path) -> None:
    index = indexed(tmp_path, {"user_payments__count_84d": [2**53, 2**53 + 1, 2**63 - 1, -(2**63)]})
    expected = {
        f"= {2**53 + 1}": [1],
        f"> {2**53}": [1, 2],
        f"<= {2**53}": [0, 3],
        f">= {2**63}": [],
        f"< {2**70}": [0, 1, 2, 3],
        f"< -{2**63}": [],
        "> -1e30": [0, 1, 2, 3],
    }
    for condition, people in expected.items():
        assert [*members(index, f"count_84d {condition}").people] == people, condition


def test_nan_is_not_known(tmp_path: Path) -> None:
    index = indexed(tmp_path, {"score__churn": pa.array([0.5, float("nan"), None])})
    assert [*members(index, "churn > 0").people] == [0]
    assert [*members(index, "churn is null").people] == [1, 2]


def test_who_was_erased_is_in_no_audience_from_then_on(tmp_path: Path) -> None:
    columns = {"tag__risk": ["high", "high", None, "high"], "user_payments__count_84d": [5, 6, 7, 8]}
    index = indexed(tmp_path, columns)
    assert [*members(index, "true").people] == [0, 1, 2, 3]
    Tombstones(tmp_path).add(pseudonym(1))
    index = open_index(Settings(home=tmp_path), index.snapshot)
    assert [*members(index, "true").people] == [0, 2, 3]
    assert [*members(index, "risk = 'high'").people] == [0, 3]
    assert [*members(index, "count_84d > 5").people] == [2, 3]
    assert [*members(index, "risk is null").people] == [2]
    assert len([*index_root(Settings(home=tmp_path)).iterdir()]) == 1


def test_two_who_make_the_index_at_once_both_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_snapshot(tmp_path, {"tag__risk": ["high", "low"]})
    made, build, quicker = Settings(home=tmp_path), index_module._build, []

    def meanwhile(*arguments: Any) -> None:
        build(*arguments)
        if not quicker:
            quicker.append(None)
            quicker[0] = open_index(made, find_snapshot(made))

    monkeypatch.setattr(index_module, "_build", meanwhile)
    index = open_index(made, find_snapshot(made))
    for each in (index, quicker[0]):
        assert len(members(each, "risk = 'high'").people) == 1
    assert [each.name for each in index_root(made).iterdir()] == [index.folder.name]


def test_a_snapshot_that_was_written_anew_is_indexed_anew(tmp_path: Path) -> None:
    assert len(members(indexed(tmp_path, {"tag__risk": ["high", "low"]}), "risk = 'high'").people) == 1
    assert len(members(indexed(tmp_path, {"tag__risk": ["high"] * 3}), "risk = 'high'").people) == 3


def test_people_of_a_snapshot_that_was_written_anew_are_not_named_by_their_old_places(tmp_path: Path) -> None:
    folder = write_snapshot(tmp_path, {"tag__risk": ["high", "low", "high"]})
    audiences = Audiences(Settings(home=tmp_path))
    people = audiences.members("risk = 'low'").people
    assert audiences.rows(people)["user_id"].to_pylist() == [pseudonym(1)]
    path = folder / "people.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(DataError, match="has changed meanwhile"):
        audiences.rows(people)


def test_an_index_whose_folder_went_away_says_so_instead_of_a_traceback(tmp_path: Path) -> None:
    index = indexed(tmp_path, {"user_payments__count_84d": [1, 2]})
    assert len(index.everyone) == 2
    drop_indices(Settings(home=tmp_path))
    with pytest.raises(DataError, match=r"has changed meanwhile"):
        members(index, "count_84d > 1")


def test_names_may_be_short_where_they_are_the_only_ones(tmp_path: Path) -> None:
    index = indexed(
        tmp_path,
        {
            "tag__stage": ["new"],
            "user_segments__stage": ["growth"],
            "user_payments__count_84d": [1],
            "user_purchases__count_84d": [2],
            "user_payments__amount_sum_84d": [1.0],
            "score__churn": [0.1],
            "seen": pa.array([None], pa.timestamp("us", "UTC")),
        },
    )
    assert full_name(index, "stage") == "tag__stage"
    assert full_name(index, "user_segments__stage") == "user_segments__stage"
    assert full_name(index, "amount_sum_84d") == "user_payments__amount_sum_84d"
    assert full_name(index, "churn") == "score__churn"
    assert full_name(index, "count_84d") is None
    with pytest.raises(DataError, match=r"user_payments__count_84d or user_purchases__count_84d"):
        members(index, "count_84d > 1")
    with pytest.raises(DataError, match=r"of type timestamp\[us, tz=UTC\]"):
        members(index, "seen is null")


ERRORS = {
    "chrun_risk = 'high'": ("There is no column 'chrun_risk' (at character 1)", "did you mean 'churn_risk'?"),
    "risk = 'high'": ("There is no column 'risk' (at character 1)", "did you mean 'churn_risk'?"),
    "churn_risk > 3": ("'churn_risk' is a text (at character 1)", "churn_risk = 'high'"),
    "weekend = 'yes'": ("'weekend' is yes or no (at character 11)", "write weekend, or not weekend."),
    "true and count_84d = 'a'": ("'count_84d' is a number (at character 22)", "count_84d > 3"),
    "count_84d": ("'count_84d' is a number (at character 1)", "count_84d > 3"),
    "churn_risk in ('high', 2)": ("'churn_risk' is a text (at character 24)", "churn_risk = 'high'"),
}


@pytest.mark.parametrize("text", ERRORS)
def test_an_error_says_where_and_what_to_write(tmp_path: Path, text: str) -> None:
    index = indexed(tmp_path, {"tag__churn_risk": ["high"], "tag__weekend": [True], "user_payments__count_84d": [1]})
    what, hint = ERRORS[text]
    with pytest.raises(DataError) as raised:
        members(index, text)
    assert what in raised.value.what
    assert hint in raised.value.hint


def test_a_value_that_nobody_has_is_told_not_refused(tmp_path: Path) -> None:
    found = members(indexed(tmp_path, {"tag__churn_risk": ["high", "low"]}), "churn_risk = 'hgh'")
    assert not found.people
    assert found.notes == ("Nobody has churn_risk 'hgh': did you mean 'high'?",)


def test_a_tag_that_is_known_of_nobody_leads_to_the_reason(tmp_path: Path) -> None:
    found = members(indexed(tmp_path, {"tag__churn_risk": pa.array([None], pa.string())}), "churn_risk = 'high'")
    assert found.notes == (
        "Nobody has churn_risk 'high': it is known of nobody, and `portrait tags compute` says why.",
    )


def test_a_damaged_snapshot_is_named(tmp_path: Path) -> None:
    folder = write_snapshot(tmp_path, {"tag__risk": ["high"]})
    (folder / "people.parquet").write_bytes(b"PAR1 no")
    made = Settings(home=tmp_path)
    with pytest.raises(DataError, match=r"cannot be read: ArrowInvalid"):
        open_index(made, find_snapshot(made))
    assert not [*index_root(made).iterdir()]
