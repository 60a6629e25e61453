"""Samples, and the laws of their statistics over all rearrangements and resamples."""

from __future__ import annotations

from itertools import product

import numpy as np

EXACT = 1e-10  # relative: closed formulas of the same numbers
SE = 5  # standard errors of a share, over draws with a fixed seed
ROUNDING = 1e-12

RNG = np.random.default_rng(2024)
X, Y = RNG.normal(0.4, 1, 23).round(3), RNG.normal(0, 1.7, 23).round(3)
SHORT = Y[:15]


def holes(values):
    """Return values of which two are missing."""
    found = values.copy()
    found[[2, 7]] = np.nan
    return found


def plain(stat, x, y=None, equal_var=False):
    """Return a mean, t or d by plain arithmetic; infinite or NaN where there is no spread."""
    difference, n = x.mean() - (0 if y is None else y.mean()), len(x)
    if stat == "mean":
        return difference
    squared = x.var(ddof=1)
    per_row = squared / n
    if y is not None:
        m, other = len(y), y.var(ddof=1)
        pooled = ((n - 1) * squared + (m - 1) * other) / (n + m - 2)
        per_row = pooled * (1 / n + 1 / m) if equal_var else squared / n + other / m
        squared = pooled if equal_var else (squared + other) / 2
    below = squared if stat == "cohensd" else per_row
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.float64(difference) / np.sqrt(below if below > 1e-20 else 0.0)


def every_resample(values):
    """Return all that can be drawn from values with replacement."""
    return [np.array(drawn) for drawn in product(values, repeat=len(values))]
