"""What Redis holds of each view: which state is served, how it is laid out, and how far of the log is folded into it.

One hash per project, ``portrait:<project>:state``::

    serve:<view>                        the Layout readers use, as JSON
    at:<view>:<hash>:<generation>       "<table id>:<log version>", written after the merges it covers
    shards:<view>:<hash>:<generation>   "<table id>:<log version>,<log version>,...": how far each shard is fed, where
                                        consumers share the entities; ``at`` is the least of them
    build:<view>                        the Layout being built, its table id and the fence it began behind, so that a
                                        killed build goes on, unless rows were removed from the log since

A state without a position is not fed. An ordinary view has a position only, under generation 0 of its own hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any

import redis
from feast import FeatureView

from feature_repo.core.clock import delta_us
from feature_repo.core.errors import StoreUnavailableError
from feature_repo.engine.spec import CODEC_VERSION, WindowedFeature, WindowedView, is_windowed

# KEYS[1] state hash. ARGV: view, the build as it was claimed, the layout, its position's field and value. A builder
# that slept while others finished the same build, or a later one, must not point readers back at what was retired.
_SWITCH = """
if redis.call('HGET', KEYS[1], 'build:' .. ARGV[1]) == ARGV[2] then
  redis.call('HSET', KEYS[1], ARGV[4], ARGV[5], 'serve:' .. ARGV[1], ARGV[3])
  redis.call('HDEL', KEYS[1], 'build:' .. ARGV[1])
  return 1
