"""Tables of what changes slowly: a later row of a shopper or an item replaces an earlier one."""

from __future__ import annotations

from pydantic import Field

from feature_repo.events.records import Count, Pseudonym, Record, Text

# What is told ---------------------------------------------------------------------------------------------------------


class User(Record):
    """What a shopper said about the household; a later row replaces an earlier one."""

    user_id: Pseudonym = Field(description="Pseudonym of the shopper.")
    age_band: Text | None = Field(default=None, description="Age band, such as 45-54.")
    income: Text | None = Field(default=None, description="Income band, such as 35-49K.")
    home_ownership: Text | None = Field(default=None, description="Owner or renter.")
    marital_status: Text | None = Field(default=None, description="Marital status.")
    household_size: Text | None = Field(default=None, description="Persons, the last band open, such as 5+.")
    household_comp: Text | None = Field(default=None, description="Composition, such as 2 Adults No Kids.")
    kids_count: Text | None = Field(default=None, description="Children, the last band open, such as 3+.")


class Item(Record):
    """What is sold; a later row replaces an earlier one."""

    item_id: Text = Field(description="Item.")
    category: Text | None = Field(default=None, description="Category.")
    department: Text | None = Field(default=None, description="Department.")
    manufacturer_id: Text | None = Field(default=None, description="Manufacturer.")
    brand: Text | None = Field(default=None, description="Brand.")
    package_size: Text | None = Field(default=None, description="Package as printed, such as 22 LB.")


# What jobs conclude about shoppers ------------------------------------------------------------------------------------


class UserSegment(Record):
    """Where a segmentation placed a shopper at an instant; a later row replaces an earlier one."""

    user_id: Pseudonym = Field(description="Pseudonym of the shopper.")
    segment: Text | None = Field(default=None, description="Segment, such as champions or at_risk.")
    stage: Text | None = Field(default=None, description="Stage of life: new, active, slipping, dormant, returned.")
    distance: float | None = Field(default=None, description="From the segment's middle, in standard deviations.")
    strength: float | None = Field(default=None, description="0 on the border to the next segment, 1 in the middle.")
    model_version: Text | None = Field(default=None, description="Version of the registered model 'segments'.")


class UserUnusual(Record):
    """How unusual a shopper's behaviour was at an instant; a later row replaces an earlier one."""

    user_id: Pseudonym = Field(description="Pseudonym of the shopper.")
    score: float | None = Field(default=None, description="Share of shoppers at the fit who were less unusual.")
    tier: Text | None = Field(default=None, description="usual, notable, unusual, very_unusual.")
    response: Text | None = Field(default=None, description="What the tier asks for, such as none or watch.")
    reasons: Text | None = Field(default=None, description="Rules that applied, by name, comma between; NULL if none.")
    model_version: Text | None = Field(default=None, description="Version of the registered model 'unusual'.")


class UserHabits(Record):
    """How a shopper shops, and where among all shoppers, at an instant; a later row replaces an earlier one."""

    user_id: Pseudonym = Field(description="Pseudonym of the shopper.")
    favourite_category: Text | None = Field(default=None, description="Category of most order lines in 182 days.")
    second_category: Text | None = Field(default=None, description="Category of the second most.")
    third_category: Text | None = Field(default=None, description="Category of the third most.")
    category_share: float | None = Field(default=None, description="Share of lines in the favourite category.")
    favourite_brand: Text | None = Field(default=None, description="Brand of most order lines in 182 days.")
    brand_share: float | None = Field(default=None, description="Share of lines of the favourite brand.")
    favourite_maker: Text | None = Field(default=None, description="Manufacturer of most order lines in 182 days.")
    maker_share: float | None = Field(default=None, description="Share of lines of the favourite manufacturer.")
    weekday: Count | None = Field(default=None, description="Weekday of most visits in 182 days, 1 is Monday.")
    weekday_share: float | None = Field(default=None, description="Share of visits on it.")
    daypart: Text | None = Field(default=None, description="morning, afternoon, evening or night of most visits.")
    daypart_share: float | None = Field(default=None, description="Share of visits in it.")
    cycle_days: float | None = Field(default=None, description="Median days from one day of visits to the next.")
    cycle_spread: float | None = Field(default=None, description="Middle half of these gaps, over their median.")
    price_rank: float | None = Field(default=None, description="Share of shoppers who choose cheaper items.")
    spend_rank: float | None = Field(default=None, description="Share of shoppers who spend less in 84 days.")
    visit_rank: float | None = Field(default=None, description="Share of shoppers who come less often in 84 days.")
    basket_rank: float | None = Field(default=None, description="Share of shoppers with smaller baskets in 84 days.")


DIMENSIONS: dict[str, type[Record]] = {
    "users": User,
    "items": Item,
    "user_segments": UserSegment,
    "user_unusual": UserUnusual,
    "user_habits": UserHabits,
}
