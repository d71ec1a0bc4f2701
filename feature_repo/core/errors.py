"""What can go wrong, as one tree; the exit code of a command follows from the branch.

::

    PortraitError                 exit 2: the user must change something
    ├── SettingsError             an environment variable, the home, the key file
    ├── DeclarationError          a view, feature, task or service that cannot be what it says
    ├── DataError                 an input table or row that cannot be read
    │   └── TaskUnavailableError  (training) the log cannot support a task
    ├── LogError                  the event log: missing table, other schema
    │   └── CommitConflictError   another writer committed first, again and again
    ├── StoreUnavailableError     Redis does not answer (exit 3 when it was ours and running)
    │   ├── BufferFullError       the stream of events is at its bound; try again later
    │   └── FencedError           what a job has read was removed meanwhile; it has to start over
    ├── NotMaterializedError      a view has no state in Redis yet
    ├── ViewsRefusedError         (jobs) some views could not be brought to the head; the others were
    ├── ModelUnavailableError     no champion, or one that was trained on other definitions
    ├── UnknownKeyError           (over HTTP) a request without a key the server knows
    ├── RoleLackingError          (over HTTP) a key that may not do this
    ├── TooManyRequestsError      (over HTTP) one caller asks too often
    └── CheckFailedError          exit 1: a check did not hold (parity, gates)

Every message says what was found, where, and what to do, in that order.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class PortraitError(Exception):
    """A failure with something the reader can do about it.

    Parameters
    ----------
    what
        What was found, and where.
    hint
        What to do; printed on its own line behind ``Hint:``.
    """

    exit_code = 2

    def __init__(self, what: str, *, hint: str = "") -> None:
        self.what = what
        self.hint = hint
        super().__init__(f"{what}\nHint: {hint}" if hint else what)


class SettingsError(PortraitError):
    """An environment variable, the home directory or a file in it cannot be used."""


class DeclarationError(PortraitError):
    """A declaration contradicts itself, its source, or the engine's rules."""


class DataError(PortraitError):
    """An input cannot be read as what it should be."""


class LogError(PortraitError):
    """The event log is missing, or a table in it is not what its event type declares."""


class CommitConflictError(LogError):
    """Other writers committed first until the retries were used up; nothing was written."""


class StoreUnavailableError(PortraitError):
    """Redis does not answer, or is not set up to hold state safely."""


class BufferFullError(StoreUnavailableError):
    """The stream of events holds as many as it may; those who read it are behind.

    Parameters
    ----------
    accepted
        How many events, from the first on, were taken.
    retry_after_s
        When to try again.

    Attributes
    ----------
    rejected
        Which of them cannot be taken at all (``collector.Rejected``), where they are checked before they are sent.
    """

    def __init__(self, what: str, *, accepted: int, retry_after_s: float, hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.accepted = accepted
        self.retry_after_s = retry_after_s
        self.rejected: tuple[Any, ...] = ()


class FencedError(StoreUnavailableError):
    """Rows were removed from the log since a job read it: it may write no more to Redis, and has to start over."""


class NotMaterializedError(PortraitError):
    """A view has no state in Redis, so its values cannot be told from zero."""


class ViewsRefusedError(PortraitError):
    """Some views of a run were refused; the others were done all the same.

    Parameters
    ----------
    refusals
        What was raised for each view, by name, in order; at least one.
    report
        What the run did to the others: the job's report.
    """

    def __init__(self, refusals: Mapping[str, PortraitError], report: object) -> None:
        self.refusals = dict(refusals)
        self.report: Any = report
        [first, *others] = self.refusals.values()
        if not others:
            super().__init__(first.what, hint=first.hint)
            return
        lines = [f"\n  {view}: {error.what} {error.hint}".rstrip() for view, error in self.refusals.items()]
        super().__init__(f"{len(lines)} views were refused:{''.join(lines)}", hint="the other views are at the head.")


class ModelUnavailableError(PortraitError):
    """No model can answer: no champion, or one whose feature definitions are not the registry's."""


class UnknownKeyError(PortraitError):
    """A request came without a key that is known."""


class RoleLackingError(PortraitError):
    """A request came with a key that may not do this."""


class TooManyRequestsError(PortraitError):
    """One caller asks too often; ``retry_after_s`` says when to ask again."""

    def __init__(self, what: str, *, retry_after_s: float, hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.retry_after_s = retry_after_s


class CheckFailedError(PortraitError):
    """A check ran and did not hold."""

    exit_code = 1


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Name the closest known word, or list what is known.

    >>> did_you_mean("amuont", ["amount", "quantity"])
    "did you mean 'amount'?"
    >>> did_you_mean("zzz", ["amount", "quantity"])
    "known are 'amount', 'quantity'."
    """
    names = sorted(known)
    if not names:
        return "none is known; is anything declared and applied yet (`portrait features apply`)?"
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return "known are " + ", ".join(f"'{name}'" for name in names) + "."
