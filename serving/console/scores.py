"""What models say of a shopper, and why: the scores of every champion with their reasons, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from feature_repo.core.errors import StoreUnavailableError
from serving.console.desk import Desk
from serving.console.instants import Moment, moment
from serving.console.values import per_cent, value_text
from serving.console.words import Words
from serving.reasons.explanation import Explanation, Reason
from serving.reasons.page import Unexplained, explained
from serving.reasons.sentences import number
from serving.reasons.shown import dimension_words
from serving.recommending.desk import TASK as LISTS

_SHOWN = 8


@dataclass(frozen=True)
class ReasonLine:
    """A reason: its sentence, its dimension, what it adds to the margin, that against the largest, what it is of."""

    sentence: str
    dimension: str
    adds: str
    share: float
    behind: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class ScoreView:
    """A task's answer.

    Attributes
    ----------
    question
        That the model answers, in English; empty where MLflow does not say.
    value
        A probability in per cent, or a number; empty where there is no answer, and ``why_not`` says why.
    reasons, smaller
        Those that add or take most, and the others.
    """

    task: str
    question: str
    value: str
    model: str
    margin: str
    as_of: Moment | None
    reasons: tuple[ReasonLine, ...]
    smaller: tuple[ReasonLine, ...]
    defaults: tuple[str, ...]
    missing: tuple[str, ...]
    why_not: str


def score_views(desk: Desk, user: str, words: Words) -> tuple[ScoreView, ...]:
    """Ask every champion about a shopper; those that can say why come first. Lists have a part of their own.

    Raises
    ------
    ModelUnavailableError, StoreUnavailableError
        MLflow does not answer.
    """
    tasks = [task for task in desk.portrait.tasks() if task != LISTS]
    questions = _questions(desk)
    found = [told(explained(desk.portrait, user, task), questions.get(task, ""), desk.now, words) for task in tasks]
    return tuple(sorted(found, key=lambda each: bool(each.why_not)))


def told(found: Explanation | Unexplained, question: str, now: datetime, words: Words) -> ScoreView:
    """Put an answer into words."""
    if isinstance(found, Unexplained):
        why = words("about_more", task=found.task) if found.about_more else found.why
        return ScoreView(found.task, question, "", "", "", None, (), (), (), (), why)
    reasons = tuple(_reasons(found, words))
    return ScoreView(
        task=found.task,
        question=question,
        value=score_text(found),
        model=found.model,
        margin=words("margin", margin=f"{found.margin:+.4f}", base=f"{found.base:+.4f}"),
        as_of=moment(found.features_as_of, now, words),
        reasons=reasons[:_SHOWN],
        smaller=reasons[_SHOWN:],
        defaults=found.defaults,
        missing=found.missing,
        why_not="",
    )


def score_text(found: Explanation) -> str:
    """Return a score as a reader reads it: of a yes-or-no task the margin is a logit, and the value a probability."""
    return number(float(found.value)) if found.value == found.margin else per_cent(found.value)


def _questions(desk: Desk) -> dict[str, str]:
    try:
        return {model.name: model.description for model in desk.shelf.models()}
    except StoreUnavailableError:  # what is loaded answers all the same
        return {}


def _reasons(found: Explanation, words: Words) -> Iterator[ReasonLine]:
    largest = max((abs(reason.contribution) for reason in found.reasons), default=0.0) or 1.0
    for reason in found.reasons:
        yield ReasonLine(
            sentence=words.of(reason.sentence, reason.zh),
            dimension=words.of(*dimension_words(reason.dimension)),
            adds=f"{reason.contribution:+.3f}",
            share=reason.contribution / largest,
            behind=tuple(_behind(reason, words)),
        )


def _behind(reason: Reason, words: Words) -> Iterator[tuple[str, str, str]]:
    for part in reason.parts:
        yield part.name, value_text(part.name, part.value, words), f"{part.contribution:+.3f}"
    named = {part.name for part in reason.parts}
    for trace in reason.traces:
        if trace.name not in named:
            yield trace.name, value_text(trace.name, trace.value, words), ""
