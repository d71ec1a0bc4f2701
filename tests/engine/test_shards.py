"""Which consumer folds an entity must not depend on whether it is asked in memory or of the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.engine.shards import owned_mask, owned_sql

Shards = st.sets(st.integers(0, 4))
Users = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
    st.text("0123456789abcdef", min_size=32, max_size=32).map("u_{}".format),
    st.sampled_from(["u_", "u_0000000a", "u_0000000A" + "0" * 24, "u_" + "g" * 32, "u_" + "1" * 32 + "\n"]),
)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as opened:
        yield opened


def by_sql(connection: Any, table: pa.Table, join_keys: list[str], shards: set[int]) -> list[bool]:
    connection.register("entities", table)
    found = connection.sql(f"SELECT {owned_sql(join_keys, shards, of=5)} FROM entities").fetchall()
    return [bool(owned) for (owned,) in found]


@given(st.lists(Users, min_size=1), Shards)
def test_shoppers_are_shared_out_alike(connection: Any, users: list[str], shards: set[int]) -> None:
    table = pa.table({"category": pa.array(["tea"] * len(users)), "user_id": pa.array(users, pa.string())})
    columns = [column.to_pylist() for column in table.columns]
    mask = owned_mask(table.column_names, columns, shards, of=5)
    assert mask.tolist() == by_sql(connection, table, table.column_names, shards)


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.integers(-(2**63), 2**63 - 1)
        ),
        min_size=1,
    ),
    Shards,
)
def test_other_entities_are_shared_out_alike(
    connection: Any, entities: list[tuple[str, int]], shards: set[int]
) -> None:
    table = pa.table({"item_id": pa.array([item for item, _ in entities]), "store": pa.array([n for _, n in entities])})
    columns = [column.to_pylist() for column in table.columns]
    mask = owned_mask(table.column_names, columns, shards, of=5)
    assert mask.tolist() == by_sql(connection, table, table.column_names, shards)


@pytest.mark.parametrize("join_keys", [["user_id"], ["item_id"]])
def test_every_entity_is_in_one_shard(join_keys: list[str]) -> None:
    columns = [[f"u_{i:032x}" for i in range(100)]]
    masks = [owned_mask(join_keys, columns, {shard}, of=3) for shard in range(3)]
    assert sum(mask.sum() for mask in masks) == 100
    assert (sum(mask.astype(int) for mask in masks) == 1).all()
