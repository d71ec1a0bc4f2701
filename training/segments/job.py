"""Fit segments, write down where everybody is, and show them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from feature_repo.core.clock import Clock, from_us
from feature_repo.core.errors import DeclarationError
from feature_repo.core.locks import locked
from feature_repo.core.settings import Settings, ensure_home
from feature_repo.engine.contract import fingerprint
from training.labels import AT
from training.segments.lifecycle import LIFECYCLE, stages_of
from training.segments.model import segment
from training.segments.record import NAME, version_of
from training.segments.reference import Reference, compare
from training.segments.rfm import KEY, Shoppers, log_end, shoppers_at, weeks_before
from training.segments.table import SegmentLine, StageLine, segment_table, stage_table
from training.versions import Champion, load_champion, log_version
from training.written import Written, write_rows

TABLE = "user_segments"
SNAPSHOTS = 8
_HINT = "run `portrait segments fit`."

Step = Callable[[str, float], None]


@dataclass(frozen=True)
class Tried:
    """One number of segments."""

    k: int
    silhouette: float
    stability: float


@dataclass(frozen=True)
class FitReport:
    """What a fit found.

    Attributes
    ----------
    at
        Last instant it read.
    k, silhouette, stability
        Of the segmentation: how many segments, how far apart, how well resampled shoppers give them again.
    tried
        The same of every number of segments that was tried.
    reference
        The textbook's segmentation beside it; None where there are too few shoppers.
    gates
        Gate -> whether it holds.
    promoted
        Whether the version is champion.
    """

    method: str
    at: datetime
    shoppers: int
    k: int
    silhouette: float
    stability: float
    tried: tuple[Tried, ...]
    reference: Reference | None
    gates: dict[str, bool]
    segments: tuple[SegmentLine, ...]
    stages: tuple[StageLine, ...]
    model_version: str
    run_id: str
    promoted: bool
    seconds: float


@dataclass(frozen=True)
class ShowReport:
    """Segments and stages at an instant, by the champion."""

    at: datetime
    model_version: str
    shoppers: int
    segments: tuple[SegmentLine, ...]
    stages: tuple[StageLine, ...]


@dataclass(frozen=True)
class AssignReport:
    """What was written to ``user_segments``, and where everybody is at the last instant."""

    written: Written
    show: ShowReport
    seconds: float


def fit(
    settings: Settings,
    *,
    method: str = "kmeans",
    k: int | None = None,
    at: int | None = None,
    promote: bool = True,
    progress: Step = lambda _what, _done: None,
) -> FitReport:
    """Fit a segmentation on eight weekly snapshots, measure and register it; champion if its gates hold.

    Parameters
    ----------
    at
        Last instant to read (us); right behind the log's last visit unless given.
    promote
        Whether the version may become champion.

    Raises
    ------
    DeclarationError
        There is no such method, or `k` is out of its range.
    TaskUnavailableError
        The log has no visits, or too few shoppers.
    LogError, StoreUnavailableError
        A table, or MLflow, cannot be used.
    """
    started = time.monotonic()
    with locked(ensure_home(settings) / "run" / "fit-segments.lock"):
        progress("reading the log", 0.0)
        end = log_end(settings) if at is None else at
        shoppers = shoppers_at(settings, weeks_before(end, SNAPSHOTS - 1))
        progress("cutting", 0.2)
        made = segment(shoppers, method=method, k=k)
        progress("comparing", 0.7)
        reference = compare(settings, shoppers.log_versions, shoppers.instants[-1], made.segments)
        progress("registering", 0.85)
        registered = log_version(version_of(made, reference, promote=promote), settings)
    progress("done", 1.0)
    return FitReport(
        method=method,
        at=from_us(shoppers.instants[-1]),
        shoppers=len(made.last),
        k=made.chosen.k,
        silhouette=made.chosen.silhouette,
        stability=made.chosen.stability,
        tried=tuple(Tried(each.k, each.silhouette, each.stability) for each in made.found),
        reference=reference,
        gates=made.gates,
        segments=made.table,
        stages=made.stages,
        model_version=registered.version,
        run_id=registered.run_id,
        promoted=registered.promoted,
        seconds=time.monotonic() - started,
    )


def assign(
    settings: Settings,
    clock: Clock,
    *,
    at: int | None = None,
    weeks: int = 0,
    progress: Step = lambda _what, _done: None,
) -> AssignReport:
    """Write where the champion places everybody, at an instant and so many weekly ones before it. Twice is once.

    Parameters
    ----------
    at
        Instant (us): values are those of the events before it; right behind the log's last visit unless given.

    Raises
    ------
    DeclarationError
        The instant is in the future.
    ModelUnavailableError
        There is no champion, or it was fitted on other definitions.
    TaskUnavailableError
        Nobody had come by then.
    LogError, StoreUnavailableError
        A table, or MLflow, cannot be used.
    """
    started, now = time.monotonic(), clock.now_us()
    if at is not None and at > now:
        raise DeclarationError(f"{from_us(at):%Y-%m-%d %H:%M} UTC is in the future.", hint="ask for an instant by now.")
    progress("reading the log", 0.0)
    shoppers = shoppers_at(settings, weeks_before(log_end(settings) if at is None else at, weeks))
    placed, champion = _place(settings, shoppers)
    progress("writing", 0.7)
    written = write_rows(settings, TABLE, placed, made_by=champion, rules=LIFECYCLE, now=now)
    progress("done", 1.0)
    return AssignReport(written, _shown(shoppers, placed, champion.version), time.monotonic() - started)


def show(settings: Settings, *, at: int | None = None) -> ShowReport:
    """Return where the champion places everybody at an instant (us), and write nothing.

    Raises
    ------
    ModelUnavailableError, TaskUnavailableError, LogError, StoreUnavailableError
        As :func:`assign`.
    """
    shoppers = shoppers_at(settings, [log_end(settings) if at is None else at])
    placed, champion = _place(settings, shoppers)
    return _shown(shoppers, placed, champion.version)


def _place(settings: Settings, shoppers: Shoppers) -> tuple[pa.Table, Champion]:
    champion = load_champion(settings, NAME, definitions=fingerprint(shoppers.contract), hint=_HINT)
    found: Any = champion.model.predict(None, shoppers.frame)
    rows = pd.DataFrame({KEY: shoppers.frame[KEY], AT: shoppers.frame[AT], **found})
    rows["stage"] = stages_of(shoppers.frame)
    return pa.Table.from_pandas(rows, preserve_index=False), champion


def _shown(shoppers: Shoppers, placed: pa.Table, version: str) -> ShowReport:
    last, frame = shoppers.last, shoppers.frame
    return ShowReport(
        at=from_us(shoppers.instants[-1]),
        model_version=version,
        shoppers=int(last.sum()),
        segments=segment_table(frame[last], _words(placed, "segment")[last]),
        stages=stage_table(_words(placed, "stage")[last]),
    )


def _words(placed: pa.Table, column: str) -> npt.NDArray[np.object_]:
    return np.asarray(placed[column].to_pandas(), object)
