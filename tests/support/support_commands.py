"""Run commands as a user does: in their own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run_portrait(words: str, home: Path, *, expect: int = 0) -> dict[str, Any]:
    """Run a command with ``--json`` and return its object."""
    found: dict[str, Any] = json.loads(portrait(f"{words} --json", home, expect=expect))
    return found


def portrait(words: str, home: Path, *, expect: int = 0) -> str:
    """Run a command in a home and return what it prints on stdout."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PORTRAIT_", "MLFLOW_"))}
    done = subprocess.run(
        [sys.executable, "-m", "feature_repo.cli", *words.split()],
        env={**environment, "PORTRAIT_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == expect, f"portrait {words} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
