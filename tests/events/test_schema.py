"""Every event type is a table of plain columns, and a class that refuses what the table could not hold."""

import uuid
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from feature_repo.core.errors import DeclarationError
from feature_repo.events.log import LogTable
from feature_repo.events.schema import (
    DIMENSIONS,
    EVENTS,
    INT_MAX,
    INT_MIN,
    TABLES,
    arrow_schema,
    log_table,
    table_class,
    table_path,
)

PLAIN = {pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.timestamp("us", "UTC")}
SAID = {
    "event_id": "e1",
    "event_timestamp": datetime(2026, 1, 1, tzinfo=UTC),
    "ingested_at": datetime(2026, 1, 1, tzinfo=UTC),
    "user_id": "u_" + "0" * 32,
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_plain_columns_and_an_identity(name: str) -> None:
    schema = arrow_schema(name)
    assert set(schema.types) <= PLAIN
    assert schema.names[:4] == ["event_id", "event_timestamp", "client_timestamp", "ingested_at"]
    assert [field.nullable for field in schema][:4] == [False, False, True, False]


@pytest.mark.parametrize("name", TABLES)
def test_every_column_and_table_says_what_it_is(name: str) -> None:
    declared = table_class(name)
    assert (declared.__doc__ or "").endswith(".")
    assert all(info.description and info.description.endswith(".") for info in declared.model_fields.values())


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_can_be_of_somebody(name: str) -> None:
    assert arrow_schema(name).field("user_id").type == pa.string()


@pytest.mark.parametrize("name", TABLES)
def test_a_row_of_nulls_and_identity_goes_through_the_log(tmp_path: Path, name: str) -> None:
    table = log_table(tmp_path, name)
    assert table.ensure().version == 0
    instant = pa.scalar(0, pa.timestamp("us", "UTC"))
    row = pa.table(
        [
            pa.array(
                [instant.as_py() if field.type == instant.type and not field.nullable else _value(field)], field.type
            )
            for field in arrow_schema(name)
        ],
        names=arrow_schema(name).names,
    )
    assert table.commit(row).rows == 1
    assert table.commit(row).duplicates == 1


def _value(field: pa.Field) -> object:
    if field.nullable:
        return None
    return {pa.string(): str(uuid.UUID(int=1)), pa.bool_(): True}[field.type]


def test_dimensions_are_no_events() -> None:
    assert not set(EVENTS) & set(DIMENSIONS)
    assert set(TABLES) == set(EVENTS) | set(DIMENSIONS)


def test_an_unknown_event_type_names_the_closest() -> None:
    with pytest.raises(DeclarationError, match="did you mean 'purchase'"):
        arrow_schema("purchas")
    with pytest.raises(DeclarationError, match=r"'\.\./purchase'"):
        table_path(Path("log"), "../purchase")


def test_an_event_is_frozen_and_holds_no_other_field() -> None:
    purchase = EVENTS["purchase"](**SAID, amount=3.49)
    with pytest.raises(ValidationError):
        purchase.amount = 0.0
    with pytest.raises(ValidationError, match="amuont"):
        EVENTS["purchase"](**SAID, amuont=3.49)


def test_a_raw_user_id_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValidationError) as caught:
        EVENTS["purchase"](**{**SAID, "user_id": "household 2375"})
    assert "2375" not in str(caught.value)
    with pytest.raises(ValidationError):
        EVENTS["purchase"](**{**SAID, "user_id": "u_" + "0" * 32 + "\n"})


def test_only_a_visit_may_be_anonymous() -> None:
    anonymous = {**SAID, "user_id": None}
    assert EVENTS["view"](**anonymous).user_id is None
    with pytest.raises(ValidationError):
        EVENTS["purchase"](**anonymous)


def test_an_instant_needs_a_zone_and_becomes_utc() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        EVENTS["view"](**{**SAID, "event_timestamp": datetime(2026, 1, 1)})  # noqa: DTZ001
    east = datetime(2026, 1, 1, 8, tzinfo=timezone(timedelta(hours=8)))
    assert EVENTS["view"](**{**SAID, "event_timestamp": east}).event_timestamp.utcoffset() == timedelta(0)


@pytest.mark.parametrize("quantity", [INT_MIN - 1, INT_MAX + 1])
def test_an_integer_out_of_range_is_refused(quantity: int) -> None:
    with pytest.raises(ValidationError):
        EVENTS["purchase"](**SAID, quantity=quantity)


def test_the_log_table_is_the_declared_one(tmp_path: Path) -> None:
    table = log_table(tmp_path, "purchase")
    assert isinstance(table, LogTable)
    assert table.path == tmp_path / "purchase"
    assert table.schema.names[:-1] == arrow_schema("purchase").names
