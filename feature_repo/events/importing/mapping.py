"""How a log of somebody else's becomes events, as data: the classes behind a mapping file."""

from __future__ import annotations

import codecs
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from feature_repo.core.places import is_zone, zone_hint

Format = Literal["csv", "jsonl", "parquet"]
Duplicates = Literal["event_id", "keep", "drop"]

WHITESPACE = "whitespace"
UTF_16 = "utf-16"
EVENT_FORMATS = ("iso", "epoch_s", "epoch_ms", "epoch_us")


def _encoding(name: str) -> str:
    if name.lower().replace("_", "-") == UTF_16:
        return UTF_16  # the file's byte order mark says which of the two it is
    name = {"utf-8-sig": "utf-8"}.get(name.lower(), name)  # a byte order mark is left out anyway
    try:
        if "\n,a".encode(name) != b"\n,a":
            raise ValueError(f"the bytes of '{name}' are not those of ASCII; convert the file to UTF-8 by iconv")
        return codecs.lookup(name).name
    except LookupError:
        raise ValueError(f"there is no encoding '{name}'; usual ones are utf-8, cp1252, latin-1, gb18030") from None


def _zone(name: str) -> str:
    if not is_zone(name):
        raise ValueError(f"there is no time zone '{name}'; {zone_hint(name).removesuffix('.')}")
    return name


def _time_format(text: str) -> str:
    if text not in EVENT_FORMATS and "%" not in text:
        raise ValueError(
            f"'{text}' is no format; write {', '.join(EVENT_FORMATS)}, or a pattern such as %d.%m.%Y %H:%M"
        )
    return text


def _delimiter(text: str) -> str:
    text = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if text != WHITESPACE and (len(text) != 1 or text in '\r\n"'):
        raise ValueError('a delimiter is one character such as "," or ";", the word tab, or the word whitespace')
    return text


def _single(text: str) -> str:
    if len(text) != 1:
        raise ValueError("write one character")
    return text


def _column(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


Encoding = Annotated[str, AfterValidator(_encoding)]
Zone = Annotated[str, AfterValidator(_zone)]
TimeFormat = Annotated[str, AfterValidator(_time_format)]
Delimiter = Annotated[str, AfterValidator(_delimiter)]
Character = Annotated[str, AfterValidator(_single)]
Name = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Part):
    """What kind of file it is, and how its cells are written."""

    format: Format = Field(description="csv (with any delimiter), jsonl (one JSON object per line) or parquet.")
    delimiter: Delimiter = Field(default=",", description="One character, tab, or whitespace (runs of it).")
    header: bool = Field(default=True, description="Whether the first line names the columns.")
    names: tuple[Name, ...] | None = Field(default=None, description="Names of the columns of a file without a header.")
    encoding: Encoding = Field(
        default="utf-8", description="Of a text file; one that begins with a byte order mark of UTF-16 is read as that."
    )
    skip_lines: int = Field(default=0, ge=0, le=10_000, description="Lines before the header that are no data.")
    null_values: tuple[str, ...] = Field(default=(), description="Cells that mean not known; empty ones always do.")
    decimal: Literal[".", ","] = Field(default=".", description="Decimal mark of numbers.")
    thousands: Character | None = Field(default=None, description="Mark between thousands, if there is one.")


class Times(_Part):
    """What a time without a zone means."""

    format: TimeFormat = Field(default="iso", description="iso, epoch_s, epoch_ms, epoch_us, or a strptime pattern.")
    zone: Zone | None = Field(default=None, description="Zone of times that name none; without it they are refused.")
    date_at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = Field(
        default="12:00", description="Local time of day of a date without a time."
    )
    gap: Literal["later", "refuse"] = Field(
        default="later", description="A local time that summer time skips: as if the clock had not been moved, or bad."
    )
    fold: Literal["earlier", "later", "refuse"] = Field(
        default="earlier", description="A local time that comes twice: its first instant, its second, or bad."
    )


class TimeOfDay(_Part):
    """Where the time of day of a date stands that is in another column."""

    column: Name = Field(description="Name in the file.")
    pad: int | None = Field(default=None, ge=1, le=64, description="Fill with zeros from the left: 930 is 0930 by 4.")


class Column(_Part):
    """Where the value of one column of an event stands in the file."""

    column: Name = Field(description="Name in the file; in JSON a.b is b in the object a.")
    kind: Literal["text", "integer"] = Field(
        default="text",
        description="For texts, such as ids: as it stands, or its number without leading zeros and '.0'.",
    )
    pad: int | None = Field(
        default=None, ge=1, le=64, description="Fill a text with zeros from the left to this length."
    )
    prefix: str = Field(default="", description="Put before a text, so that ids of two sources do not meet.")
    values: dict[str, str | None] = Field(default={}, description="Words to replace; null is not known.")
    format: TimeFormat | None = Field(default=None, description="Format of this time, where it has one of its own.")
    time: Annotated[TimeOfDay, BeforeValidator(_column)] | None = Field(
        default=None, description="Of a date: the column of its time of day; ``format`` is then that of 'date time'."
    )
    optional: bool = Field(default=False, description="Whether a file may lack the column.")

    @property
    def parts(self) -> tuple[str, ...]:
        """Columns of the file it is made of."""
        return (self.column,) if self.time is None else (self.column, self.time.column)


class EventTypes(_Part):
    """One file, several event types: the column that tells, and what its words mean."""

    column: Name = Field(description="Name in the file.")
    values: dict[str, str | None] = Field(min_length=1, description="Word -> event type; null leaves the row out.")
    others: Literal["refuse", "ignore"] = Field(default="refuse", description="What to do with other words.")


class Mapping(_Part):
    """A mapping file."""

    source: Source
    time: Times = Times()
    event_type: str | EventTypes
    columns: dict[str, Annotated[Column, BeforeValidator(_column)]] = Field(min_length=1)
    constants: dict[str, str] = {}
    duplicates: Duplicates = Field(
        description="event_id: the column tells. keep: rows alike are numbered, drop: they are one."
    )
    derive: Literal["payment"] | None = Field(
        default=None, description="payment: one for each order of the log, the sum over its purchases."
    )

    @property
    def types(self) -> tuple[str, ...]:
        """Tables the rows may go to."""
        if isinstance(self.event_type, str):
            return (self.event_type,)
        return tuple(dict.fromkeys(name for name in self.event_type.values.values() if name is not None))

    @property
    def wanted(self) -> dict[str, bool]:
        """Columns of the file that are read -> whether a file may lack them."""
        told = {} if isinstance(self.event_type, str) else {self.event_type.column: False}
        for each in self.columns.values():
            told.update({name: told.get(name, True) and each.optional for name in each.parts})
        return told
