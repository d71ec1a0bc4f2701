"""What other packages do in a refresh, after the models: found by entry points, as training knows none of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from feature_repo.core.clock import Clock
from feature_repo.core.contributions import contributions
from feature_repo.core.errors import PortraitError
from feature_repo.core.settings import Settings

# Entry points of functions (settings, clock, dry_run=...) -> what was done, in a sentence. They run in the order of
# their declarations: what one writes, the next may read.
GROUP = "portrait.refresh"

Step = Callable[..., str]


@dataclass(frozen=True)
class StepRefresh:
    """What became of one step.

    Attributes
    ----------
    step
        Name of the entry point.
    done
        What was done, or why it failed, in a sentence.
    needs_look
        Whether it failed.
    seconds
        Time it took.
    """

    step: str
    done: str
    needs_look: bool = False
    seconds: float = 0.0


def contributed_steps() -> dict[str, Step]:
    """Return the steps of all packages by name."""
    return {entry.name: entry.load() for entry in contributions(GROUP)}


def run_steps(steps: Mapping[str, Step], settings: Settings, clock: Clock, *, dry_run: bool) -> tuple[StepRefresh, ...]:
    """Run steps; one that fails does not keep the others from it."""
    return tuple(_run(name, step, settings, clock, dry_run=dry_run) for name, step in steps.items())


def _run(name: str, step: Step, settings: Settings, clock: Clock, *, dry_run: bool) -> StepRefresh:
    started = time.monotonic()
    try:
        done, failed = step(settings, clock, dry_run=dry_run), False
    except PortraitError as error:
        done, failed = error.what, True
    except Exception as error:  # noqa: BLE001 - a fault in one step must not keep the others from their turn
        # Messages of other libraries may quote what a row holds, and a report goes to many.
        done, failed = f"{type(error).__name__}; its own command says more.", True
    return StepRefresh(name, done, failed, time.monotonic() - started)
