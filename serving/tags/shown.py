"""Tags as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serving.reasons.sentences import number
from serving.tags.answers import TagValue

_BAR = 5


def rows_of(tags: Sequence[TagValue]) -> Iterator[tuple[str, ...]]:
    """Return a row per tag by dimension, known ones first in theirs."""
    for name in dict.fromkeys(tag.dimension for tag in tags):
        mine = [tag for tag in tags if tag.dimension == name]
        for tag in sorted(mine, key=lambda tag: tag.value is None):
            yield _row(tag)


def evidence_text(tag: TagValue) -> str:
    """Return what a tag was made of, in one line; why it is not known, where it is not."""
    if tag.unknown:
        return tag.unknown
    said = [f"{each.name} {'-' if each.value is None else number(each.value)}" for each in tag.evidence]
    return ", ".join(said) + (f" ({tag.model})" if tag.model else "")


def bar(strength: float | None) -> str:
    """Return a strength as a bar.

    >>> bar(0.6), bar(None)
    ('███··', '')
    """
    if strength is None:
        return ""
    full = round(strength * _BAR)
    return "█" * full + "·" * (_BAR - full)


def value_text(tag: TagValue) -> str:
    """Return a tag's value as a text; a dash where it is not known."""
    return "-" if tag.value is None else str(tag.value).lower() if isinstance(tag.value, bool) else tag.value


def _row(tag: TagValue) -> tuple[str, ...]:
    value = value_text(tag)
    strength = "" if tag.strength is None else f"{tag.strength:.2f} {bar(tag.strength)}"
    return (
        tag.dimension,
        tag.name,
        tag.chinese,
        value,
        "" if tag.zh == value else tag.zh,
        strength,
        evidence_text(tag),
        _as_of(tag),
    )


def _as_of(tag: TagValue) -> str:
    return f"{tag.as_of:%Y-%m-%d %H:%M}"
