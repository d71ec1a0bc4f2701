"""Which numbers an input may be: declared with a training task, kept with the model, checked where it is asked."""

from __future__ import annotations

from dataclasses import dataclass

from feature_repo.core.errors import DeclarationError


@dataclass(frozen=True)
class Allowed:
    """Numbers an input may be; everything finite unless said otherwise.

    Attributes
    ----------
    at_least, at_most
        Ends of a range, themselves allowed.
    values
        The only values, instead of a range.

    Raises
    ------
    DeclarationError
        Both a range and values are given, or the range is empty.

    >>> Allowed(at_least=1).permits(0.5), Allowed(at_least=1).permits(1), Allowed(values=(0, 1)).permits(7)
    (False, True, False)
    """

    at_least: float | None = None
    at_most: float | None = None
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.at_least, self.at_most) if bound is not None]
        if (self.values and bounds) or bounds != sorted(bounds):
            raise DeclarationError(
                f"Allowed({self.at_least}, {self.at_most}, {self.values}) permits nothing, or says it twice.",
                hint="give it values, or at_least and at_most in this order.",
            )

    @property
    def is_flag(self) -> bool:
        """Whether it is 0 or 1, so that True and False say what is meant."""
        return set(self.values) == {0, 1}

    def permits(self, value: float) -> bool:
        """Whether a finite number is allowed."""
        if self.values:
            return value in self.values
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        """Say it in words.

        >>> str(Allowed(values=(0, 1))), str(Allowed(at_least=1, at_most=366)), str(Allowed(at_most=5)), str(Allowed())
        ('0 or 1', '1 to 366', 'at most 5', 'any number')
        """
        if self.values:
            return " or ".join(f"{value:g}" for value in self.values)
        if self.at_least is not None and self.at_most is not None:
            return f"{self.at_least:g} to {self.at_most:g}"
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return f"at most {self.at_most:g}" if self.at_most is not None else "any number"


ANY = Allowed()
