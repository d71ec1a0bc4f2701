"""The ways a client may be answered: the home beside it, or a server."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from feature_repo.core.clock import Clock
from feature_repo.core.errors import SettingsError
from feature_repo.core.settings import Settings


def check_ways(url: str | None, api_key: str | None, settings: Settings | None, clock: Clock | None) -> None:
    """Refuse what is of the other way to be answered.

    Raises
    ------
    SettingsError
        A key without a server, or settings or a clock with one.
    """
    if url is None and api_key is not None:
        raise SettingsError("There is an API key and no server.", hint="pass the server's address too: url=...")
    if url is not None and (settings is not None or clock is not None):
        raise SettingsError("A server has its own settings and clock.", hint="pass url alone, or no url.")


def over_http() -> Any:
    """Return the module that asks servers.

    Raises
    ------
    SettingsError
        Its extra is not installed.
    """
    try:
        return import_module("serving.over_http")
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"Servers are asked by a package that is not installed: {error.name}.",
            hint="pip install 'user-portrait[client]'",
        ) from None
