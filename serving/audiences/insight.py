"""What sets an audience apart: every value of every tag, among its people and among everybody (TGI).

The index of a value is 100 x its share in the audience / its share in everybody: 100 is as everywhere, 200 twice as
often. Whether that may be chance is asked by comparing the audience with all others, two-sided (pooled chi-squared, or
Fisher's exact test where fewer than 5 are expected); of many such questions some are answered wrongly, so the p-values
are adjusted (Y. Benjamini, Y. Hochberg, J. R. Statist. Soc. B 57, 1995): of the values called significant, one in
twenty is expected to be none. Who has no value of a tag counts as one that is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from pyroaring import BitMap

from feature_repo.core.errors import DataError
from serving.audiences.audiences import Audiences
from serving.audiences.columns import Tags
from serving.experiments.inference import Sample, compare_rates

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Trait:
    """One value of a tag.

    Attributes
    ----------
    tag, value
        Full name of the column, and the value; None: not known.
    people, everyone
        How many have it: of the audience, and of all.
    share, share_of_everyone
        The same as shares.
    index
        100 x the one share over the other; NaN where nobody has it.
    p_value, adjusted
        Two-sided, against all others; and adjusted for the number of values compared. NaN: there are no others, or the
        audience is selected by this tag.
    asked
        Whether it is, so that its index is far from 100 by construction, which is no finding.
    """

    tag: str
    value: str | bool | None
    people: int
    everyone: int
    share: float
    share_of_everyone: float
    index: float
    p_value: float
    adjusted: float
    asked: bool

    @property
    def significant(self) -> bool:
        """Whether it is unlike others beyond chance."""
        return self.adjusted < SIGNIFICANT


@dataclass(frozen=True)
class Insight:
    """What sets an audience apart.

    Attributes
    ----------
    size, everyone
        People of the audience, and all.
    traits
        Tag by tag in the snapshot's order; the values of one by descending index.
    """

    audience: str
    selection: str
    as_of: datetime
    size: int
    everyone: int
    traits: tuple[Trait, ...]


def insight(audiences: Audiences, audience: str) -> Insight:
    """Compare an audience with everybody, by every value of every tag.

    Raises
    ------
    DataError
        Nobody belongs to it, or as :meth:`Audiences.members`.
    """
    found, everyone = audiences.members(audience), audiences.index.everyone
    if not found.people:
        raise DataError(
            "Nobody belongs to the audience, so nothing sets it apart.",
            hint="`portrait audience estimate` tells what in it nobody has.",
        )
    traits = [
        each
        for name, column in _tags(audiences)
        for each in _traits(name, column, found.people, everyone, asked=name in found.columns)
    ]
    adjusted = benjamini_hochberg([each.p_value for each in traits])
    return Insight(
        audience,
        found.text,
        audiences.as_of,
        len(found.people),
        len(everyone),
        tuple(replace(each, adjusted=value) for each, value in zip(traits, adjusted, strict=True)),
    )


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that calling those below a bound significant errs in that share of them; NaN stays NaN.

    >>> [round(each, 3) for each in benjamini_hochberg([0.01, 0.04, 0.03, float("nan")])]
    [0.03, 0.04, 0.04, nan]
    """
    values = np.array(p_values, np.float64)
    asked = np.flatnonzero(~np.isnan(values))
    order = asked[np.argsort(values[asked])]
    stepped = values[order] * len(order) / np.arange(1, len(order) + 1)
    values[order] = np.minimum.accumulate(stepped[::-1])[::-1]
    return [float(each) for each in np.minimum(values, 1.0)]


def _tags(audiences: Audiences) -> Iterator[tuple[str, Tags]]:
    """Columns of tags; one that says of everybody what one before does is left out: the segment, as a feature too."""
    seen: list[Tags] = []
    for name in audiences.index.names:
        column = audiences.index.column(name) if audiences.index.is_tag(name) else None
        if isinstance(column, Tags) and not any(column.holders == other.holders for other in seen):
            seen.append(column)
            yield name, column


def _traits(name: str, column: Tags, people: BitMap, everyone: BitMap, *, asked: bool) -> list[Trait]:
    holders: dict[str | bool | None, BitMap] = dict(column.holders.items())
    if unknown := everyone - column.known:
        holders[None] = unknown
    sizes = (len(people), len(everyone))
    found = [
        _trait(name, value, (people.intersection_cardinality(held), len(held)), sizes, asked=asked)
        for value, held in holders.items()
    ]
    return sorted(found, key=lambda each: (each.value is None, -each.index, str(each.value)))


def _trait(tag: str, value: str | bool | None, held: tuple[int, int], sizes: tuple[int, int], *, asked: bool) -> Trait:
    (people, everyone), (size, whole) = held, sizes
    share, usual = people / size, everyone / whole
    others = Sample(whole - size, (everyone - people) / (whole - size) if whole > size else 0.0)
    p_value = float("nan") if asked else compare_rates(others, Sample(size, share)).p_value
    index = 100 * share / usual if usual else float("nan")
    return Trait(tag, value, people, everyone, share, usual, index, p_value, float("nan"), asked)
