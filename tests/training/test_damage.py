"""A table of the log that is damaged or gone is named, with what to do; it is no fault of the program's."""

from __future__ import annotations

from pathlib import Path

import pytest

from feature_repo import cli
from feature_repo.core.errors import LogError
from feature_repo.core.settings import Settings
from training.data.dataset import Dataset
from training.data.labels import label_rows
from training.task import Task


def break_table(settings: Settings, table: str, how: str) -> None:
    folder = settings.log_root / table
    file = max(folder.glob("*.parquet"), key=lambda path: path.stat().st_size)
    whole = file.read_bytes()
    if how == "cut":
        file.write_bytes(whole[:5_000])
    elif how == "page":  # the footer is whole: found only when the column is read
        footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
        file.write_bytes(whole[:4] + bytes(footer - 4) + whole[footer:])
    elif how == "lost":
        file.unlink()
    else:
        folder.rename(settings.home / "elsewhere")


@pytest.mark.parametrize("how", ["cut", "page", "lost", "gone"])
@pytest.mark.parametrize("table", ["purchase", "coupon_redeem", "payment"])
def test_training_on_a_damaged_table_names_it_and_exits_with_2(
    own_demo: Settings, table: str, how: str, capsys: pytest.CaptureFixture[str]
):
    break_table(own_demo, table, how)
    assert cli.main(["train", "redemption"]) == 2
    said = capsys.readouterr().err
    assert f"'{table}'" in said
    assert "Hint: " in said
    assert not (own_demo.home / "reports").exists()


def test_a_damaged_page_under_the_label_query_is_no_fault_of_the_query(
    own_demo: Settings, rows: Dataset, redemption: Task
):
    break_table(own_demo, "coupon_redeem", "page")
    with pytest.raises(LogError, match="'coupon_redeem'") as caught:
        label_rows(redemption, own_demo, versions=rows.log_versions, key="user_id")
    assert str(own_demo.log_root / "coupon_redeem") in caught.value.hint
    assert Path(caught.value.hint.split()[1]).is_dir()
