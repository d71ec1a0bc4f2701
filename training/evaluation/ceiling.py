"""The best scores there can be, where somebody knows them: the simulated shop's own probabilities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from feature_repo.events.simulation_plan import kept_plan
from feature_repo.events.simulation_truth import purchase_probability
from training.data.dataset import Dataset
from training.data.labels import AT


def ceiling_of(data: Dataset, settings: Settings) -> npt.NDArray[np.float64] | None:
    """Return the true probability of each test row of a task that has a ceiling; None where nobody knows it.

    It is known if the home's log is one simulated shop, and nothing else.
    """
    if not data.task.ceiling:
        return None
    rows = data.frame.loc[data.test]
    users, at = pa.array(rows[data.key], pa.string()), pa.array(rows[AT], pa.timestamp("us", "UTC"))
    seeds = sorted(int(path.stem) for path in (settings.home / "simulation").glob("*.json"))
    if len(seeds) != 1:
        return None
    plan = kept_plan(settings.home, seeds[0])
    try:
        return None if plan is None else purchase_probability(settings, plan, users, at).to_numpy()
    except DataError:  # other shoppers are among them
        return None
