"""The declared tags, built when they are first asked for: who asks for scores alone does not wait for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feature_repo.engine.feature_store import quiet_feast

if TYPE_CHECKING:
    from feature_repo.definitions.tag_kinds import Tag


def live_tags() -> tuple[Tag, ...]:
    """Return the tags that applications see."""
    return tuple(tag for tag in declared_tags() if tag.lifecycle == "live")


def declared_tags() -> tuple[Tag, ...]:
    """Return all tags, in the order of their declarations."""
    with quiet_feast():
        from feature_repo.definitions.tags import TAGS  # noqa: PLC0415 - declarations are built while Feast is quiet

    return TAGS


def declared_tag(name: str) -> Tag:
    """Return a tag by its name.

    Raises
    ------
    DeclarationError
        There is no such tag.
    """
    with quiet_feast():
        from feature_repo.definitions.tags import find_tag  # noqa: PLC0415 - as above

    return find_tag(name)
