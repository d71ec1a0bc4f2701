"""Splits by time, with an embargo that follows from when each label is final."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Instants: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Split:
    """Which rows serve what, as masks over the rows.

    Attributes
    ----------
    fit, valid
        Rows of training to fit on while rounds and calibration are chosen on ``valid``; no label of ``fit`` is decided
        after the first instant of ``valid``.
    train, test
        All rows to fit the final model on, and the rows it is measured on; no label of ``train`` is decided after the
        first instant of ``test``. Rows in neither are embargoed.
    cut
        The first instant of ``test``, in microseconds.
    """

    fit: Mask
    valid: Mask
    train: Mask
    test: Mask
    cut: int

    @property
    def roles(self) -> npt.NDArray[np.str_]:
        """``train``, ``test`` or ``embargo`` for each row."""
        return np.select([self.train, self.test], ["train", "test"], "embargo")


def split_by_time(at: Instants, known_at: Instants, *, end: int, holdout: int, validation: int) -> Split:
    """Split rows by their instants.

    Parameters
    ----------
    at, known_at
        When each row is observed, and when its label is final; microseconds.
    end
        How far the log reaches; microseconds.
    holdout, validation
        Lengths of the test stretch before ``end`` and of the validation stretch before that; microseconds.

    >>> at, known_at = np.array([0, 2, 5, 7, 9]), np.array([2, 6, 7, 9, 10])
    >>> split = split_by_time(at, known_at, end=10, holdout=2, validation=4)
    >>> split.roles.tolist(), split.fit.tolist()
    (['train', 'train', 'train', 'embargo', 'test'], [True, False, False, False, False])
    """
    cut = end - holdout
    train = known_at <= cut
    return Split(
        fit=known_at <= cut - validation,
        valid=train & (at >= cut - validation),
        train=train,
        test=at >= cut,
        cut=cut,
    )
