"""Randomized quantile residuals (Dunn & Smyth 1996, Journal of Computational and Graphical Statistics 5).

The residual of an outcome is the normal quantile of its place in its distribution. A continuous distribution F has the
place F(y); a discrete one jumps from F(y-) to F(y) there, and a place is drawn evenly between these. Under the right
model residuals are standard normal, whatever the family and however few values an outcome has.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pymer4.fit.distributions import Array

_LEAST = 1e-300  # a share that is 0 in floating point stands here, at a residual of 37 either way


def quantile_residuals(
    y: Array,
    mu: Array,
    family: str,
    u: Array,
    *,
    trials: Array | None = None,
    dispersion: Array | float = 1.0,
    theta: Array | float | None = None,
) -> Array:
    """Return residuals that are standard normal under a fitted generalized linear model.

    Args:
        y: outcome, shape (n,); for binomial the proportion of successes.
        mu: fitted means, shape (n,); NaN where there is none.
        family: as in `families.LINKS`.
        u: numbers between 0 and 1, shape (n,), that place an outcome within its jump.
        trials: trials of a binomial proportion, shape (n,); None for one a row.
        dispersion: phi / w of gaussian, gamma and inverse Gaussian outcomes: a variance is this times V(mu).
        theta: size of the negative binomial; inf is the Poisson distribution.

    Returns:
        Shape (n,), NaN where the mean is.

    Examples:
        >>> quantile_residuals(np.array([0.0, 1.0]), np.array([0.5, 0.5]), "binomial", np.array([0.5, 0.5])).round(3)
        array([-0.674,  0.674])
    """
    if family == "gaussian":
        return (y - mu) / np.sqrt(dispersion)
    below, jump, above = _places(y, mu, family, 1.0 if trials is None else trials, dispersion, theta)
    return normal_scores(below + u * jump, above + (1 - u) * jump)


def normal_scores(lower: Array, upper: Array) -> Array:
    """Return normal quantiles from the shares below and above, of which the smaller has the digits."""
    from scipy.special import ndtri

    lower, upper = np.maximum(lower, _LEAST), np.maximum(upper, _LEAST)
    return np.where(lower < upper, ndtri(lower), -ndtri(upper))


def _places(
    y: Array, mu: Array, family: str, trials: Array | float, dispersion: Array | float, theta: Array | float | None
) -> tuple[Array, Array | float, Array]:
    """Return the shares of the distribution below, at and above an outcome, each to its last digits."""
    from scipy import stats

    if family == "gamma":
        law = stats.gamma(1 / dispersion, scale=mu * dispersion)
        return law.cdf(y), 0.0, law.sf(y)
    if family == "inverse_gaussian":
        law = stats.invgauss(mu * dispersion, scale=1 / dispersion)
        return law.cdf(y), 0.0, law.sf(y)
    counts = np.round(y * trials)
    if family == "binomial":
        return _at_count(stats.binom(np.round(trials), mu), counts)
    poisson = _at_count(stats.poisson(mu), counts)
    if family == "poisson":
        return poisson
    finite = np.isfinite(theta)
    size = np.where(finite, theta, 1.0)
    shares = zip(_at_count(stats.nbinom(size, size / (size + mu)), counts), poisson, strict=True)
    return tuple(np.where(finite, *pair) for pair in shares)


def _at_count(law: Any, counts: Array) -> tuple[Array, Array, Array]:
    return law.cdf(counts - 1), law.pmf(counts), law.sf(counts)
