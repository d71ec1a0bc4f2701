"""Reads and checks a mapping file: what is wrong is said with its line, its key, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
from pydantic import BaseModel, ValidationError

from feature_repo.core.errors import DeclarationError, did_you_mean
from feature_repo.events.importing.instants import INSTANT, has_time_of_day
from feature_repo.events.importing.mapping import EVENT_FORMATS, Column, EventTypes, Mapping, Source, TimeOfDay, Times
from feature_repo.events.importing.payments import PAYMENT, PURCHASE
from feature_repo.events.importing.yaml_lines import Document, YamlError, parse
from feature_repo.events.log import CLIENT_TIMESTAMP, EVENT_ID, EVENT_TIMESTAMP, INGESTED_AT
from feature_repo.events.schema import TABLES, arrow_schema

USER_ID = "user_id"

_MAX_BYTES = 1 << 20
_DERIVED = {
    CLIENT_TIMESTAMP: f"map the time as '{EVENT_TIMESTAMP}'; the door keeps what was claimed.",
    INGESTED_AT: "leave it out: history counts as known when it happened.",
}
# Part of a mapping -> the class whose keys are known there.
_PARTS: dict[str, type[BaseModel]] = {"source": Source, "time": Times, "event_type": EventTypes, "columns": Column}

Fault = tuple[tuple[str, ...], str, str]


def load_mapping(path: Path) -> Mapping:
    """Read a mapping file.

    Raises
    ------
    DeclarationError
        It cannot be read, is no YAML, or says something that cannot be; the message names line and key.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DeclarationError(f"'{path}' is too large for a mapping.", hint="give the data first, then --mapping.")
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise DeclarationError(f"The mapping '{path}' is not UTF-8.", hint="save it as UTF-8.") from None
    except OSError as error:
        raise DeclarationError(
            f"The mapping '{path}' cannot be read: {error.strerror}.", hint="draft one: `portrait events map PATH`."
        ) from None
    return read_mapping(text, str(path))


def read_mapping(text: str, name: str) -> Mapping:
    """Read a mapping from its text; ``name`` stands in the messages.

    Raises
    ------
    DeclarationError
        As `load_mapping`.
    """
    try:
        document = parse(text)
    except YamlError as error:
        raise DeclarationError(f"{name}, {error}.", hint="correct the YAML there.") from None
    if not isinstance(document.value, dict):
        raise DeclarationError(
            f"{name} has no keys.",
            hint="it needs source, event_type, columns and duplicates; draft one by `events map`.",
        )
    try:
        mapping = Mapping.model_validate(document.value)
    except ValidationError as error:
        raise _explained(error, document, name) from None
    for path, what, hint in _faults(mapping):
        raise _error(document, name, path, what, hint)
    return mapping


def _error(document: Document, name: str, path: tuple[str, ...], what: str, hint: str) -> DeclarationError:
    return DeclarationError(f"{name}, line {document.line(path)}, `{'.'.join(path)}`: {what}.", hint=hint)


def _explained(error: ValidationError, document: Document, name: str) -> DeclarationError:
    # Of a value that fits none of several classes the complaint that lies deepest is about the one that was meant.
    first = max(error.errors(), key=lambda each: len(each["loc"]) if each["loc"][0] == "event_type" else 0)
    path = tuple(str(part) for part in first["loc"] if part not in {"str", "EventTypes", "[key]"})
    kind = first["type"]
    known = _known_keys(path)
    if kind == "extra_forbidden":
        return _error(document, name, path, "is not a key there", did_you_mean(path[-1], known))
    if kind == "missing":
        return _error(document, name, path, "is missing", _missing_hint(path, document, known))
    message = first["msg"].removeprefix("Value error, ")
    if kind == "literal_error":
        said = f"is '{first['input']}'"
        return _error(document, name, path, said, f"write {first['ctx']['expected'].replace(chr(39), '')}.")
    return _error(document, name, path, message, f"see the comments of a draft (`portrait events map`) on '{path[0]}'.")


def _known_keys(path: tuple[str, ...]) -> list[str]:
    part = _PARTS.get(path[0]) if len(path) > 1 else Mapping
    if path[2:3] == ("time",) and path[0] == "columns":
        part = TimeOfDay
    return list(part.model_fields) if part else []


def _missing_hint(path: tuple[str, ...], document: Document, known: list[str]) -> str:
    if path == ("duplicates",):
        return "write event_id (a column tells), keep (rows alike are several events) or drop (they are one)."
    place: Any = document.value
    for part in path[:-1]:
        place = place[part]
    strange = [key for key in place if key not in known]
    return f"write `{path[-1]}: ...`" + (f"; '{strange[0]}' is not a key there." if strange else ".")


def _faults(mapping: Mapping) -> Iterator[Fault]:
    yield from _unknown_types(mapping)
    yield from _unknown_targets(mapping)
    yield from _source_faults(mapping.source)
    yield from _identity_faults(mapping)
    yield from _not_mapped(mapping)
    yield from _derived_faults(mapping)
    yield from _time_of_day_faults(mapping)
    for path, pattern in _patterns(mapping):
        yield from _pattern_faults(path, pattern)


