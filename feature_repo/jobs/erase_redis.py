"""A person leaves Redis: keys, queued events, and the file that its server appends writes to."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

from feature_repo.core.clock import SECOND, Clock
from feature_repo.core.errors import StoreUnavailableError

CONSUMERS = "portrait:consumers"
STREAMS = b"portrait:events:*"
DEAD_AFTER_S = 10
PAGE = 1_000

_PASSES = 20
_POLL_S = 0.05

Pause = Callable[[float], None]


def wait_for_consumers(client: Any, clock: Clock, count: int, *, wait_s: float, pause: Pause = time.sleep) -> int:
    """Wait until every live consumer has seen ``count`` tombstones; return how many there are.

    A consumer writes ``{"seen_tombstones": n, "at_us": t}`` under its name into the hash ``portrait:consumers``; one
    that has been silent for more than 10 s is dead.

    Raises
    ------
    StoreUnavailableError
        One of them had not after ``wait_s``.
    """
    until = clock.now_us() + round(wait_s * SECOND)
    while True:
        now = clock.now_us()
        live = {name: facts for name, facts in _consumers(client) if now - facts["at_us"] <= DEAD_AFTER_S * SECOND}
        behind = [name for name, facts in live.items() if facts["seen_tombstones"] < count]
        if not behind:
            return len(live)
        if now >= until:
            raise StoreUnavailableError(
                f"Consumer '{behind[0]}' has not taken note of who was erased after {wait_s:g} s.",
                hint="see what holds it up, or stop it; then run the command again: it goes on where it stopped.",
            )
        pause(_POLL_S)


def _consumers(client: Any) -> Iterator[tuple[str, dict[str, int]]]:
    for name, text in client.hgetall(CONSUMERS).items():
        # Whoever says nothing that can be read has not said that it is alive.
        with suppress(ValueError, KeyError, TypeError):
            facts = json.loads(text)
            found = {key: int(facts[key]) for key in ("seen_tombstones", "at_us")}
            yield name.decode("utf-8", "replace"), found


def keys_naming(client: Any, needle: bytes) -> set[bytes]:
    """Keys of any kind that contain ``needle``."""
    return set(client.scan_iter(match=b"*" + needle + b"*", count=PAGE))


def delete_keys(client: Any, needle: bytes) -> int:
    """Delete keys that contain ``needle``, until there are none; return how many there were.

    Raises
    ------
    StoreUnavailableError
        Others write them again and again.
    """
    deleted = 0
    for _ in range(_PASSES):
        found = [*keys_naming(client, needle)]
        if not found:
            return deleted
        deleted += sum(client.unlink(*found[start : start + PAGE]) for start in range(0, len(found), PAGE))
    raise StoreUnavailableError(
        "Somebody writes keys of the erased person again and again.",
        hint="is a consumer or a job of an older version running? Stop it, and run the command again.",
    )


def queued_naming(client: Any, needle: bytes) -> dict[bytes, list[bytes]]:
    """Entries of the streams of events that contain ``needle``: stream -> ids."""
    found = {}
    for stream in sorted(set(client.scan_iter(match=STREAMS, count=PAGE, _type="stream"))):
        ids = [entry for entry, fields in entries(client, stream) if any(needle in value for value in fields.values())]
        if ids:
            found[stream] = ids
    return found


def delete_queued(client: Any, needle: bytes) -> int:
    """Delete queued events that contain ``needle``; return how many."""
    deleted = 0
    for stream, ids in queued_naming(client, needle).items():
        deleted += sum(client.xdel(stream, *ids[start : start + PAGE]) for start in range(0, len(ids), PAGE))
    return deleted


def entries(client: Any, stream: bytes) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    """Entries of a stream, a page at a time."""
    start = b"-"
    while page := client.xrange(stream, start, count=PAGE):
        yield from page
        start = b"(" + page[-1][0]


def forget_writes(client: Any, clock: Clock, *, folder: Path | None, wait_s: float, pause: Pause = time.sleep) -> bool:
    """Make the server write anew what it keeps on disk, and wait; return whether it keeps anything.

    Parameters
    ----------
    folder
        Where the server keeps it, if that can be seen from here: then files of before are waited for to go.

    Raises
    ------
    StoreUnavailableError
        The server failed to, or was not done after ``wait_s``.
    """
    with suppress(redis.ResponseError):  # it holds the first words of slow commands, and their keys
        client.slowlog_reset()
    if not client.info("persistence").get("aof_enabled"):
        return False
    with suppress(redis.ResponseError):  # one is under way, or another child is; what is scheduled is waited for
        client.bgrewriteaof()
    # A rewrite that was under way already began before the last deletion: a second one begins after it.
    _settle(client, clock, wait_s, pause)
    with suppress(redis.ResponseError):
        client.bgrewriteaof()
    _settle(client, clock, wait_s, pause)
    _wait(clock, wait_s, pause, lambda: folder is None or _only_current(folder))
    return True


def _settle(client: Any, clock: Clock, wait_s: float, pause: Pause) -> None:
    def done() -> bool:
        facts = client.info("persistence")
        return not facts["aof_rewrite_in_progress"] and not facts.get("aof_rewrite_scheduled", 0)

    _wait(clock, wait_s, pause, done)
    if client.info("persistence").get("aof_last_bgrewrite_status") != "ok":
        raise StoreUnavailableError(
            "Redis could not rewrite its append-only file, which names the erased person still.",
            hint="see its log (is the disk full?), then run the command again.",
        )


def _wait(clock: Clock, wait_s: float, pause: Pause, done: Callable[[], bool]) -> None:
    until = clock.now_us() + round(wait_s * SECOND)
    while not done():
        if clock.now_us() >= until:
            raise StoreUnavailableError(
                f"Redis had not rewritten its append-only file after {wait_s:g} s.",
                hint="run the command again when it is less busy.",
            )
        pause(_POLL_S)


def _only_current(folder: Path) -> bool:
    """Whether the folder of the append-only file holds what its manifest names, and nothing else."""
    manifests = [*folder.glob("*.manifest")]
    if not manifests:
        return True
    named = {line.split()[1] for line in manifests[0].read_text("utf-8").splitlines() if line.startswith("file ")}
    return {file.name for file in folder.iterdir()} <= named | {manifests[0].name}
