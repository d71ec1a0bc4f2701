"""Events as applications say them: ``Event.purchase(user_id="2375", item_id="995242", amount=3.49)``."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from feature_repo.core.errors import DeclarationError, did_you_mean
from feature_repo.events.log import EVENT_ID
from feature_repo.events.schema import EVENTS
from feature_repo.events.stream.intake import EVENT_TYPE

NewEvent = dict[str, Any]


class _Constructors(type):
    """Has one constructor per declared event type."""

    def __getattr__(cls, name: str) -> Callable[..., NewEvent]:
        event_type = name.removesuffix("_")
        if event_type not in EVENTS:
            raise AttributeError(f"There is no event type '{name}': {did_you_mean(name, EVENTS)}")

        def new(**columns: object) -> NewEvent:
            unknown = next((each for each in columns if each not in EVENTS[event_type].model_fields), None)
            if unknown is not None:
                raise DeclarationError(
                    f"Event '{event_type}' has no column '{unknown}'.",
                    hint=did_you_mean(unknown, EVENTS[event_type].model_fields),
                )
            return {EVENT_TYPE: event_type, EVENT_ID: str(uuid.uuid4()), **columns}

        new.__name__, new.__doc__ = name, EVENTS[event_type].__doc__
        return new

    def __dir__(cls) -> list[str]:
        return [*super().__dir__(), *EVENTS]


class Event(metaclass=_Constructors):
    """New events, one constructor per type: columns by name, shoppers by raw id or pseudonym.

    What a Python keyword stands for is written with an underscore: ``Event.return_(...)``. An event has its id from the
    start, so that sending it again doubles nothing. Values are checked when it is tracked.

    Raises
    ------
    AttributeError
        There is no such event type.
    DeclarationError
        The type has no such column.

    >>> event = Event.purchase(user_id="2375", item_id="995242", amount=3.49)
    >>> event["event_type"], event["amount"], sorted(event)[0:2]
    ('purchase', 3.49, ['amount', 'event_id'])
    """
