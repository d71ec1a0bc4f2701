"""The console as people see it: a real process, a real browser, the real shop."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pyarrow as pa
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from console_process import Browser, beyond_loopback, browser, chromium_lacks, console
from feature_repo.core.clock import SystemClock
from feature_repo.core.settings import Settings
from feature_repo.events.door import admit
from feature_repo.events.log import read_snapshot
from feature_repo.jobs import services
from feature_repo.jobs.features import catalogue
from feature_repo.jobs.materialize import materialize
from feature_repo.privacy.tombstones import Tombstones
from serving import ProfileClient
from serving.console.consent import allowed
from serving.console.values import per_cent, value_text
from serving.console.words import Words
from serving.tags.snapshots import Manifest, write_snapshot
from training.registry.models import show_version

pytestmark = [
    pytest.mark.slow(60),
    pytest.mark.skipif(chromium_lacks(), reason="there is no Chromium here"),
]

RAW, REFUSING = "2375", "1364"
FEATURE = "user_payments__count_28d"
NOBODY, ERASED = ("u_" + digit * 32 for digit in "0e")


@pytest.fixture(scope="module")
def settings(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A shop of these tests alone, where somebody withdrew consent and somebody was erased."""
    home = tmp_path_factory.mktemp("console") / "shop"
    shutil.copytree(built_shop, home)
    found = Settings(home=home, redis_url="")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PORTRAIT_REDIS_URL", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        patch.setenv("PORTRAIT_HOME", str(home))
        services.up(found, SystemClock())
        with ProfileClient(settings=found) as portrait:
            _withdraw(found, portrait.key(REFUSING), "personalisation", "risk")
        materialize(found, SystemClock(), views=["user_consent"])
        Tombstones(home).add(ERASED)
        people = {"user_id": [f"u_{n:032x}" for n in range(9)], FEATURE: range(1, 10)}
        at = datetime.now(UTC)
        write_snapshot(found, pa.table(people), Manifest(at, at, 9, {}, {}, {}))
        yield found
        services.down(found)


