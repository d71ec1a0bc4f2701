"""Tables of the model cards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table.

    >>> print(markdown(["tier", "shoppers"], [["usual", "9"]]))
    | tier | shoppers |
    | --- | --- |
    | usual | 9 |
    """
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
