"""A task's rows: labels, features at the instant of the question, and what each row serves."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from feast import FeatureStore

from feature_repo.core.clock import delta_us
from feature_repo.core.errors import DeclarationError, did_you_mean
from feature_repo.core.settings import Settings, load_settings
from feature_repo.engine.contract import Contract, service_contract
from feature_repo.engine.feature_store import open_store, quiet_feast
from feature_repo.engine.services import service_views
from training.data.candidates import candidate_rows
from training.data.features import features_at
from training.data.labels import AT, label_rows
from training.data.log_views import Versions, head_versions, tables_in
from training.data.lookahead import check_lookahead
from training.data.split import Mask, Split, split_by_time
from training.declaring.objective import REGRESSION
from training.scorer import matrix_of
from training.task import KNOWN_AT, LABEL, Task, TaskUnavailableError, as_task

Matrix: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[Any]

SPLIT = "split"
SIGNIFICANT_BITS = 24
MOST_CATEGORIES = 200  # rarer values of a text are NULL to a model


@dataclass(frozen=True, eq=False)
class Dataset:
    """Point-in-time correct rows of one task.

    Rows are ordered by instant and then by content, never by the shopper's pseudonym: another home, with another key,
    has them in the same order and fits the same model.

    Attributes
    ----------
    task
        What was asked.
    frame
        One row per observation: join key, ``event_timestamp``, ``known_at`` (UTC microseconds), ``label``, the
        columns of the label query, then the features under their full names. NULL is NaN.
    key
        Join key column of the task's entity.
    others
        Join key columns of its other entities.
    features
        Full feature names, in the service's order.
    contract
        What each feature means, see :mod:`feature_repo.engine.contract`.
    log_versions
        Table -> version everything was read at.
    split
        What each row serves.
    fingerprint
        Sixteen hex digits of the rows' content and roles, whatever their order; floats to six digits, as sums of
        floats differ in the last ones from run to run.
    """

    task: Task
    frame: pd.DataFrame = field(repr=False)
    key: str
    features: tuple[str, ...]
    contract: Contract = field(repr=False)
    log_versions: Versions
    split: Split = field(repr=False)
    fingerprint: str
    others: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Join key columns."""
        return (self.key, *self.others)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns a model may read: the features, then the context."""
        return (*self.features, *self.task.context_names)

    @property
    def train(self) -> Mask:
        """Rows to fit on."""
        return self.split.train

    @property
    def valid(self) -> Mask:
        """The last rows of training: rounds and calibration are chosen on them."""
        return self.split.valid

    @property
    def test(self) -> Mask:
        """Rows to measure on."""
        return self.split.test

    @property
    def labels(self) -> Labels:
        """The answers: int64, 0 or 1; float64 of a regression."""
        if self.task.objective != REGRESSION:
            return np.asarray(self.frame[LABEL], np.int64)
        return np.asarray(self.frame[LABEL], np.float64)

    @cached_property
    def groups(self) -> npt.NDArray[np.int64] | None:
        """Number of the group each row is ranked in; None if rows are not ranked."""
        groups = self.task.groups
        return np.asarray(self.frame.groupby(list(groups), sort=False).ngroup(), np.int64) if groups else None

    @cached_property
    def categories(self) -> dict[str, tuple[str, ...]]:
        """Inputs that are texts, each with its values in the training rows, the most frequent first.

        The place in this list is the number a model reads; it is stored with the model. NULL, a value of no training
        row and one beyond the first ``MOST_CATEGORIES`` are NaN.
        """
        train = self.frame.loc[self.train]
        return {name: _most_frequent(train[name]) for name in self.inputs if is_text(self.frame[name])}

    def matrix(self, columns: tuple[str, ...] = ()) -> Matrix:
        """Return model inputs as ``float64[rows, columns]``, NULL as NaN; every input unless columns are named.

        Texts are the numbers of :attr:`categories`.

        Raises
        ------
        DeclarationError
            A column is no input of the task.
        """
        for column in columns:
            if column not in self.inputs:
                raise DeclarationError(
                    f"Task '{self.task.name}' has no input '{column}'.", hint=did_you_mean(column, self.inputs)
                )
        return matrix_of(self.frame, columns or self.inputs, self.categories)

    def matrix_for(self, scorer: Any) -> Matrix:
        """Return the inputs of a scorer of any dataset: its columns, and texts by the numbers it gives them itself."""
        return matrix_of(self.frame, scorer.columns, getattr(scorer, "categories", {}))

    def to_df(self) -> pd.DataFrame:
        """Return the rows with their role (``split``: train, test or embargo) as pandas."""
        return self.frame.assign(**{SPLIT: self.split.roles})

    def to_arrow(self) -> pa.Table:
        """Return the same as an Arrow table."""
        return pa.Table.from_pandas(self.to_df(), preserve_index=False)


def dataset(task: Task | str, settings: Settings | None = None, *, versions: Versions | None = None) -> Dataset:
    """Build the rows of a task from the log.

    Parameters
    ----------
    task
        A task, or its name.
    settings
        Bounds of threads and memory; their home is the one ``PORTRAIT_HOME`` names.
    versions
        Versions of the tables to read up to, for instance those a model was trained on; the heads unless given.

    Raises
    ------
    LogError
        A table of the log is missing or damaged.
    TaskUnavailableError
        The log cannot support the task; the message says what is missing.
    DeclarationError
        There is no such task; the task, its service or its label query contradict themselves or the registry; or the
        query looks ahead.

    Examples
    --------
    ``training.dataset("redemption").to_df()``
    """
    task = as_task(task)
    settings = settings or load_settings()
    with quiet_feast():
        store = open_store()
        contract, views = service_contract(store, task.service), service_views(store, task.service)
        key, *others = _join_keys(store, task)
    pinned = versions or head_versions(settings, views.tables | tables_in(task.label) | {task.pulse})
    asked = [] if task.candidates else others
    found = label_rows(task, settings, versions=pinned, key=key, others=asked)
    check_lookahead(task, settings, found, versions=pinned, keys=(key, *asked))
    rows = candidate_rows(task, settings, found, versions=pinned) if task.candidates else found.rows
    frame = features_at(views, rows, versions=pinned, settings=settings)
    _check_inputs(task, frame, views.names)
    split = split_rows(task, frame, found.log_end)
    content = _content_hash(frame, split, [*views.names, *task.context_names], others, found.log_end)
    order = _order(frame, key, content)
    frame = frame.iloc[order].reset_index(drop=True)
    return Dataset(
        task=task,
        frame=frame,
        key=key,
        features=views.names,
        contract=contract,
        log_versions=pinned,
        split=split_rows(task, frame, found.log_end),
        fingerprint=_fingerprint(content[order], frame[key]),
        others=tuple(others),
    )


def _join_keys(store: FeatureStore, task: Task) -> list[str]:
    known = {entity.name: str(entity.join_key) for entity in store.list_entities()}
    for name in (task.entity, *task.others):
        if name not in known:
            raise DeclarationError(f"Task '{task.name}' is about '{name}'.", hint=did_you_mean(name, known))
    return [known[name] for name in (task.entity, *task.others)]


def _check_inputs(task: Task, frame: pd.DataFrame, features: tuple[str, ...]) -> None:
    inputs = (*features, *task.context_names)
    for recipe in (task.model, *task.all_baselines.values()):
        for name in recipe.named_inputs:
            if name not in inputs:
                raise DeclarationError(f"Task '{task.name}' reads '{name}'.", hint=did_you_mean(name, inputs))
    said = [name for name in task.context_names if is_text(frame[name])]
    if said:
        raise DeclarationError(
            f"Task '{task.name}' has context {', '.join(said)} of texts, which no caller can pass.",
            hint="make it a number in the label query, 1 or 0 for each text that matters.",
        )
    numbers = [name for name in inputs if not is_text(frame[name])]
    infinite = [name for name in numbers if np.isinf(frame[name].to_numpy(np.float64, na_value=np.nan)).any()]
    if infinite:
        raise DeclarationError(
            f"Inputs {', '.join(infinite)} are infinite in some rows.",
            hint="a sum of events past 1.8e308 overflowed: correct their amounts; or a ratio was taken over zero: make "
            "it NULL, divide by `below.where(below != 0)`.",
        )


def split_rows(task: Task, frame: pd.DataFrame, log_end: int) -> Split:
    """Split a task's rows by time, up to the log's end (microseconds).

    Raises
    ------
    TaskUnavailableError
        A part of them has not both answers.
    """
    split = split_by_time(
        _instants(frame, AT),
        _instants(frame, KNOWN_AT),
        end=log_end,
        holdout=delta_us(task.holdout),
        validation=delta_us(task.validation),
    )
    labels = frame[LABEL].to_numpy()
    for name in ("fit", "valid", "test"):
        if len(set(labels[getattr(split, name)])) < 2:  # noqa: PLR2004 - both answers
            raise TaskUnavailableError(
                f"Task '{task.name}' has no {name} rows with both answers in this log.",
                hint=f"it needs answers in the last {task.holdout.days} days of the log, and history well before.",
            )
    return split


def _instants(frame: pd.DataFrame, column: str) -> npt.NDArray[np.int64]:
    return np.asarray(frame[column].dt.as_unit("us").astype(np.int64))


def _content_hash(
    frame: pd.DataFrame, split: Split, inputs: list[str], others: list[str], log_end: int
) -> npt.NDArray[np.uint64]:
    """Hash each row without its shopper, its instant relative to the log's end: the same wherever it is imported."""
    content: dict[str, npt.NDArray[Any]]
    content = {name: _content(frame[name]) for name in inputs}
    content |= {name: log_end - _instants(frame, name) for name in (AT, KNOWN_AT)}
    labels = frame[LABEL].to_numpy()
    content |= {name: frame[name].to_numpy() for name in others}
    content[LABEL] = _rounded(labels) if labels.dtype.kind == "f" else labels
    content[SPLIT] = 2 * split.train + split.test + 4 * split.valid
    return np.asarray(pd.util.hash_pandas_object(pd.DataFrame(content), index=False), np.uint64)


