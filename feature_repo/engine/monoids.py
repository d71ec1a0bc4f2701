"""States of aggregations: how raw events become one, how states merge, what nothing is.

Each monoid is read in two ways, and the laws and parity tests hold the two equal. Offline a window may end at any past
instant: it is a range of a sorted history (:mod:`feature_repo.engine.past`), merged from single events. Online every
window ends now and history is folded into tiles beforehand, which leaves two kinds:

- a :class:`TileMonoid` is kept once per tile with events (counts, sums, extremes);
- an :class:`EntityMonoid` is kept once per entity, since of equal things only the latest can be in a window that ends
  now: the last event, each distinct value with the tile it was last seen in, one decayed sum.

State of several entities is :class:`Records`: structured rows beside the entity each belongs to.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_repo.core.errors import DeclarationError
from feature_repo.engine.past import Past, portions, spread
from feature_repo.engine.splicing import opaque, taken

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

INT = "i8"
FLOAT = "f8"
TIME = "time"
TEXT = "text"
BOOL = "bool"
NUMPY_TYPES: dict[str, Any] = {INT: np.int64, FLOAT: np.float64, TIME: np.int64, TEXT: np.object_, BOOL: np.bool_}
SQL_TYPES = {INT: "BIGINT", FLOAT: "DOUBLE", TIME: "BIGINT", TEXT: "VARCHAR", BOOL: "BOOLEAN"}
ARROW_TYPES = {INT: pa.int64(), FLOAT: pa.float64(), TIME: pa.int64(), TEXT: pa.string(), BOOL: pa.bool_()}
_INSTANTS = pa.timestamp("us", "UTC")

MONOIDS: dict[str, type[Monoid]] = {}

BLOCK = 64
LONG = 4 * BLOCK


@dataclass(frozen=True)
class Records:
    """State records of several entities.

    Attributes
    ----------
    owner
        Position of the entity each record belongs to; shape ``[m]``.
    data
        Structured array, shape ``[m]``.
    """

    owner: Ints
    data: Array

    def __getitem__(self, chosen: Any) -> Records:
        """Return records by mask or by position."""
        return Records(self.owner[chosen], taken(self.data, chosen))

    @classmethod
    def joined(cls, parts: Sequence[Records]) -> Records:
        """Return the records of all parts."""
        data = np.concatenate([opaque(part.data) for part in parts]).view(parts[0].data.dtype)
        return cls(np.concatenate([part.owner for part in parts]), data)


@dataclass(frozen=True)
class Events:
    """What states may need of single events besides a column.

    Attributes
    ----------
    ts
        When each happened (us); shape ``[m]``.
    about
        The instant (us) its state refers to: the end of its tile.
    event_id
        Strings; None where no state asks for it.
    """

    ts: Ints
    about: Ints
    event_id: pa.Array | None = None


def runs(*columns: Array) -> Ints:
    """Starts of the runs of equal values in columns sorted together."""
    first = np.ones(len(columns[0]), bool)
    first[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return np.flatnonzero(first)


@dataclass(frozen=True)
class Monoid(ABC):
    """The state one column of events becomes.

    Attributes
    ----------
    column
        Event column it reads; empty for whole rows.
    kind
        What its values are: ``"i8"``, ``"f8"``, ``"time"`` (us), ``"text"`` or ``"bool"``; the input is cast to it.
    half_life
        Microseconds, of states that decay; 0 of the others.
    """

    column: str
    kind: str
    half_life: int = 0

    name: ClassVar[str] = ""
    needs_event_id: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Register the class under its name, if it has one."""
        if "name" in vars(cls):
            MONOIDS[cls.name] = cls

    @property
    def key(self) -> str:
        """Name of the state, e.g. ``sum.f8(amount)``; equal keys are the same state."""
        return f"{self.name}.{self.kind}({self.column})" + (f"@{self.half_life}" if self.half_life else "")

    @property
    def kept(self) -> bool:
        """Whether the state forgets what is older than the view's retention."""
        return True

    @abstractmethod
    def lift_sql(self, column: str, *, ts: str, event_id: str, about: str) -> str:
        """SQL aggregate over raw events, in the form that is stored online.

        ``column``, ``ts`` (BIGINT us) and ``event_id`` (VARCHAR) are input columns, ``about`` the instant (BIGINT us)
        the state refers to, for states that mean something else an hour later.
        """

    @abstractmethod
    def lifted(self, column: pa.Array | None, events: Events) -> pa.Array:
        """Return what :meth:`lift_sql` gives of each single event, of its column as the log has it (None: whole rows).

        The first is for logs, which DuckDB reads from files; this is for the rows of a commit, which are in memory.
        """

    def unit_sql(self, column: str) -> str:
        """SQL of what :meth:`of_past` needs of one event; empty if that is only when it was."""
        return self.input_sql(column)

    @abstractmethod
    def of_past(self, unit: pa.Array, past: Past) -> Array:
        """Return the state of each window at past instants, of shape ``[rows, windows]``.

        ``unit`` holds :meth:`unit_sql` of each event; nothing if there is none. The states are those that
        are read online at the same instant.
        """

    def input_sql(self, column: str) -> str:
        """Return the input column in the state's kind."""
        if self.kind == TIME:
            return f"epoch_us({column})"
        return f"CAST({column} AS {SQL_TYPES[self.kind]})" if self.column else ""

    def input(self, column: pa.Array) -> pa.Array:
        """Return an input column in the state's kind, as :meth:`input_sql` does."""
        return column.cast(_INSTANTS).cast(pa.int64()) if self.kind == TIME else column.cast(ARROW_TYPES[self.kind])


