"""Two models of one question, trained differently: split, exposed, answered, reported, and learnt of."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable
from mlflow import MlflowClient

from feature_repo import cli
from feature_repo.core import clock as clocks
from feature_repo.core.clock import DAY, HOUR, FixedClock, SystemClock, from_us
from feature_repo.core.settings import Settings, load_settings
from feature_repo.jobs import services
from feature_repo.jobs.consume import Consumer
from feature_repo.jobs.served import AT, read_served
from made_experiments import PAGE
from serving import Event, ProfileClient, SplitScores
from serving.experiments import experiment as declarations
from serving.experiments.experiment import Variant
from serving.experiments.split import split
from training.data.dataset import dataset
from training.declaring.recipe import Linear, Recipe
from training.jobs.train import train
from training.task import Gate, Task, find_task

pytestmark = pytest.mark.slow(40)

MODELS = replace(
    PAGE,
    name="two_models",
    subject="",
    task="redemption",
    variants=(Variant("champion", "", model="champion"), Variant("challenger", "", model="challenger")),
    start=datetime(2020, 1, 1, tzinfo=UTC),
    end=datetime(2100, 1, 1, tzinfo=UTC),
    outcome="click_through",
    conversion_days=1,
)
NAMES = ("effect", "same", "broken", "learnt")
DECLARED = {name: replace(MODELS, name=name) for name in NAMES}
RFM = ("user_payments__days_since", "user_payments__count_84d", "user_payments__amount_sum_84d")

# What became of an answer: whether the shopper clicked within a day, as the log says it of each exposure.
ANSWERED = """
SELECT
    user_id, event_timestamp, variant, model_version, event_timestamp + INTERVAL 1 DAY AS known_at,
    EXISTS (
        FROM feedback WHERE feedback.user_id = exposure.user_id AND action = 'clicked'
          AND feedback.model || '@' || feedback.model_version = exposure.model || '@' || exposure.model_version
          AND feedback.event_timestamp >= exposure.event_timestamp
          AND feedback.event_timestamp < exposure.event_timestamp + INTERVAL 1 DAY
    )::BIGINT AS label
FROM experiment_exposure exposure, log_span
WHERE experiment = 'learnt' AND event_timestamp + INTERVAL 1 DAY <= last_at
"""


@dataclass(frozen=True)
class Shop:
    """A home with two models; ``now`` is later than all of its events, and everything happens from then on."""

    settings: Settings
    users: Sequence[str]
    now: int

    def answer(self, experiment: str, users: Sequence[str], *, at: int = 0) -> SplitScores:
        """Ask both models, so long after the beginning (us), and let the stream hear of it."""
        with ProfileClient(settings=self.settings, clock=FixedClock(self.now + at)) as client:
            found = client.predict("redemption", list(users), experiment=experiment)
            assert client.exposures.flush(60)
            assert client.exposures.counts().lost == {}
        assert isinstance(found, SplitScores)
        return found

    def click(self, scores: SplitScores, shares: Mapping[str, float], *, at: int = 0) -> dict[str, float]:
        """Let a share of each variant's shoppers click six hours after an answer; return what share did."""
        chosen = {}
        with ProfileClient(settings=self.settings, clock=FixedClock(self.now + at + 6 * HOUR)) as client:
            for variant, share in shares.items():
                mine = [each for each in scores if each.variant == variant and each.enrolled]
                clicking = random.Random(7).sample(mine, round(share * len(mine)))
                for each in clicking:
                    assert client.feedback(each.user_id, "clicked", item="995242", model=each.model).accepted == 1
                chosen[variant] = len(clicking) / len(mine)
        self.consume(at + 2 * DAY)
        return chosen

    def consume(self, until: int) -> None:
        """Bring what waits into the log, up to an event of a stranger that says how far it goes."""
        with ProfileClient(settings=self.settings, clock=FixedClock(self.now + until)) as client:
            client.track(Event.view(user_id="stranger", item_id="1"))
        Consumer(self.settings, SystemClock(), until_empty=True).run()

    def exposed(self, experiment: str) -> pa.Table:
        table = DeltaTable(str(self.settings.log_root / "experiment_exposure")).to_pyarrow_table()
        return table.filter(pc.equal(table["experiment"], experiment))


