"""Two trainings of one task in one home take turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from feature_repo.core.settings import Settings
from training.runs.tracking import tracking

pytestmark = [pytest.mark.slow(20), pytest.mark.usefixtures("undrawn")]

SCRIPT = """
import json, sys
from dataclasses import replace
import training
from training.declaring.recipe import Linear, Recipe
sys.stdout.write("ready\\n")
sys.stdout.flush()
sys.stdin.readline()
task = replace(
    training.find_task("redemption"), model=Recipe(linear=Linear(strength=0.03)),
    baselines={}, gates=(), must_beat=(), not_worse_than=(),
)
report = training.train(task, if_changed=True)
print(json.dumps([report.model_version, report.unchanged]))
"""


def started(settings: Settings) -> subprocess.Popen[str]:
    environment = {**os.environ, "PORTRAIT_HOME": str(settings.home), "PORTRAIT_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_of_two_trainings_at_once_the_second_finds_nothing_changed(own_demo: Settings):
    processes = [started(own_demo) for _ in range(2)]
    found: list[Any] = []
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        found.append(json.loads(said))
    assert sorted(found) == [["1", False], ["1", True]]
    with tracking(own_demo) as client:
        assert len(client.search_model_versions("name = 'redemption'")) == 1
