"""Copies of the checkout in which something else is declared, and what its commands say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("feature_repo", "training", "serving", "tests")


@dataclass(frozen=True)
class Checkout:
    """A copy of the checkout, and a home for its commands."""

    path: Path
    home: Path

    @classmethod
    def copied(cls, place: Path, home: Path) -> Checkout:
        """Copy the packages and the tests."""
        for part in PARTS:
            shutil.copytree(ROOT / part, place / part)
        shutil.copy(ROOT / "pyproject.toml", place)
        return cls(place, home)

    def change(self, file: str, old: str, new: str) -> None:
        """Let the first place of one text in a file be another."""
        text = (self.path / file).read_text("utf-8")
        assert old in text
        (self.path / file).write_text(text.replace(old, new, 1), "utf-8")

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the interpreter on it."""
        paths = [self.path, self.path / "tests" / "support"]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PORTRAIT_", "MLFLOW_", "TEST_"))
        }
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.path,
            env={
                **environment,
                "PYTHONPATH": os.pathsep.join(map(str, paths)),
                "PORTRAIT_HOME": str(self.home),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    def portrait(self, words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of it with ``--json``."""
        return self.python("-m", "feature_repo.cli", *words.split(), "--json")
