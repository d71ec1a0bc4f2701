"""When a difference is an alarm, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """Bounds a difference has to pass, all of them, to be worth a look or an alarm.

    Attributes
    ----------
    watch, alarm
        Of the PSI of inputs and scores: the usual 0.1 and 0.25 (Siddiqi 2006).
    event_alarm
        Of the PSI of events and of what shoppers did: a week there is not diluted by the months before it, and a
        category that is gone moves little more than its own share.
    null_watch, null_alarm
        Of the change of the share of NULL.
    quiet_factor
        Times the largest value seen among the reference's own weeks, at the same distance in time.
    level
        Of the bound that sampling alone stays below.
    label_factor
        Times the largest distance of one of the reference's weeks from its mean answer.
    least_weeks
        Comparisons among quiet weeks below which a signal's own spread is not known, and it is shown without a verdict.
    least_answers
        New answers below which nothing is said of them.
    """

    watch: float = 0.1
    alarm: float = 0.25
    event_alarm: float = 0.1
    null_watch: float = 0.05
    null_alarm: float = 0.1
    quiet_factor: float = 2.0
    level: float = 0.999
    label_factor: float = 1.25
    least_weeks: int = 4
    least_answers: int = 100

    def alarm_of(self, kind: str) -> float:
        """Return the bound of an alarm for a kind of signal.

        >>> USUAL.alarm_of("feature"), USUAL.alarm_of("event")
        (0.25, 0.1)
        """
        return self.event_alarm if kind in ("event", "shopper") else self.alarm


USUAL = Thresholds()
