"""The declared views a consumer feeds, by the table they read; read anew when the registry has changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from feast import FeatureView

from feature_repo.core.errors import DeclarationError
from feature_repo.core.settings import Settings
from feature_repo.engine.feature_store import is_when_asked, open_store, stored_views
from feature_repo.engine.sources import is_delta, located
from feature_repo.engine.spec import WindowedView, is_windowed, windowed_view_of
from feature_repo.events.schema import TABLES


@dataclass(frozen=True)
class Fed:
    """Views by table.

    Attributes
    ----------
    windowed
        Table -> windowed views on it.
    ordinary
        Table -> ordinary views on it.
    """

    windowed: dict[str, list[WindowedView]] = field(default_factory=dict)
    ordinary: dict[str, list[FeatureView]] = field(default_factory=dict)

    @property
    def tables(self) -> set[str]:
        """Tables that any view reads."""
        return {*self.windowed, *self.ordinary}


class Views:
    """Follows the registry of a home."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stamp: tuple[int, int] | None = None
        self.project = ""
        self.fed = Fed()
        self.when_asked: frozenset[str] = frozenset()

    def refresh(self) -> bool:
        """Read the registry if it has changed; return whether it has. Without one, nothing is fed."""
        stamp = _stamp(self._settings.registry_path)
        if stamp == self._stamp and self.project:
            return False
        store = open_store()
        self.project = store.project
        try:
            stored = stored_views(store)
            self.fed = _by_table(self._settings, stored)
            self.when_asked = frozenset(view.name for view in stored if is_when_asked(view))
        except DeclarationError:  # nothing applied yet: events are kept, and folded once there are views
            self.fed, self.when_asked = Fed(), frozenset()
        self._stamp = stamp
        return True


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return facts.st_mtime_ns, facts.st_size


def _by_table(settings: Settings, views: list[FeatureView]) -> Fed:
    fed = Fed()
    for view in views:
        path = Path(located(view.batch_source.path)) if is_delta(view.batch_source) else None
        if path is None or path.parent != settings.log_root or path.name not in TABLES:
            continue
        if is_windowed(view):
            fed.windowed.setdefault(path.name, []).append(windowed_view_of(view))
        else:
            fed.ordinary.setdefault(path.name, []).append(view)
    return fed
