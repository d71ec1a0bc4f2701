"""Writes a trained model into MLflow's registry with everything serving and auditors need, and promotes it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from feature_repo.candidates.proposals import SHELF, TASTE
from feature_repo.core.clock import SystemClock, delta_us, from_us
from feature_repo.core.console import to_json
from feature_repo.core.degrading import TAG
from feature_repo.core.mlflow_client import champion_of
from feature_repo.core.settings import Settings, load_settings
from feature_repo.engine.contract import fingerprint
from training import scorer
from training.data.candidates import head_state
from training.data.dataset import Dataset, dataset
from training.data.entity_rows import entity_rows, rows_by_role
from training.evaluation.charts import draw_calibration, draw_contributions, draw_importance
from training.evaluation.evaluate import Evaluation
from training.evaluation.files import write_study
from training.evaluation.study import Study
from training.evaluation.trained import Trained
from training.monitor.references import reference_text
from training.monitor.summary import QUANTILES
from training.registry.bundle import CODE, EXAMPLE, Bundle
from training.registry.challenge import QUESTION, Challenge, question_of
from training.registry.erasure import ENTITY_ROWS
from training.registry.send import send_or_keep
from training.report.card import model_card
from training.runs.registered import REPORT, Registered
from training.runs.tracking import tracking
from training.task import KNOWN_AT, Task, as_task

__all__ = ["Registered", "read_report", "register", "up_to_date"]

TASK, OPTIONS = "task.json", "options"
STUDY = "study"
"""Tag: what was measured besides, and the versions of the log's tables it was read at, as JSON."""

_RUNTIME = ("mlflow", "numpy", "pandas", "xgboost")


def register(trained: Trained, settings: Settings, report: Mapping[str, Any] | None = None) -> Registered:
    """Log a run and register the model as a new version of the task's name.

    It becomes champion if every gate holds and it beats the champion (see
    :class:`training.registry.challenge.Challenge`), and challenger if every gate holds and it does not; otherwise it
    has no alias.

    Parameters
    ----------
    report
        Kept with the run, see :func:`read_report`.

    Raises
    ------
    RunKeptError
        MLflow does not answer, or stopped answering: the run is kept below the home.
    """
    data = trained.data
    challenge = Challenge(data.task, settings, lambda: data, lambda _client: trained.fitted.scorer())
    with TemporaryDirectory() as folder:
        bundle = _bundle(trained, settings, Path(folder), report or {})
        return send_or_keep(bundle, settings, challenge.judge, action="train")


def _bundle(trained: Trained, settings: Settings, folder: Path, report: Mapping[str, Any]) -> Bundle:
    task = trained.data.task
    _write_run(trained, settings, folder / "run")
    _write_model(trained, settings, folder / "model")
    pq.write_table(entity_rows(trained.data), folder / ENTITY_ROWS)
    shutil.copyfile(scorer.__file__, folder / CODE)
    example = _example(trained.data, trained.fitted.scorer().columns)
    example.to_parquet(folder / EXAMPLE)
    bundle = Bundle(
        folder=folder,
        name=task.name,
        description=task.description,
        params=_params(trained) | {"threads": settings.threads},
        metrics=run_metrics(trained),
        tags=_tags(trained),
        note=model_card(trained),
        signature=_signature(example).to_dict(),
        metadata={"feature_service": task.service, "definitions": fingerprint(trained.data.contract)},
        requirements=tuple(f"{name}=={version(name)}" for name in _RUNTIME),
        holds=trained.holds,
        trained_at=SystemClock().now_us() // 1000,
        report=report,
    )
    bundle.write()
    return bundle


def up_to_date(
    task: Task | str, data: Dataset | None = None, settings: Settings | None = None, *, options: str = ""
) -> Any | None:
    """Return the champion (an MLflow ``ModelVersion``) if training again could only give the same model, else None.

    The same means: the same rows, the same definitions of the features, and the same declaration of the task.

    Parameters
    ----------
    task
        A task, or its name.
    data
        The task's rows, if they are at hand; they are built otherwise.
    options
        What the training would be asked besides: a champion that was asked something else is another model.

    Raises
    ------
    DeclarationError
        There is no such task.
    """
    task = as_task(task)
    settings = settings or load_settings()
    data = data or dataset(task, settings)
    with tracking(settings) as client:
        champion = champion_of(client, task.name)
    wanted = _identity(data)
    if champion is None or champion.tags.get(OPTIONS, "") != options:
        return None
    return champion if all(champion.tags.get(name) == value for name, value in wanted.items()) else None


