"""Times as a file has them into UTC instants: text in a format, or typed; with a zone, or on somebody's wall."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.core.clock import HOUR, MINUTE, SECOND
from feature_repo.events.importing.cells import floats, texts
from feature_repo.events.importing.local_time import FIRST, LAST, Flags, place
from feature_repo.events.importing.mapping import Column, Source, Times
from feature_repo.events.wall_clock import Instants

INSTANT = pa.timestamp("us", "UTC")

_UNITS = {"epoch_s": SECOND, "epoch_ms": 1000, "epoch_us": 1}
_FAR = 1e18
_WITH_TIME = ("%H", "%I", "%c", "%X", "%T", "%-H", "%-I")
_WITH_ZONE = ("%z", "%Z")

# A date, perhaps a time, perhaps an offset. DuckDB's own reading is laxer, and drops an offset of a plain TIMESTAMP.
_ISO = r"""
WITH parts AS (SELECT n, regexp_extract(text,
    '^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2})?)(?:[.,](\d{1,6})\d*)?\s*(Z|z|UTC|[+-]\d{2}(?::?\d{2})?)?)?$',
    ['day', 'clock', 'fraction', 'zone']) AS p FROM cells)
SELECT
    epoch_us(try_cast(p.day || ' ' || if(p.clock = '', '00:00', p.clock) AS TIMESTAMP))
        + if(p.fraction = '', 0, rpad(p.fraction, 6, '0')::BIGINT) AS us,
    p.clock <> '' AS timed,
    p.zone <> '' AS zoned,
    CASE WHEN p.zone SIMILAR TO '[+-].*' THEN (p.zone[1] || '1')::BIGINT
        * (p.zone[2:3]::BIGINT * 60 + coalesce(try_cast(replace(p.zone[4:], ':', '') AS BIGINT), 0))
        ELSE 0 END AS minutes