@pytest.fixture(scope="module")
def addresses(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Consoles of the shop, of a shop that lost its servers, and of an empty home."""
    with socket.socket() as closed, ExitStack() as stack:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        away = {"PORTRAIT_REDIS_URL": f"redis://127.0.0.1:{port}/0", "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
        empty = tmp_path_factory.mktemp("empty") / "home"
        yield {
            "shop": stack.enter_context(console(settings.home, "--lang", "en")),
            "away": stack.enter_context(console(settings.home, **away)),
            "empty": stack.enter_context(console(empty, "--lang", "zh")),
        }


@pytest.fixture(scope="module")
def chromium(addresses: dict[str, str]) -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture
def page(chromium: Browser) -> Iterator[Browser]:
    """The browser; whatever is looked at, nothing goes wrong in it and nothing leaves the machine."""
    chromium.errors(), chromium.fetched()
    yield chromium
    assert chromium.errors() == []
    fetched = chromium.fetched()
    assert fetched
    assert beyond_loopback(fetched) == set()


@pytest.fixture
def portrait(settings: Settings) -> Iterator[ProfileClient]:
    with ProfileClient(settings=settings) as client:
        yield client


def _withdraw(settings: Settings, user: str, *purposes: str) -> None:
    at = pa.array([datetime.now(UTC)] * len(purposes), pa.timestamp("us", "UTC"))
    names = {"event_id": [f"no-{each}" for each in purposes], "user_id": [user] * len(purposes)}
    said = {"purpose": purposes, "granted": [False] * len(purposes)}
    rows = pa.table({**names, "event_timestamp": at, "ingested_at": at, **said})
    assert admit(settings.log_root, "consent", rows, source="page").quarantined == {}


def test_a_shopper_is_found_by_a_raw_id_that_is_in_no_address(
    page: Browser, addresses: dict[str, str], portrait: ProfileClient
) -> None:
    assert "Type an id" in page.look(addresses["shop"])
    page.one("input[type=text]").send_keys(RAW)
    page.click("Show")
    user = portrait.key(RAW)
    page.reads(user)
    asked = parse_qs(urlsplit(page.driver.current_url).query)
    assert asked == {"user": [user]}
    assert page.one("input[type=text]").get_attribute("value") == ""


def test_an_address_that_names_a_raw_id_shows_nobody_and_forgets_it(page: Browser, addresses: dict[str, str]) -> None:
    shown = page.look(addresses["shop"], user=RAW)
    assert "Ids do not belong there" in shown
    assert "Last event" not in shown
    assert RAW not in urlsplit(page.driver.current_url).query


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_portrait_is_what_the_sdk_says(
    page: Browser, addresses: dict[str, str], portrait: ProfileClient, lang: str
) -> None:
    profile = portrait.profile(RAW)
    shown = page.look(addresses["shop"], user=profile.user_id, lang=lang)
    words = Words(lang)
    for chip in allowed(portrait, RAW).chips(words):
        assert f"{chip.purpose} {chip.answer} {chip.why}" in shown
    assert f"{profile.freshness.last_event_at:%Y-%m-%d %H:%M:%S} UTC" in shown
    tags = [tag for tag in profile.tags if tag.value is not None]
    assert tags
    for tag in tags:
        assert f"{words.of(tag.english, tag.chinese)} {words.of(tag.word, tag.zh)}" in shown
    lines = page.open_all().splitlines()
    for facts in profile.dimensions.values():
        for fact in facts:
            place = lines.index(fact.name)
            assert lines[place - 2] == words.of(fact.description, fact.zh).rstrip(".")
            if "days_since" not in fact.name:  # it goes on while one looks
                assert lines[place - 1] == value_text(fact.name, fact.value, words)


def test_a_score_and_its_reasons_are_what_the_sdk_says(
    page: Browser, addresses: dict[str, str], portrait: ProfileClient
) -> None:
    before = portrait.explain("redemption", RAW)
    shown = page.look(addresses["shop"], user=before.user_id, part="scores")
    after = portrait.explain("redemption", RAW)
    assert any(f"{per_cent(each.value)} {each.model}," in shown for each in (before, after))
    assert before.reasons[0].sentence in shown
    zh = page.look(addresses["shop"], user=before.user_id, part="scores", lang="zh")
    assert before.reasons[0].zh in zh


def test_a_timeline_is_what_the_log_says(page: Browser, addresses: dict[str, str], settings: Settings) -> None:
    with ProfileClient(settings=settings) as portrait:
        user = portrait.key(RAW)
    paid = pd.concat(pd.read_parquet(file) for file in read_snapshot(settings.log_root / "payment").files)
    mine = paid[paid["user_id"] == user].sort_values("event_timestamp")
    last, first = mine.iloc[-1], mine.iloc[0]
    shown = page.look(addresses["shop"], user=user, part="timeline")
    assert f"{last.event_timestamp:%Y-%m-%d %H:%M:%S} UTC Order amount {last.amount:,.2f}, lines {last.lines}" in shown
    assert page.driver.find_elements(
        By.CSS_SELECTOR, "[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg"
    )
    while links := page.driver.find_elements(By.LINK_TEXT, "Older events"):
        page.click_on(By.LINK_TEXT, links[0].text)
        shown = page.reads("Back to the newest")
    assert f"{first.event_timestamp:%Y-%m-%d %H:%M:%S} UTC" in shown
    assert f"amount {first.amount:,.2f}" in shown


def test_what_a_shopper_does_not_want_is_not_shown(
    page: Browser, addresses: dict[str, str], portrait: ProfileClient
) -> None:
    user = portrait.key(REFUSING)
    shown = page.look(addresses["shop"], user=user)
    assert "personalisation no withdrawn by the shopper" in shown
    assert "withdrew consent to judgements of risk" in shown
    assert "Unusual behaviour" not in page.open_all()
    assert "withdrew consent to personalisation" in page.look(addresses["shop"], user=user, part="recommendations")


def test_nobody_and_people_who_were_erased_are_told_apart(page: Browser, addresses: dict[str, str]) -> None:
    assert "Never seen" in page.look(addresses["shop"], user=NOBODY)
    assert "No event of this shopper" in page.look(addresses["shop"], user=NOBODY, part="timeline")
    shown = page.look(addresses["shop"], user=ERASED)
    assert "This person was erased" in shown
    assert "Last event" not in shown


def test_a_model_that_lacks_is_told_with_what_to_do(
    page: Browser, addresses: dict[str, str], portrait: ProfileClient
) -> None:
    shown = page.look(addresses["shop"], user=portrait.key(RAW), part="recommendations")
    assert "Task 'items' has no champion" in shown
    assert "portrait train items" in shown


def test_pages_parts_and_languages_are_chosen_by_a_click(
    page: Browser, addresses: dict[str, str], portrait: ProfileClient
) -> None:
    page.look(addresses["shop"], user=portrait.key(RAW))
    page.click("Timeline")
    page.reads("Events by week")
    page.click("中文")
    page.reads("每周事件数")
    asked = parse_qs(urlsplit(page.driver.current_url).query)
    assert asked == {"user": [portrait.key(RAW)], "part": ["timeline"], "lang": ["zh"]}


@pytest.mark.parametrize(("lang", "role", "held"), [("en", "Champion", "holds"), ("zh", "冠军版本", "达到")])
def test_a_model_is_what_mlflow_holds_of_it(
    page: Browser, addresses: dict[str, str], settings: Settings, lang: str, role: str, held: str
) -> None:
    said = show_version(settings, "redemption", "champion")
    shown = page.look(addresses["shop"], page="models", model="redemption", lang=lang)
    assert f"redemption@{said.facts.version}" in shown
    assert role in shown
    for name, title in (("auc", "AUC"), ("average_precision", "AP")):
        each = said.facts.metrics[name]
        assert f"{title} {each['value']:.3f} [{each['low']:.3f}, {each['high']:.3f}]" in shown
    for name, each in said.report["baselines"].items():
        assert f"{name} {each['auc']:.3f} [" in shown
    for gate, measured in said.report["measured"].items():
        assert f"{gate} {measured} {held}" in shown
    assert "age" in shown
    pictures = page.driver.find_elements(
        By.CSS_SELECTOR, "[data-testid=stImage] img, [data-testid=stImageContainer] img"
    )
    assert pictures
    assert all(page.driver.execute_script("return arguments[0].naturalWidth", each) > 0 for each in pictures)
    page.click_on(By.CSS_SELECTOR, "[data-testid=stExpander] summary")
    page.reads("What the score depends on")


def test_models_without_fairness_or_calibration_say_so(page: Browser, addresses: dict[str, str]) -> None:
    shown = page.look(addresses["shop"], page="models", model="segments")
    assert "segments@1" in shown
    assert "silhouette" in shown
    assert "Fairness was not measured" in shown
    assert "No picture of calibration" in shown


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_feature_is_what_the_registry_and_the_snapshot_say(
    page: Browser, addresses: dict[str, str], settings: Settings, lang: str
) -> None:
    words = Words(lang)
    line = next(each for each in catalogue() if f"{each.view}__{each.feature}" == FEATURE)
    shown = page.look(addresses["shop"], page="features", feature=FEATURE, lang=lang)
    assert words.of(line.description, line.zh) in shown
    assert "redemption@1" in shown
    assert f"{words('everybody')} 9 0.0% 1 5 9 5" in shown
    assert page.driver.find_elements(By.CSS_SELECTOR, "[data-testid=stVegaLiteChart]")


def test_a_feature_is_found_and_leads_to_the_models_that_read_it(page: Browser, addresses: dict[str, str]) -> None:
    page.look(addresses["shop"], page="features")
    page.one("input[type=text]").send_keys("redemptions count_182d", Keys.ENTER)
    page.reads("1 of ")
    page.click_on(By.LINK_TEXT, "user_redemptions__count_182d")
    page.reads("Rows redemption@1 was fitted on")
    page.click_on(By.LINK_TEXT, "redemption@1")
    page.reads("Will this shopper redeem a coupon")


def test_without_its_servers_the_other_pages_say_so(page: Browser, addresses: dict[str, str]) -> None:
    shown = page.look(addresses["away"], page="features")
    assert "Redis at" in shown
    assert "MLflow at" in shown
    assert "user_payments" in shown
    shown = page.look(addresses["away"], page="models")
    assert "MLflow at" in shown
    assert "MLFLOW_TRACKING_URI" in shown


def test_without_redis_a_page_says_so_and_nothing_else(page: Browser, addresses: dict[str, str]) -> None:
    shown = page.look(addresses["away"], user=NOBODY)
    assert "Redis" in shown
    assert "PORTRAIT_REDIS_URL" in shown
    assert "Traceback" not in shown


def test_an_empty_home_says_what_to_do(page: Browser, addresses: dict[str, str]) -> None:
    assert "请输入顾客编号" in page.look(addresses["empty"])
    page.one("input[type=text]").send_keys(RAW)
    page.click("查看")
    page.reads("portrait demo")
    assert "portrait features apply" in page.look(addresses["empty"], user=NOBODY)
    assert "portrait features apply" in page.look(addresses["empty"], page="features")
    assert "portrait train --all" in page.look(addresses["empty"], page="models")
