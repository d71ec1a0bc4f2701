"""A query over the offline store that runs when its result is asked for: as a whole, or some rows at a time."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import OnDemandFeatureView
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.saved_dataset import SavedDatasetStorage
from feast.type_map import feast_value_type_to_pa

from feature_repo.core.errors import DataError
from feature_repo.core.settings import load_settings
from feature_repo.core.stores import connect_duckdb
from feature_repo.engine.sources import is_delta, located


class DuckDBRetrievalJob(RetrievalJob):
    """A query that runs when its result is asked for.

    Parameters
    ----------
    run
        Executes the query over a connection; a reader it returns is used up before the connection is closed.
    on_demand
        On-demand views to compute on top, which Feast does in ``to_df`` and ``to_arrow``.
    metadata
        What was asked for, or how to find it out.
    """

    def __init__(
        self,
        run: Callable[[duckdb.DuckDBPyConnection], pa.Table | pa.RecordBatchReader],
        *,
        on_demand: Sequence[OnDemandFeatureView] = (),
        full_feature_names: bool = False,
        metadata: RetrievalMetadata | Callable[[], RetrievalMetadata] | None = None,
    ) -> None:
        self._run = run
        self._on_demand = list(on_demand)
        self._full_feature_names = full_feature_names
        self._asked = metadata

    @property
    def full_feature_names(self) -> bool:
        """Whether columns are named ``view__feature``."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """On-demand views of the request."""
        return self._on_demand

    @cached_property
    def metadata(self) -> RetrievalMetadata | None:
        """What was asked for."""
        return self._asked() if callable(self._asked) else self._asked

    def to_arrow_reader(self) -> pa.RecordBatchReader:
        """Return the result some rows at a time: what is held of it at once does not grow with it.

        On-demand features are computed batch by batch, in the types their views declare.
        """
        tables = self._tables()
        first = next(tables)

        def batches() -> Iterator[pa.RecordBatch]:
            yield from first.to_batches()
            for table in tables:
                yield from table.cast(first.schema).to_batches()

        return pa.RecordBatchReader.from_batches(first.schema, batches())

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:  # noqa: ARG002
        """Write the result to a Parquet file, as a whole or not at all; a relative path is below the home.

        Raises
        ------
        SavedDatasetLocationAlreadyExists
            The file exists and ``allow_overwrite`` is False.
        DataError
            The storage is no Parquet file.
        """
        if not isinstance(storage, SavedDatasetFileStorage) or is_delta(storage.to_data_source()):
            raise DataError(
                f"A dataset cannot be saved to {type(storage).__name__}.",
                hint="use SavedDatasetFileStorage with the path of a Parquet file.",
            )
        path = Path(located(storage.file_options.uri))
        if path.exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=str(path))
        with replacing(path) as partial, self.to_arrow_reader() as reader:
            write_parquet(partial, reader)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # noqa: ARG002
        return self._result

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:  # noqa: ARG002
        frame: pd.DataFrame = self._result.to_pandas()
        return frame

    @cached_property
    def _result(self) -> pa.Table:
        with closing(connect_duckdb(load_settings())) as connection:
            result = self._run(connection)
            return result if isinstance(result, pa.Table) else result.read_all()

    def _tables(self) -> Iterator[pa.Table]:
        """The result in parts, at least one."""
        with closing(connect_duckdb(load_settings())) as connection:
            result = self._run(connection)
            empty = True
            for batch in result.to_batches() if isinstance(result, pa.Table) else result:
                yield self._finished(pa.Table.from_batches([batch]))
                empty = False
            if empty:
                yield self._finished(result.schema.empty_table())

    def _finished(self, part: pa.Table) -> pa.Table:
        if not self._on_demand:
            return part
        table = DuckDBRetrievalJob(
            lambda _: part,
            on_demand=self._on_demand,
            full_feature_names=self._full_feature_names,
            metadata=self.metadata,
        ).to_arrow()
        for name, kind in self._declared.items():
            if name in table.column_names and table.schema.field(name).type != kind:
                values = pa.Array.from_pandas(table[name].to_pandas(), type=kind)
                table = table.set_column(table.column_names.index(name), name, values)
        return table

    @cached_property
    def _declared(self) -> dict[str, pa.DataType]:
        """Types of the on-demand columns: pandas gives a part with gaps another than one without."""
        return {
            f"{view.projection.name_to_use()}__{field.name}" if self._full_feature_names else field.name: (
                feast_value_type_to_pa(field.dtype.to_value_type())
            )
            for view in self._on_demand
            for field in view.features
        }


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to, beside ``path``, which it replaces when all went well; else it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_parquet(path: Path, reader: pa.RecordBatchReader) -> None:
    """Write batches as they come, each as a row group."""
    with pq.ParquetWriter(path, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
