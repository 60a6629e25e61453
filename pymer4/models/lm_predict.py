"""Predictions of a fitted `Lm`."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.data.columns import places
from pymer4.data.intake import group_codes
from pymer4.errors import DataError, ModelWarning, OptionError, confidence_level, issue, one_of
from pymer4.fit.sandwich import welch_df
from pymer4.infer.asymptotic import asymptotic
from pymer4.infer.targets import Target
from pymer4.models.base import spread
from pymer4.models.lm_state import LmState

Interval = Literal["confidence", "prediction"]


class LmPredictions(LmState):
    """The predicting methods of `Lm`."""

    def predict(
        self,
        data: pd.DataFrame,
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
            data: the raw predictors, any number of rows; the column of the offset too, where there is one.
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
        level = self._options.conf_level if conf_level is None else confidence_level(conf_level)
        if interval is None and conf_level is not None:
            issue(f"conf_level={conf_level!r} has no effect without interval=", ModelWarning)
        if interval == "prediction" and not self._linear:
            raise OptionError(
                f"interval='prediction' is for linear models; this one has family {self.family!r} and link "
                f"{self.link!r}. Use interval='confidence'."
            )
        response = pred_type == "response" and not self._linear
        X, offset = self._design.matrix(data)[:, self._fit.kept], self._offset_values(data)
        target = Target(X, self.link if response else "identity", 0.0 if offset is None else offset)
        eta = target.estimates(self._estimate.b)
        if interval is None:
            return target.shown(eta)
        variance = target.variances(self._fit.vcov)
        groups = self._groups_of(data) if interval == "prediction" and self._fit.variances is not None else None
        varying = bool(np.ndim(self._fit.df))
        df = self._welch_df(target.L, groups, variance) if varying else self._fit.df
        if interval == "prediction":
            variance = variance + self._new_variance(data, groups)
        found = target.inferred(eta, asymptotic(eta, np.sqrt(variance), df, level))
        attrs = {"interval": interval, "conf_level": level, "ddf": "asymptotic" if self._asymptotic else "residual"}
        attrs |= {"scale": "link" if pred_type == "link" and not self._linear else "response"}
        if varying:
            attrs["ddf"] = "Satterthwaite"
        shown = (target.shown(eta), found.se, found.lower, found.upper)
        return tables.prediction_table(shown, level, data.index, attrs)

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
