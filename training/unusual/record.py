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
from training.unusual import isolation
from training.unusual.behaviour import BEHAVIOURS, QUERY
from training.unusual.forest import TREES
from training.unusual.injection import GATE, KINDS
from training.unusual.model import AUC, Unusual
from training.unusual.policy import POLICY
from training.written.markdown import markdown
from training.written.version import NewVersion

NAME = "unusual"
DEFINITIONS = hashlib.sha256(f"{QUERY}{BEHAVIOURS}".encode()).hexdigest()[:16]

_INSTANT = "%Y-%m-%d %H:%M UTC"
_LIMITS = (
    "Unusual is not wrong: most of those who score high shop at night because they work by day, or buy for a club. No "
    "shopper was labelled; what is noticed was measured on copies with coupon abuse put in, of a kind we thought of. "
    "No response beyond watching is asked for without a reason that can be told to the shopper, and a person decides."
)


def version_of(made: Unusual) -> NewVersion:
    """Return what is to be logged and registered."""
    return NewVersion(
        name=NAME,
        description="How unusual is a shopper's behaviour? Unusual is no accusation.",
        metrics=_metrics(made),
        tags={"behaviours": json.dumps(BEHAVIOURS), "policy": json.dumps(asdict(POLICY))},
        texts={"model_card.md": card(made), "policy.json": to_json(POLICY)},
        pictures={"scores.png": partial(_draw, made)},
        code=Path(isolation.__file__),
        state={"head": json.dumps(made.head)},
        example=_example(made),
        outputs=_outputs(),
        holds=all(made.gates.values()),
    )


def card(made: Unusual) -> str:
    """Return the model card, in Markdown."""
    parts = [
        "# unusual",
        _how(made),
        "## Noticing coupon abuse",
        _measured(made),
        markdown(["trial", "kind", "how far it goes", "copies", "AUC", "in a tier with a response"], _noticed(made)),
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
        "Copies of real shoppers with abuse put in, against all real shoppers. What the score reads was chosen by the "
        "trial `choice`; the trial `gate` is of other shoppers, visits and lines. Gate: AUC at least "
        f"{AUC:g} in it for the kind `usual`. Of the real shoppers themselves {made.watched:.1%} are in a tier that "
        "asks for a response."
    )


def _noticed(made: Unusual) -> Iterable[list[str]]:
    kinds = {kind.name: kind for kind in KINDS}
    for found in made.noticed:
        kind = kinds[found.kind]
        far = f"every visit in {kind.every_visit}, every line in {kind.every_line}, {kind.further_orders} more orders"
        yield [found.trial, found.kind, far, str(found.copies), f"{found.auc:.3f}", f"{found.watched:.0%}"]


def _tiers() -> Iterable[list[str]]:
    for tier in POLICY.tiers:
        yield [tier.name, f"{tier.score:g}", str(tier.reasons), tier.response]


def _metrics(made: Unusual) -> dict[str, float]:
    found = {"auc": made.auc, "choice_auc": made.choice_auc, "watched": made.watched}
    for each in made.noticed:
        prefix = f"{each.kind}/" if each.trial == GATE.name else f"{each.trial}/{each.kind}/"
        found |= {f"{prefix}auc": each.auc, f"{prefix}watched": each.watched}
    return found


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


def _outputs() -> Any:
    from mlflow.types import Schema, TensorSpec  # noqa: PLC0415 - seconds

    return Schema([TensorSpec(np.dtype("float64"), (-1,), "score")])
