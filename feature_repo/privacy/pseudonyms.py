"""Who a shopper is, without saying so: a keyed hash of the raw id.

Whoever has the key can find a person's rows again; without it neither the log, nor Redis, nor a model names anyone.
The hash is HMAC-SHA-256 (RFC 2104, FIPS 180-4), cut to 128 bits: 10^9 shoppers collide with probability 10^-21.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.core.errors import DataError, SettingsError

PSEUDONYM_PATTERN = r"^u_[0-9a-f]{32}$"
KEY_BYTES = 32

_PREFIX = "u_"
_HEX_DIGITS = 32
_LENGTH = len(_PREFIX) + _HEX_DIGITS
PSEUDONYM = "u_[0-9a-f]{32}"
_PSEUDONYM = re.compile(PSEUDONYM)
_DIGITS = b"0123456789abcdef"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Pseudonymiser:
    """Turns raw user ids into pseudonyms: ``u_`` and 32 lowercase hex digits. What is a pseudonym already stays.

    Parameters
    ----------
    key
        32 secret bytes; another key gives every shopper another pseudonym.

    >>> pseudonymiser = Pseudonymiser(bytes(32))
    >>> pseudonymiser.pseudonym("2375")
    'u_db979977160aa82162183c360c1deb53'
    >>> pseudonymiser.pseudonym(pseudonymiser.pseudonym("2375")) == pseudonymiser.pseudonym("2375")
    True
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise SettingsError(f"The pseudonym key has {len(key)} bytes, not {KEY_BYTES}.")
        self._keyed = hmac.new(key, digestmod=hashlib.sha256)

    def pseudonym(self, raw_or_pseudonym: str) -> str:
        """Return the pseudonym of a raw id, or the pseudonym itself; never hashes twice.

        Raises
        ------
        DataError
            The id is empty or white space: one pseudonym for all whose id is not known would be one shopper.
        """
        if is_pseudonym(raw_or_pseudonym):
            return raw_or_pseudonym
        if not raw_or_pseudonym.strip():
            raise DataError("A user id is empty.", hint="give the shop's id of the shopper; leave out who has none.")
        keyed = self._keyed.copy()
        keyed.update(raw_or_pseudonym.encode("utf-8", "surrogatepass"))
        return _PREFIX + keyed.hexdigest()[:_HEX_DIGITS]

    def pseudonyms(self, ids: pa.Array | pa.ChunkedArray) -> pa.Array:
        """Return the pseudonyms of a column of raw ids, in order; each distinct id is hashed once.

        Parameters
        ----------
        ids
            Strings, or integers, whose decimal digits are the id. NULL stays NULL.

        Raises
        ------
        DataError
            An id is empty or white space.
        """
        whole = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
        encoded = pc.dictionary_encode(whole.cast(pa.string()))
        hashed = pa.array([self.pseudonym(raw) for raw in encoded.dictionary.to_pylist()], pa.string())
        return hashed.take(encoded.indices)


def is_pseudonym(value: str) -> bool:
    """Tell a pseudonym from a raw id by its form.

    >>> is_pseudonym("u_" + "0" * 32), is_pseudonym("u_1")
    (True, False)
    """
    return _PSEUDONYM.fullmatch(value) is not None


def are_pseudonyms(values: Sequence[str]) -> bool:
    """Tell whether all texts have the form of a pseudonym, at once.

    >>> are_pseudonyms(["u_" + "0" * 32] * 2), are_pseudonyms(["u_" + "0" * 32, "7"])
    (True, False)
    """
    joined, length = "".join(values), _LENGTH
    if set(map(len, values)) - {length} or not joined.isascii():
        return False
    octets, count = joined.encode(), len(values)
    # Each begins with the prefix, and without hex digits nothing but the prefixes is left.
    begin = octets[::length] == b"u" * count and octets[1::length] == b"_" * count
    return begin and octets.translate(None, _DIGITS) == _PREFIX.encode() * count


def key_path(home: Path) -> Path:
    """Where a home keeps the key."""
    return home / "keys" / "user_id.key"


def load_pseudonymiser(home: Path) -> Pseudonymiser:
    """Read the home's key, making it at the first use, before anything is in the log.

    Raises
    ------
    SettingsError
        The key cannot be read or written, has another length, or others than its owner may read it; or there is none
        though the log holds rows: a new key would give every shopper in it another pseudonym.
    """
    path = key_path(home)
    try:
        _create(path)
        key = path.read_bytes()
        mode = path.stat().st_mode
    except OSError as error:
        raise SettingsError(
            f"The pseudonym key {path} cannot be read or made: {error.strerror}.",
            hint="make it readable by you alone (chmod 600), or set PORTRAIT_HOME to a directory of yours.",
        ) from None
    _check(path, key, mode)
    return Pseudonymiser(key)


def _create(path: Path) -> None:
    """Make the key if there is none. The name appears with all its bytes, and only once, whoever races for it."""
    if path.exists():
        return
    # Asked again after the log: who wins the race for the first key may have committed by then.
    if _log_has_rows(path.parents[1] / "log") and not path.exists():
        raise SettingsError(
            f"The pseudonym key {path} is missing, and the event log holds shoppers named with it.",
            hint="restore keys/user_id.key from a backup; without one, start anew in another home (PORTRAIT_HOME).",
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # A link fails where the name exists, as O_EXCL does, but never shows a half-written key.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _log_has_rows(log_root: Path) -> bool:
    """Whether a Delta table was committed to after its creation, which is version 0; old versions may be gone."""
    versions = (file.name.split(".")[0] for file in log_root.glob("*/_delta_log/*"))
    return any(version.isdecimal() and int(version) > 0 for version in versions)


def _check(path: Path, key: bytes, mode: int) -> None:
    if mode & _OTHERS:
        raise SettingsError(
            f"The pseudonym key {path} may be read by others than its owner (mode {stat.S_IMODE(mode):03o}).",
            hint=f"run `chmod 600 {path}`; if others may have read it, the pseudonyms no longer hide anyone.",
        )
    if len(key) != KEY_BYTES:
        raise SettingsError(
            f"The pseudonym key {path} has {len(key)} bytes, not {KEY_BYTES}.",
            hint="restore it from a backup: a new key would give every known shopper another pseudonym.",
        )
