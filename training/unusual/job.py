"""Fit the score, write down who is unusual and why, and show how many."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from feature_repo.core.clock import Clock, from_us
from feature_repo.core.errors import DeclarationError
from feature_repo.core.locks import locked
from feature_repo.core.settings import Settings, ensure_home
from training.labels import AT
from training.segments.rfm import log_end, weeks_before
from training.task import TaskUnavailableError
from training.unusual.behaviour import Behaviour, behaviour_at
from training.unusual.model import Noticed, fit_unusual
from training.unusual.policy import POLICY, Judged, judge
from training.unusual.record import DEFINITIONS, NAME, version_of
from training.unusual.table import ReasonLine, TierLine, reason_table, tier_table
from training.versions import Champion, load_champion, log_version
from training.written import Written, write_rows

TABLE = "user_unusual"
_HINT = "run `portrait unusual fit`."

Step = Callable[[str, float], None]


@dataclass(frozen=True)
class FitReport:
    """What a fit found.

    Attributes
    ----------
    auc
        Of the score on injected coupon abuse of the kind the gate is about.
    noticed
        The same of every kind, and how many copies a tier with a response would take.
    watched
        Share of the real shoppers in a tier with a response.
    gates
        Gate -> whether it holds.
    """

    at: datetime
    shoppers: int
    auc: float
    noticed: tuple[Noticed, ...]
    watched: float
    gates: dict[str, bool]
    model_version: str
    run_id: str
    promoted: bool
    seconds: float


@dataclass(frozen=True)
class ShowReport:
    """Tiers and reasons at an instant, by the champion; shoppers are those who bought something in 84 days."""

    at: datetime
    model_version: str
    shoppers: int
    tiers: tuple[TierLine, ...]
    reasons: tuple[ReasonLine, ...]


@dataclass(frozen=True)
class AssignReport:
    """What was written to ``user_unusual``, and how many are in each tier at the last instant."""

    written: Written
    show: ShowReport
    seconds: float


def fit(
    settings: Settings,
    *,
    at: int | None = None,
    promote: bool = True,
    progress: Step = lambda _what, _done: None,
) -> FitReport:
    """Fit the score on the 84 days before an instant, measure and register it; champion if its gate holds.

    Parameters
    ----------
    at
        Instant (us); right behind the log's last visit unless given.
    promote
        Whether the version may become champion.

    Raises
    ------
    TaskUnavailableError
        The log has too few shoppers.
    LogError, StoreUnavailableError
        A table, or MLflow, cannot be used.
    """
    started = time.monotonic()
    with locked(ensure_home(settings) / "run" / "fit-unusual.lock"):
        progress("fitting", 0.0)
        made = fit_unusual(settings, log_end(settings) if at is None else at)
        progress("registering", 0.6)
        registered = log_version(version_of(made, promote=promote), settings)
    progress("done", 1.0)
    return FitReport(
        at=from_us(made.real.at),
        shoppers=len(made.real.frame),
        auc=made.auc,
        noticed=made.noticed,
        watched=made.watched,
        gates=made.gates,
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
    """Write how unusual everybody was, at an instant and so many weekly ones before it. Twice is once.

    Parameters
    ----------
    at
        Instant (us): figures are those of the events before it; right behind the log's last visit unless given.

    Raises
    ------
    DeclarationError
        The instant is in the future.
    ModelUnavailableError
        There is no champion, or it was fitted on other figures.
    TaskUnavailableError
        Nobody bought anything in the 84 days before any of the instants.
    LogError, StoreUnavailableError
        A table, or MLflow, cannot be used.
    """
    started, now = time.monotonic(), clock.now_us()
    if at is not None and at > now:
        raise DeclarationError(f"{from_us(at):%Y-%m-%d %H:%M} UTC is in the future.", hint="ask for an instant by now.")
    champion = load_champion(settings, NAME, definitions=DEFINITIONS, hint=_HINT)
    instants = weeks_before(log_end(settings) if at is None else at, weeks)
    parts, last = [], None
    for n, instant in enumerate(instants):
        progress(f"{from_us(instant):%Y-%m-%d}", n / (len(instants) + 1))
        real = behaviour_at(settings, instant)
        judged, rows = _judged(champion, real)
        parts += [rows] if len(real.frame) else []
        last = _shown(real, judged, champion.version)
    if not parts or last is None:
        raise TaskUnavailableError("Nobody bought anything in the 84 days before.", hint="ask for another instant.")
    progress("writing", 0.9)
    written = write_rows(settings, TABLE, pa.concat_tables(parts), made_by=champion, rules=POLICY, now=now)
    progress("done", 1.0)
    return AssignReport(written, last, time.monotonic() - started)


def show(settings: Settings, *, at: int | None = None) -> ShowReport:
    """Return how many are unusual at an instant (us), and why, and write nothing.

    Raises
    ------
    ModelUnavailableError, LogError, StoreUnavailableError
        As :func:`assign`.
    """
    champion = load_champion(settings, NAME, definitions=DEFINITIONS, hint=_HINT)
    real = behaviour_at(settings, log_end(settings) if at is None else at)
    judged, _ = _judged(champion, real)
    return _shown(real, judged, champion.version)


def _judged(champion: Champion, real: Behaviour) -> tuple[Judged, pa.Table]:
    score: Any = champion.model.score(real.matrix)
    judged, users = judge(real.frame, score), real.frame["user_id"]
    instants = pa.array([real.at] * len(users), pa.int64()).cast(pa.timestamp("us", "UTC"))
    texts = {name: pa.array(getattr(judged, name), pa.string()) for name in ("tier", "response", "reasons")}
    rows = {"user_id": pa.array(users, pa.string()), AT: instants, "score": pa.array(score, pa.float64()), **texts}
    return judged, pa.table(rows)


def _shown(real: Behaviour, judged: Judged, version: str) -> ShowReport:
    return ShowReport(from_us(real.at), version, len(real.frame), tier_table(judged), reason_table(judged))
