"""Every cause of a difference, brought about behind what was served from a real Redis and a real log, and called so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from feature_repo.core.clock import DAY, HOUR, MINUTE, SECOND, delta_us
from feature_repo.core.settings import Settings
from feature_repo.jobs.served import read_served
from feature_repo.jobs.skew_causes import SkewCause
from served_shop import ADA, BOB, SERVICE, TTL, ServedShop, rewritten, served_shop

WEIGHT = {"spending__weight", "twice__weight_twice"}
VISITS = {"visits__count_24h", "visits__last_event_at_24h", "visits__fading", *WEIGHT}


@pytest.fixture
def bare(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedShop]:
    """A shop in which something has happened, and nothing is in Redis."""
    with served_shop(settings, tmp_path / "log", monkeypatch) as shop:
        shop.visit("v0", ago=2 * HOUR)
        shop.tell("f0", 7, ago=DAY)
        yield shop


@pytest.fixture
def shop(bare: ServedShop) -> ServedShop:
    bare.materialize()
    return bare


def by(cause: SkewCause, names: set[str]) -> dict[str, set[str]]:
    return {name: {cause.words} for name in names}


def test_what_was_in_the_log_and_in_the_state_does_not_differ(shop: ServedShop) -> None:
    served = shop.serve()
    assert served.loc[ADA, "visits__count_24h"] == 1
    assert served.loc[ADA, "twice__weight_twice"] == 3.0
    report = shop.skew()
    assert (report.rows, report.values, report.mismatches) == (2, 2 * 6, 0)


def test_an_event_that_arrives_afterwards_is_late(shop: ServedShop) -> None:
    shop.serve()
    shop.visit("v1", ago=MINUTE, arrived=0)
    shop.tell("f2", 9, ago=MINUTE, arrived=0)
    assert shop.causes() == by(SkewCause.LATE, {*VISITS, "facts__size"})
    shop.materialize()
    assert shop.causes() == by(SkewCause.LATE, {*VISITS, "facts__size"})


def test_an_event_that_arrives_before_the_answer_is_written_down_is_late_by_its_own_time(shop: ServedShop) -> None:
    with shop.client() as client:
        client.features([ADA], service=SERVICE)
        shop.clock.at_us += SECOND
        shop.visit("v1", ago=MINUTE, arrived=0)
        shop.tell("f2", 9, ago=MINUTE, arrived=0)
    assert shop.causes() == by(SkewCause.LATE, {*VISITS, "facts__size"})


def test_an_old_event_imported_afterwards_is_late_though_it_names_its_own_time_as_its_arrival(shop: ServedShop) -> None:
    shop.serve()
    shop.visit("v1", ago=3 * HOUR)
    shop.tell("f2", 9, ago=3 * HOUR)
    assert shop.causes() == by(SkewCause.LATE, {*VISITS, "facts__size"} - {"visits__last_event_at_24h"})


def test_an_event_that_had_arrived_and_was_not_applied_is_behind(shop: ServedShop) -> None:
    shop.visit("v1", ago=MINUTE)
    shop.tell("f2", 9, ago=MINUTE)
    shop.serve()
    shop.materialize()
    assert shop.causes() == by(SkewCause.BEHIND, {*VISITS, "facts__size"})


def test_an_event_that_was_not_applied_though_the_view_was_fed_further_is_unexplained(shop: ServedShop) -> None:
    shop.visit("v1", ago=MINUTE)
    old = shop.states()
    shop.materialize()
    shop.restore(old)  # as a server does that came back with older data
    shop.serve(fed=True)
    shop.visit("v2", ago=3 * HOUR, arrived=0)  # which would do as a reason, if nothing was lost
    assert shop.causes() == by(SkewCause.UNEXPLAINED, VISITS)


def test_of_a_late_event_and_one_that_was_not_applied_each_is_told_where_it_matters(shop: ServedShop) -> None:
    shop.visit("v1", ago=30 * HOUR, amount=1e6)  # of what is served it fades alone
    shop.serve()
    shop.visit("v2", ago=3 * HOUR, arrived=0, amount=0.0)
    assert shop.causes() == {"visits__count_24h": {"late event"}, "visits__fading": {"behind the log"}}


def test_an_event_between_the_instant_and_the_answer_is_told_by_the_value(shop: ServedShop) -> None:
    shop.visit("v1", ago=-SECOND)
    shop.tell("f2", 9, ago=-SECOND)
    shop.materialize()
    served = shop.serve()
    assert served.loc[ADA, "facts__size"] == 9
    assert served.loc[ADA, "visits__count_24h"] == 2
    assert shop.causes() == by(SkewCause.AHEAD, {*VISITS, "facts__size"})


def test_a_value_that_an_event_of_later_does_not_explain_is_unexplained(shop: ServedShop) -> None:
    shop.visit("v1", ago=-SECOND)
    shop.materialize()
    shop.serve()
    [rows] = read_served(shop.settings)
    assert rows.table["visits__count_24h"].to_pylist() == [2, 0]
    rewritten(shop.settings, "visits__count_24h", pa.array([7, 0]))
    found = shop.causes()
    assert found.pop("visits__count_24h") == {"unexplained"}
    assert found == by(SkewCause.AHEAD, VISITS - {"visits__count_24h"})


def test_beside_an_event_of_later_a_late_one_is_told_where_it_matters(shop: ServedShop) -> None:
    shop.visit("v1", ago=-SECOND, amount=0.0)
    shop.materialize()
    shop.serve()
    for event_id in ("v2", "v3"):
        shop.visit(event_id, ago=3 * HOUR, arrived=0, amount=2.0)
    assert shop.causes() == {
        "visits__count_24h": {"late event"},
        "visits__last_event_at_24h": {"after the instant"},
        "visits__fading": {"late event"},
    } | by(SkewCause.LATE, WEIGHT)


def test_a_correction_of_the_same_instant_that_was_not_applied_is_behind(shop: ServedShop) -> None:
    with shop.client() as client:
        shop.look(client)
        shop.tell("f1", 9, ago=DAY + SECOND)
        client.features([ADA], service=SERVICE)
    shop.materialize()
    assert shop.causes() == by(SkewCause.BEHIND, {"facts__size"})


def test_a_view_that_was_never_materialized_is_told_from_one_that_is_behind(bare: ServedShop) -> None:
    bare.materialize("visits")
    bare.visit("v1", ago=MINUTE)
    bare.serve()
    bare.materialize()
    never = by(SkewCause.NOT_MATERIALIZED, {*WEIGHT, "facts__size"})
    assert bare.causes() == never | by(SkewCause.BEHIND, VISITS - WEIGHT)


def test_what_was_not_materialized_stays_so_when_its_definition_changes_too(bare: ServedShop) -> None:
    bare.materialize("visits")
    bare.serve()
    bare.apply(weighed="units")
    bare.materialize()
    assert bare.causes() == by(SkewCause.NOT_MATERIALIZED, {*WEIGHT, "facts__size"})


def test_a_feature_the_state_cannot_answer_is_of_another_definition(shop: ServedShop) -> None:
    shop.apply(window=timedelta(hours=48), extra=True)
    shop.serve()
    shop.materialize()
    assert shop.causes() == by(SkewCause.UNANSWERED, {"visits__count_24h", "facts__amount"})


def test_a_feature_that_is_declared_otherwise_since_has_changed_and_no_other(shop: ServedShop) -> None:
    shop.visit("v1", ago=30 * HOUR)
    shop.materialize()
    shop.serve()
    shop.apply(window=timedelta(hours=48))
    assert shop.causes() == by(SkewCause.CHANGED, {"visits__count_24h"})


def test_a_feature_that_only_a_computed_one_reads_has_changed_with_it(shop: ServedShop) -> None:
    shop.serve()
    shop.apply(weighed="units")
    assert shop.causes() == by(SkewCause.CHANGED, WEIGHT)


def test_a_function_that_was_changed_changes_what_it_computes_alone(shop: ServedShop) -> None:
    shop.serve()
    shop.apply(factor=3)
    assert shop.causes() == by(SkewCause.CHANGED, {"twice__weight_twice"})


@pytest.mark.parametrize("fed", [True, False])
def test_a_table_that_is_gone_was_recreated(shop: ServedShop, fed: bool) -> None:
    shop.serve(fed=fed)
    shop.make_anew("visit")
    shop.make_anew("facts")
    shop.visit("v0", ago=5 * HOUR, amount=9.0)
    shop.tell("f0", 8, ago=DAY)
    everything = by(SkewCause.RECREATED, {*VISITS - {"visits__count_24h"}, "facts__size"})
    assert shop.causes() == everything
    shop.materialize()
    assert shop.causes() == everything


@pytest.mark.parametrize("fed", [True, False])
def test_what_a_state_of_a_table_that_is_gone_answered_was_recreated(shop: ServedShop, fed: bool) -> None:
    shop.make_anew("visit")
    shop.visit("v0", ago=5 * HOUR, amount=9.0)
    shop.serve(fed=fed)
    shop.materialize()
    assert shop.causes() == by(SkewCause.RECREATED, VISITS - {"visits__count_24h"})


@pytest.mark.parametrize(("early", "cause"), [(MINUTE // 120, SkewCause.TTL), (5 * SECOND, SkewCause.UNEXPLAINED)])
def test_a_row_that_expires_while_it_is_asked_for_outlived_its_ttl(
    shop: ServedShop, early: int, cause: SkewCause
) -> None:
    shop.tell("f1", 8, ago=delta_us(TTL) + 10, user=BOB)  # which Redis' clock has passed
    shop.materialize()
    with shop.client() as client:
        shop.look(client)
        shop.clock.at_us -= SECOND + early
        client._transport._served._recorded = (0, client._transport._served._recorded[1])
        assert client.features([BOB], service=SERVICE).to_df()["facts__size"].isna().all()
    assert shop.causes() == by(cause, {"facts__size"})


def test_every_cause_says_what_to_do() -> None:
    assert all(cause.remedy for cause in SkewCause)
    assert len({cause.words for cause in SkewCause}) == len(SkewCause)
