"""What the page of models shows: who answers and who would, how good they are, how fair, and what was said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from feature_repo.core.clock import from_us
from feature_repo.core.mlflow_client import CHAMPION
from serving.console.fairness_view import Fairness, fairness_of
from serving.console.figures import Table, with_interval
from serving.console.instants import Moment, moment
from serving.console.shelf import CHALLENGER, Registered, Run, Version
from serving.console.words import Words

# Metrics in the order a reader looks for them; others follow by name.
TITLES: Mapping[str, str] = {
    "auc": "AUC",
    "average_precision": "AP",
    "logloss": "log loss",
    "ece": "ECE",
    "brier": "Brier",
    "r2": "R2",
    "mae": "MAE",
    "spearman": "Spearman",
    "recall_at_10": "R@10",
    "ndcg_at_10": "NDCG@10",
    "map_at_10": "MAP@10",
    "precision_at_10": "P@10",
    "precision_at_5": "P@5",
}
_ENDS = ("_low", "_high")
_BASELINE = "baseline/"
# Pictures of a run worth a place on the page, each where it is logged.
_CALIBRATION, _OTHERS = ("calibration",), ("tenths", "importance", "segments", "scores", "lift")
_FAIRNESS = ("fairness_gaps", "fairness_groups")
_ROW = 2


@dataclass(frozen=True)
class ModelLine:
    """A model in the list: what it answers, who is champion and who would be, its leading figures."""

    name: str
    question: str
    champion: str
    challenger: str
    gates: str
    figures: tuple[str, ...]
    trained_until: str


@dataclass(frozen=True)
class VersionView:
    """One version.

    Attributes
    ----------
    metrics
        The version's, then its baselines', each with its interval where one was logged.
    beside
        Champion and challenger, where there are both: each on test rows of its own.
    gates
        Each with what was measured and whether it holds.
    calibration, pictures, fairness_pictures
        PNG; none where none was drawn.
    fairness
        By what shoppers are told apart; none where that was not measured, and ``fairness_missing`` may say why.
    history
        How aliases moved, the latest first.
    """

    name: str
    aliases: tuple[str, ...]
    question: str
    trained_until: str
    registered: Moment
    features: int
    metrics: Table
    beside: Table | None
    gates: Table
    calibration: tuple[bytes, ...]
    pictures: tuple[bytes, ...]
    fairness: tuple[Fairness, ...]
    fairness_missing: str
    fairness_pictures: tuple[bytes, ...]
    card: str
    history: Table


def model_line(model: Registered, run: Run | None, words: Words) -> ModelLine:
    """Return a model's line; ``run`` is of its champion, else of its newest version."""
    champion, challenger = model.having(CHAMPION), model.having(CHALLENGER)
    shown = model.find("")
    leading = _own(run.metrics)[:_ROW] if run else []
    return ModelLine(
        name=model.name,
        question=model.description,
        champion=_named(champion),
        challenger=_named(challenger),
        gates=_gates_word(shown.tags.get("gates", ""), words) if shown else "",
        figures=tuple(f"{_title(name)} {_figure(run.metrics, name)}" for name in leading) if run else (),
        trained_until=_day(shown.tags.get("trained_until", "")) if shown else "",
    )


def version_view(
    model: Registered, version: Version, run: Run, rival: tuple[Version, Run] | None, now: datetime, words: Words
) -> VersionView:
    """Put a version into words; ``rival`` is the challenger of a champion, or the champion of another version."""
    return VersionView(
        name=f"{version.name}@{version.number}",
        aliases=version.aliases,
        question=model.description,
        trained_until=_day(version.tags.get("trained_until", "")),
        registered=moment(from_us(version.created_ms * 1000), now, words),
        features=len(version.features),
        metrics=_metrics(version, run),
        beside=_beside((version, run), rival, words) if rival else None,
        gates=_gates(run, words),
        calibration=_pictures(run, _CALIBRATION),
        pictures=_pictures(run, _OTHERS),
        fairness=fairness_of(run.fairness, words),
        fairness_missing=str(run.fairness.get("unavailable", "")),
        fairness_pictures=_pictures(run, _FAIRNESS),
        card=run.card,
        history=_history(model, words),
    )


def _metrics(version: Version, run: Run) -> Table:
    own = _own(run.metrics)
    baselines = dict.fromkeys(name.split("/")[1] for name in run.metrics if name.startswith(_BASELINE))
    rows = [(f"{version.name}@{version.number}", *(_figure(run.metrics, name) for name in own))]
    rows += [(each, *(_figure(run.metrics, f"{_BASELINE}{each}/{name}") for name in own)) for each in baselines]
    return Table(("", *map(_title, own)), tuple(rows), on=0)


def _beside(one: tuple[Version, Run], other: tuple[Version, Run], words: Words) -> Table:
    own = _own(one[1].metrics)
    rows = [
        (
            f"{version.name}@{version.number}",
            ", ".join(map(words.alias, version.aliases)),
            *(_figure(run.metrics, name) for name in own),
        )
        for version, run in (one, other)
    ]
    return Table(("", "", *map(_title, own)), tuple(rows), on=0)


def _gates(run: Run, words: Words) -> Table:
    measured = run.report.get("measured", {})
    rows = [
        (str(gate), str(measured.get(gate, "")), words("holds" if held else "fails"))
        for gate, held in run.report.get("gates", {}).items()
    ]
    return Table((words("gate"), words("measured"), ""), tuple(rows))


def _history(model: Registered, words: Words) -> Table:
    rows = [
        (each.at[:19].replace("T", " ") + " UTC", each.alias, each.before or "-", each.after or "-", each.reason)
        for each in reversed(model.moves)
    ]
    return Table(tuple(words(name) for name in ("when", "alias", "before", "after", "why")), tuple(rows))


def _own(metrics: Mapping[str, float]) -> list[str]:
    """Names of a run's own figures, without their intervals and those of parts and baselines."""
    plain = [name for name in metrics if "/" not in name and not name.endswith(_ENDS)]
    known = [name for name in TITLES if name in plain]
    return known or sorted(plain)


def _title(name: str) -> str:
    return TITLES.get(name, name.replace("_", " "))


def _figure(metrics: Mapping[str, float], name: str) -> str:
    if name not in metrics:
        return ""
    return with_interval(metrics[name], *(metrics.get(name + end) for end in _ENDS))


def _pictures(run: Run, names: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(run.pictures[name] for name in names if name in run.pictures)


def _named(version: Version | None) -> str:
    return version.number if version else ""


def _gates_word(said: str, words: Words) -> str:
    return words(f"gates.{said}") if said in {"passed", "failed"} else said


def _day(said: str) -> str:
    try:
        return f"{datetime.fromisoformat(said).astimezone(UTC):%Y-%m-%d}"
    except ValueError:
        return said
