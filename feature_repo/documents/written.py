"""The files that are written from the code, and whether they still say what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from feature_repo.core.errors import PortraitError
from feature_repo.core.feast_import import hasten_feast

REPO = Path(__file__).parents[1]


def _command_reference() -> str:
    from feature_repo.documents.command_reference import command_reference  # noqa: PLC0415

    return command_reference()


def _feature_catalogue() -> str:
    hasten_feast()
    from feature_repo.documents.feature_catalogue import feature_catalogue  # noqa: PLC0415

    return feature_catalogue()


# File below `feature_repo` -> what makes its text.
DOCUMENTS: dict[str, Callable[[], str]] = {
    "COMMANDS.md": _command_reference,
    "definitions/CATALOGUE.md": _feature_catalogue,
}


def changed_documents(repo: Path = REPO) -> dict[Path, str]:
    """Return the files that differ from what the code says, each with the text it should hold."""
    made = {repo / name: make() for name, make in DOCUMENTS.items()}
    return {path: text for path, text in made.items() if not path.is_file() or path.read_text("utf-8") != text}


def write_documents(repo: Path = REPO) -> tuple[Path, ...]:
    """Write the files that differ; twice is once.

    Raises
    ------
    PortraitError
        There is no checkout to write to.
    """
    if not (repo.parent / "pyproject.toml").is_file():
        raise PortraitError("The documents are part of a checkout, and this is none.", hint="clone the repository.")
    changed = changed_documents(repo)
    for path, text in changed.items():
        path.write_text(text, "utf-8")
    return tuple(changed)
