"""Where outcomes of one design begin: the best of a few thetas that all of them share.

What is factored serves all outcomes, so that a theta costs each of them no more than a product of matrices.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from scipy.sparse import csr_array

from pymer4.fit.mixed_blocks import Blocks
from pymer4.fit.mixed_deviance import Evaluation
from pymer4.fit.mixed_outcomes import Moments, Outcomes, Rows

Array: TypeAlias = np.ndarray

_MOST = 3  # thetas that a lattice is laid over
_POINTS = {1: 12, 2: 8, 3: 6}  # on an axis of ratios
_ENDS = np.log(0.04), np.log(5.0)
_BELOW = (-0.6, 0.6)  # correlations at the ends of an axis of three


def shared_start(blocks: Blocks, outcomes: Outcomes) -> Array | None:
    """Return for each of R outcomes the best theta of a lattice, (R, m); None where m is too large for one.

    Along each axis it is moved to the vertex of the parabola through the deviance there and at both neighbours.
    """
    if blocks.m > _MOST:
        return None
    axes = _axes(blocks)
    shape = tuple(map(len, axes))
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, blocks.m)
    deviance = shared_deviance(blocks, outcomes, _theta(blocks, lattice))
    deviance = np.where(np.isnan(deviance), np.inf, deviance)
    best = deviance.argmin(axis=0)
    places, each = np.unravel_index(best, shape), np.arange(len(best))
    found = lattice[best]
    for j, axis in enumerate(axes):
        stride = int(np.prod(shape[j + 1 :]))
        inside = (places[j] > 0) & (places[j] < shape[j] - 1)
        below, above = (deviance[np.where(inside, best + side * stride, best), each] for side in (-1, 1))
        with np.errstate(invalid="ignore"):
            bend = below - 2 * deviance[best, each] + above
        sure = inside & np.isfinite(bend) & (bend > 0)
        found[sure, j] += (axis[1] - axis[0]) * ((below - above)[sure] / (2 * bend[sure]))
    return _theta(blocks, found)


def _axes(blocks: Blocks) -> list[Array]:
    """Return the values along each axis: log lengths of the rows of a bar's Lambda, and their correlation."""
    ratios = np.linspace(*_ENDS, _POINTS[blocks.m])
    return [axis for k in blocks.sizes for axis in ([ratios] if k == 1 else [ratios, np.linspace(*_BELOW, 3), ratios])]


def _theta(blocks: Blocks, places: Array) -> Array:
    """Return thetas, (G, m), at places on these axes."""
    theta, at = np.exp(places), 0
    for k in blocks.sizes:
        if k == 2:
            r = places[:, at + 1]
            theta[:, at + 1] = r * theta[:, at + 2]
            theta[:, at + 2] *= np.sqrt(1 - r**2)
        at += k * (k + 1) // 2
    return theta


def shared_deviance(blocks: Blocks, outcomes: Outcomes, theta: Array) -> Array:
    """Return the deviance of each outcome, R, at each of G thetas, shape (G, R)."""
    at = Evaluation(blocks, outcomes.among(np.array([0])), theta)
    sums = outcomes.sums
    Sy = _of_moments(sums, outcomes, at) if isinstance(sums, Moments) else _of_rows(sums, outcomes, at)
    p = blocks.p
    Xy = Sy[..., :p]
    r2 = Sy[..., p] - (Xy @ at.S_inverse * Xy).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return at.logdets[:, None] + blocks.df * np.log(r2)


def _of_moments(sums: Moments, outcomes: Outcomes, at: Evaluation) -> Array:
    """Return [X e]'V⁻¹e, shape (G, R, p + 1)."""
    G = len(at.theta)
    flat = np.ascontiguousarray(at.M.transpose(2, 0, 1, 3)).reshape(G, -1)
    return outcomes.products - np.tensordot(flat, sums.Pe, (1, 1))


def _of_rows(sums: Rows, outcomes: Outcomes, at: Evaluation) -> Array:
    rest = at.blocks.rest
    R, q, K, x = sums.A1.shape
    p = x - 1
    Ze, flat_X = sums.A1[..., p], sums.A1[0, ..., :p].reshape(q * K, p)
    across = None if rest is None else csr_array(rest.A12.T)
    out = np.empty((len(at.theta), R, x))
    for g in range(len(at.theta)):
        MZ = np.einsum("qab,rqb->rqa", at.M[:, :, g].transpose(2, 0, 1)[at.blocks.distinct], Ze).reshape(R, q * K)
        out[g] = outcomes.products
        out[g, :, :p] -= MZ @ flat_X
        out[g, :, p] -= (MZ * Ze.reshape(R, -1)).sum(axis=1)
        if rest is None or sums.A2 is None:
            continue
        left = sums.A2[..., p] - (across @ MZ.T).T
        for stack, solved in zip(rest.stacks, at.solved, strict=True):
            B = left[:, stack.slots]
            N = at.rest_inverse[g, stack.flat].reshape(stack.count, stack.size, stack.size)
            U = (B.reshape(R, stack.count, stack.size).transpose(1, 0, 2) @ N).transpose(1, 0, 2).reshape(R, -1)
            out[g, :, :p] -= U @ solved.B[g, ..., :p].reshape(stack.count * stack.size, p)
            out[g, :, p] -= (U * B).sum(axis=1)
    return out
