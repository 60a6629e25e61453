"""Means, spreads, t and Cohen's d of samples that are rows: one row is a sample, many are its resamples."""

from __future__ import annotations

import numpy as np

from pymer4.errors import DataError
from pymer4.infer.draws import quantiles

_ROUNDING = 10 * np.finfo(float).eps
"""Spread, as a share of the largest value, that is taken for rounding; R's `t.test` draws the line there too."""


def mean_difference(x: np.ndarray, y: np.ndarray | None) -> np.ndarray:
    """Return mean(x) - mean(y) of each row, or mean(x) where there is no y, shape (draws,)."""
    return x.mean(axis=-1) - (0.0 if y is None else y.mean(axis=-1))


def cohen(x: np.ndarray, y: np.ndarray | None, equal_var: bool, value: float = 0.0) -> np.ndarray:
    """Return Cohen's d of each row, shape (draws,); NaN or infinite where there is no spread.

    Args:
        x: shape (draws, n).
        y: shape (draws, m), or None for one sample.
        equal_var: whether the standard deviation is the pooled one, or the root of the mean of both variances.
        value: taken from the difference before it is divided.
    """
    difference = mean_difference(x, y) - value
    if y is None:
        squared = variance(x)
    elif equal_var:
        squared = _pooled(x, y)
    else:
        squared = (variance(x) + variance(y)) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return difference / np.sqrt(squared)


def student(x: np.ndarray, y: np.ndarray | None, equal_var: bool) -> np.ndarray:
    """Return the t statistic of each row, shape (draws,); NaN or infinite where there is no spread."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return mean_difference(x, y) / standard_error(x, y, equal_var)


def standard_error(x: np.ndarray, y: np.ndarray | None, equal_var: bool) -> np.ndarray:
    """Return the standard error of the mean, or of the difference of means, of each row, shape (draws,)."""
    n = x.shape[-1]
    if y is None:
        return np.sqrt(variance(x) / n)
    m = y.shape[-1]
    if equal_var:
        return np.sqrt(_pooled(x, y) * (1 / n + 1 / m))
    return np.sqrt(variance(x) / n + variance(y) / m)


def degrees_of_freedom(x: np.ndarray, y: np.ndarray | None, equal_var: bool) -> float:
    """Return the df of a t test of one sample, or of two: n + m - 2, or Welch's (1947, Biometrika 34, 28-35)."""
    n = x.shape[-1]
    if y is None:
        return float(n - 1)
    m = y.shape[-1]
    if equal_var:
        return float(n + m - 2)
    # Only the share of each in the whole counts, and so their squares can't underflow.
    first, second = float(variance(x)) / n, float(variance(y)) / m
    share = first / (first + second)
    return 1 / (share**2 / (n - 1) + (1 - share) ** 2 / (m - 1))


def variance(rows: np.ndarray) -> np.ndarray:
    """Return the unbiased variance of each row; exactly 0 where all that varies is rounding."""
    found = rows.var(axis=-1, ddof=1)
    noise = (_ROUNDING * np.abs(rows).max(axis=-1)) ** 2
    return np.where(found > noise, found, 0.0)


def _pooled(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    n, m = x.shape[-1], y.shape[-1]
    return ((n - 1) * variance(x) + (m - 1) * variance(y)) / (n + m - 2)


def require_spread(x: np.ndarray, y: np.ndarray | None, what: str) -> None:
    """Refuse samples of which `what` is not defined, as nothing in them varies.

    Raises:
        DataError: all of them are constant.
    """
    if not variance(x) and (y is None or not variance(y)):
        which = "The sample is" if y is None else "x and y are both"
        raise DataError(f"{which} constant, and {what} is not defined without spread. Look at the data.")


def limits(draws: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Return the percentile limits of bootstrap draws, along the first axis: shape (2, ...)."""
    return quantiles(draws, np.array([(1 - level) / 2, (1 + level) / 2]))
