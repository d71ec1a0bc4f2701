from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import serving
from feature_repo import cli
from feature_repo.core.clock import FixedClock, SystemClock, from_us
from feature_repo.core.errors import (
    DataError,
    DeclarationError,
    ModelUnavailableError,
    SettingsError,
    StoreUnavailableError,
)
from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import connect_redis
from feature_repo.engine.feature_store import open_store
from feature_repo.engine.positions import Positions
from feature_repo.privacy.pseudonyms import is_pseudonym
from serving import ProfileClient

RAW = "2375"


@pytest.fixture
def portrait(shop: Settings) -> Iterator[ProfileClient]:
    with ProfileClient() as client:
        yield client


def test_importing_serving_imports_nothing_heavy() -> None:
    code = "import sys, serving; print([m for m in ('feast', 'mlflow', 'pandas', 'redis') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert all(getattr(serving, name) for name in serving.__all__)
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = serving.nothing_here


def test_a_raw_id_and_its_pseudonym_are_one_shopper(portrait: ProfileClient) -> None:
    pseudonym = portrait.key(RAW)
    assert is_pseudonym(pseudonym)
    assert portrait.key(pseudonym) == portrait.key(int(RAW)) == pseudonym
    frame = portrait.features([RAW, pseudonym, int(RAW)]).to_df()
    assert list(frame.index) == [pseudonym] * 3
    assert len(frame.drop_duplicates()) == 1


def test_features_come_indexed_by_entity_and_say_who_is_known(portrait: ProfileClient) -> None:
    found = portrait.features([RAW, "never seen"])
    frame = found.to_df()
    assert frame.index.name == "user_id"
    assert found.known == (True, False)
    assert list(frame["user_payments__count_182d"] > 0) == [True, False]
    assert found.to_arrow().column_names[0] == "user_id"


def test_a_service_about_pairs_takes_a_dataframe(portrait: ProfileClient) -> None:
    pairs = pd.DataFrame({"user_id": [RAW, RAW], "category": ["SOFT DRINKS", "no such category"]})
    frame = portrait.features(pairs, service="user_category_v1").to_df()
    assert frame.index.names == ["category", "user_id"]
    assert frame["user_category_purchases__count_364d"].tolist()[1] == 0


def test_nobody_asked_nothing_answered(portrait: ProfileClient) -> None:
    assert portrait.features([]).to_df().shape == (0, len(portrait.features([]).to_arrow().column_names) - 1)
    assert list(portrait.predict("redemption", [])) == []
    assert portrait.predict("redemption", []).to_df().empty


def test_ten_thousand_ids_are_answered(portrait: ProfileClient) -> None:
    found = portrait.features([str(i) for i in range(10_000)], service="redemption_v1")
    assert found.to_arrow().num_rows == 10_000
    assert 2_000 < sum(found.known) < 3_000


def test_a_profile_sorts_every_feature_into_dimensions(portrait: ProfileClient) -> None:
    profile = portrait.profile(RAW)
    facts = [fact for dimension in profile.dimensions.values() for fact in dimension]
    assert profile.known
    assert list(profile.dimensions) == ["basic", "behaviour", "value", "preference", "engagement", "lifecycle"]
    assert all(profile.dimensions.values())
    assert sorted(fact.name for fact in facts) == sorted(portrait.features(RAW).to_arrow().column_names[1:])
    assert all(fact.description for fact in facts)
    [trend] = [fact for fact in facts if fact.name == "user_trends__visits_trend_28d_84d"]
    assert (trend.description, trend.zh) == ("Visits in 28 days against the average 28 of 84 days.", "到店频次趋势")


def test_freshness_names_the_read_the_log_and_the_last_event(shop: Settings) -> None:
    at = SystemClock().now_us() + 12_345
    with ProfileClient(clock=FixedClock(at)) as portrait:
        fresh = portrait.profile(RAW).freshness
        last = portrait.features(RAW).to_arrow()["user_payments__last_event_at"][0].as_py()
    assert fresh.read_at == from_us(at)
    assert fresh.last_event_at is not None
    assert fresh.last_event_at >= last
    assert fresh.read_at - fresh.last_event_at < timedelta(days=364)
    assert set(fresh.log_versions) == {
        "user_demographics", "user_payments", "user_purchases", "user_campaigns", "user_redemptions",
        "user_feedback", "user_views", "user_searches", "user_clicks", "user_carts",
        "user_views_live", "user_searches_live", "user_clicks_live", "user_carts_live", "user_segments",
    }  # fmt: skip
    assert all(version is not None for version in fresh.log_versions.values())


def test_an_unknown_shopper_is_no_error(portrait: ProfileClient) -> None:
    profile = portrait.profile("never seen")
    assert not profile.known
    assert profile.freshness.last_event_at is None
    [score] = portrait.predict("redemption", "never seen")
    assert not score.known
    assert 0 <= score.value <= 1
    assert "user_payments__days_since" in score.missing


def test_a_view_that_is_not_built_is_named_in_every_answer(portrait: ProfileClient, shop: Settings) -> None:
    whole = portrait.features([RAW, "1364"], service="redemption_v1")
    with connect_redis(shop) as client:
        key = Positions(client, open_store().project).key
        served = client.hget(key, "serve:user_payments")
        client.hdel(key, "serve:user_payments")
        try:
            found = portrait.features([RAW, "1364"], service="redemption_v1")
            scores = portrait.predict("redemption", [RAW, "1364"])
        finally:
            client.hset(key, "serve:user_payments", served)
    features = [name for name in found.reading.plan.contract if name.startswith("user_payments__")]
    counts = {name for name in features if "__count" in name}
    assert counts
    for before, missing, score in zip(whole.missing, found.missing, scores, strict=True):
        assert not counts & set(before)
        assert set(missing) >= set(features)
        assert set(score.missing) == set(missing)
        assert 0 <= score.value <= 1


