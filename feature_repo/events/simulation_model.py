"""How the simulated shop behaves: every number that shapes it, and its calendar. No SQL, no reading or writing.

A shopper has *missions*: a first visit, which may fill a cart and may buy it, and, if a cart was left, perhaps a second
visit within two days that may buy it. Missions arrive as a Poisson process whose rate is the shopper's activity times
the calendar, so that what is to come depends on the past only through carts that were left. `simulation_truth` rests
on this: change the two together.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from feature_repo.core.clock import DAY, HOUR, from_us
from feature_repo.events.simulation_plan import Plan

# Shoppers -------------------------------------------------------------------------------------------------------------
BOTS = 0.01  # share of the accounts
BOT_STEP_S = 2  # a robot opens a page every two seconds, exactly
BOT_PAGES = (30, 60)  # at least, and how many more
ACTIVITY_SIGMA = 0.9  # of the logarithm of the activity
ACTIVITY_MOST = 12.0
JOINS_LATER, JOINS_WITHIN = 0.4, 0.8  # share of shoppers; part of the span in which they join
LEAVES = 0.15  # share of shoppers that leave for good, any time after joining
PACE_S = (240, 1500)  # least and most seconds of a visit, one value per shopper

# Missions -------------------------------------------------------------------------------------------------------------
CART = (0.15, 0.5)  # a first visit fills a cart: the least, and what the shopper's character adds at most
BUYS_FIRST = (0.2, 0.4)  # a cart is bought in the first visit
RETURNS = 0.6  # a cart that was left brings the shopper back
BUYS_SECOND = (0.3, 0.5)  # the second visit buys
LAG_LEAST_US, LAG_MOST_US = HOUR, 48 * HOUR  # from the first visit's start to the second's, uniform

# How many events a mission brings about: measured, and held to by a test.
EVENTS_PER_MISSION = 9.03

# After an order -------------------------------------------------------------------------------------------------------
SENT_BACK = 0.06
REVIEWED = 0.12
LOGS_IN = 0.3
SEARCHES = 0.6
WISHES = 0.08

# What is sold ---------------------------------------------------------------------------------------------------------
CATEGORIES = (
    "books",
    "garden",
    "outdoor",
    "kitchen",
    "toys",
    "fashion",
    "shoes",
    "beauty",
    "electronics",
    "sports",
    "pets",
    "grocery",
)
DEPARTMENTS = (
    "media",
    "home",
    "leisure",
    "home",
    "family",
    "apparel",
    "apparel",
    "care",
    "tech",
    "leisure",
    "home",
    "food",
)
ITEMS_PER_CATEGORY = 200
# The category a month asks for, January first.
SEASONAL = (9, 7, 1, 1, 1, 2, 2, 2, 5, 6, 8, 4)
TASTE, SEASON = 0.65, 0.85  # below: the shopper's taste; below: the month's category; else any

# Calendar -------------------------------------------------------------------------------------------------------------
_HOURS = (6, 4, 3, 2, 2, 3, 6, 10, 14, 16, 17, 18, 20, 19, 17, 17, 18, 20, 24, 30, 34, 32, 24, 14)  # of the day, UTC
_WEEKDAYS = (0.95, 0.9, 0.95, 1.0, 1.05, 1.2, 1.25)  # Monday first
AHEAD = 7 * DAY  # the calendar goes on behind now, for events that are still to come


def calendar(plan: Plan) -> npt.NDArray[np.int64]:
    """Weight of each hour from ``plan.begin_us`` on, to ``AHEAD`` after its end; integers, at least 1."""
    hours = range(plan.begin_us, plan.end_us + AHEAD, HOUR)
    return np.array([_weight(hour) for hour in hours], np.int64)


def missions_per_user(plan: Plan, weights: npt.NDArray[np.int64]) -> float:
    """Missions over the whole calendar of a shopper of activity 1, so that ``plan.events`` are expected by its end."""
    behind = weights[: (plan.end_us - plan.begin_us) // HOUR].sum()
    return plan.events_per_user / EVENTS_PER_MISSION * float(weights.sum()) / float(behind)


def _weight(hour_us: int) -> int:
    at = from_us(hour_us)
    # The year's high is early in December, its low early in June.
    season = 1.0 + 0.25 * math.cos(2 * math.pi * (at.timetuple().tm_yday - 340) / 365)
    return max(1, round(_HOURS[at.hour] * _WEEKDAYS[at.weekday()] * season))
