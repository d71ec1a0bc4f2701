"""What items have to do with one another, learnt from everybody's baskets and holding nobody's.

It is an artifact of a model, so it must not name or single out a shopper: factors and neighbours are of items, and a
group of shoppers alike is kept as what many of them buy.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from io import BytesIO

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

NO_ITEM = -1


@dataclass(frozen=True, eq=False)
class Taste:
    """Item-item neighbours, factors and groups over ``n`` items.

    Attributes
    ----------
    items
        Their ids.
    factors
        ``float32[n, f]``, of alternating least squares over weights as confidences (Hu, Koren, Volinsky 2008).
    regularization
        Of the factors.
    confidence
        What a weight is multiplied by.
    neighbours, nearness
        ``int32[n, k]`` places of the items bought by the same shoppers, ``NO_ITEM`` where there are fewer, and
        ``float32[n, k]`` how near they are.
    centres
        ``float32[g, f]``: mean direction of a group of shoppers with like factors.
    favourites, shares
        ``int32[g, m]`` places of what a group buys most, and ``float32[g, m]`` the share of it that does.
    """

    items: npt.NDArray[np.object_]
    factors: npt.NDArray[np.float32]
    regularization: float
    confidence: float
    neighbours: npt.NDArray[np.int32]
    nearness: npt.NDArray[np.float32]
    centres: npt.NDArray[np.float32]
    favourites: npt.NDArray[np.int32]
    shares: npt.NDArray[np.float32]

    @cached_property
    def gram(self) -> Floats:
        """Factors' inner products with the regularization added, which every solution begins with."""
        wide = self.factors.astype(np.float64)
        return np.asarray(wide.T @ wide + self.regularization * np.eye(wide.shape[1]))

    def person(self, places: Places, weights: Floats) -> Floats:
        """Return the factors of a shopper who bought items with these weights, ``float64[f]``: zeros of none."""
        if not len(places):
            return np.zeros(self.factors.shape[1])
        bought, sure = self.factors[places].astype(np.float64), self.confidence * weights
        left = self.gram + (bought.T * (sure - 1.0)) @ bought
        return np.asarray(np.linalg.solve(left, bought.T @ sure))

    def liked(self, person: Floats) -> npt.NDArray[np.float32]:
        """Return how much a shopper of these factors likes each item, ``float32[n]``."""
        return np.asarray(self.factors @ person.astype(np.float32))

    def near(self, places: Places, weights: Floats) -> Floats:
        """Return how near each item is to what was bought, ``float64[n]``."""
        around, how = self.neighbours[places].ravel(), (self.nearness[places] * weights[:, None]).ravel()
        known = around != NO_ITEM
        return np.asarray(np.bincount(around[known], how[known], len(self.items)), np.float64)

    def alike(self, person: Floats) -> Floats:
        """Return how much shoppers alike buy each item, ``float64[n]``: by the shares of the nearest groups."""
        size = float(np.linalg.norm(person))
        if not size or not len(self.centres):
            return np.zeros(len(self.items))
        cosine = self.centres @ (person / size)
        nearest = np.argsort(-cosine, kind="stable")[:NEAREST_GROUPS]
        pull = np.exp(SHARPNESS * (cosine[nearest] - cosine[nearest[0]]))
        shares = self.shares[nearest] * (pull / pull.sum())[:, None]
        places = self.favourites[nearest].ravel()
        known = places != NO_ITEM
        return np.asarray(np.bincount(places[known], shares.ravel()[known], len(self.items)), np.float64)

    def to_bytes(self) -> bytes:
        """Return what :meth:`from_bytes` reads: NumPy's archive, nothing pickled."""
        arrays = {each.name: np.asarray(getattr(self, each.name)) for each in fields(self)}
        target = BytesIO()
        np.savez_compressed(target, allow_pickle=False, **(arrays | {"items": arrays["items"].astype(str)}))
        return target.getvalue()

    @classmethod
    def from_bytes(cls, raw: bytes) -> Taste:
        """Read what was written before."""
        with np.load(BytesIO(raw), allow_pickle=False) as found:
            arrays = {each.name: found[each.name] for each in fields(cls)}
        single = {name: float(arrays[name]) for name in ("regularization", "confidence")}
        return cls(**{**arrays, **single, "items": arrays["items"].astype(object)})


NEAREST_GROUPS = 3
SHARPNESS = 5.0
