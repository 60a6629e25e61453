"""Linear hypotheses about the coefficients of an `Lm`, and the coefficients as correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.data.columns import real_array
from pymer4.errors import OptionError, also_spelled, one_of, shown, truth
from pymer4.fit.correlations import Kind, correlations, principal_axes
from pymer4.fit.sandwich import welch_df
from pymer4.infer.compare import Likelihood
from pymer4.models.lm_state import LmState


class LmTests(LmState):
    """The testing methods of `Lm`."""

    def test(self, constraints: str | Sequence[str] | Mapping[Any, float] | tuple[Any, Any]) -> pd.DataFrame:
        """Test linear hypotheses about the coefficients, all at once.

        The statistic is Wald's, (L b − c)' (L V L')⁻¹ (L b − c) with the covariance V of the fit, robust or not: over
        the number of hypotheses it is F with the df of the fit, and for binomial, poisson and nbinom models it is
        chi-square. After Satterthwaite's df for each coefficient, those of the test are Fai and Cornelius' (1996,
        Journal of Statistical Computation and Simulation 54); where principal variances tie, their axes are those of
        `linalg.principal_axes`.

        Args:
            constraints: what is held to be true, in patsy's language: `"a = b"`, `"a - b = 0, x = 2"`, `["a", "b"]`
                (both zero), `{"a": 1}`, or a pair of L and c.

        Returns:
            One row, indexed by the hypotheses: NumDF, DenomDF, F-stat (or Chisq, Df), P-val, Sig.

        Raises:
            OptionError: hypotheses that can't be read, that name no coefficient, or that depend on each other.
            NotFittedError: before `fit()`.

        Examples:
            >>> from pymer4 import Lm, load_dataset
            >>> model = Lm("DV ~ IV1", load_dataset("sample_data"))
            >>> _ = model.fit(summarize=False)
            >>> model.test("IV1 = 0.5").round(3)
                       NumDF  DenomDF  F-stat  P-val Sig
            IV1 = 0.5    1.0    562.0   6.563  0.011   *
        """
        from scipy.special import betainc, gammaincc

        self._require_fit("test()")
        L, c, told = self._hypotheses(constraints)
        left = L @ self._estimate.b - c
        middle = L @ self._fit.vcov @ L.T
        q = len(L)
        if not (np.isfinite(L).all() and np.isfinite(c).all()):
            raise OptionError(f"The hypotheses {told!r} hold numbers that are missing or infinite.")
        if np.linalg.matrix_rank(L) < q:
            raise OptionError(f"The hypotheses {told!r} depend on each other. Leave out those that follow from others.")
        chisq = float(left @ np.linalg.solve(middle, left))
        found = {"df1": [q], "chisq": [chisq], "f": [chisq / q]}
        if self._asymptotic:
            found["p"] = [float(gammaincc(q / 2, chisq / 2))]
        else:
            df = self._df_of(L, middle)
            found |= {"df2": [df], "p": [float(betainc(df / 2, q / 2, df / (df + chisq)))]}
        values = {name: np.array(value, dtype=float) for name, value in found.items()}
        return tables.joint_table({"terms": [told], "labels": None, "values": values}, not self._asymptotic)

    def _hypotheses(self, constraints: Any) -> tuple[np.ndarray, np.ndarray, str]:
        """Return L, c and what they are called."""
        import patsy

        names = list(self._fit.names)
        if isinstance(constraints, tuple) and any(
            not isinstance(part, str) and real_array(part) is None for part in constraints
        ):
            raise OptionError(f"The hypotheses {shown(constraints)} are none: L and c have to hold numbers.")
        if isinstance(constraints, Mapping) and any(real_array(value) is None for value in constraints.values()):
            raise OptionError(f"The hypotheses {shown(constraints)} are none: a coefficient has to be one number.")
        try:
            with np.errstate(divide="ignore", invalid="ignore"):
                found = patsy.DesignInfo(names).linear_constraint(constraints)
        except (patsy.PatsyError, ValueError, TypeError, LookupError, OverflowError) as error:
            raise OptionError(f"{error}\nThe coefficients are: {', '.join(names)}.") from error
        if isinstance(constraints, str):
            told = constraints
        elif isinstance(constraints, Mapping):
            told = ", ".join(f"{name} = {value:g}" for name, value in constraints.items())
        elif isinstance(constraints, (list, tuple)) and all(isinstance(part, str) for part in constraints):
            told = ", ".join(constraints)
        else:
            told = "hypotheses"
        return found.coefs, found.constants[:, 0], told

    def _df_of(self, L: np.ndarray, middle: np.ndarray) -> float:
        """Return the denominator df of a test."""
        df = self._fit.df
        if not np.ndim(df):
            return float(df)
        found = self._sample()
        each = welch_df(found.X, found.groups, found.variances, principal_axes(middle).T @ L)
        if len(each) == 1:
            return float(each[0])
        expected = float((each / (each - 2))[each > 2].sum())
        return 2 * expected / (expected - len(L)) if expected > len(L) else 0.0

    @also_spelled(ztrans_partial_corrs="ztrans_corrs")
    def to_corrs(self, corr_type: Kind = "semi", ztrans_corrs: bool = False) -> pd.Series:
        """Return the coefficients, the intercept left out, on the scale of correlations with the outcome.

        Inference stays that of the coefficients.

        Args:
            corr_type: `"semi"`: each predictor less what the others explain of it, with the outcome as it is; r² is the
                drop in R² without it. `"partial"`: the outcome, too, less what the others explain of it.
            ztrans_corrs: return Fisher's z, arctanh(r).

        Returns:
            One value a coefficient.

        Raises:
            OptionError: no such type, or a generalized model.
            NotFittedError: before `fit()`.

        Examples:
            >>> from pymer4 import Lm, load_dataset
            >>> model = Lm("DV ~ IV1", load_dataset("sample_data"))
            >>> _ = model.fit(summarize=False)
            >>> model.to_corrs().round(3).to_dict()
            {'IV1': 0.18}
        """
        self._require_fit("to_corrs()")
        one_of("corr_type", corr_type, ("semi", "partial"))
        fisher = truth("ztrans_corrs", ztrans_corrs)
        if not self._linear:
            raise OptionError(
                f"to_corrs() is for linear models; this one has family {self.family!r} and link {self.link!r}."
            )
        fit, offset = self._estimate, self._sample().offset
        weights = np.ones(len(fit.residuals)) if fit.weights is None else fit.weights
        y = fit.fitted + fit.residuals - (0.0 if offset is None else offset)
        center = np.average(y, weights=weights) if self._terms.has_intercept else 0.0
        r = correlations(
            corr_type, fit.b, np.diag(fit.unscaled), weights @ fit.residuals**2, weights @ (y - center) ** 2, fisher
        )
        if np.ptp(y) == 0:
            r = np.full(len(r), np.nan)
        found = pd.Series(r, index=pd.Index(self._fit.names, dtype=object))
        return found.iloc[int(self._terms.has_intercept) :]

    def _likelihood(self, refit: bool) -> Likelihood:
        """Return what a comparison needs of this model, whose likelihood is no restricted one."""
        fit, found, rows = self._estimate, self._sample(), len(self._estimate.fitted)
        return Likelihood(
            formula=self.formula,
            family=self.family,
            link=self.link,
            n_parameters=len(fit.b) + 1 if self._linear else fit.n_parameters,
            log_likelihood=fit.log_likelihood,
            AIC=fit.AIC,
            BIC=fit.BIC,
            robust="" if self._options.kind == "iid" else self._options.kind,
            own_weights=found.groups is not None,
            fixed=found.names,
            design=lambda: found.X,
            outcome=found.y,
            weights=np.ones(rows) if found.weights is None else found.weights,
            offset=np.zeros(rows) if found.offset is None else found.offset,
            used=found.used,
            labels=self._frame.index,
        )
