"""A table of the log that is gone: what was folded from it is not replaced by nothing in silence."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from feature_repo import cli
from feature_repo.core.clock import SystemClock
from feature_repo.core.errors import LogError, ViewsRefusedError
from feature_repo.core.settings import Settings
from feature_repo.events.door import admit
from feature_repo.events.schema import log_table
from feature_repo.jobs.features import apply
from feature_repo.jobs.materialize import materialize
from feature_repo.jobs.parity import parity

pytestmark = pytest.mark.slow(18)

SHOPPER = "u_" + "0" * 32
SHOPPING = {"purchase", "payment", "campaign_exposure", "coupon_redeem", "users", "items", "consent"}
READ = SHOPPING | {"view", "search", "click", "cart", "feedback", "user_segments", "user_unusual", "user_habits"}


def add(settings: Settings, table: str, **columns: Any) -> None:
    at = datetime.now(UTC) - timedelta(days=1)
    row = {"event_id": "a", "event_timestamp": at, "ingested_at": at, "user_id": SHOPPER, **columns}
    admit(settings.log_root, table, pa.table({name: [value] for name, value in row.items()}), source="test")


@pytest.fixture
def filled(settings: Settings) -> Settings:
    """A small log with everything built."""
    apply()
    add(settings, "payment", amount=3.0)
    add(settings, "users", age_band="19-24")
    materialize(settings, SystemClock())
    return settings


def lose(settings: Settings, table: str) -> None:
    shutil.rmtree(settings.log_root / table)
    apply()


def command(words: str, capsys: pytest.CaptureFixture[str], *, expect: int = 0) -> dict[str, Any]:
    assert cli.main([*words.split(), "--json"]) == expect
    return json.loads(capsys.readouterr().out)


def test_apply_names_the_tables_it_created(home: Any, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(command("features apply", capsys)["tables"]) == READ
    assert command("features apply", capsys)["tables"] == []
    shutil.rmtree(settings.log_root / "payment")
    assert cli.main(["features", "apply"]) == 0
    said = capsys.readouterr().out
    assert "payment" in said
    assert "log table" in said
    assert "empty" in said


@pytest.mark.parametrize(("table", "view"), [("payment", "user_payments"), ("users", "user_demographics")])
def test_a_state_is_not_replaced_by_that_of_a_recreated_empty_table(filled: Settings, table: str, view: str) -> None:
    lose(filled, table)
    with pytest.raises(ViewsRefusedError, match=f"'{table}'.*no rows.*'{view}'") as caught:
        materialize(filled, SystemClock(), views=[view])
    assert isinstance(caught.value.refusals[view], LogError)
    assert str(filled.log_root / table) in caught.value.what
    assert f"portrait jobs materialize --full --views {view}" in caught.value.hint
    assert materialize(filled, SystemClock(), views=[view], full=True).views[0].action == "built"
    assert materialize(filled, SystemClock(), views=[view]).views[0].action == "at head"


@pytest.mark.parametrize(("table", "view"), [("payment", "user_payments"), ("users", "user_demographics")])
def test_a_table_that_is_imported_again_is_built_from_and_a_warning_says_so(
    filled: Settings, table: str, view: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert materialize(filled, SystemClock(), views=[view], dry_run=True).views[0].why == ""
    lose(filled, table)
    add(filled, table)
    for dry_run in (True, False):
        caplog.clear()
        done = materialize(filled, SystemClock(), views=[view], dry_run=dry_run).views[0]
        assert (done.action, done.why) == ("build" if dry_run else "built", "recreated table")
        [said] = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
        assert f"'{table}' was made anew" in said
        assert f"'{view}'" in said
        assert "from the 1 rows" in said
    assert parity(filled, SystemClock(), views=[view]).mismatches == 0
    caplog.clear()
    assert materialize(filled, SystemClock(), views=[view]).views[0].action == "at head"
    assert not caplog.records


def test_a_view_that_is_refused_keeps_no_other_from_the_head(
    filled: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    lose(filled, "payment")
    lose(filled, "users")
    add(filled, "coupon_redeem")
    report = command("jobs materialize", capsys, expect=2)
    assert set(report["refused"]) == {"user_payments", "user_demographics"}
    assert "no rows" in report["refused"]["user_payments"]
    done = {each["view"]: each["action"] for each in report["views"]}
    assert done["user_redemptions"] == "applied"
    assert set(done.values()) == {"applied", "at head"}
    assert cli.main(["jobs", "materialize"]) == 2
    told = capsys.readouterr()
    assert "2 views were refused" in told.err
    assert "user_payments" in told.err
    assert "user_demographics" in told.err
    assert "refused" in told.out


def test_a_definition_that_changed_with_the_table_does_not_open_the_way(
    filled: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(filled, "payment")
    # Another codec is another state, as after an upgrade.
    from feature_repo.engine import spec  # noqa: PLC0415

    monkeypatch.setattr(spec, "CODEC_VERSION", spec.CODEC_VERSION + 1)
    with pytest.raises(ViewsRefusedError, match="'payment'"):
        materialize(filled, SystemClock(), views=["user_payments"])


def test_stats_name_a_table_that_a_view_reads_and_that_is_gone(
    filled: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("events stats", capsys)["missing"] == []
    shutil.rmtree(filled.log_root / "payment")
    found = command("events stats", capsys)
    assert found["missing"] == ["payment"]
    assert {each["name"] for each in found["tables"]} == READ - {"payment"}
    assert cli.main(["events", "stats"]) == 0
    assert "payment" in capsys.readouterr().out


def test_stats_miss_nothing_where_nothing_was_applied(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("events stats", capsys) == {"tables": [], "missing": []}
    log_table(settings.log_root, "view").ensure()
    assert command("events stats", capsys)["missing"] == []
