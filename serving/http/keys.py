"""API keys: random, kept as hashes alone, each with what it may do.

A key is ``portrait_<id>_<secret>``. Of the secret, 32 random bytes, the SHA-256 is kept: nobody can guess what it was,
so a slow hash would protect nothing. They are in ``api_keys.json`` below the home.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from feature_repo.core.clock import Clock, from_us
from feature_repo.core.console import plain
from feature_repo.core.errors import DataError, SettingsError, did_you_mean
from feature_repo.core.locks import locked
from feature_repo.core.stores import atomic_write

READ, WRITE = "read", "write"
ROLES = (READ, WRITE)

_PREFIX = "portrait"
_SECRET_BYTES = 32
_ID_BYTES = 4
_LONGEST_NAME = 100


@dataclass(frozen=True)
class ApiKey:
    """What is known of a key.

    Attributes
    ----------
    id
        Its public part, eight hex digits.
    name
        Who has it.
    roles
        ``read`` asks, ``write`` sends events.
    digest
        SHA-256 of the secret, in hex.
    made_at
        ISO 8601.
    """

    id: str
    name: str
    roles: tuple[str, ...]
    digest: str
    made_at: str


class ApiKeys:
    """The keys of a home; what another process changes is seen at the next question. Threads may share it."""

    def __init__(self, home: Path) -> None:
        self._path = home / "api_keys.json"
        self._turn = home / "api_keys.lock"
        self._read: tuple[int, dict[str, ApiKey]] = (-1, {})

    @property
    def guarding(self) -> bool:
        """Whether a key was ever made here: from then on nobody asks without one, even when all are revoked."""
        return self._path.exists()

    def all(self) -> tuple[ApiKey, ...]:
        """Return the keys in the order they were made.

        Raises
        ------
        SettingsError
            The file is damaged.
        """
        return tuple(self._known().values())

    def make(self, name: str, roles: Sequence[str], clock: Clock) -> tuple[ApiKey, str]:
        """Make a key; return what is kept, and the whole key, which is never seen again.

        Raises
        ------
        DataError
            The name is none, or there is no such role.
        """
        if not 0 < len(name.strip()) <= _LONGEST_NAME or not name.isprintable():
            raise DataError("A key's name says who has it.", hint=f"give it 1 to {_LONGEST_NAME} printable characters.")
        for role in roles:
            if role not in ROLES:
                raise DataError(f"There is no role '{role}'.", hint=did_you_mean(role, ROLES))
        if not roles:
            raise DataError("A key without a role may do nothing.", hint="give it 'read', 'write' or both.")
        identity, secret = secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
        made_at = str(plain(from_us(clock.now_us())))
        key = ApiKey(identity, name.strip(), tuple(dict.fromkeys(roles)), _digest(secret), made_at)
        with locked(self._turn):
            self._write([*self.all(), key])
        return key, f"{_PREFIX}_{identity}_{secret}"

    def revoke(self, identity: str) -> ApiKey:
        """Forget a key: requests with it are refused from the next on.

        Raises
        ------
        DataError
            There is no such key.
        """
        with locked(self._turn):
            known = self._known()
            if identity not in known:
                raise DataError("There is no key with this id.", hint="`portrait api-keys list` names them.")
            self._write([key for key in known.values() if key.id != identity])
        return known[identity]

    def holder(self, presented: str) -> ApiKey | None:
        """Return the key that was presented; None if it is none, or was revoked."""
        prefix, _, rest = presented.partition("_")
        identity, _, secret = rest.partition("_")
        key = self._known().get(identity) if prefix == _PREFIX else None
        return key if key is not None and hmac.compare_digest(key.digest, _digest(secret)) else None

    def _known(self) -> dict[str, ApiKey]:
        try:
            stamp = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        if self._read[0] != stamp:
            self._read = (stamp, self._parsed())
        return self._read[1]

    def _parsed(self) -> dict[str, ApiKey]:
        try:
            found = json.loads(self._path.read_text("utf-8"))
            return {each["id"]: ApiKey(**{**each, "roles": tuple(each["roles"])}) for each in found}
        except (OSError, ValueError, TypeError, KeyError):
            raise SettingsError(
                f"The API keys cannot be read: {self._path.name} is damaged.",
                hint="bring it back from a backup, or remove it and make new keys (`portrait api-keys create`).",
            ) from None

    def _write(self, keys: Sequence[ApiKey]) -> None:
        atomic_write(self._path, json.dumps([asdict(key) for key in keys], indent=1), private=True)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
