"""The reference of the command line, written from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from feature_repo.cli import Registry, registry
from feature_repo.core.errors import PortraitError
from feature_repo.documents.markdown import anchor, table

_HEAD = """# Commands

`portrait document` writes this file from the commands themselves.

Every command takes `--help` and `--json`: one object on stdout, everything else on stderr. It exits with 0 when it is
done, 1 when a check did not hold, 2 when you have to change something, 3 when the fault is Portrait's (the message
names a report), 130 when it was interrupted."""

_SAID_ONCE = ("as_json",)


def command_reference(known: Registry | None = None) -> str:
    """Return Markdown: every command with its help, arguments, options and example, by the letters of its words.

    Nothing is wrapped, so that no terminal's width matters.

    Raises
    ------
    PortraitError
        A package's commands could not be loaded: they would be missing.
    """
    known = known or registry()
    if known.failures:
        raise PortraitError(
            f"The commands of {', '.join(sorted(known.failures))} could not be loaded, and would be missing.",
            hint="install what they need (`pip install -e '.[dev]'`), then run it again.",
        )
    # Groups list their commands as their modules were imported, which differs where somebody imported one before.
    leaves = sorted(command_leaves(get_command(known.root), "portrait"), key=lambda leaf: leaf[0])
    index = table(
        ("command", "what it does"), [(f"[`{words}`](#{anchor(words)})", _summary(leaf)) for words, leaf in leaves]
    )
    return "\n\n".join([_HEAD, index, *(_section(words, leaf) for words, leaf in leaves)]) + "\n"


def command_leaves(tree: Any, words: str) -> Iterator[tuple[str, Any]]:
    """Every command of a tree that does something, by its words; groups are told by what is in them."""
    for name, child in tree.commands.items():
        if hasattr(child, "commands"):
            yield from command_leaves(child, f"{words} {name}")
        else:
            yield f"{words} {name}", child


def _section(words: str, leaf: Any) -> str:
    told = [each for each in leaf.params if each.name not in _SAID_ONCE]
    arguments = [_shown(each) for each in told if each.param_type_name == "argument"]
    usage = " ".join([words, *arguments, "[OPTIONS]"])
    parts = [f"## `{words}`", " ".join((leaf.help or "").split()), f"```\n{usage}\n```"]
    if told:
        parts.append(table(("argument or option", "meaning"), [(f"`{_shown(each)}`", _said(each)) for each in told]))
    return "\n\n".join([*parts, *_examples(leaf)])


# Typer's own texts differ from version to version of it: these are made of what a parameter was declared with.
def _shown(parameter: Any) -> str:
    value = parameter.metavar or parameter.name.upper()
    if parameter.param_type_name == "argument":
        many = "..." if parameter.nargs < 0 and not value.endswith("...") else ""
        return f"{value}{many}" if parameter.required or value.startswith("[") else f"[{value}{many}]"
    return ", ".join(parameter.opts) + ("" if parameter.is_flag else f" {value}")


def _said(parameter: Any) -> str:
    notes = ["required"] if parameter.required and parameter.param_type_name == "option" else []
    if parameter.show_default and parameter.default not in (None, False, "", ()):
        notes.append(f"default {getattr(parameter.default, 'value', parameter.default)}")
    notes += [
        f"{word} {bound}" for word, bound in (("from", parameter.min), ("to", parameter.max)) if bound is not None
    ]
    return " ".join([*(parameter.help or "").split(), *([f"({', '.join(notes)})"] if notes else [])])


def _examples(leaf: Any) -> list[str]:
    lines = [line.strip() for line in (leaf.epilog or "").splitlines() if line.startswith("  ")]
    return ["```\n" + "\n".join(lines) + "\n```"] if lines else []


def _summary(leaf: Any) -> str:
    return (leaf.help or "").strip().splitlines()[0]