@pytest.fixture(scope="module")
def shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    home = tmp_path_factory.mktemp("two-models") / "home"
    shutil.copytree(built_shop, home)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PORTRAIT_REDIS_URL", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        patch.setenv("PORTRAIT_HOME", str(home))
        patch.setenv("PORTRAIT_SERVED_SAMPLE", "1")
        settings = load_settings()
        services.up(settings, SystemClock())
        other = replace(
            find_task("redemption"),
            model=Recipe(inputs=RFM, linear=Linear()),
            baselines={},
            gates=(Gate("auc", at_least=0.5),),
            must_beat=(),
            not_worse_than=(),
        )
        report = train(other, settings)
        assert (report.challenger, report.promoted) == (True, False), report.reason
        bought = DeltaTable(str(settings.log_root / "purchase")).to_pyarrow_table(columns=["user_id"])
        yield Shop(settings, sorted(set(bought["user_id"].to_pylist())), SystemClock().now_us())
        services.down(settings)


@pytest.fixture(autouse=True)
def declared(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_HOME", str(shop.settings.home))
    monkeypatch.delenv("PORTRAIT_REDIS_URL", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(declarations, "all_experiments", lambda: DECLARED)
    monkeypatch.setattr("serving.experiments.desk.all_experiments", lambda: DECLARED)
    monkeypatch.setattr(clocks, "SystemClock", SystemClock)


def reported(
    shop: Shop, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, dict[str, Any]]:
    """What `portrait experiments report` prints two days later, and how it exits."""
    monkeypatch.setattr(clocks, "SystemClock", lambda: FixedClock(shop.now + 2 * DAY))
    capsys.readouterr()
    code = cli.main(["experiments", "report", name, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_an_effect_of_the_better_model_is_found_with_its_size(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    users = shop.users[:1_200]
    scores = shop.answer("effect", users)
    assert [each.variant for each in scores] == [MODELS.variants[n].name for n in split(DECLARED["effect"], users)]
    by_version = dict(zip(("champion", "challenger"), pinned(shop, users), strict=True))
    assert np.mean(by_version["champion"] != by_version["challenger"]) > 0.99
    expected = [by_version[each.variant][n] for n, each in enumerate(scores)]
    assert scores.values == pytest.approx(np.array(expected), rel=1e-12)  # noqa: PD011 - no frame

    shares = shop.click(scores, {"champion": 0.20, "challenger": 0.35})
    exposed = shop.exposed("effect").to_pylist()
    assert {each["user_id"]: (each["variant"], f"{each['model']}@{each['model_version']}") for each in exposed} == {
        each.user_id: (each.variant, each.model) for each in scores
    }
    code, report = reported(shop, "effect", capsys, monkeypatch)
    [effect] = report["outcomes"]["click_through"]["effects"]
    truth = shares["challenger"] - shares["champion"]
    assert code == 0
    assert effect["difference"] == pytest.approx(truth)
    assert 0 < effect["low"] < truth < effect["high"] < 0.25
    assert effect["p_value"] < 0.001
    assert not report["sample_ratio"]["alarm"]
    assert sum(share["shoppers"] for share in report["shares"]) == len(users)
    assert "'challenger' is better than 'champion' in click_through" in report["verdict"]


def pinned(shop: Shop, users: Sequence[str]) -> list[np.ndarray[Any, Any]]:
    """What each of the two versions says of shoppers when it is named."""
    with ProfileClient(settings=shop.settings, clock=FixedClock(shop.now)) as client:
        return [client.predict("redemption", list(users), version=each).values for each in ("1", "2")]  # noqa: PD011 - no frame


def test_where_both_do_as_well_no_difference_is_shown(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = shop.answer("same", shop.users[1_200:2_400])
    shop.click(scores, {"champion": 0.20, "challenger": 0.20})
    code, report = reported(shop, "same", capsys, monkeypatch)
    [effect] = report["outcomes"]["click_through"]["effects"]
    assert code == 0
    assert effect["low"] < 0 < effect["high"]
    assert effect["p_value"] > 0.05
    assert "No difference of 'challenger' from 'champion' is shown" in report["verdict"]


def test_a_model_that_was_away_for_a_while_breaks_the_split_and_alarms(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = MlflowClient(tracking_uri=shop.settings.tracking_uri, registry_uri=shop.settings.tracking_uri)
    registry.delete_registered_model_alias("redemption", "challenger")
    away = shop.answer("broken", shop.users[:300])
    assert {each.why for each in away if not each.enrolled} == {"no_model"}
    registry.set_registered_model_alias("redemption", "challenger", "2")
    back = shop.answer("broken", shop.users[300:600])
    assert all(each.enrolled for each in back)
    shop.consume(2 * DAY)
    code, report = reported(shop, "broken", capsys, monkeypatch)
    assert code == 1
    assert report["sample_ratio"]["alarm"]
    assert report["verdict"].startswith("The effects say nothing")


def test_feedback_moves_the_profile_and_is_joined_to_what_was_served(shop: Shop) -> None:
    users, weeks = shop.users[:60], [(5 + 10 * n) * DAY for n in range(3)]
    for at in weeks:
        shop.click(shop.answer("learnt", users, at=at), {"champion": 0.4, "challenger": 0.4}, at=at)
    with ProfileClient(settings=shop.settings, clock=FixedClock(shop.now + weeks[-1] + DAY)) as client:
        seen = client.features(list(users)).to_df()
    clicks = DeltaTable(str(shop.settings.log_root / "feedback")).to_pyarrow_table().to_pandas()
    last = clicks[clicks["event_timestamp"] == clicks["event_timestamp"].max()]["user_id"]
    assert len(last) == pytest.approx(0.4 * len(users), abs=1)
    assert seen["user_feedback__count_7d"].tolist() == [int(user in set(last)) for user in users]

    rows = dataset(learning(), shop.settings).frame.set_index(["user_id", "event_timestamp"])
    assert len(rows) == len(users) * len(weeks)
    assert rows["label"].sum() == len(clicks[clicks["event_timestamp"] > from_us(shop.now + DAY)])
    assert set(rows[rows["label"] == 1].xs(last.iloc[0])["variant"]) <= {"champion", "challenger"}
    # A model is given what it reads, and all that was read for it: the other one's computed features are not there.
    served = pd.concat(served_by(shop, [from_us(shop.now + at) for at in weeks]), join="inner")
    names = [name for name in rows.columns if name in served.columns]
    assert len(names) > 20
    pd.testing.assert_frame_equal(
        rows[names].sort_index(), served[names].sort_index(), check_dtype=False, check_names=False, rtol=1e-9
    )


def served_by(shop: Shop, instants: Sequence[datetime]) -> Iterator[pd.DataFrame]:
    """What the models were given at some instants, by shopper and instant."""
    for each in read_served(shop.settings):
        if each.facts.model.startswith("redemption@"):
            rows = each.table.to_pandas()
            yield rows[rows[AT].isin(instants)].set_index(["user_id", AT])


def learning() -> Task:
    """The question whether a shopper answers what is shown: a task over exposures and feedback."""
    return replace(
        find_task("redemption"),
        name="answered",
        label=ANSWERED,
        context=(),
        slices=(),
        pulse="view",
        holdout=timedelta(days=8),
        validation=timedelta(days=8),
        baselines={},
        gates=(),
        must_beat=(),
        not_worse_than=(),
    )
