"""What a bench is and what it reports; light to import, as the command line is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

from feature_repo.core.contributions import contributions
from feature_repo.core.errors import PortraitError, did_you_mean

if TYPE_CHECKING:
    from feature_repo.bench.ground import Ground

GROUP = "portrait.benches"


class Size(StrEnum):
    """How much data: ``small`` ends in under a minute, ``full`` takes minutes and is what targets are judged at."""

    SMALL = "small"
    FULL = "full"


@dataclass(frozen=True)
class Findings:
    """What a bench measured.

    Attributes
    ----------
    ours, peer
        Measures by name, of the same names where both have them.
    ratio
        How many times better ours is; below 1 it is worse.
    unit
        What the ratio compares.
    setup
        What was measured: facts a reader needs to repeat it.
    """

    ours: Mapping[str, Any]
    peer: Mapping[str, Any]
    ratio: float
    unit: str
    setup: Mapping[str, Any]


@dataclass(frozen=True)
class BenchReport:
    """Findings under the bench's name: the shape of ``portrait bench NAME --json``."""

    name: str
    ours: Mapping[str, Any]
    peer: Mapping[str, Any]
    ratio: float
    unit: str
    setup: Mapping[str, Any]


@dataclass(frozen=True)
class Bench:
    """One comparison, declared by an entry point of the group ``portrait.benches``.

    Attributes
    ----------
    name
        As behind ``portrait bench``.
    sizes
        What each size means to :attr:`measure`: a dataclass of the bench's own.
    measure
        Takes the ground to stand on and one of the sizes; runs ours and the peer in turn.
    least
        A small run's ratio is no less unless something was made slower: loose, as machines differ and are shared.
    """

    name: str
    sizes: Mapping[Size, Any]
    measure: Callable[[Ground, Any], Findings]
    least: float = 0.0


def bench_names() -> list[str]:
    """Return the names of all declared benches."""
    return [entry.name for entry in contributions(GROUP)]


def bench_entry(name: str) -> EntryPoint:
    """Find a bench without loading it, which takes seconds.

    Raises
    ------
    PortraitError
        There is no such bench.
    """
    entries = {entry.name: entry for entry in contributions(GROUP)}
    if name not in entries:
        raise PortraitError(f"There is no bench '{name}'", hint=did_you_mean(name, entries))
    return entries[name]
