"""Feast is imported without its rewriting of classes, but where declarations are applied."""

from __future__ import annotations

import subprocess
import sys

import pytest

WRONG = "from feast import Entity; Entity(name='shop', join_keys='shop_id')"
CHECKED = "from feature_repo.core.feast_import import keep_feast_checks; keep_feast_checks(); "


def error_of(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr


@pytest.mark.slow(12)
@pytest.mark.parametrize(("before", "checked"), [("", False), (CHECKED, True), ("import feast; ", True)])
def test_argument_types_are_checked_where_it_was_asked_for(before: str, checked: bool) -> None:
    assert ("TypeCheckError" in error_of(f"{before}import feature_repo; {WRONG}")) == checked


def test_code_of_others_is_rewritten_as_ever() -> None:
    code = "import feature_repo, feast\nfrom typeguard import typechecked\n@typechecked\ndef f(n: int): pass\nf('a')"
    found = subprocess.run([sys.executable, "-"], input=code, capture_output=True, text=True, check=False)
    assert "TypeCheckError" in found.stderr or "not typechecking" in found.stderr
