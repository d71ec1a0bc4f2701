"""What a model may answer while Redis does not: declared by its task, and kept as a tag of its versions."""

from __future__ import annotations

from collections.abc import Mapping

REFUSE = "refuse"
LAST_KNOWN = "last_known"
DEFAULTS = "defaults"
WITHOUT_REDIS = (REFUSE, LAST_KNOWN, DEFAULTS)

TAG = "without_redis"


def without_redis(tags: Mapping[str, str]) -> str:
    """Return what the tags of a version allow; of one that was registered before there was such a tag, the last known.

    >>> without_redis({}), without_redis({"without_redis": "defaults"}), without_redis({"without_redis": "guess"})
    ('last_known', 'defaults', 'refuse')
    """
    said = tags.get(TAG, LAST_KNOWN)
    return said if said in WITHOUT_REDIS else REFUSE
