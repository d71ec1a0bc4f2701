"""What costs much and comes out the same in all tests of a file is done once."""

from __future__ import annotations

from collections.abc import Callable
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
