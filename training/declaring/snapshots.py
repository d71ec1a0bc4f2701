"""SQL of observations that come week by week: who is asked about, and when."""

from __future__ import annotations

from datetime import timedelta

WEEK = timedelta(days=7)
ACTIVE = timedelta(days=84)
MOST_WEEKS = 1040


def weekly(*, horizon: timedelta) -> str:
    """Return the definition of ``asked(week, event_timestamp)``, for a ``WITH``.

    The last instant is the last whose answer the log knows: ``horizon`` before its end. The others lie whole weeks
    (``week``) before, down to the first one with ``ACTIVE`` of history. So weeks count backwards, and more history adds
    instants at the far end alone.
    """
    return f"""asked AS (
    SELECT week, last_at - {_interval(horizon)} - week * {_interval(WEEK)} AS event_timestamp
    FROM log_span, range({MOST_WEEKS}) AS weeks (week)
    WHERE last_at - {_interval(horizon)} - week * {_interval(WEEK)} >= first_at + {_interval(ACTIVE)}
)"""


def visitors(*, horizon: timedelta) -> str:
    """Return the definitions of ``asked`` and of ``visitor``: who came in the ``ACTIVE`` time before, at each instant.

    ``visitor(user_id, event_timestamp, spent, visits_ahead, spend_ahead, tenure, spend_band)``: ``spent`` in that time,
    and visits and spend in the ``horizon`` that begins with the instant. ``tenure`` (how long the log has known the
    shopper) and ``spend_band`` are texts.
    """
    return f"""{weekly(horizon=horizon)}, history AS (
    SELECT user_id, event_timestamp AS paid_at, amount, min(event_timestamp) OVER (PARTITION BY user_id) AS first_visit
    FROM payment
), visitor AS (
    SELECT
        user_id,
        asked.event_timestamp,
        coalesce(sum(amount) FILTER (paid_at < asked.event_timestamp), 0) AS spent,
        count(*) FILTER (paid_at >= asked.event_timestamp) AS visits_ahead,
        coalesce(sum(amount) FILTER (paid_at >= asked.event_timestamp), 0) AS spend_ahead,
        CASE WHEN any_value(first_visit) > asked.event_timestamp - INTERVAL 182 DAY THEN 'under half a year'
            ELSE 'half a year and more' END AS tenure,
        CASE WHEN spent < 200 THEN 'under 200' WHEN spent < 800 THEN '200 to 800' ELSE '800 and more' END AS spend_band
    FROM asked JOIN history
        ON paid_at >= asked.event_timestamp - {_interval(ACTIVE)}
        AND paid_at < asked.event_timestamp + {_interval(horizon)}
    GROUP BY user_id, asked.event_timestamp
    HAVING count(*) FILTER (paid_at < asked.event_timestamp) > 0
)"""


def _interval(length: timedelta) -> str:
    return f"INTERVAL {int(length.total_seconds())} SECOND"
