"""What shoppers allowed, read from the features that tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.privacy.consent import PurposeName, permits
from serving.entities import USER, entity_columns
from serving.features import Features

CONSENT = "consent_v1"
GRANTED = "user_consent__granted"


def pairs(users: Any, purposes: Sequence[PurposeName]) -> pd.DataFrame:
    """Return one row for each shopper and purpose, of the shoppers as they are named.

    Raises
    ------
    DataError
        An id is missing or of another type.
    """
    named = entity_columns(users, [USER], str)[USER]
    return pd.DataFrame({USER: np.repeat(np.array(named, object), len(purposes)), "purpose": [*purposes] * len(named)})


def consents_of(found: Features, width: int) -> tuple[list[str], list[list[bool | None]]]:
    """Return pseudonyms of shoppers, and what each said of ``width`` purposes; None: nothing."""
    column = found.to_arrow()[GRANTED].to_pylist()
    said = [column[start : start + width] for start in range(0, len(column), width)]
    return list(found.entities[USER][::width]), said


def permissions(purpose: PurposeName, said: Sequence[Sequence[bool | None]]) -> npt.NDArray[np.bool_]:
    """Return whether a purpose is permitted, of what each shopper said of it alone."""
    return np.array([permits(purpose, each) for [each] in said], np.bool_)
