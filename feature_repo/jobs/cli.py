"""Commands of the jobs: `portrait up`, `down`, `status`.

Each group below is an entry point of ``portrait.commands`` (pyproject.toml). This module is imported for every
``portrait --help``, so what a command needs is imported in its body; typer evaluates the annotations of a command, so
they name only what is imported here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from feature_repo.core.console import Json, command_group, emit, example

if TYPE_CHECKING:
    from feature_repo.jobs.services import ServiceStatus

services = command_group()


@services.command(epilog=example("portrait up", "portrait up --json"))
def up(*, as_json: Json = False) -> object:
    """Start the embedded Redis, or tell that it runs already."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.jobs.services import up as start  # noqa: PLC0415

    return _emit(start(load_settings(), SystemClock()), as_json)


@services.command(epilog=example("portrait down"))
def down(*, as_json: Json = False) -> object:
    """Stop the embedded Redis; its data stays, with every write on disk."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.jobs.services import down as stop  # noqa: PLC0415

    return _emit(stop(load_settings()), as_json)


@services.command(epilog=example("portrait status", "portrait status --json"))
def status(*, as_json: Json = False) -> object:
    """Tell which services run, where, and since when."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.jobs.services import status as describe  # noqa: PLC0415

    return _emit(describe(load_settings()), as_json)


def _emit(redis: ServiceStatus, as_json: bool) -> object:
    report = {"redis": redis}
    emit(report, as_json, _render)
    return report


def _render(report: dict[str, ServiceStatus]) -> None:
    for name, service in report.items():
        sys.stdout.write(f"{name:<8}{_sentence(service)}\n")


def _sentence(service: ServiceStatus) -> str:
    if not service.running:
        return ", ".join(fact for fact in (service.kind, service.url, "not running") if fact) + f": {service.detail}"
    since = f"since {service.started_at:%Y-%m-%d %H:%M:%S} UTC" if service.started_at else ""
    size = f"{service.keys:,} keys, {service.memory_bytes / 2**20:,.1f} MiB" if service.memory_bytes is not None else ""
    saved = {True: "writes are on disk", False: "WRITES DO NOT REACH THE DISK", None: ""}[service.persistence_ok]
    version = f"version {service.version}" if service.version else ""
    process = f"process {service.pid}" if service.pid is not None else ""
    facts = (service.kind, service.url, version, process, since, size, saved)
    return ", ".join(fact for fact in facts if fact)
