"""Where the saved audiences are."""

from __future__ import annotations

from pathlib import Path

from feature_repo.core.settings import Settings


def saved_root(settings: Settings) -> Path:
    """Return the directory of their files, ``<name>.json`` each."""
    return settings.home / "audiences" / "saved"
