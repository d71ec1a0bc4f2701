"""What each feature of a service means, as text: the contract between a model and the registry it is served from.

A model pins the definitions of the features it reads. Windows, columns, functions, sources and the code of on-demand
views are part of a definition, and so are the settings such code asks for; names of owners, descriptions and tags are
not.
"""

from __future__ import annotations

import ast
import hashlib
import json
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from feast import FeatureStore, OnDemandFeatureView

from feature_repo.core.clock import delta_us
from feature_repo.core.errors import DeclarationError, did_you_mean
from feature_repo.core.settings import shop_place
from feature_repo.engine.spec import is_windowed, windowed_view_of

Contract = dict[str, str]

_PLACE = ("PORTRAIT_COUNTRY", "PORTRAIT_ZONE")


def service_contract(store: FeatureStore, service: str, *, inputs: bool = False) -> Contract:
    """Definitions of a service's features, by full name (``view__feature``), in the service's order.

    Parameters
    ----------
    store
        Feast store whose registry is asked.
    service
        Name of a feature service.
    inputs
        Add the features that only its on-demand views read.

    Returns
    -------
    dict
        Full name -> definition; equal definitions mean equal values over the same log.

    Raises
    ------
    DeclarationError
        The registry has no such service.
    """
    known = {each.name: each for each in store.list_feature_services()}
    if not known:
        raise DeclarationError("The registry holds no feature services.", hint="run `portrait features apply`.")
    if service not in known:
        raise DeclarationError(
            f"There is no feature service '{service}' in the registry.",
            hint=f"{did_you_mean(service, known)} One that is declared is applied by `portrait features apply`.",
        )
    definitions = _Definitions(store.list_all_feature_views())
    asked = list(known[service].feature_view_projections)
    read = [each for projection in asked for each in definitions.read_by(projection.name)] if inputs else []
    return {
        f"{projection.name_to_use()}__{feature.name}": definitions.of(projection.name, feature.name)
        for projection in (*asked, *read)
        for feature in projection.features
    }


def fingerprint(contract: Contract) -> str:
    """Sixteen hex digits that change with any definition in the contract."""
    return hashlib.sha256(json.dumps(contract, sort_keys=True).encode()).hexdigest()[:16]


def differences(pinned: Contract, current: Contract) -> list[str]:
    """Names of pinned features that the registry lacks or defines otherwise."""
    return [name for name, definition in pinned.items() if current.get(name) != definition]


def settings_of(definition: str) -> dict[str, str]:
    r"""Settings a definition rests on, with their values; none for most.

    >>> settings_of('["hour", "..."]\n{"PORTRAIT_ZONE": "UTC"}')
    {'PORTRAIT_ZONE': 'UTC'}
    """
    found: dict[str, str] = json.loads(definition.partition("\n")[2] or "{}")
    return found


class _Definitions:
    """Definitions of features, each view read once."""

    def __init__(self, views: Iterable[Any]) -> None:
        self._views = {view.name: view for view in views}
        self._windowed = {name: windowed_view_of(view) for name, view in self._views.items() if is_windowed(view)}

    def of(self, view: str, feature: str) -> str:
        found = self._views[view]
        if isinstance(found, OnDemandFeatureView):
            code = _code(found.feature_transformation.udf_string)
            return json.dumps([feature, code, sorted(self._inputs(found))]) + _settings(code)
        if view in self._windowed:
            return self._windowed[view].definition_of(feature)
        source = found.batch_source
        columns = {name: column for column, name in source.field_mapping.items()}
        [dtype] = [str(field.dtype) for field in found.features if field.name == feature]
        facts = [source.name, source.timestamp_field, sorted(found.join_keys), columns.get(feature, feature), dtype]
        return json.dumps([*facts, delta_us(found.ttl) if found.ttl else 0])

    def read_by(self, view: str) -> list[Any]:
        """Return what an on-demand view reads, as projections; nothing for other views."""
        found = self._views[view]
        return [*found.source_feature_view_projections.values()] if isinstance(found, OnDemandFeatureView) else []

    def _inputs(self, view: OnDemandFeatureView) -> Iterator[str]:
        for projection in view.source_feature_view_projections.values():
            for feature in projection.features:
                yield f"{projection.name}__{feature.name}={self.of(projection.name, feature.name)}"
        for name, request in view.source_request_sources.items():
            yield from (f"{name}.{field.name}" for field in request.schema)


def _settings(code: str) -> str:
    """Return the settings that code asks for, on a line of their own: JSON has none within."""
    if not any(isinstance(node, ast.Name) and node.id == shop_place.__name__ for node in ast.walk(ast.parse(code))):
        return ""
    return "\n" + json.dumps(dict(zip(_PLACE, shop_place(), strict=True)))


def _code(source: str) -> str:
    """Return the function as the compiler sees it: no comments, no layout, no decorator, no docstring."""
    function = ast.parse(textwrap.dedent(source)).body[0]
    if isinstance(function, ast.FunctionDef):
        function.decorator_list = []
        if ast.get_docstring(function) is not None:
            function.body = function.body[1:]
    return ast.unparse(function)
