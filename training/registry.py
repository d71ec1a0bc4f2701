"""Writes a trained model into MLflow's registry with everything serving and auditors need, and promotes it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.core.console import to_json
from feature_repo.core.mlflow_client import CHAMPION, champion_of
from feature_repo.core.settings import Settings, load_settings
from feature_repo.engine.contract import fingerprint
from training import scorer
from training.card import model_card
from training.datasets import SPLIT, Dataset, dataset
from training.evaluate import Evaluation
from training.labels import AT
from training.pictures import draw_calibration, draw_contributions, draw_importance
from training.reference import QUANTILES, summary
from training.task import KNOWN_AT, LABEL, Task, as_task
from training.tracking import experiment_id, tracking
from training.trained import Trained

REPORT = "report.json"
_RUNTIME = ("mlflow", "numpy", "pandas", "xgboost")


@dataclass(frozen=True)
class Registered:
    """Where a model went.

    Attributes
    ----------
    version
        Of the registered model named after the task.
    run_id
        MLflow run with the parameters, metrics and artifacts.
    promoted
        Whether it is the champion now.
    """

    version: str
    run_id: str
    promoted: bool


def register(trained: Trained, settings: Settings) -> Registered:
    """Log a run, register the model as a new version of the task's name, and make it champion if every gate holds.

    Without every gate the version stays, without the alias; a champion of before stays champion.

    Raises
    ------
    StoreUnavailableError
        MLflow does not answer.
    """
    task = trained.data.task
    with tracking(settings) as client, TemporaryDirectory() as folder:
        import mlflow  # noqa: PLC0415 - seconds

        with mlflow.start_run(
            experiment_id=experiment_id(client, settings, task.name), run_name=task.name, nested=True
        ) as run:
            mlflow.log_params(_params(trained))
            mlflow.log_metrics(dict(_metrics(trained)))
            mlflow.set_tags({"mlflow.note.content": model_card(trained), "task": task.name})
            mlflow.log_artifacts(str(_write_run(trained, Path(folder) / "run")))
            logged = _log_model(trained, _write_model(trained, Path(folder) / "model"))
        new = _create_version(client, trained, logged.model_uri, run.info.run_id)
    return Registered(new, run.info.run_id, trained.holds)


def up_to_date(task: Task | str, data: Dataset | None = None, settings: Settings | None = None) -> Any | None:
    """Return the champion (an MLflow ``ModelVersion``) if training again could only give the same model, else None.

    The same means: the same rows, the same definitions of the features, and the same declaration of the task.

    Parameters
    ----------
    task
        A task, or its name.
    data
        The task's rows, if they are at hand; they are built otherwise.

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
    same = champion is not None and all(champion.tags.get(name) == value for name, value in wanted.items())
    return champion if same else None


def attach_report(settings: Settings, run_id: str, report: Mapping[str, Any]) -> None:
    """Keep the report of a training with its run."""
    with tracking(settings) as client:
        client.log_text(run_id, to_json(report), REPORT)


def read_report(settings: Settings, run_id: str) -> dict[str, Any]:
    """Return the report of an earlier training; empty if its run has none."""
    import mlflow  # noqa: PLC0415

    with tracking(settings):
        try:
            return dict(json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/{REPORT}")))
        except (mlflow.MlflowException, OSError, ValueError):
            return {}


def _create_version(client: Any, trained: Trained, uri: str, run_id: str) -> str:
    task = trained.data.task
    if not client.search_registered_models(f"name = '{task.name}'"):
        client.create_registered_model(task.name, description=task.description)
    created = client.create_model_version(
        task.name,
        uri,
        run_id=run_id,
        tags=_tags(trained),
        description=task.description,
        model_id=uri.rpartition("/")[2],
    )
    if trained.holds:
        client.set_registered_model_alias(task.name, CHAMPION, created.version)
    return str(created.version)


def _identity(data: Dataset) -> dict[str, str]:
    return {
        "data_fingerprint": data.fingerprint,
        "definitions": fingerprint(data.contract),
        "task_fingerprint": data.task.fingerprint,
    }


def _tags(trained: Trained) -> dict[str, str]:
    data = trained.data
    until = data.frame.loc[data.train, KNOWN_AT].max()
    return {
        **_identity(data),
        "feature_service": data.task.service,
        "feature_refs": json.dumps(data.features),
        "objective": data.task.objective,
        "context": json.dumps([asdict(each) for each in data.task.context]),
        "log_versions": json.dumps(data.log_versions),
        "trained_until": f"{until:%Y-%m-%dT%H:%M:%SZ}",
        "gates": "passed" if trained.holds else "failed",
    }


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
        "rows_train": int(trained.data.train.sum()),
        "rows_test": int(trained.data.test.sum()),
        "data_fingerprint": trained.data.fingerprint,
    }