def test_a_prediction_is_the_registered_models_own(portrait: ProfileClient, shop: Settings) -> None:
    users = [RAW, "1364", "never seen"]
    scores = portrait.predict("redemption", users)
    model = portrait._transport._models.champion("redemption")
    frame = portrait.features(users, service="redemption_v1").to_df().assign(**model.context)
    expected = model.scorer.predict(None, frame)
    assert np.allclose([score.value for score in scores], expected, atol=1e-4)  # days_since grew in between
    assert [score.user_id for score in scores] == [portrait.key(user) for user in users]
    assert scores[0].model == f"redemption@{model.version}"
    assert scores[0].defaults == ("campaign_type_a", "campaign_days")


def test_context_of_the_caller_replaces_the_default(portrait: ProfileClient) -> None:
    frame = pd.DataFrame({"user_id": [RAW] * 3, "campaign_type_a": [1, 0, None], "campaign_days": [47, 32, 47]})
    first, other, unsaid = portrait.predict("redemption", frame)
    assert (first.defaults, other.defaults, unsaid.defaults) == ((), (), ("campaign_type_a",))
    assert first.value != other.value
    assert first.value == unsaid.value


@pytest.mark.parametrize(("column", "wrong"), [("campaign_days", -5), ("campaign_days", True), ("campaign_type_a", 7)])
def test_a_campaign_that_cannot_be_is_not_scored(portrait: ProfileClient, column: str, wrong: object) -> None:
    frame = pd.DataFrame({"user_id": [RAW] * 2, column: pd.Series([1, wrong], dtype=object)})
    with pytest.raises(DataError, match=f"Row 1 of context column '{column}' is {wrong}"):
        portrait.predict("redemption", frame)


def test_a_task_without_a_champion_says_how_to_get_one(portrait: ProfileClient) -> None:
    with pytest.raises(ModelUnavailableError, match="portrait train churn"):
        portrait.predict("churn", [RAW])


@pytest.mark.parametrize("service", [None, 3, ""])
def test_what_is_no_name_of_a_service_is_refused(portrait: ProfileClient, service: object) -> None:
    with pytest.raises(DeclarationError, match="service") as caught:
        portrait.features([RAW], service=service)  # type: ignore[arg-type]
    assert "profile_v1" in caught.value.hint


def test_a_column_that_is_there_twice_is_refused_by_name(portrait: ProfileClient) -> None:
    twice = pd.DataFrame([[RAW, "1364", 1.0, 2.0]], columns=["user_id", "user_id", "campaign_days", "campaign_days"])
    with pytest.raises(DataError, match="2 columns named 'user_id'"):
        portrait.features(twice)
    with pytest.raises(DataError, match="2 columns named 'campaign_days'"):
        portrait.predict("redemption", twice.iloc[:, [0, 2, 3]])


def test_a_missing_id_is_refused_with_its_row(portrait: ProfileClient) -> None:
    with pytest.raises(DataError, match="Row 1 of 'user_id' is missing"):
        portrait.predict("redemption", [RAW, None])
    with pytest.raises(DataError, match="'user_id'"):
        portrait.profile([RAW, RAW])  # type: ignore[arg-type]


def test_settings_of_another_home_are_refused(shop: Settings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="PORTRAIT_HOME"):
        ProfileClient(settings=Settings(home=tmp_path))


def test_a_home_without_a_registry_is_told_to_apply(home: Path) -> None:
    with ProfileClient() as portrait, pytest.raises(DeclarationError, match="portrait features apply"):
        portrait.profile(RAW)


def test_without_redis_the_client_says_so(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("PORTRAIT_REMEMBERED", "0")  # else redemption may answer by defaults
    with ProfileClient(settings=load_settings(), timeout_s=1.0) as portrait:
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            portrait.profile(RAW)
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            portrait.predict("redemption", [RAW])


def test_definitions_that_changed_since_training_are_refused(
    portrait: ProfileClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = portrait._transport._models.champion("redemption")
    monkeypatch.setitem(model.contract, "user_payments__count_84d", "something else")  # type: ignore[arg-type]
    with pytest.raises(ModelUnavailableError, match="'user_payments__count_84d'"):
        portrait.predict("redemption", [RAW])


@pytest.mark.parametrize("task_line", [("predict", "redemption", RAW, "never seen")])
def test_predict_prints_one_object(
    shop: Settings, capsys: pytest.CaptureFixture[str], task_line: tuple[str, ...]
) -> None:
    assert cli.main([*task_line, "--json"]) == 0
    out, err = capsys.readouterr()
    scores = json.loads(out)["scores"]
    assert [score["known"] for score in scores] == [True, False]
    assert set(scores[0]) >= {"user_id", "value", "model", "features_as_of", "missing"}
    assert err == ""
    assert cli.main(task_line) == 0
    assert "redemption@" in capsys.readouterr().out


def test_profile_prints_a_page_and_an_object(shop: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["profile", RAW]) == 0
    page = capsys.readouterr().out
    assert "Value 价值" in page
    assert RAW not in page.split()
    assert cli.main(["profile", "never seen", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["known"] is False


def test_key_prints_the_pseudonym_alone(shop: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["key", RAW]) == 0
    out = capsys.readouterr().out
    assert is_pseudonym(out.strip())
    assert cli.main(["key", out.strip()]) == 0
    assert capsys.readouterr().out == out


def test_a_missing_champion_exits_with_2(shop: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", "churn", RAW, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "ModelUnavailableError"
