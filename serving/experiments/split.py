"""Who gets which variant: a hash decides, so every process, today and next month, says the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import accumulate

from serving.experiments.experiment import Experiment

_BYTES = 8
# A double holds 53 bits exactly: more would round the largest shares up to 1.
_SPARE_BITS = 11
_WHOLE = 1 << 53


def shares_of(experiment: str, pseudonyms: Iterable[str]) -> Iterator[float]:
    """Return each shopper's place in [0, 1): uniform over shoppers, and independent between experiments.

    BLAKE2b of the experiment's name and the pseudonym, 53 bits of it.

    >>> [round(each, 6) for each in shares_of("home_page", ["u_" + "0" * 32, "u_" + "1" * 32])]
    [0.642746, 0.531152]
    """
    named = hashlib.blake2b(experiment.encode() + b"\0", digest_size=_BYTES)
    for pseudonym in pseudonyms:
        mine = named.copy()
        mine.update(pseudonym.encode())
        yield (int.from_bytes(mine.digest(), "big") >> _SPARE_BITS) / _WHOLE


def split(experiment: Experiment, pseudonyms: Iterable[str]) -> list[int]:
    """Return the place of each shopper's variant among the experiment's variants."""
    bounds = [*accumulate(experiment.shares)][:-1]
    return [sum(share >= bound for bound in bounds) for share in shares_of(experiment.name, pseudonyms)]
