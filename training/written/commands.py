"""What the commands of such a model share: their options, and how they run, tell and exit."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_repo.core.console import emit, progress

if TYPE_CHECKING:
    from training.written.model import ShopperModel

At = Annotated[
    datetime | None, typer.Option("--at", help="Instant, UTC; right behind the log's last visit unless given.")
]
Keep = Annotated[bool, typer.Option("--keep-champion", help="Register the version, and leave the champion as it is.")]
Weeks = Annotated[int, typer.Option("--weeks", min=0, max=520, help="Weekly instants before it to write, too.")]
IfChanged = Annotated[
    bool, typer.Option("--if-changed", help="Fit only what differs from the champion in rows, features or recipe.")
]

Render = Callable[[Any], None]


def run_fit(
    model: ShopperModel,
    render: Render,
    *,
    at: datetime | None,
    keep: bool,
    if_changed: bool,
    as_json: bool,
) -> object:
    """Fit, tell, and raise if a gate does not hold.

    Raises
    ------
    CheckFailedError
        A gate does not hold.
    RunKeptError
        MLflow did not take the run; what was found is told all the same.
    """
    from feature_repo.core.errors import CheckFailedError  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from training.registry.pending import RunKeptError  # noqa: PLC0415
    from training.written.job import fit  # noqa: PLC0415

    try:
        with progress(f"Fitting {model.name}") as step:
            report = fit(model, load_settings(), at=instant(at), promote=not keep, if_changed=if_changed, progress=step)
    except RunKeptError as error:
        emit(error.report, as_json, lambda found: _render_fit(model.name, found, render))
        raise
    emit(report, as_json, lambda found: _render_fit(model.name, found, render))
    if report.failed:
        raise CheckFailedError(
            f"Not promoted: {model.name} fails {', '.join(report.failed)}.",
            hint="the version is registered without the alias; the champion of before, if any, still answers.",
        )
    return report


def run_assign(model: ShopperModel, render: Render, *, at: datetime | None, weeks: int, as_json: bool) -> object:
    """Write what the champion says, and tell."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from training.written.job import assign  # noqa: PLC0415

    with progress(f"Writing {model.table}") as step:
        report = assign(model, load_settings(), SystemClock(), at=instant(at), weeks=weeks, progress=step)
    emit(report, as_json, lambda found: _render_assign(model.name, found, render))
    return report


def run_show(model: ShopperModel, render: Render, *, at: datetime | None, as_json: bool) -> object:
    """Tell what the champion says."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from training.written.job import show  # noqa: PLC0415

    report = show(model, load_settings(), at=instant(at))
    emit(report, as_json, lambda found: _render_show(model.name, found, render))
    return report


def instant(at: datetime | None) -> int | None:
    """Microseconds of an instant typed on the command line, which is UTC."""
    from feature_repo.core.clock import to_us  # noqa: PLC0415

    return None if at is None else to_us(at.replace(tzinfo=at.tzinfo or UTC))


def _render_fit(name: str, report: Any, render: Render) -> None:
    version = f"{name} version {report.model_version}"
    if report.unchanged:
        sys.stdout.write(f"Nothing has changed since {version} was fitted; it stays champion.\n")
        return
    render(report)
    if report.kept:
        sys.stdout.write(f"\n{name} is fitted and NOT registered: its run is kept in {report.kept}\n")
        return
    states = {"is champion": report.promoted, "is challenger": report.challenger}
    state = next((said for said, so in states.items() if so), "is registered and NOT promoted")
    sys.stdout.write(f"\n{version} {state} ({report.seconds:.0f} s)\n")


def _render_assign(name: str, report: Any, render: Render) -> None:
    written = report.written
    said = f"{written.rows:,} rows written for {written.instants} instants, {written.known:,} known already"
    sys.stdout.write(f"{said}\n\n")
    _render_show(name, report.show, render)


def _render_show(name: str, report: Any, render: Render) -> None:
    render(report)
    sys.stdout.write(f"\nas of {report.at:%Y-%m-%d %H:%M} UTC, by {name} version {report.model_version}\n")
