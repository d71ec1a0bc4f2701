"""What the address of a page says: all that decides what is shown, so that a link is a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from urllib.parse import urlencode

from feature_repo.privacy.pseudonyms import is_pseudonym

PAGES = ("shopper", "features", "models")
PARTS = ("portrait", "timeline", "scores", "recommendations")
LANGUAGES = ("en", "zh")

_CHOICES = {"page": PAGES, "part": PARTS, "lang": LANGUAGES}
_SAID = ("page", "lang")
_LONGEST = 200


@dataclass(frozen=True)
class Address:
    """A page, and what it is about.

    Attributes
    ----------
    page, lang, part
        One of ``PAGES``, ``LANGUAGES``, ``PARTS`` (of a shopper's page).
    user
        Pseudonym of a shopper; a raw id is never in an address.
    before
        Instant the timeline ends at, ISO 8601; empty for now.
    feature
        Full name of a feature, ``view__feature``.
    find
        Words the catalogue is searched for.
    model, version
        A registered model, and the number of a version; empty for the first there is, and for its champion.
    """

    page: str = PAGES[0]
    lang: str = LANGUAGES[0]
    user: str = ""
    part: str = PARTS[0]
    before: str = ""
    feature: str = ""
    find: str = ""
    model: str = ""
    version: str = ""

    @classmethod
    def of(cls, asked: Mapping[str, str], *, lang: str = LANGUAGES[0]) -> Address:
        """Read the part of an address behind its ``?``; what cannot be is left out, and a raw id with it.

        >>> Address.of({"page": "models", "part": "none", "user": "2375"}).query
        {'page': 'models', 'lang': 'en'}
        """
        known = {each.name: asked[each.name][:_LONGEST] for each in fields(cls) if asked.get(each.name)}
        found = replace(cls(lang=lang), **known)
        return replace(
            found, **{name: "" for name in ("user",) if not is_pseudonym(found.user)}, **_chosen(found, lang)
        )

    @property
    def query(self) -> dict[str, str]:
        """Return what an address has to say: page and language always, of the rest what is not as usual."""
        usual = Address()
        said = {each.name: str(getattr(self, each.name)) for each in fields(self)}
        return {name: value for name, value in said.items() if name in _SAID or value != getattr(usual, name)}

    def link(self, **changes: str) -> str:
        """Return the relative address of a page that differs from this one.

        >>> Address(lang="zh").link(page="models", model="churn")
        '?page=models&lang=zh&model=churn'
        """
        return "?" + urlencode(replace(self, **changes).query)


def names_nobody(asked: Mapping[str, str]) -> bool:
    """Whether an address names a shopper by something that is no pseudonym."""
    return bool(asked.get("user")) and not is_pseudonym(asked["user"])


def _chosen(found: Address, lang: str) -> dict[str, str]:
    defaults = {"page": PAGES[0], "part": PARTS[0], "lang": lang}
    asked = {name: getattr(found, name) for name in _CHOICES}
    return {name: value if value in _CHOICES[name] else defaults[name] for name, value in asked.items()}
