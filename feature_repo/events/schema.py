"""What can happen to a shopper: one class per event type, one table of the log per class.

A class is a declaration: its fields are the table's columns, and the Arrow schema is derived from it. A column is a
string, an int64, a float64, a bool or an instant (``timestamp[us, UTC]``), nothing else. `TABLES` is the table of
contents, with what changes slowly (`dimensions`); adding an event type is one class and one line in `EVENTS`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, get_args, get_origin

import pyarrow as pa
from pydantic import Field

from feature_repo.core.errors import DeclarationError, did_you_mean
from feature_repo.events.arrow_fields import arrow_field
from feature_repo.events.dimensions import DIMENSIONS, Item, User, UserHabits, UserSegment, UserUnusual
from feature_repo.events.log import LogTable
from feature_repo.events.records import (
    INT_MAX,
    INT_MIN,
    Count,
    Event,
    Instant,
    PersonEvent,
    Pseudonym,
    Record,
    Text,
    Visit,
)
from feature_repo.privacy.consent import PurposeName

# Beside the classes of the event types, which `EVENTS` names.
__all__ = [
    "DIMENSIONS",
    "EVENTS",
    "INT_MAX",
    "INT_MIN",
    "TABLES",
    "Count",
    "Event",
    "Instant",
    "Item",
    "PersonEvent",
    "Pseudonym",
    "Record",
    "Text",
    "User",
    "UserHabits",
    "UserSegment",
    "UserUnusual",
    "Visit",
    "arrow_schema",
    "choices",
    "log_table",
    "table_class",
    "table_path",
]

# Browsing -------------------------------------------------------------------------------------------------------------


class View(Visit):
    """An item's or a category's page was opened."""

    item_id: Text | None = Field(default=None, description="Item seen; NULL for a page about no single item.")
    category: Text | None = Field(default=None, description="Category of the item or page.")
    brand: Text | None = Field(default=None, description="Brand of the item.")
    price: float | None = Field(default=None, description="Price shown for one unit.")
    dwell_s: float | None = Field(default=None, description="Seconds the page stayed open.")


class Search(Visit):
    """A query was typed."""

    query: Text | None = Field(default=None, description="Words searched for.")
    category: Text | None = Field(default=None, description="Category the search was limited to.")
    results: Count | None = Field(default=None, description="Number of items found.")


class Click(Visit):
    """An item in a list was clicked."""

    item_id: Text | None = Field(default=None, description="Item clicked.")
    category: Text | None = Field(default=None, description="Category of the item.")
    source: Text | None = Field(default=None, description="List it was clicked in: search, category, home, message.")
    query: Text | None = Field(default=None, description="Query that led to the list.")
    position: Count | None = Field(default=None, description="Place in the list, the first is 1.")


class Cart(Visit):
    """An item was put into the cart or taken out."""

    item_id: Text | None = Field(default=None, description="Item.")
    category: Text | None = Field(default=None, description="Category of the item.")
    action: Text | None = Field(default=None, description="add or remove.")
    quantity: Count | None = Field(default=None, description="Units added or removed, not negative.")
    price: float | None = Field(default=None, description="Price of one unit.")


class Wishlist(PersonEvent):
    """An item was saved for later or taken off the list."""

    item_id: Text | None = Field(default=None, description="Item.")
    category: Text | None = Field(default=None, description="Category of the item.")
    action: Text | None = Field(default=None, description="add or remove.")


class Login(PersonEvent):
    """A shopper signed in, or tried to."""

    session_id: Text | None = Field(default=None, description="Visit the login belongs to.")
    device: Text | None = Field(default=None, description="Kind of device: mobile, desktop, tablet.")
    region: Text | None = Field(default=None, description="Region the login comes from.")
    method: Text | None = Field(default=None, description="password, code, passkey, or a partner's name.")
    succeeded: bool | None = Field(default=None, description="False for a refused attempt.")


# Orders ---------------------------------------------------------------------------------------------------------------


class Purchase(PersonEvent):
    """One line of an order: one item, some units."""

    order_id: Text | None = Field(default=None, description="Order or basket the line belongs to.")
    item_id: Text | None = Field(default=None, description="Item bought.")
    category: Text | None = Field(default=None, description="Category of the item.")
    department: Text | None = Field(default=None, description="Department of the item.")
    manufacturer_id: Text | None = Field(default=None, description="Manufacturer of the item.")
    brand: Text | None = Field(default=None, description="Brand of the item.")
    store_id: Text | None = Field(default=None, description="Store or site that sold it.")
    quantity: Count | None = Field(default=None, description="Units; NULL for goods sold by volume.")
    volume: float | None = Field(default=None, description="Volume of goods sold by volume (fuel); NULL for others.")
    amount: float | None = Field(default=None, description="Sales value of the line, after the shop's own discounts.")
    list_amount: float | None = Field(default=None, description="amount before retail and coupon-match discounts.")
    retail_discount: float | None = Field(
        default=None, description="Discount of the shop's loyalty card, > 0; NULL if none."
    )
    coupon_discount: float | None = Field(
        default=None, description="Paid by a manufacturer's coupon, > 0; NULL if none."
    )
    coupon_match_discount: float | None = Field(
        default=None, description="Added to a coupon by the shop, > 0; NULL if none."
    )
    campaign_id: Text | None = Field(default=None, description="Campaign the line is credited to; NULL if unknown.")


class Payment(PersonEvent):
    """One order paid: the sum over its lines."""

    order_id: Text | None = Field(default=None, description="Order or basket.")
    store_id: Text | None = Field(default=None, description="Store or site.")
    method: Text | None = Field(default=None, description="card, wallet, cash; NULL if unknown.")
    amount: float | None = Field(default=None, description="Sum of the lines' amount.")
    lines: Count | None = Field(default=None, description="Number of lines.")
    items: Count | None = Field(default=None, description="Sum of the lines' quantity; goods by volume add nothing.")
    categories: Count | None = Field(default=None, description="Number of distinct categories.")
    retail_discount: float | None = Field(default=None, description="Sum of the lines' retail discount; NULL if none.")
    coupon_discount: float | None = Field(default=None, description="Sum of the lines' coupon discount; NULL if none.")
    coupon_match_discount: float | None = Field(
        default=None, description="Sum of the lines' coupon-match discount; NULL if none."
    )
    coupon_lines: Count | None = Field(default=None, description="Lines with a coupon or a match discount.")


class Return(PersonEvent):
    """Units of a line came back."""

    order_id: Text | None = Field(default=None, description="Order the goods were bought in.")
    item_id: Text | None = Field(default=None, description="Item returned.")
    category: Text | None = Field(default=None, description="Category of the item.")
    quantity: Count | None = Field(default=None, description="Units returned, positive.")
    amount: float | None = Field(default=None, description="Money given back, positive.")
    reason: Text | None = Field(default=None, description="Reason as the platform codes it.")


# Marketing ------------------------------------------------------------------------------------------------------------


class CampaignExposure(PersonEvent):
    """A campaign was addressed to a shopper; stamped at the campaign's start."""

    campaign_id: Text = Field(description="Campaign.")
    campaign_type: Text | None = Field(default=None, description="Type of the campaign: A, B, C.")
    channel: Text | None = Field(default=None, description="mail, message, app, store; NULL if unknown.")
    starts_at: Instant | None = Field(default=None, description="First instant of the campaign, included.")
    ends_at: Instant | None = Field(default=None, description="End of the campaign, excluded.")


