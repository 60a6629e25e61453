"""Generalized linear models fitted to many resamples at once, by iterations on all of them side by side.

Replicates that leave the legal range, or do not come to rest as fast as the
others, are fitted again one by one by `generalized`, which shortens steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pymer4.errors import DataError
from pymer4.fit import batched, overdispersion
from pymer4.fit.basis import Basis
from pymer4.fit.distributions import Array
from pymer4.fit.glm import generalized
from pymer4.fit.irls import Path, Point, climb
from pymer4.fit.linear import GLM_TOLERANCE, independent_columns
from pymer4.fit.sandwich import PLAIN, Meat, sandwiched
from pymer4.fit.systems import OneDesign


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
        robust: variances of L b by the sandwich asked for, shape (B, k), else None.
        L: rows whose L b are tested, shape (k, p); None for the coefficients.
    """

    b: Array
    ok: Array
    unscaled: Array
    dispersion: Array
    theta: Array | None
    separated: Array
    robust: Array | None = None
    L: Array | None = None

    @property
    def z(self) -> Array:
        """L b over its standard error, shape (B, k): the sandwich's where one was asked for."""
        L = np.eye(self.b.shape[1]) if self.L is None else self.L
        variances = self.robust
        if variances is None:
            variances = self.dispersion[:, None] * (batched.packed(self.unscaled) @ batched.quadratic(L))
        return (self.b if self.L is None else self.b @ L.T) / np.sqrt(variances)


def fitted(
    basis: Basis,
    y: Array,
    family: str,
    link: str,
    weights: Array | None = None,
    offset: Array | None = None,
    theta: float | None = None,
    start: Array | None = None,
    meat: Meat = PLAIN,
    L: Array | None = None,
) -> GeneralizedBatch:
    """Fit one design to many outcomes, or one outcome with many sets of weights.

    Outcomes, weights and offsets are of shape (n,) or (B, n); weight 0 leaves a row out. A theta of None is estimated
    in each replicate. `start` are coefficients to start from, shape (p,), such as those of the data.
    """
    system = OneDesign.of(basis, y, family, link, weights, offset, theta)
    with np.errstate(all="ignore"):
        system, path = _climbed(system, theta, start)
        found = _described(system, path, meat, L)
    for k in np.flatnonzero(~found.ok):
        _again(found, k, system, theta, meat)
    return found


def _climbed(system: OneDesign, theta: float | None, start: Array | None) -> tuple[OneDesign, Path]:
    """Return where all come to rest, those of the negative binomial from Poisson fits, or from one step of them."""
    (n, p), count = system.basis.Q.shape, len(system.places)
    if start is None:
        eta, c = system.link.value(system.law.start(system.y, system.weights)), None
    else:
        c = np.tile(np.linalg.solve(system.basis.root, start), (count, 1))
        eta = system.predicted(c)
    point = Point.start(system, np.broadcast_to(eta, (count, n)), c)
    if system.theta is None or theta is not None:
        return system, climb(system, point, p)
    c = climb(system, point, p, rounds=None if start is None else 1).c
    counted = replace(system, counts=overdispersion.Outcomes(system.y, system.weights))
    path = climb(counted, Point.start(counted, system.predicted(c), c), p)
    return system.given(path.theta), path


def _described(system: OneDesign, path: Path, meat: Meat, L: Array | None) -> GeneralizedBatch:
    """Return the record of the fits at rest."""
    basis, root = system.basis, system.basis.root
    law, (mu, slope) = system.law, system.link.both(system.predicted(path.c))
    there = system.weights > 0
    working = np.where(there, system.weights * slope**2 / law.variance(mu), 0.0)
    pull = np.where(there, (system.y - mu) / slope, 0.0)
    scale = working * pull
    inverses = batched.inverse(path.factor)
    spread, robust = np.ones(len(path.c)), None
    if law.has_dispersion:
        spread = np.einsum("bi,bi->b", scale, pull) / system.df
    if meat.kind != "iid":
        h = working * basis.leverages(inverses)
        robust = sandwiched(basis if L is None else basis.toward(L), inverses, meat.elements(basis, scale, h))
    found = GeneralizedBatch(
        b=basis.coefficients(path.c),
        ok=path.converged,
        unscaled=root @ inverses @ root.T,
        dispersion=spread,
        theta=system.theta,
        separated=np.zeros(len(path.c), dtype=bool),
        robust=robust,
        L=L,
    )
    for values in (found.b, found.unscaled, found.dispersion, found.theta, found.robust):
        if values is not None:
            values[~found.ok] = np.nan
    return found


def _again(found: GeneralizedBatch, k: int, system: OneDesign, theta: float | None, meat: Meat) -> None:
    """Fit one replicate by itself, into its row of the record; it stays NaN where that fails."""
    basis = system.basis
    y, weights, offset = (v[k] if len(v) > 1 else v[0] for v in (system.y, system.weights, system.offset))
    used = weights > 0
    X = basis.X[used]
    if not independent_columns(X, tol=GLM_TOLERANCE).all():
        return
    try:
        fit = generalized(X, y[used], *system.names, weights[used], offset[used], theta, has_intercept=False)
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
        root = np.linalg.solve(basis.root, fit.root)
        inverses = (root @ root.T)[None]
        h = working * basis.leverages(inverses)
        shown = basis if found.L is None else basis.toward(found.L)
        found.robust[k] = sandwiched(shown, inverses, meat.elements(basis, scale[None], h))[0]
