from __future__ import annotations

import logging
import sys
import warnings

import pytest

from feature_repo.core.mlflow_client import quiet_mlflow


def test_quiet_is_about_mlflow_and_nothing_else(capfd: pytest.CaptureFixture[str]):
    with quiet_mlflow():
        logging.getLogger("mlflow.store").warning("hushed")
        sys.stdout.write("ours\n")
        sys.stderr.write("ours too\n")
        with pytest.warns(UserWarning, match="ours"):
            warnings.warn("ours", UserWarning, stacklevel=1)
    assert capfd.readouterr() == ("ours\n", "ours too\n")


def test_the_last_to_leave_puts_the_levels_back():
    before = logging.getLogger("mlflow").level
    one, other = quiet_mlflow(), quiet_mlflow()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert logging.getLogger("mlflow").level == logging.ERROR
    other.__exit__(None, None, None)
    assert logging.getLogger("mlflow").level == before
