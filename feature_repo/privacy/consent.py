"""What data may be used for, and what holds for a shopper who said nothing about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from feature_repo.core.errors import DataError, did_you_mean

PurposeName = Literal["service", "personalisation", "marketing", "risk"]


@dataclass(frozen=True)
class Purpose:
    """One use of the data.

    Attributes
    ----------
    description, zh
        In English and in Chinese.
    unless_withdrawn
        Whether it is permitted for a shopper who was never asked; otherwise it has to be granted.
    """

    description: str
    zh: str
    unless_withdrawn: bool = False


PURPOSES: Mapping[PurposeName, Purpose] = MappingProxyType(
    {
        "service": Purpose("What an order needs: delivery, returns, support.", "履约与客服", unless_withdrawn=True),
        "personalisation": Purpose("Choosing what a shopper is shown.", "个性化推荐"),
        "marketing": Purpose("Addressing a shopper unasked: mail, messages, coupons.", "营销触达"),
        "risk": Purpose("Judging whether a shopper, or somebody in the name of one, may do harm.", "风险控制"),
    }
)


def permits(purpose: str, granted: bool | None) -> bool:
    """Whether a purpose is permitted by the last that was said of it; None: nothing was.

    Raises
    ------
    DataError
        There is no such purpose.

    >>> [permits("service", said) for said in (True, None, False)]
    [True, True, False]
    >>> [permits("marketing", said) for said in (True, None, False)]
    [True, False, False]
    """
    return granted if granted is not None else known_purpose(purpose).unless_withdrawn


def known_purpose(name: str) -> Purpose:
    """Return a purpose by its name.

    Raises
    ------
    DataError
        There is no such purpose.
    """
    found = {str(each): purpose for each, purpose in PURPOSES.items()}.get(name)
    if found is None:
        raise DataError(f"There is no purpose '{name}' of using data.", hint=did_you_mean(name, PURPOSES))
    return found


@dataclass(frozen=True)
class Consent:
    """What one shopper allowed.

    Attributes
    ----------
    user_id
        Pseudonym.
    granted
        The last that was said of each purpose; None where nothing was.
    """

    user_id: str
    granted: Mapping[PurposeName, bool | None]

    def permits(self, purpose: PurposeName) -> bool:
        """Whether the data may be used for a purpose; what was never asked falls back to the purpose's default."""
        return permits(purpose, self.granted[purpose])
