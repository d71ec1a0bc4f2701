"""The simulated shop sends its events: table by table, in chunks of shoppers that fit the memory."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.events.simulation_events import QUERIES, event_query
from feature_repo.events.simulation_flaws import Sent, spoil
from feature_repo.events.simulation_plan import Plan
from feature_repo.events.simulation_visits import prepare, simulate_visits
from feature_repo.privacy.pseudonyms import Pseudonymiser

# What an event takes between DuckDB and the disk, copies of both neighbours in the pipeline included.
_BYTES_PER_EVENT = 2_500
_MOST_EVENTS = 1_000_000
_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


@dataclass(frozen=True)
class Parcel:
    """Events of one type of one chunk of shoppers, and the share of all that is done with them."""

    event_type: str
    sent: Sent
    done: float


def parcels(
    settings: Settings, plan: Plan, pseudonymiser: Pseudonymiser, *, since_us: int, until_us: int
) -> Generator[Parcel, None, None]:
    """Yield the events with ``since_us <= event_timestamp < until_us``; types without any are left out."""
    with closing(connect_duckdb(settings)) as connection:
        prepare(connection, plan)
        for low, high in chunks(settings, plan):
            simulate_visits(connection, plan, pseudonymiser, low, high)
            for n, name in enumerate(QUERIES):
                query = event_query(name, plan, since_us=since_us, until_us=until_us)
                rows = connection.sql(query).to_arrow_table()
                if rows.num_rows:
                    yield Parcel(name, spoil(rows), (low + (high - low) * n / len(QUERIES)) / plan.users)


def chunks(settings: Settings, plan: Plan) -> list[tuple[int, int]]:
    """Ranges of shoppers whose events fit the memory at once: ``[low, high)``, in order."""
    unit = settings.memory.lstrip("0123456789. ")
    memory = float(settings.memory.removesuffix(unit)) * _UNITS[unit]
    events = min(_MOST_EVENTS, int(memory) // _BYTES_PER_EVENT)
    users = max(1, int(events / max(plan.events_per_user, 1.0)))
    return [(low, min(low + users, plan.users)) for low in range(0, plan.users, users)]
