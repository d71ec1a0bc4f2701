"""What costs much and comes out the same is done once: in all tests of a file, or by all workers."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def once(patch: pytest.MonkeyPatch, module: Any, *names: str) -> None:
    """Let functions of a module be called once; whoever calls them again has what came out then.

    The patch has to be undone before a test where something else would come out.
    """
    for name in names:
        patch.setattr(module, name, _first(getattr(module, name)))


def _first(function: Callable[..., Any]) -> Callable[..., Any]:
    found: list[Any] = []

    def again(*given: Any, **named: Any) -> Any:
        if not found:
            found.append(function(*given, **named))
        return found[0]

    return again


def made_once(root: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Return a directory that the first worker to ask makes, while the others wait; none may write to it afterwards."""
    place, done = root / name, root / f"{name}.done"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(place, ignore_errors=True)
            make(place)
            done.touch()
    return place
