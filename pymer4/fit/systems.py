"""Problems side by side, as `irls.System` says: one design with many outcomes or weights, and groups of rows.

The columns of groups are made orthogonal one after the other by modified Gram-Schmidt with the outcome as the last
column, sums taken over each group's rows. That is as stable as Householder's QR for least squares (Björck 1967, BIT 7,
1-21) and forms no cross-products of columns that share a mean.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

import numpy as np

from pymer4.fit import batched, overdispersion
from pymer4.fit.basis import Basis
from pymer4.fit.distributions import EPS, Array, distribution, link_function
from pymer4.fit.irls import System
from pymer4.fit.linear import GLM_TOLERANCE, gram


@dataclass(frozen=True, eq=False, kw_only=True)
class OneDesign(System):
    """One design with K outcomes, sets of weights, or offsets: each of shape (K, n), or (1, n) where all share it.

    Attributes:
        basis: of the design; coefficients are those in it.
        names: family and link.
        counts: where theta is estimated in each round.
    """

    basis: Basis
    names: tuple[str, str]
    counts: overdispersion.Outcomes | None = None

    @classmethod
    def of(
        cls,
        basis: Basis,
        y: Array,
        family: str,
        link: str,
        weights: Array | None,
        offset: Array | None,
        theta: float | None,
        careful: bool = False,
    ) -> OneDesign:
        """Return it; theta, where it is unknown, is that of Poisson's counts."""
        n = len(basis.Q)
        y, weights, offset = (
            np.atleast_2d(v)
            for v in (y, np.ones(n) if weights is None else weights, np.zeros(n) if offset is None else offset)
        )
        law = distribution("poisson" if family == "nbinom" else family)
        system = cls(
            law=law,
            link=link_function(link),
            y=y,
            weights=weights,
            offset=offset,
            places=np.arange(max(len(y), len(weights), len(offset))),
            careful=careful,
            basis=basis,
            names=(family, link),
        )
        unknown = np.inf if theta is None else theta
        return system.given(np.full(len(system.places), unknown)) if family == "nbinom" else system

    def given(self, theta: Array) -> OneDesign:
        """Return the same problems at thetas of their own."""
        alike = (theta == theta[:1]).all() and len(theta)
        return replace(self, theta=theta, law=distribution("nbinom", theta[0] if alike else theta[:, None]))

    @property
    def df(self) -> Array:
        return np.count_nonzero(self.weights, axis=1) - self.basis.Q.shape[1]

    def among(self, keep: Array) -> OneDesign:
        if keep.all():
            return self
        y, weights, offset = (v[keep] if len(v) > 1 else v for v in (self.y, self.weights, self.offset))
        counts = None if self.counts is None else self.counts.rows(keep)
        some = replace(self, y=y, weights=weights, offset=offset, places=self.places[keep], counts=counts)
        return some if self.theta is None else some.given(self.theta[keep])

    def rows(self, values: Array, keep: Array) -> Array:
        return values[keep]

    def spread(self, values: Array) -> Array:
        return values[:, None]

    def over(self, how: np.ufunc, values: Array) -> Array:
        return how.reduce(values, axis=1)

    def predicted(self, c: Array) -> Array:
        return c @ self.basis.Q.T + self.offset

    def renewed(self, eta: Array) -> tuple[OneDesign, Array | float]:
        if self.counts is None:
            return self, 0.0
        means, old = np.maximum(self.link.inverse(eta), EPS), self.theta
        theta = overdispersion.estimate(self.counts, means, old if np.isfinite(old).all() else None)
        return self.given(theta), np.where(theta == old, 0.0, np.abs(theta - old) / theta)

    def solved(self, working: Array, target: Array, slack: Array | None) -> tuple[Array, Array, Array, Array]:
        force = (working * target) @ self.basis.Q
        if self.careful:
            step, factor, sound = self._solved_alone(working[0], force[0], slack)
        else:
            elements = self.basis.grams(working)
            factor = batched.cholesky(batched.unpacked(elements, force.shape[1]))
            step, sound = batched.solve(factor, force), ~self.basis.doubtful(elements, factor)
        return step, np.einsum("bi,bi->b", step, force), factor, sound

    def _solved_alone(self, working: Array, force: Array, slack: Array | None) -> tuple[Array, Array, Array]:
        """Return the step, factor and soundness of a single problem, by the observed information where it is positive.

        LAPACK goes nearer to singular ones than is safe for many, whose doubtful ones are fitted again by themselves.
        """
        expected = gram(self.basis.Q, weights=working)
        observed = [] if slack is None else [expected - gram(self.basis.Q, weights=slack[0])]
        for information in (*observed, expected):
            with contextlib.suppress(np.linalg.LinAlgError):
                factor = np.linalg.cholesky(information)
                step = np.linalg.solve(factor.T, np.linalg.solve(factor, force))
                return step[None], factor[None], np.array([True])
        return np.zeros((1, len(force))), expected[None], np.array([False])


