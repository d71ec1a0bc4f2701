"""Drafts a new view: a file below ``definitions/``, and its place in ``feature_definitions.py``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from feast import Entity
from feast.data_source import DataSource

from feature_repo.core.errors import DeclarationError, did_you_mean
from feature_repo.core.settings import PACKAGE_ROOT
from feature_repo.core.stores import atomic_write
from feature_repo.engine.feature_store import quiet_feast
from feature_repo.events.schema import EVENTS

DOOR = "feature_definitions.py"
HELPERS = {
    "count": "count",
    "sum": "total",
    "mean": "mean",
    "std": "std",
    "min": "smallest",
    "max": "largest",
    "count_distinct": "count_distinct",
    "last": "last",
    "decayed_sum": "decayed_sum",
}
_NAME = re.compile(r"[a-z][a-z0-9_]{2,39}")
_LIST = re.compile(r"__all__ = \[\n(.*?)\]", re.DOTALL)
_IMPORT = re.compile(r"^from feature_repo\.definitions\.(\w+) import", re.MULTILINE)
# Tiles of an hour keep a window of days close to its length; from so many days on a day's tile does, for less state.
_DAYS_OF_DAILY_TILES = 24


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes
    ----------
    name
        Of the view, and of its file.
    event
        The event type it reads.
    entity
        What it is about.
    features
        ``count``, or ``function:column``.
    days
        Lengths of the windows; half-lives of ``decayed_sum``.
    called
        One event, several, and in Chinese; derived from the event type where empty.
    """

    name: str
    event: str
    entity: str
    features: tuple[str, ...]
    days: tuple[int, ...]
    called: tuple[str, str, str] | None = None


@dataclass(frozen=True)
class Drafted:
    """Files as they are to be.

    Attributes
    ----------
    path, text
        The new file.
    door
        The whole of ``feature_definitions.py``, which names the view.
    names
        What the new file declares.
    """

    path: Path
    text: str
    door: str
    names: tuple[str, ...]


def wished(name: str, *, event: str, entity: str, features: Sequence[str], days: str, called: str = "") -> Wish:
    """Read what is said on the command line.

    Raises
    ------
    DeclarationError
        The days are no whole numbers, or the events are not called by three names.
    """
    parts = [each.strip() for each in days.split(",") if each.strip()]
    if not parts or not all(each.isascii() and each.isdigit() and int(each) for each in parts):
        raise DeclarationError(f"'{days}' are no windows in days.", hint="write for example --days 7,28,84.")
    words = tuple(each.strip() for each in called.split(",") if each.strip())
    if called and len(words) != 3:  # noqa: PLR2004 - one, several, in Chinese
        raise DeclarationError("Events are called by three names.", hint="write --called 'return, returns, 退货'.")
    lengths = tuple(sorted({int(each) for each in parts}))
    return Wish(name, event, entity, tuple(dict.fromkeys(features)), lengths, words or None)  # type: ignore[arg-type]


def draft_view(wish: Wish, root: Path = PACKAGE_ROOT) -> Drafted:
    """Draft a view, and build it once to see that it can be.

    Raises
    ------
    DeclarationError
        The name is taken or none; there is no such event type, entity, column or function; a window does not fit.
    """
    with quiet_feast():
        from feature_repo import feature_definitions  # noqa: PLC0415 - declarations are built while Feast is quiet

        declared = {name: getattr(feature_definitions, name) for name in feature_definitions.__all__}
    path = root / "definitions" / f"{wish.name}.py"
    _check_name(wish.name, {*declared, *(each.name for each in declared.values())}, path)
    _check_known("event type", wish.event, EVENTS)
    entities = {each.name: name for name, each in declared.items() if isinstance(each, Entity)}
    _check_known("entity", wish.entity, entities)
    sources = {each.name: name for name, each in declared.items() if isinstance(each, DataSource)}
    text = _text(wish, entities[wish.entity], sources.get(wish.event, ""))
    names = (wish.name,) if wish.event in sources else (f"{wish.event}_events", wish.name)
    with quiet_feast():
        exec(compile(text, str(path), "exec"), {"__name__": wish.name})  # noqa: S102 - of checked names alone
    return Drafted(path, text, listed((root / DOOR).read_text("utf-8"), wish.name, names), names)


