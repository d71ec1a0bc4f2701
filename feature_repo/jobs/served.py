"""Rows of features as they were served: Parquet files below the home, of many processes at once.

A file holds rows of one service and one model. It appears whole or not at all; who writes one and who erases a person
take turns at a lock, so that no row of an erased person is written behind the erasure.

Columns: ``__at`` (when the features were read), the service's entity columns, the features by full name, and of each
view ``__held:<view>`` (of a windowed view the log version in the entity's state, -1 without a state; of another one the
row's event time in microseconds; NULL if there was nothing), ``__position:<view>`` (``<table>:<log version>`` up to
which the view was fed for certain, the version -1 if nothing was; NULL if nothing was known) and ``__head:<view>``
(``<table>:<log version>`` of its table when the row was written down, some time after it was read: what has a later
version arrived later; NULL if it is no table of a log).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.core.clock import Clock, from_us
from feature_repo.core.errors import LogError
from feature_repo.core.locks import locked
from feature_repo.core.settings import Settings
from feature_repo.engine.retrieval import replacing
from feature_repo.events.removal import naming
from feature_repo.events.retention import SERVED, kept_since
from feature_repo.privacy.tombstones import Tombstones

AT = "__at"
HELD = "__held:"
POSITION = "__position:"
HEAD = "__head:"

# Kept for so long, unless something else is said.
DAYS = 30

_FACTS = b"portrait"


@dataclass(frozen=True)
class ServedFacts:
    """What all rows of a file have in common.

    Attributes
    ----------
    service, model
        What was read, and ``task@version`` of the model that read it; empty where features were asked for.
    entities, features
        Columns of the rows.
    contract
        Definitions of the service's features by full name, as they were then.
    windowed
        Views whose ``__held`` is a log version.
    unanswered
        Features that the state which was served could not answer -> whether the view had one at all.
    lost
        Rows that were chosen since the file before, and not kept: they came faster than they could be written.
    """

    service: str
    model: str
    entities: tuple[str, ...]
    features: tuple[str, ...]
    contract: Mapping[str, str]
    windowed: tuple[str, ...]
    unanswered: Mapping[str, bool] = field(default_factory=dict)
    lost: int = 0


@dataclass(frozen=True, eq=False)
class ServedRows:
    """Rows, and what they have in common."""

    facts: ServedFacts
    table: pa.Table


def table_in(said: str | None) -> str | None:
    """Return the table a position or a head names.

    >>> table_in("3f6a:7"), table_in(None)
    ('3f6a', None)
    """
    return said.rsplit(":", 1)[0] if said else None


def version_in(said: str | None) -> int | None:
    """Return the log version a position or a head names, if it is known.

    >>> version_in("3f6a:7"), version_in("3f6a:-1")
    (7, None)
    """
    version = int(said.rsplit(":", 1)[1]) if said else -1
    return version if version >= 0 else None


def served_root(settings: Settings) -> Path:
    """Return the directory of the files."""
    return settings.home / "served"


def write_served(settings: Settings, rows: ServedRows) -> int:
    """Write a file, without rows of people who are erased; return how many rows it has.

    Raises
    ------
    OSError
        The disk is full, or the home cannot be written.
    SettingsError
        It cannot be told who is erased.
    """
    with _turn(settings):
        table = Tombstones(settings.home).standing_rows(rows.table)
        first = pc.min(table[AT]).as_py() or from_us(0)
        path = served_root(settings) / f"{_stamp(first)}-{secrets.token_hex(6)}.parquet"
        described = table.replace_schema_metadata({_FACTS: json.dumps(asdict(rows.facts)).encode()})
        with replacing(path) as partial:
            pq.write_table(described, partial, compression="zstd")
    return int(table.num_rows)


def read_served(settings: Settings) -> Iterator[ServedRows]:
    """Yield what was served, file by file, the oldest first.

    Raises
    ------
    LogError
        A file is damaged.
    """
    for path in sorted(served_root(settings).glob("*.parquet")):
        try:
            table = pq.read_table(path)
            said = json.loads(table.schema.metadata[_FACTS])
        except FileNotFoundError:  # removed meanwhile
            continue
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise _damaged(path, error) from None
        lists = {name: tuple(said[name]) for name in ("entities", "features", "windowed")}
        yield ServedRows(ServedFacts(**{**said, **lists}), table)


def erase_served(settings: Settings, needle: str, *, dry_run: bool) -> int:
    """Remove rows that contain ``needle``; return how many there were. Files that were left half written go too.

    Raises
    ------
    LogError
        A file is damaged: whether it names the person cannot be told.
    """
    root, found = served_root(settings), 0
    if not root.is_dir():
        return 0
    with _turn(settings):
        for path in sorted(root.glob("*.parquet")):
            found += _scrub(path, needle, dry_run=dry_run)
        for path in [] if dry_run else root.glob(".*.partial"):  # of a process that was killed: nobody writes now
            path.unlink(missing_ok=True)
    return found


def expire_served(settings: Settings, clock: Clock) -> int:
    """Remove files that are older than the settings say; return how many there were. Twice is once.

    A file is as old as its first row, and its rows are of seconds. ``PORTRAIT_RETENTION=served=90d`` keeps them for 90
    days; if nothing is said, it is 30.
    """
    root = served_root(settings)
    if not root.is_dir():
        return 0
    since = kept_since({SERVED: DAYS} | settings.retention_days, SERVED, clock.now_us())
    first = _stamp(from_us(since or 0))
    with _turn(settings):
        old = [path for path in root.glob("*.parquet") if path.name < first]
        for path in old:
            path.unlink()
    return len(old)


def _stamp(at: datetime) -> str:
    """Return how names of files begin; they are in the order of time."""
    return f"{at:%Y%m%dT%H%M%S}"


def _scrub(path: Path, needle: str, *, dry_run: bool) -> int:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None
    named = naming(table, needle)
    count = int(pc.sum(named).as_py() or 0)
    if count and not dry_run:
        with replacing(path) as partial:
            pq.write_table(table.filter(pc.invert(named)), partial, compression="zstd")
    return count


def _damaged(path: Path, error: Exception) -> LogError:
    return LogError(
        f"The file of served features {path.name} cannot be read: {type(error).__name__}.",
        hint=f"remove {path}: it is a sample, and nothing else rests on it.",
    )


def _turn(settings: Settings) -> AbstractContextManager[None]:
    return locked(settings.home / "run" / "served.lock")
