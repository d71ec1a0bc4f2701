"""What a task ranks where there is too much to rank it all: items that are proposed for each question."""

from __future__ import annotations

from dataclasses import dataclass

BOUGHT = "bought"
SEPARATOR = "\x1f"  # between the items of an answer; no id has it


@dataclass(frozen=True)
class Candidates:
    """The label query asks about shoppers; each question becomes a row for every item that is proposed.

    Its rows have the column ``bought`` besides the label: the ids of the items that are the answer, joined by
    ``SEPARATOR``. Of questions whose answer is empty no order is better than another, and no row is made. The context
    columns are what is said of an item where it is proposed (``feature_repo.candidates.proposals.COLUMNS``).

    Attributes
    ----------
    table
        Of the log, with what was bought.
    most
        Items proposed for one question.
    fitted_share
        Of the shoppers, at each instant of training: those after it suffice.
    """

    table: str = "purchase"
    most: int = 200
    fitted_share: float = 0.4
