from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from example_counts import examples
from feature_repo.core.clock import DAY, HOUR, MINUTE, from_us, to_us
from feature_repo.core.errors import DataError
from feature_repo.engine import chunks, entity_monoids, monoids, past, point_in_time
from feature_repo.engine.oracle import oracle_value
from feature_repo.engine.point_in_time import PointInTimeQuery, Request, spine_of
from feature_repo.engine.spec import WindowedView, windowed_view_of
from histories import BASE, Event, agrees, events, every_kernel_view, instants, log_of, oracle_rows

HOPS = (timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=1))
Moments = st.lists(st.tuples(st.integers(0, 4).map(lambda i: f"u{i}"), instants()), min_size=8, max_size=30)


def offline(view: Any, spine: pd.DataFrame, **options: Any) -> list[dict[str, Any]]:
    refs = [f"{view.name}:{aggregation.name}" for aggregation in view.aggregations]
    request = Request.of([view], refs, full_feature_names=False, **options)
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone='UTC'")
        query = PointInTimeQuery(request)
        return query.run(connection, spine_of(connection, spine, request.join_keys)).to_pylist()


def assert_equal(
    spec: WindowedView, frame: list[dict[str, Any]], rows: list[dict[str, Any]], known_by: bool = False
) -> int:
    checked = 0
    for record in frame:
        at = to_us(record["event_timestamp"])
        mine = [
            row
            for row in rows
            if all(row[key] == record[key] for key in spec.join_keys) and (not known_by or row["ingested_at"] < at)
        ]
        for feature in spec.features:
            expected = oracle_value(spec, feature, mine, at)
            found = record[feature.name]
            assert agrees(found, expected, mine, feature, at, spec.hop), (feature, at, expected, found)
            checked += 1
    return checked


@contextmanager
def cut_into(size: int) -> Iterator[None]:
    """Handle so many rows at once, whatever is handled at once, and merge blocks of two events."""
    with ExitStack() as stack:
        for bound in (chunks.ROWS_PER_CHUNK, point_in_time.STREAMED, past.PIECES):
            assert bound > size
        for module, name in ((chunks, "ROWS_PER_CHUNK"), (point_in_time, "STREAMED"), (past, "PIECES")):
            stack.enter_context(mock.patch.object(module, name, size))
        for name, value in (("BLOCK", 2), ("LONG", 3)):
            stack.enter_context(mock.patch.object(monoids, name, value))
        yield


@examples(150, seconds=20, suppress_health_check=list(HealthCheck))
@given(
    history=events(users=4),
    moments=Moments,
    known_by=st.booleans(),
    hop=st.sampled_from(HOPS),
    size=st.sampled_from([None, 1, 7, 40]),
)
def test_every_function_equals_the_oracle_on_colliding_times_however_the_work_is_cut(
    history: list[Event], moments: list[tuple[str, int]], known_by: bool, hop: timedelta, size: int | None
) -> None:
    # Four shoppers per example: 150 examples are 600 histories.
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "history"
        log_of(path, history)
        view = every_kernel_view(path, hop=hop)
        moments = [*moments, *moments[:3]]  # rows of one entity and instant
        spine = pd.DataFrame(
            {"user_id": [u for u, _ in moments], "event_timestamp": [from_us(at) for _, at in moments]}
        )
        with cut_into(size) if size else nullcontext():
            frame = offline(view, spine, known_by_at=known_by)
        assert [row["user_id"] for row in frame] == list(spine["user_id"])
        assert assert_equal(windowed_view_of(view), frame, oracle_rows(history), known_by) > 0


def test_a_busy_entity_equals_the_oracle(tmp_path: Path) -> None:
    # Thousands of events in a window: ranges are made of blocks, and these of blocks of blocks.
    draw = np.random.default_rng(7)
    history = [
        Event(
            user="u0" if i % 50 else "u1",
            place="abc"[draw.integers(3)],
            ts=BASE - int(draw.integers(0, 30 * HOUR)),
            late=0,
            units=int(draw.integers(-3, 9)) if draw.random() < 0.9 else None,
            amount=float(draw.normal(1e6, 1)) if draw.random() < 0.9 else None,
        )
        for i in range(9_000)
    ]
    log_of(tmp_path / "h", history)
    view = every_kernel_view(tmp_path / "h")
    spine = pd.DataFrame(
        {"user_id": ["u0", "u1"] * 2, "event_timestamp": [from_us(BASE - i * 37 * MINUTE) for i in range(4)]}
    )
    assert assert_equal(windowed_view_of(view), offline(view, spine), oracle_rows(history)) > 0


def test_many_rows_that_were_told_late_have_places_of_their_own(tmp_path: Path) -> None:
    # Forty half-lives of a year leave room for few entities on one line; each of these rows is one.
    log_of(tmp_path / "h", [Event("u0", "a", BASE, 30 * HOUR, 1, 1.0), Event("u0", "a", BASE - 1, 0, 4, 2.0)])
    view = every_kernel_view(tmp_path / "h")
    for aggregation in view.aggregations:
        if aggregation.function == "decayed_sum":
            aggregation.time_window = timedelta(days=365)
    rows = 20_000
    spine = pd.DataFrame({"user_id": ["u0"] * rows, "event_timestamp": [from_us(BASE + 1 + i) for i in range(rows)]})
    found = offline(view, spine, known_by_at=True)
    assert {row["sum_units_2h"] for row in found} == {4}
    assert {row["count_all_24h"] for row in found} == {1}


