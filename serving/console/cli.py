"""The command `portrait console`.

This module is imported for every ``portrait --help``, so what the command needs is imported in its body.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Literal

import typer

from feature_repo.core.console import Json, command_group, emit, example, note

commands = command_group()

Host = Annotated[str, typer.Option("--host", help="Address to listen at.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen at; 0 is any free one.")]
Lang = Annotated[Literal["en", "zh"], typer.Option("--lang", help="Language of pages whose address names none.")]


@commands.command(epilog=example("portrait console", "portrait console --port 8600 --lang zh"))
def console(*, host: Host = "127.0.0.1", port: Port = 8501, lang: Lang = "en", as_json: Json = False) -> object:
    """Show shoppers, features and models as pages in a browser, read-only, until interrupted."""
    from serving.console.launch import free_port, is_private, launch  # noqa: PLC0415

    bound = free_port(host, port)
    report = {"host": host, "port": bound, "pid": os.getpid()}
    if not is_private(host):
        note(f"Whoever reaches {host} can read every shopper's portrait: let nobody but a proxy that asks who it is.")
    emit(report, as_json, _render)
    launch(host, bound, lang)
    return report


def _render(report: dict[str, object]) -> None:
    sys.stdout.write(f"Open http://{report['host']}:{report['port']} (Ctrl-C ends)\n")
    sys.stdout.flush()
