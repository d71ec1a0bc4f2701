"""A Feast ``StreamFeatureView`` with aggregations, read into a checked, immutable :class:`WindowedView`.

The same object comes out of a view in a declaration file and of one loaded from the registry; the offline store, the
online store and the oracle read nothing else about a view.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from feast import FeatureView, Field
from feast.types import Bool, Float64, Int64, String, UnixTimestamp

from feature_repo.core.clock import DAY, MINUTE, delta_us, from_us
from feature_repo.core.errors import DeclarationError
from feature_repo.engine.kernels import Kernel, kernel_named
from feature_repo.engine.monoids import BOOL, FLOAT, INT, TEXT, TIME, Monoid
from feature_repo.engine.tiles import hop_fits

CODEC_VERSION = 2
RETENTION_STEPS = tuple(days * DAY for days in (1, 7, 28, 91, 182, 366, 731))
RESULT_TYPES = {INT: Int64, FLOAT: Float64, TIME: UnixTimestamp, TEXT: String, BOOL: Bool}


@dataclass(frozen=True)
class WindowedFeature:
    """One output of a windowed view.

    Attributes
    ----------
    name
        Feature name in the view.
    column
        Event column; empty for whole events.
    function
        Name of a kernel.
    window
        Length in microseconds; of a decayed sum, its half-life.
    kind
        ``"i8"``, ``"f8"``, ``"time"``, ``"text"`` or ``"bool"``: what comes out.
    """

    name: str
    column: str
    function: str
    window: int
    kind: str

    @property
    def kernel(self) -> Kernel:
        """The function itself."""
        return kernel_named(self.function)

    @cached_property
    def monoids(self) -> tuple[Monoid, ...]:
        """State this feature is computed from."""
        return self.kernel.monoids(self.column, self.kind, self.window)

    @cached_property
    def reach(self) -> int:
        """How far into the past the feature looks (us)."""
        return self.kernel.reach(self.window)

    @property
    def kept(self) -> bool:
        """Whether its state forgets what is older than the view's retention."""
        return any(monoid.kept for monoid in self.monoids)


@dataclass(frozen=True)
class WindowedView:
    """What the engine knows of a windowed view.

    Attributes
    ----------
    name
        View name in the registry.
    join_keys
        Entity columns, sorted: the order of Feast's entity key.
    source_name, source_path
        Event type, and directory of its Delta table, relative to the home or absolute.
    timestamp_field, created_field
        Columns of the event's instant and of when the log learned of it, by their mapped names.
    hop
        Tile width in microseconds.
    features
        In declaration order.
    mapping
        Column of the table -> name the view reads it by, where they differ (Feast's ``field_mapping``), sorted.
    """

    name: str
    join_keys: tuple[str, ...]
    source_name: str
    source_path: str
    timestamp_field: str
    created_field: str
    hop: int
    features: tuple[WindowedFeature, ...]
    mapping: tuple[tuple[str, str], ...] = ()

    @cached_property
    def monoids(self) -> tuple[Monoid, ...]:
        """State columns of a tile, without repetition, in the order of their keys."""
        found = {monoid.key: monoid for feature in self.features for monoid in feature.monoids}
        return tuple(found[key] for key in sorted(found))

    @cached_property
    def longest(self) -> int:
        """How far the feature that looks farthest looks (us)."""
        return max(feature.reach for feature in self.features)

    @cached_property
    def lookback(self) -> int:
        """How far back the log is folded: the longest reach, rounded up so that a small change keeps the state."""
        return _rounded(self.longest)

    @cached_property
    def retention(self) -> int:
        """How long tiles and distinct values are kept, rounded up: other states keep one record for ever."""
        return _rounded(max((feature.reach for feature in self.features if feature.kept), default=0))

    @cached_property
    def state_hash(self) -> str:
        """Eight hex digits of what the stored state depends on; windows, names and texts are not part of it."""
        facts = {
            "source": self.source_name,
            "keys": self.join_keys,
            "hop": self.hop,
            "lookback": self.lookback,
            "retention": self.retention,
            "codec": CODEC_VERSION,
            "state": [monoid.key for monoid in self.monoids],
            **({"mapping": self.mapping} if self.mapping else {}),
        }
        canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    def definition_of(self, name: str) -> str:
        """Canonical text of what one feature means; a model pins it, and a registry that says otherwise is refused."""
        feature = self.feature(name)
        facts = [self.source_name, self.join_keys, self.hop, feature.column, feature.function, feature.window]
        # Which columns those names mean is part of it; a view without a mapping keeps the text it always had.
        return json.dumps([*facts, *([self.mapping] if self.mapping else [])], separators=(",", ":"))

    def feature(self, name: str) -> WindowedFeature:
        """Look a feature up by its name.

        Raises
        ------
        KeyError
            The view has no such feature.
        """
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, WindowedFeature]:
        return {feature.name: feature for feature in self.features}


def _rounded(reach: int) -> int:
    return next((step for step in RETENTION_STEPS if step >= reach), reach)


def is_windowed(view: Any) -> bool:
    """Whether a Feast view aggregates over windows."""
    return bool(getattr(view, "aggregations", None))


