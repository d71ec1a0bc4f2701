"""On simulated shops, whose truth is known: no effect is seldom found, a true one is, a lopsided split alarms."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import kstest

from feature_repo.core.clock import DAY, FixedClock, to_us
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.events.door import admit
from feature_repo.events.log import read_snapshot
from feature_repo.events.simulation import simulate
from feature_repo.events.simulation_plan import Plan
from feature_repo.privacy.pseudonyms import key_path, load_pseudonymiser
from made_experiments import PAGE, START, said
from serving.experiments.experiment import Experiment
from serving.experiments.findings import ExperimentReport
from serving.experiments.report import report_of
from serving.experiments.split import split

pytestmark = pytest.mark.slow(60)

END = to_us(START) + 70 * DAY
SHOPS, SPLITS = (3, 5, 8), 80
KEY = bytes(range(32))


@dataclass(frozen=True)
class Visitors:
    """A shop's shoppers who came while the experiment ran: pseudonyms, and when they came first (us)."""

    users: list[str]
    first: list[int]


@dataclass(frozen=True)
class Shops:
    """Simulated shops in one log, and who came to each."""

    settings: Settings
    visitors: list[Visitors]

    def report(self, experiment: Experiment) -> ExperimentReport:
        return report_of(self.settings, experiment, FixedClock(END))

    def expose(self, experiments: list[tuple[Experiment, Visitors]], keep: Callable[[int, int], bool]) -> None:
        """Let the visitors meet experiments; ``keep`` says of a place and a variant whether it is told."""
        parts = []
        for experiment, visitors in experiments:
            chosen = split(experiment, visitors.users)
            kept = [row for row, variant in enumerate(chosen) if keep(row, variant)]
            names = [variant.name for variant in experiment.variants]
            at = pa.array([visitors.first[row] for row in kept], pa.timestamp("us", "UTC"))
            parts.append(
                pa.table(
                    {
                        "event_id": [f"{experiment.name}-{row}" for row in kept],
                        "user_id": [visitors.users[row] for row in kept],
                        "experiment": [experiment.name] * len(kept),
                        "variant": [names[chosen[row]] for row in kept],
                        "event_timestamp": at,
                        "ingested_at": at,
                    }
                )
            )
        admit(self.settings.log_root, "experiment_exposure", pa.concat_tables(parts), source="test")


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Shops:
    settings = Settings(home=tmp_path_factory.mktemp("shops"), redis_url="")
    key = key_path(settings.home)
    key.parent.mkdir(mode=0o700)
    key.write_bytes(KEY)  # other pseudonyms are other splits
    key.chmod(0o600)
    plans = [Plan(seed=seed, users=1_500, events=60_000, end_us=END, days=77) for seed in SHOPS]
    for plan in plans:
        simulate(settings, plan)
    return Shops(settings, [visitors_of(settings, plan) for plan in plans])


def visitors_of(settings: Settings, plan: Plan) -> Visitors:
    hashed = load_pseudonymiser(settings.home).pseudonym
    mine = {hashed(plan.raw_id(number)) for number in range(plan.users)}
    begin, end = PAGE.span_us
    with closing(connect_duckdb(settings)) as connection:
        views = read_snapshot(settings.log_root / "view").sql()
        found = connection.sql(f"""
            SELECT user_id, min(epoch_us(event_timestamp)) AS first FROM {views}
            WHERE epoch_us(event_timestamp) BETWEEN {begin} AND {end - 1} GROUP BY user_id ORDER BY user_id
        """).fetchall()
    rows = [(user, first) for user, first in found if user in mine]
    return Visitors([user for user, _ in rows], [first for _, first in rows])


def everybody(shops: Shops) -> Visitors:
    parts = shops.visitors
    return Visitors([user for each in parts for user in each.users], [at for each in parts for at in each.first])


def test_where_nothing_differs_one_in_twenty_looks_so(shops: Shops) -> None:
    """Each of 240 splits of the shops' visitors is an experiment whose variants are the same."""
    experiments = [
        (replace(PAGE, name=f"same_{shop}_{n}"), visitors)
        for shop, visitors in enumerate(shops.visitors)
        for n in range(SPLITS)
    ]
    shops.expose(experiments, lambda _row, _variant: True)
    reports = [shops.report(experiment) for experiment, _ in experiments]
    assert len(reports) == 240
    assert all(sum(share.shoppers for share in each.shares) > 600 for each in reports)
    found = {}
    for name in ("click_through", "conversion", "retention", "spend"):
        p_values = np.array([each.outcomes[name].effects[0].p_value for each in reports])
        found[name] = int(np.sum(p_values < 0.05))
        assert kstest(p_values, "uniform").pvalue > 0.001, name
        inside = [each.outcomes[name].effects[0] for each in reports]
        assert sum(effect.low <= 0 <= effect.high for effect in inside) >= 240 - 24, name
    # Of 240 at 5 %: 12 are expected, and 3 to 23 in 998 of 1,000 such counts.
    assert all(3 <= count <= 23 for count in found.values()), found
    assert sum(each.sample_ratio.alarm for each in reports) <= 1


def test_an_effect_that_is_there_is_found_with_its_size(shops: Shops) -> None:
    effect, visitors = replace(PAGE, name="effect"), everybody(shops)
    shops.expose([(effect, visitors)], lambda _row, _variant: True)
    chosen = split(effect, visitors.users)
    tenth = [row for row, variant in enumerate(chosen) if variant and row % 10 == 0]
    buys = [{"user_id": visitors.users[row], "at": visitors.first[row] + DAY, "amount": 5.0} for row in tenth]
    said(shops.settings, "purchase", buys)
    report = shops.report(effect)
    control, other = report.outcomes["conversion"].arms
    found = report.outcomes["conversion"].effects[0]
    # A tenth of those who would not have bought, did.
    assert found.low < 0.1 * (1 - control.value) < found.high
    assert found.p_value < 0.001
    assert report.verdict.startswith("'other' is better than 'control' in conversion")
    assert not report.sample_ratio.alarm
    assert other.shoppers + control.shoppers == len(visitors.users)


def test_a_variant_that_loses_some_of_its_shoppers_alarms(shops: Shops) -> None:
    lost, visitors = replace(PAGE, name="lost"), everybody(shops)
    shops.expose([(lost, visitors)], lambda row, variant: not variant or row % 4 > 0)
    report = shops.report(lost)
    assert report.sample_ratio.alarm
    assert report.verdict.startswith("The effects say nothing")
