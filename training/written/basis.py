"""What a version rests on: the rows it is fitted on, what they mean, and how it is fitted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from feature_repo.core.clock import from_us
from training.data.log_views import Versions


@dataclass(frozen=True)
class Basis:
    """The rows of a fit.

    Attributes
    ----------
    at
        Last instant they look back from (us).
    shoppers
        How many at that instant.
    log_versions
        Table -> version everything was read at.
    fingerprint
        Sixteen hex digits of the rows' content, whoever's they are.
    definitions
        Fingerprint of what the rows' columns mean.
    recipe
        What the fit follows from beside the rows: method, seed and so on.
    """

    at: int
    shoppers: int
    log_versions: Versions = field(repr=False)
    fingerprint: str
    definitions: str
    recipe: Mapping[str, Any]

    @property
    def identity(self) -> dict[str, str]:
        """Tags by which a version is known that another fit could only repeat."""
        return {
            "data_fingerprint": self.fingerprint,
            "definitions": self.definitions,
            "recipe": json.dumps(dict(self.recipe), sort_keys=True),
        }

    @property
    def tags(self) -> dict[str, str]:
        """What a version says of its rows."""
        return self.identity | {"log_versions": json.dumps(self.log_versions), "trained_until": self._at}

    @property
    def params(self) -> dict[str, Any]:
        """What a run says of them."""
        rows = {"at": self._at, "shoppers": self.shoppers, "data_fingerprint": self.fingerprint}
        return {name: value for name, value in self.recipe.items() if value is not None} | rows

    @property
    def _at(self) -> str:
        return f"{from_us(self.at):%Y-%m-%dT%H:%M:%S.%fZ}"


def content_fingerprint(matrix: npt.NDArray[np.float64]) -> str:
    """Return sixteen hex digits of a matrix."""
    return hashlib.sha256(np.ascontiguousarray(matrix).tobytes()).hexdigest()[:16]
