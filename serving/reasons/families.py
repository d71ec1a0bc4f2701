"""Inputs of a model that tell of one thing: windows of one column of a view, and what is computed from those alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serving.catalogue import Label
from serving.profile import dimension_of
from serving.reasons.explanation import QUESTION
from serving.reasons.lineage import Lineage


@dataclass(frozen=True)
class Family:
    """Inputs told by one reason.

    Attributes
    ----------
    dimension
        Dimension of the portrait.
    members
        Inputs of the model, in its order.
    behind
        Windowed features they are, or are computed from.
    function
        That all of ``behind`` are, of one column of one view; empty where they are of several, or none.
    """

    dimension: str
    members: tuple[str, ...]
    behind: tuple[str, ...]
    function: str


def families(
    lineage: Lineage, columns: Sequence[str], context: Mapping[str, float], labels: Mapping[str, Label]
) -> tuple[Family, ...]:
    """Sort a model's inputs into families, each input into one.

    Parameters
    ----------
    columns
        The model's inputs, of which ``context`` are no features.
    labels
        Of features by full name.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    for name in columns:
        found.setdefault((QUESTION, name) if name in context else _kin(lineage, name), []).append(name)
    return tuple(_family(lineage, members, context, labels) for members in found.values())


def _kin(lineage: Lineage, name: str) -> tuple[str, ...]:
    """What a feature shares with its family: view, column and function, or nothing but its own name."""
    kin = {_source(lineage, each) for each in lineage.behind(name)}
    return next(iter(kin)) if len(kin) == 1 else (name,)


def _source(lineage: Lineage, name: str) -> tuple[str, ...]:
    origin = lineage.origins[name]
    return origin.part.prefix, origin.feature.column, origin.feature.function


def _family(
    lineage: Lineage, members: Sequence[str], context: Mapping[str, float], labels: Mapping[str, Label]
) -> Family:
    behind = tuple(dict.fromkeys(each for name in members for each in lineage.behind(name)))
    functions = {_source(lineage, each) for each in behind}
    first = next((name for name in members if name in lineage.origins), members[0])
    return Family(
        dimension=QUESTION if first in context else dimension_of(first, labels.get(first)),
        members=tuple(members),
        behind=behind,
        function=functions.pop()[-1] if len(functions) == 1 else "",
    )
