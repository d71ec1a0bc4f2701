"""What every command prints, and how: one JSON object or text on stdout, everything else on stderr.

Import-light: typer and the standard library; rich is imported when a table or a bar is drawn.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any, TextIO, TypeVar

import typer

Report = TypeVar("Report")
Step = Callable[[str, float], None]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; all else goes to stderr.")]


@dataclass
class _Sink:
    stream: TextIO
    written: bool = False


_SINK: ContextVar[_Sink | None] = ContextVar("sink", default=None)


def command_group(name: str | None = None, description: str = "") -> typer.Typer:
    """Make a group of commands, ``portrait <name> ...``; without a name its commands stand at the root.

    Help is plain text: it starts faster than rich, and its examples can be pasted.
    """
    return typer.Typer(
        name=name,
        help=description or None,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


def example(*lines: str) -> str:
    r"""Format pasteable lines as the end of a command's help: ``@app.command(epilog=example("portrait up"))``.

    >>> example("portrait up", "portrait status --json")
    '\x08\nExample:\n  portrait up\n  portrait status --json'
    """
    return "\n  ".join(["\b\nExample:", *lines])


def emit(report: Report, as_json: bool, render: Callable[[Report], None]) -> None:
    """Print a report: as one JSON object, or by ``render``, which prints it for a reader.

    Raises
    ------
    TypeError
        The report holds something JSON cannot say.
    RuntimeError
        A second object in one command.
    """
    if as_json:
        write_json(report)
    else:
        render(report)


def write_json(report: object) -> None:
    """Write one object on stdout; inside :func:`one_json_object` no second one can follow."""
    sink = _SINK.get() or _Sink(sys.stdout)
    if sink.written:
        raise RuntimeError("A command prints exactly one JSON object, and this is its second.")
    text = to_json(
        report, ascii_only=not (sink.stream.encoding or "").lower().startswith("utf"), indent=sink.stream.isatty()
    )
    sink.stream.write(text + "\n")
    sink.stream.flush()
    sink.written = True


@contextmanager
def one_json_object() -> Iterator[Callable[[], bool]]:
    """Keep stdout for one JSON object: whatever else is printed meanwhile, by libraries too, goes to stderr.

    Yields a function that tells whether the object was written.
    """
    sink = _Sink(sys.stdout)
    token = _SINK.set(sink)
    try:
        with redirect_stdout(sys.stderr):
            yield lambda: sink.written
    finally:
        _SINK.reset(token)


def to_json(report: object, *, ascii_only: bool = False, indent: bool = False) -> str:
    """Return JSON without NaN.

    >>> to_json({"auc": float("nan"), "at": datetime(2026, 1, 2, tzinfo=UTC)})
    '{"auc": null, "at": "2026-01-02T00:00:00Z"}'
    """
    return json.dumps(plain(report), ensure_ascii=ascii_only, allow_nan=False, indent=2 if indent else None)


def plain(value: object) -> Any:
    """Turn a report into what JSON knows.

    Dataclasses and mappings become objects, sequences and sets lists, datetimes ISO 8601 in UTC with ``Z``, durations
    seconds, paths text, numpy's scalars and arrays Python's; NaN, infinities, NaT and NA become null.

    Raises
    ------
    TypeError
        The value is none of these.
    ValueError
        A datetime is naive: its instant is unknown.

    >>> plain((timedelta(minutes=1), float("inf"), {"b", "a"}))
    [60.0, None, ['a', 'b']]
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=repr)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return _scalar(value)


def _key(key: object) -> str:
    value = plain(key)
    return value if isinstance(value, str) else json.dumps(value)


def _scalar(value: object) -> Any:
    if isinstance(value, Enum):
        return plain(value.value)
    if type(value).__name__ in {"NaTType", "NAType"}:
        return None
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return _moment(value)


def _moment(value: object) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone, so its instant is unknown; pass an aware datetime.")
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"A report holds {type(value).__name__}, which JSON cannot say.")


def note(text: str) -> None:
    """Tell the reader something that is not the result: one line on stderr."""
    sys.stderr.write(text + "\n")


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under headers on stdout, aligned also for Chinese text; NULL is an empty cell.

    Where a terminal is too narrow for them, cells go on in the next line; what is piped has a line per row.
    """
    from rich.cells import cell_len  # noqa: PLC0415

    cells = [list(headers), *(["" if cell is None else str(cell) for cell in row] for row in rows)]
    widths = [max(cell_len(line[column]) for line in cells) for column in range(len(headers))]
    if sys.stdout.isatty() and sum(widths) + 2 * len(widths) - 2 > shutil.get_terminal_size().columns:
        _wrapped(cells)
        return
    for line in cells:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def _wrapped(cells: Sequence[Sequence[str]]) -> None:
    """Print lines of cells, the first of them headers, within the terminal's width."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for header in cells[0]:
        drawn.add_column(Text(header), overflow="fold")
    for line in cells[1:]:
        drawn.add_row(*(Text(cell) for cell in line))
    Console(file=sys.stdout, width=shutil.get_terminal_size().columns, color_system=None).print(drawn)


@contextmanager
def progress(title: str) -> Iterator[Step]:
    """Draw a bar on stderr while a long piece of work runs; nothing when stderr is not a terminal.

    Yields ``step(what, fraction)``: what is being done, and how much of the whole is done, 0 to 1.

    >>> with progress("Importing") as step:
    ...     step("purchases", 0.5)
    """
    if not sys.stderr.isatty():
        yield lambda _what, _fraction: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda what, fraction: bar.update(task, description=f"{title}: {what}", completed=fraction)


@contextmanager
def live(title: str) -> Iterator[Callable[[str], None]]:
    """Keep one line on stderr that says how work without an end goes; nothing when stderr is not a terminal.

    >>> with live("Consuming") as say:
    ...     say("10 events")
    """
    if not sys.stderr.isatty():
        yield lambda _text: None
        return
    from rich.console import Console  # noqa: PLC0415

    with Console(stderr=True).status(title) as status:
        yield lambda text: status.update(f"{title}: {text}")
