"""What a model is asked: shoppers and the context beside them; and what was read of them at one instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import numpy as np
import numpy.typing as npt

from feature_repo.core.clock import from_us
from serving.entities import USER
from serving.models import Matrix, Model, Scores
from serving.online_features import Reading, ServicePlan
from serving.service_views import Entities


class Rows(Protocol):
    """Features of a question's rows."""

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Whether Redis holds anything about each."""

    def matrix(self, columns: Sequence[str], texts: Mapping[str, Sequence[str]] | None = None) -> Matrix:
        """Return features as the model reads them."""


@dataclass(frozen=True, eq=False)
class Question:
    """Rows a model is asked about.

    Attributes
    ----------
    model
        Who answers.
    plan
        How its features are read.
    entities
        Columns of the question, pseudonyms for shoppers.
    given
        Context columns, ``float64[n, len(model.context)]``, NaN where the default is to be taken.
    """

    model: Model
    plan: ServicePlan
    entities: Entities
    given: Matrix

    def scores(self, rows: Rows, at: int, *, degraded: bool = False, read_at: Sequence[datetime] = ()) -> Scores:
        """Return the model's answers from features that were read at an instant (us)."""
        features = rows.matrix(self.model.features, self.model.texts)
        known, users = rows.known.tolist(), self.entities[USER]
        found = self.model.scores(users, features, self.given, known=known, as_of=from_us(at))
        return replace(found, degraded=True, read_at=read_at) if degraded else found


@dataclass(frozen=True, eq=False)
class Asked:
    """A question, and what was read for it.

    Attributes
    ----------
    reading
        What Redis said.
    at
        Instant the features were read at (us).
    """

    question: Question
    reading: Reading
    at: int

    @property
    def model(self) -> Model:
        """Who answers."""
        return self.question.model

    @property
    def entities(self) -> Entities:
        """Columns of the question."""
        return self.question.entities

    @property
    def inputs(self) -> Matrix:
        """Rows as the model's scorer reads them."""
        features = self.reading.matrix(self.model.features, self.model.texts)
        return self.model.inputs(features, self.question.given)

    def scores(self) -> Scores:
        """Return the model's answers."""
        return self.question.scores(self.reading, self.at)
