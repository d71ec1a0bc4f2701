"""Learns a taste: factors of alternating least squares, nearest neighbours, and groups of shoppers alike."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from feature_repo.candidates.taste import NO_ITEM, Taste
from training.task import TaskUnavailableError

Matrix = Any  # scipy's sparse matrices have no types of their own


@dataclass(frozen=True)
class Learning:
    """How a taste is learnt.

    Attributes
    ----------
    least_buyers
        Items of fewer shoppers say nothing of others, and might say whose they are: left out.
    factors, regularization, confidence, iterations
        Of alternating least squares.
    neighbours
        Kept of each item.
    groups, least_shoppers, favourites
        Groups of shoppers alike; one of fewer shoppers is left out; items kept of each.
    """

    least_buyers: int = 10
    factors: int = 48
    regularization: float = 5.0
    confidence: float = 4.0
    iterations: int = 12
    neighbours: int = 30
    groups: int = 40
    least_shoppers: int = 20
    favourites: int = 150
    seed: int = 7


def learn(rows: pd.DataFrame, learning: Learning = Learning(), *, threads: int = 1) -> Taste:
    """Learn a taste from what shoppers bought.

    Parameters
    ----------
    rows
        Of :func:`feature_repo.candidates.history.history_rows`.

    Raises
    ------
    TaskUnavailableError
        The package `implicit` is not installed.
    """
    items, matrix = _matrix(rows, learning.least_buyers)
    if not len(items):
        return _nothing(learning)
    with threadpool_limits(1):  # implicit has threads of its own, and is slowed by those of BLAS
        factors, people = _factors(matrix, learning, threads)
        neighbours, nearness = _neighbours(matrix, learning.neighbours, threads)
        centres, favourites, shares = _groups(people, matrix, learning)
    return Taste(
        items=items,
        factors=factors,
        regularization=learning.regularization,
        confidence=learning.confidence,
        neighbours=neighbours,
        nearness=nearness,
        centres=centres,
        favourites=favourites,
        shares=shares,
    )


def _matrix(rows: pd.DataFrame, least: int) -> tuple[npt.NDArray[np.object_], Matrix]:
    """Items with enough buyers, and the weights of shoppers by item."""
    buyers = rows["item_id"].value_counts()
    kept = rows[rows["item_id"].isin(buyers.index[buyers >= least])]
    users = _numbered(kept)
    places, items = pd.factorize(kept["item_id"], sort=True)
    shape = (int(users.max(initial=-1)) + 1, len(items))
    found = sparse.csr_matrix((kept["weight"].to_numpy(np.float32), (users, places)), shape=shape)
    return np.asarray(items, object), found


def _numbered(rows: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Number the shoppers by what they bought, not by pseudonym: in another home they come in the same order."""
    codes, users = pd.factorize(rows["user_id"])
    sums = rows.groupby(codes)[["first_at", "orders", "weight"]].agg(
        {"first_at": "min", "orders": "sum", "weight": "sum"}
    )
    order = np.lexsort((sums["weight"], sums["orders"], sums["first_at"]))
    place = np.empty(len(users), np.int64)
    place[order] = np.arange(len(users))
    return np.asarray(place[codes], np.int64)


def _factors(matrix: Matrix, learning: Learning, threads: int) -> tuple[npt.NDArray[np.float32], Any]:
    model = _implicit("als").AlternatingLeastSquares(
        factors=learning.factors,
        regularization=learning.regularization,
        alpha=learning.confidence,
        iterations=learning.iterations,
        random_state=learning.seed,
        num_threads=threads,
        use_gpu=False,
    )
    model.fit(matrix, show_progress=False)
    return np.asarray(model.item_factors, np.float32), np.asarray(model.user_factors, np.float32)


def _neighbours(matrix: Matrix, count: int, threads: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    model = _implicit("nearest_neighbours").BM25Recommender(K=count + 1, num_threads=threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it converts its own weights, and says so
        model.fit(sparse.csr_matrix(matrix), show_progress=False)
    found = model.similarity.tocsr()
    size = matrix.shape[1]
    neighbours, nearness = np.full((size, count), NO_ITEM, np.int32), np.zeros((size, count), np.float32)
    for item in range(size):
        row = slice(found.indptr[item], found.indptr[item + 1])
        places, near = found.indices[row], found.data[row]
        others = places != item
        order = np.argsort(-near[others], kind="stable")[:count]
        neighbours[item, : len(order)] = places[others][order]
        nearness[item, : len(order)] = near[others][order]
    return neighbours, nearness


def _groups(people: Any, matrix: Matrix, learning: Learning) -> tuple[Any, Any, Any]:
    """Cluster shoppers by the direction of their factors, and keep what the groups buy."""
    directions = people / np.maximum(np.linalg.norm(people, axis=1, keepdims=True), 1e-9)
    count = min(learning.groups, len(people) // (2 * learning.least_shoppers))
    if not count:
        return _no_groups(learning)
    found = KMeans(count, n_init=1, random_state=learning.seed).fit(directions)
    sizes = np.bincount(found.labels_, minlength=count)
    kept = np.flatnonzero(sizes >= learning.least_shoppers)
    bought = matrix.copy()
    bought.data = 1.0 - np.exp2(-bought.data)  # once long ago is little, often and lately nearly one
    everybody = np.arange(len(people))
    member = sparse.csr_matrix((np.ones(len(people)), (found.labels_, everybody)), shape=(count, len(people)))
    shares = (member @ bought).toarray()[kept] / sizes[kept, None]
    most = min(learning.favourites, shares.shape[1])
    favourites = np.argsort(-shares, axis=1, kind="stable")[:, :most]
    centres = found.cluster_centers_[kept]
    centres = centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-9)
    taken = np.take_along_axis(shares, favourites, axis=1)
    return centres.astype(np.float32), favourites.astype(np.int32), taken.astype(np.float32)


def _no_groups(learning: Learning) -> tuple[Any, Any, Any]:
    return np.zeros((0, learning.factors), np.float32), np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32)


def _nothing(learning: Learning) -> Taste:
    """Return the taste of a log in which no item has enough buyers."""
    centres, favourites, shares = _no_groups(learning)
    return Taste(
        items=np.zeros(0, object),
        factors=np.zeros((0, learning.factors), np.float32),
        regularization=learning.regularization,
        confidence=learning.confidence,
        neighbours=np.zeros((0, learning.neighbours), np.int32),
        nearness=np.zeros((0, learning.neighbours), np.float32),
        centres=centres,
        favourites=favourites,
        shares=shares,
    )


def _implicit(module: str) -> Any:
    try:
        return import_module(f"implicit.{module}")
    except ModuleNotFoundError:
        raise TaskUnavailableError(
            "Items that go together are found by the package 'implicit', which is not installed.",
            hint="pip install 'user-portrait[recommend]'",
        ) from None
