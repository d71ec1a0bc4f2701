"""Coupon abuse put into copies of real shoppers, to measure whether it would be noticed.

Copies keep their shopper's 84 days of order lines. In the last 28 of them, on every n-th visit, lines are paid half by
coupons, and further small orders follow within the hour, to use the same coupons again. Which visits and lines is drawn
by a seed. Nothing is written: copies live in the connection the figures are computed in, by everybody's own query.

What the score reads was chosen by one trial, and the gate is measured on another, of other shoppers and another seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from feature_repo.core.clock import DAY
from training.unusual.behaviour import Behaviour, Opened

COPIES = 100
FEWEST_ORDERS = 6
SMALL_ORDER = 3


@dataclass(frozen=True)
class Abuse:
    """How far it goes: on every n-th visit, every n-th line, with so many further orders behind it."""

    name: str
    every_visit: int
    every_line: int
    further_orders: int


MILD = Abuse("mild", every_visit=3, every_line=3, further_orders=0)
USUAL = Abuse("usual", every_visit=2, every_line=2, further_orders=1)
STRONG = Abuse("strong", every_visit=1, every_line=1, further_orders=2)
KINDS = (MILD, USUAL, STRONG)


@dataclass(frozen=True)
class Trial:
    """Who is copied, and which of their visits and lines: every other shopper from a place on, by a seed."""

    name: str
    first: int
    seed: int


CHOICE = Trial("choice", first=0, seed=1)
GATE = Trial("gate", first=1, seed=2)
TRIALS = (CHOICE, GATE)

_INJECTED = """
CREATE OR REPLACE TEMP TABLE injected AS
WITH numbered AS (
    SELECT
        user_id, ts, order_id, amount, coupon, dice,
        epoch_us(ts) >= $late AS late,
        dense_rank() OVER (PARTITION BY user_id ORDER BY started, order_id) AS visit,
        row_number() OVER (PARTITION BY user_id, order_id ORDER BY amount DESC, coupon) AS place
    FROM (
        SELECT *, min(ts) OVER (PARTITION BY user_id, order_id) AS started
        FROM lines JOIN chosen USING (user_id)
    )
), marked AS (
    SELECT *, late AND (visit + dice) % $every_visit = 0 AS hit FROM numbered
)
SELECT
    user_id, ts, order_id,
    CASE WHEN hit AND (place + dice // 8) % $every_line = 0 THEN amount / 2 ELSE amount END AS amount,
    CASE WHEN hit AND (place + dice // 8) % $every_line = 0 THEN coupon + amount / 2 ELSE coupon END AS coupon
FROM marked
UNION ALL
SELECT user_id, ts + to_minutes(10 * n), order_id || '+' || n, amount / 2, amount / 2
FROM marked, (SELECT unnest(range(1, 1 + $further_orders::BIGINT)) AS n)
WHERE hit AND place <= $small AND epoch_us(ts) + 600000000 * n < $at
"""


def inject(log: Opened, real: Behaviour, abuse: Abuse, trial: Trial = GATE, *, copies: int = COPIES) -> Behaviour:
    """Return how copies of real shoppers would have behaved with an abuse in their last 28 days.

    Copied are shoppers with six orders or more, evenly spaced among the trial's half of them by content.
    """
    users = chosen(real.frame, copies, trial)
    dice = np.random.default_rng(trial.seed).integers(0, 64, len(users))
    log.connection.register("chosen", pa.table({"user_id": users, "dice": dice}))
    log.connection.execute(
        _INJECTED,
        {
            "late": log.at - 28 * DAY,
            "at": log.at,
            "every_visit": abuse.every_visit,
            "every_line": abuse.every_line,
            "further_orders": abuse.further_orders,
            "small": SMALL_ORDER,
        },
    )
    log.connection.unregister("chosen")
    return log.behaviour("injected")


def chosen(frame: pd.DataFrame, copies: int, trial: Trial = GATE) -> pa.Array:
    """Pseudonyms of the shoppers to copy, evenly spaced in the frame's order; no one is in two trials."""
    enough = frame.loc[frame["orders"] >= FEWEST_ORDERS, "user_id"].to_numpy()[trial.first :: 2]
    places = np.unique(np.linspace(0, len(enough) - 1, min(copies, len(enough))).round().astype(np.int64))
    return pa.array(enough[places], pa.string())
