"""What was handed out: its records below ``<home>/audiences/exports/<id>``.

``members.parquet`` says who it was, the held-out ones too; ``export.json`` what it was. They are kept for the report of
what came of it, and for the receipt of an erasure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.core.console import to_json
from feature_repo.core.errors import DataError, did_you_mean
from feature_repo.core.settings import Settings
from feature_repo.core.stores import atomic_write
from feature_repo.privacy.tombstones import Tombstones

MEMBERS, RECORD = "members.parquet", "export.json"
HELD_OUT = "held_out"


@dataclass(frozen=True)
class Export:
    """What was handed out.

    Attributes
    ----------
    id
        Names it in `portrait audience report`.
    campaign
        Decides who is held out.
    audience, selection
        As it was asked, and what that meant.
    as_of
        Of the snapshot.
    made_at
        When it was handed out.
    path
        The file.
    members, not_permitted, held_out, handed_out
        Of the audience; of those, who do not allow marketing; of the others, who is held out, and who is in the file.
    erased
        Who was named and has been erased since: keyed hashes, as of ``privacy/tombstones``.
    """

    id: str
    campaign: str
    audience: str
    selection: str
    as_of: datetime
    made_at: datetime
    path: str
    purpose: str
    share_held_out: float
    members: int
    not_permitted: int
    held_out: int
    handed_out: int
    erased: tuple[str, ...] = ()


def exports_root(settings: Settings) -> Path:
    """Where exports are remembered."""
    return settings.home / "audiences" / "exports"


def all_exports(settings: Settings) -> list[Export]:
    """Return what was handed out, the oldest first.

    Raises
    ------
    DataError
        A record is damaged.
    """
    found = [_read(path) for path in exports_root(settings).glob(f"*/{RECORD}")]
    return sorted(found, key=lambda each: (each.made_at, each.id))


def find_export(settings: Settings, name: str) -> Export:
    """Return an export by its id, or the latest of a campaign.

    Raises
    ------
    DataError
        There is none.
    """
    every = all_exports(settings)
    found = [each for each in every if name in {each.id, each.campaign}]
    if not found:
        known = [each.id for each in every]
        hint = did_you_mean(name, known) if known else "`portrait audience export AUDIENCE --to FILE` makes one."
        raise DataError(f"There is no export '{name}'.", hint=hint)
    return found[-1]


def read_members(settings: Settings, export: Export) -> pa.Table:
    """Return ``user_id`` and ``held_out`` of who was handed out or held out, without those who were erased since.

    Raises
    ------
    DataError
        The file is missing or damaged.
    """
    try:
        rows = pq.read_table(exports_root(settings) / export.id / MEMBERS)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"Who was handed out with '{export.id}' cannot be read: {type(error).__name__}.",
            hint="restore audiences/exports/ of the home from a backup.",
        ) from None
    return Tombstones(settings.home).standing_rows(rows)


def write_record(settings: Settings, export: Export) -> None:
    """Remember an export."""
    atomic_write(exports_root(settings) / export.id / RECORD, to_json(export), private=True)


def _read(path: Path) -> Export:
    try:
        said: dict[str, Any] = json.loads(path.read_text("utf-8"))
        times = {name: datetime.fromisoformat(said[name]) for name in ("as_of", "made_at")}
        return Export(**{**said, **times, "erased": tuple(said["erased"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"The export {path.parent.name} cannot be read: {type(error).__name__}.",
            hint="restore audiences/exports/ of the home from a backup.",
        ) from None
