"""What a model was asked: rows of features read at one instant, and the context beside them."""

from __future__ import annotations

from dataclasses import dataclass

from feature_repo.core.clock import from_us
from serving.entities import USER
from serving.models import Matrix, Model, Scores
from serving.online_features import Reading
from serving.service_views import Entities


@dataclass(frozen=True, eq=False)
class Asked:
    """Rows a model was asked about.

    Attributes
    ----------
    model
        Who answers.
    entities
        Columns of the question, pseudonyms for shoppers.
    given
        Context columns, ``float64[n, len(model.context)]``, NaN where the default is to be taken.
    reading
        What Redis said.
    at
        Instant the features were read at (us).
    """

    model: Model
    entities: Entities
    given: Matrix
    reading: Reading
    at: int

    @property
    def features(self) -> Matrix:
        """The model's features, NaN for NULL."""
        return self.reading.matrix(self.model.features, self.model.texts)

    @property
    def inputs(self) -> Matrix:
        """Rows as the model's scorer reads them."""
        return self.model.inputs(self.features, self.given)

    def scores(self) -> Scores:
        """Return the model's answers."""
        known = self.reading.known.tolist()
        users = self.entities[USER]
        return self.model.scores(users, self.features, self.given, known=known, as_of=from_us(self.at))
