"""Many small symmetric systems at once: B matrices of p rows, kept as their p(p + 1)/2 different elements.

The elements of weighted cross-products X'WX are one matrix product: weights of
shape (B, n) times the products of columns, row by row, of shape (n, p(p + 1)/2).
The arithmetic of one system does not depend on those beside it.
"""

from __future__ import annotations

import contextlib
from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray


def pairs(p: int) -> tuple[Array, Array]:
    """Return the rows and columns of the elements kept, those of the upper triangle."""
    return np.triu_indices(p)


def products(Q: Array, other: Array | None = None) -> Array:
    """Return the products of columns, row by row, shape (n, p(p + 1)/2).

    Args:
        Q: shape (n, p).
        other: shape (n, p); with it each element is q_i o_j + q_j o_i, else q_i q_j.
    """
    i, j = pairs(Q.shape[1])
    if other is None:
        return Q[:, i] * Q[:, j]
    return Q[:, i] * other[:, j] + Q[:, j] * other[:, i]


def unpacked(elements: Array, p: int) -> Array:
    """Return symmetric matrices, shape (B, p, p), from their elements, shape (B, p(p + 1)/2)."""
    i, j = pairs(p)
    full = np.empty((*elements.shape[:-1], p, p))
    full[..., i, j] = elements
    full[..., j, i] = elements
    return full


def packed(matrices: Array) -> Array:
    """Return the elements of symmetric matrices; the inverse of `unpacked`."""
    i, j = pairs(matrices.shape[-1])
    return matrices[..., i, j]


def quadratic(root: Array) -> Array:
    """Return D, shape (p(p + 1)/2, p), with elements(M) @ D the diagonals of root M root'."""
    i, j = pairs(root.shape[1])
    return (np.where(i == j, 1.0, 2.0) * root[:, i] * root[:, j]).T


def cholesky(matrices: Array) -> Array:
    """Return lower triangles, shape (B, p, p), NaN where a matrix is not positive definite."""
    with contextlib.suppress(np.linalg.LinAlgError):
        return np.linalg.cholesky(matrices)
    found = np.full_like(matrices, np.nan)
    for k, matrix in enumerate(matrices):  # one that is refused takes nothing from those beside it
        with contextlib.suppress(np.linalg.LinAlgError):
            found[k] = np.linalg.cholesky(matrix)
    return found


def solve(lower: Array, right: Array) -> Array:
    """Return the solutions of L L' x = r, shape (B, p), for right sides r of shape (B, p)."""
    half = np.linalg.solve(lower, right[..., None])
    return np.linalg.solve(lower.swapaxes(1, 2), half)[..., 0]


def inverse(lower: Array) -> Array:
    """Return the inverses of L L', shape (B, p, p)."""
    half = np.linalg.inv(lower)
    return np.einsum("bki,bkj->bij", half, half)
