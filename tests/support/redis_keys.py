"""Which keys a Redis holds."""

from __future__ import annotations

from typing import Any


def keys_in(client: Any, pattern: bytes = b"*") -> set[bytes]:
    """Keys that match a pattern, each once: SCAN may give one again while the server's table grows or shrinks."""
    return set(client.scan_iter(match=pattern, count=1000))
