from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from feature_repo import cli
from feature_repo.core.console import Json, command_group, emit
from feature_repo.core.errors import CheckFailedError, PortraitError, StoreUnavailableError

HEAVY = ("feast", "mlflow", "pandas", "pyarrow", "duckdb", "xgboost", "numpy", "redis", "rich", "pydantic", "sklearn")

sample = command_group("sample", "Commands of the tests.")


@sample.command()
def succeed(name: str = "x", *, as_json: Json = False) -> object:
    """Print a report."""
    sys.stdout.write("a library speaks\n")
    emit({"name": name, "auc": float("nan")}, as_json, lambda report: sys.stdout.write(f"{report['name']}\n"))
    return {"name": name}


@sample.command()
def fail(kind: str, *, as_json: Json = False) -> object:
    """Raise."""
    raise FAILURES[kind]


@sample.command()
def check(*, as_json: Json = False) -> object:
    """Print a report, then tell that it does not hold."""
    emit({"mismatches": 3}, as_json, lambda report: None)
    raise CheckFailedError("3 of 10 differ.")


FAILURES: dict[str, BaseException] = {
    "check": CheckFailedError("AUC is 0.7, below 0.8."),
    "store": StoreUnavailableError("Redis is away.", hint="run `portrait up`."),
    "bug": KeyError("shopper-4711"),
    "exit": typer.Exit(1),
    "abort": typer.Abort(),
    "interrupt": KeyboardInterrupt(),
    "query": RuntimeError("Query interrupted"),
}

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """The command line in this process, with the commands above and two contributions that cannot be loaded."""
    monkeypatch.setitem(sys.modules, "sample_commands", sys.modules[__name__])
    extra = [
        EntryPoint("sample", "sample_commands:sample", cli.GROUP),
        EntryPoint("gone", "no_such_package.cli:commands", cli.GROUP),
        EntryPoint("broken", "sample_commands:broken", cli.GROUP),
    ]
    declared = cli.contributions()
    monkeypatch.setattr(cli, "contributions", lambda: [*declared, *extra])
    cli.registry.cache_clear()

    def call(*words: str) -> tuple[int, str, str]:
        code = cli.main(words)
        return code, *capsys.readouterr()

    yield call
    cli.registry.cache_clear()


def broken() -> typer.Typer:
    app = command_group()
    app.command()(misspelt)
    return app


def misspelt(count: Nowhere) -> None:  # noqa: F821
    """Carries an annotation that names nothing."""


