"""A model that was trained and registered, and what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.candidates.proposals import Proposer
from feature_repo.core.allowed import ANY, Allowed
from feature_repo.core.degrading import REFUSE
from feature_repo.core.errors import DataError, ModelUnavailableError, did_you_mean
from feature_repo.engine.contract import Contract, differences, settings_of
from serving.entities import check_single

NAMED = 3

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """One answer.

    Attributes
    ----------
    user_id
        Pseudonym.
    value
        What the model says; a calibrated probability for a yes-or-no task.
    model
        Name and version, ``redemption@3``.
    features_as_of
        Instant the features were read at.
    missing
        Features that were NULL: nothing to compute them from, a view whose state is not built yet (then all of it), or
        a text that the model has not seen.
    defaults
        Context columns for which the model's default was taken.
    known
        Whether the store holds anything about the shopper.
    degraded
        Whether Redis did not answer: the features are the last known ones, read at ``features_as_of``; of a shopper who
        is not ``known`` they may be those of no events, for want of others.
    """

    user_id: str
    value: float
    model: str
    features_as_of: datetime
    missing: tuple[str, ...]
    defaults: tuple[str, ...]
    known: bool
    degraded: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, eq=False)
class Scores:
    """Answers in the order of the question; each is a :class:`Score` when it is asked for.

    Attributes
    ----------
    users
        Pseudonyms.
    values
        ``float64[n]``.
    model, degraded
        As in :class:`Score`, of all of them.
    features_as_of
        As in :class:`Score`; the earliest, where ``read_at`` has one for each.
    features, context
        The model's inputs by name.
    nulls, defaulted
        ``bool[n, len(features)]``, ``bool[n, len(context)]``: which features were NULL, and for which context columns
        the model's default was taken.
    known
        Whether the store holds anything about each shopper.
    read_at
        Instants the features of each were read at, where they differ.
    """

    users: Sequence[str]
    values: npt.NDArray[np.float64]
    model: str
    features_as_of: datetime
    features: tuple[str, ...]
    context: tuple[str, ...]
    nulls: npt.NDArray[np.bool_]
    defaulted: npt.NDArray[np.bool_]
    known: Sequence[bool]
    degraded: bool = False
    read_at: Sequence[datetime] = ()

    @cached_property
    def scores(self) -> tuple[Score, ...]:
        """All of them."""
        return tuple(Score(**row) for row in self.rows())

    def parts(self, lengths: Iterable[int]) -> Iterator[Scores]:
        """Split answers into those of so many rows each, in order."""
        start = 0
        for length in lengths:
            rows = slice(start, start + length)
            read_at = self.read_at[rows]
            yield replace(
                self,
                users=self.users[rows],
                values=self.values[rows],
                features_as_of=min(read_at, default=self.features_as_of),
                nulls=self.nulls[rows],
                defaulted=self.defaulted[rows],
                known=self.known[rows],
                read_at=read_at,
            )
            start += length

    def rows(self) -> list[dict[str, Any]]:
        """Fields of each :class:`Score` by name, for whoever writes them down at once."""
        model = self.model
        missing, defaults = _marked(self.features, self.nulls), _marked(self.context, self.defaulted)
        read_at = self.read_at or [self.features_as_of] * len(self.users)
        return [
            {
                "user_id": user,
                "value": value,
                "model": model,
                "features_as_of": at,
                "missing": nulls,
                "defaults": own,
                "known": seen,
                "degraded": self.degraded,
            }
            for user, value, at, nulls, own, seen in zip(
                self.users, self.values.tolist(), read_at, missing, defaults, self.known, strict=True
            )
        ]

    def __iter__(self) -> Iterator[Score]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, row: int) -> Score:
        return self.scores[row]

    def to_df(self) -> pd.DataFrame:
        """One row per answer, indexed by ``user_id``; columns are the other fields of :class:`Score`."""
        fields = [name for name in Score.__dataclass_fields__ if name != "user_id"]
        data = {name: [getattr(score, name) for score in self.scores] for name in fields}
        return pd.DataFrame(data, index=pd.Index(list(self.users), name="user_id"))


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded version of a registered model.

    Attributes
    ----------
    task, version
        Name and version in the registry.
    service
        Feature service it reads.
    context
        Its inputs that are not features, with their defaults.
    allowed
        What each of them may be; any number for one that is not named.
    contract
        Definitions of the features it was trained on, by full name.
    scorer
        The Python model.
    meanings
        What each context column says, in English and in Chinese.
    without_redis
        What it may answer while Redis does not, see :mod:`feature_repo.core.degrading`.
    proposer
        Of a model that ranks: what proposes the items, on the shelf as it was at training.
    """

    task: str
    version: str
    service: str
    context: Mapping[str, float]
    contract: Contract
    scorer: Any
    allowed: Mapping[str, Allowed] = field(default_factory=dict)
    meanings: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    without_redis: str = REFUSE
    proposer: Proposer | None = None

    @property
    def name(self) -> str:
        """``redemption@3``."""
        return f"{self.task}@{self.version}"

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Inputs in the model's order."""
        return tuple(self.scorer.columns)

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Inputs that are features, by full name."""
        return tuple(name for name in self.columns if name not in self.context)

    @property
    def texts(self) -> Mapping[str, Sequence[str]]:
        """Inputs that are texts, each with those the model knows: it reads a text's place, NaN of another one."""
        return getattr(self.scorer, "categories", {})

    def check(self, current: Contract) -> None:
        """Refuse a registry that defines a feature otherwise than the one the model was trained on, or other settings.

        Raises
        ------
        ModelUnavailableError
            The message names the first features that differ, or the settings.
        """
        changed = differences(self._trained_on, current)
        if not changed:
            return
        self._check_settings(changed, current)
        named = ", ".join(f"'{name}'" for name in changed[:NAMED])
        more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        raise ModelUnavailableError(
            f"Model {self.name} was trained on other definitions of {named}{more} than the registry's.",
            hint="apply the definitions it was trained on (`portrait features apply`), or "
            f"run `portrait train {self.task}`.",
        )

    @cached_property
    def _trained_on(self) -> Contract:
        return {name: self.contract.get(name, "") for name in self.features}

    def _check_settings(self, changed: Sequence[str], current: Contract) -> None:
        trained = {name: value for each in changed for name, value in settings_of(self.contract.get(each, "")).items()}
        here = {name: value for each in changed for name, value in settings_of(current.get(each, "")).items()}
        others = [name for name, value in trained.items() if here.get(name, value) != value]
        if not others:
            return
        raise ModelUnavailableError(
            f"Model {self.name} was trained with {_said(trained, others)}; here it is {_said(here, others)}.",
            hint=f"set {' and '.join(others)} as for training, or run `portrait train {self.task}` with those of here.",
        )

    def scores(
        self, users: Sequence[str], features: Matrix, given: Matrix, *, known: Sequence[bool], as_of: datetime
    ) -> Scores:
        """Score shoppers.

        Parameters
        ----------
        features
            ``float64[n, len(self.features)]``, NaN for NULL; of :attr:`texts` the places.
        given
            ``float64[n, len(self.context)]``, NaN where the default is to be taken.
        """
        values = self.scorer.score(self.inputs(features, given))
        return Scores(
            users=users,
            values=np.asarray(values, np.float64),
            model=self.name,
            features_as_of=as_of,
            features=self.features,
            context=tuple(self.context),
            nulls=np.isnan(features),
            defaulted=np.isnan(given),
            known=known,
        )

    def inputs(self, features: Matrix, given: Matrix) -> Matrix:
        """Return rows as the scorer reads them, ``float64[n, len(self.columns)]``; parameters as of :meth:`scores`."""
        context = np.where(np.isnan(given), self._defaults, given)
        found: Matrix = np.hstack([features, context])[:, self._order]
        return found

    @cached_property
    def _defaults(self) -> npt.NDArray[np.float64]:
        return np.array(list(self.context.values()), np.float64)

    @cached_property
    def _order(self) -> list[int]:
        names = (*self.features, *self.context)
        return [names.index(name) for name in self.columns]

    def check_context(self, names: Iterable[str]) -> None:
        """Refuse context columns the model does not take.

        Raises
        ------
        DataError
            It was not trained with one of them.
        """
        for name in names:
            if name not in self.context:
                raise DataError(f"Model {self.name} takes no context '{name}'.", hint=did_you_mean(name, self.context))

    def context_columns(self, given: Any, rows: int) -> Matrix:
        """Return what a DataFrame or mapping says of the context: ``float64[rows, len(self.context)]``, else NaN.

        Raises
        ------
        DataError
            A value is not a finite number, or none the model was made for, or a column is there twice.
        """
        matrix = np.full((rows, len(self.context)), np.nan)
        for i, name in enumerate(self.context):
            if name in given:
                if isinstance(given, pd.DataFrame):
                    check_single(given, name)
                matrix[:, i] = _numbers(name, given[name], self.allowed.get(name, ANY))
        return matrix


