"""What the rows of all tables have in common, and of what kinds their columns are."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from feature_repo.privacy.pseudonyms import PSEUDONYM_PATTERN

# Every integer between them is exact in every engine: as a double, in JSON, in a Redis script.
INT_MIN = -(2**53)
INT_MAX = 2**53

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=INT_MIN, le=INT_MAX)]
Instant = Annotated[AwareDatetime, AfterValidator(lambda at: at.astimezone(UTC))]
Pseudonym = Annotated[str, Field(pattern=PSEUDONYM_PATTERN)]


class Record(BaseModel):
    """One row of a table: its identity and its times. Money is in the shop's currency; NULL means not known."""

    # A validation message would otherwise quote the input, which may be a raw user id.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    event_id: Text = Field(description="Unique within the table; a row with a known id is a duplicate.")
    event_timestamp: Instant = Field(description="When it happened: the earlier of the client's time and arrival.")
    client_timestamp: Instant | None = Field(default=None, description="What the client's clock said; NULL if unsaid.")
    ingested_at: Instant = Field(description="When the platform knew; equals event_timestamp for historical imports.")


class Event(Record):
    """Something happened, perhaps to a visitor who is not signed in."""

    user_id: Pseudonym | None = Field(default=None, description="Pseudonym of the shopper; NULL for an anonymous one.")


class PersonEvent(Event):
    """Something that only a known shopper does."""

    user_id: Pseudonym = Field(description="Pseudonym of the shopper.")


class Visit(Event):
    """An event inside a session of the web shop or the app."""

    session_id: Text | None = Field(default=None, description="Visit the event belongs to.")
    device: Text | None = Field(default=None, description="Kind of device: mobile, desktop, tablet.")
    region: Text | None = Field(default=None, description="Region the visit comes from, as the platform codes it.")
