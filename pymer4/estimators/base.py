"""What every estimator does: rows from X and y, the fit of a model, predictions, and which rows have a score."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data import frames
from pymer4.data.families import Family
from pymer4.errors import DataError, FormulaError, MissingLibrary, OptionError, shown

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.metrics import r2_score
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:
    raise MissingLibrary('This needs the package scikit-learn: pip install "pymer4[sklearn]"') from error

_COLUMN = re.compile(r"""(?P<name>[^\W\d][\w.]*)|`(?P<ticked>[^`]+)`|Q\((?P<mark>['"])(?P<quoted>.+)(?P=mark)\)""")


class FormulaEstimator(BaseEstimator):
    """What all estimators share: rows from X and y, the model, and which rows have a score."""

    formula: str
    family: Family
    fit_options: Mapping[str, Any] | None

    # The model that is fitted to the rows, and its means of others.

    def _made(self, frame: pd.DataFrame) -> tuple[Any, Mapping[str, Any]]:
        """Return the model of some rows, and arguments of its `fit()`."""
        raise NotImplementedError

    def _means(self, X: pd.DataFrame) -> np.ndarray:
        means: np.ndarray = self.model_.predict(X)
        return means

    def _fitted(self, X: pd.DataFrame, outcome: str, values: Any) -> Any:
        """Fit the model to rows with an outcome, and keep it once it is fitted."""
        X = _frame(X)
        options = {} if self.fit_options is None else self.fit_options
        if not isinstance(options, Mapping):
            raise OptionError(f"fit_options={shown(options)} has to be a dict of arguments of fit(), or None.")
        if options.get("rank"):
            raise OptionError(
                "fit_options={'rank': True} is not for an estimator: its predictions would be ranks, and scored as "
                "outcomes. Rank the outcome and the predictors before."
            )
        model, given = self._made(X.assign(**{outcome: values}))
        for name in given.keys() & options.keys():
            raise OptionError(f"fit_options has {name!r}, which the estimator has an argument for. Give one of them.")
        model.fit(**{**given, **options, "summarize": False})
        names = [str(name) for name in X.columns if name != outcome]
        self.model_, self.n_features_in_ = model, len(names)
        self.feature_names_in_ = np.array(names, dtype=object)
        return self

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn is told of X: a frame with names, gaps and categories."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # an array has no names for a formula
        tags.input_tags.allow_nan = tags.input_tags.categorical = tags.input_tags.string = True
        return tags

    def _scored(self, X: Any, y: Any, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the outcome, and which rows have both it and a prediction."""
        outcome = np.asarray(outcome_of(self.formula, X, y)[1], dtype=object)
        there = ~(pd.isna(outcome) | np.isnan(means))
        if not there.any():
            raise DataError(f"None of these {len(means)} rows has both an outcome and a prediction: nothing to score.")
        return outcome, there


class Regressor(RegressorMixin, FormulaEstimator):
    """An estimator of a mean."""

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn is told: y may be among the columns of X."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags

    def fit(self, X: pd.DataFrame, y: Any = None) -> Any:
        """Fit the model.

        Args:
            X: a row an observation: the columns that the formula names.
            y: the outcome, one value a row; it takes the place of the column that the formula has left of `~`. None
                where X has that column.

        Returns:
            The estimator; the fitted model is its `model_`.

        Raises:
            DataError: X is no data frame, or there is no outcome; and what the model can't be fitted to.
            FormulaError: the left side is not one column; and what the model says of its formula.
            OptionError: arguments that are out of their range.
        """
        return self._fitted(X, *outcome_of(self.formula, X, y))

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return the mean outcome of rows, shape (rows,), NaN where a predictor is missing."""
        check_is_fitted(self)
        return self._means(_frame(X))

    def score(self, X: pd.DataFrame, y: Any = None) -> float:
        """Return R², 1 − Σ(y − prediction)² / Σ(y − mean of these y)², of the rows that have outcome and prediction."""
        means = self.predict(X)
        outcome, there = self._scored(X, y, means)
        return float(r2_score(outcome[there].astype(float), means[there]))


class Classifier(ClassifierMixin, FormulaEstimator):
    """An estimator of which of two classes a row is in: a binomial model."""

    family: Family = "binomial"

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn is told: there are two classes, and y may be among the columns of X."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = tags.classifier_tags.multi_class = False
        return tags

    def fit(self, X: pd.DataFrame, y: Any = None) -> Any:
        """Fit the binomial model of the second of two classes, in their sorted order.

        Args:
            X: a row an observation: the columns that the formula names.
            y: the classes, of any kind; they take the place of the column that the formula has left of `~`. None where
                X has that column.

        Returns:
            The estimator; the fitted model is its `model_`, the classes are its `classes_`.

        Raises:
            DataError: X is no data frame, there is no outcome, or it has not two classes; and what the model can't be
                fitted to.
            FormulaError: the left side is not one column; and what the model says of its formula.
            OptionError: arguments that are out of their range.
        """
        name, given = outcome_of(self.formula, X, y)
        codes, classes = _classes(given)
        if len(classes) != 2:
            raise DataError(
                f"The outcome {name!r} has {len(classes)} class(es), and a binomial model has two. For counts of "
                "several trials take the regressor with family='binomial'."
            )
        found = self._fitted(X, name, np.where(codes < 0, np.nan, codes))
        self.classes_ = classes
        return found

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probabilities of both classes, shape (rows, 2), NaN where a predictor is missing."""
        check_is_fitted(self)
        means = self._means(_frame(X))
        return np.column_stack([1 - means, means])

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return the class that has a probability of at least one half, shape (rows,).

        Raises:
            DataError: a row lacks a predictor, and is in no class.
        """
        means = self.predict_proba(X)[:, 1]
        lost = int(np.isnan(means).sum())
        if lost:
            raise DataError(
                f"{lost} of {len(means)} rows lack a predictor, and have no class. Drop or fill them; predict_proba() "
                "gives NaN there."
            )
        return np.asarray(self.classes_)[(means >= 0.5).astype(int)]

    def score(self, X: pd.DataFrame, y: Any = None) -> float:
        """Return the share of rows in the class that was predicted, of those that have outcome and prediction."""
        means = self.predict_proba(X)[:, 1]
        outcome, there = self._scored(X, y, means)
        found = np.asarray(self.classes_)[(means[there] >= 0.5).astype(int)]
        return float(np.mean(outcome[there] == found))


def _classes(outcome: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of each value among the classes, −1 where it is missing, and the classes, sorted."""
    codes, found = pd.factorize(np.asarray(outcome, dtype=object), sort=True)
    return codes, np.asarray(pd.Series(list(found)))


def _frame(X: Any) -> pd.DataFrame:
    if isinstance(X, np.ndarray):
        raise DataError(
            "X has to be a data frame, whose columns the formula names, not a ndarray. In a Pipeline let the steps "
            "before give one: .set_output(transform='pandas')."
        )
    return frames.frame("X", X)


def outcome_of(formula: Any, X: Any, y: Any) -> tuple[str, Any]:
    """Return the name of the outcome, and its values: y, or that column of X."""
    frame = _frame(X)
    left = formula.partition("~")[0].strip() if isinstance(formula, str) else shown(formula)
    found = _COLUMN.fullmatch(left)
    if found is None:
        raise FormulaError(
            f"The left side of the formula of an estimator is one column, and not {left!r}: its predictions and scores "
            "are of that column. Transform it before, or by sklearn.compose.TransformedTargetRegressor; of shares, "
            "such as 'k / n', make a column, and give weights='n'."
        )
    name = found["name"] or found["ticked"] or found["quoted"]
    if y is None:
        return name, column(frame, "the formula, and no y,", name).array
    y = frames.plain(y)
    values = y.to_numpy() if isinstance(y, pd.DataFrame) else y
    if np.ndim(values) == 2 and np.shape(values)[1] == 1:
        values = np.asarray(values)[:, 0]
    if np.ndim(values) != 1 or len(values) != len(frame):
        raise DataError(
            f"y has to have one value for each of the {len(frame)} rows of X; it is of shape {np.shape(values)}. Many "
            "outcomes of one model are for Lmer.fit_many()."
        )
    return name, pd.Series(values).array


def column(frame: pd.DataFrame, what: str, name: Any) -> pd.Series:
    """Return a column of X; a DataError says what asks for one that is not there."""
    if isinstance(name, str) and name in frame.columns:
        return frame[name]
    raise DataError(f"{what} asks for the column {shown(name)}, which X does not have. Its columns: {list(frame)}.")
