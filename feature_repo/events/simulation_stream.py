"""The simulated shop in order of arrival: what a player sends into the stream, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pyarrow as pa

from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.events.simulation_plan import Plan
from feature_repo.events.simulation_sending import parcels
from feature_repo.privacy.pseudonyms import load_pseudonymiser

_DUE = "due"


def in_time_order(
    settings: Settings, plan: Plan, *, since_us: int, until_us: int, rows: int = 10_000
) -> Iterator[pa.RecordBatch]:
    """Yield the events with ``since_us <= event_timestamp < until_us``, flawed copies included, as they arrive.

    All have arrived before ``until_us``. The calendar reaches a week behind ``plan.end_us``: from there on the same
    shoppers go on as they were, and what `simulate` wrote is continued without a gap by ``since_us = end_us + 1``.

    Yields
    ------
    pa.RecordBatch
        At most ``rows`` rows of ``due`` (``timestamp[us, UTC]``: when it arrives, rising), ``event_type`` and
        ``event`` (JSON: the columns of the type that are known, ``ingested_at`` among them; instants as integer
        microseconds).
    """
    pseudonymiser = load_pseudonymiser(settings.home)
    with closing(connect_duckdb(settings)) as connection:
        connection.execute(f"CREATE TABLE coming ({_DUE} TIMESTAMPTZ, event_type VARCHAR, event VARCHAR)")
        for parcel in parcels(settings, plan, pseudonymiser, since_us=since_us, until_us=until_us):
            connection.register("sent", parcel.sent.rows.append_column(_DUE, parcel.sent.due))
            connection.execute(
                f"INSERT INTO coming "
                f"SELECT {_DUE}, '{parcel.event_type}', to_json(struct_pack(*COLUMNS(* EXCLUDE ({_DUE})))) "
                f"FROM (SELECT * REPLACE ({_in_us(parcel.sent.rows.schema)}) FROM sent)"
            )
            connection.unregister("sent")
        yield from connection.sql(f"FROM coming ORDER BY {_DUE}, event_type, event").to_arrow_reader(rows)


def _in_us(schema: pa.Schema) -> str:
    instants = [field.name for field in schema if pa.types.is_timestamp(field.type)]
    return ", ".join(f"epoch_us({name}) AS {name}" for name in instants)
