"""What a stream of events is to those who write and read it, whichever broker carries it.

A stream has a fixed number of partitions, each a log of entries with rising positions. An event's partition follows
from its shopper, so one shopper's events stay in order and one consumer sees all of them. Reading changes nothing in a
partition: a reader goes on from the last acknowledged position, so what was read and not acknowledged comes again,
before anything newer, to whoever owns the partition then.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from feature_repo.privacy.pseudonyms import is_pseudonym

Ints: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Message:
    """One event on its way.

    Attributes
    ----------
    event_type
        Event type: the table it belongs to.
    partition
        See :func:`partition_of`.
    body
        JSON object, UTF-8: columns of the type that are known; instants as integer microseconds since the epoch.
        Shoppers are pseudonyms.
    """

    event_type: str
    partition: int
    body: bytes


@dataclass(frozen=True)
class Entries:
    """Entries of one partition in order of position, as they were read.

    Attributes
    ----------
    partition
        Partition.
    app_id
        What positions are positions of: the partition of this incarnation of the stream. One made anew has another.
    positions
        Rising; int64.
    arrived
        When the broker took each entry (us); int64.
    event_types
        Of each entry; empty where the writer named none.
    bodies
        JSON objects, as written; anything, if others write to the stream.
    """

    partition: int
    app_id: str
    positions: Ints
    arrived: Ints
    event_types: Sequence[str]
    bodies: Sequence[bytes]


class Channel(Protocol):
    """The writing end."""

    @property
    def partitions(self) -> int:
        """How many partitions the stream has."""
        ...

    def send(self, messages: Sequence[Message]) -> None:
        """Append messages; return when the broker holds all of them.

        Raises
        ------
        BufferFullError
            The stream is at its bound. ``accepted`` says how many of the messages, from the first on, were taken.
        StoreUnavailableError
            The broker does not answer; some messages may have been taken. Sending all again doubles nothing: events
            carry ids.
        """
        ...

    def close(self) -> None:
        """Give connections back."""
        ...


class Reader(Protocol):
    """The reading end of one consumer process. Partitions are shared out among those who read at the same time."""

    @property
    def partitions(self) -> int:
        """How many partitions the stream has."""
        ...

    def owned(self) -> frozenset[int]:
        """Partitions this reader owns now; claims and gives up what it has to."""
        ...

    def keep(self) -> None:
        """Keep what is owned while other work is done; what was lost stays lost. Any thread may call it.

        Raises
        ------
        StoreUnavailableError
            The broker does not answer.
        """
        ...

    def read(self, most: int, *, wait_s: float) -> list[Entries]:
        """Return up to ``most`` entries of owned partitions, behind the last ones read; wait for the first.

        Raises
        ------
        StoreUnavailableError
            The broker does not answer. Go on with a new reader: it starts from what was acknowledged.
        """
        ...

    def acknowledge(self, upto: Mapping[int, int]) -> None:
        """Let go of entries of partitions up to a position: they are in the log, and folded."""
        ...

    def lag(self) -> int:
        """Entries of owned partitions that were not acknowledged; of all partitions if none is owned."""
        ...

    def drained(self) -> bool:
        """Whether nothing waits in the stream, in others' partitions neither; False if none is owned."""
        ...

    def close(self) -> None:
        """Give up all partitions, so that others take over at once."""
        ...


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of a shopper's pseudonym, or of another text where there is no shopper.

    >>> partition_of("u_0000000a" + 24 * "0", 4)
    2
    """
    number = int(key[2:10], 16) if is_pseudonym(key) else zlib.crc32(key.encode())
    return number % partitions
