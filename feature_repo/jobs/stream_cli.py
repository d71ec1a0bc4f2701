"""The command that follows the stream, and the one that says how the consumers are; in the group ``jobs``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.core.console import Json, emit, example, live
from feature_repo.jobs.cli import jobs

if TYPE_CHECKING:
    from feature_repo.jobs.consuming.meter import Reading

__all__ = ["jobs"]

UntilEmpty = Annotated[bool, typer.Option("--until-empty", help="Stop when nothing waits in the stream any more.")]


@jobs.command("consume", epilog=example("portrait jobs consume", "portrait jobs consume --until-empty --json"))
def jobs_consume(*, until_empty: UntilEmpty = False, as_json: Json = False) -> object:
    """Follow the stream: events to the log, from there into Redis, each once. Ctrl-C ends it."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.jobs.consume import Consumer  # noqa: PLC0415

    stop = Event()
    with live("Consuming") as say, _stopped_by_signals(stop):
        consumer = Consumer(
            load_settings(),
            SystemClock(),
            stop=stop,
            until_empty=until_empty,
            progress=lambda reading: say(_line(reading)),
        )
        report = consumer.run()
    emit(report, as_json, _render)
    return report


def _render(reading: Reading) -> None:
    sys.stdout.write(_line(reading) + "\n")


def _line(reading: Reading) -> str:
    quantiles = [reading.freshness_ms[name] for name in ("p50", "p99")]
    fresh = "" if None in quantiles else f", fresh within {quantiles[0]:,.0f} ms (p50), {quantiles[1]:,.0f} ms (p99)"
    refused = sum(reading.quarantined.values())
    return (
        f"{reading.events:,} events, {reading.events_per_s:,.0f} a second, {reading.lag:,} wait{fresh}; "
        f"{reading.late:,} late, {reading.duplicates:,} known already, {refused:,} refused"
    )


@contextmanager
def _stopped_by_signals(stop: Event) -> Iterator[None]:
    """Let SIGINT and SIGTERM ask for the end; a second one ends at once, which loses nothing either."""

    def ask(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
