"""Countries and time zones as they are set: what is none is told with those that may have been meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from feature_repo.core.errors import SettingsError

_NEAR = 3
# The zone of the machine: the same name means another zone where a model is served.
_OF_THE_MACHINE = frozenset({"localtime", "posixrules", "Factory"})


def check_zone(name: str) -> str:
    """Return the IANA name of a time zone.

    Raises
    ------
    SettingsError
        There is no such zone, or it is whatever the machine is set to.

    >>> check_zone("Asia/Shanghai")
    'Asia/Shanghai'
    >>> check_zone("Berlin")
    Traceback (most recent call last):
    feature_repo.core.errors.SettingsError: PORTRAIT_ZONE is 'Berlin', which is no time zone.
    Hint: did you mean 'Europe/Berlin'?
    """
    if not is_zone(name):
        raise SettingsError(f"PORTRAIT_ZONE is '{name}', which is no time zone.", hint=zone_hint(name))
    return name


def is_zone(name: str) -> bool:
    """Whether it is the IANA name of a zone that is the same on every machine."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return name not in _OF_THE_MACHINE


def zone_hint(name: str) -> str:
    """Name the zones that are written nearly so.

    >>> zone_hint("new york")
    "did you mean 'America/New_York'?"
    """
    known = available_timezones() - _OF_THE_MACHINE
    asked = name.replace(" ", "_").lower()
    cities = [zone for zone in sorted(known) if asked and asked in {zone.lower(), zone.lower().rpartition("/")[2]}]
    return _hint(cities or _near(asked, known), "write an IANA name, for example America/New_York or Asia/Shanghai.")


def check_country(code: str) -> str:
    """Return the code of a country whose public holidays are known.

    Raises
    ------
    SettingsError
        It is no code of two letters (ISO 3166), or no holidays of such a country are known.

    >>> check_country("CN")
    'CN'
    >>> check_country("Germany")
    Traceback (most recent call last):
    feature_repo.core.errors.SettingsError: PORTRAIT_COUNTRY is 'Germany', of which no public holidays are known.
    Hint: did you mean 'DE'?
    """
    if code not in _names_of_countries():
        raise SettingsError(
            f"PORTRAIT_COUNTRY is '{code}', of which no public holidays are known.", hint=_country_hint(code)
        )
    return code


@cache
def _names_of_countries() -> dict[str, frozenset[str]]:
    """Code of two letters -> everything the country is called, in lower case and without spaces."""
    from holidays.registry import COUNTRIES  # noqa: PLC0415 - only who sets a country pays for it

    return {
        code: frozenset(each.lower() for each in (module.replace("_", ""), name, code, *others))
        for module, (name, code, *others) in COUNTRIES.items()
    }


def _country_hint(name: str) -> str:
    known = _names_of_countries()
    asked = name.strip().lower().replace(" ", "")
    meant = [code for code, names in known.items() if asked in names]
    return _hint(meant or _near(name, known), "write a country's code of two letters, for example US, CN or DE.")


def _near(name: str, known: Iterable[str]) -> list[str]:
    by_lower = {each.lower(): each for each in sorted(known)}
    return [by_lower[each] for each in get_close_matches(name.lower(), by_lower, n=_NEAR, cutoff=0.5)]


def _hint(names: list[str], otherwise: str) -> str:
    return f"did you mean {' or '.join(repr(name) for name in names)}?" if names else otherwise
