"""The cross-products that a linear mixed model's deviance is made of: one pass over the rows.

The profiled deviance of y = Xb + Zu + e depends on the rows only through [Z X y]'[Z X y] (Bates, Mächler, Bolker &
Walker 2015, J. Stat. Softw. 67(1), section 3.4). The factor with most random effects is block-diagonal in it and is
eliminated first; what is left of the others stands in `mixed_rest`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from pymer4.fit.mixed_rest import Rest
from pymer4.fit.mixed_terms import Bar, Factor, Unsuited, factors_of, scaling, weighted
from pymer4.fit.stacks import cholesky

Array: TypeAlias = np.ndarray

PIVOT = 1e-10  # share of a column's square, or of the outcome's, below which digits are too few

LARGEST = 1e140  # sum of weights, or one over it, up to which products of two stay in range


@dataclass(frozen=True, slots=True)
class Blocks:
    """A design: all that the deviance needs of it but what comes with an outcome.

    Attributes:
        n, p, m: rows, columns of X, thetas.
        X: centred and scaled, times the root of the weights, shape (n, p); X b = X_given T b.
        T: shape (p, p).
        scales: for each bar the matrix that its columns were multiplied by, (k, k).
        root: the root of the weights, shape (n,), or None.
        first: the factor that is eliminated first.
        A: its cross-products, one block for each distinct group, shape (K, K, U).
        distinct: which block each level has, shape (q,).
        counts: how many levels have a block, shape (U,).
        order, starts: levels sorted by block, and where in them each block begins.
        AX, XX: cross-products of the first factor with X, (q, K, p), and of X.
        factor: the Cholesky factor of XX, as SciPy has it.
        rest: what the other factors are, or None.
        reml: whether the criterion is REML.
        log_weights: sum of their logarithms.
    """

    n: int
    p: int
    m: int
    X: Array
    T: Array
    scales: tuple[Array, ...]
    sizes: tuple[int, ...]
    root: Array | None
    first: Factor
    A: Array
    distinct: Array
    counts: Array
    order: Array
    starts: Array
    AX: Array
    XX: Array
    factor: tuple[Array, bool]
    rest: Rest | None
    reml: bool
    log_weights: float

    @property
    def df(self) -> int:
        """Return n − p under REML, n under ML."""
        return self.n - self.p * self.reml

    @property
    def constant(self) -> float:
        """Return what the criterion has beside the determinants in the scaled columns and r²."""
        scale = 2 * float(np.log(np.abs(np.diag(self.T))).sum()) if self.reml else 0.0
        return -scale - self.log_weights

    @property
    def numbers(self) -> int:
        """Return how many numbers an outcome and its evaluation take, about."""
        K, rest = len(self.A), self.rest
        first = self.first.size if rest else K * K * len(self.counts)
        return 2 * self.n + (self.p + 4) * first + (4 * len(rest.A22) if rest else 0)

    def summed(self, values: Array) -> Array:
        """Return sums over the levels that share a block, (U, ...), of values by level, (q, ...)."""
        if len(self.counts) == len(self.distinct):
            return values
        return np.add.reduceat(values[self.order], self.starts, axis=0)

    def under(self, reml: bool) -> Blocks:
        """Return the design with the other criterion."""
        return replace(self, reml=reml)


def blocks(
    X: Array, bars: Sequence[Bar], weights: Array | None = None, reml: bool = True, centred: bool = True
) -> Blocks:
    """Return the cross-products of a design.

    Args:
        X: of full column rank, shape (n, p); p may be 0.
        bars: in the order of theta, which is that of lme4: column-major lower triangles, bar after bar.
        weights: prior weights, positive, shape (n,).
        reml: the criterion.
        centred: whether columns of random effects are centred where one of them is constant; if not, each row of
            Lambda is that of the scaled columns times one number.

    Raises:
        Unsuited: a structure that would need too much memory or time, columns of X that rounding makes dependent, or
            weights of a size that products overflow at.
    """
    n, p = X.shape
    root = None if weights is None else np.sqrt(weights)
    T = scaling(X, root)
    if weights is not None and not 1 / LARGEST < weights.sum() < LARGEST:
        raise Unsuited(f"The weights add up to {weights.sum():.0e}, and products of them are out of a number's range")
    X_scaled = weighted(X @ T, root)
    scales = tuple(scaling(bar.Z, root, centred) for bar in bars)
    sizes = tuple(bar.Z.shape[1] for bar in bars)
    XX = X_scaled.T @ X_scaled
    root_XX = cholesky(XX)
    if not (np.diag(root_XX) ** 2 > PIVOT * np.diag(XX)).all():
        raise Unsuited("Some columns of X are others added up, but for rounding")
    factors = sorted(factors_of(bars, scales, root), key=lambda factor: -factor.size)
    first, others = factors[0], factors[1:]
    A, distinct, counts = _groups(first)
    Z = first.sparse()
    AX = np.ascontiguousarray((Z.T @ X_scaled).reshape(first.levels, len(A), p))
    rest = None
    if others:
        rest = Rest.of(first, others, distinct, len(counts), X_scaled)
    return Blocks(
        n=n,
        p=p,
        m=sum(k * (k + 1) // 2 for k in sizes),
        X=X_scaled,
        T=T,
        scales=scales,
        sizes=sizes,
        root=root,
        first=first,
        A=A,
        distinct=distinct,
        counts=counts.astype(float),
        order=np.argsort(distinct, kind="stable"),
        starts=np.cumsum(counts) - counts,
        AX=AX,
        XX=XX,
        factor=(root_XX, True),
        rest=rest,
        reml=reml,
        log_weights=0.0 if weights is None else float(np.log(weights).sum()),
    )


def _groups(factor: Factor) -> tuple[Array, Array, Array]:
    """Return the distinct blocks of Z'Z, (K, K, U), the block of each level, and how many levels share it."""
    K = factor.Z.shape[1]
    i, j = np.tril_indices(K)
    products = np.stack(
        [np.bincount(factor.codes, factor.Z[:, a] * factor.Z[:, b], factor.levels) for a, b in zip(i, j, strict=True)]
    )
    order = np.lexsort(products)
    new = np.r_[True, (np.diff(products[:, order], axis=1) != 0).any(axis=0)]
    if 2 * new.sum() > factor.levels:
        order, new = np.arange(factor.levels), np.ones(factor.levels, dtype=bool)
    distinct = np.empty(factor.levels, dtype=np.intp)
    distinct[order] = np.cumsum(new) - 1
    A = np.empty((K, K, int(new.sum())))
    A[i, j] = A[j, i] = products[:, order[new]]
    return A, distinct, np.bincount(distinct)
