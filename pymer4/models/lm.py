"""Linear and generalized linear models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pandas as pd

from pymer4.data import intake
from pymer4.data.families import Family
from pymer4.data.sample import Sample
from pymer4.errors import summary_wanted
from pymer4.models import printing, reporting
from pymer4.models.native_script import LmScript
from pymer4.models.options import LmOptions, NativeMethod, Scheme
from pymer4.plots.arguments import picture
from pymer4.work import Seed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WELCH = "the name of a column in weights= and plain standard errors"


class Lm(LmScript):
    """A regression: ordinary or weighted least squares, or a generalized linear model.

    Formulas are patsy's, and may use every function and variable that is visible where the model is made. Text and
    booleans are categories, a Categorical keeps its order, an ordered one has polynomial contrasts. Rows with a
    missing value are left out and come back as NaN in `fits`. A column that others add up to is left out, with a
    warning that names it, as in R. Attributes that all models share are listed in `models.base.Model`.

    Args:
        formula: a patsy formula, such as `"y ~ x * C(g)"`, or a `patsy.ModelDesc` that text describes.
        data: one row an observation: a pandas, polars (or lazy) or pyarrow frame, a DuckDB relation, or a dict of
            columns; it is copied.
        family: error distribution: gaussian, binomial, poisson, gamma, inverse_gaussian or nbinom.
        link: its link, by default R's; a gaussian model with another link than identity is a generalized one.
        offset: a known part of the linear predictor: a column's name, or one number a row.

    Attributes:
        coefs: coefficients with limits, standard error, df (of linear models), statistic and p.
        design_matrix: the design of the rows used, a column a coefficient, with the index of the data.
        rsquared: R², as R's `summary(lm)`, of the outcome less its offset; NaN for a generalized model.
        rsquared_adj: adjusted R².
        estimator: `"OLS"`, `"WLS"`, or `"ML"` for a generalized model.
        se_type: `"non-robust"` or `"robust (hc3)"`.
        theta: size of a negative binomial model, else None.

    Raises:
        FormulaError: the formula can't be read, names what is not there, has no outcome, or has a random part.
        DataError: the data are no frame of a known kind, empty, or have duplicate columns.
        OptionError: unknown family, or a link that it does not have.

    Examples:
        >>> from pymer4 import Lm, load_dataset
        >>> model = Lm("DV ~ IV1", load_dataset("sample_data"))
        >>> _ = model.fit(summarize=False)
        >>> model.coefs["Estimate"].round(2).to_dict()
        {'Intercept': 27.31, 'IV1': 1.22}
    """

    def __init__(
        self,
        formula: Any,
        data: Any,
        family: Family = "gaussian",
        *,
        link: str | None = None,
        offset: str | Sequence[float] | None = None,
    ):
        super().__init__(formula, data, family, link, offset)
        self._offset = deepcopy(intake.checked("offset", offset, self._frame))

    def fit(
        self,
        robust: bool | str = False,
        conf_int: NativeMethod = "standard",
        permute: int | bool | None = False,
        rank: bool = False,
        verbose: bool | int = False,
        n_boot: int = 500,
        n_jobs: int = 1,
        n_lags: int = 1,
        cluster: str | None = None,
        weights: str | Sequence[float] | None = None,
        wls_dof_correction: bool = True,
        *,
        factors: Mapping[str, Any] | None = None,
        ordered: bool = False,
        conf_level: float = 0.95,
        seed: Seed = None,
        scheme: Scheme = "raw",
        **kwargs: Any,
    ) -> pd.DataFrame | None:
        """Fit the model, print a summary and return its rounded table.

        Args:
            robust: standard errors that are robust to unequal variances: `"hc0"` to `"hc3"`, `"hac"` (also to
                autocorrelation, in the order of the rows), `"cluster"`; True is `"hc1"`.
            conf_int: limits by t (z for binomial, poisson and nbinom), or with `"boot"` as percentiles of fits to rows
                drawn with replacement, each with its weight and offset; p then comes from these too. With
                `robust="cluster"` whole clusters are drawn.
            permute: number of shuffles of the outcome, whose statistics then give p; False for none. With
                `robust="cluster"` the outcome is shuffled within clusters. What does not vary there, alone or added up,
                can't be tested so and gets NaN and a warning: the intercept, and means of groups in a model without.
            rank: put the ranks of the outcome and of all numeric columns in their place; `data` keeps its values.
            verbose: say what is fitted, and show the progress of draws on standard error.
            n_boot: number of bootstrap draws.
            n_jobs: worker processes for draws and shuffles; the numbers don't depend on it.
            n_lags: number of lags of `"hac"`.
            cluster: column whose groups the rows belong to, for `robust="cluster"`; else ignored, with a warning.
            weights: one number a row, 1 / variance. In a linear model a column's name means one variance of the
                errors for each of its values, in a generalized one the column of prior weights.
            wls_dof_correction: with such a column, Satterthwaite's df for each coefficient, Welch's for two groups;
                False for the residual df.
            factors: column to levels in order, or to contrasts, as in `Lmer.fit`.
            ordered: give `factors` with a list of levels orthogonal polynomials (`.L`, `.Q`, `.C`, `^4`).
            conf_level: level of the limits.
            seed: makes draws and shuffles repeatable.
            scheme: `"raw"` shuffles the outcome, which tests that no predictor has an effect; `"freedman-lane"` tests
                each coefficient given the others, shuffling the residuals of the model without it. The intercept is
                then tested too, where predictors are far from centred; its p is approximate.
            **kwargs: `summarize` (or `summary`) False prints nothing and returns None.

        Returns:
            The coefficient table rounded to 3 places, or None.

        Raises:
            DataError: data that no model can be fitted to, or draws or shuffles of which none can; see the message. As
                after any error, the model is as it was.
            FormulaError: patsy can't evaluate the formula; its words.
            OptionError: an argument out of its range.

        Examples:
            >>> from pymer4 import Lm, load_dataset
            >>> model = Lm("DV ~ IV1", load_dataset("sample_data"))
            >>> model.fit(robust="hc3", summarize=False)
            >>> model.coefs[["Estimate", "SE"]].round(2)
                       Estimate    SE
            Intercept     27.31  3.47
            IV1            1.22  0.28
        """
        show = summary_wanted(kwargs, Lm.fit)
        options = LmOptions.of(
            robust=robust, conf_int=conf_int, permute=permute, rank=rank, verbose=verbose, n_boot=n_boot, n_jobs=n_jobs,
            n_lags=n_lags, cluster=cluster, weights=weights, wls_dof_correction=wls_dof_correction, factors=factors,
            ordered=ordered, conf_level=conf_level, seed=seed, scheme=scheme,
        )  # fmt: skip
        return self._fit_with(options, show)

    def _told(self, found: Sample) -> str:
        options = self._options
        p = f"{options.permute} permutations" if options.permute else options.conf_int
        return (
            f"Fitting {self.formula} ({self.family}, {self.link}) to {len(found.y)} rows; standard errors "
            f"{options.se_type}, {100 * options.conf_level:g}% {options.conf_int} limits, p: {p}"
        )

    def _idle(self, found: Sample) -> list[str]:
        options = self._options
        by_group = found.groups is not None and options.kind == "iid"
        return options.idle(Lm.fit, scheme=(options.permute > 0, "permute="), wls_dof_correction=(by_group, _WELCH))

    def _summary(self) -> str:
        return printing.linear_summary(self, self._estimate)

    def _story(self) -> reporting.Story:
        return reporting.linear(self)

    @picture
    def plot_summary(
        self,
        figsize: tuple[float, float] = (12, 6),
        error_bars: str = "ci",
        axlim: tuple[float, float] | None = None,
        plot_intercept: bool = True,
        coef_fmt: str = "o",
        orient: str = "v",
        *,
        ax: Axes | None = None,
    ) -> Axes:
        """Draw a forest plot of the coefficients.

        Where the intercept takes up most of the value axis, a note says how to leave it out.

        Args:
            figsize: inches.
            error_bars: `"ci"`, the limits computed by `fit()`, or `"se"`, one standard error either way.
            axlim: ends of the value axis; by default all that is drawn.
            plot_intercept: draw the intercept.
            coef_fmt: matplotlib format of the estimates.
            orient: `"v"` lists the terms down the page, `"h"` across it.
            ax: axes to draw on.

        Returns:
            The axes drawn on.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: an argument out of its range.

        Examples:
            >>> from pymer4 import Lm, load_dataset
            >>> model = Lm("DV ~ IV1", load_dataset("sample_data"))
            >>> _ = model.fit(summarize=False)
            >>> model.plot_summary(plot_intercept=False).get_xlabel()
            'Estimate (DV)'
        """
        return self._forest(
            error_bars, plot_intercept, fmt=coef_fmt, axlim=axlim, figsize=figsize, orient=orient, ax=ax
        )
