"""What the jobs report, whichever model it is about; each model's own reports add its figures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from training.written.rows import Written


@dataclass(frozen=True, kw_only=True)
class FitReport:
    """What a fit found.

    Attributes
    ----------
    at
        Last instant it read.
    gates
        Gate -> whether it holds.
    promoted, challenger
        Whether the version is champion; whether its gates hold and it was not to be.
    reason
        Why it is champion, challenger or neither.
    kept
        Folder of the run if MLflow did not take it; then there is no version yet.
    unchanged
        Nothing was fitted: the champion rests on these very rows. Then the figures are in its run.
    """

    at: datetime
    shoppers: int
    gates: dict[str, bool]
    model_version: str = ""
    run_id: str = ""
    promoted: bool = False
    challenger: bool = False
    reason: str = ""
    kept: str = ""
    unchanged: bool = False
    seconds: float

    @property
    def failed(self) -> list[str]:
        """The gates that do not hold."""
        return [gate for gate, holds in self.gates.items() if not holds]


@dataclass(frozen=True, kw_only=True)
class ShowReport:
    """What the champion says at an instant."""

    at: datetime
    model_version: str
    shoppers: int


@dataclass(frozen=True)
class AssignReport:
    """What was written to the model's table, and what the champion says at the last instant."""

    written: Written
    show: ShowReport
    seconds: float