def trained_on(data: Dataset, settings: Settings, *, options: str = "") -> Any | None:
    """Return the latest version, champion or not, trained on the rows, definitions and declaration; None without.

    ``options`` as of :func:`up_to_date`.
    """
    with tracking(settings) as client:
        versions = client.search_model_versions(f"name = '{data.task.name}'")
    wanted = _identity(data).items()
    same = [each for each in versions if wanted <= each.tags.items() and each.tags.get(OPTIONS, "") == options]
    return max(same, key=lambda each: int(each.version), default=None)


def read_report(settings: Settings, run_id: str) -> dict[str, Any]:
    """Return the report of an earlier training; empty if its run has none."""
    import mlflow  # noqa: PLC0415

    with tracking(settings):
        try:
            return dict(json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/{REPORT}")))
        except (mlflow.MlflowException, OSError, ValueError):
            return {}


def _identity(data: Dataset) -> dict[str, str]:
    return {
        "data_fingerprint": data.fingerprint,
        "definitions": fingerprint(data.contract),
        "task_fingerprint": data.task.fingerprint,
    }


def _tags(trained: Trained) -> dict[str, str]:
    data = trained.data
    until, cut = data.frame.loc[data.train, KNOWN_AT].max(), from_us(data.split.cut)
    return {
        **_identity(data),
        "feature_service": data.task.service,
        "feature_refs": json.dumps(data.features),
        "objective": data.task.objective,
        "context": json.dumps([asdict(each) for each in data.task.context]),
        "log_versions": json.dumps(data.log_versions),
        "trained_until": f"{until:%Y-%m-%dT%H:%M:%SZ}",
        "measured_from": f"{cut:%Y-%m-%dT%H:%M:%S.%fZ}",
        "task": data.task.name,
        TAG: data.task.without_redis,
        QUESTION: question_of(data.task),
        "gates": "passed" if trained.holds else "failed",
        OPTIONS: trained.prepared.options.said,
        **_study_tag(trained.study),
    }


def _study_tag(study: Study | None) -> dict[str, str]:
    if study is None:
        return {}
    return {STUDY: json.dumps({**asdict(study.extras), "log_versions": study.log_versions})}


def _params(trained: Trained) -> dict[str, Any]:
    task, recipe = trained.data.task, trained.recipe
    parts = {"linear": recipe.linear, "boosting": recipe.boosting, "copy": recipe.copy}
    flat = {f"{part}.{k}": v for part, value in parts.items() if value for k, v in asdict(value).items()}
    shown = {name: value for name, value in flat.items() if not isinstance(value, tuple) or name == "boosting.seeds"}
    return shown | {
        **trained.prepared.params,
        "calibration": trained.fitted.choice.name,
        "rounds": trained.fitted.rounds,
        "objective": task.objective,
        "service": task.service,
        "holdout_days": task.holdout.days,
        "validation_days": task.validation.days,
        **{f"rows_{role}": count for role, count in rows_by_role(trained.data).items()},
        "data_fingerprint": trained.data.fingerprint,
    }


def run_metrics(trained: Trained) -> dict[str, float]:
    """Return what a run logs as metrics: the model's with their intervals, its baselines', its slices', its study's."""
    return dict(_metrics(trained))


def _metrics(trained: Trained) -> Iterator[tuple[str, float]]:
    if trained.study:  # first: where both measure a slice, a reproduction without a study finds the other's
        yield from trained.study.metrics()
    yield from _named("", trained.evaluation)
    yield from trained.prepared.metrics.items()
    for name, shown in trained.lists.items():
        yield from ((f"lists/{name}/{figure}", value) for figure, value in shown.figures.items() if np.isfinite(value))
    for name, loss in trained.fitted.choice.losses.items():
        yield f"calibration/{name}/logloss", loss
    for name, found in trained.baselines.items():
        yield from _named(f"baseline/{name}/", found)
    for name, part in trained.evaluation.slices.items():
        yield from _named(f"slice/{_plain(name)}/", part)


def _named(prefix: str, found: Evaluation) -> Iterator[tuple[str, float]]:
    for name, estimate in found.metrics.items():
        values = {"": estimate.value, "_low": estimate.low, "_high": estimate.high}
        yield from ((f"{prefix}{name}{end}", value) for end, value in values.items() if np.isfinite(value))


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_-. " else "_" for letter in name)


def _write_run(trained: Trained, settings: Settings, folder: Path) -> None:
    """Write the artifacts of the run."""
    folder.mkdir()
    for name, text in _texts(trained, settings).items():
        (folder / name).write_text(text, "utf-8")
    _draw(trained, folder)
    if trained.study:
        write_study(trained.study, folder, task=trained.data.task)


def _write_model(trained: Trained, settings: Settings, folder: Path) -> None:
    """Write the artifacts of the model; the scorer finds them under their names without the ending."""
    folder.mkdir()
    (folder / "head.json").write_text(json.dumps(trained.fitted.head), "utf-8")
    (folder / "contract.json").write_text(json.dumps(trained.data.contract), "utf-8")
    if trained.data.task.candidates:
        _write_retrieval(trained.data, settings, folder)
    for number, raw in enumerate(trained.fitted.boosters):
        (folder / f"booster_{number:02}.ubj").write_bytes(raw)


def _write_retrieval(data: Dataset, settings: Settings, folder: Path) -> None:
    """Write what proposes the items the model ranks, as of the log's end; of no shopper in particular."""
    end = data.split.cut + delta_us(data.task.holdout)
    taste, shelf = head_state(data.task, settings, versions=data.log_versions, end=end)
    (folder / TASTE).write_bytes(taste.to_bytes())
    (folder / SHELF).write_text(shelf.to_json(), "utf-8")


def _texts(trained: Trained, settings: Settings) -> dict[str, str]:
    data = trained.data
    return {
        **trained.prepared.artifacts,
        "model_card.md": model_card(trained),
        "label.sql": data.task.label.strip() + "\n",
        TASK: to_json(data.task),
        "contract.json": json.dumps(data.contract, indent=1),
        "reference.json": reference_text(data, trained.fitted.scorer(), settings),
    }


def _draw(trained: Trained, folder: Path) -> None:
    columns = trained.fitted.scorer().columns
    name = trained.data.task.name
    if not trained.data.task.candidates:  # an order is not calibrated
        draw_calibration({name: trained.evaluation, **_shown(trained)}, folder / "calibration.png")
    draw_importance(columns, trained.contributions, folder / "importance.png")
    draw_contributions(columns, trained.explained, trained.contributions, folder / "contributions.png")


def _shown(trained: Trained) -> dict[str, Evaluation]:
    return {name: trained.baselines[name] for name in trained.data.task.not_worse_than}


def _example(data: Dataset, columns: tuple[str, ...]) -> pd.DataFrame:
    """Rows no shopper is behind: in each the same decile of every number, and the texts in turn."""
    known = data.frame.loc[data.train, list(columns)]
    texts = {name: _cycled(data.categories[name]) for name in columns if name in data.categories}
    numbers = [name for name in columns if name not in texts]
    deciles = {name: known[name].dropna().quantile(QUANTILES, interpolation="nearest") for name in numbers}
    found = pd.DataFrame({name: texts[name] if name in texts else deciles[name].to_numpy() for name in columns})
    return found.astype({name: known.dtypes[name] for name in numbers})


def _cycled(values: Sequence[str]) -> list[str | None]:
    return list(islice(cycle(values or [None]), len(QUANTILES)))


def _signature(example: pd.DataFrame) -> Any:
    from mlflow.models import ModelSignature  # noqa: PLC0415
    from mlflow.types import ColSpec, Schema, TensorSpec  # noqa: PLC0415

    kinds = {"i": "long", "O": "string"}
    # MLflow takes NaN for a number that is required, and None only for a text that is not.
    columns = [
        ColSpec(kinds.get(kind.kind, "double"), str(name), required=kind.kind != "O")
        for name, kind in example.dtypes.items()
    ]
    inputs = Schema(columns)
    return ModelSignature(inputs, Schema([TensorSpec(np.dtype("float64"), (-1,), "score")]))
