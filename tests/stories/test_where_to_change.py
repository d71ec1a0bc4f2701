"""What the README says of an aggregation, a feature and a task is all it takes: each is seen everywhere it promises."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from checkouts import Checkout

pytestmark = pytest.mark.slow(75)

FEATURE = "amount_range_28d"
KERNEL = '''class Range(Kernel):
    """Largest less smallest value; NULL of nothing."""

    name = "range"

    def monoids(self, column, kind, window):
        return (Least(column, kind), Greatest(column, kind))

    def value(self, states, at):
        least, greatest = states
        known = least <= greatest
        return Values(np.where(known, greatest, 0) - np.where(known, least, 0), known)


'''
MEANING = '    "range": lambda values, _times, _at, _window: max(values) - min(values) if values else None,\n'
TASK = """from dataclasses import replace

from training.declaring.recipe import Linear, Recipe
from training.tasks.spend import SPEND

TOY = replace(
    SPEND,
    name="toy",
    description="How much will this shopper spend, said by a line?",
    model=Recipe(linear=Linear(logarithmic=False)),
    baselines={},
    gates=(),
    must_beat=(),
    not_worse_than=(),
)
"""
BOTH_WAYS = f"""
import json
import pandas as pd
from feature_repo.core.clock import FixedClock, SystemClock, from_us
from feature_repo.engine.feature_store import open_store
from serving import ProfileClient
at = SystemClock().now_us()
with ProfileClient(clock=FixedClock(at)) as portrait:
    users = list(portrait.keys([str(1 + household) for household in range(200)]))
    online = portrait.features(users, service="profile_v1").to_df()["user_payments__{FEATURE}"]
spine = pd.DataFrame({{"user_id": users, "event_timestamp": pd.Timestamp(from_us(at))}})
offline = open_store().get_historical_features(spine, ["user_payments:{FEATURE}"]).to_df()
offline = offline.set_index("user_id")["{FEATURE}"].reindex(users)
print(json.dumps([[None if pd.isna(x) else x for x in each] for each in (online, offline)]))
"""
LAWS = (
    "test_every_function_says_what_it_takes_and_is_in_the_view_the_laws_run_over",
    "test_states_merge_in_any_order_and_grouping_to_the_state_of_all_events",
    "test_what_is_encoded_is_decoded",
    "test_every_function_equals_the_oracle_on_colliding_times_however_the_work_is_cut",
    "test_a_state_built_and_applied_in_any_steps_equals_the_oracle",
)


@pytest.fixture(scope="module")
def checkout(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout with a function, a feature of it and a task more than ours, and the shop as its home."""
    place = tmp_path_factory.mktemp("changed")
    shutil.copytree(built_shop, place / "shop")
    found = Checkout.copied(place / "checkout", place / "shop")
    found.change("feature_repo/engine/kernels.py", "def kernel_named(", KERNEL + "def kernel_named(")
    found.change("feature_repo/engine/oracle.py", '    "max": ', MEANING + '    "max": ')
    purchases = "feature_repo/definitions/purchases.py"
    found.change(purchases, "        *largest(", '        *windowed("range", "amount", [28 * day]),\n        *largest(')
    found.change(purchases, "    windowed_view,\n", "    windowed,\n    windowed_view,\n")
    (found.path / "training" / "tasks" / "toy.py").write_text(TASK, "utf-8")
    said(found, "up")
    yield found
    said(found, "down")


def said(checkout: Checkout, words: str) -> dict[str, Any]:
    done = checkout.portrait(words)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def laws(checkout: Checkout) -> str:
    """What the laws of every function, and both ways to a value beside the oracle, say of this checkout."""
    options = ("-n0", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:syrupy", "-k", " or ".join(LAWS))
    return checkout.python("-m", "pytest", *options, "tests/engine").stdout


def test_a_function_is_held_to_the_oracle_and_the_laws_unasked(checkout: Checkout) -> None:
    said = laws(checkout)
    assert f"{len(LAWS)} passed" in said, said


def test_a_feature_is_in_the_catalogue_offline_online_and_in_the_portrait(checkout: Checkout) -> None:
    said(checkout, "features apply")
    [line] = [each for each in said(checkout, "features list")["features"] if each["feature"] == FEATURE]
    assert line["description"]
    assert line["zh"]
    assert FEATURE in json.dumps(said(checkout, "features describe user_payments"))
    said(checkout, "jobs materialize")
    assert said(checkout, "jobs parity --users 100 --views user_payments")["mismatches"] == 0
    online, offline = json.loads(checkout.python("-c", BOTH_WAYS).stdout)
    assert online == pytest.approx(offline)
    assert sum(value is not None for value in online) > 20
    assert FEATURE in json.dumps(said(checkout, "profile 2375"))


def test_a_task_is_trained_served_and_listed(checkout: Checkout) -> None:
    said(checkout, "features apply")
    unknown = checkout.portrait("train nonsense")
    assert "toy" in unknown.stdout
    trained = said(checkout, "train toy")["tasks"]["toy"]
    assert trained["model_version"] == "1"
    said(checkout, "jobs materialize")
    [score] = said(checkout, "predict toy 2375")["scores"]
    assert (score["model"], score["value"] > 0) == ("toy@1", True)
