"""The terms of a linear mixed model: bars, the grouping factors that they share, and the scale they are worked in.

Columns are centred and scaled inside, which changes no deviance: a bar's effects are T times those of its scaled
columns, and the Cholesky factor of their covariance follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from pymer4.errors import DataError

Array: TypeAlias = np.ndarray

_ROUNDING = 1e-24  # share of a column's square


class Unsuited(DataError):
    """What the deviance engine can't take: the message says why, and that R can.

    Attributes:
        why: the reason alone.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"{why}: the native engine can't fit this model. Use engine='R'.")

    def __reduce__(self) -> tuple[type[Unsuited], tuple[str]]:
        """Return what makes the error again in the process that asked a worker."""
        return type(self), (self.why,)


@dataclass(frozen=True, slots=True)
class Bar:
    """One term (Z | g): its columns are correlated in a group.

    Attributes:
        Z: shape (n, k).
        codes: levels of the grouping factor, 0 to levels − 1, shape (n,). Bars that share this array share a factor.
        levels: how many.
    """

    Z: Array
    codes: Array
    levels: int


@dataclass(frozen=True, slots=True)
class Factor:
    """A grouping factor with all its bars, whose K columns stand side by side.

    Attributes:
        codes: shape (n,).
        levels: q.
        Z: scaled columns times the root of the weights, shape (n, K).
        places: index into theta of each entry of the lower triangle of Lambda, −1 where there is none, shape (K, K).
        bars: which bars stand in it, in the order of columns.
    """

    codes: Array
    levels: int
    Z: Array
    places: Array
    bars: tuple[int, ...]

    @property
    def size(self) -> int:
        """Return how many random effects it has."""
        return self.levels * self.Z.shape[1]

    def sparse(self) -> csr_array:
        """Return Z as it stands in the model, shape (n, q K), level by level."""
        n, K = self.Z.shape
        columns = self.codes[:, None] * K + np.arange(K)
        return csr_array((self.Z.ravel(), columns.ravel(), np.arange(0, n * K + 1, K)), shape=(n, self.size))


def weighted(values: Array, root: Array | None) -> Array:
    """Return rows times the root of their weights."""
    return values if root is None else values * (root if values.ndim == 1 else root[:, None])


def scaling(X: Array, root: Array | None, centred: bool = True) -> Array:
    """Return T such that X T has columns of mean square 1, and of mean 0 where X has a constant one and `centred`."""
    n, p = X.shape
    if p == 0:
        return np.zeros((0, 0))
    w = np.full(n, 1 / n) if root is None else root**2 / (root**2).sum()
    constant = np.flatnonzero((X[:1] == X).all(axis=0) & (X[0] != 0))[:1] if centred else []
    centre, square = np.zeros(p), w @ X**2
    if len(constant):
        mean = w @ X
        left = w @ (X - mean) ** 2
        varies = left > _ROUNDING * square  # else nothing but rounding would be left
        varies[constant] = False
        centre[varies], square[varies] = mean[varies], left[varies]
    length = np.sqrt(np.where(square > 0, square, 1.0))
    T = np.diag(1 / length)
    if len(constant):
        T[constant, :] -= centre / length / X[0, constant]
    return T


def components(bars: Sequence[Bar]) -> Array:
    """Return codes of sets of rows that share no level of any grouping factor with others, 0, 1, ..., shape (n,)."""
    starts = np.cumsum([0, *(bar.levels for bar in bars)])
    levels = np.stack([start + bar.codes for start, bar in zip(starts, bars, strict=False)])
    first = np.broadcast_to(levels[0], levels.shape)
    graph = csr_array((np.ones(levels.size), (first.ravel(), levels.ravel())), shape=(starts[-1], starts[-1]))
    return connected_components(graph, directed=False)[1][levels[0]]


def factors_of(bars: Sequence[Bar], scales: Sequence[Array], root: Array | None) -> list[Factor]:
    """Return the factors, with the bars that share one side by side."""
    found: dict[int, list[int]] = {}
    for i, bar in enumerate(bars):
        found.setdefault(id(bar.codes), []).append(i)
    sizes = [bar.Z.shape[1] for bar in bars]
    starts = np.cumsum([0, *(k * (k + 1) // 2 for k in sizes)])
    factors = []
    for members in found.values():
        K = sum(sizes[i] for i in members)
        places = np.full((K, K), -1)
        at = 0
        for i in members:
            k = sizes[i]
            column, row = np.triu_indices(k)  # a lower triangle, column after column
            places[at + row, at + column] = starts[i] + np.arange(len(row))
            at += k
        Z = np.hstack([weighted(bars[i].Z @ scales[i], root) for i in members])
        factors.append(Factor(bars[members[0]].codes, bars[members[0]].levels, Z, places, tuple(members)))
    return factors