class CouponRedeem(PersonEvent):
    """A coupon of a campaign was redeemed."""

    campaign_id: Text | None = Field(default=None, description="Campaign the coupon belongs to.")
    coupon_id: Text | None = Field(default=None, description="Coupon.")
    order_id: Text | None = Field(default=None, description="Order it was redeemed in; NULL if unknown.")
    amount: float | None = Field(default=None, description="Money it saved; NULL if unknown.")


class AdImpression(Visit):
    """An advertisement was shown."""

    ad_id: Text | None = Field(default=None, description="Advertisement.")
    campaign_id: Text | None = Field(default=None, description="Campaign it belongs to.")
    item_id: Text | None = Field(default=None, description="Item advertised.")
    category: Text | None = Field(default=None, description="Category advertised.")
    placement: Text | None = Field(default=None, description="Where it was shown.")
    position: Count | None = Field(default=None, description="Place in the list, the first is 1.")
    cost: float | None = Field(default=None, description="Price of the impression.")


class AdClick(Visit):
    """An advertisement was clicked."""

    ad_id: Text | None = Field(default=None, description="Advertisement.")
    campaign_id: Text | None = Field(default=None, description="Campaign it belongs to.")
    item_id: Text | None = Field(default=None, description="Item advertised.")
    category: Text | None = Field(default=None, description="Category advertised.")
    placement: Text | None = Field(default=None, description="Where it was shown.")
    position: Count | None = Field(default=None, description="Place in the list, the first is 1.")
    cost: float | None = Field(default=None, description="Price of the click.")


