"""Import Feast in a quarter of its time.

Feast lets `typeguard` rewrite its classes as they are imported, so that they refuse arguments of wrong types: 2.4 of
the 3.3 s of processor time its import takes. Who declares features wants that, and ``portrait features apply`` keeps
it; every other process starts sooner without.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any

FEAST = "feast"


class _BeforeFeast(MetaPathFinder):
    """Prepares `typeguard` when Feast is asked for first; finds nothing itself."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:  # noqa: ARG002
        if fullname == FEAST:
            sys.meta_path.remove(self)
            _leave_feast_alone()


_FINDER = _BeforeFeast()


def hasten_feast() -> None:
    """Let Feast be imported without its checks, unless it was imported already."""
    if FEAST not in sys.modules and _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def keep_feast_checks() -> None:
    """Let Feast be imported with its checks, in a process that has not imported it yet."""
    if _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)


def _leave_feast_alone() -> None:
    import typeguard  # noqa: PLC0415

    rewritten = typeguard.typechecked

    def typechecked(target: Any = None, **options: Any) -> Any:
        ours = str(getattr(target, "__module__", "")).partition(".")[0] == FEAST
        return target if ours else rewritten(target, **options)

    typeguard.typechecked = typechecked
