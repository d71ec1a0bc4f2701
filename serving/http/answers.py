"""Shapes of answers, for the description of the API; what is sent is the SDK's own, without a detour through these."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel


class FeatureRow(BaseModel):
    """Features of one row of the question by full name; null is NULL."""

    entity: dict[str, str]
    known: bool
    values: dict[str, Any]


class FeatureRows(BaseModel):
    """Features, one row per row of the question, read at one instant; entity columns and Arrow types if asked for.

    ``degraded``: Redis did not answer, and these are the last known ones, the earliest of that instant.
    """

    features_as_of: datetime
    degraded: bool
    rows: list[FeatureRow]
    entities: list[str] | None = None
    types: dict[str, str] | None = None


class FactShown(BaseModel):
    """One feature of a shopper, and what it says."""

    name: str
    value: Any
    description: str
    zh: str


class FreshnessShown(BaseModel):
    """How fresh a portrait is."""

    read_at: datetime
    log_versions: dict[str, int | None]
    last_event_at: datetime | None


class TagEvidenceShown(BaseModel):
    """A feature or a score behind a tag."""

    name: str
    value: Any
    description: str
    zh: str


class TagShown(BaseModel):
    """One tag; ``value`` is a text, a flag, or null with the reason in ``unknown``."""

    name: str
    version: int
    kind: str
    dimension: str
    english: str
    chinese: str
    value: str | bool | None
    word: str
    zh: str
    strength: float | None
    evidence: list[TagEvidenceShown]
    model: str | None
    as_of: datetime
    unknown: str


class Portrait(BaseModel):
    """A shopper's portrait: tags, and facts by dimension."""

    user_id: str
    known: bool
    tags: list[TagShown]
    dimensions: dict[str, list[FactShown]]
    freshness: FreshnessShown
    degraded: bool


class Portraits(BaseModel):
    """Portraits in the order of the question; if asked for, which facts are times."""

    profiles: list[Portrait]
    times: list[str] | None = None


class Pseudonyms(BaseModel):
    """Pseudonyms of shoppers in the order of the question."""

    users: list[str]


class ScoreShown(BaseModel):
    """One answer of a model; the last three where an experiment was named."""

    user_id: str
    value: float
    model: str
    features_as_of: datetime
    missing: list[str]
    defaults: list[str]
    known: bool
    degraded: bool
    variant: str | None = None
    enrolled: bool | None = None
    why: str | None = None


class ScoreList(BaseModel):
    """Answers in the order of the question; if asked for, what holds for all of them, and the model's inputs."""

    scores: list[ScoreShown]
    model: str | None = None
    features_as_of: datetime | None = None
    degraded: bool | None = None
    features: list[str] | None = None
    context: list[str] | None = None
