"""What a shopper's page shows: who, how fresh, what is permitted, and the portrait by dimension."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from serving.console.consent import Allowed, Chip, allowed
from serving.console.desk import Desk
from serving.console.instants import Moment, moment
from serving.console.values import is_nothing, value_text
from serving.console.words import Words
from serving.profile import Fact, Profile
from serving.reasons.answers import Segment, Word
from serving.reasons.page import segment_of
from serving.reasons.shown import dimension_words
from serving.tags.answers import TagValue

_RISK = "risk"


@dataclass(frozen=True)
class Placed:
    """A segment or a stage of life: its name, and what it says."""

    name: str
    meaning: str


@dataclass(frozen=True)
class TagLine:
    """A tag that is known: what it is called, its word, its strength (0 to 1, None if it has none), what it is of."""

    label: str
    word: str
    strength: float | None
    because: str
    as_of: Moment


@dataclass(frozen=True)
class FactLine:
    """A feature: what it says, its value with a unit, its full name."""

    label: str
    value: str
    name: str


@dataclass(frozen=True)
class DimensionView:
    """One dimension of a portrait.

    Attributes
    ----------
    withheld, warning
        Why it is not shown, or must not be used; empty if it may.
    facts, nothing
        Features with something to say, and those that are zero or not known.
    unknown
        Tags that are not known, each with why.
    """

    name: str
    title: str
    withheld: str
    warning: str
    tags: tuple[TagLine, ...]
    facts: tuple[FactLine, ...]
    nothing: tuple[FactLine, ...]
    unknown: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ShopperView:
    """The head of a shopper's page, and the portrait below it.

    Attributes
    ----------
    known
        Whether any event of the shopper is known.
    degraded
        When what is shown was read, if Redis does not answer; else empty.
    consent
        Purposes in words; none where they cannot be read.
    """

    user_id: str
    known: bool
    degraded: str
    last_event: Moment | None
    read_at: Moment
    segment: Placed | None
    stage: Placed | None
    placed_at: Moment | None
    consent: tuple[Chip, ...]
    dimensions: tuple[DimensionView, ...]


def shopper_view(desk: Desk, user: str, words: Words) -> ShopperView:
    """Read a shopper's portrait.

    Raises
    ------
    DeclarationError, NotMaterializedError, StoreUnavailableError
        There is nothing to read it from.
    """
    profile = desk.portrait.profile(user)
    return told(profile, segment_of(desk.portrait, user), allowed(desk.portrait, user), desk.now, words)


def told(profile: Profile, placed: Segment | None, said: Allowed, now: datetime, words: Words) -> ShopperView:
    """Put a portrait into words."""
    fresh = profile.freshness
    last, at = fresh.last_event_at, placed.placed_at if placed else None
    return ShopperView(
        user_id=profile.user_id,
        known=profile.known,
        degraded=moment(fresh.read_at, now, words).exact if profile.degraded else "",
        last_event=moment(last, now, words) if last else None,
        read_at=moment(fresh.read_at, now, words),
        segment=_placed(placed.segment if placed else None, words),
        stage=_placed(placed.stage if placed else None, words),
        placed_at=moment(at, now, words) if at else None,
        consent=said.chips(words),
        dimensions=tuple(_dimensions(profile, said, now, words)),
    )


def _placed(word: Word | None, words: Words) -> Placed | None:
    # What a segment means is declared in English alone.
    return Placed(words.of(word.english, word.chinese), words.of(word.meaning, " ").strip()) if word else None


def _dimensions(profile: Profile, said: Allowed, now: datetime, words: Words) -> Iterable[DimensionView]:
    for name in dict.fromkeys([*profile.dimensions, *(tag.dimension for tag in profile.tags)]):
        facts = profile.dimensions.get(name, ())
        tags = [tag for tag in profile.tags if tag.dimension == name]
        withheld = said.withheld("risk", words) if name == _RISK else ""
        if withheld:
            facts, tags = (), []
        known = [tag for tag in tags if tag.value is not None]
        yield DimensionView(
            name=name,
            title=words.of(*dimension_words(name)),
            withheld=withheld,
            warning=said.warning("risk", words) if name == _RISK else "",
            tags=tuple(_tag(tag, now, words) for tag in known),
            facts=_facts((fact for fact in facts if not is_nothing(fact.value)), words),
            nothing=_facts((fact for fact in facts if is_nothing(fact.value)), words),
            unknown=tuple((words.of(tag.english, tag.chinese), tag.unknown) for tag in tags if tag.value is None),
        )


def _tag(tag: TagValue, now: datetime, words: Words) -> TagLine:
    colon, between = words.of(": ", "："), words.of("; ", "；")
    labels = [words.of(each.description, each.zh).rstrip(".") for each in tag.evidence]
    values = [value_text(each.name, each.value, words) for each in tag.evidence]
    made_of = between.join(f"{label}{colon}{value}" for label, value in zip(labels, values, strict=True))
    return TagLine(
        label=words.of(tag.english, tag.chinese),
        word=words.of(tag.word, tag.zh),
        strength=tag.strength,
        because=f"{made_of} ({tag.model})" if tag.model else made_of,
        as_of=moment(tag.as_of, now, words),
    )


def _facts(facts: Iterable[Fact], words: Words) -> tuple[FactLine, ...]:
    return tuple(
        FactLine(words.of(fact.description, fact.zh).rstrip("."), value_text(fact.name, fact.value, words), fact.name)
        for fact in facts
    )