# What the platform decided --------------------------------------------------------------------------------------------


class RecommendationShown(Event):
    """A model's recommendation was shown: what later feedback is measured against."""

    recommendation_id: Text | None = Field(default=None, description="List of recommendations shown together.")
    item_id: Text | None = Field(default=None, description="Item recommended.")
    category: Text | None = Field(default=None, description="Category of the item.")
    position: Count | None = Field(default=None, description="Place in the list, the first is 1.")
    score: float | None = Field(default=None, description="Score the model gave.")
    placement: Text | None = Field(default=None, description="Where it was shown.")
    model: Text | None = Field(default=None, description="Registered model; a rule's name if none decided.")
    model_version: Text | None = Field(default=None, description="Version of the model.")
    experiment: Text | None = Field(default=None, description="Experiment the choice was part of.")
    variant: Text | None = Field(default=None, description="Variant of the experiment.")


class Feedback(Event):
    """What became of a recommendation or a prediction."""

    recommendation_id: Text | None = Field(default=None, description="List of recommendations it answers.")
    item_id: Text | None = Field(default=None, description="Item it is about.")
    campaign_id: Text | None = Field(default=None, description="Campaign it is about.")
    model: Text | None = Field(default=None, description="Registered model it answers.")
    model_version: Text | None = Field(default=None, description="Version of the model.")
    action: Text | None = Field(default=None, description="clicked, bought, dismissed, or the outcome's name.")
    value: float | None = Field(default=None, description="Outcome as a number: 1 and 0, or money.")


class ExperimentExposure(Event):
    """A shopper met a variant of an experiment."""

    experiment: Text = Field(description="Experiment.")
    variant: Text = Field(description="Variant shown.")
    placement: Text | None = Field(default=None, description="Where it was met.")
    model: Text | None = Field(default=None, description="Registered model that scored; NULL if none did.")
    model_version: Text | None = Field(default=None, description="Version of the model.")


# What shoppers say ----------------------------------------------------------------------------------------------------


class Review(PersonEvent):
    """An item was rated."""

    item_id: Text | None = Field(default=None, description="Item.")
    category: Text | None = Field(default=None, description="Category of the item.")
    order_id: Text | None = Field(default=None, description="Order it was bought in.")
    rating: float | None = Field(default=None, description="Stars, as the platform counts them.")
    length: Count | None = Field(default=None, description="Characters written.")
    text: Text | None = Field(default=None, description="Words written; NULL where the platform keeps none.")


class Complaint(PersonEvent):
    """A shopper complained."""

    order_id: Text | None = Field(default=None, description="Order it is about.")
    item_id: Text | None = Field(default=None, description="Item it is about.")
    category: Text | None = Field(default=None, description="Category of the item.")
    topic: Text | None = Field(default=None, description="delivery, quality, price, service.")
    severity: Count | None = Field(default=None, description="As the service desk grades it, larger is worse.")


