"""Predictions of a fitted `Lm2`."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from pymer4.data.columns import level_name, places
from pymer4.errors import DataError, OptionError, one_of
from pymer4.fit.distributions import link_function

_LISTED = 8


class Lm2Predictions:
    """What `Lm2` answers by group."""

    def predict(
        self,
        data: pd.DataFrame,
        *,
        pred_type: Literal["response", "link"] = "response",
        skip_data_checks: bool = False,
        verify_predictions: bool = False,
    ) -> np.ndarray:
        """Predict the outcome of rows old or new, each by the regression of its group.

        Args:
            data: the raw predictors and the grouping columns, any number of rows.
            pred_type: scale of the outcome; both are one for a linear model.
            skip_data_checks: accepted for old code.
            verify_predictions: accepted for old code.

        Returns:
            Predictions, shape (rows,), NaN where a value is missing or the group has no regression.

        Raises:
            DataError: a column is not there, or a group or level is not known.
            OptionError: after `fit(rank=True)`, since a new row has no rank in its group.
            FormulaError: a function of a whole column, such as `x.rank()`, that the fit does not tell for a new row.
            NotFittedError: before `fit()`.

        Examples:
            >>> import pandas as pd
            >>> from pymer4.models import Lm2
            >>> x = [0.0, 1.0, 2.0] * 2
            >>> model = Lm2("y ~ x", pd.DataFrame({"y": [1.0, 2, 3, 5, 4, 3], "x": x, "g": list("aaabbb")}), group="g")
            >>> _ = model.fit(summarize=False)
            >>> model.predict(pd.DataFrame({"x": [3.0, 3.0], "g": ["a", "b"]})).round(2)
            array([4., 2.])
        """
        self._require_fit("predict()")
        one_of("pred_type", pred_type, ("response", "link"))
        if self.ranked_data:
            raise OptionError(
                "After fit(rank=True) new rows have no rank in their group. Fit with rank=False to predict."
            )
        X = self._design.matrix(data)[:, self._fit.kept]
        group = self._group_of(data)
        b = np.vstack([self._fit.b.to_numpy(), np.full(X.shape[1], np.nan)])
        eta = np.einsum("ij,ij->i", X, b[group])
        return link_function(self.link).inverse(eta) if pred_type == "response" and not self._linear else eta

    def _group_of(self, data: pd.DataFrame) -> np.ndarray:
        """Return the position of each row's group, −1 where it is missing, shape (rows,)."""
        lacking = [name for name in self._levels if name not in data.columns]
        if lacking:
            raise DataError(f"predict() needs the column(s) {', '.join(map(repr, lacking))}, to know the rows' groups.")
        known = self._fit.b.index
        given = data[self._levels]
        given = pd.concat(
            [_alike(given[name], known.get_level_values(i)) for i, name in enumerate(self._levels)], axis=1
        )
        missing = given.isna().any(axis=1).to_numpy()
        keys = (
            pd.MultiIndex.from_frame(given.astype(object)) if len(self._levels) > 1 else given.iloc[:, 0].astype(object)
        )
        found = pd.Index(known.to_flat_index() if len(self._levels) > 1 else known, dtype=object).get_indexer(
            keys.to_flat_index() if len(self._levels) > 1 else keys
        )
        unseen = list(dict.fromkeys(pd.Index(keys)[(found < 0) & ~missing]))
        if unseen:
            more = f" and {len(unseen) - _LISTED} more" if len(unseen) > _LISTED else ""
            raise DataError(
                f"The model was not fitted to the group(s) {', '.join(map(str, unseen[:_LISTED]))}{more} of "
                f"{' and '.join(map(repr, self._levels))}, and has no regression for them. Drop these rows, or "
                "fit a model for the population, such as an Lmer."
            )
        return np.where(missing, -1, found)

    @property
    def design_matrix(self) -> pd.DataFrame | None:
        """The design of the rows used, a column a coefficient, with the user's index; None before `fit()`."""
        if not self.fitted:
            return None
        return self._fit.design_frame(self._design.matrices, self._frame.index)


def _alike(given: pd.Series, known: pd.Index) -> pd.Series:
    """Return labels of groups as the fit has them, which are one number however it is written."""
    labels, known = list(given.dropna().unique()), list(known.unique())
    as_numbers = not all(isinstance(label, str) for label in [*labels, *known])
    found = places(map(level_name, labels), list(map(level_name, known)), as_numbers)
    alike = {label: known[place] for label, place in zip(labels, found, strict=True) if place >= 0}
    return given.astype(object).map(lambda label: alike.get(label, label))
