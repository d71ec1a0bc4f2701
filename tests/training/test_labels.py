from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from feature_repo.core.allowed import Allowed
from feature_repo.core.errors import DeclarationError
from feature_repo.core.settings import Settings
from training.data.labels import label_rows
from training.data.log_views import head_versions, tables_in
from training.declaring.recipe import Linear, Recipe
from training.task import Context, Task, TaskUnavailableError

START = datetime(2026, 3, 1, 5, tzinfo=UTC)
END = START + timedelta(days=30)
US = timedelta(microseconds=1)
DAY = timedelta(days=1)
SHOPPER = "u_" + "0" * 32


def found(task: Task, settings: Settings) -> pd.DataFrame:
    versions = head_versions(settings, tables_in(task.label) | {task.pulse})
    return label_rows(task, settings, versions=versions, key="user_id").rows


@pytest.fixture
def campaign(write: Callable[..., None]) -> Callable[..., None]:
    """A log from ten days before the campaign to ten days after it, and the campaign addressed to one shopper."""
    for at in (START - 10 * DAY, END + 10 * DAY):
        write("purchase", at, user_id=SHOPPER, amount=1.0)
    expose(write)
    return write


def expose(write: Callable[..., None], at: datetime = START, **changes) -> None:
    facts = {"user_id": SHOPPER, "campaign_id": "8", "campaign_type": "A", "starts_at": START, "ends_at": END}
    write("campaign_exposure", at, **{**facts, **changes})


@pytest.mark.parametrize(
    ("at", "label"),
    [(START - US, 0), (START, 1), (START + DAY, 1), (END - US, 1), (END, 0)],
)
def test_a_redemption_counts_from_the_campaigns_first_instant_to_before_its_end(
    at: datetime, label: int, campaign: Callable[..., None], shop: Settings, redemption: Task
):
    campaign("coupon_redeem", at, user_id=SHOPPER, campaign_id="8")
    assert found(redemption, shop).label.tolist() == [label]


def test_a_label_query_keeps_to_what_the_context_may_be(
    campaign: Callable[..., None], shop: Settings, redemption: Task
):
    assert found(redemption, shop).campaign_days.tolist() == [30]
    narrow = replace(
        redemption, context=(Context("campaign_days", "Length.", default=7.0, allowed=Allowed(at_least=1, at_most=29)),)
    )
    with pytest.raises(DeclarationError, match="1 rows whose 'campaign_days' is not 1 to 29"):
        found(narrow, shop)
    unsaid = replace(redemption, label=f"SELECT * REPLACE (NULL::BIGINT AS campaign_days) FROM ({redemption.label})")
    with pytest.raises(DeclarationError, match="1 rows without a value for the context"):
        found(unsaid, shop)


@pytest.mark.parametrize("changes", [{"campaign_id": "9"}, {"user_id": "u_" + "1" * 32}])
def test_another_campaigns_or_shoppers_redemption_does_not_count(
    changes: dict, campaign: Callable[..., None], shop: Settings, redemption: Task
):
    campaign("coupon_redeem", START + DAY, **{"user_id": SHOPPER, "campaign_id": "8", **changes})
    assert found(redemption, shop).label.tolist() == [0]


def test_many_redemptions_and_many_letters_are_one_row(campaign: Callable[..., None], shop: Settings, redemption: Task):
    for day in (1, 2):
        campaign("coupon_redeem", START + day * DAY, user_id=SHOPPER, campaign_id="8")
        expose(campaign, START + day * DAY)
    rows = found(redemption, shop)
    assert rows[["label", "campaign_days", "campaign_type_a"]].to_numpy().tolist() == [[1, 30, 1]]
    assert rows.event_timestamp.tolist() == [pd.Timestamp(START)]


def test_a_campaign_the_log_does_not_cover_is_left_out(write: Callable[..., None], shop: Settings, redemption: Task):
    for at in (START, END):
        write("purchase", at, user_id=SHOPPER, amount=1.0)
    expose(write)
    expose(write, START - US, campaign_id="before", starts_at=START - US)
    expose(write, campaign_id="after", ends_at=END + US)
    expose(write, campaign_id="endless", ends_at=None)
    assert found(redemption, shop).campaign_id.tolist() == ["8"]


def test_a_log_without_campaigns_is_told_from_one_without_anything(
    write: Callable[..., None], shop: Settings, redemption: Task
):
    with pytest.raises(TaskUnavailableError, match="needs 'purchase' events"):
        found(redemption, shop)
    write("purchase", START, user_id=SHOPPER, amount=1.0)
    with pytest.raises(TaskUnavailableError, match="finds no row to learn from"):
        found(redemption, shop)


def visits(label: str, **changes) -> Task:
    facts = {
        "name": "visits",
        "description": "",
        "service": "profile_v1",
        "label": label,
        "model": Recipe(linear=Linear()),
        "holdout": DAY,
        "validation": DAY,
        "horizon": 7 * DAY,
    }
    return Task(**{**facts, **changes})


def test_a_label_that_is_not_final_when_the_log_ends_is_left_out(write: Callable[..., None], shop: Settings):
    for day in range(10):
        write("purchase", START + day * DAY, user_id=SHOPPER, amount=1.0)
    rows = found(visits("SELECT user_id, event_timestamp, 1 AS label FROM purchase"), shop)
    assert sorted(rows.event_timestamp) == [pd.Timestamp(START + day * DAY) for day in range(3)]
    assert (rows.known_at - rows.event_timestamp == 7 * DAY).all()


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("SELECT * FROM purchase WHERE nothing", "fails: Binder Error"),
        ("SELECT user_id, event_timestamp FROM purchase", 'lacks "label"'),
        ("SELECT user_id, event_timestamp, 2 AS label FROM purchase", "1 rows without a label of 0 or 1"),
        ("SELECT user_id, event_timestamp, NULL::INT AS label FROM purchase", "1 rows without a label of 0 or 1"),
    ],
)
def test_a_label_query_that_is_wrong_is_told(label: str, message: str, write: Callable[..., None], shop: Settings):
    for day in (0, 8):
        write("purchase", START + day * DAY, user_id=SHOPPER, amount=1.0)
    with pytest.raises(DeclarationError, match=message):
        found(visits(label), shop)


def test_a_label_known_before_it_is_asked_for_is_refused(write: Callable[..., None], shop: Settings):
    write("purchase", START, user_id=SHOPPER, amount=1.0)
    label = "SELECT user_id, event_timestamp, 1 AS label, event_timestamp AS known_at FROM purchase"
    with pytest.raises(DeclarationError, match="known before it is asked for"):
        found(visits(label, horizon=None), shop)


def test_rows_committed_after_the_pinned_version_are_not_read(
    campaign: Callable[..., None], shop: Settings, redemption: Task
):
    pinned = head_versions(shop, ["campaign_exposure", "coupon_redeem", "purchase"])
    campaign("coupon_redeem", START + DAY, user_id=SHOPPER, campaign_id="8")
    then = label_rows(redemption, shop, versions=pinned, key="user_id").rows
    assert (then.label.tolist(), found(redemption, shop).label.tolist()) == ([0], [1])
