"""Error distributions and links of generalized linear models, elementwise on arrays of any shape.

The names are those of `families.LINKS`. Bounds, starting values and limits of links
are those of R's `family` objects and of MASS's `negative.binomial`, so that fits
take R's path where the path matters (separated data, fits at a boundary).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray
EPS = float(np.finfo(float).eps)

_LOGIT_BOUND = 30.0
_PROBIT_BOUND = 8.125890664701906
_CAUCHIT_BOUND = 1433540284805664.8


@dataclass(frozen=True, slots=True)
class Link:
    """A link function.

    Attributes:
        value: mu to eta.
        inverse: eta to mu.
        derivative: eta to dmu/deta.
        legal: eta to truth values, which of them the inverse takes.
        joint: eta to mu and dmu/deta at once, where that is faster.
    """

    value: Callable[[Array], Array]
    inverse: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    legal: Callable[[Array], Array] = np.isfinite
    joint: Callable[[Array], tuple[Array, Array]] | None = None

    def both(self, eta: Array) -> tuple[Array, Array]:
        """Return mu and dmu/deta."""
        return self.joint(eta) if self.joint else (self.inverse(eta), self.derivative(eta))


@dataclass(frozen=True, slots=True)
class Scale:
    """What carries a linear predictor to the scale that it is shown on; a `Link` has as much and the way back.

    Attributes:
        inverse: eta to mu.
        derivative: eta to dmu/deta.
    """

    inverse: Callable[[Array], Array]
    derivative: Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class Distribution:
    """An error distribution.

    Attributes:
        variance: mu to the variance at dispersion 1.
        deviance: (y, mu) to the deviance of each row, at weight 1 and dispersion 1.
        start: (y, weights) to the mu that iterations start from.
        legal: mu to truth values.
        log_likelihood: (y, mu, weights, deviance) to the log-likelihood, whose dispersion, where there is one, is R's
            estimate for it. `deviance` is the weighted sum over rows.
        has_dispersion: whether a dispersion is estimated, and t used in place of z.
    """

    variance: Callable[[Array], Array]
    deviance: Callable[[Array, Array], Array]
    start: Callable[[Array, Array], Array]
    legal: Callable[[Array], Array]
    log_likelihood: Callable[[Array, Array, Array, float], float]
    has_dispersion: bool


def link_function(name: str) -> Link:
    """Return a link by its name in `families.LINKS`."""
    return _LINKS[name]


def distribution(name: str, theta: float | Array | None = None) -> Distribution:
    """Return a distribution by its name in `families.LINKS`.

    Args:
        name: the family.
        theta: size of the negative binomial, variance mu + mu²/theta; inf makes it the Poisson distribution. An array
            has to broadcast against mu.
    """
    if name != "nbinom":
        return _DISTRIBUTIONS[name]
    if np.ndim(theta) == 0 and np.isinf(theta):
        return _DISTRIBUTIONS["poisson"]
    return _negative_binomial(theta)


def name_of(law: Distribution) -> str | None:
    """Return the name of a distribution; None of a negative binomial one, which is made for its theta."""
    return next((name for name, known in _DISTRIBUTIONS.items() if known is law), None)


def _logistic_both(eta: Array) -> tuple[Array, Array]:
    size = np.abs(eta)
    small = np.exp(-size)
    large = 1 / (1 + small)
    small *= large
    mu, slope = np.where(eta > 0, large, small), large * small
    far = size > _LOGIT_BOUND
    if far.any():
        slope[far] = EPS
        mu[far] = np.where(eta[far] > 0, 1, EPS) / (1 + EPS)
    return mu, slope


def _normal(eta: Array) -> Array:
    from scipy.special import ndtr

    return ndtr(np.clip(eta, -_PROBIT_BOUND, _PROBIT_BOUND))


def _normal_quantile(mu: Array) -> Array:
    from scipy.special import ndtri

    return ndtri(mu)


def _cauchy(eta: Array) -> Array:
    eta = np.clip(eta, -_CAUCHIT_BOUND, _CAUCHIT_BOUND)
    with np.errstate(divide="ignore"):
        tail = np.arctan(1 / np.abs(eta)) / np.pi
    return np.where(eta > 0, 1 - tail, tail)


def _gompertz(eta: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.clip(-np.expm1(-np.exp(eta)), EPS, 1 - EPS)


def _gompertz_slope(eta: Array) -> Array:
    eta = np.minimum(eta, 700)
    return np.maximum(np.exp(eta - np.exp(eta)), EPS)


def _exponential(eta: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.maximum(np.exp(eta), EPS)


def _positive(values: Array) -> Array:
    return np.isfinite(values) & (values > 0)


_LINKS = {
    "identity": Link(lambda mu: mu, lambda eta: eta, np.ones_like),
    "log": Link(np.log, _exponential, _exponential, joint=lambda eta: (_exponential(eta),) * 2),
    "inverse": Link(
        lambda mu: 1 / mu, lambda eta: 1 / eta, lambda eta: -1 / eta**2, lambda eta: np.isfinite(eta) & (eta != 0)
    ),
    "sqrt": Link(np.sqrt, np.square, lambda eta: 2 * eta, _positive),
    "1/mu^2": Link(lambda mu: 1 / mu**2, lambda eta: 1 / np.sqrt(eta), lambda eta: -0.5 * eta**-1.5, _positive),
    "logit": Link(
        lambda mu: np.log(mu / (1 - mu)),
        lambda eta: _logistic_both(eta)[0],
        lambda eta: _logistic_both(eta)[1],
        joint=_logistic_both,
    ),
    "probit": Link(_normal_quantile, _normal, lambda eta: np.maximum(np.exp(-0.5 * eta**2) / np.sqrt(2 * np.pi), EPS)),
    "cloglog": Link(lambda mu: np.log(-np.log1p(-mu)), _gompertz, _gompertz_slope),
    "cauchit": Link(
        lambda mu: np.tan(np.pi * (mu - 0.5)), _cauchy, lambda eta: np.maximum(1 / (np.pi * (1 + eta**2)), EPS)
    ),
}


def _y_log(y: Array, ratio: Array) -> Array:
    """Return y log(ratio), 0 where y is 0."""
    return y * np.log(np.where(y > 0, ratio, 1.0))


def stirling_error(x: Array) -> Array:
    """Return log Γ(x + 1) less Stirling's formula for it (Loader 2000, Fast and accurate computation of binomials).

    Densities made of it lose no digits to large log Γ.
    """
    from scipy.special import gammaln

    x = np.asarray(x, dtype=float)
    small = np.clip(x, 1e-300, 16.0)
    direct = gammaln(small + 1) - (small + 0.5) * np.log(small) + small - 0.5 * np.log(2 * np.pi)
    large = np.maximum(x, 16.0)
    square = large**-2
    series = (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - square / 1188) * square) * square) * square) / large
    return np.where(x > 16, series, direct)


def _binomial_deviance(y: Array, mu: Array) -> Array:
    return 2 * (_y_log(y, y / mu) + _y_log(1 - y, (1 - y) / (1 - mu)))


def _poisson_deviance(y: Array, mu: Array) -> Array:
    return 2 * (_y_log(y, y / mu) - (y - mu))


def _gamma_deviance(y: Array, mu: Array) -> Array:
    return -2 * (np.log(np.where(y == 0, 1.0, y / mu)) - (y - mu) / mu)


def _gaussian_log_likelihood(y: Array, mu: Array, weights: Array, deviance: float) -> float:
    n = len(y)
    return float(0.5 * (np.log(weights).sum() - n * (np.log(2 * np.pi * deviance / n) + 1)))


def binomial_log_likelihood(y: Array, mu: Array, weights: Array, trials: Array) -> float:
    """Return the log-likelihood of proportions y of so many trials; weights / trials count each row, as in R."""
    m = np.round(trials)
    x = np.round(trials * y)
    inside = (x > 0) & (x < m)
    x_in, m_in = np.where(inside, x, 1.0), np.where(inside, m, 2.0)
    spread = 0.5 * np.log(m_in / (2 * np.pi * x_in * (m_in - x_in)))
    saturated = np.where(inside, stirling_error(m) - stirling_error(x) - stirling_error(m - x) + spread, 0.0)
    share = x / np.maximum(m, 1)
    rows = np.where(m > 0, saturated - 0.5 * m * _binomial_deviance(share, mu), 0.0)
    return float((weights / trials * rows).sum())


def _poisson_log_likelihood(y: Array, mu: Array, weights: Array, deviance: float) -> float:
    if (np.abs(y - np.round(y)) > 1e-9 * np.maximum(1, np.abs(y))).any():
        return -np.inf
    saturated = np.where(y > 0, -stirling_error(y) - 0.5 * np.log(2 * np.pi * np.maximum(y, 1)), 0.0)
    return float((weights * (saturated - 0.5 * _poisson_deviance(y, mu))).sum())


def _gamma_log_likelihood(y: Array, mu: Array, weights: Array, deviance: float) -> float:
    from scipy.special import gammaln

    if deviance == 0:
        return np.inf
    total = weights.sum()
    shape = total / deviance
    rows = shape * np.log(shape * y / mu) - shape * y / mu - np.log(y)
    return float((weights * rows).sum() - total * gammaln(shape))


def _inverse_gaussian_log_likelihood(y: Array, mu: Array, weights: Array, deviance: float) -> float:
    if deviance == 0:
        return np.inf
    total = weights.sum()
    return float(-0.5 * (total * (np.log(2 * np.pi * deviance / total) + 1) + 3 * (weights * np.log(y)).sum()))


def _negative_binomial(theta: float | Array) -> Distribution:
    def deviance(y: Array, mu: Array) -> Array:
        return 2 * (_y_log(y, y / mu) - (y + theta) * np.log1p((y - mu) / (mu + theta)))

    def log_likelihood(y: Array, mu: Array, weights: Array, _: float) -> float:
        spread = 0.5 * np.log(2 * np.pi * np.maximum(y, 1e-300) * (y / theta + 1))
        errors = stirling_error(theta + y) - stirling_error(theta) - stirling_error(y)
        return float((weights * (np.where(y > 0, errors - spread, 0.0) - 0.5 * deviance(y, mu))).sum())

    return Distribution(
        variance=lambda mu: mu + mu**2 / theta,
        deviance=deviance,
        start=lambda y, weights: y + (y == 0) / 6,
        legal=_positive,
        log_likelihood=log_likelihood,
        has_dispersion=False,
    )


_DISTRIBUTIONS = {
    "gaussian": Distribution(
        np.ones_like, lambda y, mu: (y - mu) ** 2, lambda y, weights: y, np.isfinite, _gaussian_log_likelihood, True
    ),
    "binomial": Distribution(
        variance=lambda mu: mu * (1 - mu),
        deviance=_binomial_deviance,
        start=lambda y, weights: (weights * y + 0.5) / (weights + 1),
        legal=lambda mu: np.isfinite(mu) & (mu > 0) & (mu < 1),
        log_likelihood=lambda y, mu, weights, deviance: binomial_log_likelihood(y, mu, weights, weights),
        has_dispersion=False,
    ),
    "poisson": Distribution(
        variance=lambda mu: mu,
        deviance=_poisson_deviance,
        start=lambda y, weights: y + 0.1,
        legal=_positive,
        log_likelihood=_poisson_log_likelihood,
        has_dispersion=False,
    ),
    "gamma": Distribution(np.square, _gamma_deviance, lambda y, weights: y, _positive, _gamma_log_likelihood, True),
    "inverse_gaussian": Distribution(
        variance=lambda mu: mu**3,
        deviance=lambda y, mu: (y - mu) ** 2 / (y * mu**2),
        start=lambda y, weights: y,
        legal=np.isfinite,
        log_likelihood=_inverse_gaussian_log_likelihood,
        has_dispersion=True,
    ),
}
