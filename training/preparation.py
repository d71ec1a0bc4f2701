"""What is decided before a task is fitted: inputs, parameters, and whether to go on from the champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from training.datasets import Dataset
from training.fit import Fitted, fit
from training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Prepared:
    """A recipe to fit, and how it was found.

    Attributes
    ----------
    recipe
        What is fitted.
    baselines
        What it is compared with besides the task's baselines: the declared recipe, where another one was found.
    params, metrics, texts
        What the run logs: parameter -> value, metric -> value, artifact -> content.
    continued
        The model, where it went on from an earlier one.
    """

    recipe: Recipe
    baselines: Mapping[str, Recipe] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    continued: Fitted | None = None

    def fit(self, data: Dataset, *, threads: int) -> Fitted:
        """Return the fitted model."""
        return self.continued or fit(self.recipe, data, threads=threads)
