"""Bring the state of a windowed view in Redis to the log's head: build it, or fold in what was committed since."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import PurePath
from typing import Any

import duckdb

from feature_repo.core.clock import Clock
from feature_repo.core.errors import LogError
from feature_repo.core.fences import fence_of
from feature_repo.engine.entity_keys import entity_pattern
from feature_repo.engine.folds import Fold, Progress, folds
from feature_repo.engine.merging import Merger, Target, Written
from feature_repo.engine.positions import Layout, Position, Positions
from feature_repo.engine.redis_writer import RedisWriter, remove_fields
from feature_repo.engine.sources import events_of, located
from feature_repo.engine.spec import WindowedView
from feature_repo.engine.state_sql import entities_sql
from feature_repo.engine.tile_codec import TileCodec
from feature_repo.engine.tiles import first_tile, floor
from feature_repo.engine.verification import NotHeldError, not_held, sampled, verify_states
from feature_repo.events.log import Snapshot, read_snapshot

EVERYTHING = -1
# Why a view is built.
FIRST, CHANGED, RECREATED, FULL = "first state", "other definition", "recreated table", "full"

_log = logging.getLogger("portrait")


class Action(Enum):
    """What bringing a view to the head takes: the words for it before and after."""

    BUILD = ("build", "built")
    APPLY = ("apply", "applied")
    NOTHING = ("at head", "at head")

    @property
    def planned(self) -> str:
        """What is going to be done."""
        return self.value[0]

    @property
    def done(self) -> str:
        """What was done."""
        return self.value[1]


@dataclass(frozen=True)
class Materialized:
    """What bringing a view to the head did, or would do.

    Attributes
    ----------
    view
        View name.
    action
        ``"built"``, ``"applied"`` or ``"at head"``; of a plan, ``"build"``, ``"apply"`` or ``"at head"``.
    version
        Log version the state holds then.
    entities
        Entities written, or to be written.
    why
        What a build was for: ``"first state"``, ``"other definition"``, ``"recreated table"`` or ``"full"``; empty
        where nothing was built.
    """

    view: str
    action: str
    version: int
    entities: int
    why: str = ""


@dataclass(frozen=True)
class _Plan:
    action: Action
    snapshot: Snapshot
    layout: Layout | None
    held: Position | None
    why: str = ""


class StateBuilder:
    """Keeps states of windowed views.

    Parameters
    ----------
    connection
        DuckDB, bounded by the settings.
    client
        Redis, replies as bytes.
    project
        Feast project: part of every key.
    clock
        Decides which tiles are too old to keep.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, client: Any, project: str, clock: Clock) -> None:
        self._connection = connection
        self._client = client
        self._project = project
        self._clock = clock
        self._positions = Positions(client, project)
        self._writer = RedisWriter(client)
        self._merger = Merger(client)

    def bring_to_head(
        self, view: WindowedView, *, full: bool = False, progress: Progress = lambda _: None
    ) -> Materialized:
        """Fold every committed row into the view's state, once.

        A view without a state of its definition, or whose table was recreated (which is logged as a warning), is built;
        so is any view if ``full``. Readers see the old state until the new one is whole. Running it again, or after a
        kill, changes nothing that it should not.

        Raises
        ------
        LogError
            The table has lost commits, or is another than Redis was fed from and has no rows; ``full`` builds anyway.
        """
        fence = fence_of(self._client)  # before the log is read
        plan = self._planned(view, full=full)
        if plan.action is Action.APPLY and plan.layout is not None and plan.held is not None:
            return self._apply(view, plan.layout, plan.held, plan.snapshot, progress)
        if plan.action is Action.BUILD:
            return replace(self._build(view, plan.snapshot, fence, progress), why=plan.why)
        return Materialized(view.name, plan.action.done, plan.snapshot.version, 0)

    def plan(self, view: WindowedView, *, full: bool = False) -> Materialized:
        """Say what :meth:`bring_to_head` would do, and to how many entities; write nothing.

        Raises
        ------
        LogError
            As :meth:`bring_to_head`.
        """
        plan = self._planned(view, full=full)
        action, snapshot = plan.action, plan.snapshot
        if action is Action.NOTHING:
            return Materialized(view.name, action.planned, snapshot.version, 0)
        above = plan.held.version if plan.held is not None and action is Action.APPLY else EVERYTHING
        versions = (above, snapshot.version)
        query = entities_sql(view, source=events_of(view, snapshot), since=self._since(view), versions=versions)
        [(entities,)] = self._connection.execute(query).fetchall()
        return Materialized(view.name, action.planned, snapshot.version, entities, plan.why)

    def _planned(self, view: WindowedView, *, full: bool) -> _Plan:
        layout = self._positions.serving(view.name)
        served = self._positions.position(view.name, layout.state_hash, layout.generation) if layout else None
        held = served if layout and layout.state_hash == view.state_hash else None
        # Read after what Redis holds: a consumer may commit and fold between the two, and is not to seem ahead.
        snapshot = read_snapshot(located(view.source_path))
        if full or layout is None:
            return _Plan(Action.BUILD, snapshot, layout, held, FULL if full else FIRST)
        if layout.source == view.source_name and is_recreated(self._connection, view.name, served, snapshot):
            return _Plan(Action.BUILD, snapshot, layout, held, RECREATED)
        if held is None:
            return _Plan(Action.BUILD, snapshot, layout, held, CHANGED)
        refuse_backwards(held, Position(snapshot.table_id, snapshot.version), view.source_path)
        action = Action.NOTHING if held.version == snapshot.version else Action.APPLY
        return _Plan(action, snapshot, layout, held)

    def _build(self, view: WindowedView, snapshot: Snapshot, fence: str, progress: Progress) -> Materialized:
        build = self._positions.intend(view, snapshot.table_id, fence)
        codec = TileCodec(view.monoids)
        retired = self._positions.retired(view.name)
        oldest = self._oldest_tile(view)
        written = 0
        for fold in self._folds(view, snapshot, EVERYTHING, progress):
            states = codec.encode(codec.live(fold.state(codec), oldest), snapshot.version)
            taken = self._writer.build(fold.keys, build.layout.field, snapshot.version, states, retired)
            mine, some = Written.of(fold.keys, states, taken), sampled(fold.keys)
            try:
                verify_states(self._client, codec, build.layout.field, some, mine.to(some), snapshot.version)
            except NotHeldError:
                self._positions.abandon(build)  # else the next run would take what is wrong for done
                raise not_held(view.name, "run the command again: it builds the state anew.") from None
            written += len(fold.keys)
        self._positions.switch(build, Position(snapshot.table_id, snapshot.version))
        self.retire(view)
        return Materialized(view.name, Action.BUILD.done, snapshot.version, written)

    def _apply(
        self, view: WindowedView, layout: Layout, held: Position, snapshot: Snapshot, progress: Progress
    ) -> Materialized:
        codec, retired = TileCodec(view.monoids), self._positions.retired(view.name)
        target = Target(view.name, codec, layout.field, self._oldest_tile(view), retired)
        written = 0
        for fold in self._folds(view, snapshot, held.version, progress):
            mine, some = self._merger.merge(target, fold, snapshot.version), sampled(fold.keys)
            try:
                verify_states(self._client, codec, layout.field, some, mine.to(some), snapshot.version)
            except NotHeldError:
                raise not_held(view.name, f"run `portrait jobs materialize --full --views {view.name}`.") from None
            written += len(fold.keys)
        self._positions.advance(layout, Position(snapshot.table_id, snapshot.version))
        return Materialized(view.name, Action.APPLY.done, snapshot.version, written)

    def abandon_before(self, view: WindowedView, fence: str) -> None:
        """Give a build up that began before the fence was raised, and remove what it has written."""
        self._positions.abandon_before(view.name, fence)
        self.retire(view)

    def retire(self, view: WindowedView) -> None:
        """Remove states of earlier definitions and generations, from entities that were not written since."""
        retired = self._positions.retired(view.name)
        if retired:
            remove_fields(self._client, entity_pattern(self._project, view.join_keys), retired)
        for field in retired:
            self._positions.forget(field)

    def _folds(self, view: WindowedView, snapshot: Snapshot, above: int, progress: Progress) -> Iterator[Fold]:
        return folds(
            self._connection,
            view,
            events_of(view, snapshot),
            project=self._project,
            since=self._since(view),
            versions=(above, snapshot.version),
            progress=progress,
        )

    def _since(self, view: WindowedView) -> int:
        return floor(self._clock.now_us() - view.lookback, view.hop)

    def _oldest_tile(self, view: WindowedView) -> int:
        return first_tile(self._clock.now_us(), view.retention, view.hop)


