"""Instants as people say them, with the exact one beside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from serving.console.words import Words

# From how long on a unit is used, its length in seconds, and its words.
_UNITS = (
    (2 * 365 * 86400, 365 * 86400, "year", "年"),
    (60 * 86400, 30.44 * 86400, "month", "个月"),
    (86400, 86400, "day", "天"),
    (3600, 3600, "hour", "小时"),
    (60, 60, "minute", "分钟"),
)


@dataclass(frozen=True)
class Moment:
    """An instant: how long ago, and exactly when, in UTC."""

    ago: str
    exact: str


def moment(at: datetime, now: datetime, words: Words) -> Moment:
    """Say an instant.

    >>> noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    >>> moment(noon, noon + timedelta(hours=3, minutes=50), Words("en"))
    Moment(ago='3 hours ago', exact='2026-03-01 12:00:00 UTC')
    >>> moment(noon, noon + timedelta(seconds=59), Words("zh")).ago
    '刚刚'
    """
    return Moment(_ago(now - at, words), f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")


def _ago(span: timedelta, words: Words) -> str:
    seconds = abs(span.total_seconds())
    unit = next(((seconds // length, *said) for from_, length, *said in _UNITS if seconds >= from_), None)
    if unit is None:
        return words.of("just now", "刚刚")
    count, english, chinese = unit
    said = f"{count:.0f} {english}{'s' * (count != 1)}"
    if span < timedelta(0):
        return words.of(f"in {said}", f"{count:.0f}{chinese}后")
    return words.of(f"{said} ago", f"{count:.0f}{chinese}前")
