"""Generalized linear models fitted to many resamples at once, by iterations on all of them side by side.

Replicates that leave the legal range, or do not come to rest as fast as the
others, are fitted again one by one by `generalized`, which shortens steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymer4.errors import DataError
from pymer4.fit import batched, overdispersion
from pymer4.fit.basis import Basis, Meat, sandwiched
from pymer4.fit.distributions import EPS, Array, distribution, link_function
from pymer4.fit.glm import generalized
from pymer4.fit.linear import independent_columns
from pymer4.fit.sandwich import Kind
from pymer4.fit.scoring import GLM_TOLERANCE

_ROUNDS = 30
_STILL = 1e-10  # length of the last step, in standard errors


@dataclass(frozen=True, slots=True)
class GeneralizedBatch:
    """Many fits of one design.

    Attributes:
        b: coefficients, shape (B, p); NaN where there is no fit.
        ok: whether there is one, shape (B,): columns are independent, and the iterations came to rest, or stopped where
            R's `glm` does.
        unscaled: inverses of X'WX, shape (B, p, p).
        dispersion: shape (B,).
        theta: of the negative binomial, shape (B,), else None.
        separated: whether coefficients grow without limit, shape (B,); they are those at which R's `glm` stops.
        robust: variances of the coefficients by the sandwich asked for, shape (B, p), else None.
    """

    b: Array
    ok: Array
    unscaled: Array
    dispersion: Array
    theta: Array | None
    separated: Array
    robust: Array | None = None

    @property
    def se(self) -> Array:
        """Standard errors of the coefficients, shape (B, p): the sandwich's where one was asked for."""
        if self.robust is not None:
            return np.sqrt(self.robust)
        return np.sqrt(self.dispersion[:, None] * np.einsum("bii->bi", self.unscaled))


def generalized_batch(
    X: Array,
    y: Array,
    family: str,
    link: str,
    weights: Array | None = None,
    offset: Array | None = None,
    theta: float | None = None,
    start: Array | None = None,
    kind: Kind = "iid",
    clusters: Array | None = None,
    n_lags: int = 1,
) -> GeneralizedBatch:
    """Fit one design to many outcomes, or one outcome with many sets of weights.

    Args:
        X: design, shape (n, p), its columns independent.
        y: outcome, shape (n,) or (B, n).
        family: as in `families.LINKS`.
        link: its link.
        weights: prior weights, shape (n,) or (B, n), where 0 leaves a row out; a bootstrap's are counts times weights.
        offset: shape (n,) or (B, n).
        theta: size of the negative binomial; None estimates it in each replicate.
        start: coefficients to start from, shape (p,), such as those of the data.
        kind: which standard errors, as in `sandwich.covariance`.
        clusters: codes of shape (n,), for `cluster`.
        n_lags: for `hac`.
    """
    meat = Meat.of(kind, clusters, n_lags)
    return fitted(Basis.of(X), y, family, link, weights, offset, theta, start, meat)


def fitted(
    basis: Basis,
    y: Array,
    family: str,
    link: str,
    weights: Array | None,
    offset: Array | None,
    theta: float | None,
    start: Array | None,
    meat: Meat,
) -> GeneralizedBatch:
    """Fit a batch in a basis that is at hand; see `generalized_batch`."""
    n = len(basis.Q)
    y, weights, offset = (
        np.atleast_2d(v) for v in (y, np.ones(n) if weights is None else weights, _or_zero(offset, n))
    )
    count = max(len(y), len(weights), len(offset))
    batch = _Batch(basis, y, weights, offset, family, link, count)
    batch.climb(theta, start)
    found = batch.described(meat)
    for k in np.flatnonzero(~found.ok):
        _again(found, k, basis, batch, theta, meat)
    return found


def _or_zero(offset: Array | None, n: int) -> Array:
    return np.zeros(n) if offset is None else offset


