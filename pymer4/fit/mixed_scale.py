"""From the scaled columns that a model is fitted in to those that were given, and back."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from pymer4.fit.mixed_blocks import Blocks

Array: TypeAlias = np.ndarray

_ROUNDING = 1e-10  # of Lambda's largest entry, below which an entry of a singular Lambda is 0


def given_theta(blocks: Blocks, theta: Array) -> Array:
    """Return theta of the given columns, (R, m), none negative on the diagonal, from that of the scaled ones."""
    return np.hstack([packed(lower_factor(T @ L)) for T, L in zip(blocks.scales, factors(blocks, theta), strict=True)])


def scaled_theta(blocks: Blocks, theta: Array) -> Array:
    """Return theta of the scaled columns, (R, m), from that of the given ones."""
    return np.hstack(
        [
            packed(lower_factor(np.linalg.solve(T[None], L)))
            for T, L in zip(blocks.scales, factors(blocks, theta), strict=True)
        ]
    )


def factors(blocks: Blocks, theta: Array) -> list[Array]:
    """Return each bar's Lambda, lower triangular, shape (R, k, k), as theta has them."""
    found, at = [], 0
    for k in blocks.sizes:
        column, row = np.triu_indices(k)
        L = np.zeros((len(theta), k, k))
        L[:, row, column] = theta[:, at : at + len(row)]
        found.append(L)
        at += len(row)
    return found


def packed(L: Array) -> Array:
    """Return the lower triangles of (R, k, k), column after column, as theta has them."""
    column, row = np.triu_indices(L.shape[-1])
    return L[:, row, column]


def lower_factor(L: Array) -> Array:
    """Return the lower triangular factor of LL', (R, k, k), with no negative diagonal and as many zeros there as L."""
    k = L.shape[-1]
    if np.triu(L, 1).any():
        rank = np.linalg.matrix_rank(L, tol=_ROUNDING * np.abs(L).max(axis=(1, 2), initial=1e-300))
        lower = np.linalg.qr(L.transpose(0, 2, 1), mode="r").transpose(0, 2, 1)
        lower[np.abs(lower) <= _ROUNDING * np.abs(lower).max(axis=(1, 2), keepdims=True, initial=1e-300)] = 0
        order = np.argsort(np.abs(np.diagonal(lower, axis1=1, axis2=2)), axis=1, kind="stable")
        for r in np.flatnonzero(rank < k):
            lower[r, order[r, : k - rank[r]], order[r, : k - rank[r]]] = 0
    else:
        lower = L
    sign = np.where(np.diagonal(lower, axis1=1, axis2=2) < 0, -1.0, 1.0)
    return lower * sign[:, None, :] + 0.0
