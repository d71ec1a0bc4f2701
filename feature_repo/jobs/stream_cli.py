"""The command that follows the stream, and the one that says how the consumers are; in the group ``jobs``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.core.console import Json, emit, example, live, note, table
from feature_repo.jobs.cli import jobs

if TYPE_CHECKING:
    from feature_repo.jobs.consuming.meter import Reading
    from feature_repo.jobs.status import ConsumerStatus, StreamStatus, ViewStatus

__all__ = ["jobs"]

UntilEmpty = Annotated[bool, typer.Option("--until-empty", help="Stop when nothing waits in the stream any more.")]


MetricsPort = Annotated[
    int | None,
    typer.Option("--metrics-port", min=0, max=65_535, help="Serve Prometheus metrics on this port of the loopback."),
]
AsPrometheus = Annotated[bool, typer.Option("--prometheus", help="Print metrics in the text format of Prometheus.")]


@jobs.command(
    "consume",
    epilog=example(
        "portrait jobs consume",
        "portrait jobs consume --until-empty --json",
        "portrait jobs consume --metrics-port 9464",
    ),
)
def jobs_consume(*, until_empty: UntilEmpty = False, metrics_port: MetricsPort = None, as_json: Json = False) -> object:
    """Follow the stream: events to the log, from there into Redis, each once. Ctrl-C ends it."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.jobs.consume import Consumer  # noqa: PLC0415

    stop, last = Event(), list["Reading"]()
    with ExitStack() as stack:
        if metrics_port is not None:
            stack.enter_context(_metrics(metrics_port, last))
        say = stack.enter_context(live("Consuming"))
        stack.enter_context(_stopped_by_signals(stop))

        def progress(reading: Reading) -> None:
            last[:] = [reading]
            say(_line(reading))

        report = Consumer(load_settings(), SystemClock(), stop=stop, until_empty=until_empty, progress=progress).run()
    emit(report, as_json, _render)
    return report


@jobs.command("status", epilog=example("portrait jobs status", "portrait jobs status --prometheus"))
def jobs_status(*, prometheus: AsPrometheus = False, as_json: Json = False) -> object:
    """Say what waits in the stream, how the consumers are, and which views are behind the log."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.jobs.status import stream_status  # noqa: PLC0415

    if prometheus and as_json:
        raise typer.BadParameter("choose one of --json and --prometheus.")
    report = stream_status(load_settings(), SystemClock())
    emit(report, as_json, _render_prometheus if prometheus else _render_status)
    return report


@contextmanager
def _metrics(port: int, last: list[Reading]) -> Iterator[None]:
    from feature_repo.jobs.consuming.metrics import served  # noqa: PLC0415

    with served(port, lambda: last[0] if last else None) as found:
        note(f"metrics: http://127.0.0.1:{found}/metrics")
        yield


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


def _render_prometheus(report: StreamStatus) -> None:
    from feature_repo.jobs.consuming.metrics import status_text  # noqa: PLC0415

    sys.stdout.write(status_text(report))


def _render_status(report: StreamStatus) -> None:
    sys.stdout.write(_stream_lines(report))
    if report.consumers:
        sys.stdout.write("\n")
        headers = [
            "consumer",
            "said",
            "partitions",
            "events",
            "a second",
            "p50 ms",
            "p99 ms",
            "late",
            "known",
            "refused",
        ]
        table(headers, [_consumer_cells(each) for each in report.consumers])
    behind = [each for each in report.views if each.behind != 0]
    sys.stdout.write(f"\n{len(report.views) - len(behind)} of {len(report.views)} views hold all of the log\n")
    if behind:
        table(["view", "table", "holds", "log", "behind"], [_view_cells(each) for each in behind])
    if report.tables:
        sys.stdout.write("\n")
        table(["table", "version", "files"], [(each.name, each.version, each.files) for each in report.tables])


def _stream_lines(report: StreamStatus) -> str:
    bound = f" of at most {report.stream.bound:,}" if report.stream.bound else ""
    each = ", ".join(f"{part.waiting:,}" for part in report.stream.partitions) or "nothing was sent yet"
    running = f"{report.running} running" if report.running else "none is running: `portrait jobs consume` starts one"
    return (
        f"stream     {report.stream.broker}, {report.lag:,} wait{bound} (by partition: {each})\nconsumers  {running}\n"
    )


def _consumer_cells(each: ConsumerStatus) -> tuple[object, ...]:
    fresh = [each.freshness_ms.get(name) for name in ("p50", "p99")]
    counts = (each.late, each.duplicates, sum(each.quarantined.values()))
    return (
        each.name,
        f"{each.said_ago_s:,.0f} s ago" + ("" if each.alive else ": DEAD"),
        ", ".join(map(str, each.partitions)),
        f"{each.events:,}",
        f"{each.events_per_s:,.0f}",
        *(None if value is None else f"{value:,.0f}" for value in fresh),
        *(f"{count:,}" for count in counts),
    )


def _view_cells(each: ViewStatus) -> tuple[object, ...]:
    return each.name, each.table, each.held, each.head, each.why if each.behind is None else each.behind


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
