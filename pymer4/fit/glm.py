"""Generalized linear models, with the numbers of R's `glm` and MASS's `glm.nb`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymer4.fit import overdispersion
from pymer4.fit.distributions import EPS, Array, Distribution, binomial_log_likelihood
from pymer4.fit.influence import leverages
from pymer4.fit.linear import factor, inverse_triangle
from pymer4.fit.scoring import GLM_TOLERANCE, STILL, Path, Problem, at, climb, first, uninformed

_ALTERNATIONS = 100


@dataclass(frozen=True, slots=True)
class GeneralizedFit:
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
        response_residuals: y − fitted, shape (n,).
        working_weights: W, shape (n,).
        working_residuals: (y − mu) / (dmu/deta), shape (n,).
        weights: prior weights as given, shape (n,), or None.
        dispersion: 1 for binomial, poisson and nbinom, else Pearson's chi-square over `df_resid`.
        deviance: as R's.
        null_deviance: as R's, of the model with the intercept (if any) and the offset alone.
        df_resid: n − p.
        df_null: n − 1 with an intercept, else n.
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
    response_residuals: Array
    working_weights: Array
    working_residuals: Array
    weights: Array | None
    dispersion: float
    deviance: float
    null_deviance: float
    df_resid: int
    df_null: int
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
    def se(self) -> Array:
        """Standard errors of b, shape (p,)."""
        return np.sqrt(self.dispersion * np.diag(self.unscaled))

    @property
    def weighted_residuals(self) -> Array:
        """Working weights times working residuals, shape (n,)."""
        return self.working_weights * self.working_residuals

    def scores(self, X: Array) -> Array:
        """Return the rows x_i w_i e_i of working weights and residuals, shape (n, p), that sandwiches are made of."""
        return X * self.weighted_residuals[:, None]

    def leverages(self, X: Array) -> Array:
        """Return the diagonal of the hat matrix at the working weights, shape (n,)."""
        return leverages(X, self.root, self.working_weights)


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
    problem = Problem.of(X, y, family, link, weights, offset)
    if family == "nbinom" and theta is None:
        problem, path, theta_se = _alternate(problem, start)
    else:
        problem = problem.given(theta)
        path, theta_se = climb(problem, first(problem, start)), np.nan
    if (path.working < 0).any():
        raise uninformed(problem)
    return _described(problem, path, theta_se, theta is not None, has_intercept, weights, trials)


def _alternate(problem: Problem, start: Array | None) -> tuple[Problem, Path, float]:
    """Fit coefficients and theta in turn until neither moves, as MASS's `glm.nb`; return theta's error as well."""
    counts = overdispersion.Outcomes(problem.y, problem.weights)
    path = climb(problem, first(problem, start))
    theta = overdispersion.estimate(counts, path.point.mu[None])
    for _ in range(_ALTERNATIONS):
        problem = problem.given(float(theta[0]))
        path = climb(problem, at(problem, path.point.c, path.point.eta))
        if np.isinf(theta[0]):
            return problem, path, np.nan
        last, theta = theta, overdispersion.estimate(counts, path.point.mu[None], theta)
        if abs(last[0] - theta[0]) <= STILL * theta[0]:
            break
    information = counts.information(np.array([problem.theta]), path.point.mu[None])
    return problem, path, float(1 / np.sqrt(information[0]))


def _described(
    problem: Problem,
    path: Path,
    theta_se: float,
    theta_given: bool,
    has_intercept: bool,
    weights: Array | None,
    trials: Array | None,
) -> GeneralizedFit:
    """Return the record of a fit."""
    family, point, prior = problem.distribution, path.point, problem.weights
    n, p = problem.X.shape
    root = _root(problem, path.working)
    rows = prior * family.deviance(problem.y, point.mu)
    pull = (problem.y - point.mu) / problem.function.derivative(point.eta)
    if problem.family == "binomial":
        log_likelihood = binomial_log_likelihood(problem.y, point.mu, prior, prior if trials is None else trials)
    else:
        log_likelihood = family.log_likelihood(problem.y, point.mu, prior, point.deviance)
    estimated_theta = problem.family == "nbinom" and not theta_given
    n_parameters = p + (family.has_dispersion or estimated_theta)
    at_limit = _at_limit(problem.family, point.mu)
    return GeneralizedFit(
        family=problem.family,
        link=problem.link,
        b=problem.root @ point.c,
        unscaled=root @ root.T,
        root=root,
        eta=point.eta,
        fitted=point.mu,
        residuals=np.sign(problem.y - point.mu) * np.sqrt(np.maximum(rows, 0)),
        response_residuals=problem.y - point.mu,
        working_weights=path.working,
        working_residuals=pull,
        weights=weights,
        dispersion=float((path.working * pull**2).sum() / (n - p))
        if family.has_dispersion and n > p
        else _unscaled(family),
        deviance=point.deviance,
        null_deviance=_null_deviance(problem, has_intercept),
        df_resid=n - p,
        df_null=n - has_intercept,
        n_parameters=n_parameters,
        log_likelihood=log_likelihood,
        AIC=2 * n_parameters - 2 * log_likelihood,
        BIC=float(np.log(n)) * n_parameters - 2 * log_likelihood,
        theta=problem.theta if problem.family == "nbinom" else None,
        theta_se=theta_se if problem.family == "nbinom" else None,
        converged=path.converged,
        iterations=path.iterations,
        separated=path.diverging or at_limit,
        boundary=path.boundary or (estimated_theta and bool(np.isinf(problem.theta))),
        messages=_messages(problem, path, at_limit, trials),
    )


def _unscaled(family: Distribution) -> float:
    return np.nan if family.has_dispersion else 1.0


def _root(problem: Problem, working: Array) -> Array:
    """Return T with T T' = (X'WX)⁻¹; NaN where the working weights are singular."""
    factored = factor(problem.X, working, GLM_TOLERANCE)
    return inverse_triangle(factored.R) if factored.kept.all() else np.full_like(problem.root, np.nan)


def _null_deviance(problem: Problem, has_intercept: bool) -> float:
    y, prior, family = problem.y, problem.weights, problem.distribution
    if has_intercept and np.ndim(problem.offset):
        alone = Problem.of(np.ones((len(y), 1)), y, problem.family, problem.link, prior, problem.offset)
        alone = alone.given(problem.theta)
        return climb(alone, first(alone)).point.deviance
    if has_intercept:
        mu = np.full(len(y), np.average(y, weights=prior))
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            mu = problem.function.inverse(problem.offset + np.zeros(len(y)))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return float((prior * family.deviance(y, mu)).sum())


def _at_limit(family: str, mu: Array) -> bool:
    if family == "binomial":
        return bool((mu > 1 - 10 * EPS).any() or (mu < 10 * EPS).any())
    return family in ("poisson", "nbinom") and bool((mu < 10 * EPS).any())


def _messages(problem: Problem, path: Path, at_limit: bool, trials: Array | None) -> tuple[str, ...]:
    """Return what R's `glm` warns of, but for counts that are no whole numbers."""
    found = []
    successes = problem.y * (problem.weights if trials is None else trials)
    if problem.family == "binomial" and (np.abs(successes - np.round(successes)) > 1e-3).any():
        found.append("non-integer #successes in a binomial glm!")
    if not path.converged:
        found.append("glm.fit: algorithm did not converge")
    if path.boundary:
        found.append("glm.fit: algorithm stopped at boundary value")
    if at_limit and problem.family == "binomial":
        found.append("glm.fit: fitted probabilities numerically 0 or 1 occurred")
    if at_limit and problem.family == "poisson":
        found.append("glm.fit: fitted rates numerically 0 occurred")
    return tuple(found)
