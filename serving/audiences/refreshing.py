"""Saved audiences are counted anew in `portrait refresh`, behind the snapshot."""

from __future__ import annotations

from importlib.util import find_spec

from feature_repo.core.clock import Clock
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings
from serving.audiences.saved_files import saved_root


def refresh_audiences(settings: Settings, clock: Clock, *, dry_run: bool) -> str:
    """Count the saved audiences on the latest snapshot; return what was done.

    Raises
    ------
    DataError
        Some cannot be counted: the others were.
    """
    saved = sorted(path.stem for path in saved_root(settings).glob("*.json"))
    if not saved:
        return "no audience is saved"
    if find_spec("pyroaring") is None or find_spec("sqlglot") is None:
        return "audiences were not counted: pip install 'user-portrait[audiences]'"
    if dry_run:
        return f"{len(saved)} audiences to count"
    from serving.audiences.recount import recount  # noqa: PLC0415 - its packages may be missing

    found = recount(settings, clock)
    failed = [each for each in found.audiences if each.size is None]
    if failed:
        raise DataError(
            f"{len(failed)} of {len(found.audiences)} audiences cannot be counted: {failed[0].name}: {failed[0].why}",
            hint="save them anew: portrait audience save NAME SELECTION.",
        )
    return f"{len(found.audiences)} audiences counted as of {found.as_of:%Y-%m-%d %H:%M} UTC"
