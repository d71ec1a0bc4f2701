"""Where the stream of events is in Redis: what its reader, its writer and whoever watches have in common."""

from __future__ import annotations

FACTS = "portrait:events"  # of the stream; with ``:<partition>`` behind it, a partition's entries
ACKNOWLEDGED = "portrait:events:acknowledged"
READERS = "portrait:events:readers"
