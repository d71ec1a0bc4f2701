"""The one reader of the environment.

Everything that runs writes below one home, so that removing the directory removes all of it.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from feature_repo.core.errors import SettingsError
from feature_repo.core.places import check_country, check_zone

PACKAGE_ROOT = Path(__file__).resolve().parents[1]


def default_home() -> Path:
    """``.portrait`` in the checkout; for an installed wheel, in the directory the process started in.

    Feast changes the working directory while it applies a repo, so a path relative to it would name two homes.
    """
    checkout = PACKAGE_ROOT.parent
    return (checkout if (checkout / "pyproject.toml").is_file() else _STARTED_IN) / ".portrait"


_STARTED_IN = Path.cwd()


class Settings(BaseSettings):
    """What an operator may set, each from ``PORTRAIT_<NAME>``.

    ``home`` holds the event log, the Feast registry, MLflow's database and artifacts, embedded Redis data and reports.
    ``redis_url`` empty means the embedded server. ``threads`` and ``memory`` bound DuckDB and XGBoost. Events go
    through Redis Streams, or through Kafka where ``kafka_bootstrap`` names its servers; ``partitions`` of the stream
    are fixed at its first use, ``stream_limit`` bounds how many entries wait in all of them; ids of the last
    ``known_days`` of events are held in memory to tell which come again. ``country`` (ISO 3166, two letters) and
    ``zone`` (IANA) say whose holidays and whose midnight the calendar features follow. ``retention`` says how long
    events of a type are kept, as ``view=90d,search=30d``; those of other types are kept for ever, and features that
    were ``served`` for 30 days. ``max_age_days``: a champion is trained anew when the log has gone on for that long.
    ``rate_limit``: HTTP requests a second of one API key, or of one address where there are no keys; 0 is any number.
    ``served_sample``: share of requests whose features are kept below the home, for `portrait monitor skew`; 0 keeps
    none. ``remembered``: rows of each feature service that a process keeps in memory, to answer from while Redis does
    not, for ``remembered_s`` seconds; 0 keeps none, and no question is answered without Redis then. ``timeout_s``: a
    server's time for a question. ``snapshots``: how many snapshots of everybody are kept, the newest.
    """

    model_config = SettingsConfigDict(env_prefix="PORTRAIT_", extra="ignore", frozen=True)

    home: Path = Field(default_factory=default_home)
    redis_url: str = ""
    kafka_bootstrap: str = ""
    kafka_topic: str = "portrait.events"
    partitions: int = Field(default=4, ge=1, le=256)
    stream_limit: int = Field(default=1_000_000, ge=1)
    known_days: int = Field(default=7, ge=0)
    # To know all countries is to import a library: whoever sets none is not made to wait for it.
    country: Annotated[str, AfterValidator(check_country)] = Field(default="US", validate_default=False)
    zone: Annotated[str, AfterValidator(check_zone)] = "America/New_York"
    retention: str = Field(default="", pattern=r"^([a-z_]+=[1-9]\d{0,4}d(,[a-z_]+=[1-9]\d{0,4}d)*)?$")
    max_age_days: int = Field(default=28, ge=1)
    rate_limit: float = Field(default=0.0, ge=0, le=1e6, allow_inf_nan=False)
    served_sample: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    snapshots: int = Field(default=35, ge=1)
    remembered: int = Field(default=10_000, ge=0, le=10_000_000)
    remembered_s: int = Field(default=900, ge=1, le=86_400)
    timeout_s: float = Field(default=5.0, gt=0, le=600, allow_inf_nan=False)
    mlflow_tracking_uri: str = Field(default="", validation_alias="MLFLOW_TRACKING_URI")
    threads: int = Field(default_factory=lambda: min(os.cpu_count() or 1, 4), ge=1, le=256)
    memory: str = Field(default="2GB", pattern=r"^\d+(\.\d+)?\s*(MB|GB|TB|MiB|GiB|TiB)$")

    @property
    def log_root(self) -> Path:
        """Delta tables, one directory per event type."""
        return self.home / "log"

    @property
    def retention_days(self) -> dict[str, int]:
        """Event type -> days its events are kept; none for those that are kept for ever."""
        pairs = (each.split("=") for each in self.retention.split(",") if each)
        return {name: int(days.removesuffix("d")) for name, days in pairs}

    @property
    def registry_path(self) -> Path:
        return self.home / "registry.db"

    @property
    def tracking_uri(self) -> str:
        """MLflow's address: the server named by ``MLFLOW_TRACKING_URI``, else SQLite below the home."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"


def load_settings(**overrides: Any) -> Settings:
    """Read the environment afresh.

    Raises
    ------
    SettingsError
        A value is out of its range, or names no country or time zone; the message names the variable.
    """
    try:
        # Feast asks for no settings of ours: whatever it calls has to read them, some thousand times in a run.
        settings = Settings(**overrides) if overrides else _of_environment(frozenset(os.environ.items()))
    except ValidationError as error:
        first = error.errors()[0]
        name = "PORTRAIT_" + "_".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(
            f"{name} is {first['input']!r}: {first['msg']}", hint=f"unset {name} or correct it."
        ) from None
    if os.environ.get("PORTRAIT_HOME", "unset").strip() == "":
        raise SettingsError("PORTRAIT_HOME is empty.", hint="unset it, or name a directory.")
    home = settings.home.expanduser().absolute()
    blocking = next((path for path in (home, *home.parents) if os.path.lexists(path)), home)
    if blocking.exists() and not blocking.is_dir():
        raise SettingsError(f"The home {home} cannot be a directory: {blocking} is a file.", hint="set PORTRAIT_HOME.")
    return settings.model_copy(update={"home": home})


@lru_cache(maxsize=2)
def _of_environment(_environment: frozenset[tuple[str, str]]) -> Settings:
    return Settings()


def shop_place() -> tuple[str, str]:
    """Return the shop's country and time zone, alone: all settings take milliseconds, and every read asks for these."""
    fields = Settings.model_fields
    country, zone = (os.environ.get(f"PORTRAIT_{name.upper()}", fields[name].default) for name in ("country", "zone"))
    return country, zone


# delta-rs takes a path for an address: it decodes it, or panics. It opens '*' and '?', but other readers see a pattern.
_UNSAFE = frozenset("[]*?%|^\\") | {chr(code) for code in (*range(32), 127)}


def _check_name(home: Path) -> None:
    found = [letter for letter in str(home) if letter in _UNSAFE]
    if found:
        raise SettingsError(
            f"The home {str(home)!r} has {found[0]!r} in its path, which Delta Lake cannot open.",
            hint="set PORTRAIT_HOME to a directory whose path has no control character and none of [ ] * ? % | ^ \\",
        )


def ensure_home(settings: Settings) -> Path:
    """Create the home, readable by its owner alone.

    Raises
    ------
    SettingsError
        The home cannot be created or written, or its path has a character that Delta Lake cannot open.
    """
    home = settings.home
    _check_name(home)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = home / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SettingsError(
            f"The home {home} cannot be written: {error.strerror}.",
            hint="set PORTRAIT_HOME to a directory of yours with free space.",
        ) from None
    return home
