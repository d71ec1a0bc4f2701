"""What Redis holds of each view: which state is served, how it is laid out, and how far of the log is folded into it.

One hash per project, ``portrait:<project>:state``::

    serve:<view>                        the Layout readers use, as JSON
    at:<view>:<hash>:<generation>       "<table id>:<log version>", written after the merges it covers
    build:<view>                        the Layout being built and its table id, so that a killed build goes on

A state without a position is not fed. An ordinary view has a position only, under the hash ``rows``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import redis

from feature_repo.engine.kernels import Monoid
from feature_repo.engine.spec import WindowedView

ORDINARY = "rows"


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
    hop, retention
        Microseconds.
    state
        Keys of the state columns, sorted.
    """

    view: str
    state_hash: str
    generation: int
    hop: int
    retention: int
    state: tuple[str, ...]

    @classmethod
    def of(cls, view: WindowedView, generation: int) -> Layout:
        """Layout a view's definition asks for."""
        keys = tuple(monoid.key for monoid in view.monoids)
        return cls(view.name, view.state_hash, generation, view.hop, view.retention, keys)

    @property
    def field(self) -> bytes:
        """Field of an entity's hash that holds the state."""
        return f"_t:{self.view}:{self.state_hash}:{self.generation}".encode()

    def serves(self, view: WindowedView, monoids: Sequence[Monoid]) -> bool:
        """Whether values of the view's present definition can be read from this state."""
        return self.hop == view.hop and self.retention >= view.longest and {m.key for m in monoids} <= set(self.state)

    def dump(self) -> str:
        """Canonical JSON."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    @classmethod
    def load(cls, text: bytes | str) -> Layout:
        """Read what :meth:`dump` wrote."""
        facts = json.loads(text)
        return cls(**{**facts, "state": tuple(facts["state"])})


@dataclass(frozen=True)
class Position:
    """How far of a table is folded into a state."""

    table_id: str
    version: int


class Positions:
    """Read and write the project's state hash."""

    def __init__(self, client: redis.Redis, project: str) -> None:
        self._client: Any = client
        self.key = f"portrait:{project}:state".encode()

    def serving(self, view: str) -> Layout | None:
        """Layout readers of a view use; None before the first build."""
        raw = self._client.hget(self.key, f"serve:{view}")
        return Layout.load(raw) if raw else None

    def position(self, view: str, state_hash: str = ORDINARY, generation: int = 0) -> Position | None:
        """How far a state is fed; None if it is not."""
        raw = self._client.hget(self.key, f"at:{view}:{state_hash}:{generation}")
        if not raw:
            return None
        table_id, version = raw.decode().rsplit(":", 1)
        return Position(table_id, int(version))

    def advance(self, view: str, position: Position, state_hash: str = ORDINARY, generation: int = 0) -> None:
        """Record that a state holds the log up to a version; call it after the last merge."""
        field = f"at:{view}:{state_hash}:{generation}"
        self._client.hset(self.key, field, f"{position.table_id}:{position.version}")

    def intend(self, view: WindowedView, table_id: str) -> Layout:
        """Claim the layout to build: the one a killed build of the same definition and table left, or the next."""
        raw = self._client.hget(self.key, f"build:{view.name}")
        if raw:
            facts = json.loads(raw)
            left = Layout.load(json.dumps(facts["layout"]))
            if facts["table_id"] == table_id and left == Layout.of(view, left.generation):
                return left
            # What it wrote has to go too: a position of no table makes it a retired state.
            self.advance(view.name, Position("abandoned", -1), left.state_hash, left.generation)
        layout = Layout.of(view, self._next_generation(view.name))
        facts = {"layout": json.loads(layout.dump()), "table_id": table_id}
        self._client.hset(self.key, f"build:{view.name}", json.dumps(facts))
        return layout

    def switch(self, layout: Layout, position: Position) -> None:
        """Let readers use a built state: position, pointer and the end of the build in one transaction."""
        with self._client.pipeline(transaction=True) as pipe:
            name = f"at:{layout.view}:{layout.state_hash}:{layout.generation}"
            pipe.hset(self.key, name, f"{position.table_id}:{position.version}")
            pipe.hset(self.key, f"serve:{layout.view}", layout.dump())
            pipe.hdel(self.key, f"build:{layout.view}")
            pipe.execute()

    def retired(self, view: str) -> list[bytes]:
        """Fields of states that are no longer served nor being built."""
        serving = self.serving(view)
        building = self._client.hget(self.key, f"build:{view}")
        kept = {serving.field} if serving else set()
        if building:
            kept.add(Layout.load(json.dumps(json.loads(building)["layout"])).field)
        prefix = f"at:{view}:".encode()
        fed = [name for name in self._client.hkeys(self.key) if name.startswith(prefix)]
        fields = [b"_t:" + name.removeprefix(b"at:") for name in fed if not name.endswith(f":{ORDINARY}:0".encode())]
        return [field for field in fields if field not in kept]

    def forget(self, field: bytes) -> None:
        """Drop the position of a retired state whose fields are gone."""
        self._client.hdel(self.key, b"at:" + field.removeprefix(b"_t:"))

    def forget_view(self, view: str) -> None:
        """Drop everything recorded of a view."""
        names = [f"serve:{view}".encode(), f"build:{view}".encode()]
        names += [name for name in self._client.hkeys(self.key) if name.startswith(f"at:{view}:".encode())]
        self._client.hdel(self.key, *names)

    def _next_generation(self, view: str) -> int:
        # Abandoned builds count too: their fields may be half written.
        used = [
            int(name.rsplit(b":", 1)[1])
            for name in self._client.hkeys(self.key)
            if name.startswith(f"at:{view}:".encode())
        ]
        building = self._client.hget(self.key, f"build:{view}")
        used += [json.loads(building)["layout"]["generation"]] if building else []
        return max(used, default=-1) + 1
