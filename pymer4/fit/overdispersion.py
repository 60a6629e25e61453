"""The size theta of the negative binomial distribution by maximum likelihood, for many samples at once."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray

_LARGE = 30.0  # from here on series stand for the differences of polygammas, which would lose digits
_LIMIT = 1e7  # thetas of so many times the mean are no longer told from the Poisson distribution
_ROUNDS = 60


class Outcomes:
    """Counts, (n,) or (B, n), prepared for `estimate`: polygammas are taken once for each value that occurs."""

    def __init__(self, y: Array, weights: Array):
        self.y, self.weights = np.atleast_2d(y), np.atleast_2d(weights)
        shape = np.broadcast_shapes(self.y.shape, self.weights.shape)
        self.values, codes = np.unique(self.y, return_inverse=True)
        cells = codes.reshape(self.y.shape) + len(self.values) * np.arange(shape[0])[:, None]
        sums = np.bincount(
            np.broadcast_to(cells, shape).ravel(),
            np.broadcast_to(self.weights, shape).ravel(),
            minlength=shape[0] * len(self.values),
        )
        self.sums = sums.reshape(shape[0], len(self.values))

    def rows(self, which: Array) -> Outcomes:
        """Return some of the samples."""
        part = object.__new__(Outcomes)
        part.values, part.sums = self.values, self.sums[which]
        part.y = self.y[which] if len(self.y) > 1 else self.y
        part.weights = self.weights[which] if len(self.weights) > 1 else self.weights
        return part

    def score(self, theta: Array, mu: Array) -> Array:
        """Return the derivative of the log-likelihood, shape (B,), at theta of shape (B,)."""
        theta = theta[:, None]
        own = (self.sums * _digamma_difference(self.values, theta)).sum(axis=1)
        rest = (self.y - mu) / (mu + theta) + np.log1p(mu / theta)
        return own - (self.weights * rest).sum(axis=1)

    def information(self, theta: Array, mu: Array) -> Array:
        """Return minus the second derivative of the log-likelihood, shape (B,)."""
        theta = theta[:, None]
        own = (self.sums * _trigamma_difference(self.values, theta)).sum(axis=1)
        rest = (mu / theta + (self.y - mu) / (mu + theta)) / (mu + theta)
        return -own - (self.weights * rest).sum(axis=1)


def estimate(outcomes: Outcomes, mu: Array, start: Array | None = None) -> Array:
    """Return theta at means of shape (n,) or (B, n), shape (B,); inf where counts vary no more than Poisson counts do.

    Newton's method on log theta, held between bounds that close in on the maximum, from `start`, shape (B,), or the
    estimate by moments, as MASS's `theta.ml`.
    """
    mu = np.atleast_2d(mu)
    count = len(outcomes.sums)
    excess = (outcomes.weights * ((outcomes.y - mu) ** 2 - outcomes.y)).sum(axis=1)
    top = np.broadcast_to(np.log(_LIMIT * np.maximum(mu.mean(axis=1), 1.0)), (count,)).copy()
    if start is None:
        start = outcomes.sums.sum(axis=1) / (outcomes.weights * (outcomes.y / mu - 1) ** 2).sum(axis=1)
    found = np.full(count, np.inf)
    active = np.flatnonzero(excess > 0)
    t = np.clip(np.log(start[active]), -15.0, top[active] - 1)
    low, high = np.full(len(active), -30.0), top[active]
    for _ in range(_ROUNDS):
        if not len(active):
            return found
        part = outcomes.rows(active)
        theta, means = np.exp(t), mu[active] if len(mu) > 1 else mu
        slope = theta * part.score(theta, means)
        bend = slope - theta**2 * part.information(theta, means)
        low, high = np.where(slope > 0, t, low), np.where(slope < 0, t, high)
        with np.errstate(divide="ignore", invalid="ignore"):
            new = t - slope / bend
        new = np.where((bend < 0) & (new > low) & (new < high), new, (low + high) / 2)
        done = (np.abs(new - t) <= 1e-13 * np.maximum(1, np.abs(t))) | (slope == 0)
        found[active[done]] = np.exp(np.where(slope == 0, t, new)[done])
        active, t, low, high = active[~done], new[~done], low[~done], high[~done]
    found[active] = np.exp(t)
    found[found > np.exp(top - 1e-6)] = np.inf
    return found


def _digamma_difference(y: Array, theta: Array) -> Array:
    """Return digamma(y + theta) − digamma(theta)."""
    from scipy.special import digamma

    direct = digamma(y + theta) - digamma(theta)
    a, c = theta**-1.0, 1 / (theta + y)
    tail = ((a**2 - c**2) / 12) - ((a**4 - c**4) / 120) + ((a**6 - c**6) / 252) - ((a**8 - c**8) / 240)
    return np.where(theta > _LARGE, np.log1p(y / theta) + y * a * c / 2 + tail, direct)


def _trigamma_difference(y: Array, theta: Array) -> Array:
    """Return trigamma(y + theta) − trigamma(theta)."""
    from scipy.special import zeta

    direct = zeta(2, y + theta) - zeta(2, theta)
    a, c = theta**-1.0, 1 / (theta + y)
    tail = (c**2 - a**2) / 2 + (c**3 - a**3) / 6 - (c**5 - a**5) / 30 + (c**7 - a**7) / 42
    return np.where(theta > _LARGE, -y * a * c + tail, direct)
