"""What stands behind each feature of a service: the windowed values it is, or is computed from."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from feature_repo.core.clock import DAY, from_us
from feature_repo.engine.spec import WindowedFeature
from serving.online_features import ServicePlan
from serving.service_views import OnDemandPart, WindowedPart

# Each input is changed in so many made rows; a result that follows it only in a corner is found all the same.
_ROUNDS = 48


@dataclass(frozen=True, eq=False)
class Origin:
    """A windowed feature of a service; ``place`` is its part's among the plan's."""

    name: str
    part: WindowedPart
    feature: WindowedFeature
    place: int

    @property
    def table(self) -> str:
        """Table of the event log."""
        return PurePosixPath(self.part.view.source_path).name


class Lineage:
    """Where the features of a service come from; worked out once per plan.

    Attributes
    ----------
    origins
        Windowed features by full name, those only an on-demand view reads included.
    types
        Arrow types of everything stored and computed, by full name.
    """

    def __init__(self, plan: ServicePlan) -> None:
        self.plan = plan
        self.origins = {
            f"{part.prefix}__{feature.name}": Origin(f"{part.prefix}__{feature.name}", part, feature, place)
            for place, part in enumerate(plan.windowed)
            for feature in part.features
        }
        types = [part.types for part in plan.windowed] + [part.types for part in plan.ordinary]
        types += [part.types for part in plan.on_demand]
        self.types = {name: kind for each in types for name, kind in each.items()}

    def behind(self, name: str) -> tuple[str, ...]:
        """Return the windowed features a feature is, or is computed from; none of a fact or a context column."""
        return (name,) if name in self.origins else self._computed.get(name, ())

    @cached_property
    def _computed(self) -> dict[str, tuple[str, ...]]:
        found = {name: read for part in self.plan.on_demand for name, read in inputs_of(part).items()}
        return {name: tuple(each for each in read if each in self.origins) for name, read in found.items()}


def inputs_of(part: OnDemandPart) -> dict[str, tuple[str, ...]]:
    """Return which inputs each result of an on-demand view follows, in the order they are declared.

    Nothing declares it, so the function is asked: rows are made up, and one input at a time is changed. A result that
    follows none of them is taken to follow all.
    """
    names, draw = list(part.inputs), random.Random(0)  # noqa: S311 - made rows, the same every time
    rows = [row for _ in range(_ROUNDS) for row in _varied(part, names, draw)]
    columns = {name: pa.array([row[i] for row in rows], kind) for i, (name, kind) in enumerate(part.inputs.items())}
    results = {name: column.to_pylist() for name, column in part.columns(columns)}
    step = 2 * len(names) + 1
    return {name: _followed(names, values, step) or tuple(names) for name, values in results.items()}


def _varied(part: OnDemandPart, names: Sequence[str], draw: random.Random) -> Iterator[list[Any]]:
    """Yield a made row, then the same with each input another one, and NULL."""
    kinds = list(part.inputs.values())
    row = [_made(kind, draw) for kind in kinds]
    yield row
    for i in range(len(names)):
        for other in (_made(kinds[i], draw), None):
            yield [*row[:i], other, *row[i + 1 :]]


def _followed(names: Sequence[str], values: Sequence[Any], step: int) -> tuple[str, ...]:
    return tuple(
        name
        for i, name in enumerate(names)
        if any(values[start] != values[start + 1 + 2 * i + k] for start in range(0, len(values), step) for k in (0, 1))
    )


def _made(kind: pa.DataType, draw: random.Random) -> Any:
    # Small numbers often: functions ask for what was within some days.
    number = draw.choice((draw.randint(0, 3), draw.randint(1, 60)))
    if pa.types.is_timestamp(kind):
        return from_us(number * DAY + draw.randrange(DAY))
    if pa.types.is_string(kind):
        return str(number)
    if pa.types.is_boolean(kind):
        return number % 2 == 0
    return number if pa.types.is_integer(kind) else number + draw.random()
