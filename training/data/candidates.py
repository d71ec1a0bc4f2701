"""Rows of a task that ranks: for each question, the items that are proposed at its instant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from feature_repo.candidates.history import History, histories, history_rows
from feature_repo.candidates.proposals import COLUMNS, Proposals, Proposer
from feature_repo.candidates.shelf import Shelf, shelf_at
from feature_repo.candidates.taste import Taste
from feature_repo.core.clock import delta_us, to_us
from feature_repo.core.settings import Settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.events.log import reading
from training.data.labels import AT, Labels
from training.data.log_views import open_tables
from training.declaring.candidates import BOUGHT, SEPARATOR, Candidates
from training.retrieving.learn import learn
from training.task import LABEL, Task, TaskUnavailableError

RELEVANT = "relevant"
RELEVANT_NEW = "relevant_new"
IS_NEW = "never_bought"
ITEM, CATEGORY, MAKER, BUYERS = "item_id", "category", "maker", "buyers"

_KNUTH = 2_654_435_761  # spreads consecutive numbers over 32 bits (Knuth, The Art of Computer Programming, 6.4)


def candidate_rows(task: Task, settings: Settings, found: Labels, *, versions: Mapping[str, int]) -> pd.DataFrame:
    """Return a row per question and proposed item.

    At each instant the taste is learnt from what was bought before it, so that nothing is proposed by what came later.
    Before the test stretch, a share of the shoppers is asked about, chosen by their first purchase.

    Parameters
    ----------
    found
        The questions, with ``bought``.

    Returns
    -------
    pandas.DataFrame
        The columns of the questions without ``bought``; ``label`` of the item; ``item_id``, ``category`` (empty if
        unknown), ``maker``, ``buyers`` (how many had bought it); what each method says of it; ``never_bought``;
        ``relevant`` and ``relevant_new``: how many items the answer has, and how many of those never bought before.
    """
    declared = _declared(task)
    cut = found.log_end - delta_us(task.holdout)
    parts = []
    with closing(connect_duckdb(settings)) as connection:
        snapshots = open_tables(connection, settings, {declared.table: versions[declared.table]})
        for at, questions in found.rows[found.rows[LABEL] == 1].groupby(AT, sort=True):
            instant = to_us(pd.Timestamp(str(at)).to_pydatetime())
            with reading(*snapshots):
                proposer, known = _learnt(connection, declared, instant, settings.threads)
            share = declared.fitted_share if instant < cut else 1.0
            parts += list(_asked(questions, proposer, known, instant, declared.most, share))
    if not parts:
        raise TaskUnavailableError(
            f"Task '{task.name}' finds nothing to propose in this log.", hint="import purchases that name their items."
        )
    return pd.concat(parts, ignore_index=True)


def head_state(task: Task, settings: Settings, *, versions: Mapping[str, int], end: int) -> tuple[Taste, Shelf]:
    """Return what a registered model proposes by: learnt from everything up to the log's end (us), itself included."""
    declared = _declared(task)
    with closing(connect_duckdb(settings)) as connection:
        snapshots = open_tables(connection, settings, {declared.table: versions[declared.table]})
        with reading(*snapshots):
            proposer, _ = _learnt(connection, declared, end + 1, settings.threads)
    return proposer.taste, proposer.shelf


def _declared(task: Task) -> Candidates:
    if task.candidates is None:
        raise ValueError(f"task '{task.name}' proposes nothing")
    return task.candidates


def _learnt(
    connection: duckdb.DuckDBPyConnection, declared: Candidates, at: int, threads: int
) -> tuple[Proposer, dict[str, History]]:
    rows = history_rows(connection, declared.table, at)
    return Proposer(learn(rows, threads=threads), shelf_at(connection, declared.table, at)), dict(histories(rows, at))


def _asked(
    questions: pd.DataFrame, proposer: Proposer, known: Mapping[str, History], at: int, most: int, share: float
) -> Iterator[pd.DataFrame]:
    """Yield one frame per question, small enough columns to hold many."""
    for question in questions.to_dict("records"):
        history = known.get(question["user_id"]) or History.nothing(at)
        if _chance(history) < share:
            yield _rows(question, proposer, history, proposer.propose(history, at, most=most))


def _chance(history: History) -> float:
    """Return a number in [0, 1) that follows from a shopper's first purchase, and not from the pseudonym."""
    first = int(history.first_at.min()) // 1_000_000 if len(history.items) else 0
    return float((first * _KNUTH) % 2**32 / 2**32)


def _rows(question: Mapping[Any, Any], proposer: Proposer, history: History, proposals: Proposals) -> pd.DataFrame:
    answer = set(question[BOUGHT].split(SEPARATOR))
    items = proposer.shelf.items[proposals.places]
    return pd.DataFrame(
        {
            **{name: value for name, value in question.items() if name != BOUGHT},
            LABEL: np.fromiter((item in answer for item in items), np.int64, len(items)),
            ITEM: items,
            CATEGORY: proposer.shelf.category[proposals.places],
            MAKER: proposer.shelf.maker[proposals.places],
            BUYERS: proposer.shelf.buyers[proposals.places],
            IS_NEW: ~proposals.bought,
            RELEVANT: float(len(answer)),
            RELEVANT_NEW: float(len(answer - set(history.items))),
            **{name: proposals.column(name) for name in COLUMNS},
        }
    )
