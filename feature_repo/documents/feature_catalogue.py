"""The catalogue of features, written from the declarations: what each is, over what, and who reads it.

It needs no registry, no log and no Redis: two checkouts of one commit say the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from feast import FeatureService, OnDemandFeatureView

from feature_repo.definitions.texts import texts_of
from feature_repo.definitions.windows import window_label
from feature_repo.documents.markdown import anchor, table
from feature_repo.engine.feature_store import BUILT, WHEN_ASKED, quiet_feast
from feature_repo.engine.kernels import kernel_named
from feature_repo.engine.oracle import oracle_value
from feature_repo.engine.spec import WindowedFeature, WindowedView, is_windowed, windowed_view_of

_HEAD = """# Features

`portrait document` writes this file from the declarations beside it; what a window means stands in
[`feature_repo/README.md`](../README.md#what-a-window-means).

An entity that was never seen has the values of one without events. While a view is not built in Redis, or was changed
and not built anew, a feature read online is NULL whatever the table says, and named as missing."""

_KINDS = ("windowed view", "facts", "computed on demand")
_COLUMNS = ("feature", "type", "from", "window", "meaning", "含义", "NULL means", "read by")
_NOTHING_TO_COMPUTE = "an input is NULL, or a ratio is over nothing"


def feature_catalogue(declared: Mapping[str, Any] | None = None) -> str:
    """Return Markdown: every view with its features, and every service.

    Parameters
    ----------
    declared
        Feast objects by name; those of ``feature_definitions`` if unsaid.
    """
    objects = list((declared or _declarations()).values())
    views = sorted((each for each in objects if hasattr(each, "schema") or _on_demand(each)), key=_place)
    services = sorted((each for each in objects if isinstance(each, FeatureService)), key=lambda each: str(each.name))
    readers = _readers(services)
    sections = [_section(view, views, readers) for view in views]
    return "\n\n".join([_HEAD, _view_table(views), _service_table(services), *sections]) + "\n"


def _declarations() -> dict[str, Any]:
    with quiet_feast():
        from feature_repo import feature_definitions  # noqa: PLC0415 - declarations are built while Feast is quiet

    return {name: getattr(feature_definitions, name) for name in feature_definitions.__all__}


def _on_demand(view: Any) -> bool:
    return isinstance(view, OnDemandFeatureView)


def _kind(view: Any) -> str:
    return _KINDS[0] if is_windowed(view) else _KINDS[2 if _on_demand(view) else 1]


def _place(view: Any) -> tuple[int, str]:
    return _KINDS.index(_kind(view)), str(view.name)


def _readers(services: list[FeatureService]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for service in services:
        for read in service.feature_view_projections:
            for field in read.features:
                found.setdefault((read.name, field.name), []).append(service.name)
    return found


def _view_table(views: list[Any]) -> str:
    rows = [
        (f"[`{view.name}`](#{anchor(view.name)})", _kind(view), str(len(_fields(view))), view.description, _zh(view))
        for view in views
    ]
    return "## Views\n\n" + table(("view", "kind", "features", "about", "说明"), rows)


def _service_table(services: list[FeatureService]) -> str:
    rows = [
        (f"`{each.name}`", str(_width(each)), ", ".join(_names_read(each)), each.description, _zh(each), each.owner)
        for each in services
    ]
    return "## Services\n\n" + table(("service", "features", "of", "question", "问题", "owner"), rows)


def _width(service: FeatureService) -> int:
    return sum(len(_outputs(read)) for read in service.feature_view_projections)


def _names_read(service: FeatureService) -> Iterator[str]:
    return (f"`{read.name}`" for read in service.feature_view_projections)


def _outputs(read: Any) -> list[str]:
    return [field.name for field in read.features if field.name not in getattr(read, "join_keys", [])]


def _section(view: Any, views: list[Any], readers: Mapping[tuple[str, str], list[str]]) -> str:
    rows = [(*_row(view, field), _code(readers.get((view.name, field.name), []))) for field in _fields(view)]
    about = f"{view.description} {_zh(view)}\n\n{_facts(view, views)}"
    return f"## `{view.name}`\n\n{about}\n\n{table(*_told(_COLUMNS, rows))}"


def _told(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> tuple[list[str], list[list[str]]]:
    """Leave out the columns that say nothing of this view."""
    kept = [index for index, _ in enumerate(columns) if any(row[index] for row in rows)]
    return [columns[index] for index in kept], [[row[index] for index in kept] for row in rows]


def _facts(view: Any, views: list[Any]) -> str:
    said = [_kind(view).capitalize(), f"about {_code(_entities(view, views))}", _origin(view)]
    if is_windowed(view):
        said.append(f"hop {window_label(view.tiling_hop_size)}")
    if view.tags.get(BUILT) == WHEN_ASKED:
        said.append(f"built when asked for by name (`portrait jobs materialize --views {view.name}`)")
    return "; ".join([*said, f"owner {view.owner}"]) + "."


def _entities(view: Any, views: list[Any]) -> list[str]:
    read = getattr(view, "source_feature_view_projections", {})
    of = [each for each in views if each.name in read] if _on_demand(view) else [view]
    return list(dict.fromkeys(entity for each in of for entity in each.entities))


def _origin(view: Any) -> str:
    if _on_demand(view):
        return f"from {_code(view.source_feature_view_projections)}"
    return (
        f"from event `{view.stream_source.name}`"
        if is_windowed(view)
        else f"from table `{Path(view.batch_source.path).name}`"
    )


def _code(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _fields(view: Any) -> list[Any]:
    """Windowed features as declared, all others by name: Feast keeps the fields of a view in no order."""
    fields = {field.name: field for field in (view.features if _on_demand(view) else view.schema)}
    if is_windowed(view):
        return [fields[each.name] for each in view.aggregations]
    return [fields[name] for name in sorted(fields) if name not in getattr(view, "join_keys", [])]


def _row(view: Any, field: Any) -> tuple[str, ...]:
    english, chinese = texts_of(view, field)
    origin, window, null = _meaning(view, field.name)
    return f"`{field.name}`", str(field.dtype), origin, window, english, chinese, null


def _zh(declared: Any) -> str:
    return str(declared.tags.get("zh", ""))


def _meaning(view: Any, name: str) -> tuple[str, str, str]:
    """What a feature is made from, over which window, and what its NULL says."""
    if _on_demand(view):
        return "", "", _NOTHING_TO_COMPUTE
    if is_windowed(view):
        spec = windowed_view_of(view)
        feature = spec.feature(name)
        return f"`{_call(feature)}`", _window(feature), _null(spec, feature)
    days = view.ttl.days if view.ttl else 0
    within = f"of the last {days} days" if days else "at or before the instant"
    return "", f"{days}d" if days else "", f"no row {within}, or it says nothing"


def _call(feature: WindowedFeature) -> str:
    return f"{feature.function}({feature.column})" if feature.column else feature.function


def _window(feature: WindowedFeature) -> str:
    label = window_label(timedelta(microseconds=feature.window))
    return label if kernel_named(feature.function).reach(feature.window) == feature.window else f"half-life {label}"


def _null(spec: WindowedView, feature: WindowedFeature) -> str:
    """Ask the oracle how many events it takes to be a value."""
    values = [_of_events(spec, feature, count) for count in range(3)]
    wanted = f"with `{feature.column}` " if feature.column else ""
    if values[0] is not None:
        return "never" if values[0] else "never: 0 of nothing"
    return f"no event {wanted}in the window" if values[1] is not None else f"fewer than two {wanted}in the window"


def _of_events(spec: WindowedView, feature: WindowedFeature, count: int) -> Any:
    event = {spec.timestamp_field: feature.window - 1, "event_id": "", feature.column: 1}
    return oracle_value(spec, feature, [event] * count, feature.window)
