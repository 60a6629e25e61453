"""A smooth line through a cloud of points, for a handful of them or for millions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pymer4.fit.ties import settled

_BINS = 1000  # more points than that are averaged in as many runs of equal size, which the eye can't tell apart
_PLACES = 200


def lowess(x: ArrayLike, y: ArrayLike, *, share: float = 2 / 3, iterations: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return a locally weighted regression line (Cleveland, 1979, Journal of the American Statistical Association 74).

    At each place a line is fitted to the nearest points, weighted by nearness (tricube), then again with weights that
    fall with the residual (bisquare). Up to 1,000 points this is the published method; more are averaged in runs
    along `x` first, each point still with a weight of its own. Ties and a few distinct `x` do no harm: where the
    nearest points lie in one place, the line passes through their mean. Places that differ by rounding are one.

    Args:
        x: shape (n,), finite.
        y: shape (n,), finite.
        share: share of the points that are near.
        iterations: number of robust rounds; 0 for outcomes that are outliers by nature, such as 0 and 1.

    Returns:
        Places along `x`, distinct and ascending, and the line there; shapes (m,), with m at most 200 or,
        up to 1,000 points, the number of distinct `x`.

    Example:
        >>> at, line = lowess([0, 0, 1, 1], [1, 3, 4, 6], share=0.5)
        >>> at.tolist(), line.tolist()
        ([0.0, 1.0], [2.0, 5.0])
    """
    x, y = settled(x), np.asarray(y, dtype=float)
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    n_bins = min(x.size, _BINS)
    starts = np.linspace(0, x.size, n_bins, endpoint=False).astype(int)
    centre = np.add.reduceat(x, starts) / np.diff(starts, append=x.size)
    at = np.unique(x if x.size <= _BINS else x[np.linspace(0, x.size - 1, _PLACES).astype(int)])
    near = _nearness(at, centre, max(int(share * n_bins + 1e-7), 2))
    trust = np.ones_like(y)
    for left in range(iterations, -1, -1):
        line = _local_lines(at, near, x, y, trust, starts)
        if left:
            residual = np.abs(y - np.interp(x, at, line))
            reach = 6 * np.median(residual)
            if reach < 1e-7 * residual.mean() or reach == 0:
                break
            trust = _fading(residual, reach, 2)
    return at, line


def _nearness(at: np.ndarray, centre: np.ndarray, k: int) -> np.ndarray:
    """Return tricube weights of bins around each place, which reach to the k-th nearest; shape (places, bins)."""
    distance = np.abs(at[:, None] - centre)
    k = min(k, centre.size)
    reach = np.partition(distance, k - 1, axis=1)[:, [k - 1]]
    return _fading(distance, reach, 3)


def _fading(distance: np.ndarray, reach: np.ndarray | float, power: int) -> np.ndarray:
    """Return (1 - u^p)^p of u = distance/reach, with the ends flattened a thousandth in as the paper's program does."""
    u = distance / np.where(np.asarray(reach) > 0, reach, 1)
    weight = np.where(u <= 0.001, 1.0, (1 - np.minimum(u, 1) ** power) ** power)
    return np.where(distance <= 0.999 * np.asarray(reach), weight, 0.0)


def _local_lines(
    at: np.ndarray, near: np.ndarray, x: np.ndarray, y: np.ndarray, trust: np.ndarray, starts: np.ndarray
) -> np.ndarray:
    """Return the local weighted regression at each place, from sums over bins; means where `x` does not vary."""
    total = np.add.reduceat(trust, starts)
    some = np.where(total > 0, total, 1)
    mean_x, mean_y = np.add.reduceat(trust * x, starts) / some, np.add.reduceat(trust * y, starts) / some
    weight = near * total
    whole = weight.sum(axis=1, keepdims=True)
    weight = weight / np.where(whole > 0, whole, 1)
    apart = mean_x - weight @ mean_x[:, None]
    spread = (weight * apart**2).sum(axis=1, keepdims=True)
    leans = np.sqrt(spread) > 0.001 * (x[-1] - x[0])
    lever = (at[:, None] - weight @ mean_x[:, None]) / np.where(leans, spread, 1)
    line = (weight * np.where(leans, 1 + lever * apart, 1)) @ mean_y
    return np.where(whole[:, 0] > 0, line, np.interp(at, x, y))
