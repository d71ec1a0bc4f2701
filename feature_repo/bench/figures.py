"""How measures are named and shown, on the terminal and on the page; light to import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def flat(measures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name what is nested by the way to it.

    >>> dict(flat({"p50_ms": {"1": 0.5}, "rows": 2}))
    {'p50_ms 1': 0.5, 'rows': 2}
    """
    for name, value in measures.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", value


def shown(value: Any) -> str:
    """Return a figure with the digits a reader can use.

    >>> shown(77053.2), shown(0.41234), shown([1, 2.5]), shown(None)
    ('77,053', '0.412', '1 2.5', '')
    """
    if isinstance(value, (list, tuple)):
        return " ".join(shown(each) for each in value)
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"  # noqa: PLR2004 - digits a reader can use
    return f"{value:,}" if isinstance(value, int) else str("" if value is None else value)
