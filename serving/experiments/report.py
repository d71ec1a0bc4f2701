"""What became of an experiment: who met which variant, whether the split is as declared, and what differs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from feature_repo.core.clock import Clock, from_us
from feature_repo.core.settings import Settings
from serving.experiments.experiment import Experiment
from serving.experiments.findings import Arm, Effect, ExperimentReport, Measured, SampleRatio, Share, State
from serving.experiments.inference import (
    Comparison,
    Sample,
    compare_means,
    compare_rates,
    mean_interval,
    sample_ratio,
    wilson,
)
from serving.experiments.joined import Joined, joined
from serving.experiments.outcomes import OUTCOMES, Outcome
from serving.experiments.verdict import verdict

# A right split is called wrong once in a thousand looks.
ALARM = 0.001


def state_of(experiment: Experiment, now: int) -> State:
    """Whether an experiment has begun, and is over."""
    start, end = experiment.span_us
    return "planned" if now < start else "running" if now < end else "over"


def report_of(settings: Settings, experiment: Experiment, clock: Clock) -> ExperimentReport:
    """Report on an experiment from the log.

    Raises
    ------
    LogError
        A table of the log is damaged.
    SettingsError
        Who was erased cannot be read.
    """
    now = clock.now_us()
    with joined(settings, experiment, now) as found:
        outcomes = {name: measured(experiment, outcome, found.samples(outcome)) for name, outcome in OUTCOMES.items()}
        shares, ratio = _shares(experiment, found), _ratio(experiment, found)
    state = state_of(experiment, now)
    return ExperimentReport(
        experiment=experiment.name,
        question=experiment.question,
        state=state,
        start=experiment.start,
        end=experiment.end,
        known_until=None if found.known_until is None else from_us(found.known_until),
        shares=shares,
        crossed=found.exposed.crossed,
        undeclared=found.exposed.undeclared,
        sample_ratio=ratio,
        decided_by=experiment.outcome,
        outcomes=outcomes,
        verdict=verdict(experiment, state, ratio, outcomes[experiment.outcome]),
    )


def measured(experiment: Experiment, outcome: Outcome, samples: Mapping[str, Sample]) -> Measured:
    """Compare what became of each variant's shoppers with what became of the control's."""
    begin, end = outcome.span(experiment)
    control = samples[experiment.control.name]
    compare = _COMPARE[outcome.kind]
    return Measured(
        description=outcome.description.format(begin=begin, end=end),
        kind=outcome.kind,
        arms=tuple(_arm(name, sample, outcome.kind) for name, sample in samples.items()),
        effects=tuple(
            _effect(variant.name, control, compare(control, samples[variant.name]))
            for variant in experiment.variants[1:]
        ),
    )


_COMPARE: dict[str, Callable[[Sample, Sample], Comparison]] = {"rate": compare_rates, "mean": compare_means}


def _arm(name: str, sample: Sample, kind: str) -> Arm:
    low, high = wilson(sample.mean, sample.shoppers) if kind == "rate" else mean_interval(sample)
    return Arm(name, sample.shoppers, sample.mean, low, high)


def _effect(name: str, control: Sample, found: Comparison) -> Effect:
    relative = found.difference / control.mean if control.mean else math.nan
    return Effect(name, found.difference, found.low, found.high, relative, found.p_value)


def _shares(experiment: Experiment, found: Joined) -> tuple[Share, ...]:
    whole = sum(found.exposed.shoppers.values())
    return tuple(
        Share(variant.name, variant.meaning, found.exposed.shoppers[variant.name], whole * share)
        for variant, share in zip(experiment.variants, experiment.shares, strict=True)
    )


def _ratio(experiment: Experiment, found: Joined) -> SampleRatio:
    p_value = sample_ratio([found.exposed.shoppers[each.name] for each in experiment.variants], experiment.shares)
    return SampleRatio(p_value, p_value < ALARM)