def filled(unit: pa.Array, nothing: Any) -> Array:
    """Return a unit column in numpy, ``nothing`` where it is NULL."""
    found: Array = (unit.fill_null(nothing) if unit.null_count else unit).to_numpy(zero_copy_only=False)
    return found


def known(unit: pa.Array) -> npt.NDArray[np.bool_]:
    """Whether each event has a value."""
    found: npt.NDArray[np.bool_] = unit.is_valid().to_numpy(zero_copy_only=False)
    return found


WIDE, NARROW = 0, 1


class StoredField(ABC):
    """How a tile state is written in one layout of a record.

    Attributes
    ----------
    stored
        Type of the field.
    domain
        Type that stored states are merged in, and ``nothing`` the state of no events in it.
    """

    stored: np.dtype[Any]
    nothing: Any

    @property
    @abstractmethod
    def domain(self) -> np.dtype[Any]:
        """See above."""

    def fits(self, states: Array) -> npt.NDArray[np.bool_]:
        """Whether each state can be written so."""
        return np.ones(len(states), bool)

    @abstractmethod
    def narrowed(self, states: Array) -> Array:
        """Return what is written of states; anything where they do not fit."""

    @abstractmethod
    def widened(self, merged: Array) -> Array:
        """Return stored states, merged or not, as the states they stand for."""


