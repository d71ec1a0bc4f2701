"""What a shopper allowed, and what of a page may be shown for it."""

from __future__ import annotations

from dataclasses import dataclass

from feature_repo.core.errors import PortraitError
from feature_repo.privacy.consent import PURPOSES, Consent, PurposeName
from serving.console.words import Words
from serving.sdk import ProfileClient


@dataclass(frozen=True)
class Chip:
    """One purpose: what it is called, whether it is permitted, and why."""

    purpose: str
    permitted: bool
    answer: str
    why: str


@dataclass(frozen=True)
class Allowed:
    """What the SDK says of a shopper's consent: None where that cannot be read, and nothing is permitted then."""

    said: Consent | None

    def chips(self, words: Words) -> tuple[Chip, ...]:
        """Return every purpose in words; none where nothing can be read."""
        if self.said is None:
            return ()
        return tuple(_chip(self.said, purpose, words) for purpose in PURPOSES)

    def withheld(self, purpose: PurposeName, words: Words) -> str:
        """Return why what serves a purpose is not shown: consent was withdrawn or cannot be read; empty if it is."""
        if self.said is None:
            return words(f"unread.{purpose}")
        return words(f"withheld.{purpose}") if self.said.granted[purpose] is False else ""

    def warning(self, purpose: PurposeName, words: Words) -> str:
        """Return what to know of something that is shown and must not be used; empty where it is permitted."""
        if self.said is None or self.said.permits(purpose):
            return ""
        return words(f"unasked.{purpose}")


def allowed(portrait: ProfileClient, user: str) -> Allowed:
    """Ask what a shopper allowed."""
    try:
        return Allowed(portrait.consent(user))
    except PortraitError:  # Redis is away, or the view of consent was never built: what cannot be read is not permitted
        return Allowed(None)


def _chip(said: Consent, purpose: PurposeName, words: Words) -> Chip:
    permitted = said.permits(purpose)
    why = {True: "said.granted", False: "said.withdrawn", None: "said.nothing"}[said.granted[purpose]]
    answer = words("permitted" if permitted else "not_permitted")
    return Chip(words(f"purpose.{purpose}"), permitted, answer, words(why))
