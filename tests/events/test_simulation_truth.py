"""The simulator's own probability of a purchase is true: orders come as often as it says, and no sooner or later."""

from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from feature_repo.core.clock import DAY, HOUR
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from feature_repo.events.log import read_snapshot
from feature_repo.events.simulation import simulate
from feature_repo.events.simulation_plan import Plan
from feature_repo.events.simulation_truth import purchase_probability
from feature_repo.privacy.pseudonyms import load_pseudonymiser

NOW = 1_795_262_400_000_000 + 12_345_678  # 21 November 2026, 12:00 UTC and a bit
PLAN = Plan(seed=11, users=400, events=60_000, end_us=NOW)


class Spine(NamedTuple):
    """Rows of shopper and instant whose windows of 24 hours do not overlap; their truth; whether they bought."""

    settings: Settings
    users: pa.Array
    at: pa.Array
    truth: np.ndarray
    bought: np.ndarray


@pytest.fixture(scope="module")
def spine(tmp_path_factory: pytest.TempPathFactory) -> Spine:
    """A simulated shop, asked every 25 hours of each shopper."""
    settings = Settings(home=tmp_path_factory.mktemp("truth") / "home", threads=2, memory="1GB")
    simulate(settings, PLAN)
    pseudonymiser = load_pseudonymiser(settings.home)
    steps = np.arange(PLAN.begin_us + 2 * DAY, NOW - DAY, 25 * HOUR)
    who, when = np.repeat(np.arange(PLAN.users), len(steps)), np.tile(steps, PLAN.users)
    users = pseudonymiser.pseudonyms(pa.array([PLAN.raw_id(number) for number in who]))
    at = pa.array(when + 7 * who).cast(pa.timestamp("us", "UTC"))
    truth = purchase_probability(settings, PLAN, users, at).to_numpy()
    return Spine(settings, users, at, truth, bought_within_a_day(settings.home, users, at))


def bought_within_a_day(home: Path, users: pa.Array, at: pa.Array) -> np.ndarray:
    rows = pa.table({"r": np.arange(len(users)), "u": users, "t": at})
    result = np.zeros(len(rows))
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.register("spine", rows)
        found = connection.sql(
            f"SELECT DISTINCT r FROM spine JOIN {read_snapshot(home / 'log' / 'purchase').sql()} "
            "ON user_id = u AND event_timestamp > t AND event_timestamp <= t + INTERVAL 24 HOUR"
        ).to_arrow_table()
    result[found["r"].to_numpy()] = 1
    return result


@pytest.mark.parametrize("share", [(0, 0.5), (0.5, 0.8), (0.8, 0.95), (0.95, 0.99), (0.99, 1), (0, 1)])
def test_orders_come_as_often_as_it_says(spine: Spine, share: tuple[float, float]) -> None:
    # Given the past, an outcome less its probability has mean 0: their sum is a martingale, with this spread.
    low, high = np.quantile(spine.truth, share)
    chosen = (spine.truth >= low) & (spine.truth <= high)
    truth, bought = spine.truth[chosen], spine.bought[chosen]
    assert truth.sum() > 10
    assert abs((bought - truth).sum()) < 4 * np.sqrt((truth * (1 - truth)).sum())


def test_it_tells_who_buys(spine: Spine) -> None:
    ranks = np.argsort(np.argsort(spine.truth))
    ones, zeros = spine.bought.sum(), (1 - spine.bought).sum()
    auc = (ranks[spine.bought == 1].sum() - ones * (ones - 1) / 2) / (ones * zeros)
    assert auc > 0.75
    assert not spine.bought[spine.truth == 0].any()
    assert (spine.truth >= 0).all()
    assert (spine.truth < 1).all()


def test_it_is_the_same_for_a_row_alone_and_among_others(spine: Spine) -> None:
    some = np.arange(0, len(spine.truth), 997)
    alone = [
        purchase_probability(spine.settings, PLAN, spine.users.take(pa.array([row])), spine.at.take(pa.array([row])))
        for row in some[:5]
    ]
    assert np.concatenate(alone) == pytest.approx(spine.truth[some[:5]], rel=1e-12)


def test_a_stranger_is_refused(spine: Spine) -> None:
    with pytest.raises(DataError, match="1 rows are of shoppers the simulated shop of seed 11 does not have"):
        purchase_probability(spine.settings, PLAN, pa.array(["u_" + "0" * 32]), spine.at[:1])
