"""The rows a run was made of, as its artifact lists them: who, when, the answer, the role, and a hash of the inputs.

The hash tells whether a row that is built again holds what it held. It leaves the list with its row when a person is
erased: see :mod:`training.registry.erasure`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from training.data.dataset import SPLIT, Dataset
from training.data.labels import AT
from training.task import LABEL

CONTENT = "content"


def entity_rows(data: Dataset) -> pa.Table:
    """Return the join keys, ``event_timestamp``, ``label``, ``split`` and ``content`` (uint64) of every row."""
    rows = data.to_df()[[*data.keys, AT, LABEL, SPLIT]]
    return pa.Table.from_pandas(rows.assign(**{CONTENT: content_of(data)}), preserve_index=False)


def content_of(data: Dataset) -> npt.NDArray[np.uint64]:
    """Hash the inputs of each row: floats to 24 bits, as sums of floats differ in the last ones from run to run."""
    inputs = pd.DataFrame({name: _plain(data.frame[name]) for name in data.inputs}, index=data.frame.index)
    return np.asarray(pd.util.hash_pandas_object(inputs, index=False), np.uint64)


def _plain(values: pd.Series[float]) -> npt.NDArray[np.float32] | pd.Series[str]:
    if not pd.api.types.is_numeric_dtype(values.dtype):
        return values.astype(str)
    with np.errstate(over="ignore"):
        return values.to_numpy(np.float64, na_value=np.nan).astype(np.float32) + np.float32(0.0)  # -0.0 is 0.0


def rows_by_role(data: Dataset) -> dict[str, int]:
    """Return how many rows serve what: ``train``, ``test`` and ``embargo``."""
    train, test = int(data.train.sum()), int(data.test.sum())
    return {"train": train, "test": test, "embargo": len(data.frame) - train - test}
