"""`to_marginaleffects()`: a model as the package marginaleffects takes one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd

from pymer4.errors import OptionError, one_of
from pymer4.models.effects_adapter import adapted
from pymer4.models.effects_rows import Handed, shown_rows
from pymer4.models.marginal import Marginal

_SAME = 1e-6  # of the largest number, how far a design may be from that of the fit


class Effects(Marginal):
    """A model that the package marginaleffects can ask for predictions, comparisons and slopes."""

    # The fixed part of new rows, x b + known: x, shape (n, p), NaN where a predictor is missing, and known, shape (n,).
    _fixed_rows: Callable[[pd.DataFrame], tuple[np.ndarray, np.ndarray]]
    # Which rows were fitted, shape (rows,), and the df of limits that are by t, a number, or infinite ones.
    _rows_used: Callable[[], np.ndarray]
    _df_of_limits: Callable[[], float]
    _offsets: Callable[[], set[str]]  # columns of the offset
    _outcome: Callable[[], tuple[str, list[str]]]

    def to_marginaleffects(self, *, pred_type: Literal["response", "link"] = "response") -> Any:
        """Return the model as one that the functions of the package marginaleffects take.

        `predictions()`, `comparisons()`, `slopes()`, their `avg_` forms and `hypotheses()` of it rest on the fixed
        part, x b, and the covariance of b that the fit has, a robust one too. So those of an `Lmer` are for the
        population, at random effects of zero, and those of an `Lm2` are of its mean coefficients. Limits have the df
        of the fit, of an `Lmer` infinite ones; `emmeans()` has Satterthwaite's.

        Args:
            pred_type: scale of what is predicted and compared; both are one for a linear model.

        Returns:
            An object of the package: a `ModelAbstract` of it. It is of this fit: after another it says so.

        Raises:
            MissingLibrary: marginaleffects is not installed; the message has the command that installs it.
            NotFittedError: before `fit()`.
            OptionError: a fit of ranks, of correlations, with df of its own for each coefficient, or with an offset
                given as an array; rows that the formula can't make anew; or columns whose names the package can't take.

        Examples:
            >>> from pymer4 import Lm, load_dataset
            >>> model = Lm("DV ~ IV1", load_dataset("sample_data"))
            >>> _ = model.fit(summarize=False)
            >>> from marginaleffects import avg_slopes  # doctest: +SKIP
            >>> avg_slopes(model.to_marginaleffects())["estimate"].round(2).to_list()  # doctest: +SKIP
            [1.22]
        """
        self._require_fit("to_marginaleffects()")
        one_of("pred_type", pred_type, ("response", "link"))
        self._require_effects()
        used, predictors = self._rows_used(), self._grid_predictors()
        there = {name for name in self._frame.columns if isinstance(name, str)} - self._offsets()
        names = [name for name in (*predictors.factors, *predictors.covariates) if name in there]
        outcome = next(iter(self._outcome()[1]), self._outcome()[0])
        rows = shown_rows(self._frame[used], [*names, outcome])
        X, known = self._fixed_rows(rows.frame)
        design = self.design_matrix.to_numpy()
        if X.shape != design.shape or not np.abs(X - design).max(initial=0) <= _SAME * np.abs(design).max(initial=1):
            raise refused(
                "the formula does not give the rows of the fit their predictors again, as it must for new rows",
                "Put what it computes into columns of the data.",
            )
        link = self.link if pred_type == "response" and not self._linear else "identity"
        factors = frozenset(predictors.factors)
        df = self._df_of_limits()
        return adapted(Handed(self, rows, outcome, tuple(names), factors, link, not known.any(), df))

    def _require_effects(self) -> None:
        """Refuse a fit whose predictions are not the fixed part of a row."""
        if self.ranked_data:
            raise refused("it is a fit of ranks, and effects would be those of ranks", "Fit with rank=False.")
        if getattr(self, "iscorrs", False):
            raise refused("correlations were tested, which predict nothing", "Fit with to_corrs=False.")
        if isinstance(getattr(self, "_offset", None), np.ndarray):
            raise refused(
                "its offset is an array, which new rows have not",
                "Put the offset into the data, and give the column's name as offset=.",
            )


def refused(why: str, instead: str) -> OptionError:
    """Return the error for a model that can't be handed over."""
    return OptionError(f"to_marginaleffects() can't take this model: {why}. {instead}")
