"""Prove that nothing names a person: every file below the home, decoded, and all that Redis holds."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.events.removal import comparable, is_text
from feature_repo.jobs.erase_redis import entries

BLOCK = 1 << 20
KEYS_AT_ONCE = 500

_COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
_ARCHIVES = {".zip", ".npz"}
# A raw id of digits is a price, a size or an item's number in most places: there only what stands beside a name like
# user_id is taken for it. One with letters, or a long one, is taken for the id wherever it stands alone.
_LONG = 10
_NAMES = rb"(?:user|customer|shopper|household|raw)_?(?:id|key)?"


@dataclass(frozen=True)
class Needles:
    """What to look for.

    Attributes
    ----------
    pseudonym
        Without its prefix: hex digits.
    raw
        Raw id, if it is known.
    """

    pseudonym: str
    raw: str | None = None

    @property
    def everywhere(self) -> bool:
        """Whether the raw id is distinctive enough to be looked for in any place."""
        return self.raw is not None and (len(self.raw) >= _LONG or not self.raw.isdecimal())

    def names(self, text: bytes) -> bool:
        """Whether some bytes contain one of them."""
        if self.pseudonym.encode() in text:
            return True
        # A search for plain bytes is quick; the pattern is not.
        return self.raw is not None and self.raw.encode() in text and self._token.search(text) is not None

    @cached_property
    def _token(self) -> re.Pattern[bytes]:
        token = rb"(?<![0-9A-Za-z_-])" + re.escape((self.raw or "").encode()) + rb"(?![0-9A-Za-z_-])"
        return re.compile(token if self.everywhere else _NAMES + rb"[\"']?\s*[:=]\s*[\"']?" + token)

    def in_column(self, column: pa.ChunkedArray | pa.Array, *, of_users: bool) -> bool:
        """Whether a column of texts holds one of them."""
        found = pc.any(pc.match_substring(column, self.pseudonym)).as_py()
        if not found and self.raw is not None and (of_users or self.everywhere):
            found = pc.any(pc.equal(column.cast(pa.large_string()), self.raw)).as_py()
        return bool(found)


@dataclass(frozen=True)
class Scan:
    """What was looked through, and where something was found.

    Attributes
    ----------
    files, keys
        How many files, and keys of Redis.
    places
        Files relative to the home, and kinds of keys; what could not be read counts as found. They name nobody.
    """

    files: int
    keys: int
    places: tuple[str, ...]


def scan(home: Path, client: Any, needles: Needles) -> Scan:
    """Look through a home and a Redis.

    Raises
    ------
    redis.RedisError
        The server does not answer.
    """
    files, places = 0, []
    for file in sorted(path for path in home.rglob("*") if path.is_file()):
        files += 1
        name = str(file.relative_to(home))
        if needles.names(os.fsencode(name)):
            places.append("a file whose name names the person")
        elif _file_names(file, needles):
            places.append(name)
    keys, kinds = _scan_redis(client, needles)
    return Scan(files, keys, (*places, *kinds))


def _file_names(file: Path, needles: Needles) -> bool:
    try:
        if file.suffix in _ARCHIVES and zipfile.is_zipfile(file):
            return _archive_names(file, needles)
        if file.suffix == ".parquet" and _parquet_names(file, needles):
            return True
        with file.open("rb") as raw:
            found = _stream_names(raw, needles)
        if not found and (codec := _COMPRESSED.get(file.suffix)):
            with pa.CompressedInputStream(pa.OSFile(str(file)), codec) as opened:
                found = _stream_names(opened, needles)
    except FileNotFoundError:  # a job's own file, gone by now
        return False
    except (OSError, pa.ArrowException, zipfile.BadZipFile):
        return file.exists()
    return found


def _parquet_names(file: Path, needles: Needles) -> bool:
    with pq.ParquetFile(file) as opened:
        schema = opened.schema_arrow
        texts = [field.name for field in schema if is_text(field.type)]
        nested = [field.name for field in schema if pa.types.is_nested(field.type)]
        for group in range(opened.num_row_groups):
            for name in texts:
                column = comparable(opened.read_row_group(group, [name]))[name]
                if needles.in_column(column, of_users="user" in name):
                    return True
            if nested and needles.names(str(opened.read_row_group(group, nested).to_pylist()).encode()):
                return True
    return False


def _archive_names(file: Path, needles: Needles) -> bool:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            with archive.open(member) as opened:
                if _stream_names(opened, needles):
                    return True
    return False


def _stream_names(stream: BinaryIO | Any, needles: Needles) -> bool:
    kept, tail = 256 + len(needles.raw or ""), b""
    while block := stream.read(BLOCK):
        text = tail + block
        if needles.names(text):
            return True
        tail = text[-kept:]
    return False


def _scan_redis(client: Any, needles: Needles) -> tuple[int, list[str]]:
    seen, found = set(), set()
    for keys in _pages(client):
        seen.update(keys)  # a key may come twice
        for key, kind, texts in _contents(client, keys):
            if needles.names(key) or any(map(needles.names, texts)):
                found.add(f"redis: a {kind}")
    return len(seen), sorted(found)


def _pages(client: Any) -> Iterator[list[bytes]]:
    cursor = 0
    while True:
        cursor, keys = client.scan(cursor, count=KEYS_AT_ONCE)
        if keys:
            yield keys
        if not cursor:
            return


def _contents(client: Any, keys: list[bytes]) -> Iterator[tuple[bytes, str, Iterator[bytes]]]:
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.type(key)
        kinds = [kind.decode() for kind in pipe.execute()]
        for key, kind in zip(keys, kinds, strict=True):
            _ask(pipe, key, kind)
        answers = pipe.execute()
    for key, kind, answer in zip(keys, kinds, answers, strict=True):
        yield key, kind, _flat(answer) if kind != "stream" else _streamed(client, key)


def _ask(pipe: Any, key: bytes, kind: str) -> None:
    if kind == "hash":
        pipe.hgetall(key)
    elif kind == "stream":
        pipe.xlen(key)  # it may be long: read in pages
    elif kind == "set":
        pipe.smembers(key)
    elif kind == "zset":
        pipe.zrange(key, 0, -1)
    elif kind == "list":
        pipe.lrange(key, 0, -1)
    else:
        pipe.get(key)


def _flat(answer: Any) -> Iterator[bytes]:
    if isinstance(answer, bytes):
        yield answer
    elif isinstance(answer, dict):
        yield from _flat([*chain.from_iterable(answer.items())])
    elif isinstance(answer, list | tuple | set):
        for each in answer:
            yield from _flat(each)


def _streamed(client: Any, key: bytes) -> Iterator[bytes]:
    for _, fields in entries(client, key):
        yield from _flat(fields)
