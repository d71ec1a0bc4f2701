"""When a difference is an alarm, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """Bounds a difference has to pass, all of them, to be worth a look or an alarm.

    Attributes
    ----------
    watch, alarm
        Of the PSI: the usual 0.1 and 0.25 (Siddiqi 2006).
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
    null_watch: float = 0.05
    null_alarm: float = 0.1
    quiet_factor: float = 2.0
    level: float = 0.999
    label_factor: float = 1.25
    least_weeks: int = 4
    least_answers: int = 100


USUAL = Thresholds()
