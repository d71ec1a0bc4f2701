"""Which tables of the event log are there, and which should be."""

from __future__ import annotations

from pathlib import Path

from deltalake import DeltaTable

from feature_repo.core.settings import Settings
from feature_repo.events.schema import TABLES, table_path


def present_tables(settings: Settings) -> list[str]:
    """Tables of the log that exist, in the schema's order."""
    return [name for name in TABLES if DeltaTable.is_deltatable(str(table_path(settings.log_root, name)))]


def missing_tables(settings: Settings) -> list[str]:
    """Tables that a view of the registry reads and that do not exist while others do, in the schema's order.

    Raises
    ------
    SettingsError
        The registry is damaged.
    """
    present = present_tables(settings)
    absent = [name for name in TABLES if name not in present]
    if not present or not settings.registry_path.is_file():
        return []
    # Importing Feast takes seconds: only where the registry's bytes hold the path of a table that is not there.
    written = settings.registry_path.read_bytes()
    if not any(table_path(Path(settings.log_root.name), name).as_posix().encode() in written for name in absent):
        return []
    read = _tables_read()
    return [name for name in absent if table_path(settings.log_root, name) in read]


def _tables_read() -> set[Path]:
    from feature_repo.engine.feature_store import open_store, quiet_feast  # noqa: PLC0415 - seconds
    from feature_repo.engine.sources import is_delta, located  # noqa: PLC0415

    with quiet_feast():
        views = open_store().list_all_feature_views()
    sources = [source for view in views if (source := getattr(view, "batch_source", None)) is not None]
    return {Path(located(source.path)) for source in sources if is_delta(source)}
