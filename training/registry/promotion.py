"""Decides by hand which version answers: promote one, or go back to the one before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from feature_repo.core.errors import CheckFailedError, DataError, ModelUnavailableError
from feature_repo.core.mlflow_client import CHAMPION
from feature_repo.core.settings import Settings
from training.registry.challenge import named
from training.runs.aliases import CHALLENGER, ROLLBACK, Move, alias_lock, aliases_of, move, moves, previous_champion
from training.runs.tracking import tracking
from training.runs.version import Version, current_contract, find_version

DESPITE_GATES = "despite_gates"

Check: TypeAlias = Callable[[Version], None]
"""Refuses a version that could not answer."""


@dataclass(frozen=True)
class Promotion:
    """Which version answers now, and what moved; nothing if it did before."""

    task: str
    version: str
    before: str
    moved: Move | None


def check_servable(version: Version) -> None:
    """Refuse a version that serving would refuse.

    Raises
    ------
    ModelUnavailableError
        The message names features that mean something else, or that it names no feature service.
    """
    service = version.tags.get("feature_service", "")
    changed = version.changed(current_contract(service) or {})
    if changed or not service:
        what = f"reads features that mean something else in the registry: {named(changed)}" if service else "reads none"
        raise ModelUnavailableError(
            f"{version.name} {what}.",
            hint=f"apply the definitions it was trained on (`portrait features apply`), or run `portrait train "
            f"{version.task}`.",
        )


def promote(
    settings: Settings, task: str, asked: str, *, despite_gates: str = "", check: Check = check_servable
) -> Promotion:
    """Make a version, by its number or an alias, the champion of its task. Serving notices within ten seconds.

    Parameters
    ----------
    despite_gates
        Why it may answer although a gate does not hold; kept as a tag of the version.
    check
        Asked whether the version could answer: of a task unless given, see :mod:`training.models.kinds`.

    Raises
    ------
    CheckFailedError
        A gate does not hold, and no reason is given.
    DataError
        There is no such version.
    ModelUnavailableError
        Its features mean something else in the registry of here: serving would refuse it.
    StoreUnavailableError
        MLflow does not answer.
    """
    with tracking(settings) as client, alias_lock(settings, task):
        version = find_version(client, settings, task, asked)
        failed = version.tags.get("gates") != "passed"
        if failed and not despite_gates:
            raise CheckFailedError(
                f"{version.name} does not pass its gates, see `portrait models show {task} {version.number}`.",
                hint="to let it answer all the same, say why: --despite-gates REASON.",
            )
        check(version)
        if failed:
            client.set_model_version_tag(task, version.number, DESPITE_GATES, despite_gates)
        return _champion(client, version, "promote", despite_gates if failed else "")


def rollback(settings: Settings, task: str, *, check: Check = check_servable) -> Promotion:
    """Make the champion before this one the champion again. Serving notices within ten seconds.

    ``check`` as of :func:`promote`.

    Raises
    ------
    DataError
        There is no such model, or no champion before.
    ModelUnavailableError
        Its features mean something else in the registry of here: serving would refuse it.
    StoreUnavailableError
        MLflow does not answer.
    """
    with tracking(settings) as client, alias_lock(settings, task):
        current = find_version(client, settings, task, CHAMPION)
        existing = {str(each.version) for each in client.search_model_versions(f"name = '{task}'")}
        before = previous_champion(moves(client, task), current.number, existing)
        if not before:
            raise DataError(
                f"No champion of '{task}' before {current.name} is known.",
                hint=f"choose one of `portrait models list {task}` for `portrait models promote {task} VERSION`.",
            )
        version = find_version(client, settings, task, before)
        check(version)
        return _champion(client, version, ROLLBACK, f"back from version {current.number}")


def _champion(client: Any, version: Version, action: str, reason: str) -> Promotion:
    before = aliases_of(client, version.task)
    held = before.get(CHAMPION, "")
    if held == version.number:
        return Promotion(version.task, version.number, held, None)
    moved = move(client, version.task, CHAMPION, version.number, action=action, reason=reason)
    if before.get(CHALLENGER) == version.number:
        move(client, version.task, CHALLENGER, "", action=action, reason=f"version {version.number} is champion")
    return Promotion(version.task, version.number, held, moved)
