"""A tag as JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from serving.json_values import instant_of_text, jsonable, value_of
from serving.tags.answers import TagEvidence, TagValue


def tag_of(said: Mapping[str, Any]) -> TagValue:
    """Return a tag of JSON."""
    evidence = tuple(TagEvidence(**{**each, "value": value_of(each["value"])}) for each in said["evidence"])
    return TagValue(**{**said, "evidence": evidence, "as_of": instant_of_text(said["as_of"])})


def json_of_tag(tag: TagValue) -> dict[str, Any]:
    """Return a tag as JSON knows it, but for its instant."""
    told = {each.name: getattr(tag, each.name) for each in fields(tag)}
    return {**told, "evidence": jsonable(tag.evidence)}
