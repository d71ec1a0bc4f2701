"""Which segment and stage of life a shopper was last placed in."""

from __future__ import annotations

from typing import Any

from feature_repo.core.clock import from_us
from feature_repo.definitions.segment_names import SEGMENTS, STAGES, Words
from feature_repo.engine.feature_vectors import instant_of
from serving.online_features import Reading
from serving.reasons.answers import Segment, Word

STANDING = "standing_v1"
_VIEW = "user_segments"


def segment_of(user_id: str, reading: Reading, at: int) -> Segment:
    """Return what the one row of a reading of ``standing_v1`` says, read at an instant (us)."""
    row: dict[str, Any] = {name.split("__", 1)[1]: reading.table[name][0].as_py() for name in reading.names}
    placed = [
        stamp
        for part, fields in zip(reading.plan.ordinary, reading.answers.fields, strict=True)
        for stamp in fields[0]
        if part.name == _VIEW and stamp
    ]
    return Segment(
        user_id=user_id,
        known=bool(reading.known[0]),
        segment=_word(row["segment"], SEGMENTS),
        stage=_word(row["stage"], STAGES),
        distance=row["distance"],
        strength=row["strength"],
        model_version=row["model_version"],
        placed_at=from_us(instant_of(placed[0])) if placed else None,
        read_at=from_us(at),
    )


def _word(name: str | None, words: dict[str, Words]) -> Word | None:
    if name is None:
        return None
    said = words.get(name)
    return Word(name, *said) if said else Word(name, name.replace("_", " ").capitalize(), "", "")
