"""`portrait api-keys`: who may ask over HTTP.

This module is imported for every ``portrait --help``, so what a command needs is imported in its body.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from feature_repo.core.console import Json, command_group, emit, example, table

keys = command_group("api-keys", "Who may ask over HTTP, and what.")

Name = Annotated[str, typer.Argument(help="Who gets the key.", metavar="NAME")]
Role = Annotated[list[str], typer.Option("--role", help="read (ask) or write (send events); give both for both.")]
Id = Annotated[str, typer.Argument(help="Its id, as `portrait api-keys list` shows it.", metavar="ID")]


@keys.command("create", epilog=example("portrait api-keys create checkout --role read --role write"))
def create(name: Name, *, role: Role, as_json: Json = False) -> object:
    """Make a key and print it; it is kept as a hash, and never shown again."""
    from feature_repo.core.clock import SystemClock  # noqa: PLC0415
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from serving.http.keys import ApiKeys  # noqa: PLC0415

    made, key = ApiKeys(load_settings().home).make(name, role, SystemClock())
    report = {"id": made.id, "name": made.name, "roles": made.roles, "key": key}
    emit(report, as_json, _render_made)
    return report


@keys.command("list", epilog=example("portrait api-keys list"))
def list_keys(*, as_json: Json = False) -> object:
    """List the keys, without their secrets."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from serving.http.keys import ApiKeys  # noqa: PLC0415

    known = ApiKeys(load_settings().home)
    found = [{"id": k.id, "name": k.name, "roles": k.roles, "made_at": k.made_at} for k in known.all()]
    report = {"keys": found, "guarding": known.guarding}
    emit(report, as_json, _render)
    return report


@keys.command("revoke", epilog=example("portrait api-keys revoke 1f0c9a2b"))
def revoke(identity: Id, *, as_json: Json = False) -> object:
    """Forget a key: running servers refuse it from their next request on."""
    from feature_repo.core.settings import load_settings  # noqa: PLC0415
    from serving.http.keys import ApiKeys  # noqa: PLC0415

    gone = ApiKeys(load_settings().home).revoke(identity)
    report = {"id": gone.id, "name": gone.name}
    emit(report, as_json, _render_revoked)
    return report


def _render_made(report: Any) -> None:
    sys.stdout.write(f"{report['key']}\n")


def _render_revoked(report: Any) -> None:
    sys.stdout.write(f"Revoked {report['id']} ({report['name']})\n")


def _render(report: Any) -> None:
    found = report["keys"]
    if not found:
        who = "nobody may ask" if report["guarding"] else "whoever reaches the port may ask"
        sys.stdout.write(f"No keys: {who}.\n")
        return
    table(("id", "name", "may", "made"), [(k["id"], k["name"], ", ".join(k["roles"]), k["made_at"]) for k in found])
