"""Carts that were left, as an on-demand view sees them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from feature_repo.definitions.derived import user_intent

NULL = np.nan


def intent(*, changed: float, paid: float, seen: float = 0.0, carts: int = 0, payments: int = 0) -> dict[str, float]:
    inputs = {
        "user_carts__days_since": [changed],
        "user_payments__days_since": [paid],
        "user_views__days_since": [seen],
        "user_carts__session_id_count_distinct_2d": [carts],
        "user_payments__count_2d": [payments],
    }
    found = user_intent.feature_transformation.udf(pd.DataFrame(inputs))
    return {name: float(found[name][0]) for name in found}


@pytest.mark.parametrize(
    ("changed", "paid", "open_days"),
    [(0.5, NULL, 0.5), (0.5, 0.7, 0.5), (0.5, 0.5, NULL), (0.7, 0.5, NULL), (2.0, NULL, NULL), (NULL, 0.5, NULL)],
)
def test_a_cart_is_open_for_two_days_unless_it_was_paid_since(changed: float, paid: float, open_days: float):
    assert intent(changed=changed, paid=paid)["open_cart_days"] == pytest.approx(open_days, nan_ok=True)


def test_carts_less_payments_are_open_and_looking_around_since_is_told():
    found = intent(changed=1.5, paid=NULL, seen=0.25, carts=3, payments=1)
    assert found["open_carts_2d"] == 2
    assert found["days_looked_around_after_cart"] == 1.25
