"""Names of segments, by rule: each takes the name whose archetype is nearest, no two the same one.

An archetype is where shoppers of that name would be, in standard deviations from the average of the logarithms of
recency (high is long ago), frequency and money.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

OTHERS = "others"

ARCHETYPES: dict[str, tuple[float, float, float]] = {
    "champions": (-0.9, 1.1, 0.9),
    "frequent": (-0.5, 0.7, 0.2),
    "loyal": (0.2, 0.3, 0.4),
    "promising": (-0.8, 0.0, 0.0),
    "occasional": (-0.2, -0.8, -0.8),
    "fading": (0.8, -0.2, 0.2),
    "at_risk": (0.9, -1.0, -0.8),
    "hibernating": (2.0, -2.0, -2.5),
}


def names_of(middles: npt.NDArray[np.float64]) -> list[str]:
    """Name segments by their middles, ``float64[k, 3]``, so that the sum of squared distances is least.

    Segments beyond the number of archetypes are ``others``, the last ones.

    >>> names_of(np.array([[2.1, -2.0, -2.6], [-0.8, 1.0, 1.0]]))
    ['hibernating', 'champions']
    """
    known, points = list(ARCHETYPES), np.array(list(ARCHETYPES.values()))
    named = middles[: len(known)]
    costs = ((named[:, None, :] - points[None, :, :]) ** 2).sum(axis=2)
    _, chosen = linear_sum_assignment(costs)
    return [known[place] for place in chosen] + [OTHERS] * (len(middles) - len(named))
