"""Tables of Markdown, and links to their headings as GitHub makes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Return a table; a bar inside a cell is no border.

    >>> print(table(("name", "says"), [("a|b", "")]))
    | name | says |
    |---|---|
    | a\|b |  |
    """
    lines = [headers, ["---"] * len(headers), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("|---" * len(line) + "|" if line == lines[1] else f"| {' | '.join(line)} |" for line in lines)


def anchor(heading: str) -> str:
    """Return what GitHub names a heading: lower case, no punctuation, a hyphen for a space.

    >>> anchor("Where do I change ...?"), anchor("`portrait jobs erase`"), anchor("中文")
    ('where-do-i-change-', 'portrait-jobs-erase', '中文')
    """
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
