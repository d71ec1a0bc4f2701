"""What the READMEs point at exists: files, headings, commands, options, settings; their Python compiles."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from feature_repo.cli import registry
from feature_repo.core.settings import Settings
from feature_repo.documents.markdown import anchor

ROOT = Path(__file__).parents[2]
PACKAGES = ("feature_repo", "training", "serving")
WRITTEN = [ROOT / "README.md", *sorted(path for name in PACKAGES for path in (ROOT / name).rglob("README.md"))]
GENERATED = [ROOT / "feature_repo" / "COMMANDS.md", ROOT / "feature_repo" / "definitions" / "CATALOGUE.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:[A-Z_]+=\S+ )*portrait [^`]+)`")
ASSIGNMENT = re.compile(r"[A-Z_]+=")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text("utf-8"))


def headings(path: Path) -> set[str]:
    return {anchor(title) for title in re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)}


@pytest.mark.parametrize("path", [*WRITTEN, *GENERATED], ids=named)
def test_every_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"https?://", target):
            continue
        file, _, heading = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"{target}: there is no such file."
        assert not heading or heading in headings(there), f"{target}: {named(there)} has no such heading."


@pytest.mark.parametrize("path", WRITTEN, ids=named)
def test_every_source_that_is_cited_is_named_and_no_other(path: Path) -> None:
    text = prose(path)
    cited, sources = (
        set(re.findall(r"\]\[([a-z-]+)\]", text)),
        set(re.findall(r"^\[([a-z-]+)\]: http", text, re.MULTILINE)),
    )
    assert cited == sources


@pytest.mark.parametrize("path", [*WRITTEN, *GENERATED], ids=named)
def test_every_command_line_parses(path: Path) -> None:
    for line in command_lines(path):
        for words in invocations(line):
            command, name, rest = command_of(words)
            assert command is not None, f"{line}: there is no such command."
            command.make_context(name, rest)  # parses the arguments, and runs nothing


@pytest.mark.parametrize("path", WRITTEN, ids=named)
def test_every_command_in_a_sentence_exists_with_its_options(path: Path) -> None:
    for said in INLINE.findall(prose(path)):
        command, _, rest = command_of(said.replace("[", " ").replace("]", " ").replace("\\|", " ").split())
        assert command is not None, said
        options = {option for each in command.params for option in each.opts} | {"--help"}
        unknown = [word for word in rest if word.startswith("-") and word not in options]
        assert not unknown, f"{said}: {unknown}"
        assert not hasattr(command, "commands") or not rest, f"{said}: there is no such command."


@pytest.mark.parametrize("path", WRITTEN, ids=named)
def test_every_block_of_python_compiles(path: Path) -> None:
    for language, code in FENCE.findall(path.read_text("utf-8")):
        if language == "python":
            compile(code, named(path), "exec")


def test_every_setting_a_readme_names_exists_and_has_the_default_it_says() -> None:
    fields = {f"PORTRAIT_{name.upper()}": field for name, field in Settings.model_fields.items()}
    text = "\n".join(path.read_text("utf-8") for path in WRITTEN)
    assert set(re.findall(r"PORTRAIT_[A-Z_]+", text)) <= set(fields)
    rows = re.findall(r"^\| (`PORTRAIT_[^|]*) \| ([^|]*)\|", text, re.MULTILINE)
    assert rows
    for names, defaults in rows:
        said = [each.strip(" `").replace(",", "") for each in defaults.split(", ")]
        assert said == [str(fields[name.strip(" `")].default) for name in names.split(",")], names


def command_lines(path: Path) -> Iterator[str]:
    """Lines of code blocks that run the command, alone or after something else."""
    for language, code in FENCE.findall(path.read_text("utf-8")):
        if language != "python":
            lines = (line for line in code.splitlines() if re.match(r"(?:\S+=\S+ |.*&& )*portrait ", line))
            yield from (line for line in lines if not line.endswith(" [OPTIONS]"))


def invocations(line: str) -> Iterator[list[str]]:
    """The command's words wherever a shell would run it, without what stands before and behind."""
    words: list[str] = []
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, "#"
    for word in [*lexer, ";"]:
        if set(word) <= set(";&|<>()"):
            if words and words[0] == "portrait":
                yield words
            words = []
        elif words or not ASSIGNMENT.match(word):
            words.append(word)


def command_of(words: list[str]) -> tuple[Any, str, list[str]]:
    """Walk from the root as far as words name commands; None where a group has no such command."""
    rest = [word for word in words if not ASSIGNMENT.match(word)]
    assert rest.pop(0) == "portrait"
    found, name = get_command(registry().root), "portrait"
    while hasattr(found, "commands") and rest and not rest[0].startswith("-"):
        word = rest.pop(0)
        found, name = found.commands.get(word), f"{name} {word}"
    return found, name, rest
