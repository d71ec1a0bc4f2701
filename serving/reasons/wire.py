"""Reasons as JSON and back, and the SDK's questions about them as conversations with a server.

What values of any type are in JSON is said in ``serving.json_values``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from pydantic_core import to_json

from serving.entities import USER, entity_columns
from serving.json_values import instant_of_text, jsonable, value_of
from serving.reasons.answers import Changed, Evidence, LoggedEvent, Segment, WhatIf, Without, Word
from serving.reasons.explanation import Explanation, Part, Reason, Trace
from serving.said import json_context, json_question
from serving.wire import Ask, Conversation

Made = TypeVar("Made")


def explain(task: str, user: Any, context: Mapping[str, Any], version: str | None) -> Conversation[Explanation]:
    """Ask why a model answers as it does."""
    said = yield _ask("explain", {**_question(task, user, context, version)})
    return explanation_of(said)


def what_if(
    task: str, user: Any, without: Without, context: Mapping[str, Any], version: str | None
) -> Conversation[WhatIf]:
    """Ask for a score without some events."""
    left_out = without if isinstance(without, str) else list(without)
    said = yield _ask("what-if", {**_question(task, user, context, version), "without": left_out})
    return _made(
        WhatIf,
        said,
        features_as_of=instant_of_text,
        left_out=_each(_event),
        changed=_each(lambda each: Changed(each["name"], value_of(each["before"]), value_of(each["after"]))),
    )


def evidence(user: Any, reason: Reason, most: int) -> Conversation[tuple[Evidence, ...]]:
    """Ask for the events behind a reason."""
    [named] = entity_columns([user], [USER], str)[USER]
    said = yield _ask("evidence", {"user": named, "traces": jsonable(reason.traces), "most": most})
    return tuple(
        _made(
            Evidence,
            each,
            since=instant_of_text,
            until=instant_of_text,
            served=value_of,
            recomputed=value_of,
            events=_each(_event),
        )
        for each in said["evidence"]
    )


def segment(user: Any) -> Conversation[Segment]:
    """Ask where a shopper was last placed."""
    [named] = entity_columns([user], [USER], str)[USER]
    said = yield _ask("segment", {"user": named})
    return _made(Segment, said, segment=_word, stage=_word, placed_at=_maybe_instant, read_at=instant_of_text)


def tasks() -> Conversation[tuple[str, ...]]:
    """Ask which tasks have a champion."""
    said = yield Ask("/v1/tasks")
    return tuple(said["tasks"])


def explanation_of(said: Mapping[str, Any]) -> Explanation:
    """Return an explanation of JSON."""
    return _made(
        Explanation, said, reasons=_each(_reason), features_as_of=instant_of_text, missing=tuple, defaults=tuple
    )


def trace_of(said: Mapping[str, Any]) -> Trace:
    """Return a trace of JSON.

    Raises
    ------
    ValueError, TypeError, KeyError
        It is none.
    """
    return _made(Trace, said, value=value_of, since=instant_of_text, until=instant_of_text)


def _reason(said: Mapping[str, Any]) -> Reason:
    parts = _each(lambda part: _made(Part, part, value=value_of))
    return _made(Reason, said, told=tuple, parts=parts, traces=_each(trace_of))


def _event(said: Mapping[str, Any]) -> LoggedEvent:
    return _made(
        LoggedEvent,
        said,
        at=instant_of_text,
        facts=lambda facts: {name: value_of(each) for name, each in facts.items()},
    )


def _word(said: Mapping[str, Any] | None) -> Word | None:
    return None if said is None else Word(**said)


def _made(kind: Callable[..., Made], said: Mapping[str, Any], **converted: Callable[[Any], Any]) -> Made:
    return kind(**{name: converted[name](value) if name in converted else value for name, value in said.items()})


def _each(make: Callable[[Any], Any]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    return lambda said: tuple(make(each) for each in said)


def _maybe_instant(text: str | None) -> datetime | None:
    return None if text is None else instant_of_text(text)


def _question(task: str, user: Any, context: Mapping[str, Any], version: str | None) -> dict[str, Any]:
    said = {**json_question(user), "task": task, "context": json_context(context)}
    return said if version is None else {**said, "version": version}


def _ask(route: str, said: dict[str, Any]) -> Ask:
    return Ask(f"/v1/{route}", to_json(said))
