"""How fresh views are: how far of its table each state in Redis holds, and when the table last grew."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from feature_repo.core.errors import LogError, StoreUnavailableError
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_redis, redis_answers
from feature_repo.engine.feature_store import is_when_asked
from feature_repo.engine.positions import Position, Positions
from feature_repo.engine.sources import is_delta, located
from feature_repo.events.table_head import load_table

_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Head:
    """A table's head: Delta's id, version, and when that was committed."""

    table_id: str
    version: int
    committed: datetime | None


@dataclass(frozen=True)
class ViewFreshness:
    """How far a view is behind its table.

    Attributes
    ----------
    table
        Of the log.
    held
        Version the state holds; None without a state, or where Redis does not answer.
    head
        Of the table; None without one.
    state
        ``at_head``, ``behind``, ``not_built``, ``when_asked``, ``made_anew``, ``no_table`` or ``unread``.
    """

    table: str
    held: int | None
    head: Head | None
    state: str


def freshness_of(settings: Settings, project: str, views: list[Any]) -> tuple[dict[str, ViewFreshness], str]:
    """Return how fresh stored views are by name, and what is wrong with Redis; an empty text if nothing."""
    heads: dict[str, Head | None] = {}
    for view in views:
        if is_delta(view.batch_source) and view.batch_source.path not in heads:
            heads[view.batch_source.path] = _head(located(view.batch_source.path))
    try:
        held, trouble = _held(settings, project, views), ""
    except StoreUnavailableError as error:
        held, trouble = {}, f"{error.what} {error.hint}".strip()
    found = {
        view.name: _freshness(view, heads.get(view.batch_source.path), held.get(view.name), unread=bool(trouble))
        for view in views
    }
    return found, trouble


def _held(settings: Settings, project: str, views: list[Any]) -> dict[str, Position | None]:
    with closing(connect_redis(settings, timeout_s=_TIMEOUT_S, retries=0)) as client, redis_answers():
        positions = Positions(client, project)
        return {view.name: positions.held(view) for view in views}


def _head(path: str) -> Head | None:
    try:
        table = load_table(path)
        [last] = table.history(limit=1)
    except (LogError, ValueError):
        return None
    said = last.get("timestamp")
    committed = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=said) if said else None
    return Head(str(table.metadata().id), int(table.version()), committed)


def _freshness(view: Any, head: Head | None, held: Position | None, *, unread: bool) -> ViewFreshness:
    table = view.batch_source.path.rpartition("/")[2]
    if unread or head is None:
        return ViewFreshness(table, None, head, "unread" if unread else "no_table")
    if held is None:
        return ViewFreshness(table, None, head, "when_asked" if is_when_asked(view) else "not_built")
    if held.table_id != head.table_id:
        return ViewFreshness(table, held.version, head, "made_anew")
    return ViewFreshness(table, held.version, head, "at_head" if held.version >= head.version else "behind")
