"""Outcomes of one design: their cross-products, and what eliminating the first factor leaves of [X y]'[X y].

An outcome is first freed of what least squares on X explains, which changes no V⁻¹-weighted residual and keeps digits.
With one factor the deviance needs of it only sums over levels with equal blocks, of products of Z'[X y] with itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from scipy.linalg import cho_solve

from pymer4.fit.mixed_blocks import Blocks
from pymer4.fit.mixed_terms import weighted

Array: TypeAlias = np.ndarray

_ROUNDING = 1e-24  # share of y'y that is rounding
_MOMENTS = 2**22  # numbers that `Moments` keeps of a design at most


@dataclass(frozen=True, slots=True)
class Outcomes:
    """R outcomes of one design.

    Attributes:
        start: least-squares coefficients on the scaled X, shape (R, p): those of the model are these more than its own.
        products: [X e]'[X e] without what all share, last column: X'e and e'e, shape (R, p + 1).
        raw: y'y, shape (R,).
        sums: `Moments` of one factor, or `Rows`.
    """

    start: Array
    products: Array
    raw: Array
    sums: Moments | Rows

    @property
    def total(self) -> Array:
        """Return e'e, shape (R,); infinite where X explains all but rounding."""
        return np.where(self.products[:, -1] > _ROUNDING * self.raw, self.products[:, -1], np.inf)

    def eliminated(self, M: Array) -> tuple[Array, Array | None]:
        """Return [X e]'V₁⁻¹[X e], shape (R, p + 1, p + 1), and [Z_rest]'V₁⁻¹[X e], shape (R, Q, p + 1), for M."""
        return self.sums.eliminated(M, self.products)

    def pulled(self, omega: Array, U: Array | None) -> Array:
        """Return the derivative in M of <Ω, S>, shape (K, K, R, U)."""
        return self.sums.pulled(omega, U)

    def left(self, U: Array | None) -> Array:
        """Return Z_i'[X e] of each level of the first factor less what the others explain, (R, q, K, p + 1)."""
        return self.sums.left(U)

    def among(self, keep: Array) -> Outcomes:
        """Return the outcomes at an index."""
        return Outcomes(self.start[keep], self.products[keep], self.raw[keep], self.sums.among(keep))


def outcomes(blocks: Blocks, Y: Array) -> Outcomes:
    """Return the products of outcomes, columns of Y of shape (n, R), offsets taken off, with a design."""
    X = blocks.X
    E = weighted(Y, blocks.root)
    raw = np.einsum("nr,nr->r", E, E)
    start = np.zeros((0, E.shape[1]))
    if blocks.p:
        start = cho_solve(blocks.factor, X.T @ E)
        E = E - X @ start
        again = cho_solve(blocks.factor, X.T @ E)  # once more: what rounding left
        start, E = start + again, E - X @ again
    q = blocks.first.levels
    ZE = np.moveaxis((blocks.first.sparse().T @ E).reshape(q, -1, E.shape[1]), -1, 0)
    products = np.vstack([X.T @ E, np.einsum("nr,nr->r", E, E)]).T
    if blocks.rest is None:
        few = len(blocks.counts) * ZE.shape[2] ** 2 * blocks.p**2 <= _MOMENTS
        return Outcomes(start.T, products, raw, Moments.of(blocks, ZE) if few else Rows.of(blocks, ZE, None))
    rest = np.zeros((E.shape[1], blocks.rest.A12.shape[1]))
    for factor_, places in zip(blocks.rest.factors, blocks.rest.slots, strict=True):
        rest[:, places.ravel()] = (factor_.sparse().T @ E).T
    return Outcomes(start.T, products, raw, Rows.of(blocks, ZE, rest))


