"""Audiences that were handed out: to whom one may write, and who of them is held out.

What is handed out names pseudonyms of people who allow marketing, and nobody who was erased.
"""

from __future__ import annotations

import csv
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.core.clock import Clock, from_us
from feature_repo.core.errors import DataError, SettingsError
from feature_repo.core.settings import Settings
from feature_repo.engine.retrieval import replacing
from feature_repo.privacy.consent import PurposeName
from feature_repo.privacy.tombstones import Tombstones
from serving.audiences.audiences import Audiences
from serving.audiences.exported import HELD_OUT, MEMBERS, Export, exports_root, write_record
from serving.audiences.holdout import held_out
from serving.audiences.index import USER_ID
from serving.audiences.saved import NAME, SIGN

PURPOSE: PurposeName = "marketing"
FORMATS = (".csv", ".parquet")
_AT_ONCE = 2_000

Permitted = Callable[[Sequence[str]], npt.NDArray[np.bool_]]


def export(
    audiences: Audiences, clock: Clock, audience: str, path: Path, permitted: Permitted, *, share: float, campaign: str
) -> Export:
    """Hand out an audience, without those who are held out, do not allow marketing, or were erased.

    Parameters
    ----------
    path
        A ``.csv`` or ``.parquet`` file, which appears whole and is readable by its owner alone.
    permitted
        Tells whether marketing is permitted, now: of pseudonyms, ``bool[n]``.
    share
        To hold out.
    campaign
        Decides who; a saved audience's name by default, else ``audience``.

    Raises
    ------
    DataError
        It is no audience, no campaign, no share or no file we write, or nobody would be handed out.
    StoreUnavailableError, NotMaterializedError
        What people allow cannot be read: then nobody is handed out.
    SettingsError
        A file cannot be written, or who was erased cannot be read.
    """
    campaign = campaign or (audience.strip()[1:] if audience.strip().startswith(SIGN) else "audience")
    _check(path, campaign)
    found = audiences.members(audience)
    rows = audiences.rows(found.people)
    allowed = rows.filter(pa.array(_asked(permitted, rows[USER_ID].to_pylist())))
    out = held_out(campaign, allowed[USER_ID].to_pylist(), share)
    if not len(out) - out.sum():
        raise DataError(
            f"Nobody would be handed out: {rows.num_rows:,} belong to the audience, {len(out):,} of them allow "
            f"{PURPOSE}.",
            hint="consent comes as events of type `consent`; who said nothing allows no marketing.",
        )
    made = Export(
        id=f"{campaign}-{secrets.token_hex(4)}",
        campaign=campaign,
        audience=audience,
        selection=found.text,
        as_of=audiences.as_of,
        made_at=from_us(clock.now_us()),
        path=str(path.expanduser().absolute()),
        purpose=PURPOSE,
        share_held_out=share,
        members=rows.num_rows,
        not_permitted=rows.num_rows - len(out),
        held_out=int(out.sum()),
        handed_out=int(len(out) - out.sum()),
    )
    return _hand_out(audiences.settings, made, allowed.append_column(HELD_OUT, pa.array(out)))


def _check(path: Path, campaign: str) -> None:
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"'{path.name}' is no file an audience is written to.", hint="name a .csv or .parquet file.")
    if not NAME.fullmatch(campaign):
        raise DataError(
            f"A campaign cannot be called {campaign!r}.", hint="use small letters, digits, - and _, a letter first."
        )


def _asked(permitted: Permitted, users: Sequence[str]) -> npt.NDArray[np.bool_]:
    parts = [permitted(users[start : start + _AT_ONCE]) for start in range(0, len(users), _AT_ONCE)]
    return np.concatenate([np.empty(0, np.bool_), *parts])


def _hand_out(settings: Settings, made: Export, rows: pa.Table) -> Export:
    tombstones = Tombstones(settings.home)
    with tombstones.unchanged():
        standing = tombstones.standing_rows(rows)
        out = standing[HELD_OUT].to_numpy()
        made = replace(made, held_out=int(out.sum()), handed_out=int(len(out) - out.sum()))
        try:
            # Who it is comes first: an erasure has to know of a file before there is one.
            _write(exports_root(settings) / made.id / MEMBERS, standing)
            write_record(settings, made)
            _write(Path(made.path), standing.filter(pa.array(~out)).select([USER_ID]))
        except OSError as error:
            raise SettingsError(
                f"{error.filename or made.path} cannot be written: {error.strerror}.", hint="name another file."
            ) from None
    return made


def _write(path: Path, rows: pa.Table) -> None:
    with replacing(path) as partial:
        partial.touch(mode=0o600)
        if path.suffix.lower() == ".csv":
            with partial.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([rows.column_names, *zip(*rows.to_pydict().values(), strict=True)])
        else:
            pq.write_table(rows, partial)
