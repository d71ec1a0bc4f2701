"""What a user asks of a training beyond the task's declaration; all of it costs time and is off unless asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from feature_repo.core.errors import PortraitError, did_you_mean

FILTER, WRAPPER, EMBEDDED = "filter", "wrapper", "embedded"
SELECTIONS = (FILTER, WRAPPER, EMBEDDED)
REDUCTIONS = ("pca",)
ORIGINS = ("champion",)


@dataclass(frozen=True)
class Options:
    """How to prepare a recipe before it is fitted.

    Attributes
    ----------
    select
        How to leave inputs out, see :mod:`training.preparing.selection`; empty keeps all.
    reduce
        ``pca``: the linear part is fitted on principal components of its terms.
    trials
        How many sets of parameters to try, see :mod:`training.preparing.search`.
    continue_from
        ``champion``: add trees to the champion's instead of fitting all anew, see
        :mod:`training.preparing.continuation`.
    """

    select: str = ""
    reduce: str = ""
    trials: int = 0
    continue_from: str = ""

    def __post_init__(self) -> None:
        for name, known in (("select", SELECTIONS), ("reduce", REDUCTIONS), ("continue_from", ORIGINS)):
            said = getattr(self, name)
            if said and said not in known:
                option = name.replace("_", "-")
                raise PortraitError(f"--{option} is '{said}'.", hint=did_you_mean(said, known))
        if self.trials < 0:
            raise PortraitError(f"--trials is {self.trials}.", hint="say how many sets of parameters to try, or 0.")
        if self.continue_from and (self.select or self.reduce or self.trials):
            raise PortraitError(
                "--continue-from goes on with the champion's inputs and parameters, so that nothing can be chosen.",
                hint="leave --select, --reduce and --trials out, or train anew without --continue-from.",
            )

    @classmethod
    def heard(cls, said: str) -> Options:
        """Return what was asked for, from :attr:`said`.

        >>> Options.heard("--select filter --trials 20")
        Options(select='filter', reduce='', trials=20, continue_from='')
        """
        words = said.split()
        values = dict(zip(words[::2], words[1::2], strict=True))
        return cls(
            select=values.get("--select", ""),
            reduce=values.get("--reduce", ""),
            trials=int(values.get("--trials", 0)),
            continue_from=values.get("--continue-from", ""),
        )

    @property
    def anew(self) -> Options:
        """The same for a fit that goes on from nothing."""
        return replace(self, continue_from="")

    def __bool__(self) -> bool:
        return self != Options()

    @property
    def said(self) -> str:
        """What was asked for, as on the command line.

        >>> Options(select="filter", trials=20).said
        '--select filter --trials 20'
        """
        return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in asdict(self).items() if value)
