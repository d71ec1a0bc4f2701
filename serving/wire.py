"""The SDK's questions as conversations with a server: what is sent, and what its answers mean. No input or output here.

A conversation yields requests, is sent their answers (or thrown what went wrong), and returns what the SDK does.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import numpy as np
from pydantic_core import PydanticSerializationError, from_json, to_json

from feature_repo.core import errors
from feature_repo.core.errors import BufferFullError, PortraitError, StoreUnavailableError, TooManyRequestsError
from feature_repo.events.log import EVENT_ID
from feature_repo.events.schema import Record
from feature_repo.events.stream.collector import Collected, Rejected, Said, listed
from feature_repo.events.stream.intake import EVENT_TYPE, check
from serving.entities import USER, entity_columns
from serving.experiments.enrolment import Assignment
from serving.experiments.scores import SplitScores
from serving.features import Features
from serving.models import Scores
from serving.profile import Fact, Freshness, Profile
from serving.said import json_context, json_question
from serving.table_answer import TableAnswer
from serving.tags.of_json import tag_of
from serving.transport import HEALTH

# As many as a server takes at once.
MOST_EVENTS = 1_000

# Errors by name; a server of a later version may know others.
_KINDS: dict[str, type[PortraitError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, PortraitError) and kind is not errors.ViewsRefusedError
}

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Ask:
    """One request: posted if it has a body; ``fine`` are statuses whose answer is one all the same."""

    path: str
    body: bytes | None = None
    fine: tuple[int, ...] = ()


Conversation = Generator[Ask, Any, Answer]


def keys(raw_ids: Any) -> Conversation[tuple[str, ...]]:
    """Ask for pseudonyms."""
    said = yield _ask("pseudonyms", {"users": entity_columns(raw_ids, [USER], str)[USER]})
    return tuple(said["users"])


def features(users: Any, service: str) -> Conversation[Features]:
    """Ask for values of a feature service."""
    said = yield _ask("features", {**json_question(users), "service": service, "typed": True})
    rows = said["rows"]
    entities = {name: [row["entity"][name] for row in rows] for name in said["entities"]}
    known = np.array([row["known"] for row in rows], bool)
    table = TableAnswer.of(service, said["types"], [row["values"] for row in rows], known)
    return Features(entities, table, _instant(said["features_as_of"]), said["degraded"])


def profiles(users: Any) -> Conversation[tuple[Profile, ...]]:
    """Ask for portraits."""
    said = yield _ask("profiles", {"users": entity_columns(users, [USER], str)[USER], "typed": True})
    times = frozenset(said["times"])
    return tuple(_profile(each, times) for each in said["profiles"])


def predict(task: str, users: Any, context: Mapping[str, Any]) -> Conversation[Scores]:
    """Ask the champion of a task."""
    question = {**json_question(users), "task": task, "typed": True}
    # Beside a DataFrame only the names of the context are looked at, as in process.
    said = yield _ask("predict", {**question, "context": json_context(context)})
    return _scores(said, said["scores"])


def pinned(version: str, task: str, users: Any, context: Mapping[str, Any]) -> Conversation[Scores]:
    """Ask a version of a task's model."""
    question = {**json_question(users), "task": task, "version": version, "typed": True}
    said = yield _ask("predict", {**question, "context": json_context(context)})
    return _scores(said, said["scores"])


def split(experiment: str, task: str, users: Any, context: Mapping[str, Any]) -> Conversation[SplitScores]:
    """Ask the models of an experiment's variants."""
    question = {**json_question(users), "task": task, "experiment": experiment, "typed": True}
    said = yield _ask("predict", {**question, "context": json_context(context)})
    rows = said["scores"]
    given = [Assignment(row["user_id"], experiment, row["variant"], row["enrolled"], row["why"]) for row in rows]
    parts = [(part["rows"], _scores(part, [rows[row] for row in part["rows"]])) for part in said["parts"]]
    return SplitScores(given, parts)


def variants(users: Any, experiment: str, expose: bool, placement: str | None) -> Conversation[tuple[Assignment, ...]]:
    """Ask which variants shoppers get; the server notes that they meet them."""
    ids = entity_columns(users, [USER], str)[USER]
    asked = {"users": ids, "experiment": experiment, "expose": expose, "placement": placement}
    said = yield _ask("variants", asked)
    return tuple(Assignment(**each) for each in said["variants"])


def track(events: Said | Iterable[Said]) -> Conversation[Collected]:
    """Send events, as many requests as it takes; in order, so that what was taken is always the first of them."""
    batch = listed(events)
    whole = Collected(0, ())
    for start in range(0, len(batch), MOST_EVENTS):
        piece = batch[start : start + MOST_EVENTS]
        try:
            said = yield Ask("/v1/events", b'{"events":[' + b",".join(map(_event, piece)) + b"]}")
        except BufferFullError as error:
            error.accepted += start
            error.rejected = (*whole.rejected, *_moved(error.rejected, start))
            raise
        rejected = _moved(map(_rejected, said["rejected"]), start)
        erased = len(piece) - said["accepted"] - len(rejected)
        whole = Collected(whole.accepted + said["accepted"], (*whole.rejected, *rejected), whole.erased + erased)
    return whole


