"""Converted rows on disk until the last line is read: pseudonyms only, removed at the end."""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.core.errors import SettingsError
from feature_repo.core.settings import Settings
from feature_repo.events.importing.convert import LINE, Converted
from feature_repo.events.log import EVENT_ID
from feature_repo.events.quarantine import QUARANTINE

FILE = "_file"

# A commit looks every id up in the whole table: fewer and larger ones cost less, and hold others up longer.
COMMIT_ROWS = 100_000


@dataclass
class Staged:
    """What is on disk so far.

    Attributes
    ----------
    rows
        Table, or ``quarantine`` -> rows.
    refused
        Refused rows by reason.
    places
        Where each reason was met first: file and line.
    ignored
        Rows left out.
    rules
        How often a rule applied.
    """

    folder: Path
    rows: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    places: dict[str, str] = field(default_factory=dict)
    ignored: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    _files: dict[str, list[Path]] = field(default_factory=dict)

    @property
    def read(self) -> int:
        """Rows seen: good, refused and left out."""
        return self.rows.total() + self.ignored

    def add(self, converted: Converted, file_number: int) -> None:
        """Put a piece beside the others."""
        for name, table in converted.tables.items():
            self._write(name, table.append_column(FILE, pa.array([file_number] * len(table), pa.int32())))
        self._write(QUARANTINE, converted.refused)
        for reason, place in zip(
            converted.refused["reason"].to_pylist(),
            converted.refused.select(["source", "line"]).to_pylist(),
            strict=True,
        ):
            self.refused[reason] += 1
            self.places.setdefault(reason, f"{place['source']}, line {place['line']}")
        self.ignored += converted.ignored
        self.rules += converted.rules

    def batches(self, name: str) -> Iterator[pa.Table]:
        """Rows of a table again, in their order, as many as one commit takes."""
        waiting: list[pa.Table] = []
        for path in self._files.get(name, []):
            waiting.append(pq.read_table(path))
            if sum(map(len, waiting)) >= COMMIT_ROWS:
                yield pa.concat_tables(waiting)
                waiting = []
        if waiting:
            yield pa.concat_tables(waiting)

    def paths(self, name: str) -> list[str]:
        """Parquet files of a table's rows."""
        return [str(path) for path in self._files.get(name, [])]

    def number_repeats(self, name: str, connection: duckdb.DuckDBPyConnection) -> None:
        """Find the rows of a table that are alike within their file; `renamed` tells them apart."""
        files = self.paths(name)
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE repeats AS SELECT {FILE}, {LINE}, "
            f"row_number() OVER (PARTITION BY {FILE}, {EVENT_ID} ORDER BY {LINE}) AS n "
            f"FROM read_parquet($files) QUALIFY n > 1",
            {"files": files},
        )

    def _write(self, name: str, table: pa.Table) -> None:
        if not len(table):
            return
        files = self._files.setdefault(name, [])
        path = self.folder / f"{name}-{len(files):06}.parquet"
        try:
            pq.write_table(table, path, compression="zstd", compression_level=1)
        except OSError as error:
            raise SettingsError(
                f"What was read cannot be kept below {self.folder.parent}: {error}",
                hint="make room there, or set PORTRAIT_HOME; nothing was imported.",
            ) from None
        files.append(path)
        self.rows[name] += len(table)


def renamed(batch: pa.Table, connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Rows with ``-2``, ``-3`` behind the ids of those that repeat an earlier row of their file."""
    connection.register("batch", batch.select([FILE, LINE, EVENT_ID]))
    ids = connection.sql(
        f"SELECT {EVENT_ID} || if(n IS NULL, '', '-' || n) AS id FROM batch LEFT JOIN repeats USING ({FILE}, {LINE}) "
        f"ORDER BY {FILE}, {LINE}"
    ).to_arrow_table()["id"]
    connection.unregister("batch")
    return batch.set_column(batch.column_names.index(EVENT_ID), EVENT_ID, pc.cast(ids, pa.string()))


@contextmanager
def staging(settings: Settings) -> Iterator[Staged]:
    """Make a place below the home's ``tmp``, and remove it whatever happens."""
    folder = settings.home / "tmp" / f"import-{secrets.token_hex(6)}"
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield Staged(folder)
    finally:
        with suppress(OSError):
            shutil.rmtree(folder)
