"""The model card: what a version answers, how well, how it was measured, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Iterable

from feature_repo.core.clock import from_us
from training.data.dataset import Dataset
from training.data.labels import AT
from training.data.split import Mask
from training.declaring.baselines import ALL_FEATURE
from training.declaring.objective import BINARY, SHOWN
from training.evaluation.charts import importance
from training.evaluation.evaluate import Estimate, Evaluation
from training.evaluation.pages import markdown_table, sections
from training.evaluation.recommended import FIGURES
from training.evaluation.trained import Trained
from training.report.card_facts import facts
from training.task import KNOWN_AT, Task

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
        markdown_table(["rows", "observed from", "observed until", "answers known by"], _instants(trained.data)),
        markdown_table(["", *_titles(trained)], _scores(trained)),
        _boosting(trained),
        *_lists(trained),
        "\n".join(f"- {note}" for note in trained.notes),
        "## Gates",
        markdown_table(["gate", "bound", "measured", "holds"], _gates(trained)),
        *_studied(trained),
        "## What the score depends on",
        _depends(trained),
        "## Inputs",
        _inputs(task, len(trained.data.features)),
        *facts(trained),
        "## Limits",
        _limits(trained),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _measured(trained: Trained) -> str:
    data = trained.data
    train, test = (f"{int(rows.sum()):,} rows ({_answers(data, rows)})" for rows in (data.train, data.test))
    embargoed = int((~data.train & ~data.test).sum())
    cut = from_us(data.split.cut)
    end = cut + data.task.holdout
    return (
        f"Fitted on {train} whose answers were known before the first test row, measured on {test} observed later. "
        f"{embargoed:,} rows whose answers overlap the test stretch serve neither. Features are those of the instant "
        "of the question. Intervals are 95%, resampled by shopper. The log ends with the last "
        f"`{data.task.pulse}` event, {end:{_INSTANT}}; the test stretch begins {cut:{_INSTANT}}."
    )


def _answers(data: Dataset, rows: Mask) -> str:
    mean = data.labels[rows].mean()
    return f"{mean:.1%} positive" if data.task.objective == BINARY else f"mean answer {mean:,.2f}"


def _titles(trained: Trained) -> list[str]:
    titles = SHOWN | {"average_precision": "average precision"}
    return [titles[name] for name in _shown(trained.evaluation)]


def _shown(found: Evaluation) -> list[str]:
    return [name for name in SHOWN if name in found.metrics]


def _instants(data: Dataset) -> Iterable[list[str]]:
    for name, rows in {"fitted on": data.train, "of them validated on": data.valid, "measured on": data.test}.items():
        at, known_at = data.frame.loc[rows, AT], data.frame.loc[rows, KNOWN_AT]
        yield [name, *(f"{instant:{_INSTANT}}" for instant in (at.min(), at.max(), known_at.max()))]


def _scores(trained: Trained) -> Iterable[list[str]]:
    yield ["**this model**", *_figures(trained.evaluation)]
    for name, found in trained.baselines.items():
        yield [name, *_figures(found)]


def _figures(found: Evaluation) -> list[str]:
    return [_interval(found.metrics[name]) for name in _shown(found)]


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _lists(trained: Trained) -> list[str]:
    if not trained.lists:
        return []
    lines = [
        [
            f"**{name}**" if name == trained.data.task.name else name,
            *(f"{value:.3f}" for value in each.figures.values()),
        ]
        for name, each in trained.lists.items()
    ]
    told = "\n".join(f"- {name}: {text}" for name, text in FIGURES.items())
    return ["## Lists of ten", markdown_table(["", *FIGURES], lines), told]


def _boosting(trained: Trained) -> str:
    recipe = trained.recipe
    if recipe.boosting is None or recipe.linear is None:
        return ""
    kind = trained.data.task.kind
    gain, linear = trained.differences[f"{ALL_FEATURE}_{kind.linear}"], f"{kind.linear} regression"
    if abs(gain.value) < _NOISE:
        verdict = f"which is noise: the {linear} alone would rank shoppers as well"
    else:
        verdict = f"in favour of the {'blend' if gain.value > 0 else f'{linear} alone'}"
    blended = "logits" if kind.link == "logit" else "answers"
    return (
        f"The model is the mean of the {blended} of a {linear} and of boosted trees. Against the {linear} alone the "
        f"trees change the {SHOWN[kind.leading]} by {gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] (paired), "
        f"{verdict}. They are kept for interactions a linear model cannot express, and dropped by one line of the task."
    )


def _gates(trained: Trained) -> Iterable[list[str]]:
    for name, outcome in trained.gates.items():
        yield [name, outcome.bound, f"{outcome.value:.4f}", "yes" if outcome.holds else "**no**"]


def _studied(trained: Trained) -> list[str]:
    if trained.study is None:
        return []
    kind = trained.data.task.kind
    return sections(trained.study, leading=kind.leading, binary=trained.data.task.objective == BINARY)


def _depends(trained: Trained) -> str:
    columns = trained.fitted.scorer().columns
    means = importance(trained.contributions)
    total = float(means.sum()) or 1.0
    strongest = means.argsort()[::-1][:_TOP]
    size = "logit" if trained.data.task.kind.link == "logit" else "answer"
    return markdown_table(
        ["input", f"share of the size of the {size}"],
        ([columns[i], f"{means[i] / total:.1%}"] for i in strongest),
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
        f"than {_NOISE:g} {SHOWN[trained.data.task.kind.leading]} are noise."
    )
