"""A view that `portrait features new` drafts can be applied; what cannot be is refused before a word is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from checkouts import Checkout
from feature_repo import cli
from feature_repo.core.errors import DeclarationError
from feature_repo.core.settings import PACKAGE_ROOT
from feature_repo.jobs import drafting
from feature_repo.jobs.drafting import DOOR, HELPERS, draft_view, wished, write_draft

RETURNS = {"event": "return", "entity": "user", "features": ["count", "sum:amount"], "days": "84,28"}
DOOR_TEXT = (PACKAGE_ROOT / DOOR).read_text("utf-8")


def root_of(tmp_path: Path) -> Path:
    (tmp_path / "definitions").mkdir()
    (tmp_path / DOOR).write_text(DOOR_TEXT)
    return tmp_path


def test_a_drafted_view_is_applied_described_and_in_the_style_of_the_others(tmp_path: Path) -> None:
    copy = Checkout.copied(tmp_path / "checkout", tmp_path / "home")
    done = copy.portrait("features new user_returns --event return --feature count --feature sum:amount --days 28,84")
    assert done.returncode == 0, done.stderr
    applied = copy.portrait("features apply")
    assert applied.returncode == 0, applied.stdout
    told = {each["name"] for each in json.loads(applied.stdout)["changes"]}
    assert {"user_returns", "return"} <= told
    described = json.loads(copy.portrait("features describe user_returns").stdout)
    names = {each["feature"] for each in described["features"]}
    assert names == {"count_28d", "count_84d", "amount_sum_28d", "amount_sum_84d"}
    files = [f"feature_repo/{DOOR}", "feature_repo/definitions/user_returns.py"]
    formatted = copy.python("-m", "ruff", "format", "--check", *files)
    assert formatted.returncode == 0, formatted.stdout
    linted = copy.python("-m", "ruff", "check", *files)
    assert linted.returncode == 0, linted.stdout
    again = copy.portrait("features new user_returns --event return")
    assert again.returncode == 2
    assert "already" in json.loads(again.stdout)["error"]["what"]


def test_a_source_that_is_declared_is_read_and_one_that_is_not_is_declared_beside_the_view(tmp_path: Path) -> None:
    root = root_of(tmp_path)
    known = draft_view(wished("user_looks", event="view", entity="user", features=["count"], days="7"), root)
    assert known.names == ("user_looks",)
    assert "source=views," in known.text
    new = draft_view(wished("user_returns", **RETURNS), root)
    assert new.names == ("return_events", "user_returns")
    assert 'return_events = event_source("return")' in new.text


def test_the_door_names_what_is_new_and_all_there_was_in_order() -> None:
    door = drafting.listed(DOOR_TEXT, "hats", ["user_hats"])
    before, after = (door.index(f"from feature_repo.definitions.{name} import") for name in ("habits", "popularity"))
    assert before < door.index("from feature_repo.definitions.hats import user_hats\n") < after
    was, now = {}, {}
    exec(DOOR_TEXT, was)
    exec(door.replace("from feature_repo.definitions.hats import user_hats\n", ""), now)
    assert now["__all__"] == sorted([*was["__all__"], "user_hats"])


@pytest.mark.parametrize(("days", "hop"), [("7,28", "hour"), ("23", "hour"), ("24,84", "day")])
def test_tiles_are_at_most_a_24th_of_the_windows(tmp_path: Path, days: str, hop: str) -> None:
    drafted = draft_view(wished("user_returns", **{**RETURNS, "days": days}), root_of(tmp_path))
    assert f"hop={hop}," in drafted.text


@pytest.mark.parametrize("function", HELPERS)
def test_every_function_can_be_drafted(tmp_path: Path, function: str) -> None:
    column = "item_id" if function == "count_distinct" else "amount"
    said = {**RETURNS, "features": [f"{function}:{column}"]}
    assert f'"{column}"' in draft_view(wished("user_returns", **said), root_of(tmp_path)).text


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("User", {}, "no name of a view"),
        ("user returns", {}, "no name of a view"),
        ("user_payments", {}, "already"),
        ("payment", {}, "already"),
        ("user_returns", {"event": "returned"}, "event type 'returned'.\nHint: did you mean 'return'"),
        ("user_returns", {"entity": "usr"}, "entity 'usr'.\nHint: did you mean 'user'"),
        ("user_returns", {"features": ["avg:amount"]}, "function 'avg'"),
        ("user_returns", {"features": ["sum:amuont"]}, "lacks.\nHint: did you mean 'amount'"),
        ("user_returns", {"features": ["sum"]}, "aggregates no column"),
        ("user_returns", {"features": ["sum:user_id"]}, "user_id"),
        ("user_returns", {"features": ['sum:a"b']}, "lacks"),
        ("user_returns", {"days": "7,x"}, "no windows in days"),
        ("user_returns", {"days": "0"}, "no windows in days"),
        ("user_returns", {"days": ""}, "no windows in days"),
        ("user_returns", {"called": "return, returns"}, "three names"),
    ],
)
def test_what_cannot_be_declared_is_refused(tmp_path: Path, name: str, change: dict[str, object], what: str) -> None:
    root = root_of(tmp_path)
    with pytest.raises(DeclarationError) as caught:
        draft_view(wished(name, **{**RETURNS, **change}), root)
    assert what in str(caught.value)
    assert list((root / "definitions").iterdir()) == []


def test_names_of_events_are_text_whatever_is_in_them(tmp_path: Path) -> None:
    said = {**RETURNS, "called": 'a "return", returns\\, 退货'}
    drafted = draft_view(wished("user_returns", **said), root_of(tmp_path))
    assert 'Noun("a \\"return\\"", "returns\\\\", "退货")' in drafted.text


def test_a_door_that_cannot_be_written_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = root_of(tmp_path)
    drafted = draft_view(wished("user_returns", **RETURNS), root)
    write = drafting.atomic_write

    def full(path: Path, text: str) -> None:
        if path.name == DOOR:
            raise OSError("No space left on device")
        write(path, text)

    monkeypatch.setattr(drafting, "atomic_write", full)
    with pytest.raises(OSError, match="No space"):
        write_draft(drafted)
    assert list((root / "definitions").iterdir()) == []
    assert (root / DOOR).read_text() == DOOR_TEXT


def test_a_rehearsal_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["features", "new", "item_returns", "--event", "return", "--entity", "item", "--dry-run"]) == 0
    told = capsys.readouterr()
    assert "item_returns = windowed_view(" in told.out
    assert "nothing was written" in told.err
    assert (PACKAGE_ROOT / DOOR).read_text("utf-8") == DOOR_TEXT
