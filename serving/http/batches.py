"""Questions to a model that would wait for each other are asked together: a hundred rows take little longer than ten.

What many threads want at once, the interpreter gives to one at a time. So one batch is asked at a time; what comes
meanwhile is the next. A question that comes alone does not wait, and nobody waits for a batch that has not ended after
``PATIENCE_S``, as something it asks does not answer: the next one is asked beside it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any

from fastapi.concurrency import run_in_threadpool

from feature_repo.core.errors import PortraitError
from serving.local import LocalTransport
from serving.models import Scores

PATIENCE_S = 0.05
MOST_ROWS = 1_000  # of a batch of several

Finish = Callable[[Scores], bytes]


@dataclass(frozen=True)
class Asked:
    """What is asked of whom; what is alike can be asked together.

    Attributes
    ----------
    task, version
        Of the model; of the champion if the version is empty.
    context
        One number for all rows by name.
    """

    task: Any
    version: str
    context: Mapping[str, Any]

    @property
    def alike(self) -> str:
        """Equal where the same is asked; ``True`` and ``1`` are not."""
        return repr((self.task, self.version, sorted(self.context.items())))


@dataclass(eq=False)
class _Question:
    asked: Asked
    users: list[Any]
    finish: Finish
    alike: str
    answer: asyncio.Future[bytes]
    context: Context = field(default_factory=copy_context)

    def told(self, scores: Scores) -> bytes:
        return self.context.run(self.finish, scores)


_Outcome = tuple[_Question, bytes | Exception]


class Batches:
    """Asks models of a home, of one event loop."""

    def __init__(self, transport: LocalTransport) -> None:
        self._transport = transport
        self._waiting: deque[_Question] = deque()
        self._working = 0
        self._began = 0.0  # when the last batch was (s of the loop's clock)
        self._watch: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself does not hold on to them

    async def ask(self, asked: Asked, users: list[Any], finish: Finish) -> bytes:
        """Ask about shoppers.

        Parameters
        ----------
        finish
            Makes the answer of the scores, in another thread and in the caller's context.

        Raises
        ------
        PortraitError
            As :meth:`serving.sdk.ProfileClient.predict`.
        """
        loop = asyncio.get_running_loop()
        question = _Question(asked, users, finish, asked.alike, loop.create_future())
        self._waiting.append(question)
        if not self._working:
            self._begin()
        elif self._watch is None:
            self._watch = loop.call_later(PATIENCE_S, self._look)
        return await question.answer

    def _look(self) -> None:
        """Begin a batch beside one that does not end, for those who wait."""
        self._watch = None
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        if loop.time() - self._began >= PATIENCE_S:
            self._begin()
        self._watch = loop.call_later(PATIENCE_S, self._look)

    def _begin(self) -> None:
        self._working += 1
        task = asyncio.get_running_loop().create_task(self._work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        try:
            while batch := self._next():
                self._began = asyncio.get_running_loop().time()
                await self._answer(batch)
                if self._working > 1:
                    break
        finally:
            self._working -= 1

    async def _answer(self, batch: Sequence[_Question]) -> None:
        outcomes: Sequence[_Outcome]
        try:
            outcomes = await run_in_threadpool(self._outcomes, batch)
        except Exception as error:  # noqa: BLE001 - a fault of ours, told to each of those who asked
            outcomes = [(question, error) for question in batch]
        for question, outcome in outcomes:
            if question.answer.done():  # who asked went away
                continue
            if isinstance(outcome, bytes):
                question.answer.set_result(outcome)
            else:
                question.answer.set_exception(outcome)

    def _next(self) -> list[_Question]:
        """Take the question that waits the longest, and those like it as far as they fit."""
        if not self._waiting:
            return []
        first = self._waiting.popleft()
        batch, others, rows = [first], deque[_Question](), len(first.users)
        for each in self._waiting:
            if each.alike == first.alike and rows + len(each.users) <= MOST_ROWS:
                batch.append(each)
                rows += len(each.users)
            else:
                others.append(each)
        self._waiting = others
        return batch

    def _outcomes(self, batch: Sequence[_Question]) -> list[_Outcome]:
        with self._transport.together():
            try:
                return self._jointly(batch)
            except PortraitError as error:
                if len(batch) == 1:
                    return [(batch[0], error)]
            # One of them is wrong, or cannot be answered: each is told of its own.
            return [self._alone(question) for question in batch]

    def _alone(self, question: _Question) -> _Outcome:
        try:
            return self._jointly([question])[0]
        except PortraitError as error:
            return question, error

    def _jointly(self, batch: Sequence[_Question]) -> list[_Outcome]:
        asked = batch[0].asked
        users = [user for question in batch for user in question.users] if len(batch) > 1 else batch[0].users
        if asked.version:
            scores = self._transport.pinned(asked.version, asked.task, users, asked.context)
        else:
            scores = self._transport.predict(asked.task, users, asked.context)
        if len(batch) == 1:
            return [(batch[0], batch[0].told(scores))]
        parts = scores.parts([len(question.users) for question in batch])
        return [(question, question.told(part)) for question, part in zip(batch, parts, strict=True)]
