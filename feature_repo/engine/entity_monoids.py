"""States kept once per entity: the last event, the distinct values, a decayed sum."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.core.errors import DataError
from feature_repo.engine.monoids import (
    NUMPY_TYPES,
    TEXT,
    Array,
    EntityMonoid,
    Events,
    Ints,
    Records,
    filled,
    known,
    runs,
)
from feature_repo.engine.past import Past, below, firsts
from feature_repo.engine.splicing import Places

MAX_DISTINCT = 65_536
# Shops have few categories, and many events of each.
HASHES_KEPT = 65_536

# After so many half-lives nothing is left of a double.
_FORGOTTEN = 2_200

_INT64 = np.iinfo(np.int64)


class Latest(EntityMonoid):
    """When the last event was, in microseconds since the epoch; over a column, the last event with a value in it."""

    name = "latest"
    record = np.dtype([("at", "<i8")])

    @property
    def kept(self) -> bool:
        """One instant is kept for ever."""
        return False

    def lift_sql(self, column: str, *, ts: str, event_id: str, about: str) -> str:  # noqa: ARG002
        """SQL aggregate over raw events; NULL of none."""
        valued = f" FILTER (WHERE {column} IS NOT NULL)" if self.column else ""
        return f"max({ts}){valued}"

    def lifted(self, column: pa.Array | None, events: Events) -> pa.Array:
        """Return the instant, NULL where there is no value."""
        return pa.array(events.ts, mask=None if column is None else ~known(column))

    def unit_sql(self, column: str) -> str:
        """Whether there is a value, if one is asked for."""
        return f"{column} IS NOT NULL" if self.column else ""

    def of_past(self, unit: pa.Array, past: Past) -> Array:
        """Return the instant of the last event in each range."""
        position, there = past.latest(filled(unit, nothing=False) if self.column else None)
        return np.where(there, past.ts[position], _INT64.min) if len(past.ts) else np.full(there.shape, _INT64.min)

    def of_arrow(self, column: pa.Array, owner: Ints, tile: Ints) -> Records:  # noqa: ARG002
        """Return the instants there are."""
        instants = column.drop_null().to_numpy(zero_copy_only=False)
        return Records(owner[known(column)], instants.astype("<i8").view(self.record))

    def merge(self, records: Records) -> Records:
        """Return the latest of each entity."""
        order = np.lexsort((records.data["at"], records.owner))
        return _last_of_each(records[order])

    def read(self, records: Records, *, entities: int, since: int, hop: int, at: int) -> Array:  # noqa: ARG002
        """Microseconds; the smallest integer where there is none."""
        found = np.full(entities, _INT64.min)
        found[records.owner] = records.data["at"]
        found[found < since] = _INT64.min
        return found


class Decayed(EntityMonoid):
    """A sum in which each value halves per half-life, and the instant it is the sum at: one pair for ever.

    Over no column every event is worth 1.
    """

    name = "decayed"
    record = np.dtype([("value", "<f8"), ("ref", "<i8")])

    @property
    def kept(self) -> bool:
        """What is old decays by itself."""
        return False

    def lift_sql(self, column: str, *, ts: str, event_id: str, about: str) -> str:  # noqa: ARG002
        """SQL aggregate over raw events."""
        weighted = f"sum({self.input_sql(column) or '1.0::DOUBLE'} * {self._weight_sql(ts, about)})"
        return f"{{'value': {weighted}, 'ref': any_value({about})}}"

    def lifted(self, column: pa.Array | None, events: Events) -> pa.Array:
        """Return the value as it is at the end of its tile."""
        values = np.ones(len(events.ts)) if column is None else filled(self.input(column), np.nan)
        weighted = pa.array(values * self._weight(events.ts, events.about))
        return pa.StructArray.from_arrays([weighted, pa.array(events.about)], ["value", "ref"])

    def of_past(self, unit: pa.Array, past: Past) -> Array:
        """Sum up to every event, by doubling how far back the sums reach; a window is the sum at its last event."""
        sums = filled(unit, 0.0).copy() if self.column else np.ones(len(past.ts))
        reach, position = 1, np.arange(len(past.ts))
        while True:
            near = np.flatnonzero(position - reach >= past.first)
            near = near[past.ts[near] - past.ts[near - reach] < _FORGOTTEN * self.half_life]
            if not len(near):
                break
            sums[near] += sums[near - reach] * self._weight(past.ts[near - reach], past.ts[near])
            reach *= 2
        last, there = past.latest()
        if not len(past.ts):
            return np.zeros(there.shape)
        return np.where(there, sums[last] * self._weight(past.ts[last], past.at[:, None]), 0.0)

    def of_arrow(self, column: pa.Array, owner: Ints, tile: Ints) -> Records:  # noqa: ARG002
        """Return the pairs of tiles that have values."""
        value = column.field("value").to_numpy(zero_copy_only=False)
        valued = ~np.isnan(value)
        data = np.empty(int(valued.sum()), self.record)
        data["value"], data["ref"] = value[valued], column.field("ref").to_numpy(zero_copy_only=False)[valued]
        return Records(owner[valued], data)

    def merge(self, records: Records) -> Records:
        """Sum the pairs of each entity at the latest of their instants."""
        order = np.argsort(records.owner, kind="stable")
        records = records[order]
        starts = runs(records.owner)
        if not len(starts):
            return records
        merged = np.empty(len(starts), self.record)
        merged["ref"] = np.maximum.reduceat(records.data["ref"], starts)
        ref = np.repeat(merged["ref"], np.diff(np.append(starts, len(order))))
        merged["value"] = np.add.reduceat(records.data["value"] * self._weight(records.data["ref"], ref), starts)
        return Records(records.owner[starts], merged)

    def _weight(self, ts: Array, at: Any) -> Array:
        left: Array = np.exp2((ts - at) / self.half_life)
        return left

    def read(self, records: Records, *, entities: int, since: int, hop: int, at: int) -> Array:  # noqa: ARG002
        """Return the sum at ``at``; 0 where there is none."""
        found = np.zeros(entities)
        seen = records[records.data["ref"] > since]
        found[seen.owner] = seen.data["value"] * self._weight(seen.data["ref"], at)
        return found

    def _weight_sql(self, ts: str, about: str) -> str:
        return f"pow(2.0, CAST({ts} - ({about}) AS DOUBLE) / {self.half_life})"


class Distinct(EntityMonoid):
    """The distinct values, each as a hash of 64 bits with the tile it was last seen in."""

    name = "distinct"
    record = np.dtype([("tile", "<i4"), ("hash", "<u8")])

    def lift_sql(self, column: str, *, ts: str, event_id: str, about: str) -> str:  # noqa: ARG002
        """SQL aggregate over raw events, with :func:`portable_hash`."""
        values = f"list(DISTINCT CAST({self.input_sql(column)} AS VARCHAR)) FILTER (WHERE {column} IS NOT NULL)"
        return f"list_transform({values}, lambda each: md5_number_lower(each))"

    def lifted(self, column: pa.Array | None, events: Events) -> pa.Array:  # noqa: ARG002
        """Return a list of one hash, or of none where there is no value."""
        texts = pc.dictionary_encode(self.input(column))
        hashes = pa.array([portable_hash(text) for text in texts.dictionary.to_pylist()], pa.uint64())
        ends = np.append(0, np.cumsum(known(texts.indices)))
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), hashes.take(texts.indices.drop_null()))

    def unit_sql(self, column: str) -> str:
        """Return a hash of one query, which need mean nothing to another."""
        return f"CASE WHEN {column} IS NOT NULL THEN hash({column}) END"

    def of_past(self, unit: pa.Array, past: Past) -> Array:
        """Count the events in each range whose value was not seen before in it: those whose last one lies before it.

        Raises
        ------
        DataError
            A window has more than ``MAX_DISTINCT`` values.
        """
        valued = known(unit)
        place = np.concatenate([np.zeros(1, np.int64), np.cumsum(valued)])
        first = firsts(past.entity[valued])
        lo, hi = place[past.lo], np.broadcast_to(place[past.hi][:, None], past.lo.shape)
        # Counted within the entity, numbers are small; behind the last event every range is empty.
        limit = lo - np.append(first, lo.max(initial=0))[lo] + 1
        last = _last_alike(past.entity[valued], filled(unit, 0)[valued], first)
        found: Ints = below(last, lo.ravel(), hi.ravel(), limit.ravel()).reshape(lo.shape)
        if found.max(initial=0) > MAX_DISTINCT:
            raise too_many_distinct(self.column)
        return found

    def of_arrow(self, column: pa.Array, owner: Ints, tile: Ints) -> Records:
        """Return a record per tile and value."""
        hashes = column.flatten().to_numpy(zero_copy_only=False)
        counts = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        data = np.empty(len(hashes), self.record)
        data["tile"], data["hash"] = np.repeat(tile, counts), hashes
        return Records(np.repeat(owner, counts), data)

    def merge(self, records: Records) -> Records:
        """Return each value once, in the latest tile it was seen in.

        Raises
        ------
        DataError
            An entity has more than ``MAX_DISTINCT`` values.
        """
        order = np.lexsort((records.data["tile"], records.data["hash"], records.owner))
        records = records[order]
        starts = runs(records.owner, records.data["hash"])
        return self._bounded(records[np.append(starts[1:], len(order)) - 1] if len(starts) else records)

    def folded(self, held: Records, fresh: Records) -> Records:
        """Return held records, sorted by value, with fresh ones put among them.

        Raises
        ------
        DataError
            An entity has more than ``MAX_DISTINCT`` values.
        """
        starts, stops = (np.searchsorted(held.owner, fresh.owner, side) for side in ("left", "right"))
        places = Places.among(held.data["hash"], starts, stops, fresh.data["hash"])
        data, same = fresh.data.copy(), places.same
        data["tile"][same] = np.maximum(data["tile"][same], held.data["tile"][places.at[same]])
        return self._bounded(Records(places.inserted(held.owner, fresh.owner), places.spliced(held.data, data)))

    def _bounded(self, records: Records) -> Records:
        if len(records.owner) > MAX_DISTINCT and int(np.bincount(records.owner).max()) > MAX_DISTINCT:
            raise too_many_distinct(self.column)
        return records

    def live(self, records: Records, oldest: int) -> Records:
        """Return the values seen since."""
        return records[records.data["tile"] >= oldest]

    def read(self, records: Records, *, entities: int, since: int, hop: int, at: int) -> Array:  # noqa: ARG002
        """Return how many."""
        return np.bincount(records.owner[records.data["tile"] >= since // hop], minlength=entities)


class Last(EntityMonoid):
    """The value of the last event that has one; of events at one instant, that of the greatest ``event_id``."""

    name = "last"
    needs_event_id = True
    record = np.dtype([("at", "<i8"), ("id", "O"), ("value", "O")])

    @property
    def kept(self) -> bool:
        """One value is kept for ever."""
        return False

    def lift_sql(self, column: str, *, ts: str, event_id: str, about: str) -> str:  # noqa: ARG002
        """SQL aggregate over raw events; NULL of none."""
        struct = f"{{'at': {ts}, 'id': {event_id}, 'value': {self.input_sql(column)}}}"
        return f"max({struct}) FILTER (WHERE {column} IS NOT NULL)"

    def lifted(self, column: pa.Array | None, events: Events) -> pa.Array:
        """Return the event, NULL where there is no value."""
        values = self.input(column)
        parts = [pa.array(events.ts), events.event_id, values]
        return pa.StructArray.from_arrays(parts, ["at", "id", "value"], mask=values.is_null())

    def of_past(self, unit: pa.Array, past: Past) -> Array:
        """Return the last value in each range: events of one instant are sorted by id."""
        position, there = past.latest(known(unit))
        found = np.zeros(there.shape, self._read)
        found["known"] = there
        found["value"][there] = unit.take(pa.array(position[there])).to_numpy(zero_copy_only=False)
        return found

    def of_arrow(self, column: pa.Array, owner: Ints, tile: Ints) -> Records:  # noqa: ARG002
        """Return the events there are."""
        found = column.drop_null()
        data = np.empty(len(found), self.record)
        data["at"] = found.field("at").to_numpy(zero_copy_only=False)
        data["id"] = found.field("id").cast(pa.binary()).to_pylist()
        data["value"] = found.field("value").to_pylist()
        return Records(owner[known(column)], data)

    def merge(self, records: Records) -> Records:
        """Return the last of each entity; ids are compared where instants are equal."""
        order = np.lexsort((records.data["at"], records.owner))
        records = records[order]
        starts = runs(records.owner, records.data["at"])
        best = starts.copy()
        ends = np.append(starts[1:], len(order))
        for i in np.flatnonzero(ends - starts > 1).tolist():
            best[i] = max(range(starts[i], ends[i]), key=lambda row: records.data["id"][row])
        return _last_of_each(records[best])

    def read(self, records: Records, *, entities: int, since: int, hop: int, at: int) -> Array:  # noqa: ARG002
        """Return ``value``, and whether it is ``known``."""
        found = np.zeros(entities, self._read)
        seen = records[records.data["at"] >= since]
        found["known"][seen.owner], found["value"][seen.owner] = True, seen.data["value"]
        return found

    def pack(self, records: Records) -> tuple[bytes, Ints]:
        """Return ``i64 at | u32 bytes of the id | id | value`` per record."""
        packed = [self._packed(*row) for row in records.data.tolist()]
        return b"".join(packed), np.array([len(each) for each in packed], np.int64)

    def unpack(self, blobs: Sequence[bytes]) -> Records:
        """Return the record of each entity that has one."""
        owner = np.flatnonzero(np.array([len(blob) for blob in blobs], np.int64))
        data = np.empty(len(owner), self.record)
        for i, entity in enumerate(owner.tolist()):
            data[i] = self._unpacked(blobs[entity])
        return Records(owner, data)

    def _packed(self, at: int, event_id: bytes, value: Any) -> bytes:
        content = value.encode() if self.kind == TEXT else np.array(value, self._numeric).tobytes()
        return at.to_bytes(8, "little", signed=True) + len(event_id).to_bytes(4, "little") + event_id + content

    def _unpacked(self, blob: bytes) -> tuple[int, bytes, Any]:
        at, content = int.from_bytes(blob[:8], "little", signed=True), 12 + int.from_bytes(blob[8:12], "little")
        raw = blob[content:]
        value = raw.decode() if self.kind == TEXT else np.frombuffer(raw, self._numeric)[0].item()
        return at, blob[12:content], value

    @property
    def _read(self) -> np.dtype[Any]:
        return np.dtype([("known", "?"), ("value", NUMPY_TYPES[self.kind])])

    @property
    def _numeric(self) -> np.dtype[Any]:
        stored: np.dtype[Any] = np.dtype(NUMPY_TYPES[self.kind]).newbyteorder("<")
        return stored


@lru_cache(HASHES_KEPT)
def portable_hash(text: str) -> int:
    """Return the hash of a distinct value's text: the last eight bytes of its MD5, little-endian.

    DuckDB's ``md5_number_lower``. Integers are their decimal text, booleans ``true`` and ``false``.

    >>> portable_hash("abc")
    8250560606382298838
    """
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[8:], "little")


def too_many_distinct(column: str) -> DataError:
    """Return the error of a ``count_distinct`` that grew past its limit."""
    return DataError(
        f"count_distinct of column '{column}' has more than {MAX_DISTINCT:,} values for one entity.",
        hint="count a coarser column, shorten its windows, or key the view by more than this entity.",
    )


def _last_alike(entity: Ints, hashes: Array, first: Ints) -> Ints:
    """Number, from 1, of the entity's last event of the same hash before each; 0 if it is the first."""
    order = np.argsort(hashes, kind="stable")  # equal ones stay in the order of entities and times
    before, after = order[:-1], order[1:]
    alike = (hashes[before] == hashes[after]) & (entity[before] == entity[after])
    found = np.zeros(len(entity), np.int64)
    found[after[alike]] = (before - first[before] + 1)[alike]
    return found


def _last_of_each(records: Records) -> Records:
    ends = np.append(runs(records.owner)[1:], len(records.owner)) - 1
    return records[ends] if len(records.owner) else records
