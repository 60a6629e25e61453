"""The models as estimators of scikit-learn, by their formulas, for its cross-validation, pipelines and searches.

The module imports scikit-learn, which `pip install "pymer4[sklearn]"` brings; no other does. An estimator takes a
data frame, whose columns its formula names; the outcome is among them, or given as `y`, as it mostly is there.
Predictions and scores are of the outcome as the formula has it, so its left side is one column: what is to be
transformed is transformed before, or by `sklearn.compose.TransformedTargetRegressor`. What formulas of `Lm` and `Lm2`
take from the calling code is not at hand where scikit-learn calls; they have patsy's own functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.families import Family
from pymer4.estimators.base import Classifier, FormulaEstimator, Regressor, column
from pymer4.models.lm import Lm
from pymer4.models.lm2 import Lm2
from pymer4.models.lmer import Lmer

__all__ = ["Lm2Classifier", "Lm2Regressor", "LmClassifier", "LmRegressor", "LmerClassifier", "LmerRegressor"]


class _OfLm(FormulaEstimator):
    """What both estimators of an `Lm` do."""

    def _made(self, frame: pd.DataFrame) -> tuple[Lm, Mapping[str, Any]]:
        model = Lm(self.formula, frame, self.family, link=self.link, offset=self.offset)
        if self.weights is None:
            return model, {}
        return model, {"weights": column(frame, "weights", self.weights)}


class LmRegressor(_OfLm, Regressor):
    """A regression, `Lm`, as a regressor of scikit-learn.

    Args:
        formula: a patsy formula whose left side is one column.
        family: error distribution, as in `Lm`.
        link: its link, by default R's.
        weights: the column of prior weights, 1 / variance.
        offset: the column of a known part of the linear predictor.
        fit_options: other arguments of `Lm.fit()`, a dict.

    Attributes:
        model_: the fitted `Lm`.
        feature_names_in_: columns of X, the outcome apart.

    Examples:
        >>> from pymer4 import load_dataset
        >>> from sklearn.model_selection import cross_val_score
        >>> data = load_dataset("sample_data")
        >>> cross_val_score(LmRegressor("DV ~ IV1 + IV3"), data, data["DV"], cv=3).round(2)
        array([0.01, 0.02, 0.08])
    """

    def __init__(
        self,
        formula: str,
        *,
        family: Family = "gaussian",
        link: str | None = None,
        weights: str | None = None,
        offset: str | None = None,
        fit_options: Mapping[str, Any] | None = None,
    ):
        self.formula, self.family, self.link = formula, family, link
        self.weights, self.offset, self.fit_options = weights, offset, fit_options


class LmClassifier(_OfLm, Classifier):
    """A binomial regression, `Lm`, as a classifier of scikit-learn; arguments as in `LmRegressor`.

    Attributes:
        model_: the fitted `Lm`.
        classes_: both classes, sorted; the model is of the second.
        feature_names_in_: columns of X, the outcome apart.

    Examples:
        >>> from pymer4 import load_dataset
        >>> data = load_dataset("sample_data")
        >>> model = LmClassifier("DV_l ~ IV1").fit(data.drop(columns="DV_l"), data["DV_l"].map({0: "no", 1: "yes"}))
        >>> model.predict(data.head(2)), model.classes_
        (array(['no', 'no'], dtype=object), array(['no', 'yes'], dtype=object))
    """

    def __init__(
        self,
        formula: str,
        *,
        link: str | None = None,
        weights: str | None = None,
        offset: str | None = None,
        fit_options: Mapping[str, Any] | None = None,
    ):
        self.formula, self.link, self.fit_options = formula, link, fit_options
        self.weights, self.offset = weights, offset


class _OfLm2(FormulaEstimator):
    """What both estimators of an `Lm2` do."""

    def _made(self, frame: pd.DataFrame) -> tuple[Lm2, Mapping[str, Any]]:
        return Lm2(self.formula, frame, self.group, self.family, link=self.link), {}

    def _means(self, X: pd.DataFrame) -> np.ndarray:
        model: Lm2 = self.model_
        return model.predict(X, new_levels="population")


class Lm2Regressor(_OfLm2, Regressor):
    """Regressions by group, `Lm2`, as a regressor of scikit-learn.

    Rows are predicted by the regression of their group, those of groups that were not seen by the mean coefficients.

    Args:
        formula: a patsy formula whose left side is one column.
        group: the column of the groups, or several, the outermost first.
        family: error distribution, as in `Lm2`.
        link: its link, by default R's.
        fit_options: arguments of `Lm2.fit()`, a dict.

    Attributes:
        model_: the fitted `Lm2`.
        feature_names_in_: columns of X, the outcome apart.

    Examples:
        >>> from pymer4 import load_dataset
        >>> data = load_dataset("sample_data")
        >>> model = Lm2Regressor("DV ~ IV1", group="Group").fit(data)
        >>> round(model.score(data), 2)
        0.71
    """

    def __init__(
        self,
        formula: str,
        group: str | list[str],
        *,
        family: Family = "gaussian",
        link: str | None = None,
        fit_options: Mapping[str, Any] | None = None,
    ):
        self.formula, self.group, self.family = formula, group, family
        self.link, self.fit_options = link, fit_options


class Lm2Classifier(_OfLm2, Classifier):
    """Binomial regressions by group, `Lm2`, as a classifier of scikit-learn; arguments as in `Lm2Regressor`.

    Attributes:
        model_: the fitted `Lm2`.
        classes_: both classes, sorted; the model is of the second.
        feature_names_in_: columns of X, the outcome apart.
    """

    def __init__(
        self,
        formula: str,
        group: str | list[str],
        *,
        link: str | None = None,
        fit_options: Mapping[str, Any] | None = None,
    ):
        self.formula, self.group, self.link, self.fit_options = formula, group, link, fit_options


class _OfLmer(FormulaEstimator):
    """What both estimators of an `Lmer` do."""

    def _made(self, frame: pd.DataFrame) -> tuple[Lmer, Mapping[str, Any]]:
        how: dict[str, Any] = {"link": self.link, "weights": self.weights, "offset": self.offset}
        return Lmer(self.formula, frame, self.family, **how), {}

    def _means(self, X: pd.DataFrame) -> np.ndarray:
        means: Any = self.model_.predict(X, use_rfx=self.use_rfx, new_levels="population")
        return np.asarray(means)


class LmerRegressor(_OfLmer, Regressor):
    """A mixed model, `Lmer`, as a regressor of scikit-learn.

    Rows of groups that were seen are predicted with their random effects, those of new groups for the population.

    Args:
        formula: an lme4 formula whose left side is one column.
        family: error distribution, as in `Lmer`.
        link: its link, by default R's.
        weights: the column of prior weights.
        offset: the column of a known part of the linear predictor.
        use_rfx: whether groups that were seen are predicted with their random effects; False for the population.
        fit_options: arguments of `Lmer.fit()`, a dict.

    Attributes:
        model_: the fitted `Lmer`.
        feature_names_in_: columns of X, the outcome apart.

    Examples:
        >>> from pymer4 import load_dataset
        >>> from sklearn.model_selection import GroupKFold, cross_val_predict
        >>> sleep = load_dataset("sleepstudy")
        >>> model = LmerRegressor("Reaction ~ Days + (Days | Subject)")
        >>> how = {"groups": sleep["Subject"], "cv": GroupKFold(6)}
        >>> cross_val_predict(model, sleep, sleep["Reaction"], **how).shape
        (180,)
    """

    def __init__(
        self,
        formula: str,
        *,
        family: Family = "gaussian",
        link: str | None = None,
        weights: str | None = None,
        offset: str | None = None,
        use_rfx: bool = True,
        fit_options: Mapping[str, Any] | None = None,
    ):
        self.formula, self.family, self.link, self.weights = formula, family, link, weights
        self.offset, self.use_rfx, self.fit_options = offset, use_rfx, fit_options


class LmerClassifier(_OfLmer, Classifier):
    """A binomial mixed model, `Lmer`, as a classifier of scikit-learn; arguments as in `LmerRegressor`.

    Attributes:
        model_: the fitted `Lmer`.
        classes_: both classes, sorted; the model is of the second.
        feature_names_in_: columns of X, the outcome apart.
    """

    def __init__(
        self,
        formula: str,
        *,
        link: str | None = None,
        weights: str | None = None,
        offset: str | None = None,
        use_rfx: bool = True,
        fit_options: Mapping[str, Any] | None = None,
    ):
        self.formula, self.link, self.weights = formula, link, weights
        self.offset, self.use_rfx, self.fit_options = offset, use_rfx, fit_options
