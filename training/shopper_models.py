"""The models that say something of every shopper: one line each."""

from __future__ import annotations

from training.segments.shopper_model import SEGMENTS
from training.unusual.shopper_model import UNUSUAL
from training.written.model import ShopperModel


def shopper_models() -> dict[str, ShopperModel]:
    """Return them by name."""
    return {each.name: each for each in (SEGMENTS, UNUSUAL)}
