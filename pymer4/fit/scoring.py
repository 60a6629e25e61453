"""Iteratively reweighted least squares: the way to the maximum of a generalized linear model's likelihood.

The path is that of R's `glm.fit`, from its starting values and with its shortening
of steps that leave the legal range. Beyond it, steps that raise the deviance are
shortened too (Marschner 2011, R Journal 3/2, 12-15), and where R would stop, Newton's
steps go on until the coefficients, not just the deviance, stand still.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pymer4.errors import DataError
from pymer4.fit.batched import across, product, times
from pymer4.fit.distributions import EPS, Array, Distribution, Link, distribution, link_function
from pymer4.fit.linear import orthonormal

GLM_TOLERANCE = 1e-11
"""Share of a column's length below which R's `glm` finds it aliased."""

STILL = 1e-11
"""Length of the last step, in standard errors."""

_R_EPSILON, _R_ROUNDS = 1e-8, 25  # control of R's glm
_ROUNDS = 200
_HALVINGS = 40


@dataclass(frozen=True, slots=True)
class Problem:
    """What is fitted: the design in an orthonormal basis, Q = X root, and the outcome."""

    X: Array
    Q: Array
    root: Array
    y: Array
    family: str
    link: str
    weights: Array
    offset: Array | float
    theta: float | None = None

    @classmethod
    def of(cls, X: Array, y: Array, family: str, link: str, weights: Array | None, offset: Array | None) -> Problem:
        """Return the problem of a design."""
        Q, root = orthonormal(X, tol=GLM_TOLERANCE)
        weights = np.ones(len(y)) if weights is None else weights
        return cls(X, Q, root, y, family, link, weights, 0.0 if offset is None else offset)

    def given(self, theta: float | None) -> Problem:
        """Return the same problem at a theta."""
        return replace(self, theta=theta)

    @property
    def function(self) -> Link:
        """The link function."""
        return link_function(self.link)

    @property
    def distribution(self) -> Distribution:
        """The distribution; Poisson's for counts whose theta is yet unknown."""
        if self.family == "nbinom" and self.theta is None:
            return distribution("poisson")
        return distribution(self.family, self.theta)


@dataclass(frozen=True, slots=True)
class Point:
    """Coefficients c in the basis Q, and what follows from them; `deviance` is NaN where they are not legal."""

    c: Array | None
    eta: Array
    mu: Array
    deviance: float

    @property
    def legal(self) -> bool:
        """Whether predictor and means are legal."""
        return np.isfinite(self.deviance)


@dataclass(frozen=True, slots=True)
class Path:
    """Where the iterations ended, and how."""

    point: Point
    working: Array
    converged: bool
    iterations: int
    diverging: bool
    boundary: bool


def at(problem: Problem, c: Array | None, eta: Array) -> Point:
    """Return the point of a linear predictor."""
    family = problem.distribution
    if np.isfinite(eta).all() and problem.function.legal(eta).all():
        mu = problem.function.inverse(eta)
        if family.legal(mu).all():
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                return Point(c, eta, mu, float((problem.weights * family.deviance(problem.y, mu)).sum()))
    return Point(c, eta, eta, np.nan)


def at_coefficients(problem: Problem, c: Array) -> Point:
    """Return the point of coefficients in the basis Q."""
    return at(problem, c, times(problem.Q, c) + problem.offset)


def climb(problem: Problem, point: Point) -> Path:
    """Iterate from a point to the maximum of the likelihood, theta being known.

    Raises:
        DataError: the working weights become singular.
    """
    stop: Path | None = None
    previous = (np.inf, np.inf)
    for iteration in range(1, _ROUNDS + 1):
        try:
            new, working, halved, length = _advance(problem, point, observed=stop is not None)
        except np.linalg.LinAlgError:
            if stop is None:
                raise uninformed(problem) from None
            return stop
        moved = float(np.abs(new.eta - point.eta).max())
        settled = abs(new.deviance - point.deviance) < _R_EPSILON * (0.1 + abs(new.deviance))
        if settled and halved:
            return Path(new, working, True, iteration, False, True)
        if stop is None and (settled or iteration == _R_ROUNDS):
            stop = Path(new, working, settled, iteration, True, halved)
        if _at_rest(new, moved, length, previous):
            return Path(new, working, True, iteration, False, halved)
        limitless = problem.family in ("binomial", "poisson", "nbinom")
        if limitless and stop is not None and iteration >= stop.iterations + 4 and moved > max(0.01, 0.5 * previous[0]):
            return stop
        point, previous = new, (moved, length)
    return Path(point, working, False, _ROUNDS, False, halved)


