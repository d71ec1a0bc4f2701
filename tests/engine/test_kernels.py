"""The laws every registered function obeys: nothing here names one, so a new class is tested by being registered."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cursors import duckdb_cursor
from example_counts import examples
from feature_repo.core.clock import HOUR
from feature_repo.core.errors import DataError, DeclarationError, StoreUnavailableError
from feature_repo.engine import entity_monoids
from feature_repo.engine.entity_monoids import portable_hash
from feature_repo.engine.folds import fold_of
from feature_repo.engine.kernels import KERNELS, kernel_named
from feature_repo.engine.landing import Landed
from feature_repo.engine.monoids import Monoid, monoid_of
from feature_repo.engine.shards import owned_sql
from feature_repo.engine.spec import windowed_view_of
from feature_repo.engine.state import NO_VERSION, State
from feature_repo.engine.state_sql import tiles_sql
from feature_repo.engine.tile_codec import TileCodec
from feature_repo.engine.windows import Windows
from histories import BASE, Event, events, every_kernel_view, table_of

VIEW = windowed_view_of(every_kernel_view(Path("nowhere")))
CODEC = TileCodec(VIEW.monoids)
WINDOWS = Windows.of(VIEW.features, CODEC, hop=VIEW.hop, stored_hop=VIEW.hop)
NOW = BASE + 7 * HOUR
Histories = st.lists(events(users=3), min_size=1, max_size=4)


def monoids() -> list[Monoid]:
    return list(VIEW.monoids)


def lifted(history: list[Event], *, entities: int = 3) -> State:
    """State of a history, as the builder makes it of the log."""
    with duckdb_cursor() as connection:
        connection.register("history", table_of(history).append_column("log_version", pa.array([1] * len(history))))
        rows = connection.sql(tiles_sql(VIEW, source="history", since=BASE - 10**12, versions=(-1, 1))).to_arrow_table()
    owner = np.array([int(user[1:]) for user in rows["k0"].to_pylist()], np.int64)
    tile = rows["tile"].to_numpy().astype(np.int64)
    columns = {monoid.key: rows[f"s{i}"].combine_chunks() for i, monoid in enumerate(VIEW.monoids)}
    return CODEC.of_arrow(entities, owner, tile, {key: _plain(column) for key, column in columns.items()})


def _plain(column: Any) -> Any:
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column


def encoded(state: State, version: int) -> list[bytes]:
    found: list[bytes] = CODEC.encode(state, version).to_pylist()
    return found


def values(state: State, at: int = NOW) -> dict[str, list[Any]]:
    found = WINDOWS.values(CODEC.stored(encoded(state, 1)), at)
    rows = {}
    for feature, column in zip(VIEW.features, found, strict=True):
        valid = np.ones(len(column.data), bool) if column.valid is None else column.valid
        rows[feature.name] = [each if known else None for each, known in zip(column.data.tolist(), valid, strict=True)]
    return rows


def assert_same(found: dict[str, list[Any]], expected: dict[str, list[Any]], scale: float) -> None:
    for name, column in expected.items():
        for right, value in zip(column, found[name], strict=True):
            if isinstance(right, float) and value is not None:
                assert abs(value - right) <= 1e-9 * scale, name
            else:
                assert value == right, name


@settings(max_examples=15)
@given(batches=Histories, order=st.randoms(use_true_random=False))
def test_states_merge_in_any_order_and_grouping_to_the_state_of_all_events(
    batches: list[list[Event]], order: Any
) -> None:
    whole = [event for batch in batches for event in batch]
    cuts = sorted(order.sample(range(len(whole) + 1), k=min(3, len(whole))))
    # Ids are positions, so the pieces are cut from one table: states of single pieces, merged in two orders.
    pieces = [_piece(whole, a, b) for a, b in pairwise([0, *cuts, len(whole)]) if b > a]
    expected = values(lifted(whole))
    scale = sum(abs(event.amount or 0) + abs(event.units or 0) for event in whole) + 1
    assert_same(values(CODEC.merge(*pieces)), expected, scale)
    order.shuffle(pieces)
    folded = pieces[0]
    for piece in pieces[1:]:
        folded = CODEC.merge(piece, folded)
    assert_same(values(folded), expected, scale)
    nothing, _ = CODEC.decode([None] * 3)
    assert_same(values(CODEC.merge(folded, nothing)), expected, scale)


def _piece(whole: list[Event], start: int, stop: int) -> State:
    absent = Event("u2", "z", BASE - 10**13, 0, None, None)
    return lifted([event if start <= i < stop else absent for i, event in enumerate(whole)])


@pytest.mark.parametrize("monoid", monoids(), ids=lambda monoid: monoid.key)
def test_a_state_columns_key_names_its_monoid(monoid: Monoid) -> None:
    assert monoid_of(monoid.key) == monoid


def test_an_unknown_function_or_state_is_refused() -> None:
    with pytest.raises(DeclarationError, match="did you mean 'count'"):
        kernel_named("cuont")
    with pytest.raises(DeclarationError, match="this version does not know"):
        monoid_of("sketch.b64(x)")


def test_every_function_says_what_it_takes_and_is_in_the_view_the_laws_run_over() -> None:
    assert {feature.function for feature in VIEW.features} == set(KERNELS)
    assert all(kernel.takes for kernel in KERNELS.values())


@settings(max_examples=40)
@given(events(users=3), st.integers(0, 2**52))
def test_what_is_encoded_is_decoded(history: list[Event], version: int) -> None:
    state = lifted(history)
    blobs = encoded(state, version)
    back, versions = CODEC.decode(blobs)
    assert versions.tolist() == [version] * 3
    # Sums of hundredths lose the last digits they never had.
    assert_same(values(back), values(state), sum(abs(event.amount or 0) + abs(event.units or 0) for event in history))
    assert encoded(back, version) == blobs


@settings(max_examples=60)
@given(events(users=3), st.sets(st.integers(0, 3)))
def test_a_commit_in_memory_is_folded_as_duckdb_folds_the_log(history: list[Event], shards: set[int]) -> None:
    rows, since = table_of(history), BASE - 12 * HOUR
    fold = Landed(rows, 7, "shop").fold(VIEW, since=since, shards=shards, of=4)
    with duckdb_cursor() as connection:
        connection.register("history", rows.append_column("log_version", pa.array([7] * len(history), pa.int64())))
        source = f"(FROM history WHERE {owned_sql(VIEW.join_keys, shards, of=4)})"
        expected = fold_of(connection, VIEW, source, project="shop", since=since, versions=(6, 7))
    assert (fold is None) == (expected is None)
    if fold is not None and expected is not None:
        assert sorted(fold.keys) == sorted(expected.keys)
        order = [fold.keys.index(key) for key in expected.keys]
        scale = sum(abs(event.amount or 0) + abs(event.units or 0) for event in history) + 1
        found, same = values(fold.state(CODEC)), values(expected.state(CODEC))
        assert_same({name: [column[i] for i in order] for name, column in found.items()}, same, scale)


@examples(60, seconds=8)
@given(events(users=4), events(users=4), st.integers(-30, 8), st.lists(st.booleans(), min_size=4, max_size=4))
def test_what_is_folded_into_stored_states_gives_the_bytes_of_merging_them(
    before: list[Event], after: list[Event], oldest: int, stored: list[bool]
) -> None:
    held = lifted(before, entities=4)
    blobs = [blob if there else None for blob, there in zip(encoded(held, 3), stored, strict=True)]
    fresh, first = lifted(after, entities=4), BASE // VIEW.hop + oldest
    merged = CODEC.live(CODEC.merge(CODEC.decode(blobs)[0], fresh), first)
    folded = CODEC.folded(CODEC.stored(blobs), fresh, oldest=first, log_version=4)
    assert folded.to_pylist() == encoded(merged, 4)


@settings(max_examples=40)
@given(events(users=3))
def test_what_no_window_can_see_any_more_changes_no_value(history: list[Event]) -> None:
    state = lifted(history)
    oldest = (NOW - VIEW.retention) // VIEW.hop
    assert values(CODEC.live(state, oldest)) == values(state)


def test_a_missing_state_decodes_to_nothing() -> None:
    state, versions = CODEC.decode([None, None])
    assert len(state.tiles.owner) == 0
    assert versions.tolist() == [NO_VERSION, NO_VERSION]


def test_no_entities_have_no_values() -> None:
    state, _ = CODEC.decode([])
    assert all(column == [] for column in values(state).values())


@pytest.mark.parametrize("damage", [lambda blob: blob[:-3], lambda blob: b"", lambda blob: b"\1" + blob[1:]])
def test_a_state_cut_short_or_of_another_codec_is_refused(damage: Any) -> None:
    [blob, *_] = encoded(lifted([Event("u0", "a", BASE, 0, 1, 1.0)]), 1)
    with pytest.raises(StoreUnavailableError, match="does not read"):
        CODEC.decode([damage(blob)])


def test_more_distinct_values_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entity_monoids, "MAX_DISTINCT", 2)
    with pytest.raises(DataError, match="more than 2 values for one entity"):
        lifted([Event("u0", place, BASE, 0, 1, 1.0) for place in ("a", "b", "c")])


def test_the_hash_of_a_distinct_value_is_duckdbs() -> None:
    with duckdb_cursor() as connection:
        [(text, number, truth)] = connection.sql(
            "SELECT md5_number_lower('\u5f20'), md5_number_lower((-7)::VARCHAR), md5_number_lower(true::VARCHAR)"
        ).fetchall()
    assert (text, number, truth) == (portable_hash("\u5f20"), portable_hash("-7"), portable_hash("true"))


def test_the_format_of_a_state_is_pinned() -> None:
    # A golden state: 16 bytes of header and a size per entity state; one tile; then latest, distinct and last.
    keys = ["distinct.text(place)", "last.text(place)", "latest.i8()", "rows.i8()", "sum.f8(amount)"]
    codec = TileCodec([monoid_of(key) for key in keys])
    event = {"at": 5, "id": "e1", "value": "hi"}
    columns = {
        keys[0]: pa.array([[1]], pa.list_(pa.uint64())),
        keys[1]: pa.array([event], pa.struct([("at", pa.int64()), ("id", pa.string()), ("value", pa.string())])),
        keys[2]: pa.array([5]),
        keys[3]: pa.array([2]),
        keys[4]: pa.array([1.5]),
    }
    state = codec.of_arrow(1, np.array([0]), np.array([7]), columns)
    [blob] = codec.encode(state, 258).to_pylist()
    assert blob.hex() == (
        "02030100" "01000000" "0201000000000000" "0c000000" "10000000" "08000000"
        "07000000" "02" "96000000"
        "07000000" "0100000000000000"
        "0500000000000000" "02000000" "6531" "6869"
        "0500000000000000"
    )  # fmt: skip
