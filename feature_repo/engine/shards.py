"""Which consumer folds which entities: shards of them, as many as the stream has partitions.

A shopper's shard is the partition of the shopper's events, so that whoever reads those also folds them, from memory.
Entities without a shopper are shared out by a hash of their key.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from feature_repo.engine.duckdb_sql import quote

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


def _shard_sql(join_keys: Sequence[str]) -> str:
    if SHOPPER in join_keys:
        user = quote(SHOPPER)
        # As partition_of; what is no pseudonym has no partition, and any shard will do.
        return f"coalesce(TRY_CAST('0x' || substr({user}, 3, 8) AS UBIGINT), md5_number_lower({user}))"
    key = ", ".join(f"CAST({quote(name)} AS VARCHAR)" for name in join_keys)
    return f"md5_number_lower(concat_ws('|', {key}))"
