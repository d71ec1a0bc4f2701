"""Calendar features mean something else in another country or zone, and their contract says so."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from feature_repo.core.errors import ModelUnavailableError
from feature_repo.core.settings import load_settings
from feature_repo.definitions.context import CALENDAR
from feature_repo.engine.contract import Contract, differences, fingerprint, service_contract, settings_of
from feature_repo.engine.feature_store import open_store
from feature_repo.jobs.features import apply
from serving.catalogue import Catalogue
from serving.models import Model


@pytest.fixture
def contract(home: Path, monkeypatch: pytest.MonkeyPatch) -> Contract:
    """Contract of the live service where nobody set a place."""
    for name in ("PORTRAIT_COUNTRY", "PORTRAIT_ZONE"):
        monkeypatch.delenv(name, raising=False)
    apply()
    return service_contract(open_store(), "live_v1")


def model_of(contract: Contract, *features: str) -> Model:
    scorer = SimpleNamespace(columns=features or tuple(contract))
    return Model(task="live", version="3", service="live_v1", context={}, contract=contract, scorer=scorer)


def test_calendar_features_alone_rest_on_the_country_and_the_zone(contract: Contract) -> None:
    resting = {name: settings_of(definition) for name, definition in contract.items() if settings_of(definition)}
    assert set(resting) == {f"shop_calendar__{name}" for name in CALENDAR}
    assert resting["shop_calendar__hour"] == {"PORTRAIT_COUNTRY": "US", "PORTRAIT_ZONE": "America/New_York"}


def test_a_place_that_is_set_to_what_it_is_anyway_changes_nothing(
    contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTRAIT_COUNTRY", "US")
    assert fingerprint(service_contract(open_store(), "live_v1")) == fingerprint(contract)


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("PORTRAIT_COUNTRY", "DE", "was trained with PORTRAIT_COUNTRY=US; here it is PORTRAIT_COUNTRY=DE."),
        ("PORTRAIT_ZONE", "Europe/Berlin", "PORTRAIT_ZONE=America/New_York; here it is PORTRAIT_ZONE=Europe/Berlin."),
    ],
)
def test_a_model_with_the_calendar_of_another_place_is_refused(
    contract: Contract, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, said: str
) -> None:
    model_of(contract).check(Catalogue(load_settings()).plan("live_v1").contract)
    monkeypatch.setenv(setting, value)
    current = Catalogue(load_settings()).plan("live_v1").contract
    assert set(differences(contract, current)) == {f"shop_calendar__{name}" for name in CALENDAR}
    with pytest.raises(ModelUnavailableError, match=r"live@3") as caught:
        model_of(contract).check(current)
    assert said in caught.value.what
    assert f"set {setting} as for training" in caught.value.hint


def test_a_model_without_the_calendar_is_served_anywhere(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_COUNTRY", "DE")
    current = service_contract(open_store(), "live_v1")
    model_of(contract, "user_views_live__count_1h").check(current)


def test_a_model_of_before_places_were_pinned_is_refused_as_one_of_other_definitions(contract: Contract) -> None:
    older = {name: definition.partition("\n")[0] for name, definition in contract.items()}
    with pytest.raises(ModelUnavailableError, match="other definitions of 'shop_calendar__"):
        model_of(older).check(contract)
