"""The turn of a model of shoppers in a refresh: fit it anew if it aged, write what it says now, bring that to Redis."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from feature_repo.core.clock import Clock
from feature_repo.core.errors import PortraitError
from feature_repo.core.settings import Settings
from feature_repo.jobs.materialize import materialize
from training.refreshing.action import Action
from training.task import TaskUnavailableError
from training.written.instants import log_end
from training.written.job import assign, fit
from training.written.model import ShopperModel
from training.written.rows import Written
from training.written.version import current_champion, trained_until, versions_on


@dataclass(frozen=True)
class WrittenRefresh:
    """What became of one model of shoppers.

    Attributes
    ----------
    model, action
        Which model, and what was done.
    reason
        Why, in a sentence.
    champion
        Version that answers now; empty without one.
    trained
        Version that was fitted now, or on these rows before; empty without one.
    gates
        Gate -> whether it holds, of what was fitted now.
    written
        What became of the rows it says now; None where nothing was to be written.
    view
        What was done to the view's state in Redis for new rows, or why nothing could be; empty without new rows.
    needs_look
        Whether somebody should look: it failed, or it is due and could not be promoted.
    seconds
        Time it took.
    """

    model: str
    action: Action
    reason: str
    champion: str = ""
    trained: str = ""
    gates: dict[str, bool] = field(default_factory=dict)
    written: Written | None = None
    view: str = ""
    needs_look: bool = False
    seconds: float = 0.0


def refresh_written(
    model: ShopperModel, settings: Settings, clock: Clock, oldest: timedelta, *, dry_run: bool
) -> WrittenRefresh:
    """Refresh one model of shoppers; what goes wrong is in the report.

    Parameters
    ----------
    oldest
        A champion whose log ended longer before today's is fitted anew.
    dry_run
        Say what would be done; fit and write nothing.
    """
    started = time.monotonic()
    try:
        found = _Turn(model, settings, clock, oldest, dry_run).take()
    except TaskUnavailableError as error:
        found = WrittenRefresh(model.name, Action.UNAVAILABLE, error.what)
    except PortraitError as error:
        found = WrittenRefresh(model.name, Action.FAILED, error.what, needs_look=True)
    except Exception as error:  # noqa: BLE001 - a fault in one model must not keep the others from their turn
        # Messages of other libraries may quote what a row holds, and a report goes to many.
        what = f"{type(error).__name__} in fitting or writing; `portrait {model.name} fit` says more."
        found = WrittenRefresh(model.name, Action.FAILED, what, needs_look=True)
    return replace(found, seconds=time.monotonic() - started)


@dataclass(frozen=True)
class _Turn:
    """One model's turn."""

    model: ShopperModel
    settings: Settings
    clock: Clock
    oldest: timedelta
    dry_run: bool

    def take(self) -> WrittenRefresh:
        champion = current_champion(self.settings, self.model.name)
        reason, usable = self._due(champion)
        if not reason:
            return self._said(WrittenRefresh(self.model.name, Action.KEPT, "It is young enough.", _version(champion)))
        done = self._fit(reason, _version(champion))
        usable = usable or done.action is Action.PROMOTED
        return self._said(done) if usable else done

    def _due(self, champion: Any) -> tuple[str, bool]:
        """Say why it is to be fitted, empty if it is not; and whether the champion can speak meanwhile."""
        if champion is None:
            return f"The registry has no champion '{self.model.name}'.", False
        if champion.tags.get("definitions") != self.model.definitions():
            return "Its features are defined otherwise now.", False
        age = timedelta(microseconds=log_end(self.settings) - trained_until(champion))
        if age < self.oldest:
            return "", True
        said = f"The log has gone on for {age.days} days since it was fitted, and {self.oldest.days} are allowed."
        return said, True

    def _fit(self, reason: str, champion: str) -> WrittenRefresh:
        """Fit, unless that was done on these rows before."""
        basis = self.model.basis(self.model.rows(self.settings, log_end(self.settings)))
        for known in versions_on(self.settings, self.model.name, basis):
            told = f"{reason} Version {known.version} was fitted on these very rows, and is not champion."
            return WrittenRefresh(self.model.name, Action.KEPT, told, champion, str(known.version), needs_look=True)
        if self.dry_run:
            return WrittenRefresh(self.model.name, Action.WOULD_TRAIN, reason, champion)
        found = fit(self.model, self.settings)
        why = "" if found.promoted else f" Version {found.model_version} fails {', '.join(found.failed)}."
        return WrittenRefresh(
            model=self.model.name,
            action=Action.PROMOTED if found.promoted else Action.NOT_PROMOTED,
            reason=f"{reason}{why}",
            champion=found.model_version if found.promoted else champion,
            trained=found.model_version,
            gates=found.gates,
            needs_look=not found.promoted,
        )

    def _said(self, done: WrittenRefresh) -> WrittenRefresh:
        """Write what the champion says at the end of the log; rows that are known are not written again."""
        if self.dry_run:
            return done
        written = assign(self.model, self.settings, self.clock).written
        return replace(done, written=written, view=self._brought() if written.rows else "")

    def _brought(self) -> str:
        try:
            [view] = materialize(self.settings, self.clock, views=[self.model.table]).views
        except PortraitError as error:  # the rows are in the log, and the next run brings them
            return error.what
        return view.action


def _version(champion: Any) -> str:
    return str(champion.version) if champion else ""
