"""The notebooks run from an empty home, warn of nothing, leave no server behind, and are kept without outputs."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from feature_repo.core.settings import Settings
from feature_repo.jobs import services

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]
PACKAGES = ("feature_repo", "serving", "training")
CELL_TIMEOUT_S = 600
# These make a home of their own, and leave the reader's alone.
APART = ("02_feature_by_hand", "07_bring_your_own_log")


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code(path: Path) -> str:
    return "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "code")


def functions(path: Path) -> list[str]:
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node.name for node in ast.walk(ast.parse(code(path))) if isinstance(node, defined)]


def stop_servers(directory: Path) -> list[Path]:
    """Stop every embedded Redis below a directory; return the homes of those that ran."""
    homes = [state.parents[1] for state in directory.rglob("run/redis.json")]
    for home in homes:
        services.down(Settings(home=home, redis_url=""))
    return homes


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a checkout: whichever notebook is first finds it empty, and the others what that one left."""
    directory = tmp_path_factory.mktemp("notebooks")
    yield directory / "home"
    stop_servers(directory)


@pytest.fixture
def kernel_home(shared_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The shared home, as the environment of a kernel says, and a directory for what is temporary."""
    services_of_others = ("PORTRAIT_REDIS_URL", "PORTRAIT_KAFKA_BOOTSTRAP", "MLFLOW_TRACKING_URI")
    for name in (*services_of_others, "PYTHONWARNINGS", "MPLBACKEND"):  # the last is set by importing Streamlit
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PORTRAIT_HOME", str(shared_home))
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=":")
    for name in ("TMPDIR", "IPYTHONDIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    yield shared_home
    stop_servers(tmp_path)


def files(home: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()}


def executed(path: Path) -> Any:
    notebook = read(path)
    place = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=CELL_TIMEOUT_S, kernel_name="python3", resources=place)
    return client.execute()


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.slow(240)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_runs_draws_warns_of_nothing_and_stops_what_it_started(
    path: Path, kernel_home: Path, tmp_path: Path
) -> None:
    before = files(kernel_home)
    found = outputs(executed(path))
    said = "".join(output.text for output in found if output.get("name") == "stderr")
    assert "Warning" not in said
    assert any("image/png" in output.get("data", {}) for output in found)
    assert not stop_servers(kernel_home.parent)
    assert not stop_servers(tmp_path)
    assert not list(tmp_path.glob("portrait-*"))
    assert path.stem not in APART or files(kernel_home) == before


def test_they_are_numbered_from_one_to_seven() -> None:
    assert [name[:3] for name in NAMES] == [f"{number:02}_" for number in range(1, 8)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    notebook = read(path)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not outputs(notebook)
    assert {cell.execution_count for cell in cells} == {None}
    assert {key for cell in notebook.cells for key in cell.metadata} == set()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_begins_with_its_title_and_says_it_in_chinese_too(path: Path) -> None:
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith(f"# {path.stem[:2]} ")
    assert re.search("[\u4e00-\u9fff]{10}", first.source)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_makes_a_home_of_its_own_or_refuses_one_that_holds_other_events(path: Path) -> None:
    assert ('os.environ["PORTRAIT_HOME"] =' in code(path)) == (path.stem in APART)
    assert ("ensure_demo(settings" in code(path)) == (path.stem not in APART)


@pytest.mark.parametrize("path", NOTEBOOKS[:-1], ids=NAMES[:-1])
def test_a_notebook_leads_to_the_next(path: Path) -> None:
    after = NOTEBOOKS[NOTEBOOKS.index(path) + 1]
    assert f"]({after.name})" in read(path).cells[-1].source


def test_no_function_is_defined_twice() -> None:
    counts = Counter(name for path in NOTEBOOKS for name in functions(path))
    assert [name for name, count in counts.items() if count > 1] == []


def test_no_function_of_a_notebook_has_a_name_of_the_packages() -> None:
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    ours = {node.name for path in sources for node in ast.parse(path.read_text("utf-8")).body if hasattr(node, "name")}
    assert {name for path in NOTEBOOKS for name in functions(path)} & ours == set()
