"""Compacts the tables that a stream writes to, beside it: in a process of its own, which takes what the stream leaves.

A merge takes both processors for half a second. In the consumer's own process events would wait for it, for their
commits take turns with it at Python's lock and at the processors.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from feature_repo.core.settings import PACKAGE_ROOT
from feature_repo.events.upkeep_worker import DONE, serve

if TYPE_CHECKING:
    from feature_repo.events.stream_table import StreamTable

DUE_VERSIONS = 50
# Listing a table's files takes longer than merging some: it is done once in so many merges of a stream's.
MERGES_PER_TIDYING = 60


class Upkeep:
    """Has tables compacted, one at a time."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._worker: subprocess.Popen[str] | None = None
        self._next: dict[Path, int] = {}
        self._merges: Counter[Path] = Counter()
        self.errors = 0

    def due(self, table: StreamTable) -> bool:
        """Begin to compact a table if 50 versions were made since the last time; say whether it was begun.

        Call it after a commit: it takes microseconds. Compaction is no condition of anything, so what goes wrong in it
        is counted in ``errors`` and tried again 50 versions later.
        """
        version = table.version
        due_at = self._next.setdefault(table.path, version + DUE_VERSIONS)
        if version < due_at or (self._thread is not None and self._thread.is_alive()):
            return False
        self._next[table.path] = version + DUE_VERSIONS
        self._thread = threading.Thread(target=self._run, args=(table.path,), name="upkeep", daemon=True)
        self._thread.start()
        return True

    def wait(self) -> None:
        """Wait until what was begun is done."""
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Wait until what was begun is done, and end the process."""
        self.wait()
        self._end()

    def _end(self) -> None:
        if self._worker is not None:
            with suppress(OSError):  # it was killed, and something is left to write to it
                self._worker.communicate()
            self._worker = None

    def _run(self, path: Path) -> None:
        self._merges[path] += 1
        asked = {"path": str(path), "tidy": self._merges[path] % MERGES_PER_TIDYING == 0}
        if self._ask(json.dumps(asked)) != DONE:
            self.errors += 1

    def _ask(self, line: str) -> str:
        if self._worker is None or self._worker.poll() is not None:
            self._end()
            self._worker = _worker()
        asked, answer = self._worker.stdin, self._worker.stdout
        if asked is None or answer is None:
            return ""
        with suppress(OSError):  # it was killed
            asked.write(f"{line}\n")
            asked.flush()
            return answer.readline().strip()
        return ""


def _worker() -> subprocess.Popen[str]:
    # Nothing of the directory it is started in is to be imported, and this package from where it is.
    known = os.environ.get("PYTHONPATH")
    paths = os.pathsep.join([str(PACKAGE_ROOT.parent), *([known] if known else [])])
    code = f"from {serve.__module__} import serve; serve()"
    return subprocess.Popen(  # noqa: S603 - the interpreter that runs this, and code from here
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1"},
    )
