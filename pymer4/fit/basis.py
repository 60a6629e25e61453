"""A design in an orthonormal basis, and the sums over rows that many fits to it take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np

from pymer4.fit import batched
from pymer4.fit.linear import ALIAS_TOLERANCE, gram, independent_columns, orthonormal

Array: TypeAlias = np.ndarray

_PRODUCTS = 2**23  # numbers that the products of columns may take; above, systems are summed one by one
_DOUBTFUL = 1e-8  # share of a column's square left beside the others, below which a system is solved again
_ALIASED = (10 * ALIAS_TOLERANCE) ** 2


@dataclass(frozen=True, slots=True)
class Basis:
    """A design in an orthonormal basis: Q = sqrt(w) X root.

    Attributes:
        X: the design, shape (n, p).
        Q: shape (n, p), Q'Q = I.
        root: shape (p, p).
        shrink: sqrt(w), shape (n,), or None.
        products: of the columns of Q, shape (n, p(p + 1)/2), or None where they would take much memory.
    """

    X: Array
    Q: Array
    root: Array
    shrink: Array | None
    products: Array | None

    @classmethod
    def of(cls, X: Array, weights: Array | None = None, tol: float = ALIAS_TOLERANCE, many: bool = True) -> Basis:
        """Return the basis of a design, with the products of its columns where many systems are to be summed.

        Raises:
            DataError: aliased columns.
        """
        Q, root = orthonormal(X, weights, tol)
        n, p = Q.shape
        small = many and n * p * (p + 1) / 2 <= _PRODUCTS
        shrink = None if weights is None else np.sqrt(weights)
        return cls(X, Q, root, shrink, batched.products(Q) if small else None)

    def toward(self, L: Array) -> Basis:
        """Return the basis with L b, shape (k,), in the place of the coefficients: `root` and all that has its rows."""
        return replace(self, root=L @ self.root)

    @property
    def directions(self) -> Array:
        """Each column beside all others as a unit vector in the basis, one a row, shape (p, p)."""
        return self.root / np.linalg.norm(self.root, axis=1, keepdims=True)

    def shrunk(self, values: Array) -> Array:
        """Return values times sqrt(w), rows last."""
        return values if self.shrink is None else values * self.shrink

    def coefficients(self, c: Array) -> Array:
        """Return coefficients of X, shape (B, p), from those of Q."""
        return np.einsum("bj,ij->bi", c, self.root)

    def grams(self, W: Array) -> Array:
        """Return the elements of Q'WQ for weights of shape (B, n)."""
        if self.products is not None:
            return W @ self.products
        return np.stack([batched.packed(gram(self.Q, weights=w)) for w in W])

    def lagged(self, scale: Array, lag: int) -> Array:
        """Return the elements of Σ s_i s'_(i−lag), made symmetric, for scores q_i r_i with r of shape (B, n)."""
        if self.products is not None:
            both = scale[:, lag:] * scale[:, :-lag]
            return both @ batched.products(self.Q[lag:], self.Q[:-lag])
        scores = (self.Q * row[:, None] for row in scale)
        crosses = [score[lag:].T @ score[:-lag] for score in scores]
        return np.stack([batched.packed(cross + cross.T) for cross in crosses])

    def leverages(self, inverses: Array) -> Array:
        """Return q' G⁻¹ q of each row, shape (B, n), for inverses of shape (B, p, p)."""
        if self.products is None:
            return np.stack([np.einsum("ij,jk,ik->i", self.Q, G, self.Q, optimize=True) for G in inverses])
        i, j = batched.pairs(self.Q.shape[1])
        return (batched.packed(inverses) * np.where(i == j, 1.0, 2.0)) @ self.products.T

    def doubtful(self, elements: Array, lower: Array) -> Array:
        """Return which systems may be singular by the rule of `independent_columns`, or nearly so, shape (B,).

        The square of the diagonal of a Cholesky factor is what is left of a column beside those before it.
        """
        i, j = batched.pairs(self.Q.shape[1])
        pivots = np.einsum("bii->bi", lower) ** 2
        left = pivots / np.diag(self.root) ** 2
        lengths = elements @ batched.quadratic(np.linalg.inv(self.root).T)
        sound = (pivots > _DOUBTFUL * elements[:, i == j]) & (left > _ALIASED * lengths)
        return ~sound.all(axis=1)


def coefficient_operator(X: Array, aliased: bool = False) -> Callable[[Array], Array]:
    """Return a function of outcomes, (n,) or (n, m), that gives their coefficients, (p,) or (p, m).

    With `aliased`, columns that are combinations of those before them get NaN.

    Raises:
        DataError: aliased columns, where these are not expected.
    """
    kept = independent_columns(X) if aliased else np.ones(X.shape[1], dtype=bool)
    return partial(_operated, *orthonormal(X[:, kept]), kept)


def _operated(Q: Array, root: Array, kept: Array, Y: Array) -> Array:
    b = np.full((len(kept), *np.shape(Y)[1:]), np.nan)
    b[kept] = root @ (Q.T @ Y)
    return b


def sums_by(codes: Array, values: Array) -> Array:
    """Return sums over groups of rows, shape (B, G), of values of shape (B, n); codes are 0 to G − 1, shape (n,)."""
    count, n_groups = len(values), int(codes.max()) + 1
    cells = codes + np.arange(0, count * n_groups, n_groups)[:, None]
    return np.bincount(cells.ravel(), values.ravel(), minlength=count * n_groups).reshape(count, n_groups)
