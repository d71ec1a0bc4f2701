"""One shopper's portrait: facts by dimension, and how fresh they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import pyarrow as pa

from feature_repo.core.clock import DAY, from_us, to_us
from feature_repo.engine.positions import Positions
from serving.catalogue import Label
from serving.features import FeatureTable
from serving.online_features import ServicePlan
from serving.tags.answers import TagValue, by_dimension

# View -> version of its log table; None without a state.
Versions: TypeAlias = Mapping[str, int | None]

DIMENSIONS = {
    "basic": ("Basic", "基本属性"),
    "behaviour": ("Behaviour", "行为"),
    "value": ("Value", "价值"),
    "preference": ("Preference and price sensitivity", "偏好与价格敏感度"),
    "engagement": ("Engagement", "营销互动"),
    "lifecycle": ("Lifecycle", "生命周期"),
    "risk": ("Risk", "风险"),
}

# Where a feature belongs unless its view has a tag "dimension"; the first pattern that fits its full name decides.
_BELONGS = {
    "user_demographics__*": "basic",
    "user_trends__*": "lifecycle",
    "user_payments__days_since": "lifecycle",
    "user_payments__last_event_at": "lifecycle",
    "user_campaigns__*": "engagement",
    "user_redemptions__*": "engagement",
    "user_feedback__*": "engagement",
    "user_price_sensitivity__*": "preference",
    "*__*discount*": "preference",
    "*__amount_*": "value",
    "*": "behaviour",
}


@dataclass(frozen=True)
class Fact:
    """One feature of a shopper.

    Attributes
    ----------
    name
        Full name, ``view__feature``.
    value
        int, float, str, aware datetime, or None for NULL.
    description, zh
        What it says, in English and in Chinese; ``zh`` is empty where the declaration has no Chinese text.
    """

    name: str
    value: Any
    description: str
    zh: str


@dataclass(frozen=True)
class Freshness:
    """How fresh a portrait is.

    Attributes
    ----------
    read_at
        When the state was read, which is where its windows end.
    log_versions
        View -> version of its log table that is folded into the state.
    last_event_at
        The shopper's latest event among the features that tell; None without one in their windows.
    """

    read_at: datetime
    log_versions: Mapping[str, int | None]
    last_event_at: datetime | None


@dataclass(frozen=True)
class Profile:
    """A shopper's portrait.

    Attributes
    ----------
    user_id
        Pseudonym.
    known
        Whether the store holds anything about the shopper; if not, the facts are those of no events.
    dimensions
        Facts by dimension: ``basic``, ``behaviour``, ``value``, ``preference``, ``engagement``, ``lifecycle``, and
        those that tags of views add.
    freshness
        How fresh it is.
    tags
        Words about the shopper, read at the same instant; none where the registry does not know what they are made of.
    degraded
        Whether Redis did not answer: this is the last known one, as of ``freshness.read_at``.
    """

    user_id: str
    known: bool
    dimensions: Mapping[str, tuple[Fact, ...]]
    freshness: Freshness
    degraded: bool = False
    tags: tuple[TagValue, ...] = ()

    @property
    def tagged(self) -> dict[str, tuple[TagValue, ...]]:
        """Tags that are known, by dimension."""
        return by_dimension(self.tags)


def dimension_of(name: str, label: Label | None = None) -> str:
    """Return the dimension of a feature by its full name.

    >>> dimension_of("user_purchases__amount_sum_84d"), dimension_of("user_purchases__count_84d")
    ('value', 'behaviour')
    """
    if label and label.dimension:
        return label.dimension
    return next(dimension for pattern, dimension in _BELONGS.items() if fnmatchcase(name, pattern))


def group(row: pa.Table, labels: Mapping[str, Label]) -> dict[str, tuple[Fact, ...]]:
    """Sort the features of a table's one row into dimensions."""
    found: dict[str, list[Fact]] = {name: [] for name in DIMENSIONS if name in _BELONGS.values()}
    for name in row.column_names:
        label = labels.get(name) or Label(name, "")
        fact = Fact(name, row[name][0].as_py(), label.description, label.zh)
        found.setdefault(dimension_of(name, label), []).append(fact)
    return {name: tuple(facts) for name, facts in found.items()}


def portraits(
    plan: ServicePlan,
    users: Sequence[str],
    found: FeatureTable,
    labels: Mapping[str, Label],
    read: Sequence[tuple[int, Versions]],
    *,
    degraded: bool = False,
) -> tuple[Profile, ...]:
    """Return portraits of shoppers; ``read`` says of each when (us) it was read, and how far states were fed."""
    table = found.table
    rows = [table.slice(row, 1) for row in range(found.length)]
    return tuple(
        Profile(user, known, group(row, labels), freshness(plan, versions, row, at), degraded)
        for user, known, row, (at, versions) in zip(users, found.known.tolist(), rows, read, strict=True)
    )


def log_versions(plan: ServicePlan, client: Any, project: str) -> dict[str, int | None]:
    """Return how far the views of a plan are folded: view -> version of its log table, None without a state.

    Raises
    ------
    redis.RedisError
        The server does not answer.
    """
    positions = Positions(client, project)
    views = [part.declared for part in plan.windowed] + [part.declared for part in plan.ordinary]
    held = {view.name: positions.held(view) for view in views}
    return {view: position.version if position else None for view, position in held.items()}


def freshness(plan: ServicePlan, versions: Mapping[str, int | None], row: pa.Table, at: int) -> Freshness:
    """Tell how fresh a row read at an instant (us) is, of states folded up to some versions."""
    last = max(_last_events(plan, row, at), default=None)
    return Freshness(from_us(at), versions, None if last is None else from_us(last))


def _last_events(plan: ServicePlan, row: pa.Table, at: int) -> Iterator[int]:
    for part in plan.windowed:
        for feature in part.features:
            name = f"{part.prefix}__{feature.name}"
            if name not in row.column_names or (value := row[name][0].as_py()) is None:
                continue
            if feature.function == "last_event_at":
                yield to_us(value)
            elif feature.function == "days_since":
                yield at - round(value * DAY)