FROM parts ORDER BY n
"""
_PATTERN = "SELECT epoch_us(try_strptime(text, $pattern)) AS us FROM cells ORDER BY n"


@dataclass(frozen=True)
class Read:
    """Times of a column.

    Attributes
    ----------
    values
        ``timestamp[us, UTC]``; NULL where nothing stands and where it is no time.
    reasons
        Why it is none; NULL for the others.
    rules
        How often a rule placed a time: a date without a time, the hours of a clock change.
    """

    values: pa.Array
    reasons: pa.Array
    rules: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Walls:
    """What stands on the wall, in microseconds: where it is a time, has a time of day, is UTC already."""

    us: Instants
    known: Flags
    timed: Flags
    zoned: Flags


def read_instants(
    column: pa.Array, pattern: str, times: Times, source: Source, connection: duckdb.DuckDBPyConnection
) -> Read:
    """Read a column of times.

    Parameters
    ----------
    column
        Strings (stripped, NULL for nothing), timestamps or dates.
    pattern
        Format of strings, as in the mapping.
    """
    given = _bools(column.is_valid())
    walls = _walls(column, pattern, source, connection)
    reasons: npt.NDArray[np.object_] = np.full(len(column), None, object)
    reasons[given & ~walls.known] = "not_a_time"
    us, rules = _placed(walls, times, reasons)
    ranged = (us >= FIRST) & (us < LAST)
    reasons[given & walls.known & ~ranged] = "time_out_of_range"
    bad = np.array([reason is not None for reason in reasons], bool)
    values = pa.array(np.where(ranged, us, 0), pa.int64(), mask=~given | bad | ~ranged).cast(INSTANT)
    return Read(values, pa.array(reasons, pa.string()), rules)


def date_and_time(days: pa.Array, clocks: pa.Array, source: Source, rule: Column) -> pa.Array:
    """Join dates with their times of day, a space between them; NULL where either is.

    Parameters
    ----------
    days
        Strings as they stand in the file, dates, or timestamps whose own time of day says nothing.
    clocks
        Strings, stripped.
    """
    if pa.types.is_string(days.type):
        return pc.binary_join_element_wise(texts(days, source, rule), clocks, " ")
    seconds = days.cast(pa.timestamp("s", getattr(days.type, "tz", None)), safe=False)
    return pc.binary_join_element_wise(pc.strftime(seconds, "%Y-%m-%d"), clocks, " ")


def has_time_of_day(pattern: str) -> bool:
    """Whether a strptime pattern has a time of day in it."""
    return any(part in pattern for part in _WITH_TIME)


def _placed(walls: _Walls, times: Times, reasons: npt.NDArray[np.object_]) -> tuple[Instants, Counter[str]]:
    """UTC of each time; writes why there is none into ``reasons``."""
    us = walls.us.copy()
    local = walls.known & ~walls.zoned
    if not local.any():
        return us, Counter()
    if times.zone is None:
        reasons[local] = "time_without_zone"
        return us, Counter()
    dates = local & ~walls.timed
    us[dates] += _time_of_day(times.date_at)
    found = place(us[local], times.zone)
    us[local] = found.later if times.fold == "later" else found.earlier
    skipped, twice = np.zeros_like(local), np.zeros_like(local)
    skipped[local], twice[local] = found.skipped, found.twice
    if times.gap == "refuse":
        reasons[skipped] = "time_skipped_by_summer_time"
    if times.fold == "refuse":
        reasons[twice] = "time_that_comes_twice"
    counts = {"dates_without_time": dates, "times_skipped_by_summer_time": skipped, "times_that_come_twice": twice}
    return us, Counter({rule: int(rows.sum()) for rule, rows in counts.items() if rows.any()})


def _time_of_day(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * HOUR + int(minutes) * MINUTE


def _walls(column: pa.Array, pattern: str, source: Source, connection: duckdb.DuckDBPyConnection) -> _Walls:
    if not pa.types.is_string(column.type):
        return _typed(column)
    if pattern in _UNITS:
        return _epoch(column, _UNITS[pattern], source)
    cells = pa.table({"n": pa.array(np.arange(len(column))), "text": column})
    connection.register("cells", cells)
    try:
        if pattern == "iso":
            return _iso(connection.sql(_ISO).to_arrow_table())
        found = connection.sql(_PATTERN, params={"pattern": pattern}).to_arrow_table()
    finally:
        connection.unregister("cells")
    timed = has_time_of_day(pattern)
    zoned = any(part in pattern for part in _WITH_ZONE)
    us, known = _numbers(found["us"])
    return _Walls(us, known, np.full(len(us), timed), np.full(len(us), zoned))


def _iso(found: pa.Table) -> _Walls:
    us, known = _numbers(found["us"])
    minutes, _ = _numbers(found["minutes"])
    timed, zoned = _bools(found["timed"].combine_chunks()), _bools(found["zoned"].combine_chunks())
    return _Walls(us - minutes * MINUTE, known, timed, zoned)


def _epoch(column: pa.Array, unit: int, source: Source) -> _Walls:
    numbers = floats(column, source).values
    scaled = np.nan_to_num(np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64)) * unit
    known = _bools(numbers.is_valid()) & (np.abs(scaled) < _FAR)
    us = np.round(np.where(known, scaled, 0)).astype(np.int64)
    return _Walls(us, known, np.ones(len(us), bool), np.ones(len(us), bool))


def _typed(column: pa.Array) -> _Walls:
    dated = pa.types.is_date(column.type)
    zoned = not dated and column.type.tz is not None
    plain = pc.cast(column, pa.timestamp("us", column.type.tz if zoned else None), safe=False)
    us, known = _numbers(plain.cast(pa.int64()))
    return _Walls(us, known, np.full(len(us), not dated), np.full(len(us), zoned))


def _numbers(column: pa.Array | pa.ChunkedArray) -> tuple[Instants, Flags]:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.asarray(pc.fill_null(whole, 0).to_numpy(zero_copy_only=False), np.int64), _bools(whole.is_valid())


def _bools(column: pa.Array) -> Flags:
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), bool)
