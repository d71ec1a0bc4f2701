"""Declare windowed features without typing a name twice.

``total("amount", days=(7, 28))`` declares ``amount_sum_7d`` and ``amount_sum_28d``; :func:`windowed_view` expands such
declarations into a Feast ``StreamFeatureView`` and checks it on the spot.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from feast import Aggregation, Entity, Field, PushSource, StreamFeatureView

from feature_repo.core.clock import DAY, HOUR, MINUTE, delta_us
from feature_repo.core.errors import DeclarationError, did_you_mean
from feature_repo.definitions.stream_view import DeclaredStreamView
from feature_repo.definitions.texts import Noun, feature_text
from feature_repo.engine.feature_store import BUILT, WHEN_ASKED
from feature_repo.engine.kernels import Kernel, kernel_named
from feature_repo.engine.monoids import BOOL, FLOAT, INT, TEXT, TIME
from feature_repo.engine.spec import RESULT_TYPES, WindowedView, windowed_view_of
from feature_repo.events.schema import arrow_schema

five_minutes = timedelta(minutes=5)
hour = timedelta(hours=1)
day = timedelta(days=1)

_KINDS = {"int64": INT, "double": FLOAT, "string": TEXT, "bool": BOOL, "timestamp[us, tz=UTC]": TIME}


def windowed(function: str, column: str, windows: Iterable[timedelta], *, name: str = "") -> list[Aggregation]:
    """Declare one feature per window; the name follows from column, function and window, unless it is given."""
    return [
        Aggregation(
            column=column, function=function, time_window=window, name=name or feature_name(column, function, window)
        )
        for window in windows
    ]


def count(column: str = "", *, days: Sequence[int] = (), hours: Sequence[int] = ()) -> list[Aggregation]:
    """Number of events, or of events with a value in ``column``: ``count_7d``, ``coupon_discount_count_7d``."""
    return windowed("count", column, lengths(days, hours))


def total(column: str, *, days: Sequence[int] = (), hours: Sequence[int] = ()) -> list[Aggregation]:
    """Sum of a column: ``amount_sum_7d``."""
    return windowed("sum", column, lengths(days, hours))


def mean(column: str, *, days: Sequence[int] = (), hours: Sequence[int] = ()) -> list[Aggregation]:
    """Mean of a column: ``amount_mean_7d``."""
    return windowed("mean", column, lengths(days, hours))


def std(column: str, *, days: Sequence[int] = (), hours: Sequence[int] = ()) -> list[Aggregation]:
    """Sample standard deviation of a column: ``amount_std_28d``."""
    return windowed("std", column, lengths(days, hours))


def smallest(column: str, *, days: Sequence[int] = (), hours: Sequence[int] = ()) -> list[Aggregation]:
    """Smallest value of a column: ``amount_min_7d``."""
    return windowed("min", column, lengths(days, hours))


def largest(column: str, *, days: Sequence[int] = (), hours: Sequence[int] = ()) -> list[Aggregation]:
    """Largest value of a column: ``amount_max_7d``."""
    return windowed("max", column, lengths(days, hours))


def count_distinct(column: str, *, days: Sequence[int] = (), hours: Sequence[int] = ()) -> list[Aggregation]:
    """Number of distinct values of a column: ``category_count_distinct_28d``."""
    return windowed("count_distinct", column, lengths(days, hours))


def last(column: str, *, days: Sequence[int] = (), hours: Sequence[int] = ()) -> list[Aggregation]:
    """Value of a column in the last event that has one: ``store_id_last_84d``."""
    return windowed("last", column, lengths(days, hours))


def decayed_sum(
    column: str, *, half_life_days: Sequence[int] = (), half_life_hours: Sequence[int] = ()
) -> list[Aggregation]:
    """Sum of a column in which a value halves per half-life: ``amount_decayed_sum_7d``."""
    return windowed("decayed_sum", column, lengths(half_life_days, half_life_hours))


def decayed_count(*, half_life_days: Sequence[int] = (), half_life_hours: Sequence[int] = ()) -> list[Aggregation]:
    """Number of events in which one counts half as much per half-life: ``decayed_count_7d``."""
    return [
        Aggregation(
            column="", function="decayed_sum", time_window=window, name=feature_name("", "decayed_count", window)
        )
        for window in lengths(half_life_days, half_life_hours)
    ]


def read_at() -> list[Aggregation]:
    """Return the instant of reading, for on-demand views that need it: ``read_at``; the hop is less than a day."""
    return windowed("read_at", "", [day], name="read_at")


def last_event_at(*, within_days: int) -> list[Aggregation]:
    """When the last event was, if within so many days: ``last_event_at``."""
    return windowed("last_event_at", "", [timedelta(days=within_days)], name="last_event_at")


def days_since(column: str = "", *, within_days: int) -> list[Aggregation]:
    """Days from the last event (with a value in ``column``) to the instant of reading: ``days_since``."""
    name = f"{column}_days_since" if column else "days_since"
    return windowed("days_since", column, [timedelta(days=within_days)], name=name)


def lengths(days: Sequence[int], hours: Sequence[int]) -> list[timedelta]:
    """Windows by their lengths.

    Raises
    ------
    DeclarationError
        A length is not a positive whole number.
    """
    for unit, given in (("days", days), ("hours", hours)):
        if not isinstance(given, Iterable) or not all(type(length) is int and length > 0 for length in given):
            raise DeclarationError(f"{unit}={given!r} are no windows.", hint=f"write for example {unit}=(7, 28).")
    return [timedelta(hours=length) for length in hours] + [timedelta(days=length) for length in days]


def feature_name(column: str, function: str, window: timedelta) -> str:
    """Name of a feature.

    >>> feature_name("amount", "sum", timedelta(days=28)), feature_name("", "count", timedelta(hours=1))
    ('amount_sum_28d', 'count_1h')
    """
    return "_".join(part for part in (column, function, window_label(window)) if part)


def window_label(window: timedelta) -> str:
    """Return a window in its largest whole unit.

    >>> window_label(timedelta(days=7)), window_label(timedelta(hours=25)), window_label(timedelta(minutes=30))
    ('7d', '25h', '30m')
    """
    us = delta_us(window)
    unit, label = next((unit, label) for unit, label in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m")) if us % unit == 0)
    return f"{us // unit}{label}"


def windowed_view(
    *,
    name: str,
    entities: Sequence[Entity],
    source: PushSource,
    hop: timedelta,
    events: Noun,
    features: Sequence[Aggregation],
    description: str,
    zh: str,
    owner: str,
    when_asked: bool = False,
) -> StreamFeatureView:
    """Build and check a windowed view.

    Parameters
    ----------
    source
        An event type, see ``definitions.sources``.
    hop
        Tile width: divides a day or is whole days; every window is a multiple of it. At most a 24th of the windows
        keeps what is served close to what training saw.
    events
        What one event of the source is called; the texts of the features are made of it.
    features
        Lists of this module's helpers, unpacked.
    description, zh
        One sentence each, in English and in Chinese.
    when_asked
        Its state is so large that `portrait jobs materialize` builds it only when asked for the view by name, and keeps
        it up from then on.

    Raises
    ------
    DeclarationError
        A column the event type lacks, a window that is no multiple of the hop, and all else ``engine.spec`` checks.
    """
    keys = [entity.join_key for entity in entities]
    view = _stream_view(
        name=name,
        entities=list(entities),
        source=source,
        schema=[_output(name, source, aggregation, events) for aggregation in features]
        + [entity_field(entity) for entity in entities],
        timestamp_field=source.batch_source.timestamp_field,
        aggregations=list(features),
        enable_tiling=True,
        tiling_hop_size=hop,
        ttl=timedelta(0),
        description=description,
        tags={"zh": zh} | ({BUILT: WHEN_ASKED} if when_asked else {}),
        owner=owner,
        online=True,
    )
    for key in keys:
        _check_column(name, source.name, key)
    view.tags["definition"] = definition_tag(windowed_view_of(view))
    return view


def definition_tag(view: WindowedView) -> str:
    """Return eight hex digits of what a view computes.

    Feast compares a stream view without its aggregations and hop, and would keep the registered ones after a change
    that leaves the names alone; it does compare tags.
    """
    facts = [view.hop, *(view.definition_of(feature.name) for feature in view.features)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]


def _stream_view(**declared: Any) -> StreamFeatureView:
    with warnings.catch_warnings():
        # Feast calls stream views experimental; that its own engine cannot compute their windows is why ours exists.
        warnings.filterwarnings("ignore", message="Stream feature views", category=RuntimeWarning)
        return DeclaredStreamView(**declared)


def entity_field(entity: Entity) -> Field:
    """Return the schema field of an entity's join key."""
    from feast.types import from_value_type  # noqa: PLC0415 - beside its one use

    return Field(name=entity.join_key, dtype=from_value_type(entity.value_type))


