"""How many examples the tests over made-up histories try: a fifth of them, and all where `.ci/run` asks for all."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

ALL = os.environ.get("TEST_EXAMPLES") == "all"


def examples(count: int, *, seconds: float, **more: Any) -> Callable[[Any], Any]:
    """As hypothesis' ``settings(max_examples=count)``, of a test that is slow where it tries them all.

    Parameters
    ----------
    seconds
        Time all of them take.
    more
        Other settings of hypothesis.
    """
    if ALL:
        return lambda test: pytest.mark.slow(seconds)(settings(max_examples=count, **more)(test))
    return settings(max_examples=count // 5, **more)
