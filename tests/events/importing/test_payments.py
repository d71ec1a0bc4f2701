"""Payments derived from lines of orders are what a shopper would add up by hand, however the lines come."""

from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from feature_repo.core.clock import HOUR, FixedClock, to_us
from feature_repo.core.settings import Settings
from feature_repo.events.importing.job import ImportReport, import_events
from feature_repo.events.importing.mapping_file import read_mapping
from feature_repo.privacy.pseudonyms import load_pseudonymiser
from importing_homes import NOW, import_text, rows_of

MAPPING = """
source: {format: csv}
time: {zone: UTC}
event_type: purchase
columns:
  {user_id: who, event_timestamp: at, order_id: order, store_id: store, item_id: item, quantity: units, amount: paid}
duplicates: keep
derive: payment
"""
HEADER = "who,at,order,store,item,units,paid\n"


class Line(NamedTuple):
    """A line of an order as a file has it; '' where it says nothing."""

    who: str
    at: str
    order: str
    store: str
    item: str
    units: str
    paid: str


def bring(settings: Settings, files: list[Path], mapping: str = MAPPING) -> ImportReport:
    names = [str(each) for each in files]
    return import_events(settings, FixedClock(to_us(NOW)), names, read_mapping(mapping, "m"))


def written(path: Path, lines: list[Line]) -> Path:
    path.write_text(HEADER + "".join(",".join(line) + "\n" for line in lines))
    return path


def by_hand(settings: Settings, lines: list[Line]) -> list[tuple[Any, ...]]:
    """Sums of each order, a line at a time."""
    orders: dict[tuple[str, ...], list[Line]] = defaultdict(list)
    for line in lines:
        orders[line.who, line.order, line.store, "" if line.order else line.at].append(line)
    pseudonym = load_pseudonymiser(settings.home).pseudonym
    return sorted(
        (
            pseudonym(who),
            order or "-",
            store or "-",
            max(line.at for line in found),
            round(sum(float(line.paid or 0) for line in found), 6),
            len(found),
            sum(int(line.units or 0) for line in found),
        )
        for (who, order, store, _), found in orders.items()
    )


def in_the_log(settings: Settings) -> list[tuple[Any, ...]]:
    return sorted(
        (
            row["user_id"],
            row["order_id"] or "-",
            row["store_id"] or "-",
            f"{row['event_timestamp']:%Y-%m-%d %H:%M}",
            round(row["amount"] or 0, 6),
            row["lines"],
            row["items"] or 0,
        )
        for row in rows_of(settings, "payment")
    )


lines = st.lists(
    st.builds(
        Line,
        who=st.sampled_from(["ada", "bob"]),
        at=st.sampled_from(["2024-05-01 10:00", "2024-05-01 10:01"]),
        order=st.sampled_from(["", "1", "01"]),
        store=st.sampled_from(["", "north"]),
        item=st.sampled_from(["7", "8"]),
        units=st.sampled_from(["", "1", "3"]),
        paid=st.sampled_from(["", "0.1", "2.5", "-1"]),
    ),
    min_size=1,
    max_size=12,
)


@examples(max_examples=15)
@given(found=lines, cut=st.integers(0, 12), overlap=st.integers(0, 3))
def test_payments_are_the_sums_of_the_lines_though_files_overlap(
    tmp_path_factory: pytest.TempPathFactory, found: list[Line], cut: int, overlap: int
) -> None:
    folder = tmp_path_factory.mktemp("orders")
    settings = Settings(home=folder / "home", threads=1, memory="1GB")
    # An export that holds all of another, or none of it: what is alike within a file is told apart by its number.
    apart = [line for line in found[cut:] if line not in found[:cut]]
    first = written(folder / "a.csv", found[:cut])
    second = written(folder / "b.csv", [*found[:cut], *apart] if overlap else apart)
    report = bring(settings, [first, second])
    kept = [*found[:cut], *apart]
    assert in_the_log(settings) == by_hand(settings, kept)
    assert (report.published, report.derived) == (len(kept), len(by_hand(settings, kept)))
    assert report.read == report.published + report.duplicates
    again = bring(settings, [second, first])
    assert (again.published, again.derived) == (0, 0)


LINE = Line("ada", "2024-05-01 10:00", "1", "", "7", "1", "2.5")


def test_an_order_of_an_earlier_import_keeps_its_payment(own_settings: Settings, tmp_path: Path) -> None:
    bring(own_settings, [written(tmp_path / "a.csv", [LINE])])
    late = bring(own_settings, [written(tmp_path / "b.csv", [LINE, LINE._replace(item="8")])])
    assert (late.published, late.derived, late.duplicates) == (1, 0, 1)
    assert [row["lines"] for row in rows_of(own_settings, "payment")] == [1]


def test_lines_dated_ahead_of_now_are_the_same_orders_when_they_come_again(
    own_settings: Settings, tmp_path: Path
) -> None:
    ahead = [LINE._replace(at=f"2026-01-01 {hour}:00", order="") for hour in ("05", "06")]
    file = written(tmp_path / "a.csv", ahead)
    mapping = read_mapping(MAPPING, "m")
    reports = [
        import_events(own_settings, FixedClock(to_us(NOW) + hours * HOUR), [str(file)], mapping) for hours in (0, 1, 9)
    ]
    assert [(each.published, each.derived) for each in reports] == [(2, 2), (0, 0), (0, 0)]


@pytest.mark.parametrize(("duplicates", "amount"), [("keep", 5.0), ("drop", 2.5)])
def test_lines_alike_count_as_the_mapping_says(
    own_settings: Settings, tmp_path: Path, duplicates: str, amount: float
) -> None:
    bring(own_settings, [written(tmp_path / "a.csv", [LINE, LINE])], MAPPING.replace("keep", duplicates))
    [row] = rows_of(own_settings, "payment")
    assert (row["amount"], row["coupon_lines"], row["categories"]) == (amount, None, None)


def test_what_the_log_never_tells_is_not_known_of_a_payment(own_settings: Settings, tmp_path: Path) -> None:
    bring(own_settings, [written(tmp_path / "a.csv", [LINE._replace(units="", paid="")])])
    [row] = rows_of(own_settings, "payment")
    assert (row["amount"], row["items"], row["lines"]) == (None, None, 1)


def test_a_rehearsal_and_a_file_of_refused_lines_derive_nothing(own_settings: Settings, tmp_path: Path) -> None:
    bad = (HEADER + ",".join(LINE._replace(at="never")) + "\n").encode()
    assert import_text(own_settings, tmp_path / "a.csv", bad, MAPPING).tables == {"purchase": 0, "payment": 0}
    good = (HEADER + ",".join(LINE) + "\n").encode()
    report = import_text(own_settings, tmp_path / "b.csv", good, MAPPING, dry_run=True)
    assert (report.tables, report.derived) == ({}, 0)
