"""Leases in Redis, shared out fairly among those who are alive: one process per piece of work, another if it dies.

No clock of ours is asked: a lease is a key with a time to live, and Redis says when now is. Who stops for longer than
that loses its leases without noticing, so what a lease guards must hold without it; it saves work. A script that
compares a lease with the holder's token refuses what a former holder sends.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

TTL_MS = 5_000

# Which holders are alive is a sorted set: token -> when it is taken for dead, by Redis's own clock. By the rank of the
# token in it each knows its share, and the shares of all add up to the leases there are.
_SHARE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local token, ttl = ARGV[1], tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], now + ttl, token)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('PEXPIRE', KEYS[1], ttl)
local alive = redis.call('ZRANGE', KEYS[1], 0, -1)
table.sort(alive)
local rank = 0
while alive[rank + 1] ~= token do rank = rank + 1 end
local leases = #KEYS - 1
local share = math.floor(leases / #alive)
if rank < leases % #alive then share = share + 1 end
local kept, free, claimed = {}, {}, {}
for n = 1, leases do
  local holder = redis.call('GET', KEYS[n + 1])
  if holder == token then
    if #kept < share then
      redis.call('PEXPIRE', KEYS[n + 1], ttl)
      kept[#kept + 1] = n - 1
    else
      redis.call('DEL', KEYS[n + 1])
    end
  elseif not holder then
    free[#free + 1] = n - 1
  end
end
for _, n in ipairs(free) do
  if #kept + #claimed < share then
    redis.call('SET', KEYS[n + 2], token, 'PX', ttl)
    claimed[#claimed + 1] = n
  end
end
return {kept, claimed}
"""

# What has come to its end stays so: others may have held it since, and only who claims it again can know.
_KEEP = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
for n = 2, #KEYS do
  if redis.call('GET', KEYS[n]) == ARGV[1] then redis.call('PEXPIRE', KEYS[n], ARGV[2]) end
end
"""

_RELEASE = """
redis.call('ZREM', KEYS[1], ARGV[1])
for n = 2, #KEYS do
  if redis.call('GET', KEYS[n]) == ARGV[1] then redis.call('DEL', KEYS[n]) end
end
"""


@dataclass(frozen=True)
class Shares:
    """Leases held now, by their place in the list of names.

    Attributes
    ----------
    kept
        Held without a gap since the last time.
    claimed
        Held since now; others may have held them in between.
    """

    kept: frozenset[int]
    claimed: frozenset[int]

    @property
    def held(self) -> frozenset[int]:
        """All that are held."""
        return self.kept | self.claimed


class Leases:
    """One process's part in leases that several share.

    Parameters
    ----------
    client
        Of Redis; replies as bytes.
    names
        Keys of the leases, the same and in the same order for all who share them.
    members
        Key that says who is alive.
    name
        Of this process, for those who look into Redis.
    ttl_ms
        How long a lease outlives the last :meth:`renew` or :meth:`keep`.
    """

    def __init__(self, client: Any, names: Sequence[str], *, members: str, name: str, ttl_ms: int = TTL_MS) -> None:
        self.names = tuple(names)
        self.token = f"{name}:{secrets.token_hex(8)}"
        self._keys = [members, *self.names]
        self._ttl_ms = ttl_ms
        self._share = client.register_script(_SHARE)
        self._keep = client.register_script(_KEEP)
        self._release = client.register_script(_RELEASE)

    def renew(self) -> Shares:
        """Say that this process is alive, give up what is more than its share, claim what is free up to it.

        Raises
        ------
        redis.RedisError
            Redis does not answer.
        """
        kept, claimed = self._share(keys=self._keys, args=[self.token, self._ttl_ms])
        return Shares(frozenset(kept), frozenset(claimed))

    def keep(self) -> None:
        """Say that this process is alive, and keep what it still holds: nothing is claimed, and nothing given up.

        Raises
        ------
        redis.RedisError
            Redis does not answer.
        """
        self._keep(keys=self._keys, args=[self.token, self._ttl_ms])

    def release(self) -> None:
        """Give up all leases and the place among the living; others claim them at once.

        Raises
        ------
        redis.RedisError
            Redis does not answer; the leases end by themselves.
        """
        self._release(keys=self._keys, args=[self.token])
