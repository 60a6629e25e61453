"""Samples as users give them, and their means, spreads, t and Cohen's d.

A sample is a row: functions of one row are functions of many, its resamples.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pymer4.data.columns import floats, real_array, require_squares
from pymer4.errors import DataError, OptionError, shown

_ROUNDING = 10 * np.finfo(float).eps  # spread, as a share of the largest value, as in R's `t.test`


def numbers(argument: str, values: Any) -> np.ndarray:
    """Return a list, array or Series of finite numbers or booleans as floats, shape (n,), NaN where missing."""
    found = floats(argument, values)
    if np.isinf(found).any():
        raise DataError(f"{argument} holds infinite numbers. Drop them, or put NaN in their place.")
    return found


def sample(argument: str, values: Any) -> np.ndarray:
    """Return the numbers of a sample without the missing ones; two are needed, with finite sums of squares."""
    found = numbers(argument, values)
    found = found[~np.isnan(found)]
    if len(found) < 2:
        raise DataError(f"{argument} holds {len(found)} numbers, and 2 are needed at least.")
    require_squares(argument, found, "the sample")
    return found


def pairs(x: Any, y: Any, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return two samples that belong together, by position, without the pairs of which either is missing."""
    first, second = numbers("x", x), numbers("y", y)
    if len(first) != len(second):
        raise DataError(f"x and y hold pairs, so they have to be of one length: x has {len(first)}, y {len(second)}.")
    there = ~(np.isnan(first) | np.isnan(second))
    if there.sum() < least:
        raise DataError(f"x and y hold {there.sum()} complete pairs, and {least} are needed at least.")
    for argument, values in (("x", first[there]), ("y", second[there])):
        require_squares(argument, values, "the sample")
    return first[there], second[there]


def compared(x: Any, y: Any, paired: bool, needs: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return one sample and None, two samples, or the differences of pairs and None; `needs` is what pairs are for."""
    if not paired:
        return sample("x", x), None if y is None else sample("y", y)
    if y is None:
        raise OptionError(f"{needs} needs y, the second number of each pair.")
    first, second = pairs(x, y)
    return first - second, None


def number(argument: str, value: Any) -> float:
    """Return a finite number as a float."""
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        found = real_array(value)
        if found is not None and np.isfinite(found):
            return float(value)
    raise OptionError(f"{argument}={shown(value)} has to be a finite number.")


# ------------------------------------------------------------------ of x, shape (draws, n), and y, (draws, m), or None


def mean_difference(x: np.ndarray, y: np.ndarray | None) -> np.ndarray:
    """Return mean(x) - mean(y) of each row, or mean(x) where there is no y, shape (draws,)."""
    return x.mean(axis=-1) - (0.0 if y is None else y.mean(axis=-1))


def cohen(x: np.ndarray, y: np.ndarray | None, equal_var: bool, value: float = 0.0) -> np.ndarray:
    """Return Cohen's d of each row, shape (draws,), NaN or infinite where there is no spread; see `cohens_d`."""
    squared = variance(x) if y is None else _pooled(x, y) if equal_var else (variance(x) + variance(y)) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return (mean_difference(x, y) - value) / np.sqrt(squared)


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
    return np.sqrt(_pooled(x, y) * (1 / n + 1 / m) if equal_var else variance(x) / n + variance(y) / m)


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


def require_spread(x: np.ndarray, y: np.ndarray | None, what: str) -> None:
    """Refuse samples of which `what` is not defined, as nothing in them varies."""
    if not variance(x) and (y is None or not variance(y)):
        which = "The sample is" if y is None else "x and y are both"
        raise DataError(f"{which} constant, and {what} is not defined without spread. Look at the data.")


def _pooled(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    n, m = x.shape[-1], y.shape[-1]
    return ((n - 1) * variance(x) + (m - 1) * variance(y)) / (n + m - 2)
