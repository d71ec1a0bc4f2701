"""How a column of a snapshot is called, in English and in Chinese: as it is declared, else by its name."""

from __future__ import annotations


def spoken(name: str) -> str:
    """Return a column's name as people say it.

    >>> spoken("tag__churn_risk"), spoken("user_segments__segment"), spoken("score__churn")
    ('churn risk', 'segment', 'churn')
    """
    return name.split("__", 1)[-1].replace("_", " ")


def said(value: str | bool | None) -> str:
    """Return a tag's value as people say it.

    >>> [said(each) for each in ("high", True, False, None)]
    ['high', 'yes', 'no', 'not known']
    """
    if value is None:
        return "not known"
    return value if isinstance(value, str) else "yes" if value else "no"
