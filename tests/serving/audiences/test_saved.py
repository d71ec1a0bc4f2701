"""Saved audiences keep their versions, and are counted snapshot by snapshot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from feature_repo.core.clock import FixedClock
from feature_repo.core.errors import DataError, SettingsError
from feature_repo.core.settings import Settings
from made_snapshots import write_snapshot
from serving.audiences.audiences import Audiences
from serving.audiences.cli import audience
from serving.audiences.recount import recount
from serving.audiences.refreshing import refresh_audiences
from serving.audiences.saved import all_saved, find_saved, save

NOW = FixedClock(1_700_000_000_000_000)


def test_another_selection_under_a_name_is_its_next_version_and_the_same_is_none(tmp_path: Path) -> None:
    made = Settings(home=tmp_path)
    assert save(made, NOW, "lapsing", "risk = 'high'").current.version == 1
    assert save(made, NOW, "lapsing", "risk = 'high'").current.version == 1
    assert save(made, NOW, "lapsing", "risk in ('high', 'some')", "spring").current.version == 2
    found = find_saved(made, "lapsing")
    assert [each.selection for each in found.versions] == ["risk = 'high'", "risk in ('high', 'some')"]
    assert (tmp_path / "audiences" / "saved" / "lapsing.json").stat().st_mode & 0o777 == 0o600


def test_a_refresh_counts_on_the_latest_snapshot_and_twice_is_once(tmp_path: Path) -> None:
    made = Settings(home=tmp_path)
    assert recount(made, NOW).as_of is None
    save(made, NOW, "lapsing", "risk = 'high'")
    with pytest.raises(DataError, match="no snapshot"):
        recount(made, NOW)
    write_snapshot(tmp_path, {"tag__risk": ["high", "low", None]}, as_of="2026-11-17T00:00:00Z")
    [first] = recount(made, NOW).audiences
    assert (first.size, first.before) == (1, None)
    write_snapshot(tmp_path, {"tag__risk": ["high", "high", "high", "low"]})
    for _ in range(2):
        [second] = recount(made, NOW).audiences
        assert (second.size, second.before) == (3, 1)
    assert [(each.as_of.day, each.size, each.everyone) for each in find_saved(made, "lapsing").sizes] == [
        (17, 1, 3),
        (24, 3, 4),
    ]


def test_an_audience_that_cannot_be_counted_any_more_keeps_no_other_back(tmp_path: Path) -> None:
    made = Settings(home=tmp_path)
    save(made, NOW, "gone", "old_tag = 'x'")
    save(made, NOW, "lapsing", "risk = 'high'")
    write_snapshot(tmp_path, {"tag__risk": ["high"]})
    gone, lapsing = recount(made, NOW).audiences
    assert gone.size is None
    assert "There is no column 'old_tag'" in gone.why
    assert lapsing.size == 1


def test_a_refresh_of_everything_counts_them_too_and_says_which_cannot_be(tmp_path: Path) -> None:
    made = Settings(home=tmp_path)
    assert refresh_audiences(made, NOW, dry_run=False) == "no audience is saved"
    save(made, NOW, "lapsing", "risk = 'high'")
    write_snapshot(tmp_path, {"tag__risk": ["high"]})
    assert refresh_audiences(made, NOW, dry_run=True) == "1 audiences to count"
    assert not find_saved(made, "lapsing").sizes
    assert "1 audiences counted as of 2026-11-24 00:00 UTC" in refresh_audiences(made, NOW, dry_run=False)
    save(made, NOW, "gone", "old_tag = 'x'")
    with pytest.raises(DataError, match="1 of 2 audiences cannot be counted: gone: There is no column 'old_tag'"):
        refresh_audiences(made, NOW, dry_run=False)


def test_a_saved_audience_is_asked_by_its_name(tmp_path: Path) -> None:
    made = Settings(home=tmp_path)
    write_snapshot(tmp_path, {"tag__risk": ["high", "low"], "tag__vip": [True, True]})
    save(made, NOW, "lapsing", "risk = 'high'")
    audiences = Audiences(made)
    found = audiences.estimate("@lapsing")
    assert (found.audience, found.selection, found.size) == ("@lapsing", "risk = 'high'", 1)
    overlap = audiences.overlap(["@lapsing", "vip"])
    assert (overlap.in_all, overlap.in_any) == (1, 2)
    [pair] = overlap.pairs
    assert (pair.both, pair.share_of_left, pair.share_of_right, pair.jaccard) == (1, 1.0, 0.5, 0.5)
    with pytest.raises(DataError, match="no audience 'lapsin'"):
        audiences.estimate("@lapsin")
    with pytest.raises(DataError, match="two audiences or more"):
        audiences.overlap(["vip", "vip"])


@pytest.mark.parametrize("name", ["", "Lapsing", "../keys", "a/b", "9lives", "a" * 65])
def test_a_name_that_is_no_file_of_ours_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot be called"):
        save(Settings(home=tmp_path), NOW, name, "risk = 'high'")
    with pytest.raises(DataError, match="There is no audience"):
        find_saved(Settings(home=tmp_path), name)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    made = Settings(home=tmp_path)
    save(made, NOW, "lapsing", "risk = 'high'")
    (tmp_path / "audiences" / "saved" / "lapsing.json").write_text("{")
    with pytest.raises(DataError, match=r"lapsing\.json cannot be read"):
        all_saved(made)


def test_without_their_packages_audiences_say_what_to_install(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not home.exists()
    monkeypatch.setattr("serving.audiences.cli.find_spec", lambda _name: None)
    with pytest.raises(SettingsError, match="not installed: pyroaring") as raised:
        CliRunner().invoke(audience, ["list"], catch_exceptions=False)
    assert "user-portrait[audiences]" in raised.value.hint


def test_erasing_and_refreshing_need_none_of_these_packages(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pyroaring'] = sys.modules['sqlglot'] = None\n"
        "from pathlib import Path; from feature_repo.core.settings import Settings\n"
        "from serving.audiences.erasure import erase_audiences, handed_out\n"
        "from serving.audiences.refreshing import refresh_audiences\n"
        "home = Settings(home=Path(sys.argv[1]))\n"
        "assert erase_audiences(home, 'a' * 32, dry_run=False) == 0\n"
        "assert handed_out(home, 'a' * 32) == []\n"
        "assert refresh_audiences(home, None, dry_run=False) == 'no audience is saved'\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


COMMANDS: dict[str, list[str]] = {
    "columns": ["as_of", "columns", "left_out"],
    "estimate @lapsing": [
        "audience", "selection", "as_of", "size", "everyone", "share", "unknown", "columns", "notes",
    ],
    "overlap @lapsing vip": ["as_of", "sizes", "pairs", "in_all", "in_any"],
    "insight @lapsing": ["audience", "selection", "as_of", "size", "everyone", "traits"],
    "save other vip": ["name", "versions", "sizes"],
    "list": ["audiences"],
    "refresh": ["as_of", "audiences"],
}  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_prints_for_people_and_as_one_object(home: Path, words: str) -> None:
    write_snapshot(home, {"tag__risk": ["high", "low"], "tag__vip": [True, True], "score__churn": [0.5, None]})
    save(Settings(home=home), NOW, "lapsing", "risk = 'high'")
    shown = CliRunner().invoke(audience, words.split(), catch_exceptions=False)
    assert shown.exit_code == 0
    assert shown.stdout
    told: Any = json.loads(CliRunner().invoke(audience, [*words.split(), "--json"], catch_exceptions=False).stdout)
    assert list(told) == COMMANDS[words]
