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
from pymer4.fit.glm import GeneralizedFit, generalized
from pymer4.fit.linear import LinearFit, least_squares
from pymer4.infer.asymptotic import asymptotic
from pymer4.models.base import spread
from pymer4.models.native import LmFit, NativeModel
from pymer4.models.options import LmOptions


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
        return self._estimate.sigma**2 if self._linear else self._estimate.dispersion, self.theta

    def _estimate_anew(self) -> Any:
        return self._estimated(self._sample()) if self.fitted else None

    _ANEW: ClassVar[Mapping[str, Callable[[Any], Any]]] = {**NativeModel._ANEW, "_estimate": _estimate_anew}
