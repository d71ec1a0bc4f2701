"""Feast's file registry, below the home and replaced as a whole."""

from __future__ import annotations

from pathlib import Path

from feast.infra.registry.file import FileRegistryStore
from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto
from feast.repo_config import RegistryConfig
from google.protobuf.message import DecodeError

from feature_repo.core.clock import SystemClock, from_us
from feature_repo.core.errors import SettingsError
from feature_repo.core.settings import ensure_home, load_settings
from feature_repo.core.stores import atomic_write


class HomeRegistryStore(FileRegistryStore):
    """``registry.db`` of the home that ``PORTRAIT_HOME`` names when the store is opened."""

    def __init__(self, registry_config: RegistryConfig, repo_path: Path) -> None:  # noqa: ARG002 - Feast's signature
        self._filepath = load_settings().home / registry_config.path

    def get_registry_proto(self) -> RegistryProto:
        """Read the registry.

        Raises
        ------
        FileNotFoundError
            Nothing was applied yet (Feast creates the registry then).
        SettingsError
            The file is damaged.
        """
        try:
            registry: RegistryProto = super().get_registry_proto()
        except FileNotFoundError:
            raise
        except (DecodeError, OSError) as error:
            raise SettingsError(
                f"The registry {self._filepath} cannot be read: {error}",
                hint="move the file away and run `portrait features apply`; it is made from the declarations.",
            ) from None
        return registry

    def _write_registry(self, registry_proto: RegistryProto) -> None:
        """Write what has changed; Feast writes after every apply, and those who watch the file would read it again."""
        if self._filepath.exists() and _content(self.get_registry_proto()) == _content(registry_proto):
            return
        now = SystemClock().now_us()
        ensure_home(load_settings())
        registry_proto.version_id = str(now)
        registry_proto.last_updated.FromDatetime(from_us(now))
        atomic_write(self._filepath, registry_proto.SerializeToString())


def _content(registry: RegistryProto) -> bytes:
    """Return a registry without the number and the time of its last writing."""
    copy = RegistryProto()
    copy.CopyFrom(registry)
    copy.ClearField("version_id")
    copy.ClearField("last_updated")
    text: bytes = copy.SerializeToString(deterministic=True)
    return text
