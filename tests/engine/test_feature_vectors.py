"""The answer of ``get_online_features`` is the one Feast would put together itself, to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feast import Entity, FeatureStore, ValueType
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.core.clock import DAY, FixedClock
from feature_repo.engine import online_store
from feature_repo.engine.feature_vectors import add_vectors, window_vectors
from feature_repo.engine.kernels import Values
from feature_repo.engine.monoids import BOOL, FLOAT, INT, NUMPY_TYPES, TEXT, TIME
from feature_repo.engine.online_store import WindowedRedisOnlineStore
from feature_repo.engine.spec import windowed_view_of
from histories import BASE, Event, every_kernel_view, log_of
from test_online_equals_oracle import builder, connection
from test_online_store import online_of, rows, store, view_entities, view_of

__all__ = ["connection", "store"]

Vector = GetOnlineFeaturesResponse.FeatureVector
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
DRAWN = {
    INT: INT64 | st.integers(0, 300),
    TIME: INT64,
    FLOAT: st.floats(),
    BOOL: st.booleans(),
    TEXT: st.text(st.characters(exclude_categories=["Cs"])) | st.text("a", min_size=200, max_size=300),
}
FIELDS = {INT: "int64_val", TIME: "unix_timestamp_val", FLOAT: "double_val", BOOL: "bool_val", TEXT: "string_val"}


@st.composite
def columns(draw: st.DrawFn) -> list[tuple[str, Sequence[Any], list[bool] | None]]:
    """Columns of one length, of any kinds: values, and which of them are there."""
    length, found = draw(st.integers(0, 200) | st.integers(0, 3)), []
    for kind in draw(st.lists(st.sampled_from([*DRAWN]), min_size=1, max_size=5)):
        some = draw(st.lists(DRAWN[kind], min_size=1, max_size=4))
        valid = draw(st.none() | st.lists(st.booleans(), min_size=1, max_size=4))
        data = [some[i % len(some)] for i in range(length)]
        found.append((kind, data, valid and [valid[i % len(valid)] for i in range(length)]))
    return found


def value(kind: str, data: Any, *, known: bool) -> Value:
    told = data // 1_000_000 if kind == TIME else data
    return Value(**{FIELDS[kind]: told}) if known else Value()


@given(columns(), st.integers(0, BASE))
def test_vectors_are_those_made_of_a_message_per_value(
    drawn: list[tuple[str, Sequence[Any], list[bool] | None]], at: int
) -> None:
    values = [
        Values(np.array(data, NUMPY_TYPES[kind]), None if valid is None else np.array(valid, bool))
        for kind, data, valid in drawn
    ]
    response = GetOnlineFeaturesResponse()
    add_vectors(response, window_vectors([kind for kind, *_ in drawn], values, at))
    assert len(response.results) == len(drawn)
    for found, (kind, data, valid) in zip(response.results, drawn, strict=True):
        known = [True] * len(data) if valid is None else valid
        expected = [value(kind, each, known=there) for each, there in zip(data, known, strict=True)]
        vector = Vector(values=expected, statuses=[FieldStatus.PRESENT] * len(data))
        assert [each.SerializeToString() for each in found.values] == [each.SerializeToString() for each in expected]
        assert found.statuses == vector.statuses
        assert {each.ToNanoseconds() for each in found.event_timestamps} == ({at * 1_000} if data else set())
        assert len(found.event_timestamps) == len(data)


@pytest.mark.both_servers
@pytest.mark.parametrize("versions", [False, True])
def test_views_read_together_answer_as_each_read_by_feast_alone(
    store: FeatureStore,
    tmp_path: Path,
    redis: Any,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
    versions: bool,
) -> None:
    lasting, short = view_of(tmp_path, "lasting", timedelta(0)), view_of(tmp_path, "short", timedelta(days=1))
    histories = [Event(f"u{i}", "ab"[i % 2], BASE - i * DAY // 8, 0, 3 + i, 1.5 * i, None, BASE) for i in range(6)]
    log_of(tmp_path / "h", histories)
    view = every_kernel_view(tmp_path / "h")
    shopper = Entity(name="user_id", join_keys=["user_id"], value_type=ValueType.STRING)
    store.apply([*view_entities(), shopper, lasting, short, view])
    builder(connection, redis).bring_to_head(windowed_view_of(view))
    for each in (lasting, short):
        online_of(store).online_write_batch(store.config, each, rows(4, BASE + DAY)[:3], None)
    features = [f"history:{field.name}" for field in view.schema if field.name != "user_id"]
    asked = (["lasting:size", *features, "short:size"], [{"user_id": f"u{i}"} for i in (5, 0, 7, 1, 5, 2, 5)])
    for now in (BASE, BASE + 3 * DAY):
        online_of(store).clock = FixedClock(now)
        told = {"full_feature_names": True, "include_feature_view_version_metadata": versions}
        ours = store.get_online_features(*asked, **told).proto
        with monkeypatch.context() as patched:
            patched.setattr(WindowedRedisOnlineStore, "_read_features_per_fv", OnlineStore._read_features_per_fv)
            feasts = store.get_online_features(*asked, **told).proto
        assert ours == feasts
        assert FieldStatus.NOT_FOUND in {status for vector in ours.results for status in vector.statuses}


@pytest.mark.both_servers
def test_feasts_own_way_to_a_key_leads_to_the_same(store: FeatureStore, tmp_path: Path, monkeypatch: Any) -> None:
    view = view_of(tmp_path, "facts", timedelta(0))
    store.apply([*view_entities(), view])
    online_of(store).online_write_batch(store.config, view, rows(4, BASE)[:2], None)
    asked = (["facts:size"], [{"user_id": user} for user in ("u1", "u9", "u0", "u1")])
    ours = store.get_online_features(*asked).proto
    monkeypatch.setattr(online_store, "_keys_of", lambda *_: None)
    assert store.get_online_features(*asked).proto == ours
    assert [each.int64_val for each in ours.results[1].values] == [4, 0, 4, 4]