def _order(frame: pd.DataFrame, key: str, content: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """By instant and content; rows alike by all their shopper's rows, so that shoppers too come in one order."""
    codes, shoppers = pd.factorize(frame[key].to_numpy())
    history = np.zeros(len(shoppers), np.uint64)
    np.add.at(history, codes, content)
    return np.lexsort((frame[key], history[codes], content, frame[AT]))


def is_text(column: pd.Series[Any]) -> bool:
    """Whether a column of a dataset holds texts."""
    return column.dtype == object or isinstance(column.dtype, pd.StringDtype)


def _most_frequent(column: pd.Series[Any]) -> tuple[str, ...]:
    counts = column.dropna().value_counts()
    order = sorted(counts.index, key=lambda value: (-counts[value], value))
    return tuple(order[:MOST_CATEGORIES])


def _content(column: pd.Series[Any]) -> npt.NDArray[Any]:
    if is_text(column):
        return np.array([None if pd.isna(value) else value for value in column], object)
    return _rounded(column.to_numpy(np.float64, na_value=np.nan))


def _rounded(values: Matrix) -> Matrix:
    # In binary: a sum of prices is often half-way between two decimals, where the noise of its last bits decides.
    mantissa, exponent = np.frexp(values)
    rounded: Matrix = np.ldexp(np.round(mantissa * (1 << SIGNIFICANT_BITS)), exponent - SIGNIFICANT_BITS)
    return rounded


def _fingerprint(content: npt.NDArray[np.uint64], keys: pd.Series[str]) -> str:
    rows = pd.util.hash_pandas_object(pd.DataFrame({"content": content, "key": keys.to_numpy()}), index=False)
    return hashlib.sha256(np.sort(rows.to_numpy()).tobytes()).hexdigest()[:16]
