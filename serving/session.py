"""A connection to Redis that a long-lived reader keeps: made at the first question, made anew after a failure."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any, TypeVar

import redis

from feature_repo.core.deadlines import Deadline
from feature_repo.core.errors import StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import check_redis, connect_redis
from serving.breaker import Breaker

Answer = TypeVar("Answer")

_log = logging.getLogger("portrait")


class RedisSession:
    """Asks questions of the Redis of some settings. Threads may share one.

    Parameters
    ----------
    timeout_s
        For a question, with everything it takes: to connect, all replies, and to find out why there is none.
    breaker
        Refuses questions at once while Redis does not answer.
    """

    def __init__(self, settings: Settings, *, timeout_s: float, breaker: Breaker | None = None) -> None:
        self._breaker = breaker or Breaker()
        self._settings = settings
        self._timeout_s = timeout_s
        self._deadline = Deadline()
        self._connecting = Lock()
        self._client: Any = None

    def together(self) -> AbstractContextManager[None]:
        """All this thread asks until the end of the block, and waits for beside, has the time of one question."""
        return self._deadline.within(self._timeout_s)

    def aside(self) -> AbstractContextManager[None]:
        """What this thread does until the end of the block takes no time of its question."""
        return self._deadline.aside()

    @property
    def left_s(self) -> float:
        """Seconds this thread's question may still take."""
        return self._deadline.left_s

    def ask(self, question: Callable[[Any], Answer]) -> Answer:
        """Return what ``question`` returns for the client.

        Raises
        ------
        StoreUnavailableError
            Redis does not answer; the next question connects again, wherever Redis is by then. After several failures
            questions are refused for a moment without being asked.
        """
        if not self._breaker.admits():
            raise StoreUnavailableError(
                "Redis did not answer the last questions, and is left alone for a moment.",
                hint="ask again in a second; `portrait status` says whether it runs.",
            )
        with self.together():
            return self._asked(question)

    def _asked(self, question: Callable[[Any], Answer]) -> Answer:
        client = self._reached()
        try:
            answer = question(client)
        except redis.RedisError as error:
            silent = isinstance(error, redis.ConnectionError | redis.TimeoutError)
            self._failed() if silent else self._succeeded()
            self._forget(client)
            raise self._explained(error) from None
        except BaseException:
            self._succeeded()  # it answered: what was wrong is something else
            raise
        self._succeeded()
        return answer

    def close(self) -> None:
        """Give the connections back; a later question opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _reached(self) -> Any:
        try:
            return self._connected()
        except StoreUnavailableError:
            self._failed()
            raise

    def _connected(self) -> Any:
        if (client := self._client) is not None:
            return client
        if not self._connecting.acquire(timeout=max(0.0, self.left_s)):
            raise self._late()
        try:
            if self._client is None:
                self._client = self._connect()
            return self._client
        finally:
            self._connecting.release()

    def _connect(self) -> Any:
        return connect_redis(self._settings, timeout_s=self._timeout_s, retries=1, deadline=self._deadline)

    def _failed(self) -> None:
        if self._breaker.failed():
            _log.warning("Redis does not answer, and is asked again once a moment; answers are degraded or refused.")

    def _succeeded(self) -> None:
        if self._breaker.succeeded():
            _log.info("Redis answers again.")

    def _forget(self, client: Any) -> None:
        # Other threads may be in the middle of an answer: connections in use are left to them.
        if self._client is client:
            self._client = None
        client.connection_pool.disconnect(inuse_connections=False)

    def _explained(self, error: redis.RedisError) -> StoreUnavailableError:
        if isinstance(error, redis.TimeoutError):  # to ask why would be to wait as long again
            return self._late()
        try:
            with self._connect() as client:
                check_redis(client, self._settings)
        except StoreUnavailableError as unavailable:
            return unavailable
        return StoreUnavailableError(
            f"Redis answers again, but failed while it was read: {type(error).__name__}.", hint="ask again."
        )

    def _late(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"Redis did not answer within {self._timeout_s:g} s.", hint="see `portrait status`; ask again."
        )
