"""What a simulated shop is asked for, and where a home remembers it: the same plan is the same shop, to the byte."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from feature_repo.core.clock import DAY, HOUR
from feature_repo.core.errors import DataError
from feature_repo.core.stores import atomic_write

FOLDER = "simulation"
MAX_SEED = 2**31 - 1


@dataclass(frozen=True)
class Plan:
    """A simulated shop.

    Attributes
    ----------
    seed
        Which shop; 0 to 2^31 - 1.
    users
        Shoppers, numbered from 0; one does the same in every plan of equal seed, times and ``events / users``.
    events
        Events expected before ``end_us``; their number is random and near it. Flawed copies come on top.
    end_us
        The log's now: no event lies after it, none arrives after it.
    days
        Days of history before it.
    late, duplicates, malformed
        Shares of the events, 0 to 1, that arrive an hour or more after they happened, that are sent twice, and of
        which a broken copy is sent too.

    Raises
    ------
    DataError
        A number is out of its range.
    """

    seed: int
    users: int
    events: int
    end_us: int
    days: int = 180
    late: float = 0.02
    duplicates: float = 0.01
    malformed: float = 0.002

    def __post_init__(self) -> None:
        for name, least, most in (
            ("seed", 0, MAX_SEED),
            ("users", 0, 10**8),
            ("events", 0, 10**10),
            ("days", 1, 3650),
            ("late", 0, 1),
            ("duplicates", 0, 1),
            ("malformed", 0, 1),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise DataError(f"{name} is {value}.", hint=f"choose it between {least} and {most}.")
        if self.end_us < (self.days + 1) * DAY:
            raise DataError(f"{self.days} days before now is before 1970.", hint="choose fewer days, or set the clock.")

    @property
    def begin_us(self) -> int:
        """First instant, included: a whole hour."""
        return (self.end_us // HOUR) * HOUR - self.days * DAY

    @property
    def events_per_user(self) -> float:
        """Events expected of a shopper of average activity."""
        return self.events / self.users if self.users else 0.0

    def raw_id(self, number: int) -> str:
        """Return what the shop calls a shopper; only its pseudonym reaches the disk.

        >>> Plan(seed=7, users=2, events=0, end_us=365 * DAY).raw_id(1)
        'shopper-7-1'
        """
        return f"shopper-{self.seed}-{number}"


def plan_path(home: Path, seed: int) -> Path:
    """Where a home keeps the plan of a seed."""
    return home / FOLDER / f"{seed}.json"


def kept_plan(home: Path, seed: int) -> Plan | None:
    """Read the plan a home was simulated with; None if it was not.

    Raises
    ------
    DataError
        The file is damaged.
    """
    path = plan_path(home, seed)
    if not path.exists():
        return None
    try:
        return Plan(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        raise DataError(
            f"The simulated shop's plan {path} cannot be read.", hint="restore it, or simulate with another seed."
        ) from None


def settle(home: Path, wanted: Plan) -> Plan:
    """Keep a plan, or go on with the one that is kept, whose end stays where it was.

    Raises
    ------
    DataError
        The home holds another shop of that seed: its events have the same ids.
    """
    kept = kept_plan(home, wanted.seed)
    if kept is None:
        atomic_write(plan_path(home, wanted.seed), json.dumps(asdict(wanted), indent=2) + "\n")
        return wanted
    if replace(wanted, end_us=kept.end_us) == kept:
        return kept
    now = asdict(wanted)
    changed = [f"{name} {value}" for name, value in asdict(kept).items() if name != "end_us" and now[name] != value]
    raise DataError(
        f"This home holds the shop of seed {wanted.seed} with {', '.join(changed)}.",
        hint="ask for the same, choose another --seed, or another home (PORTRAIT_HOME).",
    )
