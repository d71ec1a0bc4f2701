"""Figures with their intervals, and tables of texts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table: its heads, its rows of texts, and the place of the row that is marked (-1: none)."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    on: int = -1


def figure(value: float | None) -> str:
    """Return a figure to three digits; empty where there is none.

    >>> figure(0.83849), figure(None)
    ('0.838', '')
    """
    return "" if value is None else f"{value:,.3f}"


def with_interval(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a figure with its interval, where it has both ends.

    >>> with_interval(0.8387, 0.81, 0.8645), with_interval(0.8387, 0.81)
    ('0.839 [0.810, 0.865]', '0.839')
    """
    known = value is not None and low is not None and high is not None
    return f"{figure(value)} [{figure(low)}, {figure(high)}]" if known else figure(value)
