"""Time work, in turns and in child processes."""

from __future__ import annotations

import multiprocessing
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from feature_repo.core.errors import PortraitError

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Spent:
    """What a piece of work took: seconds on the wall, and seconds of processor of this process, threads included.

    Where others use the machine too, the wall says more about them than about the work.
    """

    wall: float
    cpu: float

    def __add__(self, other: Spent) -> Spent:
        """One after the other."""
        return Spent(self.wall + other.wall, self.cpu + other.cpu)


def spent(work: Callable[[], object]) -> Spent:
    """Do a piece of work and tell what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def rates(rows: int, taken: Sequence[Spent]) -> dict[str, Any]:
    """Rows per second of the median round, and what every round took."""
    return {
        "rows_per_s": rows / median(each.wall for each in taken),
        "rows_per_cpu_s": rows / median(each.cpu for each in taken),
        "seconds": [each.wall for each in taken],
    }


def times_faster(ours: Sequence[Spent], peer: Sequence[Spent]) -> float:
    """Median over the rounds of the peer's time by ours: the two of one round had the same neighbours.

    >>> times_faster([Spent(1.0, 1.0), Spent(9.0, 1.0)], [Spent(2.0, 2.0), Spent(18.0, 2.0)])
    2.0
    """
    return median(theirs.wall / mine.wall for mine, theirs in zip(ours, peer, strict=True))


def in_turns(
    ours: Callable[[], Spent],
    peer: Callable[[], Spent],
    *,
    rounds: int,
    told: Callable[[float], None],
    before: Callable[[], object] = lambda: None,
) -> tuple[list[Spent], list[Spent]]:
    """Run both, one after the other, ``rounds`` times; what slows the machine down meanwhile slows both.

    Parameters
    ----------
    ours, peer
        Tell what they took. Who goes first changes from round to round.
    told
        Called with the share of all runs that is done.
    before
        Called before each round.
    """
    taken: tuple[list[Spent], list[Spent]] = ([], [])
    for turn in range(rounds):
        before()
        for n, side in enumerate((0, 1) if turn % 2 == 0 else (1, 0)):
            taken[side].append((ours, peer)[side]())
            told((2 * turn + n + 1) / (2 * rounds))
    return taken


def percentile(values: Sequence[float], share: float) -> float:
    """Percentile by linear interpolation.

    >>> percentile([1.0, 2.0, 3.0], 50)
    2.0
    """
    return float(np.percentile(values, share))


@dataclass(frozen=True)
class ChildResult:
    """What a child process returned, and the most memory it held.

    Attributes
    ----------
    value
        The function's result.
    peak_bytes
        Largest resident set of the process, what it imported included.
    base_bytes
        The same when the function began.
    """

    value: Any
    peak_bytes: int
    base_bytes: int


def in_child(function: Callable[..., Any], *arguments: Any) -> ChildResult:
    """Call a module's function in a new process, which has never held anything else and does not outlive the call.

    Raises
    ------
    PortraitError
        The process was killed; out of memory, as a rule.
    Exception
        What the function raised.
    """
    spawn = multiprocessing.get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    child = spawn.Process(target=_in_this_process, args=(sender, function, arguments), daemon=True)
    child.start()
    sender.close()  # the child's copy stays: when the child ends, reading ends
    try:
        answer = receiver.recv()
    except EOFError:
        raise PortraitError(
            f"The process that ran {function.__name__} was killed.",
            hint="the machine's memory was not enough, as a rule; run the bench with --size small.",
        ) from None
    finally:
        child.kill()
        child.join()
        receiver.close()
    if isinstance(answer, Exception):
        raise answer
    found: ChildResult = answer
    return found


def _in_this_process(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells both processes, and the caller ends this one
    base = peak_bytes()
    try:
        with redirect_stdout(sys.stderr):  # stdout is the command's own
            value = function(*arguments)
        sender.send(ChildResult(value, peak_bytes(), base))
    except Exception as error:  # noqa: BLE001 - raised where the function was called from
        sender.send(error)


def peak_bytes() -> int:
    """Largest resident set this process has had."""
    # Not getrusage on Linux: its maximum is inherited from the process that forked this one.
    if _STATUS.exists():
        [line] = [line for line in _STATUS.read_text("ascii", errors="replace").splitlines() if "VmHWM" in line]
        return int(line.split()[1]) * 1024
    maximum = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return maximum if sys.platform == "darwin" else maximum * 1024
