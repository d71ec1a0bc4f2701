from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from feature_repo.bench.snapshots import write_snapshots
from feature_repo.core.clock import DAY, HOUR
from feature_repo.engine.kernels import FLOAT, INT
from feature_repo.engine.spec import WindowedFeature, WindowedView

LINES = (  # user, day, hour, category, amount
    ("a", 1, 0, "tea", 2.0),
    ("a", 1, 23, "tea", 3.0),
    ("a", 2, 5, "milk", None),
    ("a", 4, 0, "rice", 5.0),
    ("b", 3, 1, None, 7.0),
)
FEATURES = (
    WindowedFeature("count_2d", "", "count", 2 * DAY, INT),
    WindowedFeature("amount_sum_2d", "amount", "sum", 2 * DAY, FLOAT),
    WindowedFeature("amount_mean_3d", "amount", "mean", 3 * DAY, FLOAT),
    WindowedFeature("amount_max_3d", "amount", "max", 3 * DAY, FLOAT),
    WindowedFeature("category_count_distinct_3d", "category", "count_distinct", 3 * DAY, INT),
)


def test_a_snapshot_holds_the_windows_that_end_at_its_midnight(tmp_path: Path):
    rows = ", ".join(
        f"('{user}', make_timestamptz({day * DAY + hour * HOUR}), "
        f"{'NULL' if category is None else repr(category)}, {'NULL' if amount is None else amount}::DOUBLE)"
        for user, day, hour, category, amount in LINES
    )
    relation = f"(SELECT *, 1 AS quantity FROM (VALUES {rows}) t(user_id, event_timestamp, category, amount))"
    view = WindowedView("v", ("user_id",), "purchase", "", "event_timestamp", "", HOUR, FEATURES)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        write_snapshots(connection, view, relation, range(3, 6), tmp_path / "snapshots.parquet")
    found = pq.read_table(tmp_path / "snapshots.parquet").to_pylist()
    assert {
        (row["user_id"], row["event_timestamp"].day - 1): tuple(row[f.name] for f in FEATURES) for row in found
    } == {
        ("a", 3): (3, 5.0, 2.5, 3.0, 2),
        ("a", 4): (1, 0.0, 2.5, 3.0, 2),
        ("a", 5): (1, 5.0, 5.0, 5.0, 2),
        ("b", 3): (0, 0.0, None, None, 0),
        ("b", 4): (1, 7.0, 7.0, 7.0, 0),
        ("b", 5): (1, 7.0, 7.0, 7.0, 0),
    }
