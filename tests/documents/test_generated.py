"""What is written from the code says what the code says, on every machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from feature_repo.bench.every import read_runs
from feature_repo.bench.page import PAGE, RECORD, page
from feature_repo.cli import Registry, main, registry
from feature_repo.core.errors import PortraitError
from feature_repo.definitions.engagement import user_feedback
from feature_repo.definitions.entities import user
from feature_repo.definitions.segments import user_unusual
from feature_repo.definitions.services import profile_v1
from feature_repo.definitions.sources import payments
from feature_repo.definitions.texts import Noun
from feature_repo.definitions.windows import decayed_sum, hour, read_at, std, total, windowed_view
from feature_repo.documents.command_reference import command_reference
from feature_repo.documents.feature_catalogue import feature_catalogue
from feature_repo.documents.written import DOCUMENTS, REPO, changed_documents, write_documents

VISIT = Noun("visit", "visits", "到店")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_committed_document_is_what_the_code_says(name: str) -> None:
    committed = (REPO / name).read_text("utf-8")
    assert committed == DOCUMENTS[name](), f"feature_repo/{name} differs from the code: run `portrait document`."


def test_what_was_imported_before_changes_no_document() -> None:
    code = (
        "import sys; import feature_repo.jobs.erase_cli; from feature_repo.cli import main;"
        "sys.exit(main(['document', '--check']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_neither_the_terminal_nor_the_order_of_hashing_changes_a_document() -> None:
    check = [sys.executable, "-m", "feature_repo.cli", "document", "--check"]
    for width, seed in (("30", "1"), ("300", "2")):
        told = {**os.environ, "COLUMNS": width, "TERMINAL_WIDTH": width, "PYTHONHASHSEED": seed, "LANG": "C"}
        done = subprocess.run(check, env=told, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_document_that_differs_is_told_then_written_and_twice_is_once(tmp_path: Path) -> None:
    repo = checkout(tmp_path)
    assert {path.name for path in changed_documents(repo)} == {"COMMANDS.md", "CATALOGUE.md"}
    assert len(write_documents(repo)) == len(DOCUMENTS)
    assert write_documents(repo) == ()
    (repo / "COMMANDS.md").write_text("# Commands\n", "utf-8")
    assert [path.name for path in changed_documents(repo)] == ["COMMANDS.md"]


def test_the_check_writes_nothing_and_names_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (REPO / "COMMANDS.md").read_bytes()
    monkeypatch.setitem(DOCUMENTS, "COMMANDS.md", lambda: "# Others\n")
    assert main(["document", "--check"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "differs: feature_repo/COMMANDS.md\n"
    assert "run `portrait document`" in printed.err
    assert (REPO / "COMMANDS.md").read_bytes() == before


def test_an_installed_package_has_no_documents_to_write(tmp_path: Path) -> None:
    with pytest.raises(PortraitError, match="a checkout"):
        write_documents(tmp_path / "site-packages" / "feature_repo")


def test_commands_that_cannot_be_loaded_are_missed_not_left_out() -> None:
    known = Registry(registry().root, {"serving": ImportError("no fastapi")})
    with pytest.raises(PortraitError, match="serving"):
        command_reference(known)


def test_a_command_is_told_with_its_arguments_bounds_defaults_and_example() -> None:
    text = command_reference()
    assert "## `portrait models lift`" in text
    assert "portrait models lift TASK [VERSION] [OPTIONS]" in text
    assert "| `[VERSION]` | A number, or an alias. (default champion) |" in text
    assert "| `--top TOP` | Length of the list of the highest scores. (default 100, from 1) |" in text
    assert "```\nportrait models lift redemption --top 100\n" in text
    assert "| [`portrait models lift`](#portrait-models-lift) |" in text


def test_a_feature_says_what_it_is_over_what_and_who_reads_it() -> None:
    lines = feature_catalogue({"user_feedback": user_feedback, "profile_v1": profile_v1}).splitlines()
    assert (
        "| `value_mean_28d` | Float64 | `mean(value)` | 28d | Mean worth of one answer in 28d. "
        "| 近28天单次反馈平均结果值 | no event with `value` in the window | `profile_v1` |"
    ) in lines
    assert "Windowed view; about `user`; from event `feedback`; hop 1h; owner growth." in lines


def test_what_null_means_follows_from_the_oracle_and_the_time_a_fact_holds() -> None:
    view = windowed_view(
        name="made",
        entities=[user],
        source=payments,
        hop=hour,
        events=VISIT,
        owner="growth",
        description="Made.",
        zh="造",
        features=[
            *total("amount", days=(7,)),
            *std("amount", days=(7,)),
            *decayed_sum("amount", half_life_days=(7,)),
            *read_at(),
        ],
    )
    text = feature_catalogue({"made": view, "user_unusual": user_unusual})
    said = {
        name: line(text, name)
        for name in ("amount_sum_7d", "amount_std_7d", "amount_decayed_sum_7d", "read_at", "tier")
    }
    assert "| never: 0 of nothing |" in said["amount_sum_7d"]
    assert "| fewer than two with `amount` in the window |" in said["amount_std_7d"]
    assert "| half-life 7d |" in said["amount_decayed_sum_7d"]
    assert "| never |" in said["read_at"]
    assert "| no row of the last 35 days, or it says nothing |" in said["tier"]


def test_the_page_of_what_was_measured_is_what_its_record_makes() -> None:
    bench = REPO / "bench"
    assert (bench / PAGE).read_text("utf-8") == page(read_runs((bench / RECORD).read_text("utf-8")))


def line(text: str, feature: str) -> str:
    return next(each for each in text.splitlines() if each.startswith(f"| `{feature}` |"))


def checkout(root: Path) -> Path:
    (root / "feature_repo" / "definitions").mkdir(parents=True)
    (root / "pyproject.toml").touch()
    return root / "feature_repo"
