"""Merges the files of a table, and removes those that nothing needs.

On its own, so that a process that does only this beside a stream imports little.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from deltalake import WriterProperties
from deltalake.exceptions import CommitFailedError

from feature_repo.core.locks import locked, locked_if_free
from feature_repo.events.table_head import load_table


def merge(path: Path, target_bytes: int) -> None:
    """Merge files smaller than a size, and write a checkpoint. Whoever commits meanwhile goes first.

    Who else merges is waited for: `deltalake` lets two compactions of the same files both commit, and then each of
    their rows is there twice (https://github.com/delta-io/delta-rs/pull/3982 does not look for it).
    """
    with locked(_turn(path)):
        _merge(path, target_bytes)


def merge_if_free(path: Path, target_bytes: int) -> bool:
    """Merge as :func:`merge` does; False if somebody else is about it."""
    with locked_if_free(_turn(path)) as free:
        if free:
            _merge(path, target_bytes)
    return free


def _turn(path: Path) -> Path:
    return path / "_merge.lock"


def _merge(path: Path, target_bytes: int) -> None:
    table = load_table(path)
    with suppress(CommitFailedError):  # a DELETE rewrote the same files: the next run finds what is left to do
        table.optimize.compact(
            target_size=target_bytes,
            max_concurrent_tasks=1,
            writer_properties=WriterProperties(compression="ZSTD", compression_level=1),
        )
    table.update_incremental()
    table.create_checkpoint()


def tidy(path: Path) -> int:
    """Remove entries of the transaction log, and files, that no version of the last hour needs; return how many files.

    Files of writers that died or came too late are among them: no version names those.
    """
    table = load_table(path)
    table.cleanup_metadata()
    # A vacuum is two versions, even of nothing.
    return len(table.vacuum(dry_run=True, full=True)) and len(table.vacuum(dry_run=False, full=True))
