"""``POST /v1/explain``, ``/v1/evidence``, ``/v1/what-if``, ``/v1/segment``: why a score is what it is.

Where a value may be of any type, an instant is ``{"time": "..."}``. The traces of a reason are sent back as they came,
to be shown the events behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from pydantic_core import from_json, to_json

from feature_repo.core.clock import to_us
from feature_repo.core.errors import DataError
from serving.http.access import Access
from serving.http.bodies import MOST_NAME, body_of, known_names, listed, name_of, object_of, user_of
from serving.http.failures import responses
from serving.http.keys import READ
from serving.http.reads import asked_of
from serving.json_values import jsonable
from serving.reasons.answers import LAST_PURCHASE, MOST_EVENTS, MOST_LEFT_OUT
from serving.reasons.explanation import Reason, Trace
from serving.reasons.wire import trace_of
from serving.sdk import ProfileClient

MOST_TRACES = 100
_MOST_VERSION = 2**53

_LIKE_EXPLAIN = '{"task": "redemption", "user": "2375", "context": {"campaign_days": 30}}'
_LIKE_WHAT_IF = '{"task": "redemption", "user": "2375", "without": "last_purchase"}'
_LIKE_SEGMENT = '{"user": "2375"}'
_LIKE_EVIDENCE = (
    '{"user": "2375", "most": 5, "traces": [{"name": "user_payments__count_28d", "view": "user_payments", "value": 6, '
    '"table": "payment", "about": {}, "since": "2026-10-31T00:00:00Z", "until": "2026-11-28T00:00:00Z", '
    '"log_version": 4}]}'
)
_ID = {"type": ["string", "integer"]}
_SCHEMAS: dict[str, Any] = {
    "user": _ID,
    "task": {"type": "string"},
    "context": {"type": "object", "additionalProperties": {"type": ["number", "null", "array"]}},
    "without": {"type": ["string", "array"], "items": {"type": "string"}},
    "most": {"type": "integer", "minimum": 0, "maximum": MOST_EVENTS},
    "traces": {"type": "array", "maxItems": MOST_TRACES, "items": {"type": "object"}},
}
_FAILURES = responses(401, 403, 404, 413, 415, 422, 429, 503)


class PartShown(BaseModel):
    """One input of the model, and what it adds to the margin."""

    name: str
    value: Any
    contribution: float
    description: str
    zh: str


class TraceShown(BaseModel):
    """A windowed value behind a reason, and the events it was computed over: those of ``[since, until)``."""

    name: str
    view: str
    value: Any
    table: str
    about: dict[str, str]
    since: datetime
    until: datetime
    log_version: int | None


class ReasonShown(BaseModel):
    """Inputs that tell of one thing, in words."""

    dimension: str
    contribution: float
    sentence: str
    zh: str
    told: list[str]
    parts: list[PartShown]
    traces: list[TraceShown]


class ExplanationShown(BaseModel):
    """Why a model answers as it does: ``base`` and all contributions add up to ``margin``."""

    user_id: str
    task: str
    model: str
    value: float
    margin: float
    base: float
    dimensions: dict[str, float]
    reasons: list[ReasonShown]
    features_as_of: datetime
    known: bool
    missing: list[str]
    defaults: list[str]


class EventShown(BaseModel):
    """An event of the log."""

    table: str
    event_id: str
    at: datetime
    facts: dict[str, Any]


class EvidenceShown(BaseModel):
    """What the log holds of one windowed value."""

    name: str
    since: datetime
    until: datetime
    served: Any
    recomputed: Any
    agrees: bool
    total: int
    events: list[EventShown]


class EvidenceList(BaseModel):
    """Evidence of each trace of the question."""

    evidence: list[EvidenceShown]


class ChangedShown(BaseModel):
    """A feature that differs without what was left out."""

    name: str
    before: Any
    after: Any


class WhatIfShown(BaseModel):
    """A score with and without some events."""

    user_id: str
    task: str
    model: str
    features_as_of: datetime
    score: float
    recomputed: float
    without: float
    left_out: list[EventShown]
    changed: list[ChangedShown]
    sentence: str


class WordShown(BaseModel):
    """A segment or a stage, and what it says."""

    name: str
    english: str
    chinese: str
    meaning: str


class SegmentShown(BaseModel):
    """Where a shopper was last placed; null if never."""

    user_id: str
    known: bool
    segment: WordShown | None
    stage: WordShown | None
    distance: float | None
    strength: float | None
    model_version: str | None
    placed_at: datetime | None
    read_at: datetime


class Tasks(BaseModel):
    """Tasks that have a champion."""

    tasks: list[str]


def reasons_router(client: ProfileClient, access: Access) -> APIRouter:
    """Return the routes, for keys that may read."""
    router = APIRouter(prefix="/v1", tags=["reasons"], dependencies=[Depends(access.needs(READ))])

    def route(path: str, answer: type, read: Callable[[dict[str, Any]], Any], like: str, summary: str) -> None:
        async def asked(request: Request) -> Response:
            said = object_of(await body_of(request), like=like)
            return Response(await run_in_threadpool(lambda: _json(read(said))), media_type="application/json")

        router.add_api_route(
            path,
            asked,
            methods=["POST"],
            response_model=answer,
            responses=_FAILURES,
            openapi_extra={"requestBody": _body(like)},
            summary=summary,
            name=path.removeprefix("/"),
        )

    route("/explain", ExplanationShown, lambda said: _explain(client, said), _LIKE_EXPLAIN, "Ask why")
    route("/evidence", EvidenceList, lambda said: _evidence(client, said), _LIKE_EVIDENCE, "Show the events behind")
    route("/what-if", WhatIfShown, lambda said: _what_if(client, said), _LIKE_WHAT_IF, "Score without some events")
    route("/segment", SegmentShown, lambda said: _segment(client, said), _LIKE_SEGMENT, "Ask for segment and stage")

    @router.get("/tasks", response_model=Tasks, responses=responses(401, 403, 429, 503), summary="List tasks")
    async def tasks() -> Response:
        found = await run_in_threadpool(client.tasks)
        return Response(_json({"tasks": found}), media_type="application/json")

    return router


def _explain(client: ProfileClient, said: dict[str, Any]) -> Any:
    known_names(said, ("task", "user", "users", "entities", "context", "version"), like=_LIKE_EXPLAIN)
    user, context = _user(said, _LIKE_EXPLAIN), _context(said, _LIKE_EXPLAIN)
    return client.explain(name_of(said, "task", ""), user, context=context, version=said.get("version"))


def _what_if(client: ProfileClient, said: dict[str, Any]) -> Any:
    names = ("task", "user", "users", "entities", "context", "version", "without")
    known_names(said, names, like=_LIKE_WHAT_IF)
    without = said.get("without", LAST_PURCHASE)
    if isinstance(without, list):
        without = listed(said, "without", most=MOST_LEFT_OUT, like=_LIKE_WHAT_IF)
    user, context = _user(said, _LIKE_WHAT_IF), _context(said, _LIKE_WHAT_IF)
    task = name_of(said, "task", "")
    return client.what_if(task, user, without=without, context=context, version=said.get("version"))


def _evidence(client: ProfileClient, said: dict[str, Any]) -> Any:
    known_names(said, ("user", "traces", "most"), like=_LIKE_EVIDENCE)
    traces = listed(said, "traces", most=MOST_TRACES, like=_LIKE_EVIDENCE)
    reason = Reason("", 0.0, "", "", (), (), tuple(_trace(each) for each in traces))
    return {"evidence": client.evidence(user_of(said, like=_LIKE_EVIDENCE), reason, most=said.get("most", 20))}


def _segment(client: ProfileClient, said: dict[str, Any]) -> Any:
    known_names(said, ("user",), like=_LIKE_SEGMENT)
    return client.segment(user_of(said, like=_LIKE_SEGMENT))


def _user(said: dict[str, Any], like: str) -> Any:
    """Return whom the SDK is asked about: one shopper, or entity columns of one row."""
    if "user" not in said:
        return asked_of(said, like)
    if "users" in said or "entities" in said:
        raise DataError("'user' stands beside 'users' or 'entities'.", hint=f"send {like}.")
    return user_of(said, like=like)


def _context(said: dict[str, Any], like: str) -> Mapping[str, Any]:
    context = said.get("context") or {}
    if not isinstance(context, Mapping):
        raise DataError("'context' is no object.", hint=f"send {like}.")
    return context


def _trace(said: Any) -> Trace:
    try:
        trace = trace_of(said)
        if _is_one(trace):
            return trace
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        pass
    raise DataError("A trace is none.", hint="send traces as `/v1/explain` told them.")


def _is_one(trace: Trace) -> bool:
    version = trace.log_version
    texts = (trace.name, trace.view, trace.table, *trace.about, *trace.about.values())
    return (
        all(isinstance(each, str) and len(each) <= MOST_NAME for each in texts)
        and to_us(trace.until) >= 0
        and (version is None or (type(version) is int and -1 <= version <= _MOST_VERSION))
    )


def _body(like: str) -> dict[str, Any]:
    properties = {name: schema for name, schema in _SCHEMAS.items() if name in from_json(like)}
    schema = {"type": "object", "properties": properties}
    return {"required": True, "content": {"application/json": {"schema": schema, "example": from_json(like)}}}


def _json(answer: Any) -> bytes:
    return to_json(jsonable(answer), inf_nan_mode="null")
