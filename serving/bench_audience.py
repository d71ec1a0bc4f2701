"""`portrait bench audience`: the size of an audience from the index, beside DuckDB's COUNT over the same snapshot.

Both are asked the same selections, by the same text, of one process, in turns; before that, their answers are compared.
What the index took to make is told: it is made once per snapshot, DuckDB needs none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.bench.bench import Bench, Findings, Size
from feature_repo.bench.ground import Ground
from feature_repo.bench.measure import Spent, in_turns, percentile, spent
from feature_repo.bench.synthetic import SEED
from feature_repo.core.errors import CheckFailedError
from feature_repo.core.stores import connect_duckdb
from serving.audiences.audiences import Audiences
from serving.audiences.index_files import index_root
from serving.audiences.snapshots import MANIFEST, PEOPLE, snapshots_root

AS_OF = "2026-01-01T00:00:00Z"
FEATURES = 40
# Full names, which both sides know.
SELECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "one tag": "tag__churn_risk = 'high'",
        "four tags": "tag__churn_risk = 'high' and tag__coupon_affinity in ('strong', 'some') and not tag__weekend "
        "and user_segments__segment <> 'champions'",
        "one number": "bench__number_0 > 100",
        "tags and numbers": "tag__churn_risk <> 'low' and (bench__number_0 between 50 and 150 or bench__number_1 > 300)"
        " and score__churn < 0.3 and bench__count >= 2",
        "ten numbers": " or ".join(f"bench__number_{n} between {50 + n} and {60 + n}" for n in range(10)),
    }
)


@dataclass(frozen=True)
class Scale:
    """Shoppers of the snapshot, and how often each selection is asked."""

    users: int
    rounds: int


def measure(ground: Ground, scale: Scale) -> Findings:
    """Count each audience both ways, in turn."""
    ground.step("making shoppers", 0.0)
    people = write_people(snapshots_root(ground.settings), scale.users)
    ground.step("making the index", 0.2)
    built = spent(lambda: Audiences(ground.settings))
    audiences = Audiences(ground.settings)
    with closing(connect_duckdb(ground.settings)) as connection:
        ours, peer = _ours(audiences), _peer(connection, people)
        _check(ours, peer)
        taken = {}
        for n, (name, text) in enumerate(SELECTIONS.items()):
            told = 0.3 + 0.7 * n / len(SELECTIONS)
            ground.step(name, told)
            sides = (lambda text=text: spent(lambda: ours(text)), lambda text=text: spent(lambda: peer(text)))
            taken[name] = in_turns(*sides, rounds=scale.rounds, told=lambda _share: None)
    tables = [{name: _summary(sides[side]) for name, sides in taken.items()} for side in (0, 1)]
    slowest = max(tables[0], key=lambda name: tables[0][name]["p50_ms"])
    return Findings(
        tables[0],
        tables[1],
        tables[1][slowest]["p50_ms"] / tables[0][slowest]["p50_ms"],
        f"p50 ms of the slowest estimate: {slowest}",
        {
            "peer": "DuckDB, SELECT count(*) FROM the snapshot's Parquet file WHERE the same text",
            "selections": dict(SELECTIONS),
            "index_cpu_s": built.cpu,
            "index_bytes": sum(file.stat().st_size for file in index_root(ground.settings).rglob("*")),
            "snapshot_bytes": people.stat().st_size,
        },
    )


def write_people(root: Path, users: int) -> Path:
    """Write a snapshot of made-up shoppers: tags, counts, a score and forty sums of money; return its file."""
    random = np.random.default_rng(SEED)
    columns: dict[str, Any] = {
        "user_id": pa.array([f"u_{n:032x}" for n in range(users)]),
        "tag__churn_risk": _texts(random, users, ["high", "medium", "low", None]),
        "tag__coupon_affinity": _texts(random, users, ["strong", "some", "none", None]),
        "tag__weekend": pa.array(random.random(users) < 0.3),  # noqa: PLR2004
        "tag__favourite": _texts(random, users, [f"category {n}" for n in range(300)]),
        "user_segments__segment": _texts(random, users, ["champions", "loyal", "promising", "lost", None]),
        "bench__count": random.poisson(4, users),
        "score__churn": random.random(users),
    }
    for n in range(FEATURES):
        columns[f"bench__number_{n}"] = pa.array(random.gamma(2, 50, users).round(2), mask=random.random(users) < 0.1)  # noqa: PLR2004
    folder = root / AS_OF.replace(":", "")
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / PEOPLE, row_group_size=122_880)
    (folder / MANIFEST).write_text(json.dumps({"as_of": AS_OF}), "utf-8")
    return folder / PEOPLE


def _texts(random: np.random.Generator, users: int, values: list[str | None]) -> pa.Array:
    return pa.array(values).take(pa.array(random.integers(0, len(values), users)))


def _ours(audiences: Audiences) -> Callable[[str], int]:
    return lambda text: audiences.estimate(text).size


def _peer(connection: Any, people: Path) -> Callable[[str], int]:
    def count(text: str) -> int:
        [(found,)] = connection.execute(f"SELECT count(*) FROM read_parquet(?) WHERE {text}", [str(people)]).fetchall()
        return int(found)

    return count


def _check(ours: Callable[[str], int], peer: Callable[[str], int]) -> None:
    for name, text in SELECTIONS.items():
        if ours(text) != peer(text):
            raise CheckFailedError(f"The index and DuckDB count '{name}' differently.")


def _summary(taken: list[Spent]) -> dict[str, float]:
    walls = [1e3 * each.wall for each in taken]
    return {
        "p50_ms": median(walls),
        "p99_ms": percentile(walls, 99),
        "cpu_ms": median(1e3 * each.cpu for each in taken),
    }


BENCH = Bench(
    name="audience",
    sizes={Size.SMALL: Scale(users=100_000, rounds=20), Size.FULL: Scale(users=1_000_000, rounds=50)},
    measure=measure,
    least=2.0,
)
