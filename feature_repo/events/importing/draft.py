"""Drafts a mapping from a sample: as much as names and cells tell, with comments for who must decide the rest.

The draft holds no cell of the sample but the words of the event types: any other might name a person.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from feature_repo.core.errors import DataError
from feature_repo.events.importing.files import find_files
from feature_repo.events.importing.guesses import (
    BARE_CLOCK,
    are_dates,
    are_numbers,
    clock_format,
    event_type_of,
    has_decimal_commas,
    has_thousands_marks,
    names_zone,
    null_words,
    plain_name,
    said_in,
    time_format,
)
from feature_repo.events.importing.mapping import UTF_16, WHITESPACE, Source, TimeOfDay
from feature_repo.events.importing.sample import Sample, take_sample
from feature_repo.events.importing.words import NAMES, TYPE_NAMES, USER_ID
from feature_repo.events.log import EVENT_ID, EVENT_TIMESTAMP, INGESTED_AT
from feature_repo.events.schema import arrow_schema

UNKNOWN = "NAME_IN_THE_FILE"

_MAX_WORDS = 40
_NUMERIC = {"quantity", "amount", "price", "coupon_discount", "rating"}


@dataclass(frozen=True)
class Guess:
    """One column of the file.

    Attributes
    ----------
    column
        Name in the file.
    kind
        ``time``, ``number``, ``text`` or ``empty``, and how many of the sampled rows hold something.
    targets
        Columns of events it is mapped to; empty for one that is not read.
    """

    column: str
    kind: str
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Draft:
    """A mapping to correct.

    Attributes
    ----------
    mapping
        The YAML.
    columns
        What was found of each column.
    open_questions
        What has to be decided before importing.
    """

    mapping: str
    columns: tuple[Guess, ...]
    open_questions: tuple[str, ...]


@dataclass
class _Findings:
    sample: Sample
    types: dict[str, str | None]
    type_column: str | None
    targets: dict[str, str]
    format: str
    clock: TimeOfDay | None
    questions: list[str] = field(default_factory=list)


def draft_mapping(pattern: str) -> Draft:
    """Draft the mapping of a file, or of the first that a pattern finds.

    Raises
    ------
    DataError
        There is no such file, or it cannot be read.
    """
    sample = take_sample(find_files([pattern])[0])
    found = _find(sample)
    told = {column: tuple(t for t, name in found.targets.items() if name == column) for column in sample.columns}
    if found.clock is not None:
        told[found.clock.column] += (EVENT_TIMESTAMP,)
    guesses = tuple(Guess(name, _kind(sample, name), told[name]) for name in sample.columns)
    text = (
        "\n".join([*_head(found), *_event_type(found), *_columns(found, guesses), *_duplicates(found), *_derive(found)])
        + "\n"
    )
    return Draft(text, guesses, tuple(found.questions))


def write_draft(draft: Draft, path: Path) -> None:
    """Write a draft, unless the file is there: somebody may have corrected it.

    Raises
    ------
    DataError
        The file exists or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(draft.mapping)
    except FileExistsError:
        raise DataError(f"'{path}' exists already.", hint="give --out another name, or move it away.") from None
    except OSError as error:
        raise DataError(f"'{path}' cannot be written: {error.strerror}.") from None


def _find(sample: Sample) -> _Findings:
    times = {name: "iso" if name in sample.typed else time_format(cells) for name, cells in sample.columns.items()}
    named = _by_name(sample, times)
    type_column = _type_column(sample)
    types: dict[str, str | None] = {"": _only_type(named)}
    if type_column is not None:
        types = {word: event_type_of(word) for word in sorted({cell for cell in sample.columns[type_column] if cell})}
    if not any(types.values()):
        types, type_column = {"": _only_type(named)}, None
    chosen = {each for each in types.values() if each}
    known = {name for each in chosen for name in arrow_schema(each).names}
    targets = {target: column for target, column in named.items() if target in known and column != type_column}
    pattern = times.get(targets.get(EVENT_TIMESTAMP, "")) or "iso"
    clock = _clock(sample, targets, pattern)
    if clock is not None:
        pattern = _joined(pattern, clock_format(sample.columns[clock.column], clock.column) or "")
    found = _Findings(sample, types, type_column, targets, pattern, clock)
    _require(found, chosen)
    return found


