"""What an application tells of shoppers: events, what they met of an experiment, what became of what was shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from feature_repo.core.errors import DataError
from feature_repo.events.stream.collector import Collected, Said
from serving.entities import USER, entity_columns
from serving.experiments.enrolment import Assignment
from serving.experiments.exposures import Exposures
from serving.feedback import feedback_event
from serving.transport import Transport


class Telling:
    """The part of :class:`serving.sdk.ProfileClient` that sends events."""

    _transport: Transport

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