def _metrics(trained: Trained) -> Iterator[tuple[str, float]]:
    yield from _named("", trained.evaluation)
    yield from trained.prepared.metrics.items()
    for name, loss in trained.fitted.choice.losses.items():
        yield f"calibration/{name}/logloss", loss
    for name, found in trained.baselines.items():
        yield from _named(f"baseline/{name}/", found)
        yield f"baseline/{name}/seconds", trained.fits[name].seconds
    for name, part in trained.evaluation.slices.items():
        yield from _named(f"slice/{_plain(name)}/", part)


def _named(prefix: str, found: Evaluation) -> Iterator[tuple[str, float]]:
    for name, estimate in found.metrics.items():
        values = {"": estimate.value, "_low": estimate.low, "_high": estimate.high}
        yield from ((f"{prefix}{name}{end}", value) for end, value in values.items() if np.isfinite(value))


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_-. " else "_" for letter in name)


def _write_run(trained: Trained, folder: Path) -> Path:
    """Write the artifacts of the run."""
    folder.mkdir()
    for name, text in _texts(trained).items():
        (folder / name).write_text(text, "utf-8")
    _draw(trained, folder)
    pq.write_table(_entity_rows(trained.data), folder / "entity_rows.parquet")
    return folder


def _write_model(trained: Trained, folder: Path) -> dict[str, str]:
    """Write the artifacts of the model: their paths, by the name the scorer finds them under."""
    folder.mkdir()
    (folder / "head.json").write_text(json.dumps(trained.fitted.head), "utf-8")
    (folder / "contract.json").write_text(json.dumps(trained.data.contract), "utf-8")
    for number, raw in enumerate(trained.fitted.boosters):
        (folder / f"booster_{number:02}.ubj").write_bytes(raw)
    return {path.stem: str(path) for path in sorted(folder.iterdir())}


def _texts(trained: Trained) -> dict[str, str]:
    data = trained.data
    return {
        **trained.prepared.texts,
        "model_card.md": model_card(trained),
        "label.sql": data.task.label.strip() + "\n",
        "contract.json": json.dumps(data.contract, indent=1),
        "reference.json": json.dumps(summary(data.inputs, data.matrix()[data.train]), indent=1),
    }


def _draw(trained: Trained, folder: Path) -> None:
    columns = trained.fitted.scorer().columns
    rows = trained.data.matrix(columns)[trained.data.test]
    name = trained.data.task.name
    draw_calibration({name: trained.evaluation, **_shown(trained)}, folder / "calibration.png")
    draw_importance(columns, trained.contributions, folder / "importance.png")
    draw_contributions(columns, rows, trained.contributions, folder / "contributions.png")


def _shown(trained: Trained) -> dict[str, Evaluation]:
    return {name: trained.baselines[name] for name in trained.data.task.not_worse_than}


def _entity_rows(data: Dataset) -> pa.Table:
    rows = data.to_df()[[*data.keys, AT, LABEL, SPLIT]]
    return pa.Table.from_pandas(rows, preserve_index=False)


def _log_model(trained: Trained, artifacts: dict[str, str]) -> Any:
    import mlflow  # noqa: PLC0415

    example = _example(trained.data, trained.fitted.scorer().columns)
    return mlflow.pyfunc.log_model(
        name=trained.data.task.name,
        python_model=str(Path(scorer.__file__)),
        artifacts=artifacts,
        pip_requirements=[f"{name}=={version(name)}" for name in _RUNTIME],
        signature=_signature(example),
        input_example=example,
        metadata={"feature_service": trained.data.task.service, "definitions": fingerprint(trained.data.contract)},
    )


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
