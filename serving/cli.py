"""Commands of serving: `portrait profile`, `predict`, `key`, `serve`.

This module is imported for every ``portrait --help``, so what a command needs is imported in its body.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from feature_repo.core.console import Json, command_group, emit, example, note, table
from feature_repo.core.errors import SettingsError

if TYPE_CHECKING:
    from serving.models import Scores
    from serving.profile import Profile

commands = command_group()

User = Annotated[str, typer.Argument(help="Raw id or pseudonym of a shopper.", metavar="USER")]
Users = Annotated[list[str], typer.Argument(help="Raw ids or pseudonyms of shoppers.", metavar="USER...")]
Task = Annotated[str, typer.Argument(help="Name of the task, for example redemption.", metavar="TASK")]
Host = Annotated[str, typer.Option("--host", help="Address to listen at; 0.0.0.0 is every one of this machine.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen at; 0 is any free one.")]
Workers = Annotated[int, typer.Option("--workers", min=1, max=256, help="Processes that answer.")]
LogFormat = Annotated[
    Literal["json", "text"] | None,
    typer.Option("--log-format", help="Log each request and happening on stderr; else only what goes wrong."),
]
Html = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write a page instead: the portrait, and reasons of every score."),
]
RawId = Annotated[str, typer.Argument(help="Id as your systems write it.", metavar="RAW_ID")]


@commands.command(epilog=example("portrait profile 2375", "portrait profile 2375 --html 2375.html"))
def profile(user: User, *, html: Html = None, as_json: Json = False) -> object:
    """Show everything known about one shopper."""
    from serving.sdk import ProfileClient  # noqa: PLC0415

    with ProfileClient() as portrait:
        report = portrait.profile(user)
        if html is not None:
            from serving.reasons.page import write_page  # noqa: PLC0415

            write_page(portrait, report, html)
            note(f"Wrote {html}")
    if html is None or as_json:
        emit(report, as_json, _render_profile)
    return report


@commands.command(epilog=example("portrait predict redemption 2375 1364", "portrait predict redemption 2375 --json"))
def predict(task: Task, users: Users, *, as_json: Json = False) -> object:
    """Ask the champion of a task about shoppers."""
    from serving.sdk import ProfileClient  # noqa: PLC0415

    with ProfileClient() as portrait:
        report = portrait.predict(task, users)
    emit({"scores": report.scores}, as_json, lambda _: _render_scores(report))
    return report


@commands.command(epilog=example("portrait key 2375"))
def key(raw_id: RawId, *, as_json: Json = False) -> object:
    """Print the pseudonym of a shopper's id."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from feature_repo.privacy.pseudonyms import load_pseudonymiser  # noqa: PLC0415

    report = {"user_id": load_pseudonymiser(load_settings().home).pseudonym(raw_id)}
    emit(report, as_json, _render_key)
    return report


@commands.command(epilog=example("portrait serve", "portrait serve --host 0.0.0.0 --port 8080"))
def serve(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Workers = 1,
    log_format: LogFormat = None,
    as_json: Json = False,
) -> object:
    """Take events and answer questions over HTTP (/v1, described at /docs) until interrupted."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415

    try:
        from serving.http import workers as several  # noqa: PLC0415
        from serving.http.server import check_guarded, listen, serve_home  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"The HTTP server needs a package that is not installed: {error.name}.",
            hint="run `pip install 'user-portrait[serve]'`.",
        ) from None
    check_guarded(load_settings(), host)
    with listen(host, port) as listener:
        bound = listener.getsockname()
        report = {"host": bound[0], "port": bound[1], "pid": os.getpid()}
        emit(report, as_json, _render_server)
        if workers == 1:
            serve_home(listener, log_format=log_format)
        else:
            several.Workers(partial(serve_home, log_format=log_format), listener, workers).run()
    return report


def _render_server(report: dict[str, object]) -> None:
    sys.stdout.write(f"Listening at http://{report['host']}:{report['port']} (Ctrl-C ends)\n")
    sys.stdout.flush()


def _render_key(report: dict[str, str]) -> None:
    sys.stdout.write(report["user_id"] + "\n")


def _render_profile(report: Profile) -> None:
    from serving.profile import DIMENSIONS  # noqa: PLC0415
    from serving.tags.shown import rows_of  # noqa: PLC0415

    fresh = report.freshness
    last = f"{fresh.last_event_at:%Y-%m-%d %H:%M} UTC" if fresh.last_event_at else "none in the windows"
    known = "" if report.known else "\nNever seen: these are the values of a shopper without events. 未知顾客"
    versions = ", ".join(f"{view} {version}" for view, version in fresh.log_versions.items())
    sys.stdout.write(f"Shopper 顾客  {report.user_id}{known}\nLast event 最近事件  {last}\n")
    if report.tags:
        sys.stdout.write("\nTags 标签\n")
        table(("  dimension", "tag", "标签", "value", "", "strength", "because", "as of"), rows_of(report.tags))
    for name, facts in report.dimensions.items():
        english, chinese = DIMENSIONS.get(name, (name, ""))
        sys.stdout.write(f"\n{english} {chinese}\n")
        table(
            ("  feature", "value", "what it says", "含义"),
            [(f"  {f.name}", _shown(f.value), f.description, f.zh) for f in facts],
        )
    sys.stdout.write(f"\nRead at {fresh.read_at:%Y-%m-%d %H:%M:%S} UTC; log versions: {versions}\n")


def _render_scores(report: Scores) -> None:
    rows = [
        (
            score.user_id,
            f"{score.value:.4f}",
            score.model,
            "yes" if score.known else "no",
            len(score.missing),
            ", ".join(score.defaults),
        )
        for score in report
    ]
    table(("shopper", "score", "model", "known", "features NULL", "by default"), rows)
    if report.degraded:
        note(f"Redis does not answer: by what was last known, as of {report.features_as_of:%Y-%m-%d %H:%M:%S} UTC.")


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:%Y-%m-%d %H:%M}" if hasattr(value, "strftime") else str(value)
