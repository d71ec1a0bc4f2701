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
from feature_repo.core.errors import LogError
from feature_repo.core.settings import Settings
from feature_repo.events.door import admit
from feature_repo.events.schema import log_table
from feature_repo.jobs.features import apply
from feature_repo.jobs.materialize import materialize
from feature_repo.jobs.parity import parity

SHOPPER = "u_" + "0" * 32
READ = {"purchase", "payment", "campaign_exposure", "coupon_redeem", "users", "items"}


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
    with pytest.raises(LogError, match=f"'{table}'.*no rows.*'{view}'") as caught:
        materialize(filled, SystemClock(), views=[view])
    assert str(filled.log_root / table) in caught.value.what
    assert f"portrait jobs materialize --full --views {view}" in caught.value.hint
    assert materialize(filled, SystemClock(), views=[view], full=True).views[0].action == "built"
    assert materialize(filled, SystemClock(), views=[view]).views[0].action == "at head"


@pytest.mark.parametrize(("table", "view"), [("payment", "user_payments"), ("users", "user_demographics")])
def test_a_table_that_is_imported_again_is_built_from(filled: Settings, table: str, view: str) -> None:
    lose(filled, table)
    add(filled, table)
    assert materialize(filled, SystemClock(), views=[view]).views[0].action == "built"
    assert parity(filled, SystemClock(), views=[view]).mismatches == 0


def test_a_definition_that_changed_with_the_table_does_not_open_the_way(
    filled: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(filled, "payment")
    # Another codec is another state, as after an upgrade.
    from feature_repo.engine import spec  # noqa: PLC0415

    monkeypatch.setattr(spec, "CODEC_VERSION", spec.CODEC_VERSION + 1)
    with pytest.raises(LogError, match="'payment'"):
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