def portrait(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "feature_repo.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_help_imports_nothing_heavy_and_knows_the_services():
    code = (
        "import sys; from feature_repo.cli import main; main(['--help']);"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert all(f"\n  {name}" in done.stdout for name in ("up", "down", "status"))


def test_help_takes_less_than_half_a_second():
    def spent() -> float:  # of processor: it waits for nothing, and other tests are in the way of a clock
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def seconds() -> float:
        begin = spent()
        assert portrait("--help").returncode == 0
        return spent() - begin

    assert min(seconds() for _ in range(3)) < 0.5


def test_every_command_has_one_line_of_help_an_example_and_json():
    for words, leaf in leaves(get_command(cli.registry().root), "portrait"):
        assert leaf.help, words
        assert "\n" not in leaf.help.strip().split("\n\n")[0], words
        assert f"  {words}" in (leaf.epilog or leaf.help), words
        assert any("--json" in parameter.opts for parameter in leaf.params), words


def leaves(tree: Any, words: str) -> Iterator[tuple[str, Any]]:
    for name, child in tree.commands.items():
        if hasattr(child, "commands"):
            yield from leaves(child, f"{words} {name}")
        else:
            yield f"{words} {name}", child


def test_a_report_is_the_only_thing_on_stdout(run: Run):
    assert run("sample", "succeed", "--json") == (0, '{"name": "x", "auc": null}\n', "a library speaks\n")


def test_without_json_the_reader_gets_text(run: Run):
    assert run("sample", "succeed") == (0, "a library speaks\nx\n", "")


@pytest.mark.parametrize(
    ("kind", "code"), [("check", 1), ("store", 2), ("bug", 3), ("abort", 130), ("interrupt", 130), ("query", 130)]
)
def test_the_exit_code_says_whose_turn_it_is(run: Run, kind: str, code: int):
    assert run("sample", "fail", kind)[0] == code


def test_an_error_says_what_and_what_to_do(run: Run):
    assert run("sample", "fail", "store") == (2, "", "Error: Redis is away.\nHint: run `portrait up`.\n")


def test_an_error_in_json_is_one_object(run: Run):
    code, out, err = run("sample", "fail", "store", "--json")
    assert (code, err) == (2, "")
    assert json.loads(out) == {
        "error": {"type": "StoreUnavailableError", "what": "Redis is away.", "hint": "run `portrait up`."}
    }


def test_a_check_that_fails_after_its_report_adds_no_second_object(run: Run):
    assert run("sample", "check", "--json") == (1, '{"mismatches": 3}\n', "Error: 3 of 10 differ.\n")


def test_an_exit_code_of_a_command_is_kept(run: Run):
    assert run("sample", "fail", "exit") == (1, "", "")


def test_an_interruption_is_one_line(run: Run):
    assert run("sample", "fail", "interrupt") == (130, "", "Interrupted.\n")


@pytest.mark.parametrize("words", [("sample", "fail"), ("sample", "succeed", "--bogus"), ("sample", "nothing"), ()])
def test_a_usage_error_is_the_users_in_text_and_json(run: Run, words: tuple[str, ...]):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err
    code, out, err = run(*words, "--json")
    assert (code, err) == (2, "")
    assert json.loads(out)["error"]["hint"]


def test_a_bug_leaves_a_report_without_a_traceback_on_the_terminal(run: Run, home: Path):
    code, out, err = run("sample", "fail", "bug")
    (report,) = (home / "reports").iterdir()
    text = report.read_text()
    assert (code, out) == (3, "")
    assert "Traceback" not in err
    assert str(report) in err
    assert "KeyError: [...]" in text
    assert "portrait sample fail <argument>" in text
    assert "in fail\n" in text
    assert "duckdb " in text
    assert "4711" not in text + err
    assert os.environ.get("PATH", "none") not in text


def test_a_bug_without_a_home_still_leaves_a_report(run: Run, home: Path):
    home.touch()
    error = json.loads(run("sample", "fail", "bug", "--json")[1])["error"]
    path = Path(error["hint"].split("report ")[1].rstrip("."))
    assert error["type"] == "KeyError"
    assert path.read_text()
    path.unlink()
    path.parent.rmdir()


def test_a_package_that_is_missing_is_told_when_its_command_is_asked_for(run: Run):
    assert "gone" not in run("--help")[1]
    code, _, err = run("gone", "something")
    assert code == 2
    assert "The commands of 'gone' could not be loaded: No module named 'no_such_package'." in err
    assert "broken" not in err


def test_a_command_typer_cannot_read_takes_only_its_own_package_with_it(run: Run):
    assert run("sample", "succeed")[0] == 0
    assert "Nowhere" in run("broken")[2]


def test_a_command_can_be_run_by_its_words(run: Run):
    assert cli.command("sample succeed")(name="y") == {"name": "y"}
    assert cli.command("status") is cli.commands()["status"]


def test_an_unknown_command_suggests_a_known_one(run: Run):
    with pytest.raises(PortraitError, match="did you mean 'status'"):
        cli.command("statos")


def test_the_version_is_told(run: Run):
    assert run("--version") == (0, f"portrait {cli.version('user-portrait')}\n", "")


def test_services_go_up_and_down_from_the_command_line(home: Path):
    try:
        begun = portrait("up", "--json")
        assert json.loads(begun.stdout)["redis"]["running"], begun
        assert "embedded, redis://:***@127.0.0.1:" in portrait("status").stdout
    finally:
        ended = portrait("down", "--json")
    assert (ended.returncode, json.loads(ended.stdout)["redis"]["running"]) == (0, False)


def test_an_external_redis_out_of_reach_is_told_without_its_password(home: Path):
    done = portrait("up", PORTRAIT_REDIS_URL="redis://:s3cret@127.0.0.1:1/0")
    assert done.returncode == 2
    assert "redis://:***@127.0.0.1:1/0" in done.stderr
    assert "s3cret" not in done.stderr + done.stdout
