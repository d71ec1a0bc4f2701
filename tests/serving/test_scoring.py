from __future__ import annotations

import json
import logging
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from feature_repo.core.clock import FixedClock
from feature_repo.core.errors import DataError, ModelUnavailableError
from feature_repo.core.settings import Settings
from serving.scoring import REFRESH_US, ModelRegistry
from serving_process import until

CONTRACT = {"v__a": "a", "v__b": "b", "v__c": "c", "v__d": "d", "v__e": "e"}
CONTEXT = [{"name": "days", "description": "Length in days.", "default": 30.0}]
COLUMNS = ["v__b", "days", "v__a"]
AT = datetime(2026, 1, 2, tzinfo=UTC)


class Registrar:
    """A real registry in a directory; registers versions as training does."""

    def __init__(self, root: Path) -> None:
        self.uri = f"sqlite:///{root / 'mlflow.db'}"
        self._root = root
        with self.quiet():
            self.client = mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            self._experiment = self.client.create_experiment("tests", artifact_location=(root / "artifacts").as_uri())

    @staticmethod
    def quiet() -> warnings.catch_warnings:
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        return warnings.catch_warnings(action="ignore")

    def register(self, name: str, *, columns: list[str] = COLUMNS, champion: bool = True, **tags: str) -> str:
        with self.quiet():
            before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
            mlflow.set_tracking_uri(self.uri)
            try:
                return self._register(name, columns, champion, tags)
            finally:
                mlflow.set_tracking_uri(before)

    def _register(self, name: str, columns: list[str], champion: bool, tags: dict[str, str]) -> str:
        with mlflow.start_run(experiment_id=self._experiment) as run:
            logged = mlflow.pyfunc.log_model(
                name=name,
                python_model=str(Path(__file__).with_name("tiny_scorer.py")),
                artifacts=self._artifacts(columns),
                pip_requirements=["mlflow"],
            )
        if not self.client.search_registered_models(f"name = '{name}'"):
            self.client.create_registered_model(name)
        known = {"feature_service": "service_v1", "context": json.dumps(CONTEXT), **tags}
        made = self.client.create_model_version(name, logged.model_uri, run_id=run.info.run_id, tags=known)
        if champion:
            self.client.set_registered_model_alias(name, "champion", made.version)
        return str(made.version)

    def _artifacts(self, columns: list[str]) -> dict[str, str]:
        texts = {"head": {"columns": columns}, "contract": CONTRACT}
        for name, content in texts.items():
            (self._root / f"{name}.json").write_text(json.dumps(content), "utf-8")
        return {name: str(self._root / f"{name}.json") for name in texts}


