"""Tiers and reasons, counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_repo.definitions.segment_names import TIERS
from training.unusual.policy import POLICY, Judged, Policy


@dataclass(frozen=True)
class TierLine:
    """One tier at an instant, the most unusual first."""

    tier: str
    zh: str
    response: str
    size: int
    share: float


@dataclass(frozen=True)
class ReasonLine:
    """One rule at an instant: how many it applies to."""

    reason: str
    zh: str
    says: str
    size: int


def tier_table(found: Judged, policy: Policy = POLICY) -> tuple[TierLine, ...]:
    """Count shoppers by tier."""
    sizes = {name: int((found.tier == name).sum()) for name in policy.responses}
    everybody = max(len(found.tier), 1)
    return tuple(
        TierLine(name, TIERS[name].chinese, policy.responses[name], size, size / everybody)
        for name, size in sizes.items()
    )


def reason_table(found: Judged, policy: Policy = POLICY) -> tuple[ReasonLine, ...]:
    """Count shoppers by reason; one may have several."""
    said = [set(each.split(", ")) if each else set() for each in found.reasons]
    return tuple(
        ReasonLine(rule.name, rule.zh, rule.says, int(np.sum([rule.name in each for each in said])))
        for rule in policy.rules
    )
