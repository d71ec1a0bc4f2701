"""Keep what a reader owns of the stream while a batch is committed and folded, however long that takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.leases import TTL_MS
from feature_repo.events.stream.channel import Reader

# Two may fail before a lease ends. Who is stopped by the system, or has died, keeps nothing: this thread is too.
EVERY_S = TTL_MS / 4_000


@contextmanager
def keeping(reader: Reader, *, every_s: float = EVERY_S) -> Iterator[None]:
    """Keep what is owned until the end of the block, from a thread."""
    done = Event()
    thread = Thread(target=_keep, args=(reader, done, every_s), name="leases", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _keep(reader: Reader, done: Event, every_s: float) -> None:
    while not done.wait(every_s):
        with suppress(StoreUnavailableError):  # the consumer's own next question says so
            reader.keep()
