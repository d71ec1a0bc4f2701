"""The README's own code runs on the shop."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from feature_repo.cli import commands
from feature_repo.core.settings import Settings

ROOT = Path(__file__).parents[2]


def test_the_python_of_the_readme_runs_and_prints_what_it_should(shop: Settings) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "user_payments__amount_sum_28d" in done.stdout
    assert "redemption@1" in done.stdout
    assert "amount_mean_84d" in done.stdout
    assert "2375" not in done.stdout


def test_every_command_the_readme_names_exists() -> None:
    named = set(re.findall(r"`portrait ([a-z]+(?: [a-z]+)?)", (ROOT / "README.md").read_text("utf-8")))
    known = set(commands())
    assert named
    for words in named:
        assert words in known or words.split()[0] in known or any(each.startswith(words) for each in known), words