class _Batch:
    """Fits under way.

    Attributes:
        c: coefficients in the basis, shape (B, p).
        eta: linear predictors, shape (B, n).
        theta: shape (B,).
        lower: Cholesky factors of the information, shape (B, p, p).
        rested: which fits have come to rest, shape (B,).
    """

    def __init__(self, basis: Basis, y: Array, weights: Array, offset: Array, family: str, link: str, count: int):
        self.basis, self.y, self.weights, self.offset = basis, y, weights, offset
        self.family, self.link, self.function = family, link, link_function(link)
        n, p = basis.Q.shape
        self.c, self.eta = np.zeros((count, p)), np.zeros((count, n))
        self.lower, self.rested = np.full((count, p, p), np.nan), np.zeros(count, dtype=bool)
        self.theta = np.full(count, np.inf)

    def climb(self, theta: float | None, start: Array | None) -> None:
        """Iterate all fits to rest, those of the negative binomial from Poisson fits or from `start`."""
        counts = None
        if self.family == "nbinom":
            self.theta[:] = np.inf if theta is None else theta
            counts = overdispersion.Outcomes(self.y, self.weights) if theta is None else None
        with np.errstate(all="ignore"):
            self._begin(start)
            if counts is not None:
                self._iterate(None, rounds=_ROUNDS if start is None else 1)
                self.rested[:] = False
            self._iterate(counts, _ROUNDS)

    def _begin(self, start: Array | None) -> None:
        """Set the first predictors: of the coefficients given, or R's, followed by a first step."""
        if start is not None:
            self.c[:] = np.linalg.solve(self.basis.root, start)
            self.eta[:] = batched.product(self.c[:1], self.basis.Q.T) + self.offset
            return
        family = distribution(self.family, None if self.family != "nbinom" else np.inf)
        self.eta[:] = self.function.value(family.start(self.y, self.weights))
        every = np.arange(len(self.c))
        working, pull = self._working(every)
        lower, _ = self._factors(working)
        target = np.where(working > 0, working * (self.eta - self.offset + pull), 0.0)
        self.c[:] = batched.solve(lower, batched.product(target, self.basis.Q))
        self.eta[:] = batched.product(self.c, self.basis.Q.T) + self.offset

    def _iterate(self, counts: overdispersion.Outcomes | None, rounds: int) -> None:
        active = np.arange(len(self.c))
        for _ in range(rounds):
            moved_theta = self._update_theta(counts, active)
            working, pull = self._working(active)
            lower, sound = self._factors(working)
            force = batched.product(working * pull, self.basis.Q)
            step = batched.solve(lower, force)
            length = np.sqrt(np.einsum("bi,bi->b", step, force)) / self._spread(active, working, pull)
            shift = batched.product(step, self.basis.Q.T)
            self.c[active] += step
            self.eta[active] += shift
            self.lower[active] = lower
            small = np.abs(shift).max(axis=1) <= 4 * EPS * np.abs(self.eta[active]).max(axis=1)
            rested = sound & self._legal(active) & ((length <= _STILL) | small) & (moved_theta <= _STILL)
            self.rested[active[rested]] = True
            active = active[~rested & sound & np.isfinite(step).all(axis=1)]
            if not len(active):
                return

    def _update_theta(self, counts: overdispersion.Outcomes | None, active: Array) -> Array:
        """Set theta to its best at the means of the fits, and return by which share it moved."""
        if counts is None:
            return np.zeros(len(active))
        old = self.theta[active]
        means = np.maximum(self.function.inverse(self.eta[active]), EPS)
        begun = np.isfinite(old).all()
        new = overdispersion.estimate(counts.rows(active), means, old if begun else None)
        self.theta[active] = new
        return np.where(new == old, 0.0, np.abs(new - old) / new)

    def _means(self, active: Array) -> Array:
        return self.function.inverse(self.eta[active])

    def _rows(self, values: Array, active: Array) -> Array:
        return values[active] if len(values) > 1 else values

    def _working(self, active: Array) -> tuple[Array, Array]:
        """Return working weights and residuals, shape (b, n), both 0 for rows that are left out."""
        eta, weights = self.eta[active], self._rows(self.weights, active)
        mu, slope = self.function.both(eta)
        theta = self.theta[active][:, None] if self.family == "nbinom" else None
        working = weights * slope**2 / distribution(self.family, theta).variance(mu)
        pull = (self._rows(self.y, active) - mu) / slope
        out = np.broadcast_to(weights == 0, eta.shape)
        if out.any():
            working[out], pull[out] = 0.0, 0.0
        return working, pull

    def _factors(self, working: Array) -> tuple[Array, Array]:
        elements = self.basis.grams(working)
        lower, pivots = batched.cholesky(batched.unpacked(elements, self.basis.Q.shape[1]))
        return lower, ~self.basis.doubtful(elements, pivots)

    def _legal(self, active: Array) -> Array:
        eta = self.eta[active]
        family = distribution(self.family, None if self.family != "nbinom" else np.inf)
        legal = self.function.legal(eta) & family.legal(self.function.inverse(eta))
        return (legal | (self._rows(self.weights, active) == 0)).all(axis=1)

    def _spread(self, active: Array, working: Array, pull: Array) -> Array:
        """Return the square root of the dispersion, shape (b,)."""
        if self.family in ("binomial", "poisson", "nbinom"):
            return np.ones(len(active))
        weights = self._rows(self.weights, active)
        df = np.broadcast_to(np.count_nonzero(weights, axis=1), (len(active),)) - self.c.shape[1]
        return np.sqrt(np.einsum("bi,bi->b", working, pull**2) / df)

    def described(self, meat: Meat) -> GeneralizedBatch:
        """Return the record of the fits at rest."""
        every, root = np.arange(len(self.c)), self.basis.root
        with np.errstate(all="ignore"):
            working, pull = self._working(every)
            inverses = batched.inverse(self.lower)
            robust = None
            if meat.kind != "iid":
                h = working * self.basis.leverages(inverses)
                robust = sandwiched(self.basis, inverses, meat.elements(self.basis, working * pull, h))
            found = GeneralizedBatch(
                b=self.basis.coefficients(self.c),
                ok=self.rested & (working >= 0).all(axis=1),
                unscaled=root @ inverses @ root.T,
                dispersion=self._spread(every, working, pull) ** 2,
                theta=self.theta.copy() if self.family == "nbinom" else None,
                separated=np.zeros(len(self.c), dtype=bool),
                robust=robust,
            )
        for values in (found.b, found.unscaled, found.dispersion, found.theta, found.robust):
            if values is not None:
                values[~found.ok] = np.nan
        return found


