"""What the page of features shows: the catalogue, how fresh it is, who reads what, how values are spread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from feature_repo.core.errors import PortraitError
from feature_repo.core.mlflow_client import CHAMPION
from feature_repo.core.settings import Settings
from feature_repo.engine.feature_store import open_store, quiet_feast, stored_views
from feature_repo.jobs.features import FeatureLine, catalogue
from serving.catalogue import split_languages
from serving.console.desk import Desk
from serving.console.distribution import Everybody, Spread, everybody, trained_on
from serving.console.freshness import ViewFreshness, freshness_of
from serving.console.instants import Moment, moment
from serving.console.shelf import CHALLENGER, Registered, Version
from serving.console.words import Words


@dataclass(frozen=True)
class FeatureRow:
    """A feature: its full name, what it says, its type, and the models that read it."""

    name: str
    says: str
    dtype: str
    models: tuple[str, ...]


@dataclass(frozen=True)
class ViewRow:
    """A view with its features.

    Attributes
    ----------
    state
        In words: at the log's head, behind it, not built.
    fresh
        Whether it is as it should be.
    grew
        When the table behind it last grew; None if that cannot be told.
    """

    name: str
    entity: str
    owner: str
    table: str
    state: str
    fresh: bool
    grew: Moment | None
    features: tuple[FeatureRow, ...]


@dataclass(frozen=True)
class CatalogueView:
    """The catalogue.

    Attributes
    ----------
    views
        Those with a feature that was found.
    found, features
        How many features were found, and how many there are.
    redis, mlflow
        What is wrong with them; empty if nothing.
    """

    views: tuple[ViewRow, ...]
    found: int
    features: int
    redis: str
    mlflow: str

    def matching(self, find: str) -> CatalogueView:
        """Return what of it has all of some words."""
        wanted = find.lower().split()
        views = tuple(view for view in (_matching(each, wanted) for each in self.views) if view.features)
        return replace(self, views=views, found=sum(len(view.features) for view in views))


@dataclass(frozen=True)
class FeatureView:
    """One feature: its line, its view, and its values among everybody and in trainings."""

    row: FeatureRow
    view: ViewRow
    everybody: Everybody | None
    as_of: Moment | None
    trainings: tuple[Spread, ...]


def catalogue_view(desk: Desk, words: Words) -> CatalogueView:
    """Read the catalogue.

    Raises
    ------
    DeclarationError
        Nothing was applied yet.
    """
    lines = catalogue()
    readers, mlflow = _readers(desk)
    fresh, redis = _freshness(desk.settings)
    views = tuple(_views(lines, fresh, readers, desk.now, words))
    return CatalogueView(views, len(lines), len(lines), redis, mlflow)


def feature_view(desk: Desk, found: CatalogueView, name: str, words: Words) -> FeatureView | None:
    """Return all of one feature of a catalogue; None if it is not in it.

    Raises
    ------
    LogError
        A snapshot is damaged.
    """
    pair = next(((row, view) for view in found.views for row in view.features if row.name == name), None)
    if pair is None:
        return None
    spread = everybody(desk.settings, name)
    as_of = moment(spread.as_of, desk.now, words) if spread else None
    return FeatureView(*pair, spread, as_of, tuple(_trainings(desk, name)))


def _freshness(settings: Settings) -> tuple[dict[str, ViewFreshness], str]:
    store = open_store()
    with quiet_feast():
        views = stored_views(store)
    return freshness_of(settings, str(store.project), views)


def _readers(desk: Desk) -> tuple[dict[str, list[str]], str]:
    """Return which champions and challengers read each feature, and what is wrong with MLflow."""
    found: dict[str, list[str]] = {}
    try:
        models = desk.shelf.models()
    except PortraitError as error:
        return {}, f"{error.what} {error.hint}".strip()
    for version in _placed(models):
        for name in version.features:
            found.setdefault(name, []).append(f"{version.name}@{version.number}")
    return found, ""


def _placed(models: Sequence[Registered]) -> Iterator[Version]:
    for model in models:
        yield from (each for each in model.versions if {CHAMPION, CHALLENGER} & set(each.aliases))


def _views(
    lines: Sequence[FeatureLine],
    fresh: Mapping[str, ViewFreshness],
    readers: Mapping[str, list[str]],
    now: datetime,
    words: Words,
) -> Iterator[ViewRow]:
    for name in dict.fromkeys(line.view for line in lines):
        own = [line for line in lines if line.view == name]
        state = fresh.get(name)
        grew = state.head.committed if state and state.head else None
        yield ViewRow(
            name=name,
            entity=own[0].entity,
            owner=own[0].owner,
            table=state.table if state else "",
            state=_state(state, words),
            fresh=state is None or state.state in {"at_head", "when_asked"},
            grew=moment(grew, now, words) if grew else None,
            features=tuple(_row(line, readers, words) for line in own),
        )


def _state(found: ViewFreshness | None, words: Words) -> str:
    if found is None:
        return words("state.on_demand")
    head = found.head.version if found.head else "-"
    return words(f"state.{found.state}", held="-" if found.held is None else found.held, head=head)


def _row(line: FeatureLine, readers: Mapping[str, list[str]], words: Words) -> FeatureRow:
    # An on-demand view keeps both languages in one text.
    english, chinese = split_languages(line.description)
    name = f"{line.view}__{line.feature}"
    said = words.of(english or line.feature.replace("_", " "), line.zh or chinese)
    return FeatureRow(name, said, line.dtype, tuple(readers.get(name, ())))


def _matching(view: ViewRow, wanted: Sequence[str]) -> ViewRow:
    kept = tuple(row for row in view.features if all(word in _haystack(view, row) for word in wanted))
    return replace(view, features=kept)


def _haystack(view: ViewRow, row: FeatureRow) -> str:
    return " ".join((row.name, row.says, view.owner, view.entity, view.table, *row.models)).lower()


def _trainings(desk: Desk, name: str) -> Iterator[Spread]:
    try:
        for version in _placed(desk.shelf.models()):
            if name in version.features:
                found = trained_on(f"{version.name}@{version.number}", desk.shelf.run(version.run_id).reference, name)
                if found:
                    yield found
    except PortraitError:  # told above the catalogue
        return