end
if redis.call('HGET', KEYS[1], 'serve:' .. ARGV[1]) == ARGV[3] then return 1 end
return 0
"""

# KEYS[1] state hash. ARGV: view, the claim it is thought to have ('' for none), the claim it shall have ('' for none),
# and the position of what was claimed ('' for none). What was written for a claim that is given up has to go: by a
# position of no table it is a retired state.
_CLAIM = """
if (redis.call('HGET', KEYS[1], 'build:' .. ARGV[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], ARGV[4], 'abandoned:-1') end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], 'build:' .. ARGV[1])
else redis.call('HSET', KEYS[1], 'build:' .. ARGV[1], ARGV[3]) end
return 1
"""

# KEYS[1] state hash. ARGV: view, layout served, position's field and value. Only a state that is still served is fed.
_ADVANCE = """
if redis.call('HGET', KEYS[1], 'serve:' .. ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
return 1
"""

# KEYS[1] state hash. ARGV: view, layout served, "<view>:<hash>:<generation>", table id, number of shards, the version
# reached, then shards. Shards only rise. A position written by a build or by ``materialize`` holds for all shards.
_ADVANCE_SHARDS = """
if redis.call('HGET', KEYS[1], 'serve:' .. ARGV[1]) ~= ARGV[2] then return 0 end
local held = redis.call('HGET', KEYS[1], 'at:' .. ARGV[3]) or ''
local prefix = ARGV[4] .. ':'
if string.sub(held, 1, #prefix) ~= prefix then return 0 end
local base, count, reached = tonumber(string.sub(held, #prefix + 1)), tonumber(ARGV[5]), tonumber(ARGV[6])
local versions, known = {}, redis.call('HGET', KEYS[1], 'shards:' .. ARGV[3]) or ''
if string.sub(known, 1, #prefix) == prefix then
  for each in string.gmatch(string.sub(known, #prefix + 1), '[^,]+') do versions[#versions + 1] = tonumber(each) end
end
if #versions ~= count then versions = {} end
local least = reached
for i = 1, count do versions[i] = math.max(versions[i] or base, base) end
for i = 7, #ARGV do
  local shard = tonumber(ARGV[i]) + 1
  versions[shard] = math.max(versions[shard], reached)
end
for i = 1, count do least = math.min(least, versions[i]) end
redis.call('HSET', KEYS[1], 'shards:' .. ARGV[3], prefix .. table.concat(versions, ','))
if least > base then redis.call('HSET', KEYS[1], 'at:' .. ARGV[3], prefix .. string.format('%d', least)) end
return 1
"""


@dataclass(frozen=True)
class Layout:
    """How a view's state is stored.

    Attributes
    ----------
    view
        View name.
    state_hash
        Of the definition it was built from.
    generation
        Counts full rebuilds.
    source, join_keys
        What was folded, and by which keys.
    hop, retention
        Microseconds.
    state
        Keys of the monoids, sorted.
    retention, lookback
        How long tiles and distinct values are kept, and how far back the log was folded (us).
    codec
        Version of the bytes.
    mapping
        Columns of the source that were read under other names.
    """

    view: str
    state_hash: str
    generation: int
    source: str
    join_keys: tuple[str, ...]
    hop: int
    retention: int
    state: tuple[str, ...]
    lookback: int = 0
    codec: int = 1
    mapping: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, view: WindowedView, generation: int) -> Layout:
        """Layout a view's definition asks for."""
        keys = tuple(monoid.key for monoid in view.monoids)
        facts = (view.source_name, view.join_keys, view.hop, view.retention)
        return cls(view.name, view.state_hash, generation, *facts, keys, view.lookback, CODEC_VERSION, view.mapping)

    @property
    def state_name(self) -> str:
        """What tells this state from all others of the project."""
        return f"{self.view}:{self.state_hash}:{self.generation}"

    @property
    def field(self) -> bytes:
        """Field of an entity's hash that holds the state."""
        return f"_t:{self.state_name}".encode()

    def serves(self, view: WindowedView, feature: WindowedFeature) -> bool:
        """Whether the value of a feature, by the view's present definition, can be read from this state.

        A state of shorter tiles serves a longer hop: windows begin at a multiple of the hop, and so at a tile.
        """
        read = (view.source_name, view.mapping, view.join_keys, CODEC_VERSION)
        same = (self.source, self.mapping, self.join_keys, self.codec) == read
        # A window of the longer hop begins up to the difference of the hops earlier.
        needed = feature.reach + view.hop - self.hop
        long_enough = needed <= (self.retention if feature.kept else self.lookback)
        return same and view.hop % self.hop == 0 and long_enough and self._holds(feature)

    def _holds(self, feature: WindowedFeature) -> bool:
        return {monoid.key for monoid in feature.monoids} <= set(self.state)

    def dump(self) -> str:
        """Canonical JSON; Redis compares it with what is served, so that what has no mapping does not name one."""
        return self._dumped

    @cached_property
    def _dumped(self) -> str:
        facts = {name: fact for name, fact in asdict(self).items() if fact or name != "mapping"}
        return json.dumps(facts, separators=(",", ":"), sort_keys=True)

    @staticmethod
    @lru_cache
    def load(text: bytes | str) -> Layout:
        """Read what :meth:`dump` wrote."""
        facts = json.loads(text)
        facts |= {name: tuple(facts[name]) for name in ("join_keys", "state")}
        return Layout(**{**facts, "mapping": tuple((column, name) for column, name in facts.get("mapping", ()))})


@dataclass(frozen=True)
class Position:
    """How far of a table is folded into a state."""

    table_id: str
    version: int

    def __str__(self) -> str:
        return f"{self.table_id}:{self.version}"


@dataclass(frozen=True)
class Build:
    """A claimed build: the layout to write, and the claim as Redis holds it."""

    layout: Layout
    claim: str


@dataclass(frozen=True)
class Recorded:
    """The project's state hash as it was at one instant."""

    fields: Mapping[bytes, bytes]

    def serving(self, view: str) -> Layout | None:
        """Layout readers of a view use; None before the first build."""
        raw = self.fields.get(f"serve:{view}".encode())
        return Layout.load(raw) if raw else None

    def retired(self, view: str) -> list[bytes]:
        """Fields of states that are no longer served nor being built."""
        serving, building = self.serving(view), _claimed(self.fields.get(f"build:{view}".encode(), b""))
        kept = {layout.field for layout in (serving, building[0] if building else None) if layout}
        return [field for field in _fields(self.fields, view) if field not in kept]

    def rows(self, view: FeatureView) -> Position | None:
        """How far an ordinary view is written by its present features and ttl."""
        return _position(self.fields.get(_at(view.name, rows_hash(view), 0).encode()))

    def fed(self, layout: Layout, shards: Iterable[int]) -> Position | None:
        """How far some shards of a state are fed, the one least far; None if the state is not fed."""
        at = _position(self.fields.get(f"at:{layout.state_name}".encode()))
        if at is None:
            return None
        table_id, _, listed = self.fields.get(f"shards:{layout.state_name}".encode(), b"").decode().partition(":")
        versions = [int(each) for each in listed.split(",")] if table_id == at.table_id else []
        reached = [versions[shard] for shard in shards if shard < len(versions)]
        return Position(at.table_id, max(at.version, min(reached, default=at.version)))


class Positions:
    """Read and write the project's state hash."""

    def __init__(self, client: redis.Redis, project: str) -> None:
        self._client: Any = client
        self.key = state_key(project)

    def serving(self, view: str) -> Layout | None:
        """Layout readers of a view use; None before the first build."""
        raw = self._client.hget(self.key, f"serve:{view}")
        return Layout.load(raw) if raw else None

    def held(self, view: FeatureView) -> Position | None:
        """How far the state that readers of a view see is fed; None if there is none."""
        if not is_windowed(view):
            return self.position(view.name, rows_hash(view), 0)
        layout = self.serving(view.name)
        return self.position(view.name, layout.state_hash, layout.generation) if layout else None

    def position(self, view: str, state_hash: str, generation: int) -> Position | None:
        """How far a state is fed; None if it is not."""
        return _position(self._client.hget(self.key, _at(view, state_hash, generation)))

    def recorded(self) -> Recorded:
        """Read everything at once: what began and ended between two reads would be mistaken for something else."""
        return Recorded(self._recorded())

    def advance(self, layout: Layout, position: Position) -> None:
        """Record that the served state holds the log up to a version; call it after the last merge.

        Raises
        ------
        StoreUnavailableError
            Another state is served by now.
        """
        field = _at(layout.view, layout.state_hash, layout.generation)
        if not self._client.eval(_ADVANCE, 1, self.key, layout.view, layout.dump(), field, str(position)):
            raise _overtaken(layout.view)

    def advance_shards(self, layout: Layout, position: Position, shards: Iterable[int], *, of: int) -> bool:
        """Record how far some of the shards hold the log; call it after their last merge.

        Returns False if another state is served by now, or was built from another table: then nothing is recorded.
        """
        arguments = (layout.view, layout.dump(), layout.state_name, position.table_id, of, position.version, *shards)
        return bool(self._client.eval(_ADVANCE_SHARDS, 1, self.key, *arguments))

    def record_rows(self, view: FeatureView, position: Position) -> None:
        """Record how far an ordinary view is written."""
        self._client.hset(self.key, _at(view.name, rows_hash(view), 0), str(position))

    def intend(self, view: WindowedView, table_id: str, fence: str = "0") -> Build:
        """Claim the layout to build: the one a killed build of the same definition and table left, or the next.

        What was written before the fence was raised may be of rows that are gone: it is not gone on with.
        """
        while True:
            recorded = self._recorded()
            raw = recorded.get(f"build:{view.name}".encode(), b"")
            left = _claimed(raw)
            if left and left == (Layout.of(view, left[0].generation), table_id, fence):
                return Build(left[0], raw.decode())
            layout = Layout.of(view, _next_generation(recorded, view.name))
            claim = json.dumps({"layout": layout.dump(), "table_id": table_id, "fence": fence})
            if self._replace_claim(view.name, raw, claim):
                return Build(layout, claim)

    def abandon(self, build: Build) -> None:
        """Give a claimed build up: what it wrote is retired, and the next run builds another generation."""
        self._replace_claim(build.layout.view, build.claim.encode(), "")

    def abandon_before(self, view: str, fence: str) -> None:
        """Give a view's build up that began before the fence was raised."""
        raw = self._client.hget(self.key, f"build:{view}") or b""
        left = _claimed(raw)
        if left and left[2] != fence:
            self._replace_claim(view, raw, "")

    def _replace_claim(self, view: str, raw: bytes, claim: str) -> bool:
        left = _claimed(raw)
        gone = _at(view, left[0].state_hash, left[0].generation) if left else ""
        return bool(self._client.eval(_CLAIM, 1, self.key, view, raw, claim, gone))

    def switch(self, build: Build, position: Position) -> None:
        """Let readers use a built state: position, pointer and the end of the build at once.

        Raises
        ------
        StoreUnavailableError
            Another build was finished meanwhile; readers keep that one.
        """
        layout = build.layout
        field = _at(layout.view, layout.state_hash, layout.generation)
        arguments = (layout.view, build.claim, layout.dump(), field, str(position))
        if not self._client.eval(_SWITCH, 1, self.key, *arguments):
            raise _overtaken(layout.view)

    def retired(self, view: str) -> list[bytes]:
        """Fields of states that are no longer served nor being built.

        All is read at once: a build that began and ended between two reads would be taken for retired.
        """
        return self.recorded().retired(view)

    def forget(self, field: bytes) -> None:
        """Drop the position of a retired state whose fields are gone."""
        self._client.hdel(self.key, *_recorded_of(field))

    def forget_view(self, view: str) -> None:
        """Drop everything recorded of a view."""
        names = [name for field in _fields(self._recorded(), view) for name in _recorded_of(field)]
        self._client.hdel(self.key, f"serve:{view}".encode(), f"build:{view}".encode(), *names)

    def _recorded(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = self._client.hgetall(self.key)
        return found


def state_key(project: str) -> bytes:
    """Return the key of a project's state hash."""
    return f"portrait:{project}:state".encode()


def rows_hash(view: FeatureView) -> str:
    """Eight hex digits of what the rows of an ordinary view depend on: a new feature means they are written anew."""
    source = view.batch_source
    facts = [
        source.name,
        source.timestamp_field,
        sorted(source.field_mapping.items()),
        sorted(view.join_keys),
        sorted((feature.name, str(feature.dtype)) for feature in view.features if feature.name not in view.join_keys),
        delta_us(view.ttl) if view.ttl else 0,  # decides when keys expire
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]


def _at(view: str, state_hash: str, generation: int) -> str:
    return f"at:{view}:{state_hash}:{generation}"


def _fields(recorded: Iterable[bytes], view: str) -> list[bytes]:
    prefix = f"at:{view}:".encode()
    return [b"_t:" + name.removeprefix(b"at:") for name in recorded if name.startswith(prefix)]


def _recorded_of(field: bytes) -> tuple[bytes, bytes]:
    name = field.removeprefix(b"_t:")
    return b"at:" + name, b"shards:" + name


def _position(raw: bytes | None) -> Position | None:
    if not raw:
        return None
    table_id, version = raw.decode().rsplit(":", 1)
    return Position(table_id, int(version))


def _next_generation(recorded: Iterable[bytes], view: str) -> int:
    return max((int(field.rsplit(b":", 1)[1]) for field in _fields(recorded, view)), default=-1) + 1


def _claimed(raw: bytes) -> tuple[Layout, str, str] | None:
    """Layout, table and fence of a claim; None if there is none."""
    if not raw:
        return None
    facts = json.loads(raw)
    return Layout.load(facts["layout"]), facts["table_id"], facts.get("fence", "0")


def _overtaken(view: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"Another run finished building view '{view}' while this one was at work; readers use that state.",
        hint="run the command again; nothing is lost or doubled.",
    )
