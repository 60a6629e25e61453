"""From the scaled columns that a model is fitted in to those that were given, and back."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from pymer4.fit.mixed_blocks import Blocks

Array: TypeAlias = np.ndarray

_ROUNDING = 1e-10  # of Lambda's largest entry, below which an entry of a singular Lambda is 0
_KINK = 1e-8  # of the largest entry on Lambda's diagonal, below which its factor is not smooth


def given_theta(blocks: Blocks, theta: Array) -> Array:
    """Return theta of the given columns, (R, m), none negative on the diagonal, from that of the scaled ones."""
    return np.hstack([packed(lower_factor(T @ L)) for T, L in zip(blocks.scales, factors(blocks, theta), strict=True)])


def theta_derivatives(blocks: Blocks, theta: Array) -> Array | None:
    """Return the derivatives of `given_theta` by theta, shape (m,): (m, m); None where it has a kink.

    Of the Cholesky factor L of S they are L times the lower half of L⁻¹ dS L⁻¹' (Murray 2016, arXiv:1602.07527).
    """
    out, at = np.zeros((blocks.m, blocks.m)), 0
    for T, scaled in zip(blocks.scales, factors(blocks, theta[None]), strict=True):
        k, M = len(T), T @ scaled[0]
        column, row = np.triu_indices(k)
        part = np.empty((len(row), len(row)))
        L = lower_factor(M[None])[0]
        if not np.triu(T, 1).any() and not np.tril(T, -1).any():
            part = np.diag(np.diag(T)[row] * np.where(np.diag(M) < 0, -1.0, 1.0)[column])
        elif np.diag(L).min() <= _KINK * np.diag(L).max():
            return None
        else:
            inverse = np.linalg.inv(L)
            for e in range(len(row)):
                dS = np.outer(T[:, row[e]], M[:, column[e]])
                half = np.tril(inverse @ (dS + dS.T) @ inverse.T)
                half[np.diag_indices(k)] /= 2
                part[:, e] = (L @ half)[row, column]
        out[at : at + len(row), at : at + len(row)] = part
        at += len(row)
    return out


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
