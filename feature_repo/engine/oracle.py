"""What a window means, said slowly. Tests compare the fast paths with it; it shares no code with them.

One value at a time, over a plain list of events: no tiles, no state, no SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from feature_repo.engine.spec import WindowedFeature, WindowedView

Event = dict[str, Any]
Value = int | float | None


def oracle_value(view: WindowedView, feature: WindowedFeature, events: Iterable[Event], at: int) -> Value:
    """Value of one feature for one entity at one instant.

    Parameters
    ----------
    view, feature
        What is asked for.
    events
        All events of the entity, each with its columns and, under the view's ``timestamp_field``, microseconds (int).
    at
        The instant, in microseconds. Events at ``at`` itself are not known yet.

    Returns
    -------
    int, float or None
        Times in microseconds; None is NULL.
    """
    start = floor(at - feature.window, view.hop)
    seen = [event for event in events if start <= event[view.timestamp_field] < at]
    if feature.column:
        seen = [event for event in seen if event[feature.column] is not None]
    times = [event[view.timestamp_field] for event in seen]
    values = [event[feature.column] for event in seen] if feature.column else []
    return _FUNCTIONS[feature.function](values, times, at)


def floor(instant: int, hop: int) -> int:
    """Return the latest multiple of the hop that is not after the instant.

    >>> floor(7, 5), floor(-1, 5)
    (5, -5)
    """
    return instant - instant % hop


_FUNCTIONS: dict[str, Callable[[Sequence[Any], Sequence[int], int], Value]] = {
    "count": lambda _values, times, _at: len(times),
    "sum": lambda values, _times, _at: sum(values),
    "mean": lambda values, _times, _at: sum(values) / len(values) if values else None,
    "min": lambda values, _times, _at: min(values, default=None),
    "max": lambda values, _times, _at: max(values, default=None),
    "last_event_at": lambda _values, times, _at: max(times, default=None),
    "days_since": lambda _values, times, at: (at - max(times)) / 86_400_000_000 if times else None,
}
