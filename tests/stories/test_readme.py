"""What the README shows is what happens: its code runs, its commands exist, its output is the demo's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from feature_repo.cli import commands
from feature_repo.core.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_python_of_the_readme_runs_and_prints_what_it_should(shop: Settings) -> None:
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    run = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "user_payments__amount_sum_28d" in done.stdout
    assert "redemption@1" in done.stdout
    assert "amount_mean_84d" in done.stdout
    assert "2375" not in done.stdout


def test_every_command_the_readme_names_exists() -> None:
    named = set(re.findall(r"`portrait ([a-z]+(?: [a-z]+)?)", README))
    known = set(commands())
    assert named
    for words in named:
        assert words in known or words.split()[0] in known or any(each.startswith(words) for each in known), words


def test_the_output_the_readme_shows_is_the_demos(demo_text: str) -> None:
    shown = re.search(r"What it printed here.*?```\n(.*?)```", README, re.DOTALL)
    printed = {shape(line) for line in demo_text.splitlines()}
    for line in shown[1].splitlines():
        assert line.strip() == "..." or shape(line) in printed, line


def shape(line: str) -> str:
    """Return a line without what differs from run to run: digits, pseudonyms and the width of columns."""
    return re.sub(r"\s+", " ", re.sub(r"[\d,.]+", "#", re.sub(r"u_[0-9a-f]{32}", "u_#", line))).strip()