class Rows:
    """Rows that lie group after group; `sizes` of them in each, shape (G,)."""

    def __init__(self, sizes: Array):
        self.sizes = sizes
        self._there = np.flatnonzero(sizes)
        self._starts = (np.cumsum(sizes) - sizes)[self._there]

    def over(self, how: np.ufunc, values: Array) -> Array:
        """Reduce values of rows, shape (..., n), to numbers of groups, shape (..., G), 0 where a group has no rows."""
        found = np.zeros((*values.shape[:-1], len(self.sizes)), dtype=values.dtype)
        if len(self._there):
            found[..., self._there] = how.reduceat(values, self._starts, axis=-1)
        return found

    def sums(self, values: Array) -> Array:
        """Return sums over groups."""
        return self.over(np.add, values)

    def spread(self, values: Array) -> Array:
        """Return values of groups, shape (..., G), for each row, shape (..., n)."""
        return np.repeat(values, self.sizes, axis=-1)

    def triangles(self, design: Array, y: Array, tol: float, w: Array | float = 1.0) -> tuple[Array, Array, Array]:
        """Return triangles R of sqrt(W) X, shape (G, p, p), z = Q' sqrt(W) y, shape (G, p), and what is independent.

        The design is X', shape (p, n); `tol` is that of `linear.independent_columns`.
        """
        p, G = len(design), len(self.sizes)
        left = np.sqrt(w) * np.vstack([design, y])
        whole = self.sums(left[:p] ** 2)
        R, z, independent = np.zeros((G, p, p)), np.zeros((G, p)), np.ones(G, dtype=bool)
        for j in range(p):
            square = self.sums(left[j] ** 2)
            sound = (square >= tol**2 * whole[j]) & (square > 0)
            independent &= sound
            length = np.sqrt(np.where(sound, square, 1.0))
            q = left[j] / self.spread(length)
            onto = self.sums(q * left[j + 1 :])
            left[j + 1 :] -= self.spread(onto) * q
            R[:, j, j], R[:, j, j + 1 :], z[:, j] = length, onto[:-1].T, onto[-1]
        return R, z, independent

    def predicted(self, design: Array, b: Array) -> Array:
        """Return X b, shape (n,), of coefficients of shape (G, p)."""
        return np.einsum("pi,pi->i", design, self.spread(b.T))


def back_solved(R: Array, z: Array) -> Array:
    """Return the solutions of R b = z, shape (G, p)."""
    return np.linalg.solve(R, z[..., None])[..., 0]


def inverse_diagonals(R: Array) -> Array:
    """Return the diagonals of (R'R)⁻¹, shape (G, p)."""
    return np.square(np.linalg.inv(R)).sum(axis=-1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Groups(System):
    """Groups of rows, each a problem of its own; rows lie one group after the other, and `design` is X', (p, n)."""

    groups: Rows
    design: Array

    @property
    def df(self) -> Array:
        return self.groups.sizes - len(self.design)

    def among(self, keep: Array) -> Groups:
        if keep.all():
            return self
        there = self.spread(keep)
        own = {name: getattr(self, name)[there] for name in ("y", "weights", "offset")}
        groups, places = Rows(self.groups.sizes[keep]), self.places[keep]
        return replace(self, groups=groups, places=places, design=self.design[:, there], **own)

    def rows(self, values: Array, keep: Array) -> Array:
        return values[self.spread(keep)]

    def spread(self, values: Array) -> Array:
        return self.groups.spread(values)

    def over(self, how: np.ufunc, values: Array) -> Array:
        return self.groups.over(how, values)

    def predicted(self, c: Array) -> Array:
        return self.groups.predicted(self.design, c) + self.offset

    def solved(self, working: Array, target: Array, slack: Array | None) -> tuple[Array, Array, Array, Array]:
        R, z, independent = self.groups.triangles(self.design, target, GLM_TOLERANCE, working)
        return back_solved(R, z), (z**2).sum(axis=1), R, independent
