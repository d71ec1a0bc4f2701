"""What is logged of the score: parameters, figures, card, policy, picture, and the model itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from feature_repo.core.clock import from_us
from feature_repo.core.console import to_json
from training.segments.card import markdown
from training.unusual import isolation
from training.unusual.behaviour import BEHAVIOURS, QUERY
from training.unusual.forest import ROWS_PER_TREE, SEED, TREES
from training.unusual.injection import KINDS
from training.unusual.model import AUC, Unusual
from training.unusual.policy import POLICY
from training.versions import NewVersion

NAME = "unusual"
DEFINITIONS = hashlib.sha256(f"{QUERY}{BEHAVIOURS}".encode()).hexdigest()[:16]

_INSTANT = "%Y-%m-%d %H:%M UTC"
_LIMITS = (
    "Unusual is not wrong: most of those who score high shop at night because they work by day, or buy for a club. No "
    "shopper was labelled; what is noticed was measured on copies with coupon abuse put in, of a kind we thought of. "
    "No response beyond watching is asked for without a reason that can be told to the shopper, and a person decides."
)


def version_of(made: Unusual, *, promote: bool) -> NewVersion:
    """Return what is to be logged and registered."""
    example = _example(made)
    return NewVersion(
        name=NAME,
        description="How unusual is a shopper's behaviour? Unusual is no accusation.",
        params=_params(made),
        metrics=_metrics(made),
        tags=_tags(made),
        texts={"model_card.md": card(made), "policy.json": to_json(POLICY)},
        pictures={"scores.png": partial(_draw, made)},
        code=Path(isolation.__file__),
        state={"head": json.dumps(made.head)},
        example=example,
        signature=_signature(example),
        packages=("numpy", "pandas"),
        holds=all(made.gates.values()),
        promote=promote,
    )


def card(made: Unusual) -> str:
    """Return the model card, in Markdown."""
    parts = [
        "# unusual",
        _how(made),
        "## Noticing coupon abuse",
        _measured(made),
        markdown(["kind", "how far it goes", "copies", "AUC", "in a tier with a response"], _noticed(made)),
        "## Reasons",
        markdown(["reason", "", "applies to"], ([rule.name, rule.zh, rule.says] for rule in POLICY.rules)),
        "## Tiers",
        markdown(["tier", "score at least", "reasons at least", "response"], _tiers()),
        "## Limits",
        _LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _how(made: Unusual) -> str:
    return (
        f"How unusual {len(made.real.frame):,} shoppers behaved in the 84 days before "
        f"{from_us(made.real.at):{_INSTANT}}: an isolation forest of {TREES} trees over {len(BEHAVIOURS)} figures of "
        "pace, hours, coupons and returns."
    )


def _measured(made: Unusual) -> str:
    return (
        "Copies of real shoppers with abuse put in, against all real shoppers; gate: AUC at least "
        f"{AUC:g} for the kind `usual`. Of the real shoppers themselves {made.watched:.1%} are in a tier that asks for "
        "a response."
    )


def _noticed(made: Unusual) -> Iterable[list[str]]:
    for kind, found in zip(KINDS, made.noticed, strict=True):
        far = f"every visit in {kind.every_visit}, every line in {kind.every_line}, {kind.further_orders} more orders"
        yield [found.kind, far, str(found.copies), f"{found.auc:.3f}", f"{found.watched:.0%}"]


def _tiers() -> Iterable[list[str]]:
    for tier in POLICY.tiers:
        yield [tier.name, f"{tier.score:g}", str(tier.reasons), tier.response]


def _params(made: Unusual) -> dict[str, Any]:
    return {
        "trees": TREES,
        "rows_per_tree": ROWS_PER_TREE,
        "seed": SEED,
        "at": f"{from_us(made.real.at):%Y-%m-%dT%H:%M:%SZ}",
        "shoppers": len(made.real.frame),
        "data_fingerprint": made.fingerprint,
    }


def _metrics(made: Unusual) -> dict[str, float]:
    found = {"auc": made.auc, "watched": made.watched}
    for each in made.noticed:
        found |= {f"{each.kind}/auc": each.auc, f"{each.kind}/watched": each.watched}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _tags(made: Unusual) -> dict[str, str]:
    return {
        "definitions": DEFINITIONS,
        "behaviours": json.dumps(BEHAVIOURS),
        "policy": json.dumps(asdict(POLICY)),
        "log_versions": json.dumps(made.real.log_versions),
        "data_fingerprint": made.fingerprint,
        "trained_until": f"{from_us(made.real.at):%Y-%m-%dT%H:%M:%SZ}",
    }


def _draw(made: Unusual, path: Path) -> None:
    """Draw coupon lines against orders, coloured by the score."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()
    x, y = made.real.frame["orders"], 1 + made.real.frame["coupon_lines"]
    points = axes.scatter(x, y, c=made.scores, s=8, linewidths=0, cmap="viridis")
    axes.set(xscale="log", yscale="log", xlabel="orders in 84 days", ylabel="1 + coupon lines in 84 days")
    figure.colorbar(points, ax=axes, label="share of shoppers who are less unusual")
    figure.savefig(path, dpi=110)


def _example(made: Unusual) -> pd.DataFrame:
    """Rows no shopper is behind: in each the same quantile of every behaviour."""
    return made.real.frame[list(BEHAVIOURS)].quantile([0.1, 0.5, 0.9], interpolation="nearest").reset_index(drop=True)


def _signature(example: pd.DataFrame) -> Any:
    from mlflow.models import ModelSignature  # noqa: PLC0415 - seconds
    from mlflow.types import ColSpec, Schema, TensorSpec  # noqa: PLC0415

    inputs = Schema([ColSpec("double", str(name)) for name in example.columns])
    return ModelSignature(inputs, Schema([TensorSpec(np.dtype("float64"), (-1,), "score")]))
