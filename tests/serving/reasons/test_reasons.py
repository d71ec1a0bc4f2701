"""Reasons of a real champion: they add up, each leads to its events, and the score follows what is left out."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from feature_repo import cli
from feature_repo.core.clock import FixedClock, SystemClock
from feature_repo.core.errors import DataError, DeclarationError, ModelUnavailableError, StoreUnavailableError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.core.stores import connect_redis
from feature_repo.engine.feature_store import open_store
from feature_repo.engine.positions import Positions
from feature_repo.events.log import read_snapshot
from feature_repo.events.schema import table_path
from feature_repo.privacy.tombstones import Tombstones
from serving import Explanation, ProfileClient
from serving.local import LocalTransport
from serving.reasons import page as pages
from serving.reasons.answers import MOST_EVENTS
from serving.reasons.page import Unexplained, page, write_page
from serving.reasons.shares import shares_of
from training.scorer import calibrated

RAW = "2375"
TASK = "redemption"


@pytest.fixture
def portrait(shop: Settings) -> Iterator[ProfileClient]:
    with ProfileClient(clock=FixedClock(SystemClock().now_us())) as client:
        yield client


@pytest.fixture
def explanation(portrait: ProfileClient) -> Explanation:
    return portrait.explain(TASK, RAW)


def shoppers(settings: Settings, many: int) -> list[str]:
    files = read_snapshot(table_path(settings.log_root, "payment")).files
    found = pd.concat([pd.read_parquet(file, columns=["user_id"]) for file in files])
    return sorted(found["user_id"].unique())[::7][:many]


def test_contributions_and_base_add_up_to_the_margin(portrait: ProfileClient, shop: Settings) -> None:
    bases = set()
    for user in [*shoppers(shop, 40), "never seen"]:
        found = portrait.explain(TASK, user)
        assert abs(sum(found.contributions.values()) + found.base - found.margin) < 1e-6
        assert abs(sum(found.dimensions.values()) + found.base - found.margin) < 1e-6
        assert abs(sum(reason.contribution for reason in found.reasons) + found.base - found.margin) < 1e-6
        bases.add(found.base)
    # The base is of no shopper: it takes up what XGBoost's 32 bits are off by, and nothing else.
    assert max(bases) - min(bases) < 1e-5


def test_the_margin_is_the_one_the_score_is_made_of(portrait: ProfileClient, explanation: Explanation) -> None:
    [score] = portrait.predict(TASK, [RAW])
    assert (explanation.value, explanation.model) == (score.value, score.model)
    assert (explanation.missing, explanation.defaults) == (score.missing, score.defaults)
    transport: Any = portrait._transport
    scorer = transport._models.champion(TASK).scorer
    assert explanation.contributions.keys() == set(scorer.columns)
    logit = calibrated(scorer._head["calibration"], np.array([explanation.margin]))
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), [score.value], rtol=1e-12)


def test_every_part_has_the_value_that_was_served(portrait: ProfileClient, explanation: Explanation) -> None:
    served = portrait.features(RAW, service="redemption_v1").to_arrow().to_pylist()[0]
    parts = {part.name: part.value for reason in explanation.reasons for part in reason.parts}
    assert parts == {name: served[name] for name in parts if name in served} | {
        "campaign_type_a": 1.0,
        "campaign_days": 47.0,
    }
    for reason in explanation.reasons:
        assert set(reason.told) <= {part.name for part in reason.parts} | {trace.name for trace in reason.traces}
        assert reason.told
        assert reason.sentence
        assert reason.zh


def test_reasons_follow_the_context_they_are_asked_with(portrait: ProfileClient) -> None:
    context = {"campaign_type_a": 0, "campaign_days": 32}
    found = portrait.explain(TASK, RAW, context=context)
    [score] = portrait.predict(TASK, [RAW], context=context)
    assert (found.value, found.defaults) == (score.value, ())
    assert {part.name: part.value for r in found.reasons if r.dimension == "question" for part in r.parts} == context
    said = {(reason.sentence, reason.zh) for reason in found.reasons if reason.dimension == "question"}
    assert ("Length of the campaign in days: 32", "活动时长（天）：32") in said
    frame = pd.DataFrame({"user_id": [RAW], **{name: [value] for name, value in context.items()}})
    assert portrait.explain(TASK, frame) == found == portrait.explain(TASK, RAW, context=context, version=1)


def test_traces_name_the_window_that_is_between_its_length_and_an_hop_more(explanation: Explanation) -> None:
    traces = {trace.name: trace for reason in explanation.reasons for trace in reason.traces}
    window = traces["user_payments__count_28d"]
    assert window.until == explanation.features_as_of
    assert timedelta(days=28) <= window.until - window.since < timedelta(days=28, hours=1)
    assert (window.table, window.view, window.about) == ("payment", "user_payments", {})
    # On-demand features lead to what they are computed from.
    [share] = [r for r in explanation.reasons if "user_price_sensitivity__coupon_line_share_182d" in r.told]
    assert {trace.name for trace in share.traces} == {
        "user_purchases__coupon_discount_count_182d",
        "user_purchases__count_182d",
    }


@pytest.mark.slow(17)
def test_evidence_computes_what_was_served_from_the_events(portrait: ProfileClient, shop: Settings) -> None:
    for user in shoppers(shop, 6):
        for reason in portrait.explain(TASK, user).reasons:
            for found in portrait.evidence(user, reason, most=3):
                assert found.agrees, found
                assert len(found.events) == min(3, found.total)
                times = [event.at for event in found.events]
                assert times == sorted(times, reverse=True)
                assert all(found.since <= at < found.until for at in times)


def test_evidence_shows_the_shoppers_own_events_without_naming_anybody(
    portrait: ProfileClient, explanation: Explanation, shop: Settings
) -> None:
    [reason] = [each for each in explanation.reasons if each.traces and each.traces[0].table == "coupon_redeem"][:1]
    found = portrait.evidence(RAW, reason, most=100)
    widest = max(found, key=lambda each: each.total)
    rows = pd.concat([pd.read_parquet(f) for f in read_snapshot(table_path(shop.log_root, "coupon_redeem")).files])
    mine = rows[rows["user_id"] == portrait.key(RAW)]
    expected = mine[(mine["event_timestamp"] >= widest.since) & (mine["event_timestamp"] < widest.until)]
    assert {event.event_id for event in widest.events} == set(expected["event_id"])
    assert widest.total == len(expected) > 0
    assert not any("user_id" in event.facts or portrait.key(RAW) in str(event.facts) for event in widest.events)


def test_evidence_is_of_the_version_that_was_served(portrait: ProfileClient, explanation: Explanation) -> None:
    reason = next(each for each in explanation.reasons if each.traces and each.traces[0].value)
    before = replace(reason, traces=tuple(replace(trace, log_version=0) for trace in reason.traces))
    # Version 0 made the table: no event is of it.
    assert {(each.total, each.agrees) for each in portrait.evidence(RAW, before)} == {(0, False)}


def test_a_value_that_is_not_the_events_is_said_to_be_so(portrait: ProfileClient, explanation: Explanation) -> None:
    reason = next(each for each in explanation.reasons if each.traces and each.traces[0].value)
    wrong = replace(reason, traces=tuple(replace(trace, value=trace.value + 1) for trace in reason.traces[:1]))
    [found] = portrait.evidence(RAW, wrong)
    assert not found.agrees
    assert found.served == found.recomputed + 1


@pytest.mark.parametrize("most", [-1, MOST_EVENTS + 1, True, 1.5, None])
def test_evidence_is_bounded(portrait: ProfileClient, explanation: Explanation, most: Any) -> None:
    with pytest.raises(DataError, match="So many"):
        portrait.evidence(RAW, explanation.reasons[0], most=most)


def test_evidence_of_what_is_no_window_is_refused(portrait: ProfileClient, explanation: Explanation) -> None:
    reason = next(each for each in explanation.reasons if each.traces)
    for name, view, kind in (
        ("user_payments__nothing", "user_payments", DataError),
        ("user_demographics__income", "user_demographics", DataError),
        ("nowhere__count_28d", "nowhere", DeclarationError),
    ):
        wrong = replace(reason, traces=(replace(reason.traces[0], name=name, view=view),))
        with pytest.raises(kind):
            portrait.evidence(RAW, wrong)


def test_with_nothing_left_out_the_score_is_that_of_predict(portrait: ProfileClient, shop: Settings) -> None:
    for user in [*shoppers(shop, 6), RAW, "never seen"]:
        found = portrait.what_if(TASK, user, without=())
        [score] = portrait.predict(TASK, [user])
        assert found.score == score.value
        np.testing.assert_allclose([found.recomputed, found.without], score.value, rtol=1e-9)
        assert (found.left_out, found.changed) == ((), ())
        assert "Nothing was left out" in found.sentence


def test_without_the_last_purchase_the_features_are_those_of_a_shopper_who_did_not_make_it(
    portrait: ProfileClient, shop: Settings
) -> None:
    found = portrait.what_if(TASK, RAW)
    user = portrait.key(RAW)
    rows = {table: rows_of(shop, table, user) for table in ("payment", "purchase")}
    last = rows["payment"].sort_values("event_timestamp").iloc[-1]
    expected = {
        (table, each) for table, frame in rows.items() for each in frame[frame["order_id"] == last["order_id"]].event_id
    }
    assert {(event.table, event.event_id) for event in found.left_out if event.table in rows} == expected
    changed = {each.name: (each.before, each.after) for each in found.changed}
    before, after = changed["user_payments__count_84d"]
    assert after == before - 1
    before, after = changed["user_payments__amount_sum_84d"]
    assert after == pytest.approx(before - last["amount"])
    assert found.without != found.recomputed
    assert f"{found.without:.4g} instead of {found.recomputed:.4g}" in found.sentence


def rows_of(settings: Settings, table: str, user: str) -> pd.DataFrame:
    rows = pd.concat([pd.read_parquet(f) for f in read_snapshot(table_path(settings.log_root, table)).files])
    return rows[rows["user_id"] == user]


def test_events_are_left_out_by_their_ids(portrait: ProfileClient) -> None:
    whole = portrait.what_if(TASK, RAW)
    ids = [event.event_id for event in whole.left_out]
    again = portrait.what_if(TASK, RAW, without=ids)
    assert (again.without, set(again.changed)) == (whole.without, set(whole.changed))
    others = portrait.what_if(TASK, "1364", without=ids)  # of somebody else: theirs are not left out here
    assert (others.left_out, others.without) == ((), others.recomputed)


@pytest.mark.parametrize("without", ["the first", None, [1], [""], 7, [*"ab"] * 501, b"x"])
def test_what_names_no_events_is_refused(portrait: ProfileClient, without: Any) -> None:
    with pytest.raises(DataError):
        portrait.what_if(TASK, RAW, without=without)


def test_an_unknown_shopper_is_explained_by_the_defaults_and_a_flag(portrait: ProfileClient) -> None:
    found = portrait.explain(TASK, "never seen")
    assert not found.known
    assert "Did not come" in " ".join(reason.sentence for reason in found.reasons) or found.reasons
    traces = [trace for reason in found.reasons for trace in reason.traces]
    assert {trace.log_version for trace in traces} == {-1}
    assert all(each.agrees and not each.total for r in found.reasons for each in portrait.evidence("never seen", r))
    assert portrait.what_if(TASK, "never seen").left_out == ()


def test_of_a_person_who_was_erased_the_log_is_not_read(
    portrait: ProfileClient, explanation: Explanation, shop: Settings
) -> None:
    reason = next(each for each in explanation.reasons if each.traces and each.traces[0].value)
    path = shop.home / "privacy"
    kept = shutil.copytree(path, shop.home / "privacy-before") if path.exists() else None
    Tombstones(shop.home).add(portrait.key(RAW))
    try:
        found = portrait.evidence(RAW, reason)
        assert {(each.total, each.events) for each in found} == {(0, ())}
        assert portrait.what_if(TASK, RAW).left_out == ()
        assert portrait.what_if(TASK, RAW, without=()).recomputed == pytest.approx(
            portrait.predict(TASK, ["never seen"])[0].value
        )
    finally:
        shutil.rmtree(path)
        if kept:
            kept.rename(path)
        (shop.home / "keys" / "tombstones.key").unlink(missing_ok=not kept)


def test_a_trace_is_read_of_the_shopper_who_is_asked_about_whoever_it_names(
    portrait: ProfileClient, explanation: Explanation
) -> None:
    reason = next(each for each in explanation.reasons if each.traces and each.traces[0].value)
    traces = tuple(replace(trace, about={**trace.about, "user_id": portrait.key("1364")}) for trace in reason.traces)
    assert portrait.evidence(RAW, replace(reason, traces=traces)) == portrait.evidence(RAW, reason)


def test_a_view_that_is_not_built_is_not_known_and_stays_so(portrait: ProfileClient, shop: Settings) -> None:
    with connect_redis(shop) as client:
        key = Positions(client, open_store().project).key
        served = client.hget(key, "serve:user_redemptions")
        client.hdel(key, "serve:user_redemptions")
        try:
            found = portrait.explain(TASK, RAW)
            again = portrait.what_if(TASK, RAW, without=())
        finally:
            client.hset(key, "serve:user_redemptions", served)
    assert again.recomputed == pytest.approx(found.value)
    told = [reason for reason in found.reasons if "user_redemptions__count_182d" in {p.name for p in reason.parts}]
    assert "not known" in told[0].sentence
    assert {trace.log_version for trace in told[0].traces} == {None}
    assert "user_redemptions__count_182d" in found.missing


def test_what_cannot_be_explained_says_what_to_do(portrait: ProfileClient) -> None:
    with pytest.raises(ModelUnavailableError, match="no champion") as caught:
        portrait.explain("no_such_task", RAW)
    assert "portrait train" in caught.value.hint
    with pytest.raises(DataError, match="2 rows"):
        portrait.explain(TASK, [RAW, RAW])
    with pytest.raises(DataError, match="0 rows"):
        portrait.explain(TASK, [])
    with pytest.raises(DataError, match="no number"):
        portrait.explain(TASK, RAW, version="x")


def test_a_model_of_before_reasons_says_that_it_cannot(portrait: ProfileClient) -> None:
    transport: Any = portrait._transport
    model = transport._models.champion(TASK)

    class Old:
        columns = model.columns

        def score(self, matrix: Any) -> Any:
            return np.zeros(len(matrix))

    with pytest.raises(ModelUnavailableError, match="cannot say why") as caught:
        shares_of(replace(model, scorer=Old()), np.zeros((1, len(model.columns))))
    assert "portrait train redemption" in caught.value.hint


def test_without_redis_reasons_are_an_error_of_the_store(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PORTRAIT_REDIS_URL", f"redis://127.0.0.1:{closed.getsockname()[1]}/0")
    with ProfileClient(settings=load_settings(), timeout_s=0.5) as client:
        for ask in (
            lambda: client.explain(TASK, RAW),
            lambda: client.what_if(TASK, RAW),
            lambda: client.segment(RAW),
        ):
            with pytest.raises(StoreUnavailableError):
                ask()


def test_the_segment_is_the_one_that_the_view_serves(portrait: ProfileClient, shop: Settings) -> None:
    served = portrait.features(RAW, service="standing_v1").to_arrow().to_pylist()[0]
    found = portrait.segment(RAW)
    assert found.known
    assert (found.segment and found.segment.name) == served["user_segments__segment"]
    assert (found.stage and found.stage.name) == served["user_segments__stage"]
    assert (found.distance, found.strength) == (served["user_segments__distance"], served["user_segments__strength"])
    assert found.segment
    assert found.segment.chinese
    latest = rows_of(shop, "user_segments", found.user_id).sort_values("event_timestamp").iloc[-1]
    assert found.segment.name == latest["segment"]
    assert found.placed_at == latest["event_timestamp"].to_pydatetime()


def test_who_was_never_placed_is_in_no_segment(portrait: ProfileClient) -> None:
    found = portrait.segment("never seen")
    assert (found.known, found.segment, found.stage, found.placed_at) == (False, None, None, None)


def test_only_models_of_tasks_are_tasks(portrait: ProfileClient) -> None:
    assert portrait.tasks() == (TASK,)


@pytest.mark.slow(6)
def test_the_command_prints_reasons_and_one_object(shop: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", TASK, RAW, "--events", "1", "--what-if"]) == 0
    shown = capsys.readouterr().out
    for said in ("Margin before calibration", "Without the last purchase", "as served", "Engagement 营销互动"):
        assert said in " ".join(shown.split())
    assert cli.main(["explain", TASK, RAW, "--json", "--what-if"]) == 0
    found = json.loads(capsys.readouterr().out)
    total = sum(part["contribution"] for reason in found["reasons"] for part in reason["parts"])
    assert total + found["base"] == pytest.approx(found["margin"], abs=1e-6)
    assert found["what_if"]["recomputed"] == pytest.approx(found["value"])
    assert cli.main(["explain", TASK, "nobody"]) == 0
    assert "Never seen" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([RAW, TASK], "the task comes first"),
        (["churn", RAW], "portrait train churn"),
        ([TASK, RAW, "--about", "nothing"], "--about category=BEEF"),
    ],
)
def test_the_command_says_what_to_do(
    shop: Settings, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert cli.main(["explain", *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert RAW not in err


def test_the_page_has_the_portrait_and_every_score_and_needs_nothing_else(shop: Settings, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("before", "utf-8")
    assert cli.main(["profile", RAW, "--html", str(target)]) == 0
    text = target.read_text("utf-8")
    assert "redemption@" in text
    assert "Segment" in text
    assert "amount_sum_84d" in text
    lowered = text.lower()
    for fetched in ("<script", "src=", "href=", "@import", "url(", "http://", "https://"):
        assert fetched not in lowered
    assert target.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [target]


def test_what_the_page_shows_is_text(portrait: ProfileClient, explanation: Explanation) -> None:
    evil = '<img src=x onerror="alert(1)">\'&'
    profile = portrait.profile(RAW)
    facts = {
        name: tuple(replace(f, value=evil, description=evil, zh=evil) for f in each)
        for name, each in profile.dimensions.items()
    }
    reason = replace(explanation.reasons[0], sentence=evil, zh=evil)
    shown = page(
        replace(profile, dimensions=facts | {evil: next(iter(facts.values()))}),
        None,
        [
            replace(explanation, task=evil, reasons=(reason,), dimensions={evil: 1.0}, missing=(evil,)),
            Unexplained(evil, evil),
        ],
    )
    assert "<img" not in shown
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&#x27;&amp;" in shown


def test_a_page_appears_whole_or_not_at_all(
    portrait: ProfileClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "page.html"
    target.write_text("before", "utf-8")
    monkeypatch.setattr(pages, "page", lambda *_: "\ud800")  # cannot be written as UTF-8
    with pytest.raises(UnicodeEncodeError):
        write_page(portrait, portrait.profile(RAW), target)
    assert target.read_text("utf-8") == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_warm_client_explains_from_what_it_holds(portrait: ProfileClient, monkeypatch: pytest.MonkeyPatch) -> None:
    portrait.warm_up()
    transport: Any = portrait._transport
    assert isinstance(transport, LocalTransport)
    known = dict(transport._reasons._known)
    assert known
    portrait.explain(TASK, RAW)
    assert transport._reasons._known == known
