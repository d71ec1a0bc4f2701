"""What became of something that was shown or said, as an event: it moves the profile through the stream."""

from __future__ import annotations

from collections.abc import Mapping

from feature_repo.core.errors import DataError
from serving.tracking import Event, NewEvent

# What an outcome's name counts as, where no number is given.
VALUES: Mapping[str, float] = {"clicked": 1.0, "bought": 1.0, "redeemed": 1.0, "dismissed": 0.0, "ignored": 0.0}


def feedback_event(
    user: str,
    outcome: str,
    *,
    item: str | None = None,
    campaign: str | None = None,
    value: float | None = None,
    recommendation_id: str | None = None,
    model: str | None = None,
    event_id: str | None = None,
) -> NewEvent:
    """Return the event of a shopper's answer.

    Parameters
    ----------
    outcome
        ``clicked``, ``bought``, ``redeemed``, ``dismissed``, ``ignored``, or a name of yours.
    item, campaign, recommendation_id, model
        What it answers, one at least; a model as scores name it, ``redemption@3``.
    value
        The outcome as a number: money, stars; if it is left out, 1 and 0 where the outcome's name says it.
    event_id
        Give it yours, if the same answer may be sent twice.

    Raises
    ------
    DataError
        It is about nothing.

    >>> event = feedback_event("2375", "clicked", item="995242", model="redemption@3")
    >>> event["action"], event["value"], event["model"], event["model_version"]
    ('clicked', 1.0, 'redemption', '3')
    """
    name, _, version = (model or "").partition("@")
    about = {
        "item_id": item,
        "campaign_id": campaign,
        "recommendation_id": recommendation_id,
        "model": name or None,
        "model_version": version or None,
    }
    if not any(about.values()):
        raise DataError(
            "A feedback is about nothing.", hint="say which item, campaign, recommendation or model it answers."
        )
    said = {"user_id": user, "action": outcome, "value": VALUES.get(outcome) if value is None else value, **about}
    event: NewEvent = Event.feedback(**{key: each for key, each in said.items() if each is not None})
    return event if event_id is None else {**event, "event_id": event_id}
