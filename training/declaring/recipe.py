"""How a model is fitted: a linear part, gradient-boosted trees, or both blended on the logit. Data, no code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from feature_repo.core.errors import DeclarationError
from training.declaring.objective import BY_OBJECTIVE

DAYS_SINCE_NOTHING = 400.0


@dataclass(frozen=True)
class Null:
    """What a NULL of some inputs stands for in a linear part; trees learn a direction for NULL of their own.

    Attributes
    ----------
    inputs
        Full name, or a pattern with ``*``.
    value
        The constant taken for NULL.
    own_term
        Give "is NULL" a coefficient of its own besides, where being unknown says something.
    """

    inputs: str
    value: float = 0.0
    own_term: bool = False


@dataclass(frozen=True)
class Linear:
    """Logistic (for numbers: least-squares) regression over inputs, standardised, with an L2 penalty.

    A text input becomes one term for each of its most frequent values, 1 where it has the value and 0 elsewhere.

    Attributes
    ----------
    strength
        Inverse of the penalty (scikit-learn's ``C``).
    days_since_nothing
        What a NULL of an input named ``..days_since`` stands for, in days; a NULL of any other input is 0, unless
        ``nulls`` says otherwise.
    without
        Inputs whose names end so are not read: a straight line goes on where the trees of a blend do not, and a window
        longer than the history of the earliest rows grows with the history.
    logarithmic
        Take ``log1p(max(x, 0))`` of every input, which suits odds; a sum of money is better foreseen from money.
    nulls
        The policy by input; the first that matches counts.
    levels
        How many values of a text input get a term.
    variance
        Fit on as many principal components of the terms as hold this share of their variance; 0 fits on the terms.
    """

    strength: float = 1.0
    days_since_nothing: float = DAYS_SINCE_NOTHING
    without: tuple[str, ...] = ()
    logarithmic: bool = True
    nulls: tuple[Null, ...] = ()
    levels: int = 10
    variance: float = 0.0

    def __post_init__(self) -> None:
        if not self.strength > 0:
            raise DeclarationError(f"Linear(strength={self.strength}) is not positive.", hint="choose for example 1.0.")
        if not 0 <= self.variance <= 1:
            raise DeclarationError(f"Linear(variance={self.variance}) is no share.", hint="choose for example 0.95.")

    def reads(self, column: str) -> bool:
        """Whether it reads an input.

        >>> Linear(without=("182d",)).reads("user_payments__count_182d")
        False
        """
        return not column.endswith(self.without) if self.without else True

    def null(self, column: str) -> Null:
        """Return what a NULL of a column stands for.

        >>> Linear().null("user_payments__days_since").value, Linear().null("user_payments__count_28d").value
        (400.0, 0.0)
        >>> Linear(nulls=(Null("user_trends__*", value=1.0),)).null("user_trends__visits_trend_28d_84d").value
        1.0
        """
        usual = Null(column, self.days_since_nothing if column.endswith("days_since") else 0.0)
        return next((each for each in self.nulls if fnmatchcase(column, each.inputs)), usual)


@dataclass(frozen=True)
class Boosting:
    """XGBoost, one booster per seed, their logits averaged; the names are XGBoost's where it has one.

    Attributes
    ----------
    seeds
        One booster each.
    rising, falling
        Inputs the score may only rise, or only fall, with.
    max_rounds, patience
        Rounds at most, and how many without a better log loss on the validation slice end the search.
    """

    eta: float = 0.03
    max_depth: int = 3
    subsample: float = 0.7
    colsample_bytree: float = 0.3
    min_child_weight: float = 15.0
    reg_lambda: float = 5.0
    max_bin: int = 64
    seeds: tuple[int, ...] = (7, 11, 23, 42, 101)
    rising: tuple[str, ...] = ()
    falling: tuple[str, ...] = ()
    max_rounds: int = 1500
    patience: int = 60

    def __post_init__(self) -> None:
        both = set(self.rising) & set(self.falling)
        if both or not self.seeds:
            what = f"lets {', '.join(sorted(both))} both rise and fall" if both else "has no seed"
            raise DeclarationError(f"Boosting {what}.", hint="give it at least one seed, and each input one direction.")

    def direction(self, column: str) -> int:
        """Return the monotone constraint of an input: 1, -1 or 0."""
        return int(column in self.rising) - int(column in self.falling)

    def params(self, *, objective: str, columns: tuple[str, ...], seed: int, threads: int) -> dict[str, Any]:
        """Return the parameters ``xgboost.train`` takes."""
        own = ("seeds", "rising", "falling", "max_rounds", "patience")
        directions = tuple(self.direction(column) for column in columns)
        settings = {name: value for name, value in asdict(self).items() if name not in own}
        return (
            settings
            | dict(BY_OBJECTIVE[objective].params)
            | {
                "objective": objective,
                "eval_metric": BY_OBJECTIVE[objective].early_stopping,
                "tree_method": "hist",
                "monotone_constraints": directions,
                "seed": seed,
                "nthread": threads,
            }
        )


@dataclass(frozen=True)
class Copy:
    """An input taken for the answer, ``times`` a number, NULL as 0: nothing is fitted. For regressions."""

    column: str
    times: float = 1.0


@dataclass(frozen=True)
class Tree:
    """One decision tree of scikit-learn; a baseline, measured and never served."""

    max_depth: int = 6
    min_samples_leaf: int = 50


@dataclass(frozen=True)
class Forest:
    """A random forest of scikit-learn; a baseline, measured and never served.

    Attributes
    ----------
    rows_per_tree
        Rows drawn for each tree at most, which bounds the time whatever the rows are.
    """

    trees: int = 50
    min_samples_leaf: int = 10
    rows_per_tree: int = 5_000


@dataclass(frozen=True)
class Margin:
    """A linear support vector machine of scikit-learn over a linear part's terms; a baseline, never served.

    Attributes
    ----------
    strength
        Inverse of the penalty (scikit-learn's ``C``).
    """

    strength: float = 0.01


Plain: TypeAlias = Tree | Forest | Margin


@dataclass(frozen=True)
class Recipe:
    """What to fit on which inputs; with both parts the model is the mean of their logits (numbers for a regression).

    Attributes
    ----------
    inputs
        Full feature names and context columns, in the model's order; empty means all the task has.
    linear, boosting
        The parts; at least one.
    copy
        Instead of both.
    plain
        Instead of all three: a model of scikit-learn to compare with.
    """

    inputs: tuple[str, ...] = ()
    linear: Linear | None = None
    boosting: Boosting | None = None
    copy: Copy | None = None
    plain: Plain | None = None

    def __post_init__(self) -> None:
        if self.copy is not None:
            if self.inputs or self.linear or self.boosting or self.plain:
                raise DeclarationError("A recipe that copies an input fits something.", hint="give it copy= alone.")
        elif self.plain is not None:
            if self.linear or self.boosting:
                raise DeclarationError("A recipe is of two kinds.", hint="give it plain=, or linear= and boosting=.")
        elif self.linear is None and self.boosting is None:
            raise DeclarationError(
                "A recipe fits nothing.", hint="give it linear=Linear(), boosting=Boosting() or both."
            )

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Recipe:
        """Return the recipe that ``dataclasses.asdict`` and JSON made this of.

        Raises
        ------
        DeclarationError
            It is of a checkout that had other settings.

        >>> import json
        >>> made = Recipe(inputs=("a",), linear=Linear(nulls=(Null("b"),)), boosting=Boosting())
        >>> Recipe.from_json(json.loads(json.dumps(asdict(made)))) == made
        True
        """
        try:
            parts = {name: kind(**_tuples(found[name])) for name, kind in _PARTS.items() if found.get(name)}
            if linear := parts.get("linear"):
                parts["linear"] = replace(linear, nulls=tuple(Null(**each) for each in found["linear"]["nulls"]))
            return cls(inputs=tuple(found["inputs"]), **parts)
        except (KeyError, TypeError) as error:
            raise DeclarationError(
                f"A recipe that was kept has other settings than this code knows: {error}.",
                hint="check out the code it was made with.",
            ) from None

    @property
    def named_inputs(self) -> tuple[str, ...]:
        """Every input the recipe names, so that a misspelt one is found before anything is fitted."""
        constrained = (*self.boosting.rising, *self.boosting.falling) if self.boosting else ()
        copied = (self.copy.column,) if self.copy else ()
        return tuple(dict.fromkeys((*self.inputs, *constrained, *copied)))


_PARTS: dict[str, type[Any]] = {"linear": Linear, "boosting": Boosting, "copy": Copy}


def _tuples(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
