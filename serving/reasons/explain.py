"""Explains a model's answer about one shopper, from what it was asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from feature_repo.core.clock import from_us
from feature_repo.core.errors import DataError
from feature_repo.engine.tiles import floor
from serving.asked import Asked
from serving.catalogue import Label
from serving.entities import USER
from serving.models import Model
from serving.online_features import Reading, ServicePlan
from serving.reasons.explanation import Explanation, Part, Reason, Trace
from serving.reasons.families import Family, families
from serving.reasons.lineage import Lineage, Origin
from serving.reasons.shares import shares_of
from serving.reasons.telling import Teller
from serving.service_views import as_arrow


@dataclass(frozen=True, eq=False)
class Grounds:
    """What explaining a model needs to know of its inputs; worked out once.

    Attributes
    ----------
    families
        The model's inputs, sorted.
    teller
        Puts them into words.
    """

    model: Model
    plan: ServicePlan
    labels: Mapping[str, Label]
    families: tuple[Family, ...]
    teller: Teller

    @classmethod
    def of(cls, model: Model, plan: ServicePlan, labels: Mapping[str, Label]) -> Grounds:
        """Sort a model's inputs."""
        lineage = Lineage(plan)
        labels = {**labels, **{name: Label(*words) for name, words in model.meanings.items() if words[0]}}
        sorted_ = families(lineage, model.columns, model.context, labels)
        return cls(model, plan, labels, sorted_, Teller(lineage, labels))

    @property
    def lineage(self) -> Lineage:
        """Where the features come from."""
        return self.teller.lineage

    def explain(self, asked: Asked) -> Explanation:
        """Explain the answer about the one row that was asked.

        Raises
        ------
        ModelUnavailableError
            The model cannot say why.
        """
        inputs = asked.inputs
        shares, [margin] = shares_of(self.model, inputs)
        [score] = asked.scores()
        reasons = self._reasons(asked, inputs[0].tolist(), shares[0, :-1].tolist())
        return Explanation(
            user_id=score.user_id,
            task=self.model.task,
            model=score.model,
            value=score.value,
            margin=float(margin),
            base=float(shares[0, -1]),
            dimensions=_by_dimension(reasons),
            reasons=reasons,
            features_as_of=score.features_as_of,
            known=score.known,
            missing=score.missing,
            defaults=score.defaults,
        )

    def _reasons(self, asked: Asked, inputs: Sequence[float], shares: Sequence[float]) -> tuple[Reason, ...]:
        values = values_of(asked.reading, self.lineage, self._read)
        values |= {name: inputs[self.model.columns.index(name)] for name in self.model.context}
        added = dict(zip(self.model.columns, shares, strict=True))
        traces = traces_of(asked, self.lineage, values, self._behind)
        found = [
            self.teller.reason(family, [self._part(name, values, added) for name in family.members], traces)
            for family in self.families
        ]
        return tuple(sorted(found, key=lambda reason: -abs(reason.contribution)))

    def _part(self, name: str, values: Mapping[str, Any], added: Mapping[str, float]) -> Part:
        label = self.labels.get(name) or Label(name.replace("_", " ").capitalize(), "")
        return Part(name, values[name], added[name], label.description, label.zh)

    @property
    def _behind(self) -> list[str]:
        return [name for family in self.families for name in family.behind]

    @property
    def _read(self) -> list[str]:
        return list(dict.fromkeys([*self.model.features, *self._behind]))


def check_one(asked: Asked) -> None:
    """Refuse a question about none or several.

    Raises
    ------
    DataError
        It is.
    """
    if asked.reading.length != 1:
        raise DataError(
            f"{asked.reading.length} rows were asked about; one answer is explained at a time.",
            hint="pass one id, or a DataFrame of one row.",
        )


def values_of(reading: Reading, lineage: Lineage, names: Iterable[str]) -> dict[str, Any]:
    """Return features of a reading's first row by full name, as Python's values."""
    columns = reading.columns
    return {name: as_arrow(columns[name], lineage.types[name])[0].as_py() for name in names}


def traces_of(asked: Asked, lineage: Lineage, values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Trace]:
    """Return what windowed features of the first row were computed over, by full name."""
    versions = versions_of(asked.reading)
    return {name: _trace(asked, lineage.origins[name], values[name], versions) for name in names}


def versions_of(reading: Reading) -> list[int | None]:
    """Return of each windowed part the log version the first row's value holds; None where no state is served."""
    found: list[int | None] = []
    rows = [reading.rows[i] for i in reading.plan.about[: len(reading.plan.windowed)]]
    for of, states in zip(rows, reading.answers.states, strict=True):
        served = states.layout is not None
        found.append(int(of.spread_array(states.versions())[0]) if served else None)
    return found


def unanswered(reading: Reading) -> set[str]:
    """Return windowed features that the states which were served could not answer, and which are NULL for that."""
    return {
        f"{part.prefix}__{feature.name}"
        for part, states in zip(reading.plan.windowed, reading.answers.states, strict=True)
        for feature in part.features
        if states.layout is None or not states.layout.serves(part.view, feature)
    }


def _trace(asked: Asked, origin: Origin, value: Any, versions: Sequence[int | None]) -> Trace:
    columns = zip(origin.part.entity.join_keys, origin.part.entity.columns, strict=True)
    return Trace(
        name=origin.name,
        view=str(origin.part.declared.name),
        value=value,
        table=origin.table,
        about={key: str(asked.entities[column][0]) for key, column in columns if column != USER},
        since=from_us(floor(asked.at - origin.feature.reach, origin.part.view.hop)),
        until=from_us(asked.at),
        log_version=versions[origin.place],
    )


def _by_dimension(reasons: Iterable[Reason]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for reason in reasons:
        sums[reason.dimension] = sums.get(reason.dimension, 0.0) + reason.contribution
    return dict(sorted(sums.items(), key=lambda each: -abs(each[1])))
