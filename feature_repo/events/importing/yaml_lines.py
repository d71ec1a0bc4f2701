"""YAML as it was written: every plain value stays text, and every key knows its line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

Path = tuple[str, ...]

_MAX_DEPTH = 12
_NULLS = frozenset({"", "~", "null"})


class YamlError(Exception):
    """A text that is no YAML, or says a thing twice; the message names the line."""


@dataclass(frozen=True)
class Document:
    """A parsed text.

    Attributes
    ----------
    value
        Dictionaries, lists, strings and None. YAML's own rules would read an id ``007`` as 7 and a key ``no`` as False.
    lines
        Path of keys -> line, the first is 1.
    """

    value: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """Line of a key, or of the innermost key around it that is there."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse(text: str) -> Document:
    """Parse a YAML text.

    Raises
    ------
    YamlError
        It is no YAML, nests deeper than a mapping does, or repeats a key.

    >>> parse("ids: {a: 007, b: null}").value
    {'ids': {'a': '007', 'b': None}}
    """
    lines: dict[Path, int] = {}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}" if mark else "somewhere"
        raise YamlError(f"{where}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise YamlError(str(error).splitlines()[0]) from None
    return Document(None if node is None else _value(node, (), lines), lines)


def _value(node: Any, path: Path, lines: dict[Path, int]) -> Any:
    line = node.start_mark.line + 1
    if len(path) > _MAX_DEPTH:
        raise YamlError(f"line {line}: nested too deeply")
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, lines)
    if isinstance(node, yaml.SequenceNode):
        for n, item in enumerate(node.value):
            lines[(*path, str(n))] = item.start_mark.line + 1
        return [_value(item, (*path, str(n)), lines) for n, item in enumerate(node.value)]
    plain = node.style is None
    return None if plain and node.value.lower() in _NULLS else node.value


def _mapping(node: Any, path: Path, lines: dict[Path, int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise YamlError(f"line {line}: a key is not a single word")
        name = str(key.value)
        if name in found:
            raise YamlError(f"line {line}: '{name}' is given twice")
        lines[(*path, name)] = line
        found[name] = _value(item, (*path, name), lines)
    return found