def test_a_count_of_more_distinct_values_than_are_kept_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entity_monoids, "MAX_DISTINCT", 2)
    log_of(tmp_path / "h", [Event("u0", "a", BASE, 0, units, 1.0) for units in range(3)])
    spine = pd.DataFrame({"user_id": ["u0"], "event_timestamp": [from_us(BASE + 1)]})
    with pytest.raises(DataError, match="count_distinct of column 'units' has more than 2 values"):
        offline(every_kernel_view(tmp_path / "h"), spine)


def test_an_event_at_the_instant_of_reading_is_not_known(tmp_path: Path) -> None:
    log_of(tmp_path / "h", [Event("u0", "a", BASE, 0, 1, 1.0)])
    view = every_kernel_view(tmp_path / "h")
    spine = pd.DataFrame({"user_id": ["u0", "u0"], "event_timestamp": [from_us(BASE), from_us(BASE + 1)]})
    assert [row["count_all_2h"] for row in offline(view, spine)] == [0, 1]


@pytest.mark.parametrize("hours", [2, 24])
def test_the_tail_of_a_window_is_rounded_down_to_a_whole_hop(tmp_path: Path, hours: int) -> None:
    # 24 hours is the longest window: where the reading of the log itself begins.
    log_of(tmp_path / "h", [Event("u0", "a", BASE, 0, 1, 1.0)])
    view = every_kernel_view(tmp_path / "h")
    for at, expected in ((BASE + (hours + 1) * HOUR - 1, 1), (BASE + (hours + 1) * HOUR, 0)):
        spine = pd.DataFrame({"user_id": ["u0"], "event_timestamp": [from_us(at)]})
        assert [row[f"count_all_{hours}h"] for row in offline(view, spine)] == [expected]


def test_keys_whose_texts_concatenate_alike_stay_apart(tmp_path: Path) -> None:
    history = [Event("u1", "ab", BASE, 0, 1, 1.0), Event("u1a", "b", BASE, 0, 5, 5.0)]
    log_of(tmp_path / "h", history)
    view = every_kernel_view(tmp_path / "h", keys=("user_id", "place"))
    at = from_us(BASE + HOUR)
    spine = pd.DataFrame({"user_id": ["u1", "u1a", "u1"], "place": ["ab", "b", "b"], "event_timestamp": [at] * 3})
    assert [row["sum_units_2h"] for row in offline(view, spine)] == [1, 5, 0]


def test_times_before_the_epoch_fall_into_true_floors(tmp_path: Path) -> None:
    log_of(tmp_path / "h", [Event("u0", "a", -DAY - 1, 0, 1, 1.0)])
    view = every_kernel_view(tmp_path / "h")
    instants_ = [-DAY - 1, -DAY, -DAY + HOUR, -DAY + 2 * HOUR]
    spine = pd.DataFrame({"user_id": ["u0"] * 4, "event_timestamp": [from_us(at) for at in instants_]})
    assert [row["count_all_2h"] for row in offline(view, spine)] == [0, 1, 1, 0]


def test_an_empty_log_gives_zeros_and_nulls(tmp_path: Path) -> None:
    log_of(tmp_path / "h", [])
    view = every_kernel_view(tmp_path / "h")
    row = offline(view, pd.DataFrame({"user_id": ["u0"], "event_timestamp": [from_us(BASE)]}))[0]
    assert row["count_all_2h"] == 0
    assert row["sum_amount_24h"] == 0
    assert row["mean_amount_24h"] is None
    assert row["last_event_at_all_24h"] is None


def test_an_empty_spine_gives_an_empty_answer(tmp_path: Path) -> None:
    log_of(tmp_path / "h", [Event("u0", "a", BASE, 0, 1, 1.0)])
    spine = pd.DataFrame(
        {"user_id": pd.Series([], dtype=str), "event_timestamp": pd.Series([], dtype="datetime64[us, UTC]")}
    )
    assert offline(every_kernel_view(tmp_path / "h"), spine) == []


@pytest.mark.parametrize("upto", [1, 2])
def test_a_query_reads_the_log_up_to_the_version_it_is_told(tmp_path: Path, upto: int) -> None:
    log_of(tmp_path / "h", [Event("u0", "a", BASE, 0, 1, 1.0)], [Event("u0", "a", BASE, 0, 1, 1.0)])
    spine = pd.DataFrame({"user_id": ["u0"], "event_timestamp": [from_us(BASE + 1)]})
    frame = offline(every_kernel_view(tmp_path / "h"), spine, versions={"history": upto})
    assert [row["count_all_2h"] for row in frame] == [upto]
