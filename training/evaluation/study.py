"""Everything measured on a model beyond the metrics its gates read, in one place: for the run, the card, the report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from feature_repo.core.settings import Settings
from training.data.dataset import Dataset
from training.data.log_views import Versions
from training.declaring.objective import BINARY
from training.declaring.recipe import Recipe
from training.evaluation.attributes import attributes_of, versions_for
from training.evaluation.decisions import Decisions, best_f1, decide
from training.evaluation.evaluate import Estimate
from training.evaluation.extras import NOTHING_MORE, Extras
from training.evaluation.fairness import MISSING, PROTECTED, Fairness, available, measure_fairness
from training.evaluation.lift import Decile, deciles, precision_at
from training.evaluation.permutation import Drop, permutation
from training.evaluation.rolling import Origin, Spread, roll, spread
from training.evaluation.slices import SOURCES, Part, cut_rows, measure_slices
from training.evaluation.tallies import Floats, Tallies
from training.evaluation.tenths import Tenth, tenths
from training.fitting.fit import Fitted


@dataclass(frozen=True)
class Study:
    """What was found.

    Attributes
    ----------
    decisions, lift, precision_at
        Of a binary task, see :mod:`training.evaluation.decisions` and :mod:`training.evaluation.lift`.
    tenths
        Of a regression: mean score and answer by tenth of the score.
    slices
        ``"<slice>=<value>"`` -> figures.
    fairness
        Protected attribute -> figures; empty where the log knows none.
    fairness_missing
        Why fairness was not measured; empty if it was.
    origins, spread
        Rolling-origin cross-validation, if it was asked for.
    permutation
        View -> drop, if it was asked for.
    extras
        What was asked for.
    log_versions
        Table -> version the slices and the protected attributes were read at.
    seconds
        Part -> processor seconds it took.
    """

    decisions: Decisions | None
    lift: tuple[Decile, ...]
    precision_at: dict[str, Estimate]
    tenths: tuple[Tenth, ...]
    slices: dict[str, Part]
    fairness: dict[str, Fairness]
    fairness_missing: str
    origins: tuple[Origin, ...]
    spread: dict[str, Spread]
    permutation: dict[str, Drop]
    extras: Extras
    log_versions: Versions
    seconds: dict[str, float] = field(compare=False)

    def metrics(self) -> Iterator[tuple[str, float]]:
        """Yield what is logged as metrics of the run; NaN is left out."""
        for name, value in self._metrics():
            if np.isfinite(value):
                yield name, float(value)

    def _metrics(self) -> Iterator[tuple[str, float]]:
        if self.decisions:
            yield "threshold", self.decisions.threshold
            yield from _ends("", self.decisions.metrics)
        yield from _ends("precision_at/", self.precision_at)
        if self.lift:
            yield from _ends("", {"lift_10pct": self.lift[0].cumulative_lift, "gain_10pct": self.lift[0].gain})
        for name, part in self.slices.items():
            yield from _ends(f"slice/{_plain(name)}/", part.metrics)
        for name, found in self.fairness.items():
            yield from _ends(f"fairness/{name}/gap_", {figure: gap.estimate for figure, gap in found.gaps.items()})
        for n, origin in enumerate(self.origins, start=1):
            yield from _ends(f"rolling/{n}/", origin.metrics)
        for name, each in self.spread.items():
            yield from ((f"rolling/{name}_mean", each.mean), (f"rolling/{name}_deviation", each.deviation))
        for view, drop in self.permutation.items():
            yield f"permutation/{_plain(view)}", drop.mean

    def compact(self) -> dict[str, Any]:
        """Return the figures a script asks for first; the artifact ``evaluation.json`` holds all."""
        found: dict[str, Any] = {"slices": {name: _part(part) for name, part in self.slices.items()}}
        if self.decisions:
            values = {name: estimate.value for name, estimate in self.decisions.metrics.items()}
            found["decision"] = {"threshold": self.decisions.threshold, "policy": self.decisions.policy, **values}
        if self.lift:
            found["lift_10pct"], found["gain_10pct"] = (
                estimate.value for estimate in (self.lift[0].cumulative_lift, self.lift[0].gain)
            )
            found["precision_at"] = {name: estimate.value for name, estimate in self.precision_at.items()}
        found["fairness"] = {name: _fairness(each) for name, each in self.fairness.items()}
        if self.fairness_missing:
            found["fairness"] = {"unavailable": self.fairness_missing}
        if self.origins:
            found["rolling"] = {name: vars(each) for name, each in self.spread.items()}
        if self.permutation:
            found["permutation"] = {view: drop.mean for view, drop in self.permutation.items()}
        return found | {"seconds": round(sum(self.seconds.values()), 2)}


def study(
    data: Dataset,
    fitted: Fitted,
    settings: Settings,
    *,
    extras: Extras = NOTHING_MORE,
    recipe: Recipe | None = None,
    threads: int = 1,
    versions: Versions | None = None,
) -> Study:
    """Measure a fitted model on the test rows of its dataset.

    Parameters
    ----------
    recipe
        What is fitted at earlier origins, if it is not what the task declares.
    versions
        Those of an earlier study, to read what it read; the dataset's, and of other tables the head's, unless given.

    Raises
    ------
    LogError
        A table the slices or the protected attributes are read from is damaged.
    """
    watch = _Watch()
    pinned = versions_for(data, (*SOURCES, *PROTECTED), settings) if versions is None else versions
    scores, valid = _scores(fitted, data, data.test), (fitted.rehearsal or fitted)
    labels, shoppers = data.labels[data.test], data.frame[data.key].to_numpy()[data.test]
    binary, tallies = data.task.objective == BINARY, Tallies.of(shoppers)
    decisions = decide(scores, labels, tallies, threshold=_threshold(valid, data)) if binary else None
    lift = deciles(scores, labels, tallies) if binary else ()
    precisions = precision_at(scores, labels, tallies) if binary else {}
    table = () if binary else tenths(scores, labels, tallies)
    watch.lap("decisions and lift")
    cut = {name: values[data.test] for name, values in cut_rows(data, settings, pinned).items()}
    parts = measure_slices(scores, labels, shoppers, cut)
    watch.lap("slices")
    fairness = _fair(data, scores, labels, shoppers, settings, pinned, decisions) if available() or not binary else {}
    watch.lap("fairness")
    origins = roll(data, recipe or data.task.model, origins=extras.rolling, threads=threads) if extras.rolling else ()
    watch.lap("rolling")
    drops = permutation(data, valid.scorer()) if extras.permute else {}
    watch.lap("permutation")
    return Study(
        decisions=decisions,
        lift=lift,
        precision_at=precisions,
        tenths=table,
        slices=parts,
        fairness=fairness,
        fairness_missing="" if available() or not binary else MISSING,
        origins=origins,
        spread=spread(origins),
        permutation=drops,
        extras=extras,
        log_versions=pinned,
        seconds=watch.laps,
    )


class _Watch:
    """Processor seconds by part."""

    def __init__(self) -> None:
        self._last = time.process_time()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.process_time()
        self.laps[name], self._last = now - self._last, now


def _scores(fitted: Fitted, data: Dataset, rows: npt.NDArray[np.bool_]) -> Floats:
    scorer = fitted.scorer()
    return np.asarray(scorer.score(data.matrix(scorer.columns)[rows]), np.float64)


def _threshold(fitted: Fitted, data: Dataset) -> float:
    """Chosen on the rows before the test rows, whose answers it must not know."""
    return best_f1(_scores(fitted, data, data.valid), data.labels[data.valid])


def _fair(
    data: Dataset,
    scores: Floats,
    labels: npt.NDArray[Any],
    shoppers: npt.NDArray[np.object_],
    settings: Settings,
    versions: Versions,
    decisions: Decisions | None,
) -> dict[str, Fairness]:
    found = attributes_of(data, PROTECTED, settings, versions)
    columns = {each.name: each.column for each in PROTECTED}
    return {
        name: measure_fairness(
            scores,
            labels,
            shoppers,
            values[data.test],
            threshold=decisions.threshold if decisions else None,
            is_input=any(each.partition("__")[2] == columns[name] for each in data.inputs),
        )
        for name, values in found.items()
    }


def _ends(prefix: str, estimates: dict[str, Estimate]) -> Iterator[tuple[str, float]]:
    for name, estimate in estimates.items():
        yield f"{prefix}{name}", estimate.value
        yield f"{prefix}{name}_low", estimate.low
        yield f"{prefix}{name}_high", estimate.high


def _part(part: Part) -> dict[str, Any]:
    return {"rows": part.rows, "positives": part.positives} | {
        name: estimate.value for name, estimate in part.metrics.items()
    }


def _fairness(found: Fairness) -> dict[str, Any]:
    return {
        "groups": {name: group.rows for name, group in found.groups.items()},
        "unknown_rows": found.unknown_rows,
        "is_input": found.is_input,
        "gaps": {
            name: {**asdict(gap.estimate), "chance": gap.chance, "highest": gap.highest, "lowest": gap.lowest}
            for name, gap in found.gaps.items()
        },
        "ratios": found.ratios,
    }


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_-. " else "_" for letter in name)