def _again(found: GeneralizedBatch, k: int, basis: Basis, batch: _Batch, theta: float | None, meat: Meat) -> None:
    """Fit one replicate by itself, into its row of the record; it stays NaN where that fails."""
    y, weights, offset = (v[k] if len(v) > 1 else v[0] for v in (batch.y, batch.weights, batch.offset))
    used = weights > 0
    if not independent_columns(basis.X[used], tol=GLM_TOLERANCE).all():
        return
    try:
        fit = generalized(
            basis.X[used],
            y[used],
            batch.family,
            batch.link,
            weights[used],
            offset[used],
            theta,
            has_intercept=False,
        )
    except DataError:
        return
    if not (fit.converged or fit.separated):
        return
    found.b[k], found.unscaled[k], found.dispersion[k] = fit.b, fit.unscaled, fit.dispersion
    found.ok[k], found.separated[k] = True, fit.separated
    if found.theta is not None:
        found.theta[k] = fit.theta
    if found.robust is not None:
        working, scale = np.zeros(len(y)), np.zeros(len(y))
        working[used], scale[used] = fit.working_weights, fit.weighted_residuals
        own = np.linalg.solve(basis.root, fit.root)
        inverses = (own @ own.T)[None]
        h = working * basis.leverages(inverses)
        found.robust[k] = sandwiched(basis, inverses, meat.elements(basis, scale[None], h))[0]
