"""How numbers of tile states are written: as they are, or in fewer bytes where nothing is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from feature_repo.core.errors import DataError
from feature_repo.engine.monoids import Array, StoredField

_LARGEST = np.iinfo(np.int32).max
# Sums of hundredths differ from hundredths in their last digits; parity allows a thousand times as much.
_RELATIVE = 1e-12
_SUMMED = np.dtype(np.int64)


@dataclass(frozen=True)
class Plain(StoredField):
    """Numbers, or structs of them, as they are merged."""

    stored: np.dtype[Any]
    nothing: Any

    @property
    def domain(self) -> np.dtype[Any]:
        """Their own type."""
        return self.stored

    def narrowed(self, states: Array) -> Array:
        """Return the states."""
        return states

    def widened(self, merged: Array) -> Array:
        """Return the states."""
        return merged


@dataclass(frozen=True)
class Counts(StoredField):
    """Counts in fewer bytes than the eight they are added in."""

    stored: np.dtype[Any]
    nothing: int = 0
    domain: np.dtype[Any] = _SUMMED

    def fits(self, states: Array) -> npt.NDArray[np.bool_]:
        """Whether each count is small enough."""
        return np.asarray(states <= np.iinfo(self.stored).max, bool)

    def narrowed(self, states: Array) -> Array:
        """Return counts in the stored type.

        Raises
        ------
        DataError
            A count does not fit the four bytes of the wide layout.
        """
        if self.stored.itemsize == np.dtype(np.uint32).itemsize and not self.fits(states).all():
            raise DataError(
                f"One tile of one entity counts {int(states.max()):,} events.",
                hint="key the view by more than this entity, or shorten its hop.",
            )
        return states.astype(self.stored)

    def widened(self, merged: Array) -> Array:
        """Return counts of eight bytes."""
        return merged.astype(_SUMMED, copy=False)


@dataclass(frozen=True)
class _Narrow(StoredField):
    """Numbers in four bytes.

    Attributes
    ----------
    identity
        The state of no events, which of an extreme is outside four bytes.
    nothing
        What is stored for it: an integer that merges as it does.
    """

    identity: Any
    nothing: int
    stored: np.dtype[Any] = np.dtype("<i4")  # noqa: RUF009 - a dtype is immutable

    @property
    def domain(self) -> np.dtype[Any]:
        """Sums outgrow four bytes, extremes do not."""
        return self.stored if self.nothing else _SUMMED

    def _written(self, states: Array, integers: Array) -> Array:
        return np.where(states == self.identity, self.nothing, integers).astype(self.stored)


class Whole(_Narrow):
    """Integers in four bytes."""

    def fits(self, states: Array) -> npt.NDArray[np.bool_]:
        """Whether each is small enough, or is the identity."""
        small = (states > -_LARGEST) & (states < _LARGEST)
        return np.asarray(small | (states == self.identity), bool)

    def narrowed(self, states: Array) -> Array:
        """Return four bytes of each."""
        return self._written(states, states)

    def widened(self, merged: Array) -> Array:
        """Return integers of eight bytes."""
        wide: Array = merged.astype(np.int64, copy=False)
        return np.where(merged == self.nothing, self.identity, wide) if self.nothing else wide


class Hundredths(_Narrow):
    """Floats that are whole hundredths, as integers of four bytes."""

    def fits(self, states: Array) -> npt.NDArray[np.bool_]:
        """Whether each is a small number of hundredths, but for its last digits, or is the identity."""
        finite = np.where(np.isfinite(states), states, 0.0)
        scaled = np.rint(finite * 100.0)
        near = np.abs(scaled / 100.0 - finite) <= _RELATIVE * np.abs(finite)
        small = near & (np.abs(scaled) < _LARGEST) & np.isfinite(states)
        return np.asarray(small | (states == self.identity), bool)

    def narrowed(self, states: Array) -> Array:
        """Return hundredths of each."""
        scaled = np.rint(np.where(np.isfinite(states), states, 0.0) * 100.0)
        return self._written(states, np.clip(scaled, -_LARGEST, _LARGEST))

    def widened(self, merged: Array) -> Array:
        """Return floats: of so many hundredths the nearest there is."""
        wide: Array = merged / 100.0
        if self.nothing:
            wide[merged == self.nothing] = self.identity
        return wide
