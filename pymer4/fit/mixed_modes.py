"""What an evaluation of the deviance knows beside its value: modes of random effects, and how vcov moves with theta."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from pymer4.fit.mixed_deviance import Evaluation
from pymer4.fit.mixed_rest import Stack

Array: TypeAlias = np.ndarray


def modes(at: Evaluation) -> list[Array]:
    """Return the conditional modes by factor, the first one first, shape (R, q, K) each, for the scaled columns."""
    v = np.hstack([-at.b, np.ones((len(at.b), 1))])
    U = at.rest_effects
    left = np.einsum("rqkx,rx->rqk", at.outcomes.left(U), v)
    found = [np.einsum("rqab,rqb->rqa", _by_level(at, at.M), left)]
    if at.blocks.rest is not None and U is not None:
        effects = np.einsum("rjx,rx->rj", U, v)
        found += [effects[:, slots] for slots in at.blocks.rest.slots]
    return found


def mode_covariances(at: Evaluation) -> list[Array]:
    """Return their conditional covariances over sigma², given theta and b, shape (R, q, K, K) each."""
    M, rest = _by_level(at, at.M), at.blocks.rest
    if rest is None:
        return [M]
    N = at.rest_inverse
    across = rest.by_level().back(N).transpose(2, 3, 0, 1)
    base, place = rest.starts
    blocks = [N[:, base[slots][:, :, None] + place[slots][:, None, :]] for slots in rest.slots]
    return [M + M @ across @ M, *blocks]


def growth(at: Evaluation) -> Array:
    """Return −d(X'V⁻¹X)/dtheta, shape (R, m, p, p), for the scaled columns.

    That is Y'dΛW + W'dΛ'Y with Y = Z'V⁻¹X and W = Λ'Y, a sum over levels.
    """
    blocks, p = at.blocks, at.blocks.p
    out = np.zeros((len(at.b), blocks.m, p, p))
    V = at.outcomes.left(at.rest_effects)[..., :p]
    A = blocks.A.transpose(2, 0, 1)[blocks.distinct]
    Y = V - A @ (_by_level(at, at.M) @ V)
    W = _by_level(at, at.LD.swapaxes(0, 1)) @ V
    for a, b in zip(*np.nonzero(blocks.first.places >= 0), strict=True):
        out[:, blocks.first.places[a, b]] += Y[:, :, a].transpose(0, 2, 1) @ W[:, :, b]
    if blocks.rest is not None:
        for stack, solved in zip(blocks.rest.stacks, at.solved, strict=True):
            W = solved.W[..., :p]
            _add_stack(out, stack, solved.B[..., :p] - solved.BL @ W, W)
    return out + out.swapaxes(2, 3)


def _add_stack(out: Array, stack: Stack, Y: Array, W: Array) -> None:
    s, m = stack.size, out.shape[1]
    for d, band in enumerate(stack.bands):
        places = band[:, : s - d]
        rows, columns = Y[:, :, d:], W[:, :, : s - d]
        for j in range(m):
            here = places == j
            if here.any():
                out[:, j] += rows[:, here].transpose(0, 2, 1) @ columns[:, here]


def _by_level(at: Evaluation, blocks: Array) -> Array:
    """Return (K, K, R, U) as (R, q, K, K)."""
    return blocks.transpose(2, 3, 0, 1)[:, at.blocks.distinct]
