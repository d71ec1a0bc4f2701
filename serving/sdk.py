"""The public Python face: features, portraits and predictions of shoppers, and what they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt

from feature_repo.core.clock import Clock
from feature_repo.core.settings import Settings
from feature_repo.privacy.consent import PURPOSES, Consent, PurposeName, known_purpose
from serving.asking_why import AskingWhy
from serving.consents import CONSENT, consents_of, pairs, permissions
from serving.experiments.scores import SplitScores
from serving.features import Features
from serving.models import Scores, context_of, pinned_version
from serving.profile import Profile
from serving.reasons.answers import Segment
from serving.recommending.recommendation import Recommendations
from serving.tags.answers import ShopperTags
from serving.telling import Telling
from serving.transport import PROFILE, Transport
from serving.ways import check_ways, over_http

__all__ = ["PROFILE", "Features", "ProfileClient"]


class ProfileClient(AskingWhy, Telling):
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
            return self._transport.pinned(pinned_version(version, experiment), task, users, context_of(context))
        if experiment is None:
            return self._transport.predict(task, users, context_of(context))
        return self._transport.split(experiment, task, users, context_of(context))

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
        return self._transport.recommend(user, k, context_of(context))

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
