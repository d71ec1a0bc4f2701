"""When behaviour is unusual, why, and what is to be done: rules, tiers and responses as data.

This is the file to change for another shop. A rule gives a reason in words; a tier asks for a response, by how rare the
score is and how many reasons there are. Both are read when shoppers are scored, so a change needs no new fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.core.errors import DeclarationError, did_you_mean
from feature_repo.definitions.segment_names import TIERS
from training.unusual.behaviour import BEHAVIOURS

Response = Literal["none", "watch", "review_order", "hold"]
RESPONSES: tuple[str, ...] = get_args(Response)


@dataclass(frozen=True)
class Rule:
    """A reason, and what has to be at least so much for it, all of it.

    Raises
    ------
    DeclarationError
        The rule bounds nothing, or a behaviour that is not measured.
    """

    name: str
    zh: str
    says: str
    at_least: Mapping[str, float]

    def __post_init__(self) -> None:
        if not self.at_least:
            raise DeclarationError(f"Rule '{self.name}' bounds nothing.", hint="say what has to be at least how much.")
        if not self.name.isidentifier():
            raise DeclarationError(f"Rule name '{self.name}' is not one word.", hint="use letters, digits and _.")
        for column in self.at_least:
            if column not in BEHAVIOURS:
                hint = did_you_mean(column, BEHAVIOURS)
                raise DeclarationError(f"Rule '{self.name}' reads '{column}', which is not measured.", hint=hint)

    def applies(self, frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Which rows it applies to."""
        met = [frame[column].to_numpy(np.float64) >= least for column, least in self.at_least.items()]
        return np.asarray(np.all(met, axis=0), np.bool_)


@dataclass(frozen=True)
class Tier:
    """How unusual a shopper is whose score and number of reasons are at least so high, and what that asks for.

    Raises
    ------
    DeclarationError
        The tier or the response has no words, or a bound is out of its range.
    """

    name: str
    response: Response
    score: float = 0.0
    reasons: int = 0

    def __post_init__(self) -> None:
        if self.name not in TIERS:
            raise DeclarationError(f"There is no tier '{self.name}'.", hint=did_you_mean(self.name, TIERS))
        if self.response not in RESPONSES:
            hint = did_you_mean(self.response, RESPONSES)
            raise DeclarationError(f"Tier '{self.name}' asks for '{self.response}'.", hint=hint)
        if not 0 <= self.score <= 1 or self.reasons < 0:
            raise DeclarationError(
                f"Tier '{self.name}' asks for a score of {self.score:g} and {self.reasons} reasons.",
                hint="a score is 0 to 1, and reasons are not negative.",
            )


@dataclass(frozen=True)
class Policy:
    """Rules, and tiers of which the first that fits decides.

    Raises
    ------
    DeclarationError
        Two rules have one name, the last tier does not take whoever is left, a tier has two responses, or a
        response beyond watching needs no reason: a score alone must not cost anybody anything.
    """

    rules: tuple[Rule, ...]
    tiers: tuple[Tier, ...]

    def __post_init__(self) -> None:
        names = [rule.name for rule in self.rules]
        if len(set(names)) != len(names):
            raise DeclarationError("Two rules have one name.", hint="name them apart.")
        if not self.tiers or (self.tiers[-1].score, self.tiers[-1].reasons) != (0.0, 0):
            raise DeclarationError("The last tier has bounds.", hint="end with one that takes whoever is left.")
        if len({(tier.name, tier.response) for tier in self.tiers}) != len({tier.name for tier in self.tiers}):
            raise DeclarationError("A tier asks for two responses.", hint="one tier, one response.")
        for tier in self.tiers:
            if tier.response in {"review_order", "hold"} and not tier.reasons:
                raise DeclarationError(
                    f"Tier '{tier.name}' asks for '{tier.response}' without any reason.",
                    hint="ask for at least one reason: whoever is reviewed or held must be told why.",
                )

    @property
    def responses(self) -> dict[str, str]:
        """Tier -> response."""
        return {tier.name: tier.response for tier in self.tiers}


POLICY = Policy(
    rules=(
        Rule("velocity", "下单过密", "four orders or more within an hour", {"orders_of_an_hour": 4}),
        Rule("busy_day", "单日下单过多", "six orders or more in a day", {"orders_of_a_day": 6}),
        Rule(
            "odd_hours",
            "非常规时段",
            "a quarter of the orders, four or more, between midnight and five",
            {"odd_hour_share": 0.25, "odd_hour_orders": 4},
        ),
        Rule(
            "coupon_concentration",
            "优惠券集中",
            "coupons on a fifth of the lines of 28 days, ten or more",
            {"coupon_line_share_28d": 0.2, "coupon_lines_28d": 10},
        ),
        Rule("coupon_day", "单日用券过多", "fifteen coupon lines or more in a day", {"coupon_lines_of_a_day": 15}),
        Rule(
            "return_rate",
            "退货率高",
            "three returns or more, worth a third of the spend",
            {"return_rate": 0.33, "returns": 3},
        ),
    ),
    tiers=(
        Tier("very_unusual", "hold", score=0.99, reasons=2),
        Tier("unusual", "review_order", score=0.97, reasons=1),
        Tier("notable", "watch", score=0.98),
        Tier("notable", "watch", reasons=1),
        Tier("usual", "none"),
    ),
)


@dataclass(frozen=True, eq=False)
class Judged:
    """Tier, response, and reasons (names, comma between; None without any) of each row."""

    tier: npt.NDArray[np.object_]
    response: npt.NDArray[np.object_]
    reasons: npt.NDArray[np.object_]


def judge(frame: pd.DataFrame, score: npt.NDArray[np.float64], policy: Policy = POLICY) -> Judged:
    """Judge rows of behaviour by their scores.

    >>> rows = pd.DataFrame({name: [0.0, 0.0] for name in BEHAVIOURS}).assign(orders_of_an_hour=[1, 5])
    >>> found = judge(rows, np.array([0.5, 0.975]))
    >>> list(zip(found.tier, found.response, found.reasons))
    [('usual', 'none', None), ('unusual', 'review_order', 'velocity')]
    """
    applies = {rule.name: rule.applies(frame) for rule in policy.rules}
    counts = np.sum(list(applies.values()), axis=0) if applies else np.zeros(len(frame), np.int64)
    tier = np.empty(len(frame), object)
    for each in reversed(policy.tiers):
        tier[(score >= each.score) & (counts >= each.reasons)] = each.name
    names = np.array(list(applies), object)
    rows = np.column_stack(list(applies.values())) if applies else np.zeros((len(frame), 0), bool)
    reasons = np.array([", ".join(names[row]) or None for row in rows], object)
    return Judged(tier, np.array([policy.responses[name] for name in tier], object), reasons)
