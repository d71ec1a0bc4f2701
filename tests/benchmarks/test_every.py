"""All benches in one go: a process each, one that fails keeps no other back, and a page of what was found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from feature_repo import cli
from feature_repo.bench import every
from feature_repo.bench.bench import Size, bench_entry, bench_names
from feature_repo.bench.every import Runs, read_runs
from feature_repo.bench.page import PAGE, PICTURE, RECORD, page, write_page
from feature_repo.core.clock import SystemClock
from feature_repo.core.console import to_json
from feature_repo.core.errors import PortraitError

PIT = {
    "name": "pit",
    "ours": {"20": {"rows_per_s": 411_183.2}, "flatness": 1.45},
    "peer": {"20": {"rows_per_s": 66_393.0}},
    "ratio": 6.19,
    "unit": "rows/s",
    "setup": {"peer": "daily snapshots | joined", "cores": 2, "versions": {"feast": "0.67.0"}},
}
FLOOR = {**PIT, "name": "predict", "ratio": 0.5, "unit": "p50 ms"}
RUNS = Runs(
    at="2026-11-29T11:57:36+00:00",
    size="full",
    benches={"pit": PIT, "predict": FLOOR},
    least={"pit": 2.0, "predict": 0.25, "serve": 2.0},
    failed={"serve": "The server did not start."},
)


def test_a_page_has_every_figure_beside_the_command_that_made_it():
    text = page(RUNS)
    assert "## pit: 6.19 times the peer" in text
    assert "`portrait bench pit --size full`" in text
    assert "| 20 rows_per_s | 411,183 | 66,393 |" in text
    assert "| flatness | 1.45 |  |" in text
    assert "- `serve`: The server did not start." in text


def test_what_a_bench_says_in_a_sentence_stays_in_the_record(tmp_path: Path):
    told = replace(
        RUNS, benches={"pit": {**PIT, "ours": {"told": "24 of 24", "case": "a week in which nothing changed"}}}
    )
    write_page(told, tmp_path)
    assert "| told | 24 of 24 |  |" in (tmp_path / PAGE).read_text("utf-8")
    assert "nothing changed" not in (tmp_path / PAGE).read_text("utf-8")
    assert "nothing changed" in (tmp_path / RECORD).read_text("utf-8")


def test_the_picture_has_a_bar_for_every_ratio_in_words_that_are_text(tmp_path: Path):
    write_page(RUNS, tmp_path)
    drawn = ET.parse(tmp_path / PICTURE)
    words = {"".join(each.itertext()).strip() for each in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"pit", "predict", "6.2", "0.5"} <= words


def test_a_page_is_made_again_from_its_record(tmp_path: Path):
    write_page(RUNS, tmp_path)
    again = tmp_path / "again"
    assert cli.main(["bench", "all", "--from", str(tmp_path / RECORD), "--page", str(again)]) == 0
    for name in (PAGE, PICTURE, RECORD):
        assert (again / name).read_bytes() == (tmp_path / name).read_bytes()


def test_a_ratio_at_its_bound_holds_and_one_below_does_not(tmp_path: Path):
    def run(ratio: float) -> int:
        record = tmp_path / "record.json"
        record.write_text(to_json(Runs(RUNS.at, "small", {"pit": {**PIT, "ratio": ratio}}, {"pit": 2.0}, {})))
        return cli.main(["bench", "all", "--from", str(record), "--check"])

    assert run(2.0) == 0
    assert run(1.99) == 1


def test_a_bench_without_a_report_does_not_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    record = tmp_path / "record.json"
    record.write_text(to_json(Runs(RUNS.at, "small", {}, {}, {"serve": "The server did not start."})))
    assert cli.main(["bench", "all", "--from", str(record), "--check"]) == 1
    assert cli.main(["bench", "all", "--from", str(record)]) == 0
    assert "serve: The server did not start." in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"at": 1}', '{"at":"","size":"","benches":[],"least":{},"failed":{}}']
)
def test_something_else_is_no_report(text: str):
    with pytest.raises(PortraitError, match="no report of benches"):
        read_runs(text)


def test_a_missing_report_and_options_of_all_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["bench", "all", "--from", str(tmp_path / "none.json")]) == 2
    assert cli.main(["bench", "pit", "--check"]) == 2
    assert cli.main(["bench", "all", "--only", "pit,pitt"]) == 2
    said = capsys.readouterr().err
    assert "none.json cannot be read" in said
    assert "portrait bench all --only pit" in said
    assert "did you mean 'pit'?" in said


def test_a_bench_that_fails_keeps_no_other_from_being_run(monkeypatch: pytest.MonkeyPatch):
    def report(arguments: list[str]) -> object:
        if arguments[1] == "pit":
            raise PortraitError("It was killed.")
        return {**PIT, "name": arguments[1]}

    monkeypatch.setattr(every, "_report", report)
    told: list[float] = []
    runs = every.run_benches(["pit", "online"], Size.SMALL, SystemClock(), lambda _, share: told.append(share))
    assert runs.failed == {"pit": "It was killed."}
    assert list(runs.benches) == ["online"]
    assert told == [0.0, 0.5, 1.0]


def test_a_child_that_says_an_error_or_nothing_is_told(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(PortraitError, match="There is no bench 'pitt'"):
        every._report(["bench", "pitt", "--json"])
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(PortraitError, match="ended with 1 and no report"):
        every._report(["bench", "pit", "--json"])


def test_all_benches_but_those_of_bytes_and_of_alarms_have_a_bound():
    without = [name for name in bench_names() if not bench_entry(name).load().least]
    assert without == ["memory", "drift"]


@pytest.mark.slow(15)
def test_a_record_of_a_real_run_is_the_contracts(tmp_path: Path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "feature_repo.cli", "bench", "all", "--only", "predict", "--json", "--check"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    runs = read_runs(done.stdout)
    assert runs.failed == {}
    assert runs.benches["predict"]["name"] == "predict"
    assert json.loads(done.stdout)["size"] == "small"
    assert done.returncode == (1 if runs.below else 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow(12)
def test_sigterm_ends_the_bench_that_runs_and_leaves_nothing(tmp_path: Path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-m", "feature_repo.cli", "bench", "all", "--only", "materialize"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as run:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("portrait-bench-*/home/run")) and time.monotonic() < deadline:
            time.sleep(0.05)
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=120)
    assert run.returncode == 130
    assert list(tmp_path.iterdir()) == []
