"""Who is held out: a part of an audience that is not addressed, so that what addressing does can be told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from feature_repo.core.errors import DataError
from serving.experiments.split import shares_of

MOST = 0.5


def held_out(campaign: str, users: Sequence[str], share: float) -> npt.NDArray[np.bool_]:
    """Tell who is held out of a campaign: ``bool[n]``.

    A hash of the campaign's name and the pseudonym decides, as in experiments: who is held out once is so in every
    export of the same campaign, and a larger share holds out the same people and others.

    Raises
    ------
    DataError
        The share is not from 0 to one half.

    >>> held_out("spring", ["u_" + "0" * 32, "u_" + "1" * 32, "u_" + "2" * 32], 0.5).tolist()
    [True, True, False]
    """
    if not 0 <= share <= MOST:
        raise DataError(f"A share of {share:g} cannot be held out.", hint=f"hold out 0 to {MOST:g}; 0.1 is usual.")
    return np.fromiter(shares_of(f"holdout:{campaign}", users), np.float64, len(users)) < share
