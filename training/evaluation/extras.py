"""What to measure besides, when it is asked for: light to import, as the command line names it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Extras:
    """What takes long and is measured when asked for.

    Attributes
    ----------
    rolling
        Number of origins of a rolling-origin cross-validation; 0 for none.
    permute
        Whether to measure permutation importance.
    """

    rolling: int = 0
    permute: bool = False


NOTHING_MORE = Extras()
