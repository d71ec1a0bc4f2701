"""Unusual behaviour as a model of shoppers: what is fitted, and what it says of everybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from feature_repo.core.clock import from_us
from feature_repo.core.settings import Settings
from training.data.labels import AT
from training.task import TaskUnavailableError
from training.unusual.behaviour import Behaviour, behaviour_at
from training.unusual.forest import ROWS_PER_TREE, SEED, TREES
from training.unusual.model import Noticed, fit_unusual
from training.unusual.policy import POLICY, Judged, judge
from training.unusual.record import DEFINITIONS, NAME, version_of
from training.unusual.table import ReasonLine, TierLine, reason_table, tier_table
from training.written.model import Made, Said, ShopperModel, Step
from training.written.report import FitReport, ShowReport
from training.written.version import Champion


@dataclass(frozen=True, kw_only=True)
class UnusualFit(FitReport):
    """What a fit found.

    Attributes
    ----------
    auc
        Of the score on injected coupon abuse of the kind the gate is about, in the trial nothing was chosen by.
    choice_auc
        The same in the trial the inputs were chosen by.
    noticed
        Each kind in each trial, and how many copies a tier with a response would take.
    watched
        Share of the real shoppers in a tier with a response.
    """

    auc: float
    choice_auc: float
    noticed: tuple[Noticed, ...]
    watched: float


@dataclass(frozen=True, kw_only=True)
class UnusualShow(ShowReport):
    """Tiers and reasons at an instant, by the champion; shoppers are those who bought something in 84 days."""

    tiers: tuple[TierLine, ...]
    reasons: tuple[ReasonLine, ...]


class UnusualBehaviour(ShopperModel):
    """How unusual shoppers behaved in the 84 days before an instant."""

    name: ClassVar[str] = NAME
    table: ClassVar[str] = "user_unusual"
    report: ClassVar[type[FitReport]] = UnusualFit

    @property
    def recipe(self) -> dict[str, Any]:
        """Trees and seed of the forest."""
        return {"trees": TREES, "rows_per_tree": ROWS_PER_TREE, "seed": SEED}

    @property
    def rules(self) -> object:
        """The policy."""
        return POLICY

    def definitions(self) -> str:
        """Fingerprint of the query that counts behaviour."""
        return DEFINITIONS

    def rows(self, settings: Settings, at: int) -> Behaviour:
        """How everybody behaved up to an instant (us)."""
        return behaviour_at(settings, at)

    def fitted(self, settings: Settings, rows: Behaviour, progress: Step) -> Made:
        """Fit the score, and measure it on injected abuse."""
        progress("fitting", 0.2)
        made = fit_unusual(settings, rows)
        figures = {
            "auc": made.auc,
            "choice_auc": made.choice_auc,
            "noticed": made.noticed,
            "watched": made.watched,
        }
        return Made(version_of(made), made.gates, figures)

    def said(self, settings: Settings, champion: Champion, instants: Sequence[int], progress: Step) -> Said:
        """Score, tier, response and reasons of everybody who bought something in the 84 days before each instant."""
        parts = []
        for n, instant in enumerate(instants):
            progress(f"{from_us(instant):%Y-%m-%d}", n / (len(instants) + 1))
            real = behaviour_at(settings, instant)
            judged, rows = _judged(champion, real)
            parts.append(rows)
        if not any(part.num_rows for part in parts):
            raise TaskUnavailableError("Nobody bought anything in the 84 days before.", hint="ask for another instant.")
        return Said(pa.concat_tables(parts), _shown(real, judged, champion.version))


UNUSUAL = UnusualBehaviour()


def _judged(champion: Champion, real: Behaviour) -> tuple[Judged, pa.Table]:
    score: Any = champion.model.score(real.matrix)
    judged, users = judge(real.frame, score), real.frame["user_id"]
    instants = pa.array([real.at] * len(users), pa.int64()).cast(pa.timestamp("us", "UTC"))
    texts = {name: pa.array(getattr(judged, name), pa.string()) for name in ("tier", "response", "reasons")}
    rows = {"user_id": pa.array(users, pa.string()), AT: instants, "score": pa.array(score, pa.float64()), **texts}
    return judged, pa.table(rows)


def _shown(real: Behaviour, judged: Judged, version: str) -> UnusualShow:
    return UnusualShow(
        at=from_us(real.at),
        model_version=version,
        shoppers=real.shoppers,
        tiers=tier_table(judged),
        reasons=reason_table(judged),
    )
