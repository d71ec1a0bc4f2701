"""``POST /v1/features``, ``/v1/profiles``, ``/v1/predict``: the questions of the SDK, asked over HTTP.

Shoppers are named in bodies alone: an address is kept in logs of every proxy on the way. Where a request says
``"typed": true``, the answer also has what JSON cannot say of the SDK's answers, so that a client can make them again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import pandas as pd
from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic_core import from_json

from feature_repo.core.errors import DataError
from serving.http.access import Access
from serving.http.answers import FeatureRows, Portraits, Pseudonyms, ScoreList
from serving.http.batches import Asked, Batches
from serving.http.bodies import body_of, flag, json_of, known_names, listed, name_of, object_of
from serving.http.failures import responses
from serving.http.keys import READ
from serving.http.logs import tell
from serving.http.metrics import Metrics
from serving.models import Scores, pinned_version
from serving.profile import Profile
from serving.sdk import PROFILE, ProfileClient
from serving.tags.of_json import json_of_tag

MOST_ROWS = 1_000

_LIKE_FEATURES = '{"users": ["2375"], "service": "profile_v1"}'
_LIKE_PROFILES = '{"users": ["2375"]}'
_LIKE_PREDICT = '{"task": "redemption", "users": ["2375"], "context": {"campaign_days": 30}}'
_IDS = {"type": "array", "maxItems": MOST_ROWS, "items": {"type": ["string", "integer"]}}
_SCHEMAS: dict[str, Any] = {
    "users": _IDS,
    "service": {"type": "string"},
    "task": {"type": "string"},
    "context": {"type": "object", "additionalProperties": {"type": ["number", "null", "array"]}},
    "typed": {"type": "boolean"},
}
_BESIDE = frozenset({"typed"})
_PREDICTED = ("task", "users", "entities", "context", "experiment", "version", "typed")
_FAILURES = responses(401, 403, 404, 413, 415, 422, 429, 503)

_Read = Callable[[dict[str, Any]], Awaitable[bytes]]


def reads_router(client: ProfileClient, batches: Batches, access: Access, metrics: Metrics) -> APIRouter:
    """Return the routes that ask a client, for keys that may read; of a model, in batches where that can be."""
    router = APIRouter(prefix="/v1", tags=["reads"], dependencies=[Depends(access.needs(READ))])

    def route(path: str, answer: type, read: _Read, like: str, summary: str) -> None:
        async def asked(request: Request) -> Response:
            said = object_of(await body_of(request), like=like)
            return Response(await read(said), media_type="application/json")

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

    def aside(answered: Callable[[dict[str, Any]], Any]) -> _Read:
        # In a thread: the loop goes on with other requests while Redis and the model work.
        return lambda said: run_in_threadpool(lambda: json_of(answered(said)))

    async def predict(said: dict[str, Any]) -> bytes:
        if (asked := _batched(said)) is not None:
            return await batches.ask(asked, said["users"], lambda scores: json_of(_scored(scores, said, metrics)))
        return await aside(lambda said: _predicted(client, said, metrics))(said)

    names = aside(lambda said: _pseudonyms(client, said))
    features = aside(lambda said: _features(client, said, metrics))
    profiles = aside(lambda said: _profiles(client, said, metrics))
    route("/pseudonyms", Pseudonyms, names, _LIKE_PROFILES, "Name shoppers by pseudonym")
    route("/features", FeatureRows, features, _LIKE_FEATURES, "Read features now")
    route("/profiles", Portraits, profiles, _LIKE_PROFILES, "Read portraits now")
    route("/predict", ScoreList, predict, _LIKE_PREDICT, "Ask the champion of a task")
    return router


def _features(client: ProfileClient, said: dict[str, Any], metrics: Metrics) -> Any:
    known_names(said, ("users", "entities", "service", "typed"), like=_LIKE_FEATURES)
    typed, service = flag(said, "typed"), name_of(said, "service", PROFILE)
    found = client.features(asked_of(said, _LIKE_FEATURES), service=service)
    metrics.read(service, found)
    tell(rows=found.reading.length, degraded=found.degraded)
    # A table of the entities' columns would be made by pandas, for ten times as long as all else here.
    ids = (dict(zip(found.entities, row, strict=True)) for row in zip(*found.entities.values(), strict=True))
    rows = zip(ids, found.known, found.rows(), strict=True)
    answer = {
        "features_as_of": found.as_of,
        "degraded": found.degraded,
        "rows": [{"entity": entity, "known": known, "values": each} for entity, known, each in rows],
    }
    if typed:
        types = {each.name: str(each.type) for each in found.reading.table.schema}
        answer |= {"entities": list(found.entities), "types": types}
    return answer


def _profiles(client: ProfileClient, said: dict[str, Any], metrics: Metrics) -> Any:
    known_names(said, ("users", "typed"), like=_LIKE_PROFILES)
    typed = flag(said, "typed")
    profiles = client.profiles(listed(said, "users", most=MOST_ROWS, like=_LIKE_PROFILES))
    metrics.portrayed(profiles)
    tell(rows=len(profiles), degraded=any(each.degraded for each in profiles))
    answer: dict[str, Any] = {"profiles": [_portrait(each) for each in profiles]}
    if typed:
        answer["times"] = sorted({name for each in profiles for name in _times(each)})
    return answer


def _portrait(profile: Profile) -> dict[str, Any]:
    """Return a portrait, its tags first."""
    facts = asdict(replace(profile, tags=()))
    who = {name: facts.pop(name) for name in ("user_id", "known")}
    return {
        **who,
        "tags": [*map(json_of_tag, profile.tags)],
        **{name: facts[name] for name in ("dimensions", "freshness", "degraded")},
    }


def _times(profile: Profile) -> Iterator[str]:
    for facts in profile.dimensions.values():
        yield from (fact.name for fact in facts if isinstance(fact.value, datetime))


def _pseudonyms(client: ProfileClient, said: dict[str, Any]) -> Any:
    known_names(said, ("users",), like=_LIKE_PROFILES)
    return {"users": client.keys(listed(said, "users", most=MOST_ROWS, like=_LIKE_PROFILES))}


def _batched(said: dict[str, Any]) -> Asked | None:
    """Return what a question asks of whom; None if it is one of its own kind."""
    known_names(said, _PREDICTED, like=_LIKE_PREDICT)
    flag(said, "typed")
    task, context = name_of(said, "task", ""), _context(said)
    listed_context = any(isinstance(value, list | dict) for value in context.values())
    if "entities" in said or said.get("experiment") is not None or listed_context:
        return None
    listed(said, "users", most=MOST_ROWS, like=_LIKE_PREDICT)
    version = said.get("version")
    return Asked(task, "" if version is None else pinned_version(version), context)


def _context(said: dict[str, Any]) -> Mapping[str, Any]:
    context = said.get("context") or {}
    if not isinstance(context, Mapping):
        raise DataError("'context' is no object.", hint=f"send {_LIKE_PREDICT}.")
    return context


def _scored(scores: Scores, said: dict[str, Any], metrics: Metrics) -> Any:
    metrics.scored(scores)
    tell(model=scores.model, rows=len(scores), degraded=scores.degraded)
    return {"scores": scores.rows()} | (_about(scores) if said.get("typed") else {})


def _predicted(client: ProfileClient, said: dict[str, Any], metrics: Metrics) -> Any:
    task, asked, context = name_of(said, "task", ""), asked_of(said, _LIKE_PREDICT), _context(said)
    if said.get("experiment") is None:
        return _scored(client.predict(task, asked, context=context, version=said.get("version")), said, metrics)
    if said.get("version") is not None:
        pinned_version(said["version"], said["experiment"])
    split = client.predict(task, asked, context=context, experiment=said["experiment"])
    for _, part in split.parts:
        metrics.scored(part)
    models = ", ".join(part.model for _, part in split.parts)
    tell(model=models, rows=len(split), degraded=any(part.degraded for _, part in split.parts))
    answer: dict[str, Any] = {"scores": [vars(each) for each in split]}
    if said.get("typed"):
        answer["parts"] = [{"rows": rows, **_about(part)} for rows, part in split.parts]
    return answer


def _about(scores: Scores) -> dict[str, Any]:
    """What holds for all answers of a model."""
    names = {"features": scores.features, "context": scores.context}
    facts = {"model": scores.model, "features_as_of": scores.features_as_of, "degraded": scores.degraded}
    return facts | names


def asked_of(said: dict[str, Any], like: str) -> Any:
    """Return what the SDK is asked about: a list of shoppers, or entity columns of equal length."""
    if "entities" not in said:
        return listed(said, "users", most=MOST_ROWS, like=like)
    columns = said["entities"]
    if not isinstance(columns, dict) or not columns or "users" in said:
        raise DataError(
            "'entities' is no object of columns, or stands beside 'users'.",
            hint='send {"entities": {"user_id": ["2375"], "category": ["SOUP"]}}.',
        )
    lists = {name: listed(columns, name, most=MOST_ROWS, like=like) for name in columns}
    if len({len(each) for each in lists.values()}) != 1:
        raise DataError("The columns of 'entities' are not equally long.", hint="send one value per row in each.")
    return pd.DataFrame(lists, dtype=object)


def _body(like: str) -> dict[str, Any]:
    properties = {name: schema for name, schema in _SCHEMAS.items() if name in from_json(like) or name in _BESIDE}
    schema = {"type": "object", "properties": properties}
    return {"required": True, "content": {"application/json": {"schema": schema, "example": from_json(like)}}}
