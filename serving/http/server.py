"""A server for the application: it listens before it says so, and ends with an orderly good-bye."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import uvicorn

from feature_repo.core.errors import SettingsError
from feature_repo.core.settings import Settings, load_settings
from serving.http.app import create_app
from serving.http.keys import ApiKeys
from serving.http.logs import log_as

# A client that never ends its request must not keep the server from ending; questions have their own deadline, of 5 s.
GRACE_S = 10


class Server(uvicorn.Server):
    """Ends when it is told to (SIGINT, SIGTERM), and that is no failure."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals while the server runs; unlike uvicorn's own, raises none again afterwards."""
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def check_guarded(settings: Settings, host: str) -> None:
    """Refuse to be reached from other machines while everybody may ask.

    Raises
    ------
    SettingsError
        The host is more than this machine's loopback interface, and no key was ever made.
    """
    if host == "localhost" or ApiKeys(settings.home).guarding:
        return
    try:
        private = ip_address(host).is_loopback
    except ValueError:
        private = False
    if not private:
        raise SettingsError(
            f"Whoever reaches {host} could read every shopper's profile: there are no API keys.",
            hint="run `portrait api-keys create NAME --role read` first, or listen at 127.0.0.1.",
        )


def listen(host: str, port: int) -> socket.socket:
    """Bind an address; port 0 is any free one.

    Raises
    ------
    SettingsError
        The address is not one of this machine's, or is in use.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise SettingsError(
            f"Nothing can listen at {host}, port {port}: {error.strerror}.",
            hint="choose another with --host and --port; --port 0 takes any free one.",
        ) from None
    return listener


def serve_home(listener: socket.socket, *, log_format: str | None = None) -> None:
    """Answer for the home the environment names, until told to end; requests that have begun are answered first,
    for ten seconds at most.

    Parameters
    ----------
    log_format
        One of ``serving.http.logs.FORMATS``: a line for each request and happening; what goes wrong alone if None.
    """
    log_as(log_format)
    app = create_app(load_settings(), logged=log_format is not None)
    # Paths may name a shopper: no access log.
    config = uvicorn.Config(
        app, access_log=False, log_level="warning", log_config=None, timeout_graceful_shutdown=GRACE_S
    )
    Server(config).run(sockets=[listener])
