"""A connection to Redis that a long-lived reader keeps: made at the first question, made anew after a failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import redis

from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import check_redis, connect_redis

Answer = TypeVar("Answer")


class RedisSession:
    """Asks questions of the Redis of some settings.

    Parameters
    ----------
    timeout_s
        To connect, and for each reply.
    """

    def __init__(self, settings: Settings, *, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._client: Any = None

    def ask(self, question: Callable[[Any], Answer]) -> Answer:
        """Return what ``question`` returns for the client.

        Raises
        ------
        StoreUnavailableError
            Redis does not answer; the next question connects again, wherever Redis is by then.
        """
        client = self._client = self._client or connect_redis(self._settings, timeout_s=self._timeout_s, retries=1)
        try:
            return question(client)
        except redis.RedisError as error:
            self.close()
            raise self._explained(error) from None

    def close(self) -> None:
        """Give the connections back; a later question opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _explained(self, error: redis.RedisError) -> StoreUnavailableError:
        try:
            with connect_redis(self._settings, timeout_s=self._timeout_s) as client:
                check_redis(client, self._settings)
        except StoreUnavailableError as unavailable:
            return unavailable
        return StoreUnavailableError(
            f"Redis answers again, but failed while it was read: {type(error).__name__}.", hint="ask again."
        )