def _by_name(sample: Sample, times: dict[str, str | None]) -> dict[str, str]:
    """Target -> column: by its name, and where that says a time or a number, by its cells too."""
    plain = _plain_names(sample)
    found: dict[str, str] = {}
    for target, names in NAMES.items():
        for name in (plain[each] for each in names if each in plain):
            if _fits(target, sample.columns[name], times[name]):
                found.setdefault(target, name)
    timed = [name for name, pattern in times.items() if pattern]
    if EVENT_TIMESTAMP not in found and timed:
        found[EVENT_TIMESTAMP] = timed[0]
    return found


def _clock(sample: Sample, targets: dict[str, str], pattern: str) -> TimeOfDay | None:
    """Find the column with the time of day, where that of the event's time holds dates only."""
    days = targets.get(EVENT_TIMESTAMP)
    if days is None or not are_dates(sample.columns[days], pattern):
        return None
    for name, cells in sample.columns.items():
        if name != days and (found := clock_format(cells, name)) is not None:
            return TimeOfDay(column=name, pad=len("0000") if found == BARE_CLOCK else None)
    return None


def _joined(date: str, clock: str) -> str:
    """Format of a date and a time of day; ``iso`` reads the padded ones only."""
    return f"{'%Y-%m-%d' if date == 'iso' else date} {clock}"


def _plain_names(sample: Sample) -> dict[str, str]:
    """Plain name -> column; of one inside an object, its own name too."""
    whole = {plain_name(name): name for name in reversed(sample.columns)}
    return {plain_name(name.rsplit(".", 1)[-1]): name for name in reversed(sample.columns)} | whole


def _fits(target: str, cells: list[str | None], pattern: str | None) -> bool:
    if target == EVENT_TIMESTAMP:
        return pattern is not None
    if target == EVENT_ID:
        return len(set(said_in(cells))) == len(cells)
    return target not in _NUMERIC or are_numbers(cells)


def _type_column(sample: Sample) -> str | None:
    plain = _plain_names(sample)
    for name in (plain[each] for each in TYPE_NAMES if each in plain):
        words = {cell for cell in sample.columns[name] if cell}
        if 0 < len(words) <= _MAX_WORDS and any(map(event_type_of, words)):
            return name
    return None


def _only_type(named: dict[str, str]) -> str:
    if {"amount", "quantity", "order_id"} & named.keys():
        return "purchase"
    if "rating" in named:
        return "review"
    return "search" if "query" in named else "view"


def _require(found: _Findings, chosen: set[str]) -> None:
    needed = dict.fromkeys([USER_ID, EVENT_TIMESTAMP])
    for each in sorted(chosen):
        needed.update(dict.fromkeys(column.name for column in arrow_schema(each) if not column.nullable))
    for name in needed:
        if name not in {EVENT_ID, INGESTED_AT} and name not in found.targets:
            found.targets[name] = UNKNOWN
            found.questions.append(f"Which column is the {name}?")


def _kind(sample: Sample, name: str) -> str:
    cells = sample.columns[name]
    said = sum(cell is not None for cell in cells)
    if not said:
        return "empty in the sample"
    pattern = time_format(cells)
    kind = "time" if name in sample.typed or pattern else ("number" if are_numbers(cells) else "text")
    kind = "time of day" if kind != "time" and clock_format(cells, name) else kind
    return kind if said == len(cells) else f"{kind}, {said} of {len(cells)} rows"


def _head(found: _Findings) -> list[str]:
    source = found.sample.source
    lines = [
        "# A draft of `portrait events map`: read it, correct it, rehearse by `portrait events import ... --dry-run`.",
        "source:",
        f"  format: {source.format}",
        *_source(source),
        f"  null_values: {_nulls(found)}             # cells that mean not known; empty ones always do",
        *_marks(found),
        "time:",
        f"  format: {_quoted(found.format):<20}# iso, epoch_s, epoch_ms, epoch_us, or '%d.%m.%Y %H:%M'",
    ]
    if found.format.startswith("%d/%m/%Y"):
        found.questions.append("Is the day before the month?")
    said = found.sample.columns.get(found.targets[EVENT_TIMESTAMP], [])
    if not (found.format.startswith("epoch") or names_zone(said)):
        found.questions.append("In which time zone are the times?")
    return [
        *lines,
        "  zone: UTC                   # of times that name none: the zone of the shop, such as Europe/Berlin",
        "  date_at: '12:00'            # local time of day of a date without one",
        "  gap: later                  # a local time that summer time skips: later, or refuse",
        "  fold: earlier               # a local time that comes twice in autumn: earlier, later, or refuse",
    ]


