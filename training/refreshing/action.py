"""What a refresh may have done about a model."""

from __future__ import annotations

from enum import StrEnum


class Action(StrEnum):
    """What was done."""

    PROMOTED = "promoted"
    NOT_PROMOTED = "trained, not promoted"
    WOULD_TRAIN = "would train"
    KEPT = "kept"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"
