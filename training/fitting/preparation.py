"""What is decided before a task is fitted: inputs, parameters, and whether to go on from the champion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from training.data.dataset import Dataset
from training.declaring.recipe import Recipe
from training.fitting.fit import Fitted, fit
from training.fitting.options import Options

PREPARED = "prepared.json"
DECLARED, FULL_REFIT = "as_declared", "full_refit"


@dataclass(frozen=True, eq=False)
class Prepared:
    """A recipe to fit, and how it was found.

    Attributes
    ----------
    recipe
        What is fitted.
    options
        What was asked for.
    baselines
        What it is compared with besides the task's baselines: the declared recipe, where another one was found; a full
        refit, where the model goes on from an earlier one.
    metrics, texts
        What the run logs: metric -> value, artifact -> content.
    notes
        Sentences for people: what was found, and what it cost where the choice was made.
    continued
        The model, where it went on from an earlier one.
    seconds
        Time that took.
    origin
        The version it went on from, as ``redemption@3``.
    """

    recipe: Recipe
    options: Options = field(default_factory=Options)
    baselines: Mapping[str, Recipe] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    continued: Fitted | None = None
    seconds: float = 0.0
    origin: str = ""

    def fit(self, data: Dataset, *, threads: int) -> Fitted:
        """Return the fitted model."""
        return self.continued or fit(self.recipe, data, threads=threads)

    @property
    def params(self) -> dict[str, str]:
        """What the run logs as parameters."""
        asked = {name: str(value) for name, value in asdict(self.options).items() if value}
        return {**asked, "origin": self.origin} if self.origin else asked

    @property
    def artifacts(self) -> dict[str, str]:
        """What the run keeps, by name: the recipe itself among it, so that the run can be fitted again."""
        if not self.options:
            return {}
        kept = {"options": asdict(self.options), "recipe": asdict(self.recipe), "origin": self.origin}
        return {**self.texts, PREPARED: json.dumps(kept, indent=1)}
