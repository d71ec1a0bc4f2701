"""A commit takes an event once, and refuses rows it could not tell apart."""

from pathlib import Path

import pyarrow as pa
import pytest

from feature_repo.core.errors import LogError
from feature_repo.events.cleaning import complete
from feature_repo.events.log import LogTable, read_snapshot
from feature_repo.events.schema import log_table


def rows(*ids: str | None) -> pa.Table:
    times = [0] * len(ids)
    said = {"event_id": ids, "event_timestamp": times, "ingested_at": times, "user_id": ["u_" + "0" * 32] * len(ids)}
    return complete(pa.table(said), "follow")


@pytest.fixture
def table(tmp_path: Path) -> LogTable:
    opened = log_table(tmp_path, "follow")
    opened.ensure()
    return opened


def test_a_known_event_and_a_repeated_one_are_written_once(table: LogTable) -> None:
    first, second = table.commit(rows("a", "b", "a")), table.commit(rows("b", "c"))
    assert (first.version, first.rows, first.duplicates) == (1, 2, 1)
    assert (second.version, second.rows, second.duplicates) == (2, 1, 1)


def test_a_batch_without_news_makes_no_version(table: LogTable) -> None:
    table.commit(rows("a"))
    assert table.commit(rows("a")).version == read_snapshot(table.path).version == 1


@pytest.mark.parametrize("held", [[], ["a"]])
def test_a_row_without_an_id_is_refused_before_it_hides_all_others(table: LogTable, held: list[str]) -> None:
    table.commit(rows(*held))
    with pytest.raises(LogError, match="1 rows for table 'follow' have no event_id"):
        table.commit(rows("b", None))
    assert table.commit(rows("b")).rows == 1