def _unknown_types(mapping: Mapping) -> Iterator[Fault]:
    if isinstance(mapping.event_type, str):
        named: dict[tuple[str, ...], str] = {("event_type",): mapping.event_type}
    else:
        named = {("event_type", "values", word): name for word, name in mapping.event_type.values.items() if name}
    if not named:
        yield ("event_type", "values"), "every word leaves its row out", "give at least one word an event type."
    for path, name in named.items():
        if name not in TABLES:
            yield path, f"there is no event type '{name}'", did_you_mean(name, TABLES)


def _unknown_targets(mapping: Mapping) -> Iterator[Fault]:
    known = {name for each in mapping.types for name in arrow_schema(each).names} - _DERIVED.keys()
    for part, targets in (("columns", mapping.columns), ("constants", mapping.constants)):
        for name in targets:
            if name in _DERIVED:
                yield (part, name), f"'{name}' is not mapped", _DERIVED[name]
            elif name not in known:
                yield (part, name), f"{' and '.join(mapping.types)} have no '{name}'", did_you_mean(name, known)
    for name in mapping.columns.keys() & mapping.constants.keys():
        yield ("constants", name), "is a column too", "keep one of them."
    for name in mapping.constants.keys() & {USER_ID, EVENT_ID}:
        yield ("constants", name), f"all rows would have one {name}", "map it from a column."


def _source_faults(source: Source) -> Iterator[Fault]:
    if source.format != "csv":
        return
    if source.header == (source.names is not None):
        what = "names are given though the header has them" if source.header else "a file without a header has no names"
        yield ("source", "names" if source.header else "header"), what, "write `header: false` and `names: [a, b]`."
    if source.names and len(set(source.names)) < len(source.names):
        yield ("source", "names"), "a name is given twice", "give each column a name of its own."
    if source.thousands == source.decimal:
        yield ("source", "thousands"), "is the decimal mark too", "write both as the file has them."


def _identity_faults(mapping: Mapping) -> Iterator[Fault]:
    given = EVENT_ID in mapping.columns
    if given and mapping.duplicates != EVENT_ID:
        hint = "write `duplicates: event_id`, or leave the column event_id out."
        yield ("duplicates",), f"is '{mapping.duplicates}' though event_id is mapped", hint
    if not given and mapping.duplicates == EVENT_ID:
        hint = "map event_id, or write keep (rows alike are several events) or drop (they are one)."
        yield ("duplicates",), "no column is mapped to event_id", hint


def _not_mapped(mapping: Mapping) -> Iterator[Fault]:
    told = {*mapping.columns, *mapping.constants, EVENT_ID, INGESTED_AT}
    for each in mapping.types:
        for field in arrow_schema(each):
            if not field.nullable and field.name not in told:
                yield (
                    ("columns",),
                    f"event type '{each}' needs '{field.name}'",
                    f"write `{field.name}: NAME IN THE FILE`.",
                )


def _derived_faults(mapping: Mapping) -> Iterator[Fault]:
    if mapping.derive is None:
        return
    if PURCHASE not in mapping.types:
        yield ("derive",), "no event type is purchase", "leave it out: payments follow from lines of orders."
    if PAYMENT in mapping.types:
        yield ("derive",), "payments are in the file already", "leave it out, or null their word in event_type."


def _time_of_day_faults(mapping: Mapping) -> Iterator[Fault]:
    instants = {each.name for kind in mapping.types for each in arrow_schema(kind) if each.type == INSTANT}
    for name, each in mapping.columns.items():
        pattern = each.format or mapping.time.format
        if each.time is None:
            continue
        if name not in instants:
            yield ("columns", name, "time"), f"'{name}' is no time", "write it for a time that stands in two columns."
        if pattern != "iso" and (pattern in EVENT_FORMATS or not has_time_of_day(pattern)):
            hint = "write the format of both with a space between them, such as '%d.%m.%Y %H:%M', or iso."
            yield ("columns", name, "time"), f"the format '{pattern}' is not of a date and a time of day", hint


def _patterns(mapping: Mapping) -> Iterator[tuple[tuple[str, ...], str]]:
    yield ("time", "format"), mapping.time.format
    for name, each in mapping.columns.items():
        if each.format is not None:
            yield ("columns", name, "format"), each.format


def _pattern_faults(path: tuple[str, ...], pattern: str) -> Iterator[Fault]:
    if pattern in EVENT_FORMATS:
        return
    with duckdb.connect(config={"threads": 1}) as connection:
        try:
            connection.execute("SELECT try_strptime('', ?)", [pattern])
        except duckdb.Error:
            yield (
                path,
                f"'{pattern}' is no pattern of strptime",
                "write it as for Python's strptime, such as %d.%m.%Y %H:%M.",
            )
