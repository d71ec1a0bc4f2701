"""Read a feature service online: compiled once, then Redis to Arrow without Feast's per-value objects.

The values are those of ``FeatureStore.get_online_features(..., full_feature_names=True)``, with two differences: times
keep their microseconds (Feast cuts them to seconds), and a row of an ordinary view that is older than the view's ttl is
NULL, as it is offline (Feast does not look at the ttl online).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from feast import FeatureStore

from feature_repo.core.errors import DataError, NotMaterializedError
from feature_repo.engine.contract import Contract, service_contract
from feature_repo.engine.feature_store import quiet_feast
from feature_repo.engine.hash_reader import Field, HashRead
from feature_repo.engine.positions import Positions
from feature_repo.engine.window_reader import Answers, Served, ViewRead, WindowReader
from serving.feature_types import check_number, is_number, type_of
from serving.service_views import (
    Columns,
    Entities,
    EntityPart,
    EntityRows,
    OnDemandPart,
    OrdinaryPart,
    WindowedPart,
    as_arrow,
    as_floats,
    as_list,
    as_places,
    service_parts,
)

_log = logging.getLogger("portrait")


@dataclass(frozen=True)
class ServicePlan:
    """How to read one feature service.

    Attributes
    ----------
    service
        Its name.
    contract
        Definitions of its features by full name, in the service's order: the columns of every answer.
    definitions
        The same, and of the features that only its on-demand views read.
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
    definitions: Contract
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
            contract, definitions = (service_contract(store, service, inputs=each) for each in (False, True))
            windowed, ordinary, on_demand = service_parts(store, service)
        parts: Sequence[WindowedPart | OrdinaryPart | OnDemandPart] = (*windowed, *ordinary, *on_demand)
        types = {name: kind for part in parts for name, kind in part.types.items()}
        entities = tuple(dict.fromkeys([part.entity for part in windowed] + [part.entity for part in ordinary]))
        return cls(
            service=service,
            contract=contract,
            definitions=definitions,
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

    def read(self, client: Any, entities: Entities, at: int) -> Reading:
        """Features of each row of a request, of one moment of Redis: one round trip for each 500 of its entities.

        Parameters
        ----------
        client
            Redis, replies as bytes.
        entities
            The columns of ``entity_columns``, equally long, without NULLs; others are ignored.
        at
            Instant windows end at (us); the event at the instant itself is not in them.

        Raises
        ------
        NotMaterializedError
            No view has a state in Redis. A view that has none beside others that have is NULL, with a warning.
        DataError
            A column is missing.
        redis.RedisError
            The server does not answer.
        """
        length = self._length(entities)
        rows = [entity.rows(self.reader.project, entities) for entity in self.entities]
        of = [rows[i] for i in self.about]
        keys = zip(self.ordinary, of[len(self.windowed) :], strict=True)
        hashes = [HashRead(each.keys, part.fields) for part, each in keys]
        answers = self.reader.read_with_fields(client, self._reads(of), hashes, at)
        pairs = zip(self.ordinary, answers.fields, strict=True)
        unwritten = [part.name for part, fields in pairs if not self._written(client, part, fields)]
        return self._reading(rows, answers, length, at, unwritten)

    def again(self, served: Sequence[Served | None], columns: Sequence[Sequence[bytes | None]], at: int) -> Reading:
        """Features of rows that were read before, as of that instant (us), without asking Redis.

        Parameters
        ----------
        served
            State each windowed view was answered from.
        columns
            What Redis held of each windowed view, then of each field of each ordinary one; one element per row.
        """
        return self._answered(served, columns, len(columns[0]), at)

    def nothing(self, length: int, at: int) -> Reading:
        """Features of rows nothing is held of: those of no events."""
        fields = len(self.windowed) + sum(len(part.fields) for part in self.ordinary)
        served = [self.reader.served(part.view) for part in self.windowed]
        return self._answered(served, [[None] * length] * fields, length, at)

    def _answered(
        self, served: Sequence[Served | None], columns: Sequence[Sequence[bytes | None]], length: int, at: int
    ) -> Reading:
        rows = [EntityRows([b""] * length, None)] * len(self.entities)
        given = iter(columns)
        found = [[next(given)] if each else [next(given)][1:] for each in served]
        found += [[next(given) for _ in part.fields] for part in self.ordinary]
        answers = self.reader.again(self._reads([rows[i] for i in self.about]), served, found, at)
        return self._reading(rows, answers, length, at)

    def _reads(self, of: Sequence[EntityRows]) -> list[ViewRead]:
        """Reads of the windowed views; ``of`` are the rows of each view."""
        pairs = zip(self.windowed, of, strict=False)
        return [ViewRead(part.view, part.features, each.keys, each.positions) for part, each in pairs]

    def _reading(
        self, rows: Sequence[EntityRows], answers: Answers, length: int, at: int, unwritten: Sequence[str] = ()
    ) -> Reading:
        found: Columns = {}
        for part, values in zip(self.windowed, answers.windows, strict=True):
            found.update(zip(part.types, values, strict=True))
        of = [rows[i] for i in self.about[len(self.windowed) :]]
        for each, its, fields in zip(self.ordinary, of, answers.fields, strict=True):
            found |= {name: its.spread(column) for name, column in each.columns(fields, at).items()}
        return Reading(self, found, self._known(rows, answers), length, tuple(rows), answers, tuple(unwritten))

    @cached_property
    def about(self) -> list[int]:
        """Which entity each windowed view is about, then each ordinary one."""
        return [self.entities.index(part.entity) for part in self.windowed] + [
            self.entities.index(part.entity) for part in self.ordinary
        ]

    def _known(self, rows: Sequence[EntityRows], answers: Answers) -> npt.NDArray[np.bool_]:
        stamped = [np.array([bool(stamp) for stamp in fields[0]], bool) for fields in answers.fields]
        held = [rows[i].spread_array(each) for i, each in zip(self.about, [*answers.stored, *stamped], strict=True)]
        found: npt.NDArray[np.bool_] = np.logical_or.reduce(held) if len(held) > 1 else held[0]
        return found

    def _length(self, entities: Entities) -> int:
        for name in self.entity_columns:
            if name not in entities:
                needed = ", ".join(self.entity_columns)
                raise DataError(
                    f"Service '{self.service}' is about {needed}; the request has no column '{name}'.",
                    hint=f"pass a DataFrame with the columns {needed}.",
                )
        return len(entities[self.entity_columns[0]]) if self.entity_columns else 0

    @cached_property
    def numbers(self) -> frozenset[str]:
        """Features that are numbers."""
        return frozenset(name for name, kind in self.types.items() if is_number(kind))

    def check_numeric(self, name: str) -> None:
        """Refuse a feature that is no number.

        Raises
        ------
        DataError
            The service has no such feature, or it holds text or times.
        """
        check_number(self.service, self.types, name)

    def check_text(self, name: str) -> None:
        """Refuse a feature that is no text.

        Raises
        ------
        DataError
            The service has no such feature, or it holds something else.
        """
        kind = type_of(self.service, self.types, name)
        if not pa.types.is_string(kind):
            raise DataError(f"Feature '{name}' is a {kind}, and the model reads a text.", hint="train the model anew.")

    def _written(self, client: Any, part: OrdinaryPart, fields: Sequence[Field]) -> bool:
        # Rows may have been pushed one by one, without a position; without either nothing was ever written.
        if any(fields[0]) or Positions(client, self.reader.project).held(part.declared):
            return True
        if self.windowed:  # which have a state, or the read had failed
            _log.warning("View '%s' has no rows in Redis and is NULL until `portrait jobs materialize`.", part.name)
            return False
        raise NotMaterializedError(
            f"View '{part.name}' has no rows in Redis.",
            hint="run `portrait jobs materialize` (or `feast materialize`).",
        )


@dataclass(frozen=True, eq=False)
class Reading:
    """What Redis said about the rows of a request.

    Attributes
    ----------
    plan
        Of the service that was read.
    known
        Whether Redis holds anything of the service about each row's entities.
    length
        Rows of the request.
    rows
        Of each of the plan's entities, the keys that were read.
    answers
        What Redis holds of them.
    unwritten
        Ordinary views that no row was ever written of.
    """

    plan: ServicePlan
    stored: Columns
    known: npt.NDArray[np.bool_]
    length: int
    rows: tuple[EntityRows, ...]
    answers: Answers
    unwritten: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Full names of the features, in the service's order."""
        return list(self.plan.contract)

    @cached_property
    def columns(self) -> Columns:
        """Every column by full name, those computed on demand included."""
        found = dict(self.stored)
        for part in self.plan.on_demand:
            found.update(part.columns(found))
        return found

    @cached_property
    def table(self) -> pa.Table:
        """One row per row of the request, one column per feature in the service's order.

        int64, double, string, bool, timestamp[us, UTC]. NULL is NULL; an entity that was never seen has the values of
        no events.
        """
        columns, types = self.columns, self.plan.types
        return pa.table({name: as_arrow(columns[name], types[name]) for name in self.plan.contract}, pa.schema(types))

    def lists(self) -> dict[str, list[Any]]:
        """Columns of :attr:`table` as Python's values; NULL and NaN are None."""
        columns, types = self.columns, self.plan.types
        return {name: as_list(columns[name], types[name]) for name in self.plan.contract}

    def matrix(
        self, columns: Sequence[str], texts: Mapping[str, Sequence[str]] | None = None
    ) -> npt.NDArray[np.float64]:
        """Return features for a model: ``float64[n, len(columns)]`` in the given order, NaN for NULL.

        Parameters
        ----------
        texts
            Column -> the texts a model knows there: each becomes its place in the list, and any other NaN.

        Raises
        ------
        DataError
            A column is not in the service, holds times, or holds texts and is not in ``texts``.
        """
        texts = texts or {}
        numbers = self.plan.numbers
        for name in columns:
            if name in texts:
                self.plan.check_text(name)
            elif name not in numbers:
                self.plan.check_numeric(name)
        found = self.stored if all(name in self.stored for name in columns) else self.columns
        matrix = np.empty((self.length, len(columns)))
        for i, name in enumerate(columns):
            matrix[:, i] = as_places(found[name], texts[name]) if name in texts else as_floats(found[name])
        return matrix
