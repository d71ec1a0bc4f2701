"""The code of a model as one file, which MLflow logs and whoever loads the model runs."""

from __future__ import annotations

from pathlib import Path

from training.written import head

_FUTURE = "from __future__ import annotations\n"
_BASE = f"from {head.__name__} import "


def self_contained(code: Path) -> str:
    """Return a model's module with the base it builds on before it, so that it imports nothing of this project."""
    own = code.read_text("utf-8").replace(_FUTURE, "").splitlines(keepends=True)
    lines = [line for line in own if not line.startswith(_BASE)]
    return Path(head.__file__).read_text("utf-8") + "\n\n" + "".join(lines)
