"""Runs benches one after the other, each in a process of its own, and says which fell below its bound."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from feature_repo.bench.bench import Size, bench_entry
from feature_repo.bench.ground import ended_by_sigterm
from feature_repo.core.clock import Clock, from_us
from feature_repo.core.console import Step
from feature_repo.core.errors import PortraitError

_SAID = 400


@dataclass(frozen=True)
class Runs:
    """What benches measured in one go: the shape of ``portrait bench all --json``.

    Attributes
    ----------
    at
        When it was begun, ISO 8601 in UTC.
    size
        Of all of them.
    benches
        The report of each by its name, as ``portrait bench NAME --json`` prints it.
    least
        The bound of each ratio; 0 where there is none.
    failed
        Why a bench gave no report, by its name.
    """

    at: str
    size: str
    benches: Mapping[str, Mapping[str, Any]]
    least: Mapping[str, float]
    failed: Mapping[str, str]

    @property
    def below(self) -> list[str]:
        """Benches whose ratio is less than their bound."""
        return [name for name, report in self.benches.items() if not report["ratio"] >= self.least.get(name, 0.0)]


def run_benches(names: Sequence[str], size: Size, clock: Clock, step: Step) -> Runs:
    """Run benches in turn. One that fails keeps no other from being run.

    A process each: what one leaves in memory would be in the way of the next, and in its peak.

    Raises
    ------
    PortraitError
        There is no bench of a name.
    """
    at = from_us(clock.now_us()).isoformat(timespec="seconds")
    least = {name: bench_entry(name).load().least for name in names}
    benches: dict[str, Mapping[str, Any]] = {}
    failed: dict[str, str] = {}
    with ended_by_sigterm():
        for place, name in enumerate(names):
            step(f"{name} ({place + 1} of {len(names)})", place / len(names))
            try:
                benches[name] = _report(["bench", name, "--size", size.value, "--json"])
            except PortraitError as error:
                failed[name] = error.what
    step("done", 1.0)
    return Runs(at, size.value, benches, least, failed)


def read_runs(text: str) -> Runs:
    """Read what ``portrait bench all --json`` printed.

    Raises
    ------
    PortraitError
        It is something else.
    """
    try:
        found = Runs(**json.loads(text))
        if all(set(report) >= {"ours", "peer", "ratio", "unit"} for report in found.benches.values()):
            return found
    except (TypeError, ValueError, AttributeError):
        pass
    raise PortraitError("This is no report of benches.", hint="make one: `portrait bench all --json > report.json`.")


def _report(arguments: Sequence[str]) -> Mapping[str, Any]:
    """Return what a command prints, in a process that ends with this one."""
    with subprocess.Popen(  # noqa: S603 - names of benches, which are declared
        [sys.executable, "-m", "feature_repo.cli", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            printed, said = child.communicate()
        except BaseException:
            child.terminate()  # it stops its server and removes its home
            child.communicate()
            raise
    try:
        found: dict[str, Any] = json.loads(printed)
    except ValueError:
        raise PortraitError(f"It ended with {child.returncode} and no report: {said[-_SAID:].strip()}") from None
    if "error" in found:
        raise PortraitError(found["error"]["what"])
    return found
