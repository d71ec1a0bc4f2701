"""What the registry holds, as people and scripts ask for it: versions, one version, two compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from feature_repo.core.clock import from_us
from feature_repo.core.errors import DataError, DeclarationError, PortraitError
from feature_repo.core.settings import Settings
from training.data.dataset import Dataset, dataset
from training.evaluation.comparison import better, paired_differences, scores_on_test, values
from training.registry.challenge import QUESTION, has_seen, incomparable, question_of
from training.registry.pending import pending
from training.registry.register import read_report
from training.runs.aliases import Move, aliases_of, moves
from training.runs.tracking import tracking
from training.runs.version import Version, current_contract, find_version
from training.task import find_task

_ENDS = ("_low", "_high")

Figures = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class VersionFacts:
    """A version in a list.

    Attributes
    ----------
    aliases
        ``champion``, ``challenger``.
    gates
        ``passed`` or ``failed``; empty if it does not say.
    despite_gates
        Why it was promoted all the same.
    trained_until, created_at
        ISO 8601, UTC.
    metrics
        Metric -> ``value``, ``low``, ``high``; the ends are null where none were logged.
    definitions
        ``valid``, ``changed``, or ``none`` for a version that reads no feature service.
    changed
        The features it reads that the registry defines otherwise, or lacks.
    """

    version: str
    aliases: list[str]
    gates: str
    despite_gates: str
    trained_until: str
    created_at: str
    run_id: str
    metrics: Figures
    definitions: str
    changed: list[str]


@dataclass(frozen=True)
class RegistryReport:
    """Every version by its model, the newest first; and the kept runs that wait for MLflow."""

    tasks: dict[str, list[VersionFacts]]
    pending: list[str]


@dataclass(frozen=True)
class ModelDetails:
    """One version with everything about it.

    Attributes
    ----------
    facts
        As in a list.
    report
        Of its training: gates with what was measured, baselines, slices, rows; empty if its run has none.
    params, tags
        Of its run, and of the version.
    moves
        Of the aliases that concern it, oldest first.
    card
        The model card, in Markdown.
    """

    task: str
    facts: VersionFacts
    report: Mapping[str, Any] = field(repr=False)
    params: Mapping[str, str] = field(repr=False)
    tags: Mapping[str, str] = field(repr=False)
    moves: list[Move]
    card: str = field(repr=False)


@dataclass(frozen=True)
class Compared:
    """A metric of two versions; ``difference`` is ``a`` less ``b``, ``better`` the name of one or empty."""

    a: float | None
    b: float | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    better: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two versions of one task, metric by metric.

    Attributes
    ----------
    paired
        Whether both were scored on the same rows: the test rows of the later one. Otherwise each figure is of the
        version's own test rows, and their difference means little.
    reason
        Why not, or what to know of the rows.
    rows
        How many both were scored on.
    """

    a: str
    b: str
    paired: bool
    reason: str
    rows: int
    metrics: dict[str, Compared]


def list_versions(settings: Settings, task: str | None = None) -> RegistryReport:
    """Return every version of one model, or of all.

    Raises
    ------
    DataError
        There is no such model.
    StoreUnavailableError
        MLflow does not answer.
    """
    contracts: dict[str, Any] = {}
    with tracking(settings) as client:
        known = sorted(each.name for each in client.search_registered_models())
        if task is not None and task not in known:
            find_version(client, settings, task, "1")
        found = {}
        for name in known if task is None else [task]:
            aliases = aliases_of(client, name)
            versions = sorted(client.search_model_versions(f"name = '{name}'"), key=lambda each: -int(each.version))
            # A search returns no aliases and may return no tags: each version is asked for.
            whole = [find_version(client, settings, name, str(each.version)) for each in versions]
            found[name] = [_facts(each, aliases, contracts) for each in whole]
    return RegistryReport(found, [path.name for path in pending(settings)])


def show_version(settings: Settings, task: str, asked: str) -> ModelDetails:
    """Return one version, by its number or an alias.

    Raises
    ------
    DataError
        There is none.
    StoreUnavailableError
        MLflow does not answer.
    """
    with tracking(settings) as client:
        version = find_version(client, settings, task, asked)
        run = client.get_run(version.found.run_id)
        history = [each for each in moves(client, task) if version.number in (each.before, each.after)]
        return ModelDetails(
            task=task,
            facts=_facts(version, aliases_of(client, task), {}),
            report=read_report(settings, run.info.run_id),
            params=run.data.params,
            tags=version.tags,
            moves=history,
            card=run.data.tags.get("mlflow.note.content", ""),
        )


