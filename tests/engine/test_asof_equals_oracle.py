"""An ordinary view's value is that of the latest row a row of the spine can know of."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.data_format import DeltaFormat
from feast.types import Int64, String
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from example_counts import examples
from feature_repo.core.clock import HOUR, from_us
from feature_repo.engine.point_in_time import PointInTimeQuery, Request, spine_of
from feature_repo.events.log import LogTable
from histories import BASE, US

SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("event_timestamp", US),
        ("ingested_at", US),
        ("user_id", pa.string()),
        ("size", pa.int64()),
    ]
)
TTL = 2 * HOUR


@dataclass(frozen=True)
class Fact:
    user: str
    ts: int
    known: int | None
    size: int | None


Instants = st.builds(
    lambda k, beside: BASE + k * HOUR + beside, st.integers(-2, 2), st.sampled_from([0, 0, 0, 0, -1, 1])
)
Users = st.sampled_from(["u1", "u2"])
Facts = st.lists(
    st.builds(Fact, Users, Instants, st.one_of(st.none(), Instants), st.one_of(st.none(), st.integers(0, 9))),
    min_size=4,
    max_size=16,
)


def facts_view(path: Path, ttl: int) -> FeatureView:
    source = FileSource(
        name="facts",
        path=str(path),
        file_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="ingested_at",
    )
    return FeatureView(
        name="facts",
        entities=[Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)],
        source=source,
        ttl=timedelta(microseconds=ttl),
        schema=[Field(name="size", dtype=Int64), Field(name="user_id", dtype=String)],
    )


def commit(path: Path, batches: list[list[Fact]]) -> None:
    table = LogTable(path, SCHEMA)
    table.ensure()
    for n, batch in enumerate(batches):
        rows = [
            {
                "event_id": f"{n}-{i}",
                "event_timestamp": from_us(fact.ts),
                "ingested_at": None if fact.known is None else from_us(fact.known),
                "user_id": fact.user,
                "size": fact.size,
            }
            for i, fact in enumerate(batch)
        ]
        table.commit(pa.Table.from_pylist(rows, schema=SCHEMA))


def expected(batches: list[list[Fact]], user: str, at: int, *, ttl: int, known_by_at: bool) -> set[int | None]:
    """Values the latest row may have: more than one if several rows tie in everything."""
    seen = [
        (fact.ts, version, -1 if fact.known is None else fact.known, fact.size)
        for version, batch in enumerate(batches)
        for fact in batch
        if fact.user == user and fact.ts <= at and not (known_by_at and (fact.known is None or fact.known > at))
    ]
    latest = max((row[:3] for row in seen), default=None)
    if latest is None or (ttl and latest[0] < at - ttl):
        return {None}
    return {row[3] for row in seen if row[:3] == latest}


def answered(view: FeatureView, spine: pd.DataFrame, *, known_by_at: bool) -> list[dict[str, Any]]:
    request = Request.of([view], ["facts:size"], full_feature_names=False, known_by_at=known_by_at)
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone='UTC'")
        return PointInTimeQuery(request).run(connection, spine_of(connection, spine, request.join_keys)).to_pylist()


@examples(150, seconds=20, suppress_health_check=list(HealthCheck))
@given(
    first=Facts,
    corrections=Facts,
    moments=st.lists(st.tuples(st.sampled_from(["u1", "u2", "u3", None]), Instants), min_size=8, max_size=16),
    ttl=st.sampled_from([0, TTL]),
    known_by_at=st.booleans(),
)
def test_the_latest_row_that_is_known_and_alive(
    first: list[Fact], corrections: list[Fact], moments: list[tuple[str, int]], ttl: int, known_by_at: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path, batches = Path(directory) / "facts", [first, corrections]
        commit(path, batches)
        spine = pd.DataFrame(
            {"user_id": [user for user, _ in moments], "event_timestamp": [from_us(at) for _, at in moments]}
        )
        answers = answered(facts_view(path, ttl), spine, known_by_at=known_by_at)
    assert len(answers) == len(moments)
    for (user, at), answer in zip(moments, answers, strict=True):
        assert answer["size"] in expected(batches, user, at, ttl=ttl, known_by_at=known_by_at), (user, at)
