"""What consumers do, as metrics in the text format of Prometheus.

A consumer serves its own; ``portrait jobs status --prometheus`` prints all that is known, with consumers by
name. Counts are of one process and begin at 0 with it: Prometheus tells a restart from the fall.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from feature_repo.core.errors import SettingsError
from feature_repo.core.stores import LOOPBACK

if TYPE_CHECKING:
    from feature_repo.jobs.consuming.meter import Reading
    from feature_repo.jobs.status import ConsumerStatus, StreamStatus

    Counted: TypeAlias = Reading | ConsumerStatus

_QUANTILES = {"p50": "0.5", "p99": "0.99"}
_COUNTS = {
    "events": "Events committed.",
    "late": "Events that arrived more than an hour after they happened.",
    "duplicates": "Events the log held already.",
    "replayed": "Entries read again after a crash or a take-over.",
    "erased": "Events of erased shoppers, dropped.",
    "expired": "Events older than the retention of their type, dropped.",
}


class _Metrics(Collector):
    def __init__(self, tell: Callable[[], Iterable[Metric]]) -> None:
        self._tell = tell

    def collect(self) -> Iterable[Metric]:
        return self._tell()


def status_text(report: StreamStatus) -> str:
    """Return all that is known of stream, consumers and views."""
    registry = CollectorRegistry()
    registry.register(_Metrics(lambda: _of_status(report)))
    return generate_latest(registry).decode()


@contextmanager
def served(port: int, tell: Callable[[], Reading | None]) -> Iterator[int]:
    """Serve a consumer's metrics on the loopback interface.

    Parameters
    ----------
    port
        0 for any that is free.
    tell
        Returns what the consumer last said; None before the first time.

    Yields
    ------
    int
        Port.

    Raises
    ------
    SettingsError
        The port is taken.
    """
    registry = CollectorRegistry()
    registry.register(_Metrics(lambda: _of_consumer(tell())))
    try:
        server, thread = start_http_server(port, addr=LOOPBACK, registry=registry)
    except OSError as error:
        raise SettingsError(
            f"Metrics cannot be served on port {port}: {error.strerror}.", hint="name another with --metrics-port."
        ) from None
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _of_consumer(reading: Reading | None) -> Iterator[Metric]:
    if reading is None:
        return
    yield GaugeMetricFamily("portrait_stream_lag", "Entries of its partitions that wait.", value=reading.lag)
    yield from _of_consumers({"": reading})


def _of_status(report: StreamStatus) -> Iterator[Metric]:
    yield GaugeMetricFamily("portrait_stream_lag", "Entries that wait in the stream.", value=report.lag)
    by_partition = GaugeMetricFamily("portrait_stream_waiting", "Of them in a partition.", labels=["partition"])
    for each in report.stream.partitions:
        by_partition.add_metric([str(each.partition)], each.waiting)
    yield by_partition
    yield GaugeMetricFamily("portrait_consumers", "Consumers that are alive.", value=report.running)
    yield from _of_consumers({each.name: each for each in report.consumers})
    behind = GaugeMetricFamily("portrait_view_behind", "Log versions a view's state lacks.", labels=["view"])
    built = GaugeMetricFamily("portrait_view_built", "Whether a view has a state of its table.", labels=["view"])
    for view in report.views:
        built.add_metric([view.name], int(not view.why))
        if view.behind is not None:
            behind.add_metric([view.name], view.behind)
    yield from (behind, built)
    for name, help_text in (("version", "Delta version of a table."), ("files", "Parquet files of a table.")):
        family = GaugeMetricFamily(f"portrait_table_{name}", help_text, labels=["table"])
        for table in report.tables:
            family.add_metric([table.name], getattr(table, name))
        yield family


def _of_consumers(consumers: Mapping[str, Counted]) -> Iterator[Metric]:
    """Metrics of consumers by name; the one that serves its own has none."""
    labels = [] if "" in consumers else ["consumer"]
    for name, help_text in _COUNTS.items():
        family = CounterMetricFamily(f"portrait_{name}", help_text, labels=labels)
        for consumer, each in consumers.items():
            family.add_metric([consumer][: len(labels)], getattr(each, name))
        yield family
    refused = CounterMetricFamily("portrait_quarantined", "Refused events.", labels=[*labels, "reason"])
    rate = GaugeMetricFamily("portrait_events_per_s", "Events a second, over a minute.", labels=labels)
    fresh = GaugeMetricFamily(
        "portrait_freshness_ms", "Arrival to visible, over a minute.", labels=[*labels, "quantile"]
    )
    for consumer, each in consumers.items():
        named = [consumer][: len(labels)]
        rate.add_metric(named, each.events_per_s)
        for reason, count in each.quarantined.items():
            refused.add_metric([*named, reason], count)
        for name, quantile in _QUANTILES.items():
            value = each.freshness_ms.get(name)
            if value is not None:
                fresh.add_metric([*named, quantile], value)
    yield from (refused, rate, fresh)