def compare(settings: Settings, one: str, other: str) -> Comparison:
    """Compare two versions of a task, each ``<task>@<version>``, a number or an alias.

    Both are scored on the test rows of the later one, built again from the log, where both can score them as serving
    would and neither was fitted on answers of them.

    Raises
    ------
    DataError
        One is no version, or they are of two tasks.
    StoreUnavailableError
        MLflow does not answer.
    """
    with tracking(settings) as client:
        a, b = (_asked(client, settings, each) for each in (one, other))
        if a.task != b.task:
            raise DataError(f"{a.name} and {b.name} answer different tasks.", hint="compare two versions of one task.")
        later = max(a, b, key=lambda each: (each.trained_until, int(each.number)))
        data, reason = _rows_for(a, b, later, settings)
        if data is None:
            return Comparison(a.name, b.name, False, reason, 0, _side_by_side(client, a, b))
        scores = [scores_on_test(each.scorer, data) for each in (a, b)]
    (ours, theirs), differences = (
        (values(each, data) for each in scores),
        paired_differences(scores[0], scores[1], data),
    )
    names = {True: a.name, False: b.name}
    metrics = {
        name: Compared(ours[name], theirs[name], gap.value, gap.low, gap.high, better(name, gap, names))
        for name, gap in differences.items()
    }
    return Comparison(a.name, b.name, True, reason, int(data.test.sum()), metrics)


def _asked(client: Any, settings: Settings, name: str) -> Version:
    task, at, version = name.partition("@")
    if not at:
        raise DataError(f"'{name}' names no version.", hint=f"write {name}@3, or {name}@champion.")
    return find_version(client, settings, task, version)


def _rows_for(a: Version, b: Version, later: Version, settings: Settings) -> tuple[Dataset | None, str]:
    """Return the later one's rows and what to know of them, or none and why both cannot be scored on them."""
    questions = {each.tags[QUESTION] for each in (a, b) if QUESTION in each.tags}  # older versions do not say
    if len(questions) > 1:
        return None, "they answer different questions: the label was declared anew between them"
    try:
        data = rows_of(later, settings)
    except PortraitError as error:
        return None, f"the rows of {later.name} cannot be built: {error.what}"
    for each in (a, b):
        if unfit := incomparable(each, data):
            return None, unfit
        if has_seen(each, data):
            return None, f"{each.name} was fitted on answers of the test rows of {later.name}"
    start = f"test rows of {later.name}, from {from_us(data.split.cut):%Y-%m-%d} on"
    same = data.fingerprint == later.tags.get("data_fingerprint")
    return data, start if same else f"{start}; not all of them are as they were when it was trained"


def rows_of(version: Version, settings: Settings) -> Dataset:
    """Return the rows of a version, built again from the log as it was.

    Raises
    ------
    DeclarationError
        The task asks something else now, or is not declared any more.
    """
    task = find_task(version.task)
    if version.tags.get(QUESTION, question_of(task)) != question_of(task):
        raise DeclarationError(f"task '{task.name}' asks something else now.", hint="compare versions of one question.")
    return dataset(task, settings, versions=json.loads(version.tags["log_versions"]))


def _facts(version: Version, aliases: Mapping[str, str], contracts: dict[str, Any]) -> VersionFacts:
    definitions, changed = _definitions(version, contracts)
    return VersionFacts(
        version=version.number,
        aliases=sorted(alias for alias, number in aliases.items() if number == version.number),
        gates=version.tags.get("gates", ""),
        despite_gates=version.tags.get("despite_gates", ""),
        trained_until=version.trained_until,
        created_at=f"{from_us(version.found.creation_timestamp * 1000):%Y-%m-%dT%H:%M:%SZ}",
        run_id=version.found.run_id,
        metrics=_figures(version.client, version.found.run_id),
        definitions=definitions,
        changed=changed,
    )


def _definitions(version: Version, contracts: dict[str, Any]) -> tuple[str, list[str]]:
    service = version.tags.get("feature_service")
    if service is None:
        return "none", []
    if service not in contracts:
        contracts[service] = current_contract(service)
    changed = version.changed(contracts[service] or {})
    return ("changed" if changed else "valid"), changed


def _figures(client: Any, run_id: str) -> Figures:
    """Return the metrics of the model itself, from a run that logged those of baselines and slices under ``/`` too."""
    logged = client.get_run(run_id).data.metrics
    own = [name for name in logged if "/" not in name and not name.endswith(_ENDS)]
    return {name: {"value": logged[name], **{end.strip("_"): logged.get(name + end) for end in _ENDS}} for name in own}


def _side_by_side(client: Any, a: Version, b: Version) -> dict[str, Compared]:
    one, other = (_figures(client, each.found.run_id) for each in (a, b))
    return {name: Compared(one[name]["value"], other[name]["value"]) for name in one if name in other}
