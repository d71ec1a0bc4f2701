"""Compile the windows of one view at the instants of a spine to a DuckDB query.

Events are folded into tiles of several widths, each a merge of the finer ones. A window is then cut into as few pieces
as its ends allow: a tile is split into finer ones where an end of a window lies in it, and taken whole elsewhere. The
ends of all windows of a row cut time into bands, and every piece lies in exactly one; so a piece is read once, however
many windows hold it, and a window merges the bands up to its own. The functions are pure: text in, text out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from feature_repo.core.clock import DAY, HOUR, MICROSECOND, MINUTE, SECOND
from feature_repo.engine.duckdb_sql import AT, ROW, Source, StateColumns, aliased, events_sql, quote
from feature_repo.engine.monoids import SQL_TYPES, TIME
from feature_repo.engine.spec import WindowedFeature, WindowedView


@dataclass(frozen=True)
class TilePlan:
    """How events are folded before they are joined to a spine. It changes the time a query takes, never its answer.

    Attributes
    ----------
    widths
        Tile widths (us), coarsest first; each divides the one before, and each divides the hop or is a multiple of it.
        Whatever no tile covers is joined event by event: everything, if there are none.
    shared
        Whether rows of one entity that stand in the same finest tile share their pieces: worth one more join if there
        are many such rows.
    clustered
        Whether events are sorted by entity first: worth it when each event is joined to several rows.
    """

    widths: tuple[int, ...] = ()
    shared: bool = False
    clustered: bool = True


RAW = TilePlan()
UNITS = ((DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s"), (MICROSECOND, "us"))


def windows_sql(
    view: WindowedView,
    features: Sequence[WindowedFeature],
    *,
    source: Source,
    spine: str,
    keys: dict[str, str],
    span: tuple[int, int],
    outputs: Sequence[str],
    plan: TilePlan = RAW,
) -> str:
    """Return a query giving one row per spine row: ``__row`` and the features under ``outputs``.

    A key that is NULL has the values of an entity without events.

    Parameters
    ----------
    spine
        Relation with ``__row`` (BIGINT), ``__at`` (BIGINT us) and the key columns.
    keys
        Join key of the view -> SQL expression over the spine, in the type of the source's column.
    span
        Smallest and largest ``__at`` of the spine: events outside their windows are not read.
    """
    return _Query(view, tuple(features), source, plan, span).sql(spine, keys, outputs)


@dataclass(frozen=True)
class _Query:
    view: WindowedView
    features: tuple[WindowedFeature, ...]
    source: Source
    plan: TilePlan
    span: tuple[int, int]

    @property
    def state(self) -> StateColumns:
        return StateColumns.of(self.features)

    @property
    def reaches(self) -> list[int]:
        return sorted({feature.reach for feature in self.features})

    @property
    def tails(self) -> list[str]:
        """Columns of the instants the windows of a row look back to, latest first."""
        return [f"tail{j}" for j in range(1, len(self.reaches) + 1)]

    @property
    def finest(self) -> int:
        return min([self.view.hop, *self.plan.widths])

    @property
    def origin(self) -> int:
        """An edge of the coarsest tiles before all events: differences to it are never negative, so ``%`` floors."""
        coarsest = max([self.view.hop, *self.plan.widths])
        return (self.span[0] - self.reaches[-1]) // coarsest * coarsest

    def sql(self, spine: str, keys: dict[str, str], outputs: Sequence[str]) -> str:
        names = [f"k{i}" for i in range(len(keys))]
        parts = {
            "entities": f"SELECT min({ROW}) AS entity, {aliased(keys.values())} FROM {spine} GROUP BY ALL",
            "spine": self._spine(spine, [*keys.values()]),
            "events": self._events(keys, names),
            **self._tiles(),
            **self._whole(),
            "raw": self._raw(),
            "merged": self._merged(),
        }
        values = ", ".join(
            f"{_value(feature, self.state)} AS {quote(output)}"
            for feature, output in zip(self.features, outputs, strict=True)
        )
        ctes = ",\n".join(f"{name} AS {self._hint(name)}(\n    {text}\n)" for name, text in parts.items())
        return f"WITH {ctes}\nSELECT id AS {ROW}, {values}\nFROM merged"

    def _hint(self, name: str) -> str:
        if name != "events":
            return ""
        # Unsorted events are cheaper to read twice than to hold; a sort is kept only where a result is.
        return "MATERIALIZED " if self.plan.clustered else "NOT MATERIALIZED "

    def _spine(self, spine: str, keys: Sequence[str]) -> str:
        hop = self._floor("head", self.view.hop)
        tails = [f"{hop} - {us} AS {tail}" for us, tail in zip(self.reaches, self.tails, strict=True)]
        columns = ", ".join(
            [f"{self._floor('instant', self.finest)} AS head", *tails, *self._ends(self.plan.widths[-1:])]
        )
        matched = " AND ".join(f"e.k{i} = {key}" for i, key in enumerate(keys))
        return (
            f"SELECT {ROW} AS id, entity, {AT} AS instant, {columns}\n"
            f"    FROM {spine} LEFT JOIN entities e ON {matched}"
        )

    def _ends(self, widths: Sequence[int]) -> list[str]:
        """Columns for the tiles of these widths that the ends of the windows lie in, by their start."""
        ends = [(end, width) for width in widths for end in ("head", *self.tails)]
        return [
            f"{self._floor(end, width)} AS {self._end(end, width)}"
            for end, width in ends
            if self._end(end, width) != end
        ]

    def _end(self, end: str, width: int) -> str:
        """Column that holds where the tile of an end starts: an end is one itself at the widths it is a multiple of."""
        aligned = self.finest if end == "head" else self.view.hop
        return end if width <= aligned else f"{end}_{_label(width)}"

    def _events(self, keys: dict[str, str], names: Sequence[str]) -> str:
        inputs = ", ".join(["entity", "ts", *self.known, *self.state.inputs])
        rows = events_sql(self.view, keys, self.state.monoids, self.source, self.span, self.reaches[-1])
        order = "\n    ORDER BY entity" if self.plan.clustered else ""
        return f"SELECT {inputs}\n    FROM ({rows})\n    JOIN entities USING ({', '.join(names)}){order}"

    @property
    def known(self) -> list[str]:
        return ["known"] if self.source.known_by_at else []

    def _tiles(self) -> dict[str, str]:
        """Tiles by their start, finest first; each width is merged from the one below.

        With ``known_by_at`` a tile holds what was known before its end, and its ``known`` is NULL; what became known
        later stays apart, under the instant at which it did.
        """
        made: dict[str, str] = {}
        below, at = "events", "ts"
        for width in reversed(self.plan.widths):
            tile, end = self._floor(at, width), f"tile + {width}"
            late = [f"CASE WHEN known >= {tile} + {width} THEN known END AS known"] * len(self.known)
            inputs = ["entity", f"{tile} AS tile", *late, *(self.state.states if made else ["ts", *self.state.inputs])]
            states = self.state.remerged(end) if made else self.state.lifted(end)
            keys = ", ".join(["entity", "tile", *self.known])
            made[_tiles(width)] = (
                f"SELECT {keys}, {states}\n    FROM (SELECT {', '.join(inputs)} FROM {below}) GROUP BY {keys}"
            )
            below, at = _tiles(width), "tile"
        return made

    def _whole(self) -> dict[str, str]:
        """Pieces of whole tiles, merged by band; and the instants they are read at."""
        if not self.plan.widths:
            return {}
        # What became known late is known to one row and not yet to another of the same tile.
        shared = self.plan.shared and not self.known
        instant = ["instant"] * len(self.known)
        columns = ", ".join(["entity", "head", *instant, *self.tails])
        rows = f"SELECT {'min(id)' if shared else 'id'} AS read, {columns} FROM spine"
        reads = ", ".join(["*", *self._ends(self.plan.widths)])
        parents = [None, *self.plan.widths]
        pieces = "\n        UNION ALL\n        ".join(
            self._pieces(width, parent) for parent, width in zip(parents, self.plan.widths, strict=False)
        )
        merged = self.state.remerged("head")
        return {
            "reads": f"SELECT {reads}\n    FROM ({rows}{f' GROUP BY {columns}' if shared else ''})",
            "whole": f"SELECT read, band, {merged}\n    FROM (\n        {pieces}\n    ) GROUP BY read, head, band",
        }

    def _pieces(self, width: int, parent: int | None) -> str:
        """Tiles of one width that are taken whole, within the coarser ones that are split."""
        tile, first = f"{_tiles(width)}.tile", self._end(self.tails[-1], width)
        inside = [f"{tile} < {self._end('head', width)}", f"{tile} >= {first}"]
        split = ", ".join(self._end(tail, width) for tail in self.tails)
        unsplit = [f"{tile} NOT IN ({split})"] if width > self.view.hop else []
        known = ["(known IS NULL OR known < instant)"] * len(self.known)
        conditions = " AND ".join([*inside, *unsplit, *known])
        reads, tiles, using = self._matched("reads", _tiles(width), "tile", parent)
        return (
            f"SELECT read, head, {self._band(tile)} AS band, {', '.join(self.state.states)}\n"
            f"        FROM {reads} JOIN {tiles} USING ({using})\n        WHERE {conditions}"
        )

    def _raw(self) -> str:
        """Events that no whole tile covers, merged by band."""
        parent = self.plan.widths[-1] if self.plan.widths else None
        spine, events, using = self._matched("spine", "events", "ts", parent)
        known = ["known < instant"] * len(self.known)
        conditions = " AND ".join(["ts < instant", f"ts >= {self.tails[-1]}", *known])
        return (
            f"SELECT id, {self._band('ts')} AS band, {self.state.lifted('instant')}\n"
            f"    FROM {spine} JOIN {events} USING ({using})\n    WHERE {conditions} GROUP BY id, instant, band"
        )

    def _matched(self, rows: str, pieces: str, at: str, parent: int | None) -> tuple[str, str, str]:
        """Rows and pieces to be joined on the split parents of the rows: those an end of a window lies in."""
        if parent is None:
            return rows, pieces, "entity"
        split = [self._end(end, parent) for end in ("head", *(self.tails if parent > self.view.hop else []))]
        # Ends that lie in one parent are next to each other: it is listed once, NULL joins nothing.
        once = split[:1] + [f"CASE WHEN {older} < {newer} THEN {older} END" for newer, older in pairwise(split)]
        listed = once[0] if len(once) == 1 else f"unnest([{', '.join(once)}])"
        return (
            f"(SELECT *, {listed} AS parent FROM {rows})",
            f"(SELECT *, {self._floor(at, parent)} AS parent FROM {pieces}) {pieces}",
            "entity, parent",
        )

    def _band(self, at: str) -> str:
        """1 for what the shortest window holds, 2 for what the next one adds."""
        ends = [f"WHEN {at} >= tail{j} THEN {j}" for j in range(1, len(self.reaches))]
        return f"CASE {' '.join(ends)} ELSE {len(self.reaches)} END" if ends else "1"

    def _merged(self) -> str:
        columns = ", ".join(["band", *self.state.states])
        bands = "raw USING (id)"
        if self.plan.widths:
            whole = f"SELECT id, {columns} FROM {self._linked()} JOIN whole USING (read)"
            bands = f"({whole} UNION ALL SELECT id, {columns} FROM raw) USING (id)"
        return f"SELECT id, instant, {self._windows()}\n    FROM spine LEFT JOIN {bands} GROUP BY id, instant"

    def _linked(self) -> str:
        return (
            "spine JOIN reads USING (entity, head)"
            if self.plan.shared and not self.known
            else "(SELECT *, id AS read FROM spine)"
        )

    def _windows(self) -> str:
        state = self.state
        needed = {(state.monoids.index(m), feature.reach) for feature in self.features for m in feature.monoids}
        return ", ".join(
            state.merged(i, f"band <= {self.reaches.index(us) + 1}", "instant") + f" AS m{i}_{us}"
            for i, us in sorted(needed)
        )

    def _floor(self, at: str, width: int) -> str:
        return f"{at} - ({at} - {self.origin}) % {width}"


def _tiles(width: int) -> str:
    return f"tiles_{_label(width)}"


def _label(width: int) -> str:
    unit, name = next((unit, name) for unit, name in UNITS if width % unit == 0)
    return f"{width // unit}{name}"


def _value(feature: WindowedFeature, state: StateColumns) -> str:
    states = [f"m{state.monoids.index(monoid)}_{feature.reach}" for monoid in feature.monoids]
    value = feature.kernel.value_sql(states, "instant", feature.kind)
    if feature.kind == TIME:
        return f"make_timestamptz({value})"
    return f"CAST({value} AS {SQL_TYPES[feature.kind]})"