def refuse_backwards(held: Position, head: Position, path: str) -> None:
    """Refuse to go on from a table that has lost commits Redis holds.

    Raises
    ------
    LogError
        The head is behind.
    """
    if head.version < held.version:
        raise LogError(
            f"Table '{PurePath(path).name}' is at version {head.version}, but Redis holds it up to {held.version}: "
            "it has lost commits.",
            hint="restore the table from a backup; if what is there is all there is, run "
            "`portrait jobs materialize --full`.",
        )


def is_recreated(connection: duckdb.DuckDBPyConnection, view: str, served: Position | None, snapshot: Snapshot) -> bool:
    """Whether the table is another than the one that was folded: then what Redis serves is to be built anew from it.

    That is said in a warning, as what only the table before held is gone then. An empty table replaces nothing: what
    Redis serves may be the last copy.

    Raises
    ------
    LogError
        The table is another, and has no rows.
    """
    if served is None or served.table_id == snapshot.table_id:
        return False
    [(rows,)] = connection.execute(f"SELECT count(*) FROM {snapshot.sql()}").fetchall()
    if rows:
        _log.warning(
            "Table '%s' was made anew: view '%s', which Redis holds from the table before (up to version %d), is built "
            "from the %d rows that are there now.",
            PurePath(snapshot.path).name,
            view,
            served.version,
            rows,
        )
    else:
        raise LogError(
            f"Table '{PurePath(snapshot.path).name}' ({snapshot.path}) was made anew and has no rows, but Redis holds "
            f"view '{view}' from the table before, up to version {served.version}: nothing would be left of it.",
            hint="restore the table from a backup, or import its events again; if empty is right, run "
            f"`portrait jobs materialize --full --views {view}`.",
        )
    return True
