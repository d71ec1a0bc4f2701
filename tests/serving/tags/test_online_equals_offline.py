"""One expression, two sources: of every shopper and every tag, Redis and the log say the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from feature_repo.core.clock import DAY, FixedClock, SystemClock, from_us
from feature_repo.core.settings import Settings
from feature_repo.events.door import admit
from feature_repo.jobs.erase import erase
from feature_repo.jobs.features import apply
from feature_repo.jobs.habits import write_habits
from feature_repo.jobs.materialize import materialize
from serving.catalogue import Catalogue
from serving.local import LocalTransport
from serving.merged_plans import merged
from serving.tags.declared import live_tags
from serving.tags.desk import TAGS_SERVICE
from serving.tags.evaluator import STRENGTH, Evaluator
from serving.tags.inputs import Inputs
from serving.tags.offline import LogSource
from serving.tags.panel import Panel

pytestmark = pytest.mark.slow(45)

NOW = 20_500 * DAY + 12_345
NOBODY = "u_" + "f" * 32


def both(settings: Settings, users: Sequence[str], at: int) -> tuple[pa.Table, pa.Table, Panel]:
    """Tags of some shoppers at an instant by Redis, and by the log."""
    transport = LocalTransport(settings, FixedClock(at), timeout_s=5.0)
    evaluator = Evaluator(live_tags())
    try:
        online, panel = transport._tags.inputs(users, evaluator.tasks)
    finally:
        transport.close()
    plan = merged(panel.services(Catalogue(settings).plan(TAGS_SERVICE)))
    read = LogSource(settings, plan, at).read(users)
    offline = Inputs(users, read.known, read.reading, read.stamps, panel.scores(read.reading), panel.names, at)
    return evaluator.evaluate(online), evaluator.evaluate(offline), panel


def assert_same(online: pa.Table, offline: pa.Table) -> None:
    for name in online.column_names:
        found, expected = online[name].to_pylist(), offline[name].to_pylist()
        if name.startswith(STRENGTH):
            close = (
                a == b or (a is not None and b is not None and abs(a - b) < 1e-6)
                for a, b in zip(found, expected, strict=True)
            )
            assert all(close), name
        else:
            assert found == expected, name


def people(settings: Settings, at: int) -> list[str]:
    return LogSource(settings, Catalogue(settings).plan(TAGS_SERVICE), at).everybody()


def test_every_tag_of_every_shopper_of_the_demo(shop: Settings) -> None:
    at = SystemClock().now_us()
    users = people(shop, at)
    online, offline, panel = both(shop, [*users, NOBODY, users[0]], at)
    assert online.num_rows == 2469 + 2
    assert_same(online, offline)
    assert {*panel.models} == {"redemption"}
    # All tags but those of models that the demo does not train tell of somebody, and of more than one value.
    told = {name for name in online.column_names if not name.startswith(STRENGTH) and online[name].null_count < 2400}
    assert told == {tag.name for tag in live_tags()} - {"churn_risk", "spend_outlook"}
    several = {name for name in told if len(set(online[name].to_pylist())) > 1}
    assert several == told - {"browsing_now"} | {name for name in several if name == "browsing_now"}


def test_every_tag_at_an_instant_of_the_past_is_by_the_log_of_then(shop: Settings) -> None:
    now = SystemClock().now_us()
    users = people(shop, now)[:200]
    plan = Catalogue(shop).plan(TAGS_SERVICE)
    evaluator = Evaluator(live_tags())

    def at(instant: int) -> pa.Table:
        read = LogSource(shop, plan, instant).read(users)
        return evaluator.evaluate(Inputs(users, read.known, read.reading, read.stamps, {}, {}, instant))

    before = at(now - 60 * DAY)
    # Nothing was placed or written about anybody's habits by then.
    assert before["segment"].null_count == before["price_band"].null_count == len(users)
    assert before["coupon_affinity"].null_count < len(users)


def rows_of(random_: random.Random, users: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Histories with gaps, NULLs, and events on window ends; facts up to the instant itself."""
    edges = [1, 2, 84 * DAY, 84 * DAY + 1, 182 * DAY, 3_600_000_000, 40 * DAY]
    found: dict[str, list[dict[str, Any]]] = {}
    for user in users:
        for n in range(random_.choice([0, 1, 2, 12, 40])):
            ago = random_.choice(edges) if random_.random() < 0.3 else random_.randrange(1, 200 * DAY)
            common = {"user_id": user, "event_timestamp": from_us(NOW - ago), "event_id": f"{user}-{n}"}
            amount = random_.choice([None, 0.0, 0.1, 12.34, 100.0])
            saved = random_.choice([None, 0.5])
            facts = {"amount": amount, "retail_discount": saved, "coupon_discount": saved}
            payment = {**common, **facts, "lines": random_.choice([None, 1, 30])}
            line = {
                **common,
                **facts,
                "quantity": random_.choice([None, 1, 3]),
                "category": random_.choice([None, "A", "B"]),
                "brand": random_.choice([None, "x", "y"]),
                "item_id": str(random_.randrange(12)),
            }
            found.setdefault("payment", []).append(payment)
            found.setdefault("purchase", []).append(line)
            if n % 5 == 0:
                found.setdefault("view", []).append(common)
                found.setdefault("campaign_exposure", []).append({**common, "campaign_id": "7"})
        if random_.random() < 0.5:
            when = from_us(NOW - random_.choice([0, DAY, 36 * DAY]))
            row = {"user_id": user, "event_id": f"d-{user}", "event_timestamp": when}
            found.setdefault("users", []).append({**row, "age_band": random_.choice([None, "19-24"])})
            stage = {
                "segment": random_.choice([None, "loyal"]),
                "stage": "new",
                "strength": random_.choice([None, 0.4]),
            }
            found.setdefault("user_segments", []).append({**row, **stage})
            found.setdefault("user_unusual", []).append({**row, "tier": random_.choice([None, "usual"])})
    return found