def pinned_version(version: object, experiment: object = None) -> str:
    """Return the number of a version that is to answer.

    Raises
    ------
    DataError
        It is no number, or stands beside an experiment, which chooses the model itself.

    >>> pinned_version(3)
    '3'
    """
    number = str(version) if isinstance(version, int | str) and not isinstance(version, bool) else ""
    if not (number.isascii() and number.isdecimal()):
        raise DataError("A version was asked for by something that is no number.", hint="pass it as 3 or '3'.")
    if experiment is not None:
        raise DataError("A version and an experiment were named.", hint="name one: an experiment chooses the model.")
    return number


def context_of(said: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the context of a question; without one, an empty one.

    Raises
    ------
    DataError
        It is no mapping of names to values.

    >>> context_of(None)
    {}
    """
    if said is None:
        return {}
    if not isinstance(said, Mapping):
        raise DataError(
            f"A context was passed that is of type {type(said).__name__}.",
            hint="pass names with values, for example {'campaign_days': 30}.",
        )
    return said


def spread(context: Mapping[str, Any], rows: int) -> dict[str, Sequence[Any]]:
    """Return context columns of so many rows, of columns and of numbers that hold for all rows.

    Raises
    ------
    DataError
        A column has another length.

    >>> spread({"days": 30, "flag": [0, 1]}, 2)
    {'days': [30, 30], 'flag': [0, 1]}
    """
    found: dict[str, Sequence[Any]] = {
        name: list(said) if _is_column(said) else [said] * rows for name, said in context.items()
    }
    for name, column in found.items():
        if len(column) != rows:
            raise DataError(
                f"Context column '{name}' has {len(column)} values for {rows} rows.",
                hint="pass one number for all rows, or one for each.",
            )
    return found


def _is_column(said: Any) -> bool:
    return isinstance(said, Iterable) and not isinstance(said, str | bytes)


def _said(settings: Mapping[str, str], names: Sequence[str]) -> str:
    return " and ".join(f"{name}={settings[name]}" for name in names)


def _numbers(name: str, values: Sequence[Any], allowed: Allowed) -> npt.NDArray[np.float64]:
    given = pd.Series(list(values), dtype=object)
    numbers: npt.NDArray[np.float64] = pd.to_numeric(given, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    said = given.notna().to_numpy()
    flags = given.map(lambda value: isinstance(value, bool | np.bool_)).to_numpy(bool)
    if (wrong := np.flatnonzero(said & ~np.isfinite(numbers))).size:
        what = "not a finite number"
    elif (wrong := np.flatnonzero(flags & ~np.array(allowed.is_flag))).size:
        what = f"{given[wrong[0]]}, not a number"
    elif (wrong := np.flatnonzero(said & ~np.isin(numbers, _permitted(numbers[said], allowed)))).size:
        what = f"{numbers[wrong[0]]:g}"
    else:
        return numbers
    raise DataError(
        f"Row {wrong[0]} of context column '{name}' is {what}.",
        hint=f"pass {allowed}, or leave it out for the model's default.",
    )


def _permitted(numbers: npt.NDArray[np.float64], allowed: Allowed) -> list[float]:
    return [value for value in np.unique(numbers).tolist() if allowed.permits(value)]


def _marked(names: Sequence[str], marks: npt.NDArray[np.bool_]) -> list[tuple[str, ...]]:
    """Names of the marked columns of each row; in most rows there are none."""
    found: list[tuple[str, ...]] = [()] * len(marks)
    for row in np.flatnonzero(marks.any(axis=1)).tolist():
        found[row] = tuple(names[i] for i in np.flatnonzero(marks[row]).tolist())
    return found
