"""Snapshots of everybody, as `portrait tags compute` writes them: which there are, and which one is meant.

``<home>/snapshots/<name>/people.parquet`` has a row for each shopper, ``manifest.json`` says as of when it is.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from feature_repo.core.clock import Clock, from_us, to_us
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings

PEOPLE, MANIFEST = "people.parquet", "manifest.json"
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True)
class Snapshot:
    """Everybody as of an instant.

    Attributes
    ----------
    name
        Of its folder.
    as_of
        Events before it are known.
    people
        The file.
    """

    name: str
    as_of: datetime
    people: Path


def snapshots_root(settings: Settings) -> Path:
    """Where the snapshots are."""
    return settings.home / "snapshots"


def all_snapshots(settings: Settings) -> list[Snapshot]:
    """Return the snapshots, the oldest first.

    Raises
    ------
    DataError
        One says nothing of its instant.
    """
    paths = snapshots_root(settings).glob(f"*/{MANIFEST}")
    # A name with a dot before it is not written yet, or on its way out.
    found = [_read(path) for path in paths if path.parent.name[0] != "." and path.with_name(PEOPLE).exists()]
    return sorted(found, key=lambda each: (each.as_of, each.name))


def find_snapshot(settings: Settings, until: datetime | None = None) -> Snapshot:
    """Return the latest snapshot, or the latest as of an instant at or before ``until``.

    Raises
    ------
    DataError
        There is none, or one is damaged.
    """
    every = all_snapshots(settings)
    found = [each for each in every if until is None or each.as_of <= until]
    if found:
        return found[-1]
    if not every or until is None:
        raise DataError(f"There is no snapshot of shoppers in {settings.home}.", hint="run `portrait tags compute`.")
    raise DataError(
        f"There is no snapshot of shoppers as of {_shown(until)} or before; the first is of {_shown(every[0].as_of)}.",
        hint=f"run `portrait tags compute --at {_shown(until)}`: the log says what was known then.",
    )


def read_instant(text: str, settings: Settings, clock: Clock) -> datetime:
    """Read an instant: ISO 8601, a date, ``yesterday``, or a weekday, which is the last one that is over.

    A date means its end, and a time without a zone the time, where the shops are (``PORTRAIT_ZONE``).

    Raises
    ------
    DataError
        It says none of these.
    """
    zone = ZoneInfo(settings.zone)
    today = from_us(clock.now_us()).astimezone(zone).date()
    day = _day(text.strip().lower().removeprefix("last "), today)
    if day is not None:
        return _end(day, zone)
    try:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise DataError(
            f"'{text}' is no instant.", hint="write 2026-11-24, 2026-11-24T12:00Z, yesterday, or a weekday."
        ) from None


def _day(text: str, today: date) -> date | None:
    if text == "yesterday":
        return today - timedelta(days=1)
    if text in WEEKDAYS:
        return today - timedelta(days=(today.weekday() - WEEKDAYS.index(text) - 1) % 7 + 1)
    try:
        return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else None
    except ValueError:
        return None


def _end(day: date, zone: ZoneInfo) -> datetime:
    following = day + timedelta(days=1)
    return datetime(following.year, following.month, following.day, tzinfo=zone).astimezone(UTC)


def _shown(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _read(path: Path) -> Snapshot:
    try:
        said: dict[str, Any] = json.loads(path.read_text("utf-8"))
        as_of = from_us(to_us(datetime.fromisoformat(said["as_of"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"The snapshot {path.parent.name} does not say as of when it is: {type(error).__name__} in {MANIFEST}.",
            hint=f"remove {path.parent}, and run `portrait tags compute`.",
        ) from None
    return Snapshot(path.parent.name, as_of, path.with_name(PEOPLE))
