"""Read a feature service online: compiled once, then Redis to Arrow without Feast's per-value objects.

The values are those of ``FeatureStore.get_online_features(..., full_feature_names=True)``, with two differences: times
keep their microseconds (Feast cuts them to seconds), and a row of an ordinary view that is older than the view's ttl is
NULL, as it is offline (Feast does not look at the ttl online).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from feast import FeatureStore

from feature_repo.core.errors import DataError, NotMaterializedError, did_you_mean
from feature_repo.engine.contract import Contract, service_contract
from feature_repo.engine.feature_store import quiet_feast
from feature_repo.engine.positions import Positions
from feature_repo.engine.window_reader import ViewRead, WindowReader
from serving.service_views import (
    Columns,
    Entities,
    EntityPart,
    EntityRows,
    OnDemandPart,
    OrdinaryPart,
    WindowedPart,
    service_parts,
)

ROWS_PER_READ = 500  # about 4 MB of replies


@dataclass(frozen=True)
class ServicePlan:
    """How to read one feature service.

    Attributes
    ----------
    service
        Its name.
    contract
        Definitions of its features by full name, in the service's order: the columns of every answer.
    types
        Arrow types by full name, in the same order.
    entities
        What its views are about.
    windowed, ordinary, on_demand
        The views behind it, those only an on-demand view reads included.
    reader
        Remembers which states Redis serves.
    """

    service: str
    contract: Contract
    types: dict[str, pa.DataType]
    entities: tuple[EntityPart, ...]
    windowed: tuple[WindowedPart, ...]
    ordinary: tuple[OrdinaryPart, ...]
    on_demand: tuple[OnDemandPart, ...]
    reader: WindowReader

    @classmethod
    def of(cls, store: FeatureStore, service: str) -> ServicePlan:
        """Compile a service of the registry.

        Raises
        ------
        DeclarationError
            The registry has no such service, or a view cannot be read here (an on-demand view that is not a pandas
            function, a type that is not a scalar).
        """
        with quiet_feast():
            contract = service_contract(store, service)
            windowed, ordinary, on_demand = service_parts(store, service)
        parts: Sequence[WindowedPart | OrdinaryPart | OnDemandPart] = (*windowed, *ordinary, *on_demand)
        types = {name: kind for part in parts for name, kind in part.types.items()}
        entities = tuple(dict.fromkeys([part.entity for part in windowed] + [part.entity for part in ordinary]))
        return cls(
            service=service,
            contract=contract,
            types={name: types[name] for name in contract},
            entities=entities,
            windowed=windowed,
            ordinary=ordinary,
            on_demand=on_demand,
            reader=WindowReader(store.project),
        )

    @cached_property
    def entity_columns(self) -> tuple[str, ...]:
        """Columns a request must have, sorted."""
        return tuple(sorted({column for entity in self.entities for column in entity.columns}))

    def read(self, client: Any, entities: Entities, at: int) -> pa.Table:
        """Features of each row of a request.

        Parameters
        ----------
        client
            Redis, replies as bytes.
        entities
            The columns of ``entity_columns``, equally long, without NULLs; others are ignored.
        at
            Instant windows end at (us); the event at the instant itself is not in them.

        Returns
        -------
        pyarrow.Table
            One row per row of the request, one column per feature in the service's order: int64, double, string,
            timestamp[us, UTC]. NULL is NULL; an entity that was never seen has the values of no events.

        Raises
        ------
        NotMaterializedError
            A view has no state in Redis.
        DataError
            A column is missing.
        redis.RedisError
            The server does not answer.
        """
        length = self._length(entities)
        parts = [
            self._read(
                {name: entities[name][start : start + ROWS_PER_READ] for name in self.entity_columns}, client, at
            )
            for start in range(0, length, ROWS_PER_READ)
        ]
        return pa.concat_tables(parts) if parts else pa.schema(self.types.items()).empty_table()

    def matrix(self, client: Any, entities: Entities, at: int, columns: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return features for a model: ``float64[n, len(columns)]`` in the given order, NaN for NULL.

        Raises
        ------
        DataError
            A column is not in the service, or holds text or times; besides what :meth:`read` raises.
        """
        for name in columns:
            self._check_numeric(name)
        table = self.read(client, entities, at)
        matrix = np.empty((table.num_rows, len(columns)))
        for i, name in enumerate(columns):
            matrix[:, i] = table[name].cast(pa.float64(), safe=False).to_numpy()
        return matrix

    def known(self, client: Any, entities: Entities) -> list[bool]:
        """Whether Redis holds anything about each row's entities.

        Raises
        ------
        redis.RedisError
            The server does not answer.
        """
        self._length(entities)
        asked = self._entity_rows(entities)
        with client.pipeline(transaction=False) as pipe:
            for rows in asked.values():
                for key in rows.keys:
                    pipe.exists(key)
            answers = iter(pipe.execute())
        found = [rows.spread(pa.array([bool(next(answers)) for _ in rows.keys])).to_pylist() for rows in asked.values()]
        return [any(row) for row in zip(*found, strict=True)]

    def _length(self, entities: Entities) -> int:
        for name in self.entity_columns:
            if name not in entities:
                needed = ", ".join(self.entity_columns)
                raise DataError(
                    f"Service '{self.service}' is about {needed}; the request has no column '{name}'.",
                    hint=f"pass a DataFrame with the columns {needed}.",
                )
        return len(entities[self.entity_columns[0]]) if self.entity_columns else 0

    def _check_numeric(self, name: str) -> None:
        if name not in self.types:
            raise DataError(f"Service '{self.service}' has no feature '{name}'.", hint=did_you_mean(name, self.types))
        if pa.types.is_string(self.types[name]) or pa.types.is_timestamp(self.types[name]):
            raise DataError(
                f"Feature '{name}' is a {self.types[name]}, and models read numbers.",
                hint="leave it out of the model's service, or derive a number from it in an on-demand view.",
            )

    def _read(self, entities: Entities, client: Any, at: int) -> pa.Table:
        rows = self._entity_rows(entities)
        known = self._windows(client, rows, at) | self._rows(client, rows, at)
        for part in self.on_demand:
            known.update(part.columns(known))
        return pa.table({name: known[name] for name in self.contract})

    def _entity_rows(self, request: Entities) -> dict[EntityPart, EntityRows]:
        return {entity: entity.rows(self.reader.project, request) for entity in self.entities}

    def _windows(self, client: Any, rows: Mapping[EntityPart, EntityRows], at: int) -> Columns:
        if not self.windowed:
            return {}
        reads = [ViewRead(part.view, part.features, rows[part.entity].keys) for part in self.windowed]
        answers = self.reader.read(client, reads, at)
        found: Columns = {}
        for part, values in zip(self.windowed, answers, strict=True):
            found.update(part.columns(values, rows[part.entity]))
        return found

    def _rows(self, client: Any, rows: Mapping[EntityPart, EntityRows], at: int) -> Columns:
        if not self.ordinary:
            return {}
        with client.pipeline(transaction=False) as pipe:
            for part in self.ordinary:
                for key in rows[part.entity].keys:
                    pipe.hmget(key, part.fields)
            answers = iter(pipe.execute())
        found: Columns = {}
        for part in self.ordinary:
            raw = [next(answers) for _ in rows[part.entity].keys]
            self._check_written(client, part, raw)
            found |= {name: rows[part.entity].spread(column) for name, column in part.columns(raw, at).items()}
        return found

    def _check_written(self, client: Any, part: OrdinaryPart, raw: Sequence[list[bytes | None]]) -> None:
        # Rows may have been pushed one by one, without a position; without either nothing was ever written.
        if any(row[0] for row in raw) or Positions(client, self.reader.project).held(part.declared):
            return
        raise NotMaterializedError(
            f"View '{part.declared.name}' has no rows in Redis.",
            hint="run `portrait jobs materialize` (or `feast materialize`).",
        )