def uninformed(problem: Problem) -> DataError:
    """Return the error of a fit with working weights that are singular, or below 0."""
    return DataError(
        f"The fit of family {problem.family!r} with link {problem.link!r} runs into means that leave some coefficients "
        "without information. Use another link, or fewer columns."
    )


def _at_rest(new: Point, moved: float, length: float, previous: tuple[float, float]) -> bool:
    """Whether the last step was within rounding error, or a negligible share of the standard errors."""
    if length <= STILL or moved <= 4 * EPS * np.abs(new.eta).max():
        return True
    return length < 1e-7 and length >= previous[1]


def first(problem: Problem, start: Array | None = None) -> Point:
    """Return the point to start from: the coefficients given, R's means, or the one of constant means.

    Raises:
        DataError: none of them is legal.
    """
    if start is not None:
        point = at_coefficients(problem, np.linalg.solve(problem.root, start))
        if point.legal:
            return point
    with np.errstate(divide="ignore", invalid="ignore"):
        point = at(problem, None, problem.function.value(problem.distribution.start(problem.y, problem.weights)))
        if point.legal and _advance(problem, point)[0].legal:
            return point
        level = problem.function.value(np.average(problem.y, weights=problem.weights))
        point = at_coefficients(problem, across(problem.Q, level - problem.offset * np.ones(len(problem.y))))
    if not point.legal:
        raise DataError(
            f"No coefficients were found that give means which family {problem.family!r} with link "
            f"{problem.link!r} can have. Use another link."
        )
    return point


def _advance(problem: Problem, point: Point, observed: bool = False) -> tuple[Point, Array, bool, float]:
    """Return the next point, the working weights, whether the step was cut, and its length in standard errors."""
    slope = problem.function.derivative(point.eta)
    family = problem.distribution
    working = problem.weights * slope**2 / family.variance(point.mu)
    pull = (problem.y - point.mu) / slope
    known = point.c is not None
    force = across(problem.Q, working * (pull if known else pull + point.eta - problem.offset))
    lower = _curvature(problem, point, working, observed)
    half = np.linalg.solve(lower, force)
    step = np.linalg.solve(lower.T, half)
    if not np.isfinite(step).all():
        raise np.linalg.LinAlgError
    if point.c is None:
        new, halved = at_coefficients(problem, step), False
    else:
        new, halved = _shortened(problem, point, point.c, point.c + step)
    spread = 1.0
    if family.has_dispersion:
        # Below 0 where a mean is out of the family's range, which R lets pass too.
        spread = np.sqrt(max((working * pull**2).sum(), 0.0) / max(len(pull) - len(step), 1))
    length = float(np.sqrt(half @ half)) / spread if known and spread > 0 else np.inf
    return new, working, halved, length


def _curvature(problem: Problem, point: Point, working: Array, observed: bool) -> Array:
    """Return the Cholesky factor of the expected information, or of the observed one where that is positive.

    The expected information takes R's path, but where link and distribution don't match it may be slow to arrive.
    """
    expected = product((problem.Q * working[:, None]).T, problem.Q)
    if observed:
        slow = (problem.y - point.mu) * _bend(problem, point.eta)
        try:
            slack = product((problem.Q * (problem.weights * slow)[:, None]).T, problem.Q)
            return np.linalg.cholesky(expected - slack)
        except np.linalg.LinAlgError:
            pass
    return np.linalg.cholesky(expected)


def _bend(problem: Problem, eta: Array) -> Array:
    """Return the derivative of (dmu/deta) / variance by differences; 0 where the link matches the distribution."""
    family, h = problem.distribution, 1e-5 * (1e-3 + np.abs(eta))
    sides = [eta + h, eta - h]
    if not all(problem.function.legal(side).all() for side in sides):
        return np.zeros_like(eta)
    up, down = (problem.function.derivative(side) / family.variance(problem.function.inverse(side)) for side in sides)
    bend = (up - down) / (2 * h)
    return np.where(np.isfinite(bend), bend, 0.0)


def _shortened(problem: Problem, old: Point, start: Array, end: Array) -> tuple[Point, bool]:
    """Return a step that stays legal and does not raise the deviance, and whether it had to be cut to stay legal."""
    new, outside = at_coefficients(problem, end), False
    for _ in range(_HALVINGS):
        if new.legal and new.deviance - old.deviance <= _R_EPSILON * (0.1 + abs(new.deviance)):
            break
        outside = outside or not new.legal
        end = (end + start) / 2
        new = at_coefficients(problem, end)
    return (new if new.legal else old), outside
