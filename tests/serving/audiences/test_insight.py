"""What sets an audience apart is counted right, and chance is not taken for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2_contingency, false_discovery_control, fisher_exact

from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from made_snapshots import write_snapshot
from serving.audiences.audiences import Audiences
from serving.audiences.insight import Insight, benjamini_hochberg, insight
from serving.audiences.page import page, write_page


def asked(home: Path, columns: dict[str, Any], audience: str) -> Insight:
    write_snapshot(home, columns)
    return insight(Audiences(Settings(home=home)), audience)


def test_the_index_is_a_share_of_the_audience_over_the_share_of_everybody(tmp_path: Path) -> None:
    found = asked(
        tmp_path,
        {"score__churn": [0.9] * 4 + [0.1] * 6, "tag__plan": ["a", "a", "a", None, "a", "b", "b", "b", "b", "b"]},
        "churn > 0.5",
    )
    rows = {each.value: (each.people, each.everyone, round(each.index, 6)) for each in found.traits}
    assert rows == {"a": (3, 4, 187.5), None: (1, 1, 250.0), "b": (0, 5, 0.0)}
    assert [each.value for each in found.traits] == ["a", "b", None]
    assert (found.size, found.everyone) == (4, 10)
    p_values = {each.value: each.p_value for each in found.traits}
    assert p_values["a"] == pytest.approx(fisher_exact([[3, 1], [1, 5]]).pvalue)


def test_the_p_value_compares_with_all_others_and_is_adjusted_over_all_values(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    risky = random.random(2000) < 0.4
    columns = {f"tag__t{n}": random.choice(["x", "y", "z"], 2000).tolist() for n in range(5)}
    columns["tag__t9"] = np.where(risky & (random.random(2000) < 0.2), "x", "y").tolist()
    found = asked(tmp_path, {"score__risk": risky.astype(float), **columns}, "risk = 1")
    for each in found.traits:
        others = len(risky) - found.size
        inside, outside = each.people, each.everyone - each.people
        cells = [[inside, found.size - inside], [outside, others - outside]]
        assert each.p_value == pytest.approx(chi2_contingency(cells, correction=False).pvalue, rel=1e-6)
    expected = false_discovery_control([each.p_value for each in found.traits])
    assert [each.adjusted for each in found.traits] == pytest.approx(expected)
    assert {each.tag for each in found.traits if each.significant} == {"tag__t9"}


def test_an_audience_by_chance_has_nothing_that_sets_it_apart_in_nineteen_of_twenty() -> None:
    random = np.random.default_rng(3)
    hits = sum(min(benjamini_hochberg(random.random(50).tolist())) < 0.05 for _ in range(2000))
    assert 60 <= hits <= 140  # 100 expected, five standard errors


def test_the_tag_an_audience_is_selected_by_is_no_finding(tmp_path: Path) -> None:
    found = asked(tmp_path, {"tag__plan": ["a", "b"] * 50, "tag__other": ["c", "d"] * 50}, "plan = 'a'")
    by_tag = {each.tag: each for each in found.traits if each.people}
    assert by_tag["tag__plan"].asked
    assert not by_tag["tag__plan"].significant
    assert by_tag["tag__plan"].index == 200.0
    assert not by_tag["tag__other"].asked
    assert by_tag["tag__other"].significant


def test_a_column_that_says_the_same_as_another_one_is_no_second_finding(tmp_path: Path) -> None:
    same = ["a", "b", None, "a"]
    columns = {"tag__segment": same, "user_segments__segment": same, "tag__other": ["a", "b", None, "b"]}
    found = asked(tmp_path, {**columns, "score__churn": [1.0, 0, 0, 0]}, "churn > 0.5")
    assert list(dict.fromkeys(each.tag for each in found.traits)) == ["tag__segment", "tag__other"]


def test_everybody_is_unlike_nobody(tmp_path: Path) -> None:
    found = asked(tmp_path, {"tag__plan": ["a", "b"]}, "true")
    assert [each.index for each in found.traits] == [100.0, 100.0]
    assert not any(each.significant for each in found.traits)


def test_nothing_sets_nobody_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Nobody belongs to the audience"):
        asked(tmp_path, {"tag__plan": ["a", "b"]}, "false")


def test_the_page_fetches_and_runs_nothing_whatever_a_tag_says(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'"
    found = asked(tmp_path, {"tag__plan": [evil, "b"] * 20, "score__churn": [0.9, 0.1] * 20}, "churn > .5 -- <b>")
    text = page(found)
    assert "default-src 'none'" in text
    assert "<script" not in text
    assert "<b>" not in text
    assert not re.findall(r"(?:src|href)=", text)
    assert "&lt;script&gt;" in text
    write_page(found, tmp_path / "out" / "page.html")
    assert (tmp_path / "out" / "page.html").read_text("utf-8") == text
    assert (tmp_path / "out" / "page.html").stat().st_mode & 0o777 == 0o600


def test_the_page_says_declared_tags_and_their_values_in_chinese_too(tmp_path: Path) -> None:
    found = asked(tmp_path, {"tag__churn_risk": ["high", None] * 20, "score__churn": [0.9, 0.1] * 20}, "churn > .5")
    text = page(found)
    for chinese in ("流失风险", "高", "未知"):
        assert f'<span class="zh" lang="zh">{chinese}</span>' in text
