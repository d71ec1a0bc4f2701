"""Run a bench."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import time
from typing import Any

from feature_repo.bench.bench import Bench, BenchReport, Size
from feature_repo.bench.ground import Ground, temporary_ground
from feature_repo.bench.stock import check_installed
from feature_repo.core.console import Step
from feature_repo.jobs.services import status

_PACKAGES = ("feast", "duckdb", "ibis-framework", "redis")


def run_bench(bench: Bench, size: Size, step: Step) -> BenchReport:
    """Run a bench at one of its sizes, on a ground of its own, and report what was found and on what.

    Raises
    ------
    PortraitError
        Stock Feast's DuckDB store is not installed, or a child process was killed.
    CheckFailedError
        Ours and the peer do not give the same answers, so comparing them would say nothing.
    """
    return measured(bench, bench.sizes[size], step, size=size.value)


def measured(bench: Bench, scale: Any, step: Step, *, size: str) -> BenchReport:
    """Run a bench at a scale of its own kind, which need not be among its sizes."""
    check_installed()
    started = time.monotonic()
    with temporary_ground(step) as ground:
        found = bench.measure(ground, scale)
        setup = {"size": size, **dataclasses.asdict(scale), **found.setup, **_machine(ground)}
    step("done", 1.0)
    setup["bench_s"] = round(time.monotonic() - started, 1)
    return BenchReport(bench.name, found.ours, found.peer, found.ratio, found.unit, setup)


def _machine(ground: Ground) -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {
        "cores": os.cpu_count(),
        "duckdb_threads": ground.settings.threads,
        "duckdb_memory": ground.settings.memory,
        "versions": {**versions, "redis server": status(ground.settings).version},
    }
