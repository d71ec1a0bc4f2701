"""Where a trained model went in MLflow's registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

REPORT = "report.json"
FIRST = "there was no champion"


@dataclass(frozen=True)
class Registered:
    """Where a model went.

    Attributes
    ----------
    version
        Of the registered model named after the task.
    run_id
        MLflow run with the parameters, metrics and artifacts.
    promoted
        Whether it is the champion now.
    challenger
        Whether it passed its gates without beating the champion.
    reason
        Why it is champion, challenger or neither.
    """

    version: str
    run_id: str
    promoted: bool
    challenger: bool = False
    reason: str = ""

    @property
    def facts(self) -> dict[str, Any]:
        """The fields of a training's report that are known only now."""
        return {
            "model_version": self.version,
            "run_id": self.run_id,
            "promoted": self.promoted,
            "challenger": self.challenger,
            "reason": self.reason,
        }
