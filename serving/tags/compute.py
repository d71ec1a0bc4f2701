"""Computes the tags of everybody at an instant, from the log alone, and writes a snapshot."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from feature_repo.core.clock import Clock, SystemClock, from_us
from feature_repo.core.errors import DataError, DeclarationError
from feature_repo.core.settings import Settings
from feature_repo.definitions.tag_sql import SCORE
from serving.catalogue import Catalogue
from serving.entities import USER
from serving.merged_plans import merged
from serving.scoring import ModelRegistry
from serving.service_views import as_arrow
from serving.tags.declared import live_tags
from serving.tags.desk import TAGS_SERVICE
from serving.tags.evaluator import Evaluator
from serving.tags.inputs import Inputs
from serving.tags.offline import LogSource
from serving.tags.panel import Panel
from serving.tags.snapshots import Manifest, Snapshot, snapshots, write_snapshot
from serving.transport import PROFILE

if TYPE_CHECKING:
    from feature_repo.definitions.tag_kinds import Tag

Step = Callable[[str, float], None]
Counts = Mapping[str, Mapping[str | bool | None, int]]

TAG = "tag__"
_STANDING = ("user_segments__segment", "user_segments__stage")


@dataclass(frozen=True)
class ComputeReport:
    """What was computed.

    Attributes
    ----------
    as_of
        Instant it tells of.
    people
        How many shoppers.
    counts
        Tag -> value -> shoppers; None of those it is not known of.
    models
        Task -> ``task@version`` that was asked.
    wanting
        Task of a tag -> why no champion could be asked; its tags are NULL.
    path
        Directory of the snapshot.
    unchanged
        There was one like it already.
    """

    as_of: datetime
    people: int
    counts: Counts
    models: Mapping[str, str]
    wanting: Mapping[str, str]
    path: str
    unchanged: bool
    seconds: float = field(compare=False)


@dataclass(frozen=True, eq=False)
class Everybody:
    """Everybody's inputs and tags at an instant.

    Attributes
    ----------
    inputs, said
        What was evaluated, and what came of it.
    panel
        Who was asked.
    log_versions
        Table -> version that was read.
    """

    inputs: Inputs
    said: pa.Table
    panel: Panel
    log_versions: Mapping[str, int]

    def counts(self, tags: Sequence[Tag]) -> dict[str, dict[str | bool | None, int]]:
        """Return how many shoppers each value of each tag is said of, the most frequent first."""
        return {tag.name: dict(Counter(self.said[tag.name].to_pylist()).most_common()) for tag in tags}


def everybody(
    settings: Settings, tags: Sequence[Tag], at: int, *, progress: Step = lambda _what, _done: None
) -> Everybody:
    """Evaluate tags for everybody the log knew at an instant (us).

    Raises
    ------
    DataError
        Nobody had done anything by then.
    DeclarationError
        The registry does not know the service of tags.
    LogError, ModelUnavailableError, StoreUnavailableError
        A table is damaged, or MLflow does not answer.
    """
    catalogue, registry = Catalogue(settings), ModelRegistry(settings, SystemClock())
    evaluator = Evaluator(tags)
    progress("loading champions", 0.05)
    panel = Panel.of(catalogue, registry, sorted({*evaluator.tasks, *registry.tasks()}))
    plan = merged((*panel.services(catalogue.plan(TAGS_SERVICE)), catalogue.plan(PROFILE)))
    source = LogSource(settings, plan, at)
    progress("reading the log", 0.15)
    users = source.everybody()
    if not users:
        raise DataError(
            f"Nobody had done anything by {from_us(at):%Y-%m-%d %H:%M} UTC.", hint="ask for a later instant."
        )
    read = source.read(users)
    progress("asking champions", 0.7)
    inputs = Inputs(users, read.known, read.reading, read.stamps, panel.scores(read.reading), panel.names, at)
    progress("evaluating tags", 0.8)
    return Everybody(inputs, evaluator.evaluate(inputs), panel, source.log_versions)


def compute(
    settings: Settings, clock: Clock, *, at: int | None = None, progress: Step = lambda _what, _done: None
) -> ComputeReport:
    """Write a snapshot of everybody. Twice is once, where log, models and tags are the same.

    Parameters
    ----------
    at
        Instant (us) it tells of; now unless given. Models are today's, and so is what the log knows of the time before.

    Raises
    ------
    DeclarationError
        The instant is in the future.
    DataError, LogError, ModelUnavailableError, StoreUnavailableError
        As :func:`everybody`.
    """
    started, now = time.monotonic(), clock.now_us()
    if at is not None and at > now:
        raise DeclarationError(f"{from_us(at):%Y-%m-%d %H:%M} UTC is in the future.", hint="ask for an instant by now.")
    tags = live_tags()
    found = everybody(settings, tags, now if at is None else at, progress=progress)
    manifest = Manifest(
        as_of=from_us(found.inputs.at),
        computed_at=from_us(now),
        people=len(found.inputs.users),
        log_versions=found.log_versions,
        models=found.panel.names,
        tags={tag.name: tag.version for tag in tags},
    )
    alike = _alike(settings, manifest)
    progress("writing", 0.9)
    written = alike or write_snapshot(settings, people_of(found, Catalogue(settings), tags), manifest)
    progress("done", 1.0)
    asked = {tag.task for tag in tags}
    return ComputeReport(
        as_of=manifest.as_of,
        people=manifest.people,
        counts=found.counts(tags),
        models=manifest.models,
        wanting={task: why for task, why in found.panel.wanting.items() if task in asked},
        path=str(written.path),
        unchanged=alike is not None,
        seconds=time.monotonic() - started,
    )


def people_of(found: Everybody, catalogue: Catalogue, tags: Sequence[Tag]) -> pa.Table:
    """Return the rows of a snapshot."""
    reading = found.inputs.reading
    types = catalogue.plan(PROFILE).types
    numbers = [name for name, kind in types.items() if pa.types.is_integer(kind) or pa.types.is_floating(kind)]
    columns = {USER: pa.array(found.inputs.users, pa.string())}
    columns |= {TAG + tag.name: found.said[tag.name] for tag in tags}
    columns |= {name: as_arrow(reading.columns[name], types[name]) for name in (*numbers, *_STANDING)}
    columns |= {SCORE + task: pa.array(scores, pa.float64()) for task, scores in found.inputs.scores.items()}
    return pa.table(columns)


def _alike(settings: Settings, manifest: Manifest) -> Snapshot | None:
    return next((each for each in snapshots(settings) if each.manifest.made_alike(manifest)), None)
