"""Several feature services as one plan, so that they are read together: each view once, all of one moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from feature_repo.engine.window_reader import WindowReader
from serving.online_features import ServicePlan
from serving.service_views import OnDemandPart, OrdinaryPart, WindowedPart


def merged(plans: Sequence[ServicePlan]) -> ServicePlan:
    """Return a plan of everything some plans read; its name is theirs, with ``+`` between.

    Readings remember how to read by the plan: keep one for questions that are repeated.
    """
    windowed = _by_prefix([part for plan in plans for part in plan.windowed])
    ordinary = _by_name([part for plan in plans for part in plan.ordinary])
    return ServicePlan(
        service="+".join(plan.service for plan in plans),
        contract={name: definition for plan in plans for name, definition in plan.contract.items()},
        definitions={name: definition for plan in plans for name, definition in plan.definitions.items()},
        types={name: kind for plan in plans for name, kind in plan.types.items()},
        entities=tuple(dict.fromkeys([part.entity for part in windowed] + [part.entity for part in ordinary])),
        windowed=tuple(windowed),
        ordinary=tuple(ordinary),
        on_demand=tuple(_on_demand([part for plan in plans for part in plan.on_demand])),
        reader=WindowReader(plans[0].reader.project),
    )


def _by_prefix(parts: Iterable[WindowedPart]) -> list[WindowedPart]:
    found: dict[str, WindowedPart] = {}
    for part in parts:
        held = found.setdefault(part.prefix, part)
        features = {feature.name: feature for feature in (*held.features, *part.features)}
        found[part.prefix] = replace(held, features=tuple(features.values()))
    return list(found.values())


def _by_name(parts: Iterable[OrdinaryPart]) -> list[OrdinaryPart]:
    """Merge ordinary views; the first field of each is the row's time."""
    found: dict[str, OrdinaryPart] = {}
    for part in parts:
        held = found.setdefault(part.name, part)
        fields = dict(zip(held.types, held.fields[1:], strict=True)) | dict(
            zip(part.types, part.fields[1:], strict=True)
        )
        types = {**held.types, **part.types}
        found[part.name] = replace(held, types=types, fields=(held.fields[0], *(fields[name] for name in types)))
    return list(found.values())


def _on_demand(parts: Iterable[OnDemandPart]) -> list[OnDemandPart]:
    found: dict[frozenset[str], OnDemandPart] = {}
    for part in parts:
        view = frozenset(name.split("__", 1)[0] for name in part.types)
        held = found.setdefault(view, part)
        found[view] = replace(held, outputs={**held.outputs, **part.outputs}, types={**held.types, **part.types})
    return list(found.values())
