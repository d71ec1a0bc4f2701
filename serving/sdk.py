"""The public Python face: features, portraits and predictions of shoppers, and what they do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from feature_repo.core.clock import Clock, SystemClock, from_us
from feature_repo.core.errors import DataError, DeclarationError, ModelUnavailableError, PortraitError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.events.stream.collector import Collected, Collector, Said
from feature_repo.privacy.consent import PURPOSES, Consent, PurposeName, known_purpose, permits
from feature_repo.privacy.pseudonyms import Pseudonymiser, is_pseudonym, load_pseudonymiser
from serving.catalogue import Catalogue
from serving.entities import USER, entity_columns
from serving.experiments.desk import ExperimentDesk
from serving.experiments.enrolment import Assignment
from serving.experiments.exposures import Exposures
from serving.experiments.scores import SplitScores
from serving.feedback import feedback_event
from serving.models import Model, Scores, pinned_version, spread
from serving.online_features import Reading, ServicePlan
from serving.profile import Profile, freshness, group, log_versions
from serving.scoring import ModelRegistry
from serving.served import ServedSample, positions_of
from serving.session import RedisSession

PROFILE = "profile_v1"
CONSENT = "consent_v1"
GRANTED = "user_consent__granted"


_log = logging.getLogger("portrait")


@dataclass(frozen=True, eq=False)
class Features:
    """Feature values, one row per row of the question.

    Attributes
    ----------
    entities
        Columns the question was about, pseudonyms for shoppers.
    reading
        What Redis said.
    as_of
        Instant the features were read at.
    """

    entities: Mapping[str, Sequence[str]]
    reading: Reading
    as_of: datetime

    @property
    def known(self) -> tuple[bool, ...]:
        """Whether the store holds anything about each row's entities; if not, the values are those of no events."""
        return tuple(self.reading.known.tolist())

    @property
    def missing(self) -> tuple[tuple[str, ...], ...]:
        """Features of each row that are NULL, by full name; a view without a state yet is NULL in all rows."""
        table = self.reading.table
        nulls = {name: table[name].is_null(nan_is_null=True).to_pylist() for name in table.column_names}
        return tuple(tuple(name for name, column in nulls.items() if column[row]) for row in range(self.reading.length))

    def to_arrow(self) -> pa.Table:
        """Return the entity columns, then one column per feature under its full name.

        int64, double, string, bool and timestamp[us, UTC]; NULL is NULL.
        """
        ids = {name: pa.array(values, pa.string()) for name, values in self.entities.items()}
        table = self.reading.table
        return pa.table({**ids, **{name: table[name] for name in table.column_names}})

    def to_df(self) -> pd.DataFrame:
        """Return a DataFrame indexed by the entity columns; an integer column with a NULL becomes float64."""
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame.set_index(list(self.entities))

    def to_numpy(self, columns: Sequence[str] | None = None) -> npt.NDArray[np.float64]:
        """Return ``float64[n, d]`` in the order of ``columns`` (full names; the service's without), NaN for NULL.

        Raises
        ------
        DataError
            A column is not in the service, or holds text or times.
        """
        return self.reading.matrix(list(self.reading.plan.contract) if columns is None else columns)


