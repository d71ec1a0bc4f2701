"""A country or a zone that is none is refused when settings are loaded, with those that may have been meant."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from feature_repo.core.errors import SettingsError
from feature_repo.core.settings import Settings, load_settings


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("PORTRAIT_COUNTRY", "us", "did you mean 'US'?"),
        ("PORTRAIT_COUNTRY", " DE", "did you mean 'DE'?"),
        ("PORTRAIT_COUNTRY", "UK", "did you mean 'GB'?"),
        ("PORTRAIT_COUNTRY", "USA", "did you mean 'US'?"),
        ("PORTRAIT_COUNTRY", "united kingdom", "did you mean 'GB'?"),
        ("PORTRAIT_COUNTRY", "ZZ", "did you mean 'Z"),
        ("PORTRAIT_COUNTRY", "HolidayBase", "a country's code of two letters"),
        ("PORTRAIT_COUNTRY", "", "a country's code of two letters"),
        ("PORTRAIT_ZONE", "europe/berlin", "did you mean 'Europe/Berlin'?"),
        ("PORTRAIT_ZONE", "Shanghai", "did you mean 'Asia/Shanghai'?"),
        ("PORTRAIT_ZONE", "New York", "did you mean 'America/New_York'?"),
        ("PORTRAIT_ZONE", "Europe/Berlln", "'Europe/Berlin' or "),
        ("PORTRAIT_ZONE", "/etc/localtime", ""),
        ("PORTRAIT_ZONE", "localtime", ""),  # of the machine: another zone where a model is served
        ("PORTRAIT_ZONE", "", "an IANA name"),
    ],
)
def test_what_is_no_country_or_zone_is_refused_when_settings_are_loaded(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, hint: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name} is '{value}'") as caught:
        load_settings()
    assert hint in caught.value.hint
    assert caught.value.hint


def test_what_is_one_is_taken_as_it_is_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_COUNTRY", "CN")
    monkeypatch.setenv("PORTRAIT_ZONE", "Asia/Shanghai")
    settings = load_settings()
    assert (settings.country, settings.zone) == ("CN", "Asia/Shanghai")


def test_the_country_and_zone_that_nobody_set_are_ones() -> None:
    default = {name: Settings.model_fields[name].default for name in ("country", "zone")}
    assert Settings(**default).country == default["country"]


def test_the_library_of_holidays_is_not_imported_for_those_who_set_no_country() -> None:
    program = "import sys; from feature_repo.core.settings import load_settings; load_settings(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "feature_repo.core.places" in done.stdout.split()
    assert "holidays" not in done.stdout.split()
