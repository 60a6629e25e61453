"""Where one outcome begins: variances by the method of moments, which are the optimum of a balanced design.

They make the squared lengths of Z'e and of e, what least squares on X leaves, equal to their expectations (MIVQUE(0):
Rao 1971, J. Multivar. Anal. 1, 445-456; LaMotte 1973, Biometrics 29, 311-330). With one factor covariances are among
them; with several these begin at 0.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from pymer4.fit.mixed_blocks import Blocks
from pymer4.fit.mixed_outcomes import Moments, Outcomes
from pymer4.fit.mixed_rest import Rest

Array: TypeAlias = np.ndarray

_LEAST, _MOST = 0.1, 10.0  # standard deviations, over that of errors, between which a search begins
_NOISE = 0.05  # share of the outcome's variance that errors have at least
_RANK = 1e-8  # singular value, relative, below which equations tell nothing


def moment_start(blocks: Blocks, outcome: Outcomes) -> Array:
    """Return theta of one outcome that has a `total`, shape (1, m), for the scaled columns."""
    places, rest = blocks.first.places, blocks.rest
    root = np.linalg.inv(blocks.factor[0]).T
    if rest is None:
        of, F, size, met = _of_one(blocks, outcome, root, *np.nonzero(places >= 0))
    else:
        own = np.arange(len(places))
        of, F, size, met = _of_one(blocks, outcome, root, own, own)
        of, F, size, met = _of_several(blocks, rest, outcome, root, (of, F, size, met))
    M = np.block([[F, size[:, None]], [size[None], np.full((1, 1), blocks.n - blocks.p)]])
    scale = np.sqrt(np.maximum(np.diagonal(M), np.finfo(float).tiny))
    found = np.linalg.lstsq(M / np.outer(scale, scale), np.append(met, 1.0) / scale, rcond=_RANK)[0] / scale
    covariances = np.zeros(blocks.m)
    covariances[of] = found[:-1] / max(found[-1], _NOISE / blocks.n)
    return _theta(blocks.sizes, covariances)


def _theta(sizes: tuple[int, ...], covariances: Array) -> Array:
    """Return theta, (1, m), from relative covariances in its order, with axes of a length in the bounds."""
    parts, at = [], 0
    for k in sizes:
        column, row = np.triu_indices(k)
        V = np.zeros((k, k))
        V[row, column] = V[column, row] = covariances[at : at + len(row)]
        values, axes = np.linalg.eigh(V)
        parts.append(np.linalg.cholesky(axes * np.clip(values, _LEAST**2, _MOST**2) @ axes.T)[row, column])
        at += len(row)
    return np.concatenate(parts)[None]


def _of_one(blocks: Blocks, outcome: Outcomes, root: Array, a: Array, b: Array) -> tuple[Array, Array, Array, Array]:
    """Return the places in theta of V = Z_aZ_b' + Z_bZ_a', or Z_aZ_a' where b is a, tr QVQV', tr QV, and e'Ve/e'e."""
    sums, K = outcome.sums, len(blocks.A)
    Ze = (sums.Ze if isinstance(sums, Moments) else sums.A1[..., -1])[0] / np.sqrt(outcome.total)
    B = blocks.AX @ root  # Z'QZ is Z'Z less BB'
    A, BB = blocks.A.reshape(K * K, -1).T[blocks.distinct], (B @ B.swapaxes(1, 2)).reshape(-1, K * K)
    across = A.T @ BB
    W = np.einsum("qax,qby->abxy", B, B, optimize=True)
    products = (A.T @ A - across - across.T).reshape(K, K, K, K).transpose(0, 2, 3, 1)
    products = products + np.einsum("cdxy,abyx->abcd", W, W)  # tr QZ_aZ_b'QZ_cZ_d'
    times = np.where(a == b, 1.0, 2.0)
    each = products[a[:, None], b[:, None], a, b] + products[a[:, None], b[:, None], b, a]
    size = A.sum(axis=0).reshape(K, K) - np.einsum("abxx->ab", W)
    return blocks.first.places[a, b], each * np.outer(times, times) / 2, size[a, b] * times, (Ze.T @ Ze)[a, b] * times


def _of_several(
    blocks: Blocks, rest: Rest, outcome: Outcomes, root: Array, first: tuple[Array, Array, Array, Array]
) -> tuple[Array, Array, Array, Array]:
    """Return the same with the columns of other factors, from those of the first."""
    of, F, size, met = first
    p, K, Q = blocks.p, len(of), len(rest.AX)
    kinds, k = np.full(Q, -1), 0
    for slots in rest.slots:
        kinds[slots] = k + np.arange(slots.shape[1])
        k += slots.shape[1]
    G = (kinds[:, None] == np.arange(k)).astype(float)
    B, C = blocks.AX @ root, (G[:, :, None] * (rest.AX @ root)[:, None, :]).reshape(Q, k * p)
    base, place = rest.starts
    across = (rest.A12.power(2) @ G).reshape(-1, K, k).sum(axis=0)
    across -= 2 * np.einsum("qax,qabx->ab", B, (rest.A12 @ C).reshape(-1, K, k, p))
    own = np.zeros((k, k))
    for stack in rest.stacks:
        E = rest.A22[stack.flat].reshape(stack.count, stack.size, stack.size)
        g, c = (x[stack.slots].reshape(stack.count, stack.size, -1) for x in (G, C))
        own += (g.swapaxes(1, 2) @ (E**2 @ g)).sum(axis=0)
        own -= 2 * np.einsum("axbx->ab", (c.swapaxes(1, 2) @ (E @ c)).sum(axis=0).reshape(k, p, k, p))
    C = C.reshape(Q, k, p)
    W, V = np.einsum("qax,qay->axy", B, B), np.einsum("qax,qay->axy", C, C)
    own += np.einsum("axy,bxy->ab", V, V)
    across += np.einsum("axy,bxy->ab", W, V)
    assert not isinstance(outcome.sums, Moments) and outcome.sums.A2 is not None
    return (
        np.concatenate([of, *(np.diagonal(factor.places) for factor in rest.factors)]),
        np.block([[F, across], [across.T, own]]),
        np.append(size, rest.A22[base + place] @ G - np.einsum("axx->a", V)),
        np.append(met, (outcome.sums.A2[0, :, -1] / np.sqrt(outcome.total)) ** 2 @ G),
    )