class TileMonoid(Monoid):
    """State kept once per tile: one field of the tile's record."""

    @cached_property
    @abstractmethod
    def fields(self) -> tuple[StoredField, StoredField]:
        """The field in the wide layout and in the narrow one."""

    @property
    @abstractmethod
    def working(self) -> np.dtype[Any]:
        """The type states are merged in."""

    @property
    def identity(self) -> Any:
        """State of no events."""
        return 0

    def of_arrow(self, column: pa.Array) -> Array:
        """Return lifted states as an array of the type :meth:`reduce` takes."""
        states: Array = column.to_numpy(zero_copy_only=False)
        return states

    def lifted(self, column: pa.Array | None, events: Events) -> pa.Array:
        """Return :meth:`units` of the column."""
        units = self.units(pa.nulls(len(events.ts)) if column is None else self.input(column))
        return pa.array(units)

    @property
    @abstractmethod
    def merges_as(self) -> Any:
        """What monoids have in common whose states of one type can be merged at once."""

    @abstractmethod
    def reduce(self, states: Array, starts: Ints) -> Array:
        """Merge runs of states along the first axis; run ``i`` begins at ``starts[i]``, none is empty."""

    @abstractmethod
    def suffixes(self, segments: Array) -> Array:
        """Merge each state of ``[n, w, ...]`` with those behind it along the second axis."""

    @abstractmethod
    def units(self, unit: pa.Array) -> Array:
        """Return the state of each single event."""

    def of_past(self, unit: pa.Array, past: Past) -> Array:
        """Merge the events between the beginnings of two windows once, and the segments then into windows."""
        bounds = np.concatenate([past.lo, past.hi[:, None]], axis=1)
        segments = self.ranges(self.units(unit), bounds[:, :-1].ravel(), bounds[:, 1:].ravel())
        return self.suffixes(segments.reshape(past.lo.shape))

    def ranges(self, states: Array, lo: Ints, hi: Ints) -> Array:
        """Merge ``states[lo[i]:hi[i]]`` for every ``i``.

        Long ranges are made of whole blocks of states, and these of blocks of blocks: the time a range takes grows with
        the logarithm of its length.
        """
        long = hi - lo > LONG
        if not long.any():
            return self.merged(states, lo, hi)
        found = np.empty(len(lo), self.working)
        found[~long] = self.merged(states, lo[~long], hi[~long])
        lo, hi = lo[long], hi[long]
        first, last = -(-lo // BLOCK), hi // BLOCK
        blocks = self.reduce(states, np.arange(0, len(states), BLOCK))
        parts = [
            self.merged(states, lo, first * BLOCK),
            self.ranges(blocks, first, last),
            self.merged(states, last * BLOCK, hi),
        ]
        found[long] = self.reduce(np.stack(parts, axis=1).ravel(), np.arange(0, 3 * len(lo), 3))
        return found

    def merged(self, states: Array, lo: Ints, hi: Ints) -> Array:
        """Return what :meth:`ranges` does, for short ranges."""
        found = np.full(len(lo), np.array(self.identity, self.working))
        some = np.flatnonzero(lo < hi)
        for portion in portions(hi[some] - lo[some]):
            chosen = some[portion]
            positions, starts = spread(lo[chosen], hi[chosen])
            found[chosen] = self.reduce(states[positions], starts)
        return found


class EntityMonoid(Monoid):
    """State kept once per entity: records that merge without regard to their order."""

    record: ClassVar[np.dtype[Any]]

    @abstractmethod
    def of_arrow(self, column: pa.Array, owner: Ints, tile: Ints) -> Records:
        """Return the records of lifted states, one state per element of ``owner`` and ``tile``."""

    @abstractmethod
    def merge(self, records: Records) -> Records:
        """Fold records into those one fold of all events would give, owners ascending."""

    def folded(self, held: Records, fresh: Records) -> Records:
        """Return what :meth:`merge` does of records it returned before, and a few more that it returned."""
        return self.merge(Records.joined([held, fresh]))

    @abstractmethod
    def read(self, records: Records, *, entities: int, since: int, hop: int, at: int) -> Array:
        """Return the state of each entity over the events from the instant ``since`` on, referring to ``at`` (us)."""

    def live(self, records: Records, oldest: int) -> Records:  # noqa: ARG002
        """Return the records that a window starting at tile ``oldest`` or later can still see."""
        return records

    def pack(self, records: Records) -> tuple[bytes, Ints]:
        """Return all records as bytes, and the size of each."""
        return records.data.tobytes(), np.full(len(records.data), self.record.itemsize, np.int64)

    def unpack(self, blobs: Sequence[bytes]) -> Records:
        """Return the records in the bytes of each entity.

        Raises
        ------
        ValueError
            The bytes are no whole number of records.
        """
        counts = np.array([len(blob) for blob in blobs], np.int64) // self.record.itemsize
        return Records(np.repeat(np.arange(len(blobs)), counts), np.frombuffer(b"".join(blobs), self.record))


_KEY = re.compile(r"(?P<name>\w+)\.(?P<kind>\w+)\((?P<column>.*)\)(@(?P<half_life>\d+))?", re.DOTALL)


def monoid_of(key: str) -> Monoid:
    """Return the monoid a state's key names.

    Raises
    ------
    DeclarationError
        The key is none this version knows.

    >>> monoid_of("sum.f8(amount)").column
    'amount'
    """
    found = _KEY.fullmatch(key)
    if found is None or found["name"] not in MONOIDS or found["kind"] not in SQL_TYPES:
        raise DeclarationError(
            f"A stored state is '{key}', which this version does not know.",
            hint="rebuild the state: `portrait jobs materialize --full`.",
        )
    return MONOIDS[found["name"]](found["column"], found["kind"], int(found["half_life"] or 0))
