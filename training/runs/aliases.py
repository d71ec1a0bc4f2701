"""Which version answers, and who decided so: the aliases champion and challenger with their history.

Each move of an alias is a tag of the registered model, ``moved/<instant>/<alias>``, so the history is where the aliases
are, and every client of MLflow can read it.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from feature_repo.core.clock import Clock, SystemClock, from_us
from feature_repo.core.locks import locked
from feature_repo.core.mlflow_client import CHAMPION
from feature_repo.core.settings import Settings

CHALLENGER = "challenger"
ROLLBACK = "rollback"
_MOVED = "moved/"


@dataclass(frozen=True)
class Verdict:
    """Whether a new version beats the champion, and why it is judged so; ``passed``: whether its gates hold."""

    beats: bool
    why: str
    passed: bool = True


@dataclass(frozen=True)
class Move:
    """An alias went from one version to another; an empty version is none.

    Attributes
    ----------
    at
        ISO 8601, UTC, to the microsecond.
    by
        Who: the user the process ran as.
    action
        ``train``, ``upload``, ``promote`` or ``rollback``.
    """

    alias: str
    before: str
    after: str
    at: str
    by: str
    action: str
    reason: str


def aliases_of(client: Any, name: str) -> dict[str, str]:
    """Return the aliases of a registered model with the version each names."""
    return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}


def moves(client: Any, name: str) -> list[Move]:
    """Return the moves of a registered model's aliases, oldest first."""
    tags = client.get_registered_model(name).tags
    return [Move(**json.loads(tags[key])) for key in sorted(tags) if key.startswith(_MOVED)]


def previous_champion(history: list[Move], current: str, existing: set[str]) -> str:
    """Return the version to go back to: the champion before this one that still exists; empty without one.

    Going back takes a champion off the end of the line, so that going back twice leads further back, not forth again.

    >>> went = [("", "1", "train"), ("1", "2", "train"), ("2", "3", "promote"), ("3", "2", "rollback")]
    >>> history = [Move("champion", *pair, at="", by="", action=action, reason="") for *pair, action in went]
    >>> previous_champion(history, "2", {"1", "2", "3"}), previous_champion(history[:3], "3", {"1", "3"})
    ('1', '1')
    """
    line: list[str] = []
    for each in history:
        if each.alias == CHAMPION:
            line = _followed(line, each)
    last = max((place for place, version in enumerate(line) if version == current), default=len(line))
    return next((version for version in reversed(line[:last]) if version in existing and version != current), "")


def _followed(line: list[str], made: Move) -> list[str]:
    if made.action == ROLLBACK and made.after in line:
        return line[: len(line) - line[::-1].index(made.after)]
    return [version for version in (*(line or [made.before]), made.after) if version]


def place(
    client: Any, settings: Settings, name: str, version: str, judge: Callable[[Any], Verdict], *, action: str
) -> Verdict:
    """Make a new version champion if it is judged so, else challenger if its gates hold.

    A version that has an alias already is not judged again.
    """
    with alias_lock(settings, name):
        held = [alias for alias, holder in aliases_of(client, name).items() if holder == version]
        if held:
            return Verdict(CHAMPION in held, "it was placed before")
        verdict = judge(client)
        if verdict.passed:
            alias = CHAMPION if verdict.beats else CHALLENGER
            move(client, name, alias, version, action=action, reason=verdict.why)
        if verdict.beats:
            move(client, name, CHALLENGER, "", action=action, reason=f"version {version} is champion")
    return verdict


def alias_lock(settings: Settings, name: str) -> Any:
    """Hold the aliases of a model against other processes of this home."""
    return locked(settings.home / "run" / f"aliases-{name}.lock")


def move(
    client: Any, name: str, alias: str, version: str, *, action: str, reason: str, clock: Clock | None = None
) -> Move:
    """Move an alias to a version, or take it away (an empty version), and write down who did; twice is once."""
    before = aliases_of(client, name).get(alias, "")
    at = _free_instant(client, name, alias, (clock or SystemClock()).now_us())
    moved = Move(alias, before, version, at, _user(), action, reason)
    if before == version:
        return moved
    # First the note: a move that was cut off is one that is written down and did not happen, and can be repeated.
    client.set_registered_model_tag(name, f"{_MOVED}{at}/{alias}", json.dumps(asdict(moved)))
    if version:
        client.set_registered_model_alias(name, alias, version)
    else:
        client.delete_registered_model_alias(name, alias)
    return moved


def _free_instant(client: Any, name: str, alias: str, now: int) -> str:
    tags = client.get_registered_model(name).tags
    while f"{_MOVED}{_instant(now)}/{alias}" in tags:
        now += 1
    return _instant(now)


def _instant(at_us: int) -> str:
    return f"{from_us(at_us):%Y-%m-%dT%H:%M:%S.%fZ}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "unknown"