class Survey(PersonEvent):
    """A question was answered."""

    survey: Text | None = Field(default=None, description="Survey.")
    question: Text | None = Field(default=None, description="Question.")
    answer: Text | None = Field(default=None, description="Answer chosen.")
    score: float | None = Field(default=None, description="Answer as a number, if it is one.")


class Follow(PersonEvent):
    """A shopper followed a brand, a store or a topic, or stopped."""

    target_kind: Text | None = Field(default=None, description="brand, store, category, topic.")
    target_id: Text | None = Field(default=None, description="What is followed.")
    action: Text | None = Field(default=None, description="follow or unfollow.")


class Support(PersonEvent):
    """A shopper was in touch with the service desk."""

    ticket_id: Text | None = Field(default=None, description="Case.")
    order_id: Text | None = Field(default=None, description="Order it is about.")
    channel: Text | None = Field(default=None, description="chat, phone, mail.")
    topic: Text | None = Field(default=None, description="delivery, quality, price, account.")
    wait_s: float | None = Field(default=None, description="Seconds until somebody answered.")
    solved: bool | None = Field(default=None, description="Whether the case was closed with it.")


class Consent(PersonEvent):
    """A shopper allowed a use of the data, or withdrew."""

    purpose: PurposeName = Field(description="Use: service, personalisation, marketing, risk.")
    granted: bool = Field(description="True for allowed, False for withdrawn.")
    source: Text | None = Field(default=None, description="Where it was said.")


# Table of contents ----------------------------------------------------------------------------------------------------

EVENTS: dict[str, type[Event]] = {
    "view": View,
    "search": Search,
    "click": Click,
    "cart": Cart,
    "wishlist": Wishlist,
    "login": Login,
    "purchase": Purchase,
    "payment": Payment,
    "return": Return,
    "campaign_exposure": CampaignExposure,
    "coupon_redeem": CouponRedeem,
    "ad_impression": AdImpression,
    "ad_click": AdClick,
    "recommendation_shown": RecommendationShown,
    "feedback": Feedback,
    "experiment_exposure": ExperimentExposure,
    "review": Review,
    "complaint": Complaint,
    "survey": Survey,
    "follow": Follow,
    "support": Support,
    "consent": Consent,
}
TABLES: dict[str, type[Record]] = {**EVENTS, **DIMENSIONS}


def table_class(name: str) -> type[Record]:
    """Return the class that declares a table.

    Raises
    ------
    DeclarationError
        No event type or dimension has that name.

    >>> table_class("purchase").__name__
    'Purchase'
    """
    try:
        return TABLES[name]
    except KeyError:
        raise DeclarationError(f"There is no event type '{name}'.", hint=did_you_mean(name, TABLES)) from None


@cache
def arrow_schema(event_type: str) -> pa.Schema:
    """Columns of a table as declared, without ``log_version``, which the log adds.

    Raises
    ------
    DeclarationError
        No event type or dimension has that name.

    >>> arrow_schema("consent").field("granted")
    pyarrow.Field<granted: bool not null>
    """
    fields = table_class(event_type).model_fields
    return pa.schema([arrow_field(event_type, name, info.annotation) for name, info in fields.items()])


@cache
def choices(event_type: str) -> dict[str, tuple[str, ...]]:
    """Columns of a table that hold nothing but certain words, and which.

    >>> choices("consent")
    {'purpose': ('service', 'personalisation', 'marketing', 'risk')}
    """
    fields = table_class(event_type).model_fields.items()
    return {name: get_args(info.annotation) for name, info in fields if get_origin(info.annotation) is Literal}


def table_path(log_root: Path, name: str) -> Path:
    """Directory of a table below the log's root.

    >>> table_path(Path("log"), "purchase").as_posix()
    'log/purchase'
    """
    table_class(name)
    return log_root / name


def log_table(log_root: Path, name: str) -> LogTable:
    """Open a table of the log by name; ``ensure()`` creates it."""
    return LogTable(table_path(log_root, name), arrow_schema(name))
