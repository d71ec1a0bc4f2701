"""What names and cells of an unknown file may mean: words that people use, and formats that times come in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from feature_repo.events.importing.words import EVENT_WORDS, NULL_WORDS

_PATTERNS = (
    "%Y-%m-%d %H:%M:%S %z", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d",
    "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y",
    "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y",
    "%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%d-%m-%Y", "%d/%b/%Y:%H:%M:%S %z", "%Y%m%d", "%Y%m%d%H%M%S",
)  # fmt: skip
BARE_CLOCK = "%H%M"
_LENGTHS = {"%Y%m%d": 8, "%Y%m%d%H%M%S": 14}
_EPOCHS = {
    "epoch_s": re.compile(r"([89]\d{8}|[12]\d{9})(\.\d+)?"),
    "epoch_ms": re.compile(r"[12]\d{12}"),
    "epoch_us": re.compile(r"[12]\d{15}"),
}
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?\s*(Z|z|UTC|[+-]\d{2}(:?\d{2})?)?)?")
_WITH_ZONE = re.compile(r".*\d{2}:\d{2}.*(Z|z|UTC|[+-]\d{2}(:?\d{2})?)")
_CLOCKS = {
    "%H:%M": re.compile(r"([01]?\d|2[0-3]):[0-5]\d"),
    "%H:%M:%S": re.compile(r"([01]?\d|2[0-3]):[0-5]\d:[0-5]\d"),
    "%H:%M:%S.%f": re.compile(r"([01]?\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{1,6}"),
    "%I:%M %p": re.compile(r"(0?\d|1[0-2]):[0-5]\d [AaPp][Mm]"),
    "%I:%M:%S %p": re.compile(r"(0?\d|1[0-2]):[0-5]\d:[0-5]\d [AaPp][Mm]"),
}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_BARE_CLOCK = re.compile(r"([01]?\d|2[0-3])?[0-5]?\d")  # 930 for half past nine, 5 for five past midnight
_NUMBER = re.compile(r"[+-]?(\d+|\d{1,3}([.,]\d{3})*)([.,]\d+)?([eE][+-]?\d+)?")
_SHARE = 0.95
_TRIED = 200


def plain_name(name: str) -> str:
    """Name without case and separators.

    >>> plain_name("User-ID"), plain_name("visitor.id")
    ('userid', 'visitorid')
    """
    return re.sub(r"[\W_]+", "", name.lower())


def time_format(cells: Sequence[str | None]) -> str | None:
    """Format that nearly all cells have; None if there is none.

    >>> time_format(["31.12.2025 10:00", "01.01.2026 11:00"]), time_format(["1767225600"]), time_format(["7"])
    ('%d.%m.%Y %H:%M', 'epoch_s', None)
    """
    said = said_in(cells)[:_TRIED]
    if not said:
        return None
    for name, shape in (("iso", _ISO), *_EPOCHS.items()):
        if _mostly(shape.fullmatch(cell) is not None for cell in said):
            return name
    return next((each for each in _PATTERNS if _mostly(_parses(cell, each) for cell in said)), None)


def are_dates(cells: Sequence[str | None], pattern: str) -> bool:
    """Whether times in a format have no time of day.

    >>> are_dates(["2025-01-02"], "iso"), are_dates(["2025-01-02 10:00"], "iso"), are_dates(["02.01.2025"], "%d.%m.%Y")
    (True, False, True)
    """
    if pattern == "iso":
        return all(_DATE.fullmatch(cell) for cell in said_in(cells))
    return not pattern.startswith("epoch") and "%H" not in pattern


def clock_format(cells: Sequence[str | None], name: str = "") -> str | None:
    """Format of times of day that nearly all cells have; None if there is none.

    Numbers such as 930 are times of day only in a column whose name says so.

    >>> clock_format(["9:30", "23:05"]), clock_format(["930", "5"], "sale_time"), clock_format(["930", "5"], "price")
    ('%H:%M', '%H%M', None)
    """
    said = said_in(cells)[:_TRIED]
    if not said:
        return None
    shapes = dict(_CLOCKS)
    if plain_name(name).endswith(("time", "hhmm", "clock")):
        shapes[BARE_CLOCK] = _BARE_CLOCK
    return next((each for each, shape in shapes.items() if _mostly(shape.fullmatch(cell) for cell in said)), None)


def said_in(cells: Iterable[str | None]) -> list[str]:
    """Cells that hold something other than a word for nothing.

    >>> said_in(["7", None, "N/A", "NULL"])
    ['7']
    """
    return [cell for cell in cells if cell and cell.lower() not in NULL_WORDS]


def null_words(cells: Iterable[str | None]) -> set[str]:
    """Words for nothing that stand in cells."""
    return {cell for cell in cells if cell and cell.lower() in NULL_WORDS}


def names_zone(cells: Sequence[str | None]) -> bool:
    """Whether every time says its zone or offset."""
    said = said_in(cells)
    return bool(said) and all(_WITH_ZONE.fullmatch(cell) for cell in said)


def is_time_or_number(cell: str) -> bool:
    """Whether a cell cannot be the name of a column."""
    return _NUMBER.fullmatch(cell) is not None or time_format([cell]) is not None


def are_numbers(cells: Sequence[str | None]) -> bool:
    """Whether nearly all cells are numbers."""
    said = said_in(cells)
    return bool(said) and _mostly(_NUMBER.fullmatch(cell) is not None for cell in said)


def has_decimal_commas(cells: Sequence[str | None]) -> bool:
    """Whether numbers have a comma as their decimal mark, as ``3,5`` and not ``1,000``."""
    said = said_in(cells)
    return any(re.fullmatch(r"[+-]?\d+(\.\d{3})*,(\d{1,2}|\d{4,})", cell) for cell in said)


def has_thousands_marks(cells: Sequence[str | None], mark: str) -> bool:
    """Whether numbers have a mark between thousands, beside the decimal mark."""
    decimal = "," if mark == "." else r"\."
    shape = re.compile(rf"[+-]?\d{{1,3}}({re.escape(mark)}\d{{3}})+{decimal}\d+")
    return any(shape.fullmatch(cell) for cell in said_in(cells))


def event_type_of(word: str) -> str | None:
    """Event type a word of a log means; None if nothing is known of it.

    >>> event_type_of("Add-To-Cart"), event_type_of("heartbeat")
    ('cart', None)
    """
    plain = plain_name(word)
    return next((name for name, words in EVENT_WORDS.items() if plain in words), None)


def _parses(cell: str, pattern: str) -> bool:
    # Without marks between them, %m and %d take a single digit too: any number of 7 digits would be a day.
    if pattern in _LENGTHS and len(cell) != _LENGTHS[pattern]:
        return False
    try:
        year = datetime.strptime(cell, pattern).year  # noqa: DTZ007 - only whether it is one
    except ValueError:
        return False
    return 1970 <= year <= 2100  # noqa: PLR2004 - the years a log may hold


def _mostly(found: Iterable[object]) -> bool:
    answers = [bool(each) for each in found]
    return sum(answers) >= _SHARE * len(answers)