def windowed_view_of(view: FeatureView) -> WindowedView:
    """Read a Feast view.

    Raises
    ------
    DeclarationError
        The view contradicts itself; the message names the view and the feature, and says what to do.
    """
    kinds = {field.name: _kind_of(field, view.name) for field in view.schema if field.name not in view.join_keys}
    features = tuple(_feature(view.name, aggregation, kinds) for aggregation in view.aggregations)
    source = view.batch_source
    names = {column: name for column, name in source.field_mapping.items() if column != name}
    created = source.created_timestamp_column or ""
    spec = WindowedView(
        name=view.name,
        join_keys=tuple(sorted(view.join_keys)),
        source_name=source.name,
        source_path=source.path,
        timestamp_field=names.get(source.timestamp_field, source.timestamp_field),
        created_field=names.get(created, created),
        hop=delta_us(view.tiling_hop_size) if view.tiling_hop_size else 0,
        features=features,
        mapping=tuple(sorted(names.items())),
    )
    _check(spec, ttl=view.ttl, outputs=kinds)
    return spec


class SpecCache:
    """Reads each view once: Feast hands out the same definition on every call, as another object."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Any], WindowedView] = {}
        self._chosen: dict[tuple[Any, ...], tuple[WindowedFeature, ...]] = {}

    def of(self, view: FeatureView) -> WindowedView:
        """Return the view's spec; a re-applied view, which has a later update time, is read again."""
        key = (view.name, view.last_updated_timestamp)
        if key not in self._known:
            self._known[key] = windowed_view_of(view)
        return self._known[key]

    def features_of(self, view: FeatureView, names: Sequence[str]) -> tuple[WindowedFeature, ...]:
        """Return features of the view by name, the same tuple for the same names."""
        key = (view.name, view.last_updated_timestamp, *names)
        if key not in self._chosen:
            spec = self.of(view)
            self._chosen[key] = tuple(spec.feature(name) for name in names)
        return self._chosen[key]


def _feature(view: str, aggregation: Any, kinds: dict[str, str]) -> WindowedFeature:
    name = aggregation.resolved_name(aggregation.time_window)
    if aggregation.time_window is None:
        raise DeclarationError(f"View '{view}': feature '{name}' has no time_window.", hint="give it one.")
    if name not in kinds:
        raise DeclarationError(
            f"View '{view}' aggregates into '{name}', which its schema lacks.",
            hint="build the view with definitions.windows.windowed_view, which derives the schema.",
        )
    kernel = kernel_named(aggregation.function)
    if kernel.needs_column and not aggregation.column:
        raise DeclarationError(f"View '{view}': {aggregation.function} of '{name}' names no column.", hint="name one.")
    if kernel.result is not None and kernel.result != kinds[name]:
        raise DeclarationError(
            f"View '{view}': {aggregation.function} gives {RESULT_TYPES[kernel.result]}, "
            f"the schema declares '{name}' as {RESULT_TYPES[kinds[name]]}.",
            hint="correct the field's dtype.",
        )
    window = delta_us(aggregation.time_window)
    return WindowedFeature(name, aggregation.column, aggregation.function, window, kinds[name])


def _kind_of(field: Field, view: str) -> str:
    for kind, dtype in RESULT_TYPES.items():
        if field.dtype == dtype:
            return kind
    raise DeclarationError(
        f"View '{view}': feature '{field.name}' is {field.dtype}.",
        hint="windowed features are Int64, Float64, String, Bool or UnixTimestamp.",
    )


def _check(spec: WindowedView, *, ttl: timedelta | None, outputs: Sequence[str] | dict[str, str]) -> None:
    if not spec.join_keys:
        raise DeclarationError(f"View '{spec.name}' has no entity.", hint="a windowed view belongs to at least one.")
    if not hop_fits(spec.hop):
        raise DeclarationError(
            f"View '{spec.name}': hop {_length(spec.hop)} neither divides a day nor is whole days.",
            hint="choose for example 5 minutes, 1 hour or 1 day.",
        )
    if spec.hop < MINUTE:
        raise DeclarationError(
            f"View '{spec.name}': hop {_length(spec.hop)} is shorter than a minute.",
            hint="the head of a window is exact whatever the hop; 5 minutes is short enough for a window of two hours.",
        )
    for feature in spec.features:
        if feature.window <= 0 or feature.window % spec.hop:
            raise DeclarationError(
                f"View '{spec.name}': window {_length(feature.window)} of '{feature.name}' "
                f"is not a multiple of the hop {_length(spec.hop)}.",
                hint="change the window or the hop.",
            )
    silent = sorted(set(outputs) - {feature.name for feature in spec.features})
    if silent:
        raise DeclarationError(
            f"View '{spec.name}' declares {', '.join(silent)} in its schema, but nothing aggregates into it.",
            hint="remove the field or add the aggregation.",
        )
    if len({feature.name for feature in spec.features}) != len(spec.features):
        names = [feature.name for feature in spec.features]
        twice = next(name for name in names if names.count(name) > 1)
        raise DeclarationError(
            f"View '{spec.name}' declares '{twice}' twice.", hint="declare it once, or name it apart."
        )
    if ttl and delta_us(ttl) < spec.longest:
        raise DeclarationError(
            f"View '{spec.name}': ttl {ttl} is shorter than its longest window {_length(spec.longest)}.",
            hint="a window already bounds what is seen: leave ttl out, or make it at least as long.",
        )


def _length(us: int) -> str:
    return str(from_us(us) - from_us(0))
