"""Which rows of the log a served row's state held, had not yet, and could not have: as SQL over both.

``a`` is a served row: ``at`` (us), ``held`` (log version or event time of its state), ``fed`` and ``head`` (log
versions the view was fed up to before, and its table had after; NULL: not known), ``since`` (us), and its keys
``k0..``; ``r`` is a row of the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from feature_repo.engine.duckdb_sql import quote
from feature_repo.engine.sources import MappedSource
from feature_repo.events.log import LOG_VERSION


@dataclass(frozen=True)
class RowsBeside:
    """Conditions of one view.

    Attributes
    ----------
    source
        Of the view.
    keys
        Its join keys, sorted.
    windowed
        Whether what is held is a log version.
    """

    source: MappedSource
    keys: Sequence[str]
    windowed: bool

    @property
    def joined(self) -> str:
        """What to say behind JOIN: the log's rows about a served row's entity."""
        matched = " AND ".join(f"CAST(r.{quote(key)} AS VARCHAR) = a.k{i}" for i, key in enumerate(self.keys))
        return f"{self.source.relation} r ON {matched}"

    @property
    def happened(self) -> str:
        """Instant of a row (us)."""
        return f"epoch_us(r.{quote(self.source.timestamp_field)})"

    @property
    def before(self) -> str:
        """Whether the offline store sees the row at the instant of serving."""
        return f"{self.happened} {'<' if self.windowed else '<='} a.at"

    @property
    def held(self) -> str:
        """Whether the state held it."""
        if self.windowed:
            return f"({LOG_VERSION} <= a.held)" if self._versioned else "true"
        # A row of the same instant may be a correction that came later; what happened after the question came so too.
        ts = self.happened
        corrected = f"({ts} = a.held AND {LOG_VERSION} > a.fed)" if self._versioned else "false"
        there = f"(NOT {self.late} OR {ts} > a.at) AND NOT coalesce({corrected}, false)"
        return f"coalesce({ts} <= a.held AND {there}, false)"

    @property
    def late(self) -> str:
        """Whether it arrived after the instant: by its own time, or as the table did not have it some time later."""
        created = self.source.created_field
        own = f"epoch_us(r.{quote(created)}) > a.at" if created else "false"
        new = f"{LOG_VERSION} > a.head" if self._versioned else "false"
        return f"(coalesce({own}, false) OR coalesce({new}, false))"

    @property
    def fed(self) -> str:
        """Whether the state had to hold it."""
        return f"coalesce({LOG_VERSION} <= a.fed, false)" if self._versioned else "false"

    @property
    def missing(self) -> str:
        """Whether the state did not hold it, and the offline store counts it."""
        return f"(NOT coalesce({self.held}, false) AND {self.before} AND {self.happened} >= a.since)"

    @property
    def ahead(self) -> str:
        """Whether the state held it, and it happened too late to be counted."""
        return f"(coalesce({self.held}, false) AND NOT ({self.before}))"

    @property
    def _versioned(self) -> bool:
        return LOG_VERSION in self.source.schema.names
