"""The public Python face: features, portraits and predictions of shoppers, and what they do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt

from feature_repo.core.clock import Clock
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from feature_repo.events.stream.collector import Collected, Said
from feature_repo.privacy.consent import PURPOSES, Consent, PurposeName, known_purpose
from serving.consents import CONSENT, consents_of, pairs, permissions
from serving.entities import USER, entity_columns
from serving.experiments.enrolment import Assignment
from serving.experiments.exposures import Exposures
from serving.experiments.scores import SplitScores
from serving.features import Features
from serving.feedback import feedback_event
from serving.models import Scores, pinned_version
from serving.profile import Profile
from serving.reasons.answers import LAST_PURCHASE, Evidence, Segment, WhatIf, Without, check_without
from serving.reasons.explanation import Explanation, Reason
from serving.recommending.recommendation import Recommendations
from serving.tags.answers import ShopperTags
from serving.transport import PROFILE, Transport
from serving.ways import check_ways, over_http

__all__ = ["PROFILE", "Features", "ProfileClient"]


class ProfileClient:
    """Reads shoppers' features and portraits from Redis, asks the registered models about them, and tracks events.

    Use it as a context manager, and one for many questions: what it compiles and loads is kept, and follows the
    registry and the champions. Shoppers are named by raw id or pseudonym; answers carry pseudonyms only.

    While Redis does not answer, scores, features and portraits are those of the last known rows of shoppers who were
    asked about in the last 15 minutes (``PORTRAIT_REMEMBERED_S``), and say so: ``degraded``. What a model may answer
    then is said by its task; consent is never answered so, nor anything of a person who was erased.

    Parameters
    ----------
    url
        Of a server (`portrait serve`) that answers; without one, the home ``PORTRAIT_HOME`` names does, in process.
        Over HTTP one question is about 1,000 shoppers at most. Needs ``pip install 'user-portrait[client]'``.
    api_key
        For the server, where it has keys.
    timeout_s
        For a question and its answer, with all retries; a model that has to be loaded first takes its time.
    retries
        Over HTTP: how often a question is asked again, at once, when the connection fails. Events have ids, so nothing
        is doubled.
    settings
        In process: of the home ``PORTRAIT_HOME`` names; read from the environment if None.
    clock
        In process: says when now is; windows end there.

    Raises
    ------
    SettingsError
        What was passed cannot be, or is of the other way to be answered.

    Examples
    --------
    ::

        with ProfileClient() as portrait:  # or ProfileClient(url="http://profiles.shop:8480", api_key=...)
            portrait.profile("2375").dimensions["value"]
            portrait.predict("redemption", ["2375", "1364"]).to_df()
            portrait.track(Event.purchase(user_id="2375", item_id="995242", amount=3.49))
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 5.0,
        retries: int = 1,
        settings: Settings | None = None,
        clock: Clock | None = None,
    ) -> None:
        check_ways(url, api_key, settings, clock)
        self._transport: Transport
        if url is None:
            from serving.local import LocalTransport  # noqa: PLC0415 - who asks a server needs no Feast

            self._transport = LocalTransport(settings, clock, timeout_s=timeout_s)
        else:
            http = over_http()
            self._transport = http.HttpTransport(http.Place(url, api_key, timeout_s, retries))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back; the client can still be used and opens new ones."""
        self._transport.close()

    def key(self, raw_id: str | int) -> str:
        """Return the pseudonym of a raw id; a pseudonym stays what it is.

        Raises
        ------
        DataError
            It is not an id.
        SettingsError
            The home's key cannot be read.
        """
        [found] = self.keys([raw_id])
        return found

    def keys(self, raw_ids: Any) -> tuple[str, ...]:
        """Return pseudonyms as :meth:`key`, of a raw id or pseudonym, or an iterable of them."""
        return self._transport.keys(raw_ids)

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
            Redis does not answer, and not all rows are known from before.
        DataError
            An id is missing or of another type.
        """
        return self._transport.features(users, service)

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
        return self._transport.profiles(users)

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
        return permissions(purpose, said)

    def _consents(self, users: Any, purposes: Sequence[PurposeName]) -> tuple[list[str], list[list[bool | None]]]:
        """Pseudonyms of shoppers, and what each said of some purposes."""
        return consents_of(self.features(pairs(users, purposes), service=CONSENT), len(purposes))

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
            return self._transport.pinned(pinned_version(version, experiment), task, users, context or {})
        if experiment is None:
            return self._transport.predict(task, users, context or {})
        return self._transport.split(experiment, task, users, context or {})

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
        return self._transport.track(events)

    def warm_up(self) -> None:
        """Compile, connect and load what the first questions would have to wait for: portraits, and every champion.

        A champion that cannot answer is left to whoever asks it, with a warning in the log.

        Raises
        ------
        DeclarationError, StoreUnavailableError, ModelUnavailableError
            Nothing was applied yet; Redis or MLflow does not answer.
        """
        self._transport.warm_up()

    def health(self) -> dict[str, str]:
        """What reads depend on, and what is wrong with it: an empty text for what is well.

        Of MLflow it is what was found at its last use: what is loaded goes on answering without.
        """
        return self._transport.health()

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
        [found] = self.variants([user], experiment, expose=expose, placement=placement)
        return found

    def variants(
        self, users: Any, experiment: str, *, expose: bool = True, placement: str | None = None
    ) -> tuple[Assignment, ...]:
        """As :meth:`variant`, of many shoppers: a raw id or pseudonym, or an iterable of them."""
        return self._transport.variants(users, experiment, expose, placement)

    @property
    def exposures(self) -> Exposures:
        """Exposures on their way to the stream: ``exposures.counts()`` says what was sent and what was lost.

        Raises
        ------
        SettingsError
            A server notes them: its metrics count them.
        """
        return self._transport.exposures

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
            entity_columns([user], [USER], str)[USER][0],
            outcome,
            item=item,
            campaign=campaign,
            value=value,
            recommendation_id=recommendation_id,
            model=model,
            event_id=event_id,
        )
        taken = self.track(said)
        for each in taken.rejected:
            raise DataError(each.message, hint="see `ProfileClient.feedback`.")
        return taken

    def explain(
        self, task: str, user: Any, *, context: Mapping[str, Any] | None = None, version: str | int | None = None
    ) -> Explanation:
        """Say why a model answers as it does about one shopper: reasons that add up to its margin, in words.

        Parameters
        ----------
        user
            A raw id or pseudonym; for a model that is about pairs, a DataFrame of one row.
        context, version
            As in :meth:`predict`.

        Raises
        ------
        ModelUnavailableError, NotMaterializedError, StoreUnavailableError, DataError
            As :meth:`predict`; also of a model that cannot say why.
        """
        pinned = None if version is None else pinned_version(version)
        return self._transport.explain(task, user, context or {}, pinned)

    def evidence(self, user: str | int, reason: Reason, *, most: int = 20) -> tuple[Evidence, ...]:
        """Show what the log holds of each windowed value behind a reason: its newest events, and the value again.

        Parameters
        ----------
        most
            Events to show of each, at most 100.

        Raises
        ------
        DataError, DeclarationError, LogError
            It is no reason, its views are not declared any more, or a table is damaged.
        """
        return self._transport.evidence(user, reason, most)

    def what_if(
        self,
        task: str,
        user: Any,
        *,
        without: Without = LAST_PURCHASE,
        context: Mapping[str, Any] | None = None,
        version: str | int | None = None,
    ) -> WhatIf:
        """Say what the score of one shopper would be if some events had not happened.

        Parameters
        ----------
        without
            ``last_purchase``: all of the last order. Or ids of events, as :meth:`evidence` shows them.

        Raises
        ------
        ModelUnavailableError, NotMaterializedError, StoreUnavailableError, DataError, LogError
            As :meth:`explain` and :meth:`evidence`.
        """
        check_without(without)
        pinned = None if version is None else pinned_version(version)
        return self._transport.what_if(task, user, without, context or {}, pinned)

    def segment(self, user: str | int) -> Segment:
        """Segment and stage of life a shopper was last placed in; ``known`` is False if never.

        Raises
        ------
        NotMaterializedError, StoreUnavailableError, DataError
            As :meth:`features`.
        """
        return self._transport.segment(user)

    def tags(self, user: str | int) -> ShopperTags:
        """Tags of one shopper now: words by facts, rules and models, with strength, evidence and age.

        A tag that cannot be told is None, and says why: too little is known, a row is too old, there is no champion.

        Raises
        ------
        NotMaterializedError, StoreUnavailableError, DataError
            As :meth:`features`.
        DeclarationError
            The registry does not know what tags are made of.
        """
        return self._transport.tags(user)

    def recommend(self, user: str | int, *, k: int = 10, context: Mapping[str, Any] | None = None) -> Recommendations:
        """Items for one shopper, each with a reason, by the champion of the task ``items``.

        Parameters
        ----------
        k
            How many at most, 1 to 100.
        context
            ``store`` (where the shopper is), ``category`` (of which alone), ``unavailable`` (ids not to be shown).

        Raises
        ------
        ModelUnavailableError, NotMaterializedError, StoreUnavailableError, DataError
            As :meth:`predict`; also before `portrait jobs histories` was run.
        """
        return self._transport.recommend(user, k, context or {})

    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that have a champion.

        Raises
        ------
        ModelUnavailableError, StoreUnavailableError
            MLflow does not answer.
        """
        return self._transport.tasks()


def client_by(transport: Transport) -> ProfileClient:
    """Return a client that asks by a transport that is there already."""
    client = ProfileClient.__new__(ProfileClient)
    client._transport = transport  # noqa: SLF001 - of this module
    return client
