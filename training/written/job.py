"""Fit a model of shoppers, write down what it says of everybody, and show it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from feature_repo.core.clock import Clock, from_us
from feature_repo.core.errors import DeclarationError
from feature_repo.core.locks import locked
from feature_repo.core.settings import Settings, ensure_home
from training.registry.pending import RunKeptError
from training.runs.registered import Registered
from training.written.basis import Basis
from training.written.instants import log_end, weeks_before
from training.written.model import ShopperModel, Step
from training.written.register import log_version
from training.written.report import AssignReport, FitReport, ShowReport
from training.written.rows import write_rows
from training.written.version import current_champion, load_champion


def silent(_what: str, _done: float) -> None:
    """Tell nobody how far it is."""


def fit(
    model: ShopperModel,
    settings: Settings,
    *,
    at: int | None = None,
    promote: bool = True,
    if_changed: bool = False,
    progress: Step = silent,
) -> Any:
    """Fit, measure and register a model; champion if its gates hold.

    Parameters
    ----------
    at
        Last instant to read (us); right behind the log's last visit unless given.
    promote
        Whether the version may become champion; else it is challenger, if its gates hold.
    if_changed
        Fit only if the champion was fitted on other rows, other definitions or by another recipe.

    Returns
    -------
    FitReport
        The model's own; the bare one where nothing has changed.

    Raises
    ------
    DeclarationError
        The model's options contradict themselves.
    TaskUnavailableError
        The log has no visits, or too few shoppers.
    LogError
        A table cannot be used.
    RunKeptError
        MLflow did not take the run, which is kept below the home; the error holds the report.
    StoreUnavailableError
        MLflow does not answer, and was asked whether anything has changed.
    """
    started = time.monotonic()
    with locked(ensure_home(settings) / "run" / f"fit-{model.name}.lock"):
        progress("reading the log", 0.0)
        rows = model.rows(settings, log_end(settings) if at is None else at)
        basis = model.basis(rows)
        if if_changed and (known := _unchanged(model, settings, basis)):
            return FitReport(**known, gates={}, unchanged=True, seconds=time.monotonic() - started)
        made = model.fitted(settings, rows, progress)
        progress("registering", 0.85)
        report = model.report(**_common(basis), gates=made.gates, **made.figures, seconds=time.monotonic() - started)
        try:
            registered = log_version(made.version, basis, settings, promote=promote)
        except RunKeptError as error:
            error.report = replace(report, kept=str(error.folder))
            raise
    progress("done", 1.0)
    return replace(report, **registered.facts, seconds=time.monotonic() - started)


def assign(
    model: ShopperModel,
    settings: Settings,
    clock: Clock,
    *,
    at: int | None = None,
    weeks: int = 0,
    progress: Step = silent,
) -> Any:
    """Write what the champion says of everybody, at an instant and so many weekly ones before it. Twice is once.

    Parameters
    ----------
    at
        Instant (us): values are those of the events before it; right behind the log's last visit unless given.

    Returns
    -------
    AssignReport
        Its ``show`` is the model's own.

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
    champion = load_champion(settings, model.name, definitions=model.definitions(), hint=model.hint)
    said = model.said(settings, champion, weeks_before(log_end(settings) if at is None else at, weeks), progress)
    progress("writing", 0.9)
    written = write_rows(settings, model.table, said.rows, made_by=champion, rules=model.rules, now=now)
    progress("done", 1.0)
    return AssignReport(written, said.show, time.monotonic() - started)


def show(model: ShopperModel, settings: Settings, *, at: int | None = None) -> Any:
    """Return what the champion says at an instant (us), and write nothing.

    Returns
    -------
    ShowReport
        The model's own.

    Raises
    ------
    ModelUnavailableError, TaskUnavailableError, LogError, StoreUnavailableError
        As :func:`assign`.
    """
    champion = load_champion(settings, model.name, definitions=model.definitions(), hint=model.hint)
    found: ShowReport = model.said(settings, champion, [log_end(settings) if at is None else at], silent).show
    return found


def _unchanged(model: ShopperModel, settings: Settings, basis: Basis) -> dict[str, Any] | None:
    champion = current_champion(settings, model.name)
    if champion is None or not basis.identity.items() <= champion.tags.items():
        return None
    return {**_common(basis), **Registered(str(champion.version), str(champion.run_id), True).facts}


def _common(basis: Basis) -> dict[str, Any]:
    return {"at": from_us(basis.at), "shoppers": basis.shoppers}