def _output(view: str, source: PushSource, aggregation: Aggregation, events: Noun) -> Field:
    kernel = kernel_named(aggregation.function)
    if aggregation.column or kernel.needs_column:
        _check_column(view, source.name, aggregation.column)
    column_kind = _input_kind(view, source.name, aggregation.column, kernel) if aggregation.column else ""
    kind = kernel.result or column_kind
    english, chinese = feature_text(events, aggregation.column, kernel.name, window_label(aggregation.time_window))
    return Field(name=aggregation.name, dtype=RESULT_TYPES[kind], description=english, tags={"zh": chinese})


def _check_column(view: str, event: str, column: str) -> None:
    known = arrow_schema(event).names
    if not column:
        raise DeclarationError(f"View '{view}' aggregates no column of event '{event}'.", hint="name the column.")
    if column not in known:
        raise DeclarationError(
            f"View '{view}' reads column '{column}', which event '{event}' lacks.", hint=did_you_mean(column, known)
        )


def _input_kind(view: str, event: str, column: str, kernel: Kernel) -> str:
    found = str(arrow_schema(event).field(column).type)
    kind = _KINDS.get(found, "")
    if kind not in kernel.takes:
        taken = ", ".join(name for name, each in _KINDS.items() if each in kernel.takes)
        raise DeclarationError(
            f"View '{view}' aggregates '{column}' of event '{event}', which holds {found}.",
            hint=f"{kernel.name} takes columns of {taken}.",
        )
    return kind
