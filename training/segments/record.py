"""What is logged of a segmentation: parameters, figures, card, table, picture, and the model itself."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.core.console import to_json
from training.segments import assigner
from training.segments.card import segment_card
from training.segments.model import Segmentation
from training.segments.pictures import draw_segments
from training.segments.reference import Reference
from training.segments.rfm import RFM, SERVICE
from training.written.version import NewVersion

NAME = "segments"


def version_of(made: Segmentation, reference: Reference | None) -> NewVersion:
    """Return what is to be logged and registered."""
    head = made.head
    return NewVersion(
        name=NAME,
        description="Which segment is a shopper in, by recency, frequency and money?",
        metrics=_metrics(made, reference),
        tags={"feature_service": SERVICE, "feature_refs": json.dumps(RFM)},
        texts={
            "model_card.md": segment_card(made, reference),
            "segments.json": to_json({"segments": made.table, "stages": made.stages}),
            "contract.json": json.dumps(made.shoppers.contract, indent=1),
        },
        pictures={"segments.png": partial(draw_segments, made)},
        code=Path(assigner.__file__),
        state={"head": json.dumps(head)},
        example=_example(head),
        outputs=_outputs(),
        holds=all(made.gates.values()),
    )


def _metrics(made: Segmentation, reference: Reference | None) -> dict[str, float]:
    found = {"k": float(made.chosen.k), "silhouette": made.chosen.silhouette, "stability": made.chosen.stability}
    for each in made.found:
        found |= {f"k{each.k}/silhouette": each.silhouette, f"k{each.k}/stability": each.stability}
    if reference:
        found |= {f"reference/{name}": value for name, value in asdict(reference).items()}
    return found


def _example(head: dict[str, Any]) -> pd.DataFrame:
    """The points themselves, as a shopper would have to be to stand there."""
    points = np.array(head["points"])[:5] * np.array(head["scale"]) + np.array(head["mean"])
    return pd.DataFrame(np.round(np.expm1(points), 2), columns=list(RFM))


def _outputs() -> Any:
    from mlflow.types import ColSpec, Schema  # noqa: PLC0415 - seconds

    return Schema([ColSpec("string", "segment"), ColSpec("double", "distance"), ColSpec("double", "strength")])
