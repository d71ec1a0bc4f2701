"""What the pages ask with: one client of everything for all who look, which writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache

from feature_repo.core.clock import Clock, SystemClock, from_us
from feature_repo.core.errors import DataError
from feature_repo.core.settings import Settings, load_settings
from feature_repo.privacy.pseudonyms import is_pseudonym, key_path
from feature_repo.privacy.tombstones import Tombstones
from serving.console.shelf import Shelf
from serving.sdk import ProfileClient


@dataclass(frozen=True, eq=False)
class Desk:
    """A home, and who answers about it. Threads may share one.

    Attributes
    ----------
    portrait
        Keeps nothing of what it answers on the disk.
    shelf
        Registered models.
    """

    settings: Settings
    clock: Clock
    portrait: ProfileClient
    shelf: Shelf

    @classmethod
    def of(cls, settings: Settings, clock: Clock) -> Desk:
        """Return a desk of a home."""
        silent = settings.model_copy(update={"served_sample": 0.0})
        return cls(silent, clock, ProfileClient(settings=silent, clock=clock), Shelf(silent, clock))

    @property
    def now(self) -> datetime:
        """The instant it is."""
        return from_us(self.clock.now_us())

    def key(self, named: str) -> str:
        """Return the pseudonym of a raw id or pseudonym.

        Raises
        ------
        DataError
            It is not an id, or nobody is known here: a key to make pseudonyms with is not made to look.
        SettingsError
            The home's key cannot be read.
        """
        if not is_pseudonym(named) and not key_path(self.settings.home).exists():
            raise DataError(
                f"No shopper is known in {self.settings.home}.",
                hint="run `portrait demo` for an example shop, or import events (`portrait events import`).",
            )
        return self.portrait.key(named)

    def erased(self, user: str) -> bool:
        """Whether a shopper, by pseudonym, was erased.

        Raises
        ------
        SettingsError
            It cannot be told.
        """
        return Tombstones(self.settings.home).holds(user)


@cache
def desk() -> Desk:
    """Return the desk of the home the environment names, the same for the whole process.

    Raises
    ------
    SettingsError
        The environment says something that cannot be.
    """
    return Desk.of(load_settings(), SystemClock())