class ProfileClient:
    """Reads shoppers' features and portraits from Redis, asks the registered models about them, and tracks events.

    Use it as a context manager, and one for many questions: what it compiles and loads is kept, and follows the
    registry and the champions. Shoppers are named by raw id or pseudonym; answers carry pseudonyms only.

    Parameters
    ----------
    settings
        Of the home ``PORTRAIT_HOME`` names; read from the environment if None.
    clock
        Says when now is; windows end there.
    timeout_s
        For Redis and for MLflow to answer.

    Examples
    --------
    ::

        with ProfileClient() as portrait:
            portrait.profile("2375").dimensions["value"]
            portrait.predict("redemption", ["2375", "1364"]).to_df()
            portrait.track(Event.purchase(user_id="2375", item_id="995242", amount=3.49))
    """

    def __init__(self, *, settings: Settings | None = None, clock: Clock | None = None, timeout_s: float = 5.0) -> None:
        self._settings = settings or load_settings()
        self._clock: Clock = clock or SystemClock()
        self._redis = RedisSession(self._settings, timeout_s=timeout_s)
        self._catalogue = Catalogue(self._settings)
        self._models = ModelRegistry(self._settings, self._clock, timeout_s=timeout_s)
        self._pseudonymiser: Pseudonymiser | None = None
        self._collector = Collector(self._settings, self._clock)
        self._desk = ExperimentDesk(self._models, self._collector, self._clock, self.permitted)
        self._served = ServedSample(
            self._settings, self._clock, lambda project: self._redis.ask(lambda client: positions_of(project, client))
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Send exposures that wait, and give the connections back; the client can still be used and opens new ones."""
        self._served.close()
        self._desk.exposures.close()
        self._redis.close()
        self._collector.close()

    def key(self, raw_id: str | int) -> str:
        """Return the pseudonym of a raw id; a pseudonym stays what it is.

        Raises
        ------
        DataError
            It is not an id.
        SettingsError
            The home's key cannot be read.
        """
        return entity_columns([raw_id], [USER], self._pseudonym)[USER][0]

    def features(self, users: Any, *, service: str = PROFILE) -> Features:
        """Values of a feature service now.

        Parameters
        ----------
        users
            A raw id or pseudonym, an iterable of them, or a DataFrame with the service's entity columns (which a
            service about more than one entity needs). For a service about items, an item id, and so on.

        Raises
        ------
        DeclarationError
            The registry has no such service.
        NotMaterializedError
            No view of the service has a state in Redis. One that has none beside others that have is NULL in every row,
            counts too; ``missing`` names its features, and a warning is logged.
        StoreUnavailableError
            Redis does not answer.
        DataError
            An id is missing or of another type.
        """
        plan = self._catalogue.plan(service)
        entities = entity_columns(users, plan.entity_columns, self._pseudonym)
        at = self._clock.now_us()
        reading = self._redis.ask(lambda client: plan.read(client, entities, at))
        self._served.note(reading, entities, tuple(plan.contract), at)
        return Features(entities, reading, from_us(at))

    def profile(self, user: str | int) -> Profile:
        """One shopper's portrait now.

        Raises
        ------
        NotMaterializedError, StoreUnavailableError, DataError
            As :meth:`features`.
        """
        [found] = self.profiles([user])
        return found

    def profiles(self, users: Any) -> tuple[Profile, ...]:
        """Portraits of shoppers now, in the order of the question.

        Parameters
        ----------
        users
            A raw id or pseudonym, or an iterable of them.

        Raises
        ------
        NotMaterializedError, StoreUnavailableError, DataError
            As :meth:`features`.
        """
        plan = self._catalogue.plan(PROFILE)
        entities = entity_columns(users, plan.entity_columns, self._pseudonym)
        at = self._clock.now_us()

        def read(client: Any) -> tuple[Reading, Mapping[str, int | None]]:
            return plan.read(client, entities, at), log_versions(plan, client, self._catalogue.project)

        reading, versions = self._redis.ask(read)
        self._served.note(reading, entities, tuple(plan.contract), at)
        labels, table = self._catalogue.labels(), reading.table
        rows = [table.slice(row, 1) for row in range(reading.length)]
        return tuple(
            Profile(user, known, group(row, labels), freshness(plan, versions, row, at))
            for user, known, row in zip(entities[USER], reading.known.tolist(), rows, strict=True)
        )

    def consent(self, user: str | int) -> Consent:
        """What one shopper allowed, by the last that was said of each purpose.

        Raises
        ------
        NotMaterializedError, StoreUnavailableError, DataError
            As :meth:`features`.
        """
        [pseudonym], [said] = self._consents([user], [*PURPOSES])
        return Consent(pseudonym, dict(zip(PURPOSES, said, strict=True)))

    def permitted(self, users: Any, purpose: PurposeName) -> npt.NDArray[np.bool_]:
        """Whether the data of each shopper may be used for a purpose: ``bool[n]``.

        Of shoppers who said nothing, ``service`` is permitted, and ``personalisation``, ``marketing`` and ``risk`` are
        not; so it is for shoppers nobody knows. See ``feature_repo.privacy.consent``.

        Parameters
        ----------
        users
            A raw id or pseudonym, or an iterable of them.

        Raises
        ------
        DataError
            There is no such purpose, or an id is missing or of another type.
        NotMaterializedError, StoreUnavailableError
            As :meth:`features`: what cannot be read is not permitted.
        """
        known_purpose(purpose)
        _, said = self._consents(users, [purpose])
        return np.array([permits(purpose, each) for [each] in said], np.bool_)

    def _consents(self, users: Any, purposes: Sequence[PurposeName]) -> tuple[list[str], list[list[bool | None]]]:
        """Pseudonyms of shoppers, and what each said of some purposes."""
        found = entity_columns(users, [USER], self._pseudonym)[USER]
        pairs = {USER: np.repeat(np.array(found, object), len(purposes)), "purpose": [*purposes] * len(found)}
        column = self.features(pd.DataFrame(pairs), service=CONSENT).to_arrow()[GRANTED].to_pylist()
        width = len(purposes)
        return found, [column[start : start + width] for start in range(0, len(column), width)]

    @overload
    def predict(
        self,
        task: str,
        users: Any,
        *,
        context: Mapping[str, Any] | None = ...,
        experiment: None = ...,
        version: str | int | None = ...,
    ) -> Scores: ...

    @overload
    def predict(
        self, task: str, users: Any, *, context: Mapping[str, Any] | None = ..., experiment: str
    ) -> SplitScores: ...

    def predict(
        self,
        task: str,
        users: Any,
        *,
        context: Mapping[str, Any] | None = None,
        experiment: str | None = None,
        version: str | int | None = None,
    ) -> Scores | SplitScores:
        """Ask the champion of a task about shoppers, a version of its model, or those of an experiment's variants.

        Features that are NULL are scored as the model was trained to score NULL, and named in the score's ``missing``:
        those of a view whose state is not built yet among them.

        Parameters
        ----------
        users
            As in :meth:`features`. A DataFrame may also carry the model's context columns (``campaign_days``, ...);
            where it does not, or holds NULL, the model's default is taken and named in the score's ``defaults``.
        context
            Context columns by name, where ``users`` is no DataFrame: one number for all rows, or one for each.
        experiment
            Name of an experiment about the task: each shopper is scored by the model of the shopper's variant, which
            the score names, and an exposure is noted (see :meth:`variant`). Where that model cannot answer, the
            champion does, and the shopper is not in the experiment.
        version
            Number of a version, which answers whoever is champion; not beside an experiment.

        Raises
        ------
        ModelUnavailableError
            There is no champion, it was trained on other definitions than the registry's, or MLflow does not answer.
        NotMaterializedError, StoreUnavailableError, DataError
            As :meth:`features`; also of an experiment about something else.
        DeclarationError
            There is no such experiment.
        """
        if version is not None:
            number = pinned_version(version, experiment)
            return self._ask(self._models.version(task, number), users, context or {})
        if experiment is None:
            return self._ask(self._models.champion(task), users, context or {})
        pseudonyms = entity_columns(users, [USER], self._pseudonym)[USER]
        asked = users if isinstance(users, pd.DataFrame) else pseudonyms
        return self._desk.scores(experiment, task, pseudonyms, asked, context or {}, self._ask)

    def _ask(self, model: Model, users: Any, context: Mapping[str, Any]) -> Scores:
        plan = self._plan_of(model)
        entities = entity_columns(users, plan.entity_columns, self._pseudonym)
        if USER not in entities:
            raise DataError(
                f"Model {model.name} is not about shoppers.", hint="ask a model whose service reads 'user_id'."
            )
        model.check_context(context)
        given = users if isinstance(users, pd.DataFrame) else spread(context, len(entities[USER]))
        columns = model.context_columns(given, len(entities[USER]))
        at = self._clock.now_us()
        reading = self._redis.ask(lambda client: plan.read(client, entities, at))
        self._served.note(reading, entities, model.features, at, model=model.name)
        matrix, known = reading.matrix(model.features, model.texts), reading.known.tolist()
        return model.scores(entities[USER], matrix, columns, known=known, as_of=from_us(at))

    def track(self, events: Said | Iterable[Said]) -> Collected:
        """Send events into the stream; they are in the shoppers' profiles when `portrait jobs consume` has read them.

        Parameters
        ----------
        events
            One :class:`~serving.tracking.Event`, or a list, of which a bad one does not keep the others out; also
            mappings with ``event_type``, and instances of the classes of ``feature_repo.events.schema``.

        Returns
        -------
        Collected
            How many were accepted; which were rejected, and why.

        Raises
        ------
        BufferFullError
            Consumers are behind: send ``events[error.accepted:]`` again after ``error.retry_after_s``.
        StoreUnavailableError
            The broker does not answer. Send the same events again: they have ids, so nothing is doubled.
        """
        return self._collector.collect(events)

    def warm_up(self) -> None:
        """Compile, connect and load what the first questions would have to wait for: portraits, and every champion.

        A champion that cannot answer is left to whoever asks it, with a warning in the log.

        Raises
        ------
        DeclarationError, StoreUnavailableError, ModelUnavailableError
            Nothing was applied yet; Redis or MLflow does not answer.
        """
        self._catalogue.plan(PROFILE)
        self._catalogue.labels()
        self._redis.ask(lambda client: client.ping())
        for task in self._models.tasks():
            try:
                self._load(self._models.champion(task))
            except PortraitError as error:
                _log.warning("Task '%s' cannot answer: %s", task, error)
        self._desk.warm_up(self._load)

    def health(self) -> dict[str, str]:
        """What reads depend on, and what is wrong with it: an empty text for what is well.

        MLflow is not among it: what is loaded goes on answering without.
        """
        return {
            "registry": _wrong(lambda: self._catalogue.plan(PROFILE)),
            "redis": _wrong(lambda: self._redis.ask(lambda client: client.ping())),
        }

    def _load(self, model: Model) -> None:
        self._plan_of(model)
        model.scorer.score(np.zeros((1, len(model.columns))))

    def _plan_of(self, model: Model) -> ServicePlan:
        try:
            plan = self._catalogue.plan(model.service)
        except DeclarationError as error:
            raise ModelUnavailableError(
                f"Model {model.name} reads service '{model.service}': {error.what}",
                hint=f"declare the service again, or run `portrait train {model.task}`.",
            ) from None
        model.check(plan.contract)
        return plan

    def variant(
        self, user: str | int, experiment: str, *, expose: bool = True, placement: str | None = None
    ) -> Assignment:
        """Which variant of an experiment a shopper gets; the same always, in every process.

        Who is not in it gets the control, and the answer says why: it does not run now, or the shopper does not permit
        its purpose.

        Parameters
        ----------
        expose
            Note that the shopper meets the variant now; where that is not certain yet, say False, and ask again when it
            is. An exposure is sent in the background: where the stream is full or away, it is lost and counted.
        placement
            Where it is met.

        Raises
        ------
        DeclarationError
            There is no such experiment.
        DataError
            It is not an id.
        """
        [pseudonym] = entity_columns([user], [USER], self._pseudonym)[USER]
        [found] = self._desk.assign(experiment, [pseudonym], expose=expose, placement=placement)
        return found

    def variants(
        self, users: Any, experiment: str, *, expose: bool = True, placement: str | None = None
    ) -> tuple[Assignment, ...]:
        """As :meth:`variant`, of many shoppers: a raw id or pseudonym, or an iterable of them."""
        pseudonyms = entity_columns(users, [USER], self._pseudonym)[USER]
        return tuple(self._desk.assign(experiment, pseudonyms, expose=expose, placement=placement))

    @property
    def exposures(self) -> Exposures:
        """Exposures on their way to the stream: ``exposures.counts()`` says what was sent and what was lost."""
        return self._desk.exposures

    def feedback(
        self,
        user: str | int,
        outcome: str,
        *,
        item: str | None = None,
        campaign: str | None = None,
        value: float | None = None,
        recommendation_id: str | None = None,
        model: str | None = None,
        event_id: str | None = None,
    ) -> Collected:
        """Say what became of something that was shown or said; parameters as of ``serving.feedback.feedback_event``.

        It goes the way of all events: it is in the profile when `portrait jobs consume` has read it, and takes no more
        consent than they do; of people who were erased it is dropped.

        Raises
        ------
        DataError
            It is about nothing, or a value is none of its kind.
        BufferFullError, StoreUnavailableError
            As :meth:`track`.
        """
        said = feedback_event(
            self.key(user),
            outcome,
            item=item,
            campaign=campaign,
            value=value,
            recommendation_id=recommendation_id,
            model=model,
            event_id=event_id,
        )
        taken = self._collector.collect(said)
        for each in taken.rejected:
            raise DataError(each.message, hint="see `ProfileClient.feedback`.")
        return taken

    def _pseudonym(self, raw_or_pseudonym: str) -> str:
        if is_pseudonym(raw_or_pseudonym):
            return raw_or_pseudonym  # where only pseudonyms are asked for, no key is needed
        if self._pseudonymiser is None:
            self._pseudonymiser = load_pseudonymiser(self._settings.home)
        return self._pseudonymiser.pseudonym(raw_or_pseudonym)


def _wrong(question: Callable[[], object]) -> str:
    try:
        question()
    except PortraitError as error:
        return error.what
    return ""
