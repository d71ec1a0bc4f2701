"""Prepares a recipe as the options of a training ask: inputs, components, parameters, or trees to go on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from feature_repo.core.errors import PortraitError
from feature_repo.core.settings import Settings
from training.data.dataset import Dataset
from training.declaring.objective import SHOWN
from training.declaring.recipe import Recipe
from training.evaluation.trained import Step
from training.fitting.linear import design, principal_axes
from training.fitting.options import Options
from training.fitting.preparation import DECLARED, Prepared
from training.preparing.continuation import continued
from training.preparing.search import search
from training.preparing.selection import Selection, narrowed, select
from training.scorer import terms

VARIANCE = 0.95


def prepare(data: Dataset, options: Options, settings: Settings, *, step: Step) -> Prepared:
    """Do what was asked before the fit; the test rows are not read.

    Raises
    ------
    PortraitError
        What was asked for does not fit the task's recipe, or the champion.
    StoreUnavailableError
        MLflow does not answer, and was asked for the champion.
    """
    prepared = Prepared(data.task.model, options)
    if options.select:
        prepared = _selected(prepared, data, options.select, settings.threads, step)
    if options.reduce:
        prepared = _reduced(prepared, data)
    if options.trials:
        prepared = _searched(prepared, data, options.trials, settings.threads, step)
    if options.continue_from:
        prepared = continued(prepared, data, settings)
    return compared(prepared, data)


def compared(prepared: Prepared, data: Dataset) -> Prepared:
    """Return what was prepared, compared with the declared recipe if it is another one."""
    if prepared.recipe == data.task.model:
        return prepared
    return replace(prepared, baselines={**prepared.baselines, DECLARED: data.task.model})


def restored(kept: Mapping[str, Any], data: Dataset, settings: Settings) -> Prepared:
    """Return what a run had prepared, from its artifact ``prepared.json``, without choosing or searching again.

    Its metrics are those that follow from what was chosen; not those the choice was made by.

    Raises
    ------
    DataError
        It went on from a version that is not in the registry any more.
    """
    prepared = Prepared(Recipe.from_json(kept["recipe"]), Options(**kept["options"]))
    if kept["origin"]:
        prepared = continued(prepared, data, settings, origin=kept["origin"])
    if prepared.options.reduce:
        prepared = replace(prepared, metrics={**prepared.metrics, **_reduction(prepared.recipe, data)})
    return compared(prepared, data)


def _selected(prepared: Prepared, data: Dataset, method: str, threads: int, step: Step) -> Prepared:
    found = select(prepared.recipe, data, method, threads=threads, step=step)
    return replace(
        prepared,
        recipe=narrowed(prepared.recipe, found.kept.inputs) if found.dropped else prepared.recipe,
        metrics={
            **prepared.metrics,
            "select/inputs": len(found.kept.inputs),
            "select/dropped": len(found.dropped),
            f"select/validation_{found.metric}_all": found.rungs[0].value,
            f"select/validation_{found.metric}": found.kept.value,
        },
        texts={**prepared.texts, "selection.json": json.dumps(found.to_json(), indent=1)},
        notes=(*prepared.notes, _said(found)),
    )


def _said(found: Selection) -> str:
    dropped = f"dropped {', '.join(found.dropped)}" if found.dropped else "dropped none"
    return (
        f"Selection by {found.method} kept {len(found.kept.inputs)} of {len(found.rungs[0].inputs)} inputs at "
        f"{SHOWN[found.metric]} {found.kept.value:.4f} of the validation slice, where all have "
        f"{found.rungs[0].value:.4f}; {dropped}."
    )


def _reduced(prepared: Prepared, data: Dataset) -> Prepared:
    linear = prepared.recipe.linear
    if linear is None:
        raise PortraitError(
            f"Task '{data.task.name}' has no linear part, which --reduce pca is for.",
            hint="leave --reduce out; trees choose their inputs themselves.",
        )
    recipe = replace(prepared.recipe, linear=replace(linear, variance=VARIANCE))
    found = _reduction(recipe, data)
    said = (
        f"The linear part reads {found['reduce/components']} principal components, {VARIANCE:.0%} of the variance of "
        f"its {found['reduce/terms']} terms."
    )
    return replace(prepared, recipe=recipe, metrics={**prepared.metrics, **found}, notes=(*prepared.notes, said))


def _reduction(recipe: Recipe, data: Dataset) -> dict[str, int]:
    count, whole = _components(recipe, data)
    return {"reduce/components": count, "reduce/terms": whole}


def _searched(prepared: Prepared, data: Dataset, trials: int, threads: int, step: Step) -> Prepared:
    found = search(prepared.recipe, data, trials, threads=threads, step=step)
    first, best = found.trials[0], found.best
    chosen = ", ".join(f"{name} {value:.4g}" for name, value in best.params.items())
    said = (
        f"{trials} sets of parameters tried, {found.pruned} ended early: {found.metric} of the validation slice "
        f"{best.loss:.5f}, declared {first.loss:.5f}; "
        f"{'the declared ones stay' if best is first else f'taken: {chosen}'}."
    )
    return replace(
        prepared,
        recipe=found.recipe,
        metrics={
            **prepared.metrics,
            "search/pruned": found.pruned,
            f"search/validation_{found.metric}_declared": first.loss or 0.0,
            f"search/validation_{found.metric}": best.loss or 0.0,
        },
        texts={**prepared.texts, "study.json": json.dumps(found.to_json(), indent=1)},
        notes=(*prepared.notes, said),
    )


def _components(recipe: Recipe, data: Dataset) -> tuple[int, int]:
    columns = recipe.inputs or data.inputs
    texts = {name: data.categories[name] for name in columns if name in data.categories}
    matrix = data.matrix(columns)[data.train]
    values = terms(design(recipe.linear, columns, texts, matrix), matrix) if recipe.linear else matrix
    return principal_axes(values, VARIANCE).shape[1], values.shape[1]
