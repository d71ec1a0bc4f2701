"""How the values of a feature are spread: among everybody in the latest snapshot, and among the rows of trainings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.core.settings import Settings
from serving.tags.snapshots import Snapshot, snapshots

SHOWN = (0.1, 0.5, 0.9)
_BINS, _FEW = 30, 30
_TAILS = (0.01, 0.99)  # a single shopper far away does not flatten all others

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Values of a feature.

    Attributes
    ----------
    of
        ``task@version`` of a training; empty for everybody.
    rows
        How many there are, those that are NULL among them.
    null_share
        Share of NULL.
    quantiles
        At ``SHOWN``; none without values.
    mean
        None without values.
    """

    of: str
    rows: int
    null_share: float
    quantiles: tuple[float, ...]
    mean: float | None


@dataclass(frozen=True)
class Everybody:
    """A feature in the latest snapshot.

    Attributes
    ----------
    as_of
        Of the snapshot.
    bars
        Where each bar begins and ends, and how many shoppers it stands for; values of the outermost hundredths are in
        the first and the last.
    """

    as_of: datetime
    spread: Spread
    bars: tuple[tuple[float, float, int], ...]


def everybody(settings: Settings, feature: str) -> Everybody | None:
    """Read a feature of everybody from the latest snapshot; None without one that has it as a number.

    Raises
    ------
    LogError
        A manifest is damaged.
    """
    found = snapshots(settings)
    if not found:
        return None
    values = _column(found[-1], feature)
    return None if values is None else _everybody(found[-1].manifest.as_of, values)


def trained_on(of: str, reference: Mapping[str, Any], feature: str) -> Spread | None:
    """Return how a feature was spread in a training, by the reference summary of its run; None if it is not there."""
    column = reference.get("columns", {}).get(feature, {})
    if "edges" not in column:
        return None
    quantiles = tuple(_quantiles(column["edges"], column["shares"]))
    return Spread(of, int(reference.get("rows", 0)), float(column["null_share"]), quantiles, column.get("mean"))


def _column(snapshot: Snapshot, feature: str) -> Floats | None:
    try:
        schema = pq.read_schema(snapshot.people)
        if feature not in schema.names or not _is_number(schema.field(feature).type):
            return None
        column = pq.read_table(snapshot.people, columns=[feature])[feature]
    except FileNotFoundError:  # removed meanwhile
        return None
    found: Floats = pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy()
    return found


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _everybody(as_of: datetime, values: Floats) -> Everybody:
    known = values[~np.isnan(values)]
    null_share = 1 - len(known) / len(values) if len(values) else 0.0
    if not len(known):
        return Everybody(as_of, Spread("", len(values), null_share, (), None), ())
    quantiles = tuple(np.quantile(known, SHOWN, method="inverted_cdf").tolist())
    return Everybody(as_of, Spread("", len(values), null_share, quantiles, float(known.mean())), tuple(_bars(known)))


def _bars(known: Floats) -> Iterator[tuple[float, float, int]]:
    low, high = np.quantile(known, _TAILS, method="inverted_cdf")
    whole = bool((known == np.round(known)).all()) and high - low < _FEW
    edges = np.arange(low - 0.5, high + 1.5) if whole else np.linspace(low, high if high > low else low + 1, _BINS + 1)
    counts, _ = np.histogram(np.clip(known, edges[0], edges[-1]), edges)
    yield from zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)


def _quantiles(edges: Sequence[float], shares: Sequence[float]) -> Iterator[float]:
    """Yield the quantiles at ``SHOWN`` of values of which these are the distinct deciles."""
    if edges:
        reached = np.cumsum(shares[: len(edges)])
        for level in SHOWN:
            yield edges[min(int(np.searchsorted(reached, level - 1e-9)), len(edges) - 1)]
