"""What an experiment says, in one or two plain sentences."""

from __future__ import annotations

import math

from serving.experiments.experiment import Experiment
from serving.experiments.findings import Effect, Measured, SampleRatio, State
from serving.experiments.inference import LEVEL

_NOT_OVER = "It is not over: who stops at the first good look is fooled more often than once in twenty. "


def verdict(experiment: Experiment, state: State, ratio: SampleRatio, found: Measured) -> str:
    """Return what can be said of the outcome that decides.

    With several variants beside the control, each has to pass a bound that is as many times stricter (Bonferroni).
    """
    if ratio.alarm:
        return (
            f"The effects say nothing: shoppers are not split as declared (p {_p(ratio.p_value)}), so something keeps "
            "shoppers of one variant out, or brings others in. Find out what before looking at them."
        )
    if math.isnan(ratio.p_value):
        return "Nobody met it yet."
    bound = (1 - LEVEL) / len(found.effects)
    said = [_said(experiment, found, effect, bound) for effect in found.effects]
    return (_NOT_OVER if state == "running" else "") + " ".join(said)


def _said(experiment: Experiment, found: Measured, effect: Effect, bound: float) -> str:
    name, control = f"'{effect.variant}'", f"'{experiment.control.name}'"
    if math.isnan(effect.p_value):
        return f"Nothing is known yet of {experiment.outcome} with {name} or {control}: too few have had the time."
    values = {arm.variant: _value(arm.value, found.kind) for arm in found.arms}
    numbers = (
        f"{values[effect.variant]} against {values[experiment.control.name]}, a difference of "
        f"{_signed(effect.difference, found.kind)} (95 % interval {_signed(effect.low, found.kind)} to "
        f"{_signed(effect.high, found.kind)}, p {_p(effect.p_value)})"
    )
    if effect.p_value >= bound:
        return f"No difference of {name} from {control} is shown in {experiment.outcome}: {numbers}."
    better = "better" if effect.difference > 0 else "worse"
    return f"{name} is {better} than {control} in {experiment.outcome}: {numbers}."


def _value(value: float, kind: str) -> str:
    return f"{value:.2%}" if kind == "rate" else f"{value:,.2f}"


def _signed(value: float, kind: str) -> str:
    return f"{100 * value:+.2f} points" if kind == "rate" else f"{value:+,.2f}"


def _p(value: float) -> str:
    return f"= {value:.3f}" if value >= 0.0005 else "< 0.001"  # noqa: PLR2004 - what rounds to 0
