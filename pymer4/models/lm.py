"""Linear and generalized linear models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.data import intake
from pymer4.data.design import Design
from pymer4.data.families import NATIVE_LINKS, Family, check_family
from pymer4.data.sample import Sample, doubts, sample
from pymer4.data.terms import parse
from pymer4.errors import ConvergenceWarning, ModelWarning, summary_wanted
from pymer4.fit import sandwich
from pymer4.fit.glm import GeneralizedFit, generalized
from pymer4.fit.linear import LinearFit, least_squares
from pymer4.infer.asymptotic import asymptotic
from pymer4.models import summaries
from pymer4.models.lm_predict import LmPredictions
from pymer4.models.lm_resample import LmResampling
from pymer4.models.lm_state import LmFit, LmState
from pymer4.models.lm_tests import LmTests
from pymer4.models.native import LmPictures, NativeModel
from pymer4.models.options import LmOptions, NativeMethod, Scheme
from pymer4.work import Seed

_WELCH = "the name of a column in weights= and plain standard errors"


class Lm(LmState, LmPredictions, LmTests, LmResampling, LmPictures, NativeModel):
    """A regression: ordinary or weighted least squares, or a generalized linear model.

    Formulas are patsy's, and may use every function and variable that is visible where the model is made. Text and
    booleans are categories, a Categorical keeps its order, an ordered one has polynomial contrasts. Rows with a
    missing value are left out and come back as NaN in `fits`. A column that others add up to is left out, with a
    warning that names it, as in R.

    Args:
        formula: a patsy formula, such as `"y ~ x * C(g)"`, or a `patsy.ModelDesc`.
        data: one row an observation; it is copied.
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
        sig_type: `"parametric"`, `"bootstrapped"` or `"permutation (n)"`.
        ci_type: `"standard"` or `"boot (n)"`.
        theta: size of a negative binomial model, else None.
        factors: what `fit(factors=)` was given.
        contrast_codes: column to its coding matrix, shape (levels, levels - 1).
        ranked_data: whether ranks were fitted.
        model_obj: None; no R is involved.

    Raises:
        FormulaError: the formula can't be read, names what is not there, has no outcome, or has a random part.
        DataError: the data are no frame, empty, or have duplicate columns.
        OptionError: unknown family, or a link that it does not have.

    Examples:
        >>> import pandas as pd
        >>> from pymer4.models import Lm
        >>> data = pd.DataFrame({"y": [1.0, 3.0, 4.0, 6.0], "x": [0.0, 1.0, 2.0, 3.0]})
        >>> model = Lm("y ~ x", data)
        >>> _ = model.fit(summarize=False)
        >>> model.coefs["Estimate"].round(2).to_dict()
        {'Intercept': 1.1, 'x': 1.6}
    """

    def __init__(
        self,
        formula: Any,
        data: pd.DataFrame,
        family: Family = "gaussian",
        *,
        link: str | None = None,
        offset: str | Sequence[float] | None = None,
    ):
        self.link = check_family(family, link, NATIVE_LINKS)
        self._designed: tuple[Any, Design] | None = None
        super().__init__(formula, data, family)
        self._terms, self._scope = parse(formula, self._frame.columns, self)
        self.formula = self._terms.text
        self._offset = deepcopy(intake.checked("offset", offset, self._frame))

    def _forget(self) -> None:
        super()._forget()
        self.estimator: str | None = None
        self.theta: float | None = None
        self._estimate: LinearFit | GeneralizedFit | None = None

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
            >>> import pandas as pd
            >>> model = Lm("y ~ x", pd.DataFrame({"x": [1, 2, 3, 4, 5], "y": [1, 3, 2, 5, 4]}))
            >>> model.fit(robust="hc3", summarize=False)
            >>> model.coefs[["Estimate", "SE"]].round(2)
                       Estimate    SE
            Intercept       0.6  1.19
            x               0.8  0.42
        """
        show = summary_wanted(kwargs, Lm.fit)
        options = LmOptions.of(
            robust=robust,
            conf_int=conf_int,
            permute=permute,
            rank=rank,
            verbose=verbose,
            n_boot=n_boot,
            n_jobs=n_jobs,
            n_lags=n_lags,
            cluster=cluster,
            weights=weights,
            wls_dof_correction=wls_dof_correction,
            factors=factors,
            ordered=ordered,
            conf_level=conf_level,
            seed=seed,
            scheme=scheme,
        )
        return self._fit_with(options, show)

    @property
    def _asymptotic(self) -> bool:
        """Whether statistics are z."""
        return self.family in ("binomial", "poisson", "nbinom")

    def _sample(self) -> Sample:
        """Return what a fit with these options is made from."""
        options = self._options
        offset = self._offset_values()
        rows = intake.row_values(self._frame, options.weights, offset, options.clustered_by, self._linear)
        design = self._design(rows.missing if rows.missing.any() else None)
        return sample(design, rows, self.family, self.link)

    def _design(self, missing: np.ndarray | None) -> Design:
        """Return the design for these options, the one at hand where it fits."""
        factors, ordered, rank = self._options.factors, self._options.ordered, self._options.rank
        key = (repr(factors), ordered, rank, None if missing is None else missing.tobytes())
        if self._designed is None or self._designed[0] != key:
            how = {"factors": factors, "ordered": ordered, "rank": rank, "missing": missing}
            self._designed = (key, Design(self._terms, self._frame, self._scope, **how))
        return self._designed[1]

    def _estimated(self, found: Sample) -> LinearFit | GeneralizedFit:
        if self._linear:
            return least_squares(
                found.X, found.y, found.weights, found.offset, found.has_intercept, factored=found.factored
            )
        return generalized(
            found.X,
            found.y,
            self.family,
            self.link,
            found.weights,
            found.offset,
            has_intercept=found.has_intercept,
            trials=found.outcome.trials,
        )

    def _estimate_from(self, found: Sample) -> None:
        """Store a fit and the tests that follow from it."""
        self._estimate = fit = self._estimated(found)
        self.estimator = "ML" if not self._linear else "OLS" if found.weights is None else "WLS"
        self.se_type = self._options.se_type
        self.AIC, self.BIC, self.logLike = fit.AIC, fit.BIC, fit.log_likelihood
        explains = isinstance(fit, LinearFit) and np.ptp(found.free) > 0
        self.rsquared, self.rsquared_adj = (fit.rsquared, fit.rsquared_adj) if explains else (np.nan, np.nan)
        self.theta = getattr(fit, "theta", None)
        self._warn(found.notes)
        vcov, df = self._covariance(found, fit)
        tested = asymptotic(fit.b, np.sqrt(np.diag(vcov)), df, self._options.conf_level)
        variances = None if found.groups is None else found.variances
        self._fit = LmFit(
            names=found.names,
            kept=found.kept,
            used=found.used,
            vcov=vcov,
            df_resid=fit.df_resid,
            df=df,
            variances=variances,
            tested=tested,
        )
        self._keep_codings(self._designed[1].codings)
        self._keep_fits(fit.fitted, fit.residuals, found.used)
        self.coefs = self._table(tested.lower, tested.upper, tested.p)
        for text in doubts(found, fit, self._options.kind):
            self._warn([text], ConvergenceWarning if "converge" in text else ModelWarning)

    def _covariance(self, found: Sample, fit: LinearFit | GeneralizedFit) -> tuple[np.ndarray, Any]:
        """Return the covariance of the coefficients, and the df of their tests."""
        options, kind = self._options, self._options.kind
        if self._linear and (fit.df_resid == 0 or np.ptp(found.free) == 0):
            return np.full((len(fit.b), len(fit.b)), np.nan), float(fit.df_resid)
        vcov = sandwich.covariance(fit, found.X, kind, found.clusters, options.n_lags)
        df = sandwich.df_of(kind, fit, found.clusters)
        if self._asymptotic:
            return vcov, np.inf
        if found.groups is not None and options.wls_dof_correction and kind == "iid":
            return vcov, sandwich.welch_df(found.X, found.groups, found.variances)
        return vcov, df

    def _table(self, lower: np.ndarray, upper: np.ndarray, p: np.ndarray) -> pd.DataFrame:
        """Return the coefficient table with these limits and p."""
        found, options = self._fit, self._options
        values = {"estimate": self._estimate.b, "lower": lower, "upper": upper, "se": found.tested.se}
        df = np.broadcast_to(found.df, p.shape).astype(float)
        values |= {"df": df, "statistic": found.tested.statistic, "p": p}
        fixed = pd.DataFrame(values, index=pd.Index(found.names, dtype=object))
        return tables.mixed_coefs(fixed, options.conf_level, self.family, self.link, options.permute)

    @property
    def design_matrix(self) -> pd.DataFrame | None:
        """The design of the rows used, a column a coefficient, with the user's index; None before `fit()`."""
        if not self.fitted:
            return None
        return self._fit.design_frame(self._designed[1].matrices, self._frame.index)

    def summary(self) -> pd.DataFrame:
        """Print the fit and return the coefficient table, rounded to 3 places.

        Raises:
            NotFittedError: before `fit()`.
        """
        self._require_fit("summary()")
        ranked = self._ranked(self._designed[1].variables)
        print(summaries.linear_summary(self, self._options.conf_level, self._estimate, ranked))
        return tables.rounded(self.coefs)

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
