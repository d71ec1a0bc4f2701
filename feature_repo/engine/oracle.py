"""What a window means, said slowly. Tests compare the fast paths with it; it shares no code with them.

One value at a time, over a plain list of events: no tiles, no state, no SQL.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

from feature_repo.engine.spec import WindowedFeature, WindowedView

Event = dict[str, Any]
Value = int | float | str | bool | None


def oracle_value(
    view: WindowedView,
    feature: WindowedFeature,
    events: Iterable[Event],
    at: int,
    *,
    before: float | None = None,
) -> Value:
    """Value of one feature for one entity at one instant.

    Parameters
    ----------
    view, feature
        What is asked for.
    events
        All events of the entity, each with its columns, its ``event_id`` and, under the view's ``timestamp_field``,
        microseconds (int).
    at
        The instant, in microseconds. Events at ``at`` itself are not known yet.
    before
        Count the events before this instant instead, in the windows of ``at``: so does a reader of a state that holds
        later ones too.

    Returns
    -------
    int, float, str, bool or None
        Times in microseconds; None is NULL.
    """
    start = floor(at - feature.reach, view.hop)
    end = at if before is None else before
    seen = [event for event in events if start <= event[view.timestamp_field] < end]
    if feature.column:
        seen = [event for event in seen if event[feature.column] is not None]
    seen.sort(key=lambda event: (event[view.timestamp_field], event.get("event_id", "")))
    times = [event[view.timestamp_field] for event in seen]
    values = [event[feature.column] if feature.column else 1 for event in seen]
    return _FUNCTIONS[feature.function](values, times, at, feature.window)


def floor(instant: int, hop: int) -> int:
    """Return the latest multiple of the hop that is not after the instant.

    >>> floor(7, 5), floor(-1, 5)
    (5, -5)
    """
    return instant - instant % hop


def _std(values: Sequence[Any]) -> float | None:
    if len(values) < 2:  # noqa: PLR2004 - one value has no spread
        return None
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    return math.sqrt(sum((value - mean) ** 2 for value in exact) / (len(exact) - 1))


# Values and times in the order of (time, event_id), the instant, and the window.
_FUNCTIONS: dict[str, Callable[[Sequence[Any], Sequence[int], int, int], Value]] = {
    "count": lambda _values, times, _at, _window: len(times),
    "sum": lambda values, _times, _at, _window: sum(values),
    "mean": lambda values, _times, _at, _window: sum(values) / len(values) if values else None,
    "std": lambda values, _times, _at, _window: _std(values),
    "min": lambda values, _times, _at, _window: min(values, default=None),
    "max": lambda values, _times, _at, _window: max(values, default=None),
    "last_event_at": lambda _values, times, _at, _window: max(times, default=None),
    "days_since": lambda _values, times, at, _window: (at - max(times)) / 86_400_000_000 if times else None,
    "read_at": lambda _values, _times, at, _window: at,
    "last": lambda values, _times, _at, _window: values[-1] if values else None,
    "count_distinct": lambda values, _times, _at, _window: len(set(values)),
    "decayed_sum": lambda values, times, at, half_life: math.fsum(
        value * 2.0 ** ((ts - at) / half_life) for value, ts in zip(values, times, strict=True)
    ),
}
