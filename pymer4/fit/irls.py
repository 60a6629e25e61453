"""The loop of iteratively reweighted least squares, over many problems side by side.

A careful climb, of one problem, takes the path of R's `glm.fit`, from its starting values and with its shortening of
steps that leave the legal range. Beyond it, steps that raise the deviance are shortened too (Marschner 2011, R Journal
3/2, 12-15), and where R would stop, Newton's steps go on until the coefficients, not just the deviance, stand still.
Other climbs take full steps of Fisher's scoring, and give up problems that leave the legal range.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from pymer4.fit.distributions import EPS, Array, Distribution, Link

STILL = 1e-11
"""Length of the last step of a careful climb, in standard errors; of others ten times that."""

_R_EPSILON, _R_ROUNDS = 1e-8, 25  # control of R's glm
_ROUNDS, _CAREFUL_ROUNDS = 30, 200
_HALVINGS = 40

S = TypeVar("S", bound="System")


@dataclass(frozen=True, eq=False, kw_only=True)
class System(ABC):
    """K problems side by side; numbers of rows lie as the system likes, "rows" below.

    Attributes:
        law: their distribution.
        link: and link.
        y: outcomes, rows or what broadcasts to them.
        weights: prior weights, likewise; 0 leaves a row out, but for a careful climb.
        offset: likewise.
        places: of the problems among all there were at first, shape (K,).
        theta: sizes of the negative binomial, shape (K,), or None.
        careful: see above.
    """

    law: Distribution
    link: Link
    y: Array
    weights: Array
    offset: Array
    places: Array
    theta: Array | None = None
    careful: bool = False

    @property
    @abstractmethod
    def df(self) -> Array:
        """Residual degrees of freedom, shape (K,)."""

    @abstractmethod
    def among(self: S, keep: Array) -> S:
        """Return some of the problems."""

    @abstractmethod
    def rows(self, values: Array, keep: Array) -> Array:
        """Return the rows of some of the problems."""

    @abstractmethod
    def spread(self, values: Array) -> Array:
        """Return numbers of the problems, shape (K,), for their rows."""

    @abstractmethod
    def over(self, how: np.ufunc, values: Array) -> Array:
        """Reduce rows to a number a problem, shape (K,)."""

    @abstractmethod
    def predicted(self, c: Array) -> Array:
        """Return the linear predictors, rows, offset included, of coefficients of shape (K, p)."""

    @abstractmethod
    def solved(self, working: Array, target: Array, slack: Array | None) -> tuple[Array, Array, Array, Array]:
        """Return steps (K, p), squares of their lengths, factors of the information (K, p, p), and which are sound.

        `slack` is by what the weights of the observed information are below those of the expected, where it is asked.
        """

    def renewed(self: S, eta: Array) -> tuple[S, Array | float]:
        """Return the system with theta at its best, and by which share it moved."""
        return self, 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """Where the problems are, and how the last round came there.

    Attributes:
        c: coefficients as the system takes them, shape (K, p); None where only means are known.
        eta: linear predictors, rows.
        deviance: shape (K,); NaN where the point is not legal, or the climb is not careful.
        moved: largest change of eta, shape (K,).
        length: of the step in standard errors, shape (K,).
        working: weights, rows.
        factor: of the information, shape (K, p, p).
        sound: whether there was a step, shape (K,).
        cut: whether it was cut to stay legal, shape (K,).
    """

    c: Array
    eta: Array
    deviance: Array
    moved: Array
    length: Array
    working: Array = None
    factor: Array = None
    sound: Array = None
    cut: Array = None

    @classmethod
    def start(cls, system: System, eta: Array, c: Array | None = None) -> Point:
        """Return the point of linear predictors, and of coefficients where they are known."""
        far = np.full(len(system.places), np.inf)
        return cls(c, eta, deviance(system, eta) if system.careful else far, far, far)

    def among(self, system: System, keep: Array) -> Point:
        """Return what the next round asks of some of the problems."""
        if keep.all():
            return self
        numbers = (v[keep] for v in (self.deviance, self.moved, self.length))
        return Point(self.c[keep], system.rows(self.eta, keep), *numbers)


class Path:
    """Where the climbs of K problems ended, and how.

    Attributes:
        c: coefficients, shape (K, p), NaN where a problem was given up.
        deviance: of a careful climb, shape (K,).
        factor: of the information in the last round, shape (K, p, p).
        working: weights of the last round of a careful climb, rows.
        theta: shape (K,).
        iterations: rounds, shape (K,); 0 where a problem was given up.
        converged: whether it came to rest, or stopped where R's `glm` does, shape (K,).
        diverging: whether it went on without limit, and ended where R's `glm` would have stopped, shape (K,).
        boundary: whether the last step was cut to stay legal, shape (K,).
    """

    def __init__(self, K: int, p: int):
        self.c, self.factor = np.full((K, p), np.nan), np.full((K, p, p), np.nan)
        self.deviance, self.theta = np.full((2, K), np.nan)
        self.iterations, self.working = np.zeros(K, dtype=int), np.empty(0)
        self.converged, self.diverging, self.boundary = np.zeros((3, K), dtype=bool)

    def put(
        self, system: System, which: Array, at: Point, iteration: int, converged: bool, diverging: bool = False
    ) -> None:
        """Note where some problems are."""
        if not which.any():
            return
        places = system.places[which]
        self.c[places], self.factor[places], self.deviance[places] = at.c[which], at.factor[which], at.deviance[which]
        self.iterations[places], self.boundary[places] = iteration, at.cut[which]
        self.converged[places], self.diverging[places] = converged, diverging
        if system.theta is not None:
            self.theta[places] = system.theta[which]
        if system.careful:
            self.working = at.working


def climb(system: System, point: Point, p: int, rounds: int | None = None) -> Path:
    """Iterate from a point until each problem, of p coefficients, is at rest or given up; no more rounds than asked."""
    path, rounds = Path(len(system.places), p), rounds or (_CAREFUL_ROUNDS if system.careful else _ROUNDS)
    stopped = 0  # the round in which R's glm would have stopped
    for iteration in range(1, rounds + 1):
        system, drift = system.renewed(point.eta)
        new = advanced(system, point, observed=stopped > 0)
        rest = new.sound & _at_rest(system, new, point) & (drift <= STILL)
        if system.careful:
            settled = bool(np.abs(new.deviance - point.deviance) < _R_EPSILON * (0.1 + np.abs(new.deviance)))
            rest |= new.sound & settled & new.cut
            if not stopped and (settled or iteration == _R_ROUNDS):
                stopped = iteration
                path.put(system, new.sound, new, iteration, settled, diverging=True)
            runs_away = new.moved > np.maximum(0.01, 0.5 * point.moved)
            if stopped and iteration >= stopped + 4 and runs_away and not (rest or system.law.has_dispersion):
                break
        path.put(system, rest, new, iteration, converged=True)
        going = new.sound & ~rest
        if iteration == rounds:
            path.put(system, going, new, iteration, converged=False)
        if not going.any():
            break
        point, system = new.among(system, going), system.among(going)
    return path


def advanced(system: System, point: Point, observed: bool = False) -> Point:
    """Return the next point, by the expected information, or by the observed where that is positive."""
    law, known = system.law, point.c is not None
    mu, slope = system.link.both(point.eta)
    working, pull = system.weights * slope**2 / law.variance(mu), (system.y - mu) / slope
    sound = np.array([True])
    if not system.careful:
        out = np.broadcast_to(system.weights == 0, pull.shape)
        if out.any():
            working[out], pull[out] = 0.0, 0.0
        legal = system.link.legal(point.eta) & law.legal(mu) & np.isfinite(working * pull) & (working > 0)
        sound = system.over(np.logical_and, legal | out)
        if not sound.all():
            there = system.spread(sound)
            working, pull = np.where(there, working, 1.0), np.where(there, pull, 0.0)
    slack = system.weights * (system.y - mu) * _bend(system, point.eta) if observed else None
    target = pull if known else pull + point.eta - system.offset
    step, square, factor, regular = system.solved(working, target, slack)
    sound = sound & regular & np.isfinite(square)
    c, length = (point.c + step, np.sqrt(np.maximum(square, 0.0))) if known else (step, point.length)
    if known and law.has_dispersion:
        # Below 0 where a mean is out of the family's range, which R lets pass too.
        length /= np.sqrt(np.maximum(system.over(np.add, working * pull**2), 0.0) / np.maximum(system.df, 1))
    eta, now, cut = system.predicted(c), point.deviance, np.zeros(len(c), dtype=bool)
    if system.careful:
        c, eta, now, cut = _shortened(system, point, c, eta)
    moved = system.over(np.maximum, np.abs(eta - point.eta))
    return Point(c, eta, now, moved, length, working, factor, sound, cut)


def _at_rest(system: System, new: Point, old: Point) -> Array:
    """Return where the last step was within rounding error, or a negligible share of the standard errors."""
    small = new.moved <= 4 * EPS * system.over(np.maximum, np.abs(new.eta))
    no_shorter = (new.length < 1e-7) & (new.length >= old.length)
    return small | no_shorter | (new.length <= (STILL if system.careful else 10 * STILL))


def deviance(system: System, eta: Array) -> Array:
    """Return the deviances at linear predictors, shape (K,); NaN where these or the means are not legal."""
    mu = system.link.inverse(eta)
    legal = system.over(np.logical_and, system.link.legal(eta) & system.law.legal(mu))
    total = system.over(np.add, system.weights * system.law.deviance(system.y, mu))
    return np.where(legal & np.isfinite(total), total, np.nan)


def _shortened(system: System, old: Point, c: Array, eta: Array) -> tuple[Array, Array, Array, Array]:
    """Return a step that stays legal and does not raise the deviance, and whether it had to be cut to stay legal."""
    now, cut = deviance(system, eta), np.array([False])
    if old.c is None:
        return c, eta, now, cut
    for _ in range(_HALVINGS):
        if now - old.deviance <= _R_EPSILON * (0.1 + np.abs(now)):
            return c, eta, now, cut
        cut = cut | np.isnan(now)
        c = (c + old.c) / 2
        eta = system.predicted(c)
        now = deviance(system, eta)
    return (old.c, old.eta, old.deviance, cut) if np.isnan(now) else (c, eta, now, cut)


def _bend(system: System, eta: Array) -> Array:
    """Return the derivative of (dmu/deta) / variance by differences; 0 where the link matches the distribution.

    The expected information takes R's path, but where link and distribution don't match it may be slow to arrive.
    """
    h = 1e-5 * (1e-3 + np.abs(eta))
    sides = [eta + h, eta - h]
    if not all(system.link.legal(side).all() for side in sides):
        return np.zeros_like(eta)
    up, down = (system.link.derivative(side) / system.law.variance(system.link.inverse(side)) for side in sides)
    bend = (up - down) / (2 * h)
    return np.where(np.isfinite(bend), bend, 0.0)
