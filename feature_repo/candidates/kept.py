"""Histories and the shelf as Redis keeps them, for whoever recommends.

A shopper's key holds the pseudonym, so that an erasure finds it as it finds every other key of the person.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from feature_repo.candidates.history import History

SHELF_KEY = "portrait:shelf"
SHELF_AT_KEY = "portrait:shelf:at"  # instant the shelf is of; written after it: who sees it finds the new one
_HISTORY = "portrait:history:"


def history_key(user: str) -> str:
    """Return the key of a shopper's history.

    >>> history_key("u_1")
    'portrait:history:u_1'
    """
    return _HISTORY + user


def read_history(client: Any, user: str) -> History | None:
    """Return what is kept of a shopper, None if nothing is."""
    found = client.get(history_key(user))
    return None if found is None else History.from_json(found)


def write_histories(client: Any, written: Sequence[tuple[str, History]]) -> None:
    """Write histories in one pipeline."""
    with client.pipeline(transaction=False) as pipeline:
        for user, history in written:
            pipeline.set(history_key(user), history.to_json())
        pipeline.execute()
