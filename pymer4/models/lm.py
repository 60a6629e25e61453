"""Linear and generalized linear models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, get_args

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.data import intake
from pymer4.data.design import Design
from pymer4.data.families import NATIVE_LINKS, Family, check_family
from pymer4.data.robust import se_type
from pymer4.data.sample import Sample, doubts, row_values, sample
from pymer4.data.terms import parse
from pymer4.errors import ConvergenceWarning, ModelWarning, OptionError, one_of, summary_wanted, truth
from pymer4.fit import sandwich
from pymer4.fit.glm import GeneralizedFit, generalized
from pymer4.fit.linear import LinearFit, least_squares
from pymer4.infer.asymptotic import asymptotic
from pymer4.models import summaries
from pymer4.models.lm_plots import LmPlots
from pymer4.models.lm_predict import LmPredictions
from pymer4.models.lm_resample import LmResampling, Scheme
from pymer4.models.lm_state import LmState
from pymer4.models.lm_tests import LmTests
from pymer4.models.native import Method, NativeModel, cluster_of
from pymer4.work import Seed

_WELCH = "the name of a column in weights= and plain standard errors"


class Lm(LmState, LmPredictions, LmTests, LmResampling, LmPlots, NativeModel):
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
        self._offset = deepcopy(intake.per_row("offset", offset, self._frame))

    def __repr__(self) -> str:
        """Return formula, family and state."""
        state = "fitted" if self.fitted else "not fitted"
        return f"{type(self).__name__}({self.formula!r}, family={self.family!r}): {len(self._frame)} rows, {state}"

    def _forget(self) -> None:
        super()._forget()
        self.estimator: str | None = None
        self.theta: float | None = None
        self._estimate: LinearFit | GeneralizedFit | None = None

    def fit(
        self,
        robust: bool | str = False,
        conf_int: Method = "standard",
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
        settings = {name: value for name, value in locals().items() if name not in ("self", "kwargs", "__class__")}
        show = summary_wanted(kwargs, Lm.fit)
        settings = self._checked(settings)
        draft = self._draft()
        draft._settings = settings
        found = draft._sample(settings)
        if settings["verbose"]:
            print(draft._told(found))
        draft._keep(found, draft._estimated(found))
        draft._warn_of_idle(
            Lm.fit,
            settings,
            scheme=(bool(settings["permute"]), "permute="),
            wls_dof_correction=(found.groups is not None and settings["kind"] == "iid", _WELCH),
        )
        if settings["conf_int"] == "boot" or settings["permute"]:
            draft._resample(found)
        draft.fitted = True
        self._become(draft)
        return self.summary() if show else None

    def _checked(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a fit, checked and in plain form."""
        self._checked_arguments(given, "hc1")
        one_of("scheme", given["scheme"], get_args(Scheme))
        given["wls_dof_correction"] = truth("wls_dof_correction", given["wls_dof_correction"])
        given["weights"] = deepcopy(given["weights"])
        if given["scheme"] != "raw" and not self._linear:
            raise OptionError(
                "scheme='freedman-lane' shuffles residuals, which is defined for linear models. Use scheme='raw'."
            )
        return given

    @property
    def _asymptotic(self) -> bool:
        """Whether statistics are z."""
        return self.family in ("binomial", "poisson", "nbinom")

    def _sample(self, given: Mapping[str, Any]) -> Sample:
        """Return what a fit with these settings is made from."""
        rows = row_values(self._frame, given["weights"], self._offset_values(), cluster_of(given), self._linear)
        design = self._design(given, rows.missing if rows.missing.any() else None)
        return sample(design, rows, self.family, self.link)

    def _design(self, given: Mapping[str, Any], missing: np.ndarray | None) -> Design:
        """Return the design for these settings, the one at hand where it fits."""
        left_out = None if missing is None else missing.tobytes()
        key = (repr(given["factors"]), given["ordered"], given["rank"], left_out)
        if self._designed is None or self._designed[0] != key:
            design = Design(
                self._terms,
                self._frame,
                self._scope,
                factors=given["factors"],
                ordered=given["ordered"],
                rank=given["rank"],
                missing=missing,
            )
            self._designed = (key, design)
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

    def _keep(self, found: Sample, fit: LinearFit | GeneralizedFit) -> None:
        """Store a fit and the inference from it."""
        given = self._settings
        self._estimate = fit
        self.estimator = "ML" if not self._linear else "OLS" if found.weights is None else "WLS"
        self.se_type, self.ci_type, self.sig_type = se_type(given["kind"]), "standard", "parametric"
        self.AIC, self.BIC, self.logLike = fit.AIC, fit.BIC, fit.log_likelihood
        explains = isinstance(fit, LinearFit) and np.ptp(found.free) > 0
        self.rsquared, self.rsquared_adj = (fit.rsquared, fit.rsquared_adj) if explains else (np.nan, np.nan)
        self.theta = getattr(fit, "theta", None)
        self.factors, self.ranked_data = given["factors"], given["rank"]
        self._warn(found.notes, ModelWarning, False)
        vcov, df = self._covariance(found, fit)
        tested = asymptotic(fit.b, np.sqrt(np.diag(vcov)), df, given["level"])
        self._facts = {
            "names": found.names,
            "kept": found.kept,
            "used": found.used,
            "vcov": vcov,
            "df": df,
            "variances": None if found.groups is None else found.variances,
            "df_resid": fit.df_resid,
            "inference": tested,
        }
        coded = self._designed[1].codings
        self.contrast_codes = {name: how.matrix for name, how in coded.items()} or None
        self._keep_fits(fit.fitted, fit.residuals, found.used, False)
        self.coefs = self._table(tested.lower, tested.upper, tested.p)
        for text in doubts(found, fit, given["kind"]):
            self._warn([text], ConvergenceWarning if "converge" in text else ModelWarning, False)

    def _covariance(self, found: Sample, fit: LinearFit | GeneralizedFit) -> tuple[np.ndarray, Any]:
        """Return the covariance of the coefficients, and the df of their tests."""
        given = self._settings
        if self._linear and (fit.df_resid == 0 or np.ptp(found.free) == 0):
            return np.full((len(fit.b), len(fit.b)), np.nan), float(fit.df_resid)
        kind = given["kind"]
        vcov = sandwich.covariance(fit, found.X, kind, found.clusters, given["n_lags"])
        df = sandwich.df_of(kind, fit, found.clusters)
        if self._asymptotic:
            return vcov, np.inf
        if found.groups is not None and given["wls_dof_correction"] and kind == "iid":
            return vcov, sandwich.welch_df(found.X, found.groups, found.variances)
        return vcov, df

    def _table(self, lower: np.ndarray, upper: np.ndarray, p: np.ndarray) -> pd.DataFrame:
        """Return the coefficient table with these limits and p."""
        tested, given = self._facts["inference"], self._settings
        values = {"estimate": self._estimate.b, "lower": lower, "upper": upper, "se": tested.se}
        df = np.broadcast_to(self._facts["df"], p.shape).astype(float)
        values |= {"df": df, "statistic": tested.statistic, "p": p}
        index = pd.Index(self._facts["names"], dtype=object)
        fixed = pd.DataFrame(values, index=index)
        return tables.mixed_coefs(fixed, given["level"], self.family, self.link, given["permute"])

    @property
    def design_matrix(self) -> pd.DataFrame | None:
        """The design of the rows used, a column a coefficient, with the user's index; None before `fit()`."""
        if not self.fitted:
            return None
        used, facts = self._designed[1].matrices, self._facts
        rows = facts["used"][used.used]
        return pd.DataFrame(
            used.X[rows][:, facts["kept"]],
            index=self._frame.index[facts["used"]],
            columns=pd.Index(facts["names"], dtype=object),
        )

    def summary(self) -> pd.DataFrame:
        """Print the fit and return the coefficient table, rounded to 3 places.

        Raises:
            NotFittedError: before `fit()`.
        """
        self._require_fit("summary()")
        ranked = self._ranked(self._designed[1].variables)
        print(summaries.linear_summary(self, self._settings["level"], self._estimate, ranked))
        return tables.rounded(self.coefs)

    def _told(self, found: Sample) -> str:
        given = self._settings
        p = f"{given['permute']} permutations" if given["permute"] else given["conf_int"]
        return (
            f"Fitting {self.formula} ({self.family}, {self.link}) to {len(found.y)} rows; standard errors "
            f"{se_type(given['kind'])}, {100 * given['level']:g}% {given['conf_int']} limits, p: {p}"
        )
