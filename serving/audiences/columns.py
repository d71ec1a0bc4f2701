"""One column of everybody, as sets of people: who has which value of a tag, whose number is how large.

People are numbers from 0, the places of their rows in the snapshot. Sets are Roaring bitmaps (Chambi, Lemire, Kaser,
Godin: Better bitmap performance with Roaring bitmaps, Software: Practice and Experience 46, 2016).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap

from serving.audiences.selection import Number

# A range of a sorted column is whole blocks, whose people are one bitmap each, and two ends, which are few people.
BLOCKS = 64

People = npt.NDArray[np.uint32]
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True, eq=False)
class Tags:
    """A column of texts, or of yes and no.

    Attributes
    ----------
    holders
        Value -> who has it.
    known
        Who has any.
    boolean
        Whether its values are yes and no.
    """

    holders: Mapping[str | bool, BitMap]
    known: BitMap
    boolean: bool


@dataclass(frozen=True, eq=False)
class Numbers:
    """A column of numbers, sorted.

    Attributes
    ----------
    values
        ``int64[n]`` or ``float64[n]``, ascending, of those who have one; NaN is none.
    people
        ``uint32[n]``: whose.
    blocks
        The people of each of the at most ``BLOCKS`` parts of the column.
    known
        All of them.
    """

    values: npt.NDArray[Any]
    people: People
    blocks: tuple[BitMap, ...]
    known: BitMap

    def between(
        self, low: Number | None = None, high: Number | None = None, *, above: bool = False, below: bool = False
    ) -> BitMap:
        """Return whose number is between two bounds; they belong to it unless ``above`` or ``below`` says otherwise."""
        start = 0 if low is None else self._place(low, after=above)
        stop = len(self.values) if high is None else self._place(high, after=not below)
        return self._range(start, max(start, stop))

    def _place(self, bound: Number, *, after: bool) -> int:
        side = "right" if after else "left"
        if self.values.dtype.kind == "f":
            return int(np.searchsorted(self.values, float(bound), side=side))  # type: ignore[call-overload]
        whole = math.ceil(bound)
        if not _LEAST <= whole <= _MOST:
            return 0 if whole < _LEAST else len(self.values)
        # No whole number is 2.5: those from 3 on are behind it, however it was compared.
        side = side if whole == bound else "left"
        return int(np.searchsorted(self.values, np.int64(whole), side=side))  # type: ignore[call-overload]

    def _range(self, start: int, stop: int) -> BitMap:
        size = block_size(len(self.values))
        first, last = -(-start // size), stop // size
        if first >= last:
            return people_of(self.people[start:stop])
        ends = (self.people[start : first * size], self.people[last * size : stop])
        return BitMap.union(*map(people_of, ends), *self.blocks[first:last])


Column = Tags | Numbers


def block_size(people: int) -> int:
    """How many people a block of a column holds."""
    return max(1, -(-people // BLOCKS))


def people_of(numbers: People) -> BitMap:
    """Return a set of people from their numbers, in any order."""
    return BitMap(array("I", np.sort(numbers).tobytes()))


def column_of(values: pa.Array, everyone: People) -> Column | None:
    """Make a column of some people's values; None for a type audiences do not select by.

    Parameters
    ----------
    values
        Texts, booleans, integers or floats; NULL and NaN: not known.
    everyone
        Whose, ``uint32[n]``, ascending.
    """
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind) or kind == pa.null():
        return _tags(values.cast(kind), everyone)
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return _numbers(values.cast(pa.int64()), everyone)
    if pa.types.is_floating(kind):
        return _numbers(pc.if_else(pc.is_nan(values), None, values).cast(pa.float64()), everyone)
    return None


def _tags(values: pa.Array, everyone: People) -> Tags:
    encoded = values.dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(-1, len(encoded.dictionary)), side="right")
    found = [value if isinstance(value, bool) else str(value) for value in encoded.dictionary.to_pylist()]
    holders = {
        value: people_of(everyone[order[start:stop]]) for value, start, stop in zip(found, ends, ends[1:], strict=False)
    }
    known = people_of(everyone[order[ends[0] :]])
    return Tags(holders, known, boolean=pa.types.is_boolean(values.type))


def _numbers(values: pa.Array, everyone: People) -> Numbers:
    there = values.is_valid().to_numpy(zero_copy_only=False)
    plain = values.drop_null().to_numpy(zero_copy_only=False)
    order = np.argsort(plain, kind="stable")
    people = everyone[there][order]
    size = block_size(len(people))
    blocks = tuple(people_of(people[start : start + size]) for start in range(0, len(people), size))
    return Numbers(plain[order], people, blocks, people_of(people))