def _source(source: Source) -> list[str]:
    if source.format == "parquet":
        return []
    lines = [f"  encoding: {source.encoding}"]
    if source.encoding != "utf-8":
        why = "as its byte order mark says" if source.encoding == UTF_16 else "a guess: the file is not UTF-8"
        lines[0] += f"            # {why}"
    if source.format == "csv":
        delimiter = {"\t": "tab", WHITESPACE: WHITESPACE}.get(source.delimiter, _quoted(source.delimiter))
        lines += [f"  delimiter: {delimiter}", f"  header: {str(source.header).lower()}"]
        lines += [f"  names: [{', '.join(map(_quoted, source.names))}]"] if source.names else []
    return lines


def _nulls(found: _Findings) -> str:
    words = set().union(*(null_words(cells) for cells in found.sample.columns.values()))
    return f"[{', '.join(map(_quoted, sorted(words)))}]"


def _marks(found: _Findings) -> list[str]:
    numeric = [found.sample.columns.get(column, []) for target, column in found.targets.items() if target in _NUMERIC]
    comma = any(map(has_decimal_commas, numeric))
    between = "." if comma else ","
    thousands = any(has_thousands_marks(cells, between) for cells in numeric)
    return [*(["  decimal: ','"] if comma else []), *([f"  thousands: '{between}'"] if thousands else [])]


def _event_type(found: _Findings) -> list[str]:
    if found.type_column is None:
        return [
            f"event_type: {found.types['']}        # what one row is: view, cart, purchase, search, return, users ..."
        ]
    words = [
        f"    {_quoted(word)}: {kind}" if kind else f"    {_quoted(word)}: null    # left out; write an event type"
        for word, kind in found.types.items()
    ]
    found.questions += [f"What is a '{word}'?" for word, kind in found.types.items() if kind is None]
    return [
        "event_type:",
        f"  column: {_quoted(found.type_column)}",
        "  values:",
        *words,
        "  others: refuse              # words not named above: refuse, or ignore",
    ]


def _columns(found: _Findings, guesses: tuple[Guess, ...]) -> list[str]:
    unread = [guess for guess in guesses if not guess.targets and guess.column != found.type_column]
    return [
        "# Column of the event: column of the file. More can be said of one: {column: uid, pad: 8} fills with zeros,",
        "# {column: uid, kind: integer} takes '007' and '7.0' for 7, {column: x, values: {Y: 'true'}} replaces words,",
        "# {column: id, prefix: web-} keeps ids of two sources apart,",
        "# {column: x, optional: true} allows files without it, {column: day, time: clock} joins a date and its time.",
        "columns:",
        *(f"  {target}: {_told(found, target, column)}" for target, column in found.targets.items()),
        *(["# not read:"] if unread else []),
        *(f"#   {_quoted(guess.column)} ({guess.kind})" for guess in unread),
        "constants: {}                 # the same for every row, such as {device: mobile}",
    ]


def _told(found: _Findings, target: str, column: str) -> str:
    if target != EVENT_TIMESTAMP or found.clock is None:
        return _quoted(column)
    clock = _quoted(found.clock.column)
    time = f"{{column: {clock}, pad: {found.clock.pad}}}" if found.clock.pad else clock
    return f"{{column: {_quoted(column)}, time: {time}}}     # a date, and its time of day"


def _derive(found: _Findings) -> list[str]:
    if "purchase" not in found.types.values() or "payment" in found.types.values():
        return []
    if "order_id" in found.targets:
        return ["derive: payment               # of each order one, the sum over its lines; not if payments are logged"]
    return ["# derive: payment             # what a shopper buys at one instant is one order, and paid at once"]


def _duplicates(found: _Findings) -> list[str]:
    if EVENT_ID in found.targets:
        return ["duplicates: event_id          # rows with a known event_id are duplicates"]
    found.questions.append("Are rows that are alike in all mapped columns several events (keep), or one (drop)?")
    return ["duplicates: keep              # rows alike in all mapped columns are several events; drop: they are one"]


def _quoted(text: str) -> str:
    """Text as a YAML scalar, in quotes wherever it could be read as anything else."""
    plain = text.replace("_", "").replace(".", "").replace("-", "").isalnum() and text.isascii()
    return text if plain and text[0].isalpha() and text.lower() != "null" else json.dumps(text, ensure_ascii=False)
