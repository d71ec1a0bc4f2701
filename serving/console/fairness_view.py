"""How a model treats groups of shoppers, as its training measured it (``fairness.json`` of the run)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.console.figures import Table, figure, with_interval
from serving.console.words import Words

_FIGURES = ("selection_rate", "tpr", "fpr", "mae", "share", "excess", "auc")


@dataclass(frozen=True)
class Fairness:
    """One way to tell shoppers apart.

    Attributes
    ----------
    by
        What tells them apart, such as age.
    told
        Whether the model reads it, and of how many rows it is not known.
    groups, gaps
        Every group with its figures; the largest gap of each figure, beside what chance alone would show.
    """

    by: str
    told: str
    groups: Table
    gaps: Table


def fairness_of(found: Mapping[str, Any], words: Words) -> tuple[Fairness, ...]:
    """Put a fairness report into words; nothing of one that was not made."""
    measured = {by: each for by, each in found.items() if isinstance(each, dict) and "groups" in each}
    return tuple(_fairness(by, each, words) for by, each in measured.items())


def _fairness(by: str, found: Mapping[str, Any], words: Words) -> Fairness:
    read = words("group_is_read" if found.get("is_input") else "group_is_not_read")
    unknown = words("group_unknown", count=f"{found.get('unknown_rows', 0):,}")
    return Fairness(by, f"{read} {unknown}", _groups(found["groups"], words), _gaps(found.get("gaps", {}), words))


def _groups(groups: Mapping[str, Any], words: Words) -> Table:
    logged = {name for each in groups.values() for name in each["metrics"]}
    figures = [name for name in _FIGURES if name in logged]
    rows = [
        (name, f"{each['rows']:,}", f"{each['shoppers']:,}", *(_estimate(each["metrics"].get(one)) for one in figures))
        for name, each in groups.items()
    ]
    heads = ("group", "rows", "shoppers", *(f"fair.{name}" for name in figures))
    return Table(tuple(words(name) for name in heads), tuple(rows))


def _gaps(gaps: Mapping[str, Any], words: Words) -> Table:
    rows = tuple(_gap(name, gap, words) for name, gap in gaps.items() if name in _FIGURES)
    heads = ("figure", "highest", "lowest", "gap", "chance", "beyond_chance")
    return Table(tuple(words(name) for name in heads), rows)


def _gap(name: str, gap: Mapping[str, Any], words: Words) -> tuple[str, ...]:
    size, chance = gap["estimate"].get("value"), gap.get("chance")
    beyond = size is not None and chance is not None and size > chance
    said = (words(f"fair.{name}"), str(gap["highest"]), str(gap["lowest"]), _estimate(gap["estimate"]))
    return (*said, figure(chance), words("yes" if beyond else "no"))


def _estimate(found: Mapping[str, Any] | None) -> str:
    return with_interval(found.get("value"), found.get("low"), found.get("high")) if found else ""