def write_draft(drafted: Drafted) -> None:
    """Write both files; the door last, so that it never names what is not there.

    Raises
    ------
    OSError
        A file cannot be written; the other is as it was.
    """
    atomic_write(drafted.path, drafted.text)
    try:
        atomic_write(drafted.path.parent.parent / DOOR, drafted.door)
    except OSError:
        drafted.path.unlink()
        raise


def listed(door: str, module: str, names: Sequence[str]) -> str:
    r"""Return the door's text with an import more, and its names in ``__all__``, both in the order of letters.

    >>> text = 'from feature_repo.definitions.a import x\n\n__all__ = [\n    "x",\n]\n'
    >>> print(listed(text, "b", ["w"]), end="")
    from feature_repo.definitions.a import x
    from feature_repo.definitions.b import w
    <BLANKLINE>
    __all__ = [
        "w",
        "x",
    ]
    """
    line = f"from feature_repo.definitions.{module} import {', '.join(sorted(names))}\n"
    behind = [found.start() for found in _IMPORT.finditer(door) if found[1] > module]
    place = behind[0] if behind else door.index("\n__all__")
    door = door[:place] + line + door[place:]
    known = re.findall(r'"(\w+)"', _LIST.search(door)[1])  # type: ignore[index]
    every = "".join(f'    "{name}",\n' for name in sorted({*known, *names}))
    return _LIST.sub(lambda _: f"__all__ = [\n{every}]", door, count=1)


def _check_name(name: str, taken: set[str], path: Path) -> None:
    if not _NAME.fullmatch(name):
        raise DeclarationError(f"'{name}' is no name of a view.", hint="write small letters, such as user_returns.")
    if name in taken or path.exists():
        raise DeclarationError(
            f"There is a declaration '{name}' already.", hint=f"choose another name, or edit {path.name}."
        )


def _check_known(kind: str, said: str, known: Iterable[str]) -> None:
    names = list(known)
    if said not in names:
        raise DeclarationError(f"There is no {kind} '{said}'.", hint=did_you_mean(said, names))


def _feature(said: str, days: str) -> tuple[str, str]:
    """Return a helper, and the line that calls it."""
    function, _, column = said.partition(":")
    _check_known("function", function, HELPERS)
    helper, windows = HELPERS[function], "half_life_days" if function == "decayed_sum" else "days"
    named = f"{_quoted(column)}, " if column else "" if function == "count" else '"", '
    return helper, f"        *{helper}({named}{windows}={days}),"


def _text(wish: Wish, entity: str, source: str) -> str:
    calls = [
        _feature(each, f"({', '.join(map(str, wish.days))}{',' * (len(wish.days) == 1)})") for each in wish.features
    ]
    hop = "day" if min(wish.days, default=0) >= _DAYS_OF_DAILY_TILES else "hour"
    helpers = ", ".join(sorted({helper for helper, _ in calls} | {hop, "windowed_view"}))
    one, many, chinese = (_quoted(each) for each in wish.called or _called(wish.event))
    meaning = _quoted(f"{(wish.called or _called(wish.event))[1].capitalize()} of a {wish.entity}.")
    lines = [
        f'"""{meaning[1:-1]}"""',
        "",
        f"from feature_repo.definitions.entities import {entity}",
        f"from feature_repo.definitions.sources import {source or 'event_source'}",
        "from feature_repo.definitions.texts import Noun",
        f"from feature_repo.definitions.windows import {helpers}",
        "",
        *([] if source else [f'{wish.event}_events = event_source("{wish.event}")']),
        f"{wish.event.upper()} = Noun({one}, {many}, {chinese})",
        "",
        f"{wish.name} = windowed_view(",
        f'    name="{wish.name}",',
        f"    entities=[{entity}],",
        f"    source={source or f'{wish.event}_events'},",
        f"    hop={hop},",
        f"    events={wish.event.upper()},",
        '    owner="growth",',
        f"    description={meaning},",
        f"    zh={chinese},",
        "    features=[",
        *(line for _, line in calls),
        "    ],",
        ")",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _called(event: str) -> tuple[str, str, str]:
    one = event.replace("_", " ")
    return one, f"{one}s", one
