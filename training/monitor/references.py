"""What a champion's inputs, events, scores and answers were like when it was trained, and how they move when quiet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.core.clock import delta_us
from feature_repo.core.errors import ModelUnavailableError
from feature_repo.core.settings import Settings
from training.data.dataset import Dataset
from training.data.labels import AT, label_rows
from training.monitor.panels import FEATURE, WEEK_US, Look, Panel, Sample, panels
from training.monitor.signals import Signal, signals_of
from training.monitor.summary import summary
from training.task import LABEL

WEEKS = 44
LEAST_ROWS = 30


class Predicts(Protocol):
    """A scorer, fitted or loaded."""

    def predict(self, context: Any, model_input: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return a score for each row."""
        ...


@dataclass(frozen=True)
class Answers:
    """The answers a model was trained and measured on.

    Attributes
    ----------
    until
        Instant of the last question answered, microseconds.
    rows, mean, deviation
        How many there are, their mean, and their standard deviation.
    spread
        The largest distance of a week's mean from the mean, of weeks with enough rows.
    """

    until: int
    rows: int
    mean: float
    deviation: float
    spread: float


@dataclass(frozen=True)
class Reference:
    """What monitoring compares with.

    Attributes
    ----------
    instant
        End of the log at training: the reference's weeks end there, microseconds.
    sample
        Of how many shoppers one was looked at: those looked at later are chosen alike.
    signals
        What is compared.
    answers
        What later answers are compared with.
    """

    instant: int
    sample: Sample
    signals: tuple[Signal, ...]
    answers: Answers

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        return {
            "instant": self.instant,
            "sample": asdict(self.sample),
            "answers": asdict(self.answers),
            "signals": [each.to_json() for each in self.signals],
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Reference:
        """Read the reference of a run."""
        return cls(
            instant=found["instant"],
            sample=Sample(**found["sample"]),
            signals=tuple(Signal.from_json(each) for each in found["signals"]),
            answers=Answers(**found["answers"]),
        )


def reference_text(data: Dataset, scorer: Predicts, settings: Settings) -> str:
    """Return the file ``reference.json`` of a run: a summary of the training rows, and what monitoring compares with.

    Raises
    ------
    LogError
        A table is missing or damaged.
    """
    rows = summary(data.inputs, data.matrix()[data.train])
    return json.dumps({**rows, "live": reference_of(data, scorer, settings).to_json()})


def reference_of(data: Dataset, scorer: Predicts, settings: Settings) -> Reference:
    """Look at the weeks before the log's end, as monitoring will look at those after it."""
    end = data.split.cut + delta_us(data.task.holdout)
    look = Look(data.task, data.key, settings, data.log_versions, end, WEEKS)
    sample, found = panels(look)
    seen = [scored(panel, scorer) for panel in found]
    signals = tuple(signal for panel in seen if len(panel.frame) for signal in signals_of(panel))
    return Reference(end, sample, signals, answers_of(_questions(data, settings)))


def _questions(data: Dataset, settings: Settings) -> pd.DataFrame:
    """Rows as the label query gives them: those of a task that ranks are what was proposed."""
    if not data.task.candidates:
        return data.frame
    return label_rows(data.task, settings, versions=data.log_versions, key=data.key).rows


def read_reference(found: Mapping[str, Any], task: str) -> Reference:
    """Read the content of ``reference.json``.

    Raises
    ------
    ModelUnavailableError
        The run is of a version that kept no such reference.
    """
    if "live" not in found:
        raise ModelUnavailableError(
            f"The champion of '{task}' was registered without a reference to compare with.",
            hint=f"train it anew (`portrait train {task}`).",
        )
    return Reference.from_json(found["live"])


def scored(panel: Panel, scorer: Predicts) -> Panel:
    """Return a panel of inputs with the model's score of each row; other panels as they are."""
    return panel.with_scores(scorer.predict(None, panel.frame)) if panel.kind == FEATURE else panel


def answers_of(frame: pd.DataFrame) -> Answers:
    """Summarise answers by the weeks they were asked in."""
    labels = frame[LABEL].astype(np.float64)
    at = frame[AT].dt.as_unit("us").astype(np.int64)
    weeks = labels.groupby((at.max() - at) // WEEK_US).agg(["mean", "size"])
    means = weeks["mean"][weeks["size"] >= LEAST_ROWS]
    spread = (means - labels.mean()).abs().max() if len(means) else 0.0
    return Answers(int(at.max()), len(labels), float(labels.mean()), float(labels.std(ddof=0)), float(spread))
