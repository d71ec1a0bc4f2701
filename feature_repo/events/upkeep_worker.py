"""The process that compacts what a stream leaves: told which table on standard input, it says when it is done."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from deltalake.exceptions import DeltaError

from feature_repo.core.errors import PortraitError
from feature_repo.events.table_files import merge_if_free, tidy

DONE = "done"

# What is merged on the way is rewritten again and again until it is as large as this.
_TARGET_BYTES = 4 * 2**20

# A merge takes half a second of a processor: with the lowest of the common priorities it comes to an end on a machine
# that is busy for hours too. Linux shares processors among sessions before it does among the processes of one, so that
# the priority has to be its session's as well.
_NICE = 19
_SESSION_PRIORITY = Path("/proc/self/autogroup")


def serve() -> None:
    """Compact what is asked for on standard input, a table a line, until it ends: with the process that asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal tells both processes; the other one knows when to end
    _step_back()
    for line in sys.stdin:
        asked = json.loads(line)
        sys.stdout.write(f"{_compacted(Path(asked['path']), tidily=asked['tidy'])}\n")
        sys.stdout.flush()


def _step_back() -> None:
    if hasattr(os, "sched_setscheduler"):  # whatever the consumer was started with
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    os.nice(_NICE)
    with suppress(OSError):  # not Linux, or sessions are not told apart there
        _SESSION_PRIORITY.write_text(str(_NICE))


def _compacted(path: Path, *, tidily: bool) -> str:
    try:
        if merge_if_free(path, _TARGET_BYTES) and tidily:
            tidy(path)
    except (DeltaError, OSError, PortraitError) as error:
        return type(error).__name__
    return DONE
