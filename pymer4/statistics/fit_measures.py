"""How well a model fits, and how far its predictors stand in for one another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data import frames
from pymer4.data.columns import normalise
from pymer4.errors import DataError, ModelWarning, NotFittedError, OptionError, count, issue, truth
from pymer4.statistics.samples import number, numbers

_ALIASED = 1e-7  # share of a column, in length, below which what others leave of it is rounding, as in R's `lm`
_MOST = 2**53  # rows that a float counts without a gap
_SINGULAR = 1e-11  # share of the largest singular value below which another is rounding


def vif(
    df: Any, has_intercept: bool = True, exclude_intercept: bool = True, tol: float = 5.0, check_only: bool = False
) -> dict[Any, float]:
    """Return the variance inflation factor of each column of a design.

    It is 1 / (1 - R²) of the regression of that column on the others, and so the diagonal of the inverse of the
    correlation matrix of the columns (Belsley, Kuh & Welsch 1980, Regression Diagnostics). A column that others add
    up to has infinity.

    Args:
        df: the design, one column a coefficient: a frame such as patsy's `dmatrix` returns, or a fitted model that
            has it as `design_matrix`.
        has_intercept: whether the first column is the intercept.
        exclude_intercept: leave the intercept out of the answer. False puts it first: its factor is that of the
            regression without a constant, n times the first element of (X'X)⁻¹.
        tol: factors at or above this are warned of.
        check_only: return those factors alone.

    Returns:
        Column to factor, in the order of the columns.

    Raises:
        DataError: missing, infinite or non-numeric values; a first column that is no intercept; a constant column that
            is no intercept; fewer than two rows; no column.
        OptionError: `df` is no design, or an argument that is not among those above.
        NotFittedError: a model that is not fitted.

    Warns:
        ModelWarning: factors at or above `tol`, by name.

    Examples:
        >>> design = pd.DataFrame({"Intercept": 1.0, "a": [1.0, 2, 3, 4], "b": [2.0, 1, 4, 3]})
        >>> {name: round(value, 4) for name, value in vif(design).items()}
        {'a': 1.5625, 'b': 1.5625}
    """
    has_intercept, check_only = truth("has_intercept", has_intercept), truth("check_only", check_only)
    exclude_intercept, tol = truth("exclude_intercept", exclude_intercept), number("tol", tol)
    design, X = _design(df)
    constant = np.ptp(X, axis=0) <= 1e-12 * np.abs(X).max(axis=0)
    if has_intercept and not constant[0]:
        raise DataError(f"The first column, {design.columns[0]!r}, is not constant. Use has_intercept=False.")
    flat = [name for name, is_flat in zip(design.columns, constant, strict=True) if is_flat][int(has_intercept) :]
    if flat:
        raise DataError(f"{', '.join(map(repr, flat))} is constant, so it has no correlations. Drop the column.")
    predictors = X[:, int(has_intercept) :]
    found = dict(zip(design.columns[int(has_intercept) :], _factors(predictors - predictors.mean(axis=0)), strict=True))
    if has_intercept and not exclude_intercept:
        found = {design.columns[0]: _factors(X)[0]} | found
    high = {name: value for name, value in found.items() if value >= tol}
    if high:
        told = ", ".join(f"{name} {value:.3g}" for name, value in high.items())
        issue(f"Variance inflation factors of {tol:g} and above: {told}.", ModelWarning)
    return high if check_only else found


def rsquared(y: Any, res: Any, has_constant: bool = True) -> float:
    """Return the coefficient of determination, 1 - SS(residuals) / SS(y).

    Args:
        y: outcome, shape (n,). Rows where y or the residual is missing are left out.
        res: residuals, shape (n,).
        has_constant: whether the model has an intercept; SS(y) is then about the mean, else about 0, as in R.

    Raises:
        DataError: unequal lengths, no complete row, values that are no numbers, or an outcome without spread.
        OptionError: `has_constant` is neither True nor False.

    Examples:
        >>> rsquared([1, 2, 3, 4], [0.5, -0.5, -0.5, 0.5])
        0.8
    """
    has_constant = truth("has_constant", has_constant)
    outcome, residuals = numbers("y", y), numbers("res", res)
    if len(outcome) != len(residuals):
        raise DataError(f"y has {len(outcome)} values and res {len(residuals)}; give one residual a value.")
    there = ~(np.isnan(outcome) | np.isnan(residuals))
    outcome, residuals = outcome[there], residuals[there]
    total = float(((outcome - (outcome.mean() if has_constant and there.any() else 0.0)) ** 2).sum())
    if not total:
        raise DataError("y has no complete row, or does not vary, so there is nothing to explain.")
    return 1 - float((residuals**2).sum()) / total


def rsquared_adj(r: float, nobs: int, df_res: int, has_constant: bool = True) -> float:
    """Return the adjusted coefficient of determination, 1 - (1 - R²)(n - 1) / df; without intercept n for n - 1.

    Args:
        r: R², see `rsquared`.
        nobs: observations that the model was fitted to.
        df_res: df of the residuals: observations less coefficients.
        has_constant: whether the model has an intercept.

    Raises:
        OptionError: numbers that no model has.

    Examples:
        >>> round(rsquared_adj(0.8, 4, 2), 12)
        0.7
    """
    r, has_constant = number("r", r), truth("has_constant", has_constant)
    nobs, df_res = count("nobs", nobs, most=_MOST), count("df_res", df_res, most=_MOST)
    if df_res > nobs - has_constant:
        raise OptionError(f"df_res={df_res} is more than {nobs} observations leave.")
    return 1 - (1 - r) * (nobs - has_constant) / df_res


def _design(given: Any) -> tuple[pd.DataFrame, np.ndarray]:
    design = given
    if not isinstance(given, pd.DataFrame) and hasattr(given, "design_matrix"):
        design = given.design_matrix
        if design is None or not getattr(given, "fitted", True):
            raise NotFittedError("vif() needs a fitted model. Call .fit() first.")
    design = frames.frame("df", design) if isinstance(design, Mapping) else frames.plain(design)
    if not isinstance(design, pd.DataFrame):
        raise OptionError(
            f"vif() takes a design as a frame of any kind, or a fitted model, not a {type(given).__name__}."
        )
    if not design.shape[1] or len(design) < 2:
        raise DataError(f"The design has shape {design.shape}. It needs a column and two rows at least.")
    columns = normalise(design, design.columns)
    text = [name for name, column in columns.items() if column.kind == "factor"]
    if text:
        raise DataError(f"{', '.join(map(repr, text))} holds text or categories. Code it first: patsy.dmatrix() does.")
    unusable = [n for n, c in columns.items() if c.missing.any() or not np.isfinite(c.values).all()]
    if unusable:
        raise DataError(f"{', '.join(map(repr, unusable))} has missing or infinite values. Drop those rows first.")
    return design, np.column_stack([column.values.astype(float) for column in columns.values()])


def _factors(X: np.ndarray) -> list[float]:
    """Return 1 / (1 - R²) of each column regressed on the others."""
    # The triangle of QR has the lengths and angles of the columns, scaled to length 1, and k rows.
    triangle = np.linalg.qr(X / np.sqrt((X**2).sum(axis=0)), mode="r")
    found = []
    for j in range(X.shape[1]):
        others = np.delete(triangle, j, axis=1)
        weights = np.linalg.lstsq(others, triangle[:, j], rcond=_SINGULAR)[0]
        rest = triangle[:, j] - others @ weights
        left = float(rest @ rest)
        found.append(1 / left if left > _ALIASED**2 else np.inf)
    return found