@pytest.fixture(scope="module")
def registrar(tmp_path_factory: pytest.TempPathFactory) -> Registrar:
    return Registrar(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(0)


@pytest.fixture
def registry_at(home: Path, clock: FixedClock) -> Callable[[str], ModelRegistry]:
    return lambda uri: ModelRegistry(Settings(home=home, MLFLOW_TRACKING_URI=uri), clock, timeout_s=0.5)


@pytest.fixture
def registry(registry_at: Callable[[str], ModelRegistry], registrar: Registrar) -> ModelRegistry:
    return registry_at(registrar.uri)


def test_a_champion_scores_in_its_own_column_order_without_a_word(
    registry: ModelRegistry, registrar: Registrar, capfd: pytest.CaptureFixture[str]
) -> None:
    version = registrar.register("orders")
    capfd.readouterr()
    model = registry.champion("orders")
    assert capfd.readouterr() == ("", "")
    assert (model.name, model.service) == (f"orders@{version}", "service_v1")
    assert model.features == ("v__b", "v__a")
    given = model.context_columns(pd.DataFrame({"days": [None, 5]}), 2)
    scores = model.scores(["u", "w"], np.array([[1.0, 2.0], [np.nan, 4.0]]), given, known=[True, False], as_of=AT)
    assert [score.value for score in scores] == [501.0, 450.0]
    assert [score.defaults for score in scores] == [("days",), ()]
    assert [score.missing for score in scores] == [(), ("v__b",)]
    assert scores.to_df().loc["w", "known"] == np.False_
    assert len(model.scores([], np.empty((0, 2)), np.empty((0, 1)), known=[], as_of=AT)) == 0


def test_a_model_whose_features_mean_something_else_now_is_refused_by_name(
    registry: ModelRegistry, registrar: Registrar
) -> None:
    registrar.register("moved", columns=list(CONTRACT))
    model = registry.champion("moved")
    model.check(CONTRACT | {"v__new": "x"})
    with pytest.raises(ModelUnavailableError, match="other definitions of 'v__a', 'v__b', 'v__c' and 1 more") as caught:
        model.check({name: text + "'" for name, text in CONTRACT.items() if name != "v__e"} | {"v__e": "e"})
    assert "portrait features apply" in caught.value.hint
    assert "portrait train moved" in caught.value.hint


def test_a_feature_the_registry_lost_is_a_difference(registry: ModelRegistry, registrar: Registrar) -> None:
    registrar.register("lost")
    with pytest.raises(ModelUnavailableError, match="'v__b'"):
        registry.champion("lost").check({"v__a": "a"})


@pytest.mark.parametrize("name", [None, 5, "", " ", ["orders"]])
def test_what_is_no_name_of_a_task_is_refused_before_mlflow_is_asked(registry: ModelRegistry, name: object) -> None:
    with pytest.raises(DataError, match="task") as caught:
        registry.champion(name)  # type: ignore[arg-type]
    assert "'redemption'" in caught.value.hint


@pytest.mark.parametrize("name", ["unheard_of", "unpromoted"])
def test_without_a_champion_the_hint_is_to_train(registry: ModelRegistry, registrar: Registrar, name: str) -> None:
    registrar.register("unpromoted", champion=False)
    with pytest.raises(ModelUnavailableError, match="has no champion") as caught:
        registry.champion(name)
    assert f"portrait train {name}" in caught.value.hint


def test_a_name_close_to_a_registered_model_is_taken_for_a_slip(registry: ModelRegistry, registrar: Registrar) -> None:
    registrar.register("redemption_of")
    with pytest.raises(ModelUnavailableError, match="'redemption_off' has no champion") as caught:
        registry.champion("redemption_off")
    assert caught.value.hint.startswith("did you mean 'redemption_of'?")


def test_a_home_without_mlflow_has_no_champion_and_gets_no_database(
    home: Path, registry_at: Callable[[str], ModelRegistry]
) -> None:
    with pytest.raises(ModelUnavailableError, match="has no champion"):
        registry_at("").champion("redemption")
    assert not home.exists()


def test_a_version_that_training_did_not_register_is_refused(registry: ModelRegistry, registrar: Registrar) -> None:
    registrar.register("foreign", context="none")
    with pytest.raises(ModelUnavailableError, match="lacks what serving needs"):
        registry.champion("foreign")


def test_a_new_champion_is_noticed_after_the_refresh_and_a_withdrawn_one_is_refused(
    registry: ModelRegistry, registrar: Registrar, clock: FixedClock
) -> None:
    first = registrar.register("changing")
    loaded = registry.champion("changing")
    second = registrar.register("changing")
    assert registry.champion("changing").version == first
    clock.at_us += REFRESH_US
    assert registry.champion("changing").version == second != loaded.version
    registrar.client.set_registered_model_alias("changing", "champion", first)
    clock.at_us += REFRESH_US
    again = registry.champion("changing")
    clock.at_us += REFRESH_US
    assert registry.champion("changing") is again
    registrar.client.delete_registered_model_alias("changing", "champion")
    clock.at_us += REFRESH_US
    with pytest.raises(ModelUnavailableError, match="no champion"):
        registry.champion("changing")


def test_a_version_is_had_by_number_or_alias_and_loaded_once(
    registry: ModelRegistry, registrar: Registrar, clock: FixedClock
) -> None:
    first, second = registrar.register("pinned"), registrar.register("pinned", champion=False)
    registrar.client.set_registered_model_alias("pinned", "challenger", second)
    champion, challenger = registry.champion("pinned"), registry.version("pinned", "challenger")
    assert (champion.version, challenger.version) == (first, second)
    assert registry.version("pinned", first) is champion
    assert registry.version("pinned", second) is challenger
    registrar.client.set_registered_model_alias("pinned", "champion", second)
    clock.at_us += REFRESH_US
    assert registry.champion("pinned") is challenger
    assert registry.version("pinned", first) is champion


@pytest.mark.parametrize(("which", "said"), [("99", "no version 99"), ("rival", "no rival")])
def test_a_version_that_is_not_there_is_told_by_what_was_asked(
    registry: ModelRegistry, registrar: Registrar, which: str, said: str
) -> None:
    registrar.register("lonely")
    with pytest.raises(ModelUnavailableError, match=said) as caught:
        registry.version("lonely", which)
    assert "portrait models list lonely" in caught.value.hint


@pytest.fixture
def nowhere() -> Iterator[str]:
    """Address of a server that is not there."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"http://someone:s3cret@127.0.0.1:{closed.getsockname()[1]}"


def test_a_loaded_model_goes_on_answering_while_mlflow_is_away(
    registry: ModelRegistry, registrar: Registrar, clock: FixedClock, nowhere: str
) -> None:
    registrar.register("steady")
    registrar.register("withdrawn")
    loaded = registry.champion("steady")
    registry.champion("withdrawn")
    registrar.client.delete_registered_model_alias("withdrawn", "champion")
    clock.at_us += REFRESH_US
    with pytest.raises(ModelUnavailableError, match="no champion"):
        registry.champion("withdrawn")
    registry._settings = Settings(home=registry._settings.home, MLFLOW_TRACKING_URI=nowhere)
    clock.at_us += REFRESH_US
    assert registry.champion("steady") is loaded
    with pytest.raises(ModelUnavailableError, match="cannot be read"):
        registry.champion("withdrawn")


def test_while_one_thread_asks_mlflow_the_others_go_on_with_the_loaded_model(
    registry: ModelRegistry, registrar: Registrar, clock: FixedClock
) -> None:
    registrar.register("shared")
    loaded = registry.champion("shared")
    clock.at_us += REFRESH_US
    with socket.create_server(("127.0.0.1", 0)) as mute, ThreadPoolExecutor(1) as pool:
        mute.settimeout(30)
        uri = f"http://127.0.0.1:{mute.getsockname()[1]}"
        registry._settings = Settings(home=registry._settings.home, MLFLOW_TRACKING_URI=uri)
        registry._timeout_s = 30.0
        asking = pool.submit(registry.champion, "shared")
        connection, _ = mute.accept()
        assert registry.champion("shared") is loaded
        assert not asking.done()
        connection.close()
        assert asking.result(timeout=30) is loaded


def test_threads_that_ask_for_the_first_time_get_one_model(registry: ModelRegistry, registrar: Registrar) -> None:
    registrar.register("first")
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(registry.champion, ["first"] * 8))
    assert len(found) == 1


def test_a_server_that_is_not_there_is_told_at_once(registry_at: Callable[[str], ModelRegistry], nowhere: str) -> None:
    with pytest.raises(ModelUnavailableError, match="cannot be read") as caught:
        registry_at(nowhere).champion("redemption")
    assert type(caught.value) is ModelUnavailableError
    assert "s3cret" not in str(caught.value)
    assert "MLFLOW_TRACKING_URI" in caught.value.hint


@pytest.mark.parametrize("wrong", ["soon", float("inf")])
def test_context_that_is_no_number_is_refused(registry: ModelRegistry, registrar: Registrar, wrong: object) -> None:
    registrar.register("strict")
    with pytest.raises(DataError, match="Row 1 of context column 'days'"):
        registry.champion("strict").context_columns({"days": [1, wrong]}, 2)


DAYS = {**CONTEXT[0], "allowed": {"at_least": 1, "at_most": 366, "values": []}}
FLAG = {"name": "flag", "description": "", "default": 1.0, "allowed": {"values": [0, 1]}}
RANGES = json.dumps([DAYS, FLAG])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"days": [5, -5]}, "Row 1 of context column 'days' is -5"),
        ({"days": [367.5, 5]}, "Row 0 of context column 'days' is 367.5"),
        ({"days": [None, True]}, "Row 1 of context column 'days' is True"),
        ({"flag": [1, 7]}, "Row 1 of context column 'flag' is 7"),
        ({"flag": [0.5, 7]}, "Row 0 of context column 'flag' is 0.5"),
    ],
)
def test_a_context_value_the_model_was_not_made_for_is_refused(
    registry: ModelRegistry, registrar: Registrar, given: dict[str, list[object]], said: str
) -> None:
    registrar.register("ranged", columns=[*COLUMNS, "flag"], context=RANGES)
    model = registry.champion("ranged")
    with pytest.raises(DataError, match=said) as caught:
        model.context_columns(pd.DataFrame(given, dtype=object), 2)
    assert ("1 to 366" if "days" in given else "0 or 1") in caught.value.hint


def test_the_ends_of_a_range_a_flag_and_what_is_unsaid_are_taken(registry: ModelRegistry, registrar: Registrar) -> None:
    registrar.register("ranged", columns=[*COLUMNS, "flag"], context=RANGES)
    model = registry.champion("ranged")
    given = pd.DataFrame({"days": [1, 366, None], "flag": [True, False, None]}, dtype=object)
    found = model.context_columns(given, 3)
    np.testing.assert_array_equal(found, [[1, 1], [366, 0], [np.nan, np.nan]])
    flags = model.context_columns(pd.DataFrame({"flag": [True, False]}), 2)[:, 1]
    np.testing.assert_array_equal(flags, [1, 0])


def test_a_model_registered_before_ranges_were_declared_takes_any_number(
    registry: ModelRegistry, registrar: Registrar
) -> None:
    registrar.register("older")
    model = registry.champion("older")
    np.testing.assert_array_equal(model.context_columns({"days": [-5, 1e6]}, 2), [[-5], [1e6]])
    with pytest.raises(DataError, match="Row 0 of context column 'days' is True"):
        model.context_columns({"days": [True, 1]}, 2)


def test_a_version_that_is_pinned_answers_whoever_is_champion(registry: ModelRegistry, registrar: Registrar) -> None:
    first, second = registrar.register("pinned"), registrar.register("pinned")
    assert registry.champion("pinned").version == second
    assert registry.version("pinned", first).version == first
    assert registry.version("pinned", first) is registry.version("pinned", first)
    assert registry.version("pinned", second) is registry.champion("pinned")
    with pytest.raises(ModelUnavailableError, match="no version 99"):
        registry.version("pinned", "99")


def test_of_many_versions_that_are_pinned_the_last_are_kept_and_the_champion_always(
    registry: ModelRegistry, registrar: Registrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.scoring.MOST_PINNED", 1)
    first, second, third = (registrar.register("pinned") for _ in range(3))
    champion, held = registry.champion("pinned"), registry.version("pinned", first)
    assert registry.version("pinned", second).version == second
    assert registry.version("pinned", first) is not held
    assert registry.version("pinned", third) is champion


@pytest.mark.slow(10)
def test_a_champion_is_swapped_under_load_without_a_failed_question(
    registry: ModelRegistry, registrar: Registrar, clock: FixedClock
) -> None:
    versions = [registrar.register("swapped")]
    registry.champion("swapped")
    ending, seen = threading.Event(), set()

    def ask() -> int:
        count = 0
        while not ending.is_set():
            model = registry.champion("swapped")
            given = model.context_columns({}, 1)
            assert model.scores(["u"], np.ones((1, 2)), given, known=[True], as_of=AT).model == model.name
            seen.add(model.version)
            count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask) for _ in range(4)]
        try:
            for _ in range(3):
                versions.append(registrar.register("swapped"))
                clock.at_us += REFRESH_US
                # MLflow is asked beside the questions: none waits for more than half of its time.
                until(lambda: registry.champion("swapped").version == versions[-1])
        finally:
            ending.set()
        assert all(each.result() > 0 for each in asked)  # which raises what a question raised
    assert {versions[0]} < seen <= set(versions)