@dataclass(frozen=True, slots=True)
class Moments:
    """One factor: sums over levels of each distinct block of products of Z'[X e] with itself.

    Attributes:
        XX: X'X, shape (p, p).
        PXX: shape (K K U, p p).
        Pe: made symmetric in K, K, shape (R, K K U, p + 1).
        shape: (K, K, U).
        AX: Z'X of each level, shape (q, K, p).
        Ze: Z'e, shape (R, q, K).
    """

    XX: Array
    PXX: Array
    Pe: Array
    shape: tuple[int, int, int]
    AX: Array
    Ze: Array

    @classmethod
    def of(cls, blocks: Blocks, ZE: Array) -> Moments:
        """Return the sums, for Z'e of shape (R, q, K)."""
        AX = blocks.AX
        R, _, K = ZE.shape
        U, p = len(blocks.counts), blocks.p
        PXX = blocks.summed(np.einsum("qax,qbz->qabxz", AX, AX)).transpose(1, 2, 0, 3, 4)
        by_level = ZE.transpose(2, 1, 0)  # (K, q, R)
        Pe = np.empty((R, K, K, U, p + 1))
        for a in range(K):
            for b in range(K):
                Pe[:, a, b, :, p] = blocks.summed(by_level[a] * by_level[b]).T
                for x in range(p):
                    Pe[:, a, b, :, x] = blocks.summed(AX[:, a, x, None] * by_level[b]).T
        Pe[..., :p] = (Pe[..., :p] + Pe[..., :p].swapaxes(1, 2)) / 2
        return cls(blocks.XX, PXX.reshape(K * K * U, p * p), Pe.reshape(R, K * K * U, p + 1), (K, K, U), AX, ZE)

    def among(self, keep: Array) -> Moments:
        """Return the sums of the outcomes at an index."""
        return replace(self, Pe=self.Pe[keep], Ze=self.Ze[keep])

    def eliminated(self, M: Array, products: Array) -> tuple[Array, None]:
        """Return S, and that no other factor is met."""
        R, p = M.shape[2], len(self.XX)
        flat = np.ascontiguousarray(M.transpose(2, 0, 1, 3)).reshape(R, -1)
        S = np.empty((R, p + 1, p + 1))
        S[:, :p, :p] = self.XX - (flat @ self.PXX).reshape(R, p, p)
        S[:, :, p] = S[:, p, :] = products - np.matmul(flat[:, None], self.Pe)[:, 0]
        return S, None

    def pulled(self, omega: Array, U: Array | None) -> Array:
        """Return the derivative."""
        del U
        R, p = len(omega), len(self.XX)
        last = omega[:, p] * np.r_[np.full(p, 2.0), 1.0]
        H = -np.matmul(self.Pe, last[:, :, None])[:, :, 0]
        if p:
            H -= omega[:, :p, :p].reshape(R, -1) @ self.PXX.T
        return H.reshape(R, *self.shape).transpose(1, 2, 0, 3)

    def left(self, U: Array | None) -> Array:
        """Return Z_i'[X e] of each level: there is no other factor."""
        del U
        shared = np.broadcast_to(self.AX, (len(self.Ze), *self.AX.shape))
        return np.concatenate([shared, self.Ze[..., None]], axis=-1)


@dataclass(frozen=True, slots=True)
class Rows:
    """Several factors, or many columns: products of each level.

    Attributes:
        XX: X'X, shape (p, p).
        A1: of the first factor with [X e], shape (R, q, K, p + 1).
        A2: of the others, shape (R, Q, p + 1), or None.
        blocks: the design.
    """

    XX: Array
    A1: Array
    A2: Array | None
    blocks: Blocks

    @classmethod
    def of(cls, blocks: Blocks, ZE: Array, rest: Array | None) -> Rows:
        """Return the products, for those with e: (R, q, K) and (R, Q)."""
        R, A2 = len(ZE), None
        A1 = np.concatenate([np.broadcast_to(blocks.AX, (R, *blocks.AX.shape)), ZE[..., None]], axis=-1)
        if blocks.rest is not None and rest is not None:
            shared = np.broadcast_to(blocks.rest.AX, (R, *blocks.rest.AX.shape))
            A2 = np.concatenate([shared, rest[..., None]], axis=-1)
        return cls(blocks.XX, A1, A2, blocks)

    def among(self, keep: Array) -> Rows:
        """Return the products of the outcomes at an index."""
        return replace(self, A1=self.A1[keep], A2=None if self.A2 is None else self.A2[keep])

    def eliminated(self, M: Array, products: Array) -> tuple[Array, Array | None]:
        """Return S and what is left of the other factors' products with [X e]."""
        each = M.transpose(2, 3, 0, 1)[:, self.blocks.distinct]
        MA = each * self.A1 if len(M) == 1 else np.matmul(each, self.A1)
        R, q, K, x = MA.shape
        flat = np.broadcast_to(self.A1, MA.shape).reshape(R, q * K, x)
        S = np.empty((R, x, x))
        S[:, :-1, :-1] = self.XX
        S[:, -1] = S[:, :, -1] = products
        S -= np.matmul(flat.transpose(0, 2, 1), MA.reshape(R, q * K, x))
        if self.blocks.rest is None or self.A2 is None:
            return S, None
        down = self.blocks.rest.A12.T @ MA.transpose(1, 2, 0, 3).reshape(q * K, R * x)
        return S, self.A2 - down.reshape(-1, R, x).transpose(1, 0, 2)

    def pulled(self, omega: Array, U: Array | None) -> Array:
        """Return the derivative: −Σ V_i Ω V_i', V_i = Z_i'[X e] less what the others explain."""
        V = self.left(U)
        R, q, K, x = V.shape
        VO = np.matmul(V.reshape(R, q * K, x), omega).reshape(V.shape)
        H = np.empty((K, K, R, len(self.blocks.counts)))
        for a in range(K):
            for b in range(K):
                products = (VO[:, :, a] * V[:, :, b]).sum(axis=-1)  # (R, q)
                H[a, b] = -self.blocks.summed(products.T).T
        return H

    def left(self, U: Array | None) -> Array:
        """Return Z_i'[X e] of each level less A_12 U, shape (R, q, K, p + 1)."""
        if self.blocks.rest is None or U is None:
            return self.A1
        R, Q, x = U.shape
        across = self.blocks.rest.A12 @ U.transpose(1, 0, 2).reshape(Q, R * x)
        _, q, K, _ = self.A1.shape
        return self.A1 - across.reshape(q, K, R, x).transpose(2, 0, 1, 3)
