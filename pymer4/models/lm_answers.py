"""What a fitted `Lm` answers: predictions, tests of hypotheses, coefficients as correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.data.columns import places, real_array
from pymer4.data.frames import plain
from pymer4.data.intake import group_codes
from pymer4.errors import (
    DataError,
    ModelWarning,
    OptionError,
    also_spelled,
    issue,
    one_of,
    shown,
    tells_keywords,
    truth,
)
from pymer4.fit.correlations import Kind, correlations
from pymer4.fit.sandwich import welch_df
from pymer4.infer.asymptotic import joint_df
from pymer4.infer.compare import Likelihood
from pymer4.infer.targets import Question, Target
from pymer4.models.base import Interval, spread
from pymer4.models.lm_inference import LmInference


class LmAnswers(LmInference):
    """The methods of `Lm` that ask a fit."""

    @tells_keywords()
    def predict(
        self,
        data: Any,
        *,
        pred_type: Literal["response", "link"] = "response",
        interval: Interval | None = None,
        conf_level: float | None = None,
        skip_data_checks: bool = False,
        verify_predictions: bool = False,
    ) -> np.ndarray | pd.DataFrame:
        """Predict the outcome of rows old or new.

        Means, knots, levels and codings are those of the fit. After `fit(rank=True)` values are put on the ranks of the
        data, between them by interpolation, and predictions are ranks.

        A confidence interval is about the mean of a row, x b, with variance x V x', V being the covariance of the fit
        (a robust one too); a prediction interval is about one new outcome and adds sigma² / w. Limits are by t, or z,
        with the df of the fit, on the link scale, and carried over to the response. w is the weight of the fit where
        `data` are its rows, else that of a column named in `fit(weights=)`, else 1, with R's warning.

        Args:
            data: the raw predictors, any number of rows, in a frame of any kind; the column of the offset too, where
                there is one.
            pred_type: scale of the outcome; both are one for a linear model.
            interval: `"confidence"` or, for linear models, `"prediction"`; None for no limits.
            conf_level: level of the limits, by default the fit's.
            skip_data_checks: accepted for old code.
            verify_predictions: accepted for old code.

        Returns:
            Predictions, shape (rows,), NaN where a predictor is missing. With `interval` a frame of Estimate, SE and
            the two limits with the index of `data`; SE is that of the mean, or of the new outcome.

        Raises:
            DataError: a column is not there, is of another kind, or has a level that the fit has not seen.
            OptionError: an argument out of its range.
            FormulaError: a function of a whole column, such as `x.rank()`, that the fit does not tell for a new row.
            NotFittedError: before `fit()`.

        Examples:
            >>> import pandas as pd
            >>> from pymer4 import Lm, load_dataset
            >>> model = Lm("DV ~ IV1", load_dataset("sample_data"))
            >>> _ = model.fit(summarize=False)
            >>> model.predict(pd.DataFrame({"IV1": [10.0, None]})).round(2)
            array([39.53,   nan])
        """
        self._require_fit("predict()")
        one_of("pred_type", pred_type, ("response", "link"))
        one_of("interval", interval, (None, *get_args(Interval)))
        level = self._level(conf_level)
        if interval is None and conf_level is not None:
            issue(f"conf_level={conf_level!r} has no effect without interval=", ModelWarning)
        if interval == "prediction" and not self._linear:
            raise OptionError(
                f"interval='prediction' is for linear models; this one has family {self.family!r} and link "
                f"{self.link!r}. Use interval='confidence'."
            )
        response = pred_type == "response" and not self._linear
        data = self._new_rows(data, self._offset, self._options.weights)
        X, offset = self._design.matrix(data)[:, self._fit.kept], self._offset_values(data)
        target = Target(X, self.link if response else "identity", 0.0 if offset is None else offset)
        eta = target.estimates(self._estimate.b)
        self._keep_asked("predictions", [Question("predictions", target, rows=data.index)])
        if interval is None:
            return target.shown(eta)
        variance = target.variances(self._fit.vcov)
        groups = self._groups_of(data) if interval == "prediction" and self._fit.variances is not None else None
        varying = bool(np.ndim(self._fit.df))
        df = self._welch_df(target.L, groups, variance) if varying else self._fit.df
        if interval == "prediction":
            variance = variance + self._new_variance(data, groups)
        columns = target.table(eta, np.sqrt(variance), df, level)
        attrs = {"interval": interval, "conf_level": level, "ddf": self._ddf}
        attrs |= {"scale": "link" if pred_type == "link" and not self._linear else "response"}
        return tables.prediction_table(columns, level, data.index, attrs)

    @property
    def _ddf(self) -> str:
        return "Satterthwaite" if np.ndim(self._fit.df) else super()._ddf

    def _new_variance(self, data: pd.DataFrame, groups: np.ndarray | None) -> np.ndarray | float:
        """Return the variance of a new outcome about its mean, one a row."""
        sigma2 = self._estimate.sigma**2
        if self._estimate.weights is None:
            return sigma2
        if groups is not None:
            return sigma2 * np.append(self._fit.variances, np.nan)[groups]
        used = self._fit.used
        if len(data) == len(self._frame) and self._is_own(data):
            return sigma2 / spread(self._estimate.weights, used)
        issue("Assuming constant prediction variance even though model fit is weighted", ModelWarning)
        return sigma2

    def _groups_of(self, data: pd.DataFrame) -> np.ndarray:
        """Return the position of each row's group among the variances of the fit, −1 where it is missing."""
        name = self._options.weights
        own, names = group_codes("weights", name, self._frame)
        known = [names[code] for code in np.unique(own[self._fit.used])]
        if name not in data.columns:
            raise DataError(
                f"A prediction interval needs the column {name!r}, whose values have a variance each in this fit."
            )
        codes, found = group_codes("weights", name, data)
        among = places(found, known)
        unseen = [level for level, place in zip(found, among, strict=True) if place < 0]
        if unseen:
            raise DataError(
                f"Column {name!r} has the value(s) {', '.join(map(repr, unseen[:8]))}, whose variance the fit has not "
                f"seen. It knows: {', '.join(map(repr, known[:12]))}."
            )
        return np.array([*among, -1])[codes]

    def _is_own(self, data: pd.DataFrame) -> bool:
        """Whether new data are the rows of the fit."""
        columns = self._design.predictors
        return data.index.equals(self._frame.index) and data[columns].equals(self._frame[columns])

    def _welch_df(self, X: np.ndarray, of_groups: np.ndarray | None, variance: np.ndarray) -> np.ndarray:
        """Return the df of X b, or of new outcomes in `of_groups`, after a fit with a variance a group, shape (rows,).

        The variance of a new outcome is that of its mean and that of its group, which has n − 1 df; the df of the
        sum are Satterthwaite's (1946, Biometrics Bulletin 2).
        """
        found = self._sample()
        df = welch_df(found.X, found.groups, found.variances, X)
        if of_groups is None:
            return df
        own, sizes = self._estimate.sigma**2 * found.variances, np.bincount(found.groups)
        new, left = (np.append(values, np.nan)[of_groups] for values in (own, sizes - 1.0))
        return (variance + new) ** 2 / (variance**2 / df + new**2 / left)

    def test(self, constraints: str | Sequence[str] | Mapping[Any, float] | tuple[Any, Any]) -> pd.DataFrame:
        """Test linear hypotheses about the coefficients, all at once.

        The statistic is Wald's, (L b − c)' (L V L')⁻¹ (L b − c) with the covariance V of the fit, robust or not: over
        the number of hypotheses it is F with the df of the fit, and for binomial, poisson and nbinom models it is
        chi-square. After Satterthwaite's df for each coefficient, those of the test are Fai and Cornelius' (1996,
        Journal of Statistical Computation and Simulation 54).

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
            df = joint_df(self._errors(self._by_default()).df_of, L, middle)
            found |= {"df2": [df], "p": [float(betainc(df / 2, q / 2, df / (df + chisq)))]}
        values = {name: np.array(value, dtype=float) for name, value in found.items()}
        return tables.joint_table({"terms": [told], "labels": None, "values": values}, not self._asymptotic)

    def _hypotheses(self, constraints: Any) -> tuple[np.ndarray, np.ndarray, str]:
        """Return L, c and what they are called."""
        import patsy

        names = list(self._fit.names)
        constraints = tuple(map(plain, constraints)) if isinstance(constraints, tuple) else plain(constraints)
        if isinstance(constraints, tuple) and any(
            not isinstance(part, str) and real_array(part) is None for part in constraints
        ):
            raise OptionError(f"The hypotheses {shown(constraints)} are none: L and c have to hold numbers.")
        if isinstance(constraints, Mapping) and any(real_array(value) is None for value in constraints.values()):
            raise OptionError(f"The hypotheses {shown(constraints)} are none: a coefficient has to be one number.")
        if isinstance(constraints, (np.ndarray, pd.Series, pd.DataFrame)) and real_array(constraints) is None:
            raise OptionError("The hypotheses are none: an array of them has to hold numbers.")
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
        fit, offset = self._estimate, self._offset_values()
        weights = np.ones(len(fit.residuals)) if fit.weights is None else fit.weights
        y = fit.fitted + fit.residuals - (0.0 if offset is None else offset[self._fit.used])
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
