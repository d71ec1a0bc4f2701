"""What a model of shoppers declares of itself; the jobs fit, register, assign and show any that does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from feature_repo.core.settings import Settings
from training.written.basis import Basis
from training.written.report import FitReport, ShowReport
from training.written.version import Champion, NewVersion

Step = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class Made:
    """A fitted model.

    Attributes
    ----------
    version
        What is to be logged and registered.
    gates
        Gate -> whether it holds.
    figures
        The fields its report has beside those of every report.
    """

    version: NewVersion
    gates: dict[str, bool]
    figures: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Said:
    """What a champion says.

    Attributes
    ----------
    rows
        ``user_id``, ``event_timestamp`` (the instant) and the columns of the model's table.
    show
        The last instant in words and figures.
    """

    rows: pa.Table = field(repr=False)
    show: ShowReport


class ShopperModel(ABC):
    """A model that says something of every shopper."""

    name: ClassVar[str]
    """Of the registered model, and of its commands."""
    table: ClassVar[str]
    """Table of the log, and view, that it is written to."""
    report: ClassVar[type[FitReport]]
    """What a fit reports."""

    @property
    @abstractmethod
    def recipe(self) -> dict[str, Any]:
        """What a fit follows from beside the rows, by name."""

    @property
    @abstractmethod
    def rules(self) -> object:
        """What the rows written follow from beside the model: where it has changed they are written anew."""

    @abstractmethod
    def definitions(self) -> str:
        """Fingerprint of what the inputs mean, as they are declared now."""

    @abstractmethod
    def rows(self, settings: Settings, at: int) -> Any:
        """Return what is fitted on: what was known before an instant (us).

        It has ``at``, ``shoppers``, ``log_versions`` and ``fingerprint``, as :class:`Basis` means them.

        Raises
        ------
        TaskUnavailableError
            The log has too little.
        LogError
            A table is missing or damaged.
        """

    @abstractmethod
    def fitted(self, settings: Settings, rows: Any, progress: Step) -> Made:
        """Fit and measure; nothing is registered yet."""

    @abstractmethod
    def said(self, settings: Settings, champion: Champion, instants: Sequence[int], progress: Step) -> Said:
        """Return what a champion says of everybody at instants (us, ascending).

        Raises
        ------
        TaskUnavailableError
            Nobody is known at any of them.
        """

    @property
    def hint(self) -> str:
        """What to do where there is no champion."""
        return f"run `portrait {self.name} fit`."

    def basis(self, rows: Any) -> Basis:
        """Say what a fit on some rows rests on."""
        return Basis(rows.at, rows.shoppers, rows.log_versions, rows.fingerprint, self.definitions(), self.recipe)
