"""The model card: what a version answers, how well, how it was measured, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from feature_repo.core.clock import from_us
from training.datasets import Dataset
from training.evaluate import Estimate, Evaluation
from training.labels import AT
from training.pictures import importance
from training.task import KNOWN_AT, Task
from training.trained import Trained

_SHOWN = ("auc", "average_precision", "logloss", "ece")
_NOISE = 0.005
_TOP = 10
_INSTANT = "%Y-%m-%d %H:%M UTC"


def model_card(trained: Trained) -> str:
    """Return the card of a trained model, in Markdown."""
    task = trained.data.task
    parts = [
        f"# {task.name}",
        task.description,
        _measured(trained),
        _table(["rows", "observed from", "observed until", "answers known by"], _instants(trained.data)),
        _table(["", "AUC", "average precision", "log loss", "ECE"], _scores(trained)),
        _boosting(trained),
        "## Gates",
        _table(["gate", "bound", "measured", "holds"], _gates(trained)),
        "## Slices",
        _table(["rows", "AUC", "average precision", "log loss", "ECE", "n", "positives"], _slices(trained.evaluation)),
        "## What the score depends on",
        _depends(trained),
        "## Inputs",
        _inputs(task, len(trained.data.features)),
        "## Limits",
        _limits(trained),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _measured(trained: Trained) -> str:
    data = trained.data
    train, test = (
        f"{int(rows.sum()):,} rows ({data.labels[rows].mean():.1%} positive)" for rows in (data.train, data.test)
    )
    embargoed = int((~data.train & ~data.test).sum())
    cut = from_us(data.split.cut)
    end = cut + data.task.holdout
    return (
        f"Fitted on {train} whose answers were known before the first test row, measured on {test} observed later. "
        f"{embargoed:,} rows whose answers overlap the test stretch serve neither. Features are those of the instant "
        "of the question. Intervals are 95%, resampled by shopper. The log ends with the last "
        f"`{data.task.pulse}` event, {end:{_INSTANT}}; the test stretch begins {cut:{_INSTANT}}."
    )


def _instants(data: Dataset) -> Iterable[list[str]]:
    for name, rows in {"fitted on": data.train, "of them validated on": data.valid, "measured on": data.test}.items():
        at, known_at = data.frame.loc[rows, AT], data.frame.loc[rows, KNOWN_AT]
        yield [name, *(f"{instant:{_INSTANT}}" for instant in (at.min(), at.max(), known_at.max()))]


def _scores(trained: Trained) -> Iterable[list[str]]:
    yield ["**this model**", *_figures(trained.evaluation)]
    for name, found in trained.baselines.items():
        yield [name, *_figures(found)]


def _figures(found: Evaluation) -> list[str]:
    return [_interval(found.metrics[name]) for name in _SHOWN]


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _boosting(trained: Trained) -> str:
    recipe = trained.data.task.model
    if recipe.boosting is None or recipe.linear is None:
        return ""
    gain = trained.differences["all_feature_logistic"]
    if abs(gain.value) < _NOISE:
        verdict = "which is noise: the logistic regression alone would rank shoppers as well"
    else:
        verdict = "in favour of the blend" if gain.value > 0 else "in favour of the logistic regression alone"
    return (
        "The model is the mean of the logits of a logistic regression and of boosted trees. Against the logistic "
        f"regression alone the trees change the AUC by {gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] (paired), "
        f"{verdict}. They are kept for interactions a linear model cannot express, and dropped by one line of the task."
    )


def _gates(trained: Trained) -> Iterable[list[str]]:
    for name, outcome in trained.gates.items():
        yield [name, outcome.bound, f"{outcome.value:.4f}", "yes" if outcome.holds else "**no**"]


def _slices(found: Evaluation) -> Iterable[list[str]]:
    for name, part in found.slices.items():
        yield [name, *_figures(part), f"{part.rows:,}", f"{part.positives:,}"]


def _depends(trained: Trained) -> str:
    columns = trained.fitted.scorer().columns
    means = importance(trained.contributions)
    total = float(means.sum()) or 1.0
    strongest = means.argsort()[::-1][:_TOP]
    return _table(
        ["input", "share of the size of the logit"], ([columns[i], f"{means[i] / total:.1%}"] for i in strongest)
    )


def _inputs(task: Task, features: int) -> str:
    lines = [f"{features} features of `{task.service}`, and what the caller says:"]
    lines += [
        f"- `{each.name}`: {each.description} From the caller {each.allowed}; default {each.default:g}."
        for each in task.context
    ]
    return "\n".join(lines)


def _limits(trained: Trained) -> str:
    return (
        f"Measured on one log of {len(set(trained.data.frame[trained.data.key])):,} shoppers; another shop's figures "
        "differ. The score says what shoppers like this one did, not what a campaign would cause. Differences of less "
        f"than {_NOISE:g} AUC are noise."
    )


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