def warm_up() -> Conversation[None]:
    """Connect; the server warms itself up."""
    yield Ask("/healthz")


def health() -> Conversation[dict[str, str]]:
    """Ask whether the server can answer."""
    try:
        said = yield Ask("/readyz", fine=(503,))
    except StoreUnavailableError as error:
        return {"server": error.what}
    return {**dict.fromkeys(HEALTH, ""), **said["wrong"]}


def answer_of(ask: Ask, status: int, body: bytes, *, server: str) -> Any:
    """Return what a server answered.

    Raises
    ------
    PortraitError
        It says that it did not do what was asked: as the error that was raised there.
    StoreUnavailableError
        It is no answer of Portrait.
    """
    try:
        said = from_json(body)
        if status < 300 or (status in ask.fine and "wrong" in said):  # noqa: PLR2004 - HTTP's own
            return said
        error = _failure(said)
    except (ValueError, LookupError, TypeError):
        error = _strange(server, status)
    raise error


def told(conversation: Conversation[Any], said: Any, *, server: str) -> Ask:
    """Go on with a conversation after an answer; its next request.

    Raises
    ------
    StopIteration
        It has ended.
    StoreUnavailableError
        The answer is none of Portrait.
    """
    try:
        return conversation.send(said)
    except (ValueError, LookupError, TypeError):
        raise _strange(server, 200) from None


def _strange(server: str, status: int) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"The server at {server} answered with status {status}, not as Portrait does.",
        hint="is the address that of `portrait serve`, and what stands before it up?",
    )


def _failure(said: Any) -> PortraitError:
    name, what, hint = (str(said["error"][part]) for part in ("type", "what", "hint"))
    kind = _KINDS.get(name, PortraitError)
    if kind is BufferFullError:
        full = BufferFullError(what, hint=hint, accepted=said["accepted"], retry_after_s=said["retry_after_s"])
        full.rejected = tuple(map(_rejected, said["rejected"]))
        return full
    if kind is TooManyRequestsError:
        return TooManyRequestsError(what, hint=hint, retry_after_s=float(said["retry_after_s"]))
    return kind(what, hint=hint)


def _ask(route: str, said: dict[str, Any]) -> Ask:
    return Ask(f"/v1/{route}", to_json(said))


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _profile(said: dict[str, Any], times: frozenset[str]) -> Profile:
    def fact(each: dict[str, Any]) -> Fact:
        value = each["value"]
        told = _instant(value) if value is not None and each["name"] in times else value
        return Fact(each["name"], told, each["description"], each["zh"])

    fresh = said["freshness"]
    last = fresh["last_event_at"]
    return Profile(
        user_id=said["user_id"],
        known=said["known"],
        dimensions={name: tuple(map(fact, facts)) for name, facts in said["dimensions"].items()},
        freshness=Freshness(
            _instant(fresh["read_at"]), fresh["log_versions"], None if last is None else _instant(last)
        ),
        tags=tuple(map(tag_of, said["tags"])),
        degraded=said["degraded"],
    )


def _marks(names: tuple[str, ...], marked: list[list[str]]) -> Any:
    found = np.zeros((len(marked), len(names)), bool)
    places = {name: place for place, name in enumerate(names)}
    for row, each in enumerate(marked):
        found[row, [places[name] for name in each]] = True
    return found


def _scores(same: dict[str, Any], rows: list[dict[str, Any]]) -> Scores:
    features, names = tuple(same["features"]), tuple(same["context"])
    return Scores(
        users=[row["user_id"] for row in rows],
        values=np.array([row["value"] for row in rows], np.float64),
        model=same["model"],
        features_as_of=_instant(same["features_as_of"]),
        features=features,
        context=names,
        nulls=_marks(features, [row["missing"] for row in rows]),
        defaulted=_marks(names, [row["defaults"] for row in rows]),
        known=[row["known"] for row in rows],
        degraded=same["degraded"],
        read_at=[_instant(row["features_as_of"]) for row in rows] if same["degraded"] else (),
    )


def _event(event: Said) -> bytes:
    said: Any = event
    if isinstance(event, Record):
        said = {EVENT_TYPE: check(event).event_type, **event.model_dump(exclude_none=True)}
    if isinstance(said, Mapping):  # sent again, it doubles nothing
        said = {EVENT_ID: str(uuid.uuid4()), **said}
        said = {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in said.items()}
    try:
        # What JSON cannot say is told to the server as what no column takes.
        return to_json(said, inf_nan_mode="strings", fallback=lambda _: {})
    except (PydanticSerializationError, UnicodeError, ValueError):
        return b"null"


def _rejected(said: dict[str, Any]) -> Rejected:
    return Rejected(said["index"], said["reason"], said["message"])


def _moved(rejected: Iterable[Rejected], start: int) -> tuple[Rejected, ...]:
    return tuple(replace(each, index=each.index + start) for each in rejected)
