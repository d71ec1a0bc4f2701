"""Which consumer folds which entities: shards of them, as many as the stream has partitions.

A shopper's shard is the partition of the shopper's events, so that whoever reads those also folds them, from memory.
Entities without a shopper are shared out by a hash of their key.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from feature_repo.engine.duckdb_sql import quote
from feature_repo.engine.entity_monoids import portable_hash
from feature_repo.engine.state import Bools
from feature_repo.privacy.pseudonyms import PSEUDONYM, is_pseudonym

SHOPPER = "user_id"


def owned_sql(join_keys: Sequence[str], shards: Collection[int], *, of: int) -> str:
    """Return a SQL condition on the join keys: whether the entity is in one of some shards.

    >>> owned_sql(["user_id"], range(4), of=4)
    'true'
    """
    if len(set(shards)) == of:
        return "true"
    chosen = ", ".join(map(str, sorted(shards))) or "NULL"
    return f"({_shard_sql(join_keys)} % {of}) IN ({chosen})"


def owned_mask(
    join_keys: Sequence[str], columns: Sequence[Sequence[Any]], shards: Collection[int], *, of: int
) -> Bools:
    """Return what :func:`owned_sql` says of entities in memory: their values in the order of the join keys."""
    if len(set(shards)) == of:
        return np.ones(len(columns[0]), bool)
    if SHOPPER in join_keys:
        numbers = [_shopper_number(user) for user in columns[join_keys.index(SHOPPER)]]
    else:
        numbers = [portable_hash("|".join(map(str, entity))) for entity in zip(*columns, strict=True)]
    return np.isin(np.array(numbers, np.uint64) % np.uint64(of), np.array(sorted(shards), np.uint64))


def _shopper_number(user: str) -> int:
    return int(user[2:10], 16) if is_pseudonym(user) else portable_hash(user)


def _shard_sql(join_keys: Sequence[str]) -> str:
    if SHOPPER in join_keys:
        user = quote(SHOPPER)
        # As partition_of; what is no pseudonym has no partition, and any shard will do.
        number = f"CAST('0x' || substr({user}, 3, 8) AS UBIGINT)"
        return f"CASE WHEN regexp_full_match({user}, '{PSEUDONYM}') THEN {number} ELSE md5_number_lower({user}) END"
    key = ", ".join(f"CAST({quote(name)} AS VARCHAR)" for name in join_keys)
    return f"md5_number_lower(concat_ws('|', {key}))"
