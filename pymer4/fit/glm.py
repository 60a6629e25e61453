"""Generalized linear models, with the numbers of R's `glm` and MASS's `glm.nb`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymer4.errors import DataError
from pymer4.fit import overdispersion
from pymer4.fit.basis import Basis
from pymer4.fit.distributions import EPS, Array, binomial_log_likelihood
from pymer4.fit.influence import Fit
from pymer4.fit.irls import STILL, Path, Point, advanced, climb
from pymer4.fit.linear import GLM_TOLERANCE, factor, inverse_triangle
from pymer4.fit.systems import OneDesign
from pymer4.work import keep_memory

_ALTERNATIONS = 100


@dataclass(frozen=True, slots=True)
class GeneralizedFit(Fit):
    """A fitted generalized linear model.

    Attributes:
        family: error distribution, as in `families.LINKS`.
        link: its link.
        b: coefficients, shape (p,).
        unscaled: inverse of X'WX with the working weights, shape (p, p).
        root: T with T T' = `unscaled`, upper triangular, shape (p, p).
        eta: linear predictor with the offset, shape (n,).
        fitted: means on the scale of the outcome, shape (n,).
        residuals: deviance residuals, shape (n,).
        working_weights: W, shape (n,).
        working_residuals: (y − mu) / (dmu/deta), shape (n,).
        weights: prior weights as given, shape (n,), or None.
        dispersion: 1 for binomial, poisson and nbinom, else Pearson's chi-square over `df_resid`.
        deviance: as R's.
        null_deviance: as R's, of the model with the intercept (if any) and the offset alone.
        df_resid: n − p.
        n_parameters: coefficients, and the dispersion or theta where it is estimated, as AIC counts them.
        log_likelihood: as R's `logLik`.
        AIC: as R's.
        BIC: as R's.
        theta: size of the negative binomial; inf where the counts vary no more than Poisson counts. None else.
        theta_se: its standard error, NaN where theta is inf or was given. None else.
        converged: whether the iterations came to rest.
        iterations: how many there were; with an estimated theta, in its last round.
        separated: fitted probabilities or rates are numerically at their limits (where R warns), or coefficients grow
            without limit; the numbers are then those at which R's `glm` stops.
        boundary: the last step was shortened to stay in the legal range (where R warns), or theta is inf.
        messages: what R's `glm` warns of, in its words.
    """

    family: str
    link: str
    b: Array
    unscaled: Array
    root: Array
    eta: Array
    fitted: Array
    residuals: Array
    working_weights: Array
    working_residuals: Array
    weights: Array | None
    dispersion: float
    deviance: float
    null_deviance: float
    df_resid: int
    n_parameters: int
    log_likelihood: float
    AIC: float
    BIC: float
    theta: float | None
    theta_se: float | None
    converged: bool
    iterations: int
    separated: bool
    boundary: bool
    messages: tuple[str, ...]

    @property
    def vcov(self) -> Array:
        """Covariance of b, shape (p, p)."""
        return self.dispersion * self.unscaled

    @property
    def row_weights(self) -> Array:
        """The working weights, shape (n,)."""
        return self.working_weights

    @property
    def weighted_residuals(self) -> Array:
        """Working weights times working residuals, shape (n,)."""
        return self.working_weights * self.working_residuals


def generalized(
    X: Array,
    y: Array,
    family: str,
    link: str,
    weights: Array | None = None,
    offset: Array | None = None,
    theta: float | None = None,
    start: Array | None = None,
    has_intercept: bool = True,
    trials: Array | None = None,
) -> GeneralizedFit:
    """Fit a generalized linear model by maximum likelihood.

    Args:
        X: design, shape (n, p), its columns independent.
        y: outcome, shape (n,); for binomial the proportion of successes.
        family: as in `families.LINKS`.
        link: its link.
        weights: prior weights, shape (n,), above 0: for binomial the number of trials, times any other weight.
        offset: known part of the linear predictor, shape (n,).
        theta: size of the negative binomial; None estimates it.
        start: coefficients to start from, shape (p,).
        has_intercept: whether the null model has an intercept.
        trials: trials of a binomial proportion, shape (n,), where `weights` are not just those.

    Raises:
        DataError: aliased columns, or no starting values that give legal means.

    Examples:
        >>> X = np.column_stack([np.ones(6), np.arange(6.0)])
        >>> fit = generalized(X, np.array([1.0, 2, 2, 5, 9, 14]), "poisson", "log")
        >>> fit.b.round(4).tolist(), fit.converged
        ([-0.0388, 0.5403], True)
    """
    keep_memory()
    system = _by_itself(X, y, family, link, weights, offset, theta)
    with np.errstate(all="ignore"):
        if family == "nbinom" and theta is None:
            system, path, theta_se = _alternate(system, start)
        else:
            path, theta_se = _climb(system, _first(system, start)), np.nan
        if (path.working < 0).any():
            raise _uninformed(system)
        return _described(system, path, theta_se, theta is not None, has_intercept, weights, trials)


def _by_itself(
    X: Array, y: Array, family: str, link: str, weights: Array | None, offset: Array | None, theta: float | None
) -> OneDesign:
    basis = Basis.of(X, tol=GLM_TOLERANCE, many=False)
    return OneDesign.of(basis, y, family, link, weights, offset, theta, careful=True)


def _first(system: OneDesign, start: Array | None = None) -> Point:
    """Return the point to start from: the coefficients given, R's means, or the one of constant means.

    Raises:
        DataError: none of them is legal.
    """

    def at(c: Array) -> Point:
        return Point.start(system, system.predicted(c[None]), c[None])

    if start is not None:
        point = at(np.linalg.solve(system.basis.root, start))
        if not np.isnan(point.deviance):
            return point
    point = Point.start(system, system.link.value(system.law.start(system.y, system.weights)))
    if not np.isnan(point.deviance) and not np.isnan(advanced(system, point).deviance):
        return point
    level = system.link.value(np.average(system.y, weights=system.weights))
    point = at(((level - system.offset) @ system.basis.Q)[0])
    if np.isnan(point.deviance):
        family, link = system.names
        raise DataError(
            f"No coefficients were found that give means which family {family!r} with link {link!r} can have. "
            "Use another link."
        )
    return point


def _climb(system: OneDesign, point: Point) -> Path:
    """Iterate from a point to the maximum of the likelihood, theta being known.

    Raises:
        DataError: the working weights become singular.
    """
    path = climb(system, point, system.basis.Q.shape[1])
    if not path.iterations[0]:
        raise _uninformed(system)
    return path


def _uninformed(system: OneDesign) -> DataError:
    family, link = system.names
    return DataError(
        f"The fit of family {family!r} with link {link!r} runs into means that leave some coefficients "
        "without information. Use another link, or fewer columns."
    )


def _alternate(system: OneDesign, start: Array | None) -> tuple[OneDesign, Path, float]:
    """Fit coefficients and theta in turn until neither moves, as MASS's `glm.nb`; return theta's error as well."""
    counts = overdispersion.Outcomes(system.y, system.weights)

    def means() -> Array:
        return system.link.inverse(system.predicted(path.c))

    path = _climb(system, _first(system, start))
    theta = overdispersion.estimate(counts, means())
    for _ in range(_ALTERNATIONS):
        system = system.given(theta)
        path = _climb(system, Point.start(system, system.predicted(path.c), path.c))
        if np.isinf(theta[0]):
            return system, path, np.nan
        last, theta = theta, overdispersion.estimate(counts, means(), theta)
        if abs(last[0] - theta[0]) <= STILL * theta[0]:
            break
    information = counts.information(system.theta, means())
    return system, path, float(1 / np.sqrt(information[0]))


def _described(
    system: OneDesign,
    path: Path,
    theta_se: float,
    theta_given: bool,
    has_intercept: bool,
    weights: Array | None,
    trials: Array | None,
) -> GeneralizedFit:
    """Return the record of a fit."""
    (family, link), law = system.names, system.law
    y, prior, eta, working = system.y[0], system.weights[0], system.predicted(path.c)[0], path.working[0]
    mu = system.link.inverse(eta)
    (n, p), deviance = system.basis.X.shape, float(path.deviance[0])
    factored = factor(system.basis.X, working, GLM_TOLERANCE)
    root = inverse_triangle(factored.R) if factored.kept.all() else np.full((p, p), np.nan)
    pull = (y - mu) / system.link.derivative(eta)
    if family == "binomial":
        log_likelihood = binomial_log_likelihood(y, mu, prior, prior if trials is None else trials)
    else:
        log_likelihood = law.log_likelihood(y, mu, prior, deviance)
    dispersion = np.nan if law.has_dispersion else 1.0
    if law.has_dispersion and n > p:
        dispersion = float((working * pull**2).sum() / (n - p))
    estimated_theta = family == "nbinom" and not theta_given
    n_parameters = p + (law.has_dispersion or estimated_theta)
    theta = None if system.theta is None else float(system.theta[0])
    at_limit = _at_limit(family, mu)
    return GeneralizedFit(
        family=family,
        link=link,
        b=system.basis.root @ path.c[0],
        unscaled=root @ root.T,
        root=root,
        eta=eta,
        fitted=mu,
        residuals=np.sign(y - mu) * np.sqrt(np.maximum(prior * law.deviance(y, mu), 0)),
        working_weights=working,
        working_residuals=pull,
        weights=weights,
        dispersion=dispersion,
        deviance=deviance,
        null_deviance=_null_deviance(system, has_intercept),
        df_resid=n - p,
        n_parameters=n_parameters,
        log_likelihood=log_likelihood,
        AIC=2 * n_parameters - 2 * log_likelihood,
        BIC=float(np.log(n)) * n_parameters - 2 * log_likelihood,
        theta=theta,
        theta_se=theta_se if family == "nbinom" else None,
        converged=bool(path.converged[0]),
        iterations=int(path.iterations[0]),
        separated=bool(path.diverging[0]) or at_limit,
        boundary=bool(path.boundary[0]) or (estimated_theta and bool(np.isinf(theta))),
        messages=_messages(system, path, at_limit, trials),
    )


def _null_deviance(system: OneDesign, has_intercept: bool) -> float:
    y, prior, offset = system.y[0], system.weights[0], system.offset[0]
    if has_intercept and offset.any():
        theta = None if system.theta is None else float(system.theta[0])
        alone = _by_itself(np.ones((len(y), 1)), y, *system.names, prior, offset, theta)
        return float(_climb(alone, _first(alone)).deviance[0])
    mu = np.full(len(y), np.average(y, weights=prior)) if has_intercept else system.link.inverse(offset)
    return float((prior * system.law.deviance(y, mu)).sum())


def _at_limit(family: str, mu: Array) -> bool:
    """Return whether fitted probabilities or rates are numerically at their limits."""
    high, low = bool((mu > 1 - 10 * EPS).any()), bool((mu < 10 * EPS).any())
    return low if family in ("poisson", "nbinom") else family == "binomial" and (low or high)


def _messages(system: OneDesign, path: Path, at_limit: bool, trials: Array | None) -> tuple[str, ...]:
    """Return what R's `glm` warns of, but for counts that are no whole numbers."""
    successes = system.y * (system.weights if trials is None else trials)
    told = {
        "non-integer #successes in a binomial glm!": system.names[0] == "binomial"
        and (np.abs(successes - np.round(successes)) > 1e-3).any(),
        "glm.fit: algorithm did not converge": not path.converged[0],
        "glm.fit: algorithm stopped at boundary value": path.boundary[0],
        "glm.fit: fitted probabilities numerically 0 or 1 occurred": at_limit and system.names[0] == "binomial",
        "glm.fit: fitted rates numerically 0 occurred": at_limit and system.names[0] == "poisson",
    }
    return tuple(text for text, is_so in told.items() if is_so)
