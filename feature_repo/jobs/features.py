"""Apply the declarations to the registry, and tell what it holds."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from feast import Entity, FeatureService, FeatureStore, FeatureView, OnDemandFeatureView, Project, StreamFeatureView
from feast.data_source import DataSource, PushSource
from feast.diff.registry_diff import RegistryDiff
from feast.errors import FeastError
from feast.feature_view import DUMMY_ENTITY, DUMMY_ENTITY_NAME
from feast.repo_contents import RepoContents

from feature_repo import definitions
from feature_repo.core.clock import from_us
from feature_repo.core.errors import DeclarationError, PortraitError, did_you_mean
from feature_repo.core.settings import PACKAGE_ROOT, load_settings
from feature_repo.definitions.texts import texts_of
from feature_repo.engine.contract import service_contract
from feature_repo.engine.feature_store import open_store, quiet_feast
from feature_repo.engine.spec import WindowedView, is_windowed, windowed_view_of
from feature_repo.jobs.log_tables import present_tables

DECLARATIONS = PACKAGE_ROOT / "definitions"
_DECLARED = (DataSource, Entity, FeatureService, FeatureView, OnDemandFeatureView)


@dataclass(frozen=True)
class Change:
    """One object of the registry that an apply created, changed or removed."""

    kind: str
    name: str
    change: str


@dataclass(frozen=True)
class ApplyReport:
    """What one apply did.

    Attributes
    ----------
    changes
        Of the registry.
    objects
        How many the registry holds now.
    tables
        Tables of the event log that were missing and are there now, empty.
    """

    changes: tuple[Change, ...]
    objects: int
    tables: tuple[str, ...]


@dataclass(frozen=True)
class FeatureLine:
    """One feature as the catalogue shows it."""

    view: str
    feature: str
    dtype: str
    entity: str
    description: str
    zh: str
    owner: str


@dataclass(frozen=True)
class Description:
    """All of one view or service.

    Attributes
    ----------
    kind
        ``"windowed view"``, ``"view"``, ``"on-demand view"`` or ``"service"``.
    hop_s
        Tile width of a windowed view in seconds.
    state
        State columns of a windowed view.
    """

    kind: str
    name: str
    description: str
    zh: str
    owner: str
    entities: tuple[str, ...]
    source: str
    features: tuple[FeatureLine, ...]
    hop_s: float | None = None
    state: tuple[str, ...] = ()


def apply() -> ApplyReport:
    """Write every declaration of ``feature_definitions`` to the registry; create tables the log lacks.

    What is no longer declared is removed from the registry, with the state it has in Redis.

    Raises
    ------
    DeclarationError
        A declaration contradicts itself, or ``feature_definitions`` does not list it; nothing is written.
    """
    with quiet_feast(), _declaring():
        from feature_repo import feature_definitions  # noqa: PLC0415 - declarations are built while Feast is quiet

        _refuse_unlisted(feature_definitions)
        store = open_store()
        # Feast completes the objects it is given, and refuses a completed on-demand view the next time: give it copies.
        contents = _contents(
            deepcopy([getattr(feature_definitions, name) for name in feature_definitions.__all__]), store.project
        )
        before = present_tables(load_settings())
        for source in contents.data_sources:
            store._get_provider().offline_store.validate_data_source(store.config, source)  # noqa: SLF001
        difference, infra, new_infra = store.plan(contents)
        store._apply_diffs(difference, infra, new_infra)  # noqa: SLF001 - what Feast's own CLI calls
        created = tuple(name for name in present_tables(load_settings()) if name not in before)
    return ApplyReport(_changes(difference), len(difference.feast_object_diffs), created)


def _refuse_unlisted(door: ModuleType) -> None:
    """Refuse what a module of the declarations names and the door does not list: the registry would lack it unsaid."""
    listed = {getattr(door, name).name for name in door.__all__}
    for found in iter_modules(definitions.__path__):
        module = import_module(f"{definitions.__name__}.{found.name}")
        for name, declared in vars(module).items():
            if isinstance(declared, _DECLARED) and declared.name not in listed:
                raise DeclarationError(
                    f"{found.name}.py declares '{declared.name}', which feature_definitions.py does not list.",
                    hint=f"nothing was written; import `{name}` there and add it to its `__all__`.",
                )


@contextmanager
def _declaring() -> Iterator[None]:
    """Turn whatever a declaration raises, in Python or in Feast, into an error that names its file and line."""
    try:
        yield
    except PortraitError:
        raise
    except SyntaxError as error:
        raise DeclarationError(
            f"{Path(error.filename or '').name}, line {error.lineno}: {error.msg}.",
            hint="nothing was written; correct it.",
        ) from error
    except (FeastError, AttributeError, NameError, TypeError, ValueError, KeyError, ImportError) as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).parent == DECLARATIONS]
        if not frames and not isinstance(error, FeastError | ValueError):
            raise
        # The innermost module is the declaration: modules outside import it, functions inside are helpers it called.
        place = next(
            (f"{Path(f.filename).name}, line {f.lineno}: " for f in reversed(frames) if f.name == "<module>"), ""
        )
        raise DeclarationError(
            f"{place}{type(error).__name__}: {error}",
            hint="nothing was written; a view that reads a feature which is gone has to be changed with it.",
        ) from error


def catalogue(store: FeatureStore | None = None) -> list[FeatureLine]:
    """Every feature of the registry, by view.

    Raises
    ------
    DeclarationError
        Nothing was applied yet.
    """
    store = store or open_store()
    with quiet_feast():
        views = sorted(store.list_all_feature_views(), key=lambda view: str(view.name))
    if not views:
        raise DeclarationError("The registry holds no views.", hint="run `portrait features apply`.")
    known = {view.name: view for view in views}
    return [line for view in views for line in _lines(view, known)]


def describe(name: str) -> Description:
    """Tell all about a view or a service.

    Raises
    ------
    DeclarationError
        Nothing in the registry has that name.
    """
    store = open_store()
    with quiet_feast():
        views = {view.name: view for view in store.list_all_feature_views()}
        services = {service.name: service for service in store.list_feature_services()}
        if name in views:
            return _view_description(views[name], views)
        if name in services:
            return _service_description(store, services[name])
    raise DeclarationError(
        f"There is no view or service '{name}'.",
        hint=f"{did_you_mean(name, [*views, *services])} One that is declared is applied by `portrait features apply`.",
    )


def _contents(declared: list[Any], project: str) -> RepoContents:
    sources = [each for each in declared if isinstance(each, DataSource)]
    batch = [source.batch_source for source in sources if isinstance(source, PushSource)]
    streams = [each for each in declared if isinstance(each, StreamFeatureView)]
    return RepoContents(
        projects=[Project(name=project)],
        data_sources=[*sources, *batch],
        entities=[*(each for each in declared if isinstance(each, Entity)), DUMMY_ENTITY],
        feature_views=[each for each in declared if type(each) is FeatureView],
        on_demand_feature_views=[each for each in declared if isinstance(each, OnDemandFeatureView)],
        stream_feature_views=streams,
        feature_services=[each for each in declared if isinstance(each, FeatureService)],
        label_views=[],
        permissions=[],
    )


def _changes(difference: RegistryDiff) -> tuple[Change, ...]:
    changes = (
        Change(each.feast_object_type.value, each.name, each.transition_type.name.lower())
        for each in difference.feast_object_diffs
        if each.transition_type.name != "UNCHANGED" and not _same_view(each)
    )
    return tuple(sorted(changes, key=lambda each: (each.kind, each.name)))


def _same_view(each: Any) -> bool:
    """Whether Feast reports a view as updated that is not: it compares the key column and the times it adds itself."""
    old, new = each.current_feast_object, each.new_feast_object
    if each.feast_object_type.value not in {"stream feature view", "feature view"} or old is None or new is None:
        return False
    facts = ("tags", "description", "owner", "entities", "batch_source", "ttl")
    return all(getattr(old, fact) == getattr(new, fact) for fact in facts) and _fields(old) == _fields(new)


def _fields(view: Any) -> dict[str, tuple[str, str]]:
    keys = {column.name for column in view.entity_columns}
    return {field.name: (str(field.dtype), field.description) for field in view.features if field.name not in keys}


def _entities(view: Any, known: Mapping[str, Any]) -> tuple[str, ...]:
    """Entities of a view, an on-demand view's being those of the views it reads; Feast's dummy is none."""
    read = [known[name] for name in getattr(view, "source_feature_view_projections", {}) if name in known]
    named = (entity for each in (read or [view]) for entity in getattr(each, "entities", []))
    return tuple(dict.fromkeys(entity for entity in named if entity != DUMMY_ENTITY_NAME))


def _lines(view: Any, known: Mapping[str, Any]) -> list[FeatureLine]:
    entities = ", ".join(_entities(view, known)) or "request"
    return [
        FeatureLine(
            view=view.name,
            feature=field.name,
            dtype=str(field.dtype),
            entity=entities,
            description=texts_of(view, field)[0],
            zh=texts_of(view, field)[1],
            owner=view.owner,
        )
        for field in sorted(view.features, key=lambda field: str(field.name))
        if field.name not in getattr(view, "join_keys", [])
    ]


def _view_description(view: Any, known: Mapping[str, Any]) -> Description:
    spec: WindowedView | None = windowed_view_of(view) if is_windowed(view) else None
    on_demand = isinstance(view, OnDemandFeatureView)
    source = ", ".join(view.source_feature_view_projections) if on_demand else view.batch_source.name
    return Description(
        kind="windowed view" if spec else ("on-demand view" if on_demand else "view"),
        name=view.name,
        description=view.description,
        zh=view.tags.get("zh", ""),
        owner=view.owner,
        entities=_entities(view, known),
        source=source,
        features=tuple(_lines(view, known)),
        hop_s=(from_us(spec.hop) - from_us(0)).total_seconds() if spec else None,
        state=tuple(monoid.key for monoid in spec.monoids) if spec else (),
    )


def _service_description(store: FeatureStore, service: Any) -> Description:
    wanted = service_contract(store, service.name)
    lines = {f"{line.view}__{line.feature}": line for line in catalogue(store)}
    return Description(
        kind="service",
        name=service.name,
        description=service.description,
        zh=service.tags.get("zh", ""),
        owner=service.owner,
        entities=tuple(dict.fromkeys(lines[name].entity for name in wanted if lines[name].entity != "request")),
        source="",
        features=tuple(lines[name] for name in wanted),
    )
