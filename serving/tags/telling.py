"""Turns evaluated tags into what is said of them: words, evidence, age, and why one is not known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feature_repo.core.clock import delta_us, from_us
from feature_repo.definitions.tag_sql import SCORE
from serving.catalogue import Label
from serving.tags.answers import ShopperTags, TagEvidence, TagValue
from serving.tags.evaluator import STRENGTH
from serving.tags.inputs import NEVER, Inputs, rounded

if TYPE_CHECKING:
    from feature_repo.definitions.tag_kinds import Tag

_FLAGS = {True: ("Yes", "是"), False: ("No", "否")}


@dataclass(frozen=True, eq=False)
class Telling:
    """Words for evaluated tags.

    Attributes
    ----------
    inputs, said
        What was evaluated, and what came of it.
    labels
        What features say.
    wanting
        Task -> why its champion cannot answer.
    """

    inputs: Inputs
    said: pa.Table
    labels: Mapping[str, Label]
    wanting: Mapping[str, str]

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.said.to_pylist()
        return found

    @cached_property
    def _features(self) -> dict[str, list[Any]]:
        return {}

    def _feature(self, name: str, row: int) -> Any:
        if name not in self._features:
            self._features[name] = self.inputs.feature(name).to_pylist()
        return self._features[name][row]

    def of(self, tags: Sequence[Tag], row: int) -> ShopperTags:
        """Return the tags of a row."""
        inputs = self.inputs
        told = tuple(self._tag(tag, row) for tag in tags)
        return ShopperTags(inputs.users[row], bool(inputs.known[row]), told, from_us(inputs.at))

    def _tag(self, tag: Tag, row: int) -> TagValue:
        value = self._rows[row][tag.name]
        word, zh = words_of(tag, value)
        return TagValue(
            name=tag.name,
            version=tag.version,
            kind=tag.kind,
            dimension=tag.dimension,
            english=tag.english,
            chinese=tag.chinese,
            value=value,
            word=word,
            zh=zh,
            strength=self._rows[row][STRENGTH + tag.name],
            evidence=tuple(self._evidence(tag, row)),
            model=self.inputs.models.get(tag.task) if tag.task else None,
            as_of=self._as_of(tag, row),
            unknown="" if value is not None else self._why(tag, row),
        )

    def _evidence(self, tag: Tag, row: int) -> Iterator[TagEvidence]:
        for name in tag.columns:
            if name.startswith(SCORE):
                task = name.removeprefix(SCORE)
                score = self.inputs.scores.get(task)
                # As the tag reads it: the last digits of a score differ with how many are asked at once.
                value: Any = None if score is None else float(rounded(score[row : row + 1])[0])
                yield TagEvidence(name, value, f"Score of task {task}.", f"任务 {task} 的得分")
            else:
                label = self.labels.get(name) or Label(name, "")
                value = self._feature(name, row)
                yield TagEvidence(name, value, label.description, label.zh)

    def _stamps(self, tag: Tag, row: int) -> dict[str, int]:
        views = {name.split("__", 1)[0] for name in tag.features}
        return {view: int(stamps[row]) for view, stamps in self.inputs.stamps.items() if view in views}

    def _as_of(self, tag: Tag, row: int) -> datetime:
        written = [stamp for stamp in self._stamps(tag, row).values() if stamp != NEVER]
        return from_us(min([self.inputs.at, *written]))

    def _why(self, tag: Tag, row: int) -> str:
        if tag.task is not None and tag.task in self.wanting:
            return self.wanting[tag.task]
        for view, stamp in self._stamps(tag, row).items():
            if stamp == NEVER:
                return f"{view} holds no row of the shopper."
            if tag.fresh is not None and self.inputs.at - stamp > delta_us(tag.fresh):
                return f"The row of {view} is older than {tag.fresh.days} days."
        return "Too little is known of the shopper."


def words_of(tag: Tag, value: str | bool | None) -> tuple[str, str]:
    """Return what a value of a tag says, in English and in Chinese.

    >>> from feature_repo.definitions.tags import find_tag
    >>> words_of(find_tag("churn_risk"), "high"), words_of(find_tag("regular"), False)
    (('High', '高'), ('No', '否'))
    >>> words_of(find_tag("favourite_category"), "BEEF")
    ('BEEF', 'BEEF')
    """
    if value is None:
        return "", ""
    if isinstance(value, bool):
        return tag.values.get(str(value).lower(), _FLAGS[value])
    return tag.values.get(value, (value, value))
