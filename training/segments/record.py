"""What is logged of a segmentation: parameters, figures, card, table, picture, and the model itself."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.core.clock import from_us
from feature_repo.core.console import to_json
from feature_repo.engine.contract import fingerprint
from training.segments import assigner
from training.segments.card import segment_card
from training.segments.clustering import SEED
from training.segments.model import Segmentation
from training.segments.pictures import draw_segments
from training.segments.reference import Reference
from training.segments.rfm import RFM, SERVICE
from training.versions import NewVersion

NAME = "segments"


def version_of(made: Segmentation, reference: Reference | None, *, promote: bool) -> NewVersion:
    """Return what is to be logged and registered."""
    head = made.head
    example = _example(head)
    return NewVersion(
        name=NAME,
        description="Which segment is a shopper in, by recency, frequency and money?",
        params=_params(made),
        metrics=_metrics(made, reference),
        tags=_tags(made),
        texts={
            "model_card.md": segment_card(made, reference),
            "segments.json": to_json({"segments": made.table, "stages": made.stages}),
            "contract.json": json.dumps(made.shoppers.contract, indent=1),
        },
        pictures={"segments.png": partial(draw_segments, made)},
        code=Path(assigner.__file__),
        state={"head": json.dumps(head)},
        example=example,
        signature=_signature(example),
        packages=("numpy", "pandas"),
        holds=all(made.gates.values()),
        promote=promote,
    )


def _params(made: Segmentation) -> dict[str, Any]:
    return {
        "method": made.method,
        "k": made.chosen.k,
        "seed": SEED,
        "at": f"{from_us(made.shoppers.instants[-1]):%Y-%m-%dT%H:%M:%SZ}",
        "snapshots": len(made.shoppers.instants),
        "shoppers": len(made.last),
        "data_fingerprint": made.fingerprint,
    }


def _metrics(made: Segmentation, reference: Reference | None) -> dict[str, float]:
    found = {"silhouette": made.chosen.silhouette, "stability": made.chosen.stability}
    for each in made.found:
        found |= {f"k{each.k}/silhouette": each.silhouette, f"k{each.k}/stability": each.stability}
    if reference:
        found |= {"reference/silhouette": reference.silhouette, "reference/agreement": reference.agreement}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _tags(made: Segmentation) -> dict[str, str]:
    shoppers = made.shoppers
    return {
        "feature_service": SERVICE,
        "feature_refs": json.dumps(RFM),
        "definitions": fingerprint(shoppers.contract),
        "log_versions": json.dumps(shoppers.log_versions),
        "data_fingerprint": made.fingerprint,
        "trained_until": f"{from_us(shoppers.instants[-1]):%Y-%m-%dT%H:%M:%SZ}",
    }


def _example(head: dict[str, Any]) -> pd.DataFrame:
    """The points themselves, as a shopper would have to be to stand there."""
    points = np.array(head["points"])[:5] * np.array(head["scale"]) + np.array(head["mean"])
    return pd.DataFrame(np.round(np.expm1(points), 2), columns=list(RFM))


def _signature(example: pd.DataFrame) -> Any:
    from mlflow.models import ModelSignature  # noqa: PLC0415 - seconds
    from mlflow.types import ColSpec, Schema  # noqa: PLC0415

    inputs = Schema([ColSpec("double", str(name)) for name in example.columns])
    outputs = Schema([ColSpec("string", "segment"), ColSpec("double", "distance"), ColSpec("double", "strength")])
    return ModelSignature(inputs, outputs)
