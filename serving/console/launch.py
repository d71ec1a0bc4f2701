"""Starts Streamlit for the console: on loopback, silent, without a word to anybody on the internet."""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from threading import Thread

from feature_repo.core.errors import PortraitError, SettingsError

_SCRIPT = Path(__file__).with_name("main.py")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")

# What Streamlit would do unasked: report use, ask for an e-mail address, open a browser, show a deploy button, watch
# and reload the source, show exceptions with what they hold to whoever looks.
SETTINGS = {
    "browser.gatherUsageStats": "false",
    "server.showEmailPrompt": "false",
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
    "server.enableStaticServing": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "client.allowedOrigins": "http://127.0.0.1",
    "logger.hideWelcomeMessage": "true",
    "logger.level": "error",
    "runner.magicEnabled": "false",
    "theme.light.primaryColor": "#3d5a80",
    "theme.dark.primaryColor": "#98b4d8",
}


def launch(host: str, port: int, lang: str) -> None:
    """Serve the pages until the process is told to end.

    Raises
    ------
    SettingsError
        Streamlit is not installed.
    """
    try:
        from streamlit.web import cli  # noqa: PLC0415 - seconds
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"The console needs a package that is not installed: {error.name}.",
            hint="run `pip install 'user-portrait[console]'`.",
        ) from None
    Thread(target=_warm_up, name="first look", daemon=True).start()
    cli.main(["run", str(_SCRIPT), *options(host, port), "--", lang], standalone_mode=False)


def _warm_up() -> None:
    """Import, compile and load what the first look would have to wait for; what is wrong is told on the page."""
    from serving.console.desk import desk  # noqa: PLC0415 - seconds

    with suppress(PortraitError):
        desk().portrait.warm_up()


def options(host: str, port: int) -> list[str]:
    """Return the options of Streamlit's command.

    A page that reached the console by a name of its own (DNS rebinding) is refused where the console is loopback's.
    """
    given = {**SETTINGS, "server.address": host, "server.port": str(port)}
    named = [f"--{name}={value}" for name, value in given.items()]
    return named + ([f"--server.allowedHosts={name}" for name in _LOOPBACK] if is_private(host) else [])


def is_private(host: str) -> bool:
    """Whether an address is reached from this machine alone.

    >>> is_private("localhost"), is_private("127.0.0.1"), is_private("0.0.0.0")
    (True, True, False)
    """
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def free_port(host: str, port: int) -> int:
    """Return the port, or any free one for 0.

    Raises
    ------
    SettingsError
        The address is not one of this machine's, or is in use.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.create_server((host, port), family=family) as listener:
            return int(listener.getsockname()[1])
    except OSError as error:
        raise SettingsError(
            f"Nothing can listen at {host}, port {port}: {error.strerror}.",
            hint="choose another with --host and --port; --port 0 takes any free one.",
        ) from None
