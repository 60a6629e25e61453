"""What an `Lm` is fitted from, its estimates, and the draws that limits and p can come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from pymer4.data.design import Design
from pymer4.data.intake import RowValues, numbers_of, row_values
from pymer4.data.sample import Sample, doubts
from pymer4.errors import ConvergenceWarning, DataError, ModelWarning
from pymer4.fit import sandwich
from pymer4.fit.basis import Basis
from pymer4.fit.glm import GeneralizedFit, generalized
from pymer4.fit.linear import LinearFit, least_squares
from pymer4.infer import replicates
from pymer4.infer.asymptotic import asymptotic
from pymer4.infer.draws import from_null
from pymer4.infer.resample import MOST_KEPT, kept, untestable
from pymer4.models.base import spread
from pymer4.models.native import LmFit, NativeModel
from pymer4.models.options import LmOptions
from pymer4.work import Note, progress, told_rows


class LmState(NativeModel):
    """What the parts of an `Lm` know of it.

    Bootstrap draws are rows with their weights and offsets, or whole clusters (Cameron, Gelbach & Miller 2008, Review
    of Economics and Statistics 90). Weights from a column are those of the data, in every draw.
    """

    estimator: str | None
    theta: float | None
    _options: LmOptions
    _fit: LmFit
    _offset: str | np.ndarray | None
    _estimate: Any
    """The fit as `least_squares` or `generalized` returned it."""

    def _forget(self) -> None:
        super()._forget()
        self.estimator = self.theta = self._estimate = None

    @property
    def _asymptotic(self) -> bool:
        """Whether statistics are z."""
        return self.family in ("binomial", "poisson", "nbinom")

    def _row_values(self) -> RowValues:
        options = self._options
        return row_values(self._frame, options.weights, self._offset_values(), options.clustered_by, self._linear)

    def _learn(self, missing: np.ndarray | None) -> Design:
        return self._design_of(self._frame, missing, self._options.rank)

    def _offset_values(self, data: pd.DataFrame | None = None) -> np.ndarray | None:
        """Return the offset of each row of the user's data, or of new ones."""
        given = self._offset
        frame = self._frame if data is None else data
        if given is None:
            return None
        if isinstance(given, str):
            if given not in frame.columns:
                raise DataError(f"predict() needs the offset's column {given!r}, which the data do not have.")
            return numbers_of("offset", given, frame)
        if len(frame) != len(given):
            raise DataError(
                f"The offset was given as an array of {len(given)} numbers and can't be matched to {len(frame)} rows. "
                "Put it into the data, and give its column's name as offset= when the model is made."
            )
        return given

    def _estimated(self, found: Sample) -> LinearFit | GeneralizedFit:
        if self._linear:
            return least_squares(
                found.X, found.y, found.weights, found.offset, found.has_intercept, factored=found.factored
            )
        known: dict[str, Any] = {"has_intercept": found.has_intercept, "trials": found.trials}
        return generalized(found.X, found.y, *self._law, found.weights, found.offset, **known)

    def _estimate_from(self, found: Sample) -> None:
        self._estimate = fit = self._estimated(found)
        self.estimator = "ML" if not self._linear else "OLS" if found.weights is None else "WLS"
        self.AIC, self.BIC, self.logLike = fit.AIC, fit.BIC, fit.log_likelihood
        self.rsquared = self.rsquared_adj = np.nan
        if isinstance(fit, LinearFit) and np.ptp(found.free) > 0:
            self.rsquared, self.rsquared_adj = fit.rsquared, fit.rsquared_adj
        self.theta = getattr(fit, "theta", None)
        vcov, df = self._covariance(found, fit)
        self._fit = LmFit(
            names=found.names,
            kept=found.kept,
            used=found.used,
            terms=found.names,
            b=fit.b,
            vcov=vcov,
            df_resid=fit.df_resid,
            df=df,
            variances=None if found.groups is None else found.variances,
            tested=asymptotic(fit.b, np.sqrt(np.diag(vcov)), df, self._options.conf_level),
        )
        self._keep(found, fit)
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

    def _prior_weights(self) -> np.ndarray | None:
        weights = self._estimate.weights
        return None if weights is None else spread(weights, self._fit.used)

    def _dispersions(self, *_: object) -> tuple[float, float | None]:
        return getattr(self._estimate, "dispersion", 1.0), self.theta

    # Limits and p from draws.

    def _draws(self, found: Sample, seed: int) -> np.ndarray:
        """Return the coefficients of the fits to rows drawn with replacement, shape (n_boot, p)."""
        options, X, y = self._options, found.X, found.y
        with progress("bootstrap draws", options.n_boot, options.verbose) as advance:
            how: dict[str, Any] = {"weights": found.weights, "clusters": found.clusters, "offset": found.offset}
            how |= {"n_jobs": options.n_jobs, "note": told_rows(advance)}
            if self._linear:
                draws = replicates.bootstrap_linear(X, y, options.n_boot, seed, **how)
            else:
                how["start"] = self._estimate.b
                draws = replicates.bootstrap_generalized(X, y, *self._law, options.n_boot, seed, **how)
        self._warn_of_lost(np.isnan(draws).any(axis=1), "bootstrap draw", "Use conf_int='standard'.")
        return draws

    def _warn_of_lost(self, lost: np.ndarray, what: str, remedy: str) -> None:
        """Tell how many draws have no fit, shape (n,); refuse where none has one."""
        n = len(lost)
        if lost.all():
            why = "a predictor rests on too few rows"
            if not self._linear:
                why += f", or fits run into means that family {self.family!r} does not have with link {self.link!r}"
            raise DataError(f"Not one {what} of {n} could be fitted: {why}. {remedy}")
        if lost.any():
            self._warn([f"{int(lost.sum())} of {n} {what}s could not be fitted and are left out"])

    def _permuted_p(self, found: Sample, seed: int) -> np.ndarray:
        """Return p from shuffles, shape (p,); NaN for what they can't test."""
        fixed = untestable(found.X, found.clusters)
        if fixed.any():
            fixed = self._warn_of_untested(found, fixed)
        with progress("permutations", self._options.permute, self._options.verbose) as advance:
            observed, null = self._statistics(found, seed, told_rows(advance))
        if not np.isnan(observed).all():
            self._warn_of_lost(np.isnan(null).all(axis=1), "shuffled outcome", "Leave permute= out.")
        p = from_null(observed, null)
        return np.where(fixed | np.isnan(observed), np.nan, p)

    def _warn_of_untested(self, found: Sample, fixed: np.ndarray) -> np.ndarray:
        """Return which coefficients have no p, shape (p,), after a warning that says what tests them."""
        names = np.array(found.names, dtype=object)
        lasting = fixed
        if self._linear:
            weights = None if found.groups is not None else found.weights
            lasting = fixed & (kept(found.X, weights, found.clusters) > MOST_KEPT)
        raw = self._options.scheme == "raw"
        untested, able = (fixed, names[fixed & ~lasting]) if raw else (lasting, ())
        where = "where" if found.clusters is None else "within the clusters, where"
        told = [f"No p for {', '.join(names[untested])}: constant, alone or added up, {where} the outcome is shuffled"]
        if raw and self._linear:
            what = f"tests {', '.join(able)}" if len(able) else "can't either"
            told.append(f"scheme='freedman-lane' {what}")
        if lasting.any():
            told.append(f"For {', '.join(names[lasting])} take the p of a fit without permute=")
        if untested.any():
            self._warn([". ".join(told)])
        return untested

    def _statistics(self, found: Sample, seed: int, note: Note) -> tuple[np.ndarray, np.ndarray]:
        """Return the statistics of the data, shape (p,), and those of shuffled outcomes, shape (permute, p)."""
        options, X, y, observed = self._options, found.X, found.y, self._fit.tested.statistic
        of: dict[str, Any] = {"kind": options.kind, "clusters": found.clusters, "n_lags": options.n_lags}
        how = of | {"offset": found.offset, "within": found.clusters, "n_jobs": options.n_jobs, "note": note}
        asked = (options.permute, seed)
        if not self._linear:
            return observed, replicates.permute_generalized(X, y, *self._law, *asked, weights=found.weights, **how)
        how["scheme"] = options.scheme
        if found.groups is None:
            return observed, replicates.permute_linear(X, y, *asked, weights=found.weights, **how)
        # Variances of groups are estimated anew from the residuals of every shuffle, and so are those of the data here.
        observed = replicates.t_statistics(Basis.of(X), found.free[None, :], sandwich.Meat.of(**of), found.groups)[0][0]
        return observed, replicates.permute_linear(X, y, *asked, groups=found.groups, **how)

    def _estimate_anew(self) -> Any:
        return self._estimated(self._sample()) if self.fitted else None

    _ANEW: ClassVar[Mapping[str, Callable[[Any], Any]]] = {**NativeModel._ANEW, "_estimate": _estimate_anew}
