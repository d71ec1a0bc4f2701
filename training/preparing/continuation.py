"""Goes on from the champion: its trees stay, new ones are added; the linear part, which is cheap, is fitted anew.

How many trees are added is seen on the validation slice as far as the champion does not know its answers; where it
knows them, as on an unchanged log, they would end the search at once and make the calibration too steep: then a tenth
of its trees is added, and the calibration stays the champion's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost
from threadpoolctl import threadpool_limits

from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from training.data.dataset import Dataset
from training.data.split import Mask
from training.declaring.recipe import Recipe
from training.fitting.calibration import Choice
from training.fitting.fit import Fitted, Fitting, calibration_of, centred_over
from training.fitting.preparation import FULL_REFIT, Prepared
from training.registry.challenge import QUESTION, has_seen, incomparable, named, question_of
from training.registry.recorded import read_run
from training.runs.tracking import tracking
from training.runs.version import Version, champion_version, find_version
from training.task import KNOWN_AT

LEAST_ROWS = 200
SHARE_ADDED = 10  # one tree for so many


def continued(prepared: Prepared, data: Dataset, settings: Settings, *, origin: str = "") -> Prepared:
    """Return the champion with trees added on a dataset's rows, to be compared with a full refit.

    Parameters
    ----------
    origin
        The version to go on from, as ``redemption@3``, instead of the champion.

    Raises
    ------
    DataError
        There is no champion, or it cannot be gone on from: other inputs, other definitions of them, another question,
        no trees, or it knows answers of the test rows.
    """
    with tracking(settings) as client:
        version = _version(client, settings, data.task.name, origin)
        recipe = _recipe_of(version, data, settings)
        _check(version, recipe, data)
        head, trees = version.parts()
    started = time.monotonic()
    fitted, added = _fitted(recipe, data, head, trees, fresh(version, data), settings.threads)
    new, rows = (int(mask.sum()) for mask in (data.train & _unknown(version, data), data.train))
    said = (
        f"Went on from {version.name}: {added} trees per seed added to its {fitted.rounds - added}; "
        f"it did not know the answers of {new:,} of {rows:,} training rows."
    )
    return replace(
        prepared,
        recipe=recipe,
        continued=fitted,
        seconds=time.monotonic() - started,
        origin=version.name,
        baselines={**prepared.baselines, FULL_REFIT: recipe},
        metrics={**prepared.metrics, "continue/added_rounds": added, "continue/new_rows": new},
        notes=(*prepared.notes, said),
    )


def fresh(version: Version, data: Dataset) -> Mask | None:
    """Return the rows of the validation slice whose answers a version does not know; None if they are too few."""
    rows = data.valid & _unknown(version, data)
    enough = rows.sum() >= LEAST_ROWS and len(np.unique(data.labels[rows])) > 1
    return rows if enough else None


def _unknown(version: Version, data: Dataset) -> Mask:
    known_at: npt.NDArray[np.bool_] = (data.frame[KNOWN_AT] > pd.Timestamp(version.trained_until)).to_numpy()
    return known_at


def _version(client: Any, settings: Settings, task: str, origin: str) -> Version:
    if origin:
        name, _, number = origin.partition("@")
        return find_version(client, settings, name, number)
    found = champion_version(client, settings, task)
    if found is None:
        raise DataError(
            f"Task '{task}' has no champion to continue from.", hint=f"train it first: `portrait train {task}`."
        )
    return found


def _recipe_of(version: Version, data: Dataset, settings: Settings) -> Recipe:
    """What the version was fitted by: its run keeps it if that was not the task's own."""
    kept = read_run(settings, version.task, version.found.run_id).prepared
    return Recipe.from_json(kept["recipe"]) if kept else data.task.model


def _check(version: Version, recipe: Recipe, data: Dataset) -> None:
    why = _unfit(version, recipe, data)
    if why:
        raise DataError(
            f"A training cannot continue from {version.name}: {why}.",
            hint=f"fit it anew: `portrait train {data.task.name}`.",
        )


def _unfit(version: Version, recipe: Recipe, data: Dataset) -> str:
    if version.tags.get(QUESTION) != question_of(data.task):
        return "it answers another question"
    if unfit := incomparable(version, data):
        return unfit
    if differing := _differing(version.scorer.columns, recipe.inputs or data.inputs):
        return differing
    texts = getattr(version.scorer, "categories", {})
    grown = [name for name in texts if tuple(texts[name]) != data.categories.get(name)]
    if grown:
        return f"the texts of {named(grown)} are others by now, or others are frequent"
    if recipe.boosting is None or len(version.parts()[1]) != len(recipe.boosting.seeds):
        return "it has no trees, or another number of seeds"
    return "it knows answers of the test rows" if has_seen(version, data) else ""


def _differing(theirs: Sequence[str], ours: Sequence[str]) -> str:
    """Say how the inputs of a version differ from a recipe's; empty if they do not.

    >>> _differing(["a", "b"], ["b", "c"])
    "its inputs differ: it does not read 'c'; it reads 'a' besides"
    >>> _differing(["a", "b"], ["b", "a"])
    'it reads its inputs in another order'
    """
    missing, more = ([name for name in one if name not in other] for one, other in ((ours, theirs), (theirs, ours)))
    said = [f"it does not read {named(missing)}"] * bool(missing) + [f"it reads {named(more)} besides"] * bool(more)
    if said:
        return f"its inputs differ: {'; '.join(said)}"
    return "" if list(theirs) == list(ours) else "it reads its inputs in another order"


def _fitted(
    recipe: Recipe, data: Dataset, head: dict[str, Any], trees: list[bytes], held: Mask | None, threads: int
) -> tuple[Fitted, int]:
    fitting = Fitting.of(recipe, data, threads)
    before = int(np.median([xgboost.Booster(model_file=bytearray(raw)).num_boosted_rounds() for raw in trees]))
    with threadpool_limits(fitting.threads):
        if held is None:
            first, added, choice = None, max(1, before // SHARE_ADDED), Choice("champion", head["calibration"])
        else:
            first = fitting.on(data.split.fit, valid=held, after=trees)
            margin = first.scorer().margin(fitting.matrix[held])
            added, choice = first.rounds - before, calibration_of(margin, data, held)
        final = fitting.on(data.train, rounds=added, after=trees)
        last = centred_over(data.train, choice, final.scorer().margin, fitting.matrix, data)
    rehearsal = None if first is None else first.calibrated(choice)
    return replace(final.calibrated(last), rehearsal=rehearsal), added
