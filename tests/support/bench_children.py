"""What a bench's child process runs in tests: a child imports it by name, which it cannot a module of tests."""

from __future__ import annotations

import os
import signal


def hold(megabytes: int) -> int:
    return len(bytearray(b"x") * (megabytes << 20))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
