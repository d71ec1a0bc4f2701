"""Builds the rows of a run again, fits again, and says whether both come out the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from feature_repo.core.clock import delta_us, to_us
from feature_repo.core.console import plain
from feature_repo.core.errors import DeclarationError, LogError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.engine.contract import Contract, differences, fingerprint, settings_of
from training.data.dataset import SPLIT, Dataset, dataset, split_rows
from training.data.entity_rows import CONTENT, entity_rows, rows_by_role
from training.data.labels import AT
from training.data.log_views import Versions, head_versions
from training.evaluation.ceiling import ceiling_of
from training.evaluation.study import study
from training.evaluation.trained import Step, Trained, fit_and_measure
from training.preparing.prepare import restored
from training.registry.challenge import named
from training.registry.recorded import Run, read_run
from training.registry.register import run_metrics
from training.runs.version import current_contract
from training.task import LABEL, Task, find_task

TOLERANCE = 1e-6
SAME, ROWS_GONE, DIFFERS = "same", "rows_gone", "differs"


@dataclass(frozen=True)
class Rows:
    """Rows of a run, and those built again.

    Attributes
    ----------
    recorded, rebuilt
        Role -> how many.
    erased
        Rows of people that were erased since: nobody can say which.
    removed
        Rows still listed that the log no longer gives: of events under retention, or asked by an event of somebody
        erased.
    changed
        Rows there that hold other inputs, another answer or another role.
    added
        Rows the run did not have.
    """

    recorded: dict[str, int]
    rebuilt: dict[str, int]
    erased: int
    removed: int
    changed: int
    added: int

    @property
    def gone(self) -> int:
        """Rows that are not there any more."""
        return self.erased + self.removed


@dataclass(frozen=True)
class Metric:
    """A metric as the run logged it, and as it came out now."""

    recorded: float
    rebuilt: float


@dataclass(frozen=True)
class Reproduction:
    """Whether a run came out the same.

    Attributes
    ----------
    outcome
        ``same``: the same rows, and metrics within the tolerance; ``rows_gone``: all rows that are left are the same,
        others are not in the log any more, so that metrics differ; ``differs``: neither.
    fingerprints
        Of the rows, recorded and rebuilt.
    metrics
        Those that the run logged and that came out of the fit again: of the model, of its baselines, and of its study,
        with the origins and permutations it was asked for.
    not_compared
        Those that the run logged and that were not made again: the figures that inputs and parameters were chosen by,
        as what was chosen is fitted again and not chosen again; the study of a run of before it said what it read.
    largest_difference
        Among the metrics.
    """

    task: str
    run_id: str
    outcome: str
    rows: Rows
    fingerprints: tuple[str, str]
    metrics: dict[str, Metric]
    not_compared: tuple[str, ...]
    largest_difference: float
    tolerance: float
    log_versions: Versions
    seconds: float


def reproduce(task: Task | str, run: str, settings: Settings | None = None, *, progress: Step) -> Reproduction:
    """Build the rows of a run from the log at the versions it read, fit again, and compare; nothing is registered.

    Parameters
    ----------
    run
        Id of a run, or ``<task>@<version>`` (a number or an alias).

    Raises
    ------
    DataError
        There is no such run, or it is one of another task.
    DeclarationError
        The task or its features are declared otherwise than for the run; the message says what differs.
    LogError
        A table of the log was replaced by an older one.
    StoreUnavailableError
        MLflow does not answer.
    """
    started, settings = time.monotonic(), settings or load_settings()
    task = find_task(task) if isinstance(task, str) else task
    progress("asking MLflow", 0.0)
    found = read_run(settings, task.name, run)
    check_declared(task, found)
    read = {**(found.studied.log_versions if found.studied else {}), **found.log_versions}
    check_log(read, head_versions(settings, read))
    progress("reading the log", 0.1)
    data = _as_split(dataset(task, settings, versions=found.log_versions), found)
    rows = compare_rows(found, data)
    rebuilt = run_metrics(_trained(found, data, settings, progress))
    metrics = {name: Metric(found.metrics[name], value) for name, value in rebuilt.items() if name in found.metrics}
    largest = max((abs(each.rebuilt - each.recorded) for each in metrics.values()), default=0.0)
    fingerprints = (found.tags.get("data_fingerprint", ""), data.fingerprint)
    return Reproduction(
        task=task.name,
        run_id=found.run_id,
        outcome=outcome_of(rows, fingerprints, largest),
        rows=rows,
        fingerprints=fingerprints,
        metrics=metrics,
        not_compared=tuple(sorted(found.metrics.keys() - rebuilt.keys())),
        largest_difference=largest,
        tolerance=TOLERANCE,
        log_versions=found.log_versions,
        seconds=time.monotonic() - started,
    )


def _trained(run: Run, data: Dataset, settings: Settings, progress: Step) -> Trained:
    """Fit and measure as the run did, with its threads and its study; nothing is chosen again."""
    threads = int(run.params.get("threads", settings.threads))
    then = settings.model_copy(update={"threads": threads})
    trained = fit_and_measure(
        data,
        threads=threads,
        step=lambda what, done: progress(what, 0.2 + 0.5 * done),
        ceiling=ceiling_of(data, settings),
        prepared=restored(run.prepared, data, then) if run.prepared else None,
    )
    if run.studied is None:
        return trained
    progress("studying the model", 0.7)
    found = study(
        data,
        trained.fitted,
        then,
        extras=run.studied.extras,
        recipe=trained.recipe,
        threads=threads,
        versions=run.studied.log_versions,
    )
    return replace(trained, study=found)


def outcome_of(rows: Rows, fingerprints: tuple[str, str], largest: float) -> str:
    """Name what came out.

    >>> rows = Rows({"train": 2}, {"train": 2}, erased=0, removed=0, changed=0, added=0)
    >>> outcome_of(rows, ("a", "a"), 0.0), outcome_of(rows, ("a", "a"), 0.1), outcome_of(rows, ("a", "b"), 0.0)
    ('same', 'differs', 'differs')
    """
    if rows.changed or rows.added:
        return DIFFERS
    if rows.gone:
        return ROWS_GONE
    return SAME if fingerprints[0] == fingerprints[1] and largest <= TOLERANCE else DIFFERS


def check_declared(task: Task, run: Run, contract_of: Callable[[str], Contract | None] = current_contract) -> None:
    """Refuse a run whose task or features are declared otherwise now.

    Raises
    ------
    DeclarationError
        The message names the fields of the task, or the features and settings, that differ.
    """
    if run.tags.get("task_fingerprint") != task.fingerprint:
        fields = list(changed_fields(run.declared, plain(task))) if run.declared else []
        raise DeclarationError(
            f"Task '{task.name}' is declared otherwise than for run {run.run_id}"
            f"{': ' + named(fields, 5) + (' differs.' if len(fields) == 1 else ' differ.') if fields else '.'}",
            hint="check out the code of that run; its declaration is the artifact task.json.",
        )
    current = contract_of(task.service)
    changed = sorted({*differences(run.contract, current or {}), *((current or {}).keys() - run.contract.keys())})
    if changed or fingerprint(current or {}) != run.tags["definitions"]:
        said = _settings_said(run.contract, current or {}, changed)
        raise DeclarationError(
            f"Features of run {run.run_id} are defined otherwise in the registry: {named(changed, 5)}.{said}",
            hint="apply the definitions of that run (`portrait features apply`); they are its artifact contract.json.",
        )


def _settings_said(then: Contract, now: Contract, changed: list[str]) -> str:
    pairs = [(settings_of(then.get(name, "")), settings_of(now.get(name, ""))) for name in changed]
    told = {name: (value, here.get(name)) for before, here in pairs for name, value in before.items()}
    return "".join(f" {name} was {old}, and is {new}." for name, (old, new) in told.items() if new and new != old)


def changed_fields(then: Any, now: Any, prefix: str = "") -> Iterator[str]:
    """Return dotted names of what differs between two declarations.

    >>> list(changed_fields({"model": {"linear": {"strength": 1}}, "name": "a"}, {"model": None, "name": "b"}))
    ['model', 'name']
    """
    if not (isinstance(then, dict) and isinstance(now, dict)):
        if then != now:
            yield prefix
        return
    for name in sorted(then.keys() | now.keys()):
        yield from changed_fields(then.get(name), now.get(name), f"{prefix}.{name}".lstrip("."))


def check_log(read: Versions, heads: Versions) -> None:
    """Refuse a log that is older than what the run read.

    Raises
    ------
    LogError
        The message names the tables.

    >>> check_log({"purchase": 3}, {"purchase": 4})
    """
    behind = [name for name, version in read.items() if heads[name] < version]
    if behind:
        raise LogError(
            f"The log holds less of {named(behind)} than the run read.",
            hint="restore the log of that time; a recreated table counts its versions from 0.",
        )


def _as_split(data: Dataset, run: Run) -> Dataset:
    """Split where the run did: the last event of the log, which the split counts from, may have been erased since."""
    then = run.tags.get("measured_from")
    if then is None or to_us(pd.Timestamp(then).to_pydatetime()) == data.split.cut:
        return data
    cut = to_us(pd.Timestamp(then).to_pydatetime())
    return replace(data, split=split_rows(data.task, data.frame, cut + delta_us(data.task.holdout)))


def compare_rows(run: Run, data: Dataset) -> Rows:
    """Compare the rows a run lists with those built again."""
    rebuilt = rows_by_role(data)
    recorded = {role: int(run.params.get(f"rows_{role}", (run.rows[SPLIT] == role).sum())) for role in rebuilt}
    here = entity_rows(data).to_pandas()
    whole = [name for name in (*data.keys, AT, LABEL, SPLIT, CONTENT) if name in run.rows.columns]
    lost, found = _unmatched(run.rows[whole], here[whole])
    identity = [*data.keys, AT]
    changed = _in_both(lost, found, identity)
    return Rows(
        recorded,
        rebuilt,
        erased=sum(recorded.values()) - len(run.rows),
        removed=int(lost.sum()) - changed,
        changed=changed,
        added=int(found.sum()) - changed,
    )


def _unmatched(one: pd.DataFrame, other: pd.DataFrame) -> tuple[pd.Series[int], pd.Series[int]]:
    """How often each row is in one table more often than in the other, and the other way round."""
    columns = list(one.columns)
    more = one.groupby(columns).size().sub(other.groupby(columns).size(), fill_value=0)
    return more[more > 0].astype(int), -more[more < 0].astype(int)


def _in_both(lost: pd.Series[int], found: pd.Series[int], identity: list[str]) -> int:
    pairs = [each.groupby(level=identity).sum() for each in (lost, found)]
    return int(pd.concat(pairs, axis=1, join="inner").min(axis=1).sum())
