"""The README's example of importing a log of one's own is run as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "feature_repo" / "README.md").read_text("utf-8").split("## Your own log", 1)[1].split("\n## ", 1)[0]


def test_the_example_of_the_readme_runs_and_prints_what_it_shows(tmp_path: Path) -> None:
    script, shown = re.findall(r"```(?:sh)?\n(.*?)```", SECTION, re.DOTALL)
    command = tmp_path / "bin" / "portrait"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m feature_repo.cli "$@"\n')
    command.chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PORTRAIT_", "MLFLOW_"))}
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=tmp_path,
        env={
            **environment,
            "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": path,
            "PORTRAIT_HOME": str(tmp_path / "home"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = [" ".join(line.split()) for line in re.sub(r"[\d.]+ s\b", "# s", done.stdout).splitlines()]
    for line in re.sub(r"[\d.]+ s\b", "# s", shown).splitlines():
        assert line.strip() == "..." or " ".join(line.split()) in printed, line
