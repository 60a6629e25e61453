"""Small symmetric matrices in stacks: inverses and log-determinants."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from scipy.linalg import lapack

Array: TypeAlias = np.ndarray


def inverse(D: Array) -> tuple[Array, Array]:
    """Return inverses and log-determinants of positive definite matrices that stand first: (k, k, ...) and (...).

    Up to three rows the formulas are written out, for all matrices at once.
    """
    k = len(D)
    if k == 1:
        return 1 / D, np.log(D[0, 0])
    if k == 2:
        a, b, c = D[0, 0], D[1, 0], D[1, 1]
        left = c - b * (b / a)
        out = np.empty_like(D)
        out[1, 1] = 1 / left
        out[0, 1] = out[1, 0] = -b / a * out[1, 1]
        out[0, 0] = (1 - b * out[0, 1]) / a
        return out, np.log(a) + np.log(left)
    if k == 3:
        return _inverse_of_three(D)
    moved = np.moveaxis(D, (0, 1), (-2, -1))
    lower = cholesky(moved)
    logdet = 2 * np.log(np.diagonal(lower, axis1=-2, axis2=-1)).sum(axis=-1)
    inverted = np.linalg.inv(moved)
    return np.moveaxis((inverted + np.swapaxes(inverted, -1, -2)) / 2, (-2, -1), (0, 1)), logdet


def _inverse_of_three(D: Array) -> tuple[Array, Array]:
    """Return them by the factor LDL' and its inverse."""
    a = D[0, 0]
    l10, l20 = D[1, 0] / a, D[2, 0] / a
    b = D[1, 1] - l10 * D[1, 0]
    l21 = (D[2, 1] - l20 * D[1, 0]) / b
    c = D[2, 2] - l20 * D[2, 0] - l21**2 * b
    m20 = l10 * l21 - l20
    out = np.empty_like(D)
    out[2, 2] = 1 / c
    out[2, 1] = out[1, 2] = -l21 / c
    out[2, 0] = out[0, 2] = m20 / c
    out[1, 1] = 1 / b + l21**2 / c
    out[1, 0] = out[0, 1] = -l10 / b - l21 * m20 / c
    out[0, 0] = 1 / a + l10**2 / b + m20**2 / c
    return out, np.log(a) + np.log(b) + np.log(c)


def cholesky(S: Array) -> Array:
    """Return lower Cholesky factors of matrices that stand last, (..., s, s), NaN for those not positive definite."""
    try:
        return np.linalg.cholesky(S)
    except np.linalg.LinAlgError:
        s = S.shape[-1]
        flat = S.reshape(-1, s, s)
        if len(flat) == 1:
            return np.full_like(S, np.nan)
        return np.stack([cholesky(one) for one in flat]).reshape(S.shape)


def inverse_of_blocks(S: Array) -> tuple[Array, Array]:
    """Return inverses and log-determinants of positive definite matrices that stand last: (..., s, s) and (...).

    Both are NaN where one is not positive definite.
    """
    s = S.shape[-1]
    if s <= 3:
        with np.errstate(invalid="ignore"):
            out, logdet = inverse(np.moveaxis(S, (-2, -1), (0, 1)))
        return np.moveaxis(out, (0, 1), (-2, -1)), logdet
    flat = S.reshape(-1, s, s)
    out = np.empty_like(flat)
    logdet = np.empty(len(flat))
    for i, block in enumerate(flat):
        factor, info = lapack.dpotrf(block, lower=1, clean=0)
        if info:
            out[i], logdet[i] = np.nan, np.nan
            continue
        logdet[i] = 2 * np.log(factor.diagonal()).sum()
        out[i], _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
    out = np.where(np.tri(s, dtype=bool), out, out.swapaxes(1, 2))
    return out.reshape(S.shape), logdet.reshape(S.shape[:-2])
