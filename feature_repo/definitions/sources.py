"""Where features come from: tables of the event log, by their event type."""

from pathlib import Path

from feast import FileSource, PushSource
from feast.data_format import DeltaFormat

from feature_repo.events.log import EVENT_TIMESTAMP, INGESTED_AT
from feature_repo.events.schema import table_class, table_path


def table_source(name: str) -> FileSource:
    """Return a table of the log as a Feast source.

    The path is relative to the home, where our stores look it up (``engine.sources.located``).
    """
    return FileSource(
        name=f"{name}_log",
        path=table_path(Path("log"), name).as_posix(),
        file_format=DeltaFormat(),
        timestamp_field=EVENT_TIMESTAMP,
        created_timestamp_column=INGESTED_AT,
        description=(table_class(name).__doc__ or "").strip().splitlines()[0],
    )


def event_source(name: str) -> PushSource:
    """Return an event type as the stream source of windowed views, backed by its table of the log."""
    return PushSource(name=name, batch_source=table_source(name))


purchases = event_source("purchase")
payments = event_source("payment")
coupon_redemptions = event_source("coupon_redeem")
campaign_exposures = event_source("campaign_exposure")
views = event_source("view")
searches = event_source("search")
clicks = event_source("click")
carts = event_source("cart")
answers = event_source("feedback")
consents = table_source("consent")
users = table_source("users")
items = table_source("items")
segment_rows = table_source("user_segments")
unusual_rows = table_source("user_unusual")
habit_rows = table_source("user_habits")