@pytest.mark.parametrize("seed", range(3))
def test_made_up_histories(settings: Settings, seed: int) -> None:
    random_ = random.Random(seed)
    apply()
    users = [f"u_{n:032x}" for n in range(60)]
    for table, rows in rows_of(random_, users).items():
        made = [{**row, "ingested_at": row["event_timestamp"]} for row in rows]
        admitted = admit(settings.log_root, table, _typed(made), source="test")
        assert admitted.published == len(made), (table, admitted)
    write_habits(settings, FixedClock(NOW), at=NOW - random_.choice([0, 5 * DAY, 34 * DAY, 36 * DAY]))
    materialize(settings, FixedClock(NOW))
    for at in (NOW, NOW + 1, NOW + 36 * DAY):
        online, offline, _ = both(settings, [*users, NOBODY], at)
        assert_same(online, offline)
        assert {*online["lifecycle_stage"].to_pylist()} <= {None, "new"}
    erase(settings, FixedClock(NOW + DAY), users[3], pause=lambda _s: None)
    online, offline, _ = both(settings, users, NOW + DAY)
    assert_same(online, offline)
    gone, nobody = online.slice(3, 1), both(settings, [NOBODY], NOW + DAY)[0]
    assert gone.to_pylist() == nobody.to_pylist()
    assert users[3] not in people(settings, NOW + DAY)


def _typed(rows: list[dict[str, Any]]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: pa.array([row.get(name) for row in rows]) for name in names}
    times = {name: column.cast(pa.timestamp("us", "UTC")) for name, column in columns.items() if name in _TIMES}
    return pa.table({**columns, **times})


_TIMES = {"event_timestamp", "ingested_at"}


def test_what_is_asked_about_many_is_what_is_asked_about_each(shop: Settings) -> None:
    at = SystemClock().now_us()
    users = people(shop, at)[:12]
    whole, _, _ = both(shop, users, at)
    each = [both(shop, [user], at)[0] for user in users]
    assert whole.to_pylist() == [row for table in each for row in table.to_pylist()]


def test_people_who_came_later_are_not_among_everybody_of_before(shop: Settings) -> None:
    now = SystemClock().now_us()
    assert set(people(shop, now - int(timedelta(days=330) / timedelta(microseconds=1)))) < set(people(shop, now))
