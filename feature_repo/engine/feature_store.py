"""Open the Feast store of this repo and of the home the environment names."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from feast import FeatureStore, FeatureView, OnDemandFeatureView

from feature_repo.core.errors import DeclarationError, did_you_mean
from feature_repo.core.settings import PACKAGE_ROOT
from feature_repo.engine.positions import Recorded


@contextmanager
def quiet_feast() -> Iterator[None]:
    """Keep Feast from telling users that stream and on-demand views are experimental: their use here is deliberate."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="(Stream feature views|On demand feature view).*", category=RuntimeWarning
        )
        yield


def open_store() -> FeatureStore:
    """Return the store; its registry is read when it is first asked."""
    with quiet_feast():
        return FeatureStore(repo_path=str(PACKAGE_ROOT))


BUILT, WHEN_ASKED = "materialize", "when asked"  # tag of a view, and its word for a state too large to be built unasked


def kept_views(views: list[FeatureView], recorded: Recorded) -> list[FeatureView]:
    """Views that are to be in Redis: all but those that wait to be asked for by name and never were."""
    return [view for view in views if not is_when_asked(view) or recorded.serving(view.name)]


def is_when_asked(view: FeatureView) -> bool:
    """Return whether a view waits to be asked for by name."""
    return bool(view.tags.get(BUILT) == WHEN_ASKED)


def stored_views(store: FeatureStore, names: list[str] | None = None) -> list[FeatureView]:
    """Views that are kept in Redis, by name; all of them without ``names``.

    Raises
    ------
    DeclarationError
        A name is unknown, or the registry is empty.
    """
    with quiet_feast():
        views = {v.name: v for v in store.list_all_feature_views() if not isinstance(v, OnDemandFeatureView)}
    if not views:
        raise DeclarationError("The registry holds no views.", hint="run `portrait features apply`.")
    unknown = [name for name in names or () if name not in views]
    if unknown:
        raise DeclarationError(f"There is no stored view '{unknown[0]}'.", hint=did_you_mean(unknown[0], views))
    return [views[name] for name in (names or sorted(views))]
