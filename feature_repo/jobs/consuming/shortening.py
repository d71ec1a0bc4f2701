"""Have the server's append-only file written anew while nothing happens.

That takes a core for half a second or more, and events that arrive meanwhile wait. The embedded server does it by
itself once the file has grown to a gigabyte; a consumer that has nothing to do has it done before, so that the
file is short when the server starts again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import redis

WORTH = 256 << 20  # bytes; a start reads as many in a second
_TIMES = 2  # as long as it was when it was written anew, and it holds more that is overwritten than that is not


def shorten(client: Any) -> bool:
    """Begin to write the append-only file anew, if that is worth its while; return whether it was begun.

    Raises
    ------
    redis.RedisError
        The server does not answer.
    """
    said = client.info("persistence")
    if not said.get("aof_enabled") or said["aof_rewrite_in_progress"]:
        return False
    if said["aof_current_size"] < max(WORTH, _TIMES * said["aof_base_size"]):
        return False
    with suppress(redis.ResponseError):  # another consumer was as quick
        client.bgrewriteaof()
        return True
    return False
