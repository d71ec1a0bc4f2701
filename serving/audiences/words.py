"""How a column of a snapshot is called, in English and in Chinese: as its tag is declared, else by its name."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from serving.tags.compute import TAG
from serving.tags.declared import declared_tags
from serving.tags.telling import words_of

if TYPE_CHECKING:
    from feature_repo.definitions.tag_kinds import Tag

_UNKNOWN = ("not known", "未知")
_FLAGS = {True: ("yes", "是"), False: ("no", "否")}


def called(column: str) -> tuple[str, str]:
    """Return what people call a column; the Chinese is empty where none was declared.

    >>> called("tag__churn_risk"), called("score__churn")
    (('churn risk', '流失风险'), ('churn', ''))
    """
    tag = _tags().get(column)
    return spoken(column), tag.chinese if tag else ""


def worded(column: str, value: str | bool | None) -> tuple[str, str]:
    """Return what people call a value of a column; the Chinese is empty where it is no other.

    >>> worded("tag__churn_risk", "high"), worded("tag__favourite_category", "BEEF"), worded("tag__regular", None)
    (('high', '高'), ('BEEF', ''), ('not known', '未知'))
    """
    english, tag = said(value), _tags().get(column)
    if value is None:
        return _UNKNOWN
    chinese = words_of(tag, value)[1] if tag else _FLAGS[value][1] if isinstance(value, bool) else ""
    return english, "" if chinese == english else chinese


def spoken(column: str) -> str:
    """Return a column's name as people say it.

    >>> spoken("tag__churn_risk"), spoken("user_segments__segment"), spoken("score__churn")
    ('churn risk', 'segment', 'churn')
    """
    return column.split("__", 1)[-1].replace("_", " ")


def said(value: str | bool | None) -> str:
    """Return a tag's value as people say it.

    >>> [said(each) for each in ("high", True, False, None)]
    ['high', 'yes', 'no', 'not known']
    """
    if value is None:
        return _UNKNOWN[0]
    return value if isinstance(value, str) else _FLAGS[value][0]


@cache
def _tags() -> dict[str, Tag]:
    return {TAG + tag.name: tag for tag in declared_tags()}
