"""The profiled deviance of linear mixed models, with its gradient, for many thetas or outcomes side by side.

With V = I + ZΛΛ'Z', the deviance is log|V| + log|X'V⁻¹X| (under REML) + df log r², r² = y'V⁻¹y less what X explains
(Bates et al. 2015, equations 33 and 41). V⁻¹ is never formed: first the blocks of the first factor are eliminated, then
those of the others, and [X y] is the last block S. Derivatives go the same way back, from
d log|S_XX| + df d log r² = <Ω, dS>.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from pymer4.fit.mixed_blocks import PIVOT, Blocks
from pymer4.fit.mixed_outcomes import Outcomes
from pymer4.fit.mixed_rest import Stack
from pymer4.fit.stacks import cholesky, inverse, inverse_of_blocks

Array: TypeAlias = np.ndarray


@dataclass(frozen=True, slots=True)
class Solved:
    """One stack at R thetas: S = Λ'BΛ + I of c components with s columns.

    Attributes:
        BL: BΛ, shape (R, c, s, s).
        inverse: S⁻¹, likewise.
        B: products with [X y], shape (R, c, s, p + 1).
        W: S⁻¹Λ'B: effects over Λ for each column of [X y], likewise.
        U: ΛW.
        coefficients: entries of Λ by their distance from the diagonal, each (R, c, s).
    """

    BL: Array
    inverse: Array
    B: Array
    W: Array
    U: Array
    coefficients: tuple[Array, ...]


class Evaluation:
    """The deviance of outcomes at thetas, as they stand in `Blocks`: R rows of either, or one that all share.

    Attributes:
        deviance: (RE)ML criterion, shape (R,); NaN where a pivot lost too many of its digits.
        logdets: log|V| + log|X'V⁻¹X| under REML, shape (R,).
        r2: the penalized residual sum of squares, shape (R,).
        b: coefficients of the scaled X, shape (R, p).
        S: [X y]'V⁻¹[X y], shape (R, p + 1, p + 1), and the inverse of its part of X.
    """

    def __init__(self, blocks: Blocks, outcomes: Outcomes, theta: Array) -> None:
        self.blocks, self.outcomes = blocks, outcomes
        self.theta = theta
        self._extended = np.hstack([theta, np.zeros((len(theta), 1))])
        self._eliminate_first()
        self._eliminate_rest()
        self._profile()

    def _eliminate_first(self) -> None:
        """Λ (K, K, R, 1), D⁻¹ and M = ΛD⁻¹Λ' (K, K, R, U), with D = Λ'AΛ + I for each distinct group."""
        blocks = self.blocks
        places = blocks.first.places
        self.Lambda = np.moveaxis(self._extended[:, places], 0, -1)[..., None]  # place −1 is the column of zeros
        A = blocks.A[:, :, None, :]
        self.AL = _times(A, self.Lambda)
        D = _times(_turned(self.Lambda), self.AL)
        for a in range(len(places)):
            D[a, a] += 1
        self.D_inverse, logdet = inverse(D)
        self.LD = _times(self.Lambda, self.D_inverse)
        self.M = _times(self.LD, _turned(self.Lambda))
        self.log_first = logdet @ blocks.counts
        self.S, self._met = self.outcomes.eliminated(self.M)

    def _eliminate_rest(self) -> None:
        rest, R = self.blocks.rest, len(self.theta)
        self.solved: list[Solved] = []
        self.log_rest = np.zeros(R)
        B = self._met
        if rest is None or B is None:
            return
        entries = rest.A22 - rest.map(self.M)
        for stack in rest.stacks:
            shape = (R, stack.count, stack.size)
            solved, logdet = self._solve(
                stack, entries[:, stack.flat].reshape(*shape, stack.size), B[:, stack.slots].reshape(*shape, -1)
            )
            self.solved.append(solved)
            self.log_rest += logdet.sum(axis=1)
            flat = (R, stack.count * stack.size, -1)
            self.S = self.S - np.matmul(solved.B.reshape(flat).transpose(0, 2, 1), solved.U.reshape(flat))

    def _solve(self, stack: Stack, entries: Array, B: Array) -> tuple[Solved, Array]:
        coefficients = tuple(self._extended[:, band] for band in stack.bands)
        BL = _right(entries, coefficients)
        S = _turned_left(BL, coefficients)
        S[..., range(stack.size), range(stack.size)] += 1
        inverted, logdet = inverse_of_blocks(S)
        W = np.matmul(inverted, _turned_left(B, coefficients))
        return Solved(BL, inverted, B, W, _left(W, coefficients), coefficients), logdet

    def _profile(self) -> None:
        """Beta, r² and the criterion, from S."""
        blocks, S, p = self.blocks, self.S, self.blocks.p
        XX, Xy = S[:, :p, :p], S[:, :p, p]
        lower = cholesky(XX)
        pivots = np.diagonal(lower, axis1=1, axis2=2) ** 2
        root = np.linalg.inv(lower) if p else lower
        self.S_inverse = root.swapaxes(1, 2) @ root
        self.b = np.einsum("rij,rj->ri", self.S_inverse, Xy)
        self.r2 = S[:, p, p] - (self.b * Xy).sum(axis=1)
        kept = pivots / blocks.XX.diagonal()
        total = self.outcomes.total
        least = kept.min(axis=1, initial=1.0)
        r2 = np.where((least > PIVOT) & (self.r2 > PIVOT * total), self.r2, np.nan)
        self.logdets = self.log_first + self.log_rest
        if blocks.reml:
            self.logdets = self.logdets + np.log(pivots).sum(axis=1)
        df = blocks.df
        self.deviance = self.logdets + df * (1 + np.log(2 * np.pi * r2 / df)) + blocks.constant

    @cached_property
    def gradient(self) -> Array:
        """Return the gradient of the deviance, shape (R, m)."""
        return self.slopes(self.blocks.df / self.r2)

    def slopes(self, weight: Array) -> Array:
        """Return the gradient of logdets + weight r², shape (R, m), with weights (R,) that stay."""
        omega = self._residual_part() * weight[:, None, None]
        if self.blocks.reml:
            omega[:, : self.blocks.p, : self.blocks.p] += self.S_inverse
        return self._pulled(omega, 1.0)

    @cached_property
    def r2_gradient(self) -> Array:
        """Return the gradient of r², shape (R, m)."""
        return self._pulled(self._residual_part(), 0.0)

    @cached_property
    def rest_effects(self) -> Array | None:
        """Return ΛW of the factors after the first, shape (R, Q, p + 1)."""
        rest, R = self.blocks.rest, len(self.theta)
        if rest is None:
            return None
        return np.concatenate([solved.U.reshape(R, -1, self.blocks.p + 1) for solved in self.solved], axis=1)

    @cached_property
    def rest_inverse(self) -> Array:
        """Return the entries of ΛS⁻¹Λ' of the factors after the first, shape (R, E)."""
        R = len(self.theta)
        parts = [
            _right_turned(_left(solved.inverse, solved.coefficients), solved.coefficients).reshape(R, -1)
            for solved in self.solved
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _residual_part(self) -> Array:
        """Return dr²/dS = vv' with v = (−b, 1)."""
        v = np.hstack([-self.b, np.ones((len(self.b), 1))])
        return v[:, :, None] * v[:, None, :]

    def _pulled(self, omega: Array, logs: float) -> Array:
        """Return the gradient of <Ω, S> + logs (log|D| + log|S_rest|), Ω of shape (R, p + 1, p + 1) held fixed."""
        blocks, rest = self.blocks, self.blocks.rest
        gradient = np.zeros((len(self.theta), blocks.m + 1))
        if rest is None:
            H = self.outcomes.pulled(omega, None)
        else:
            for stack, solved in zip(rest.stacks, self.solved, strict=True):
                self._add_bands(gradient, stack, solved, omega, logs)
            H = self.outcomes.pulled(omega, self.rest_effects)
            if logs:
                H = H - rest.map.back(self.rest_inverse)
        A = blocks.A[:, :, None, :]
        inner = H - _times(A, _times(self.M, H))
        if logs:
            inner = inner + blocks.counts * A
        each = 2 * _times(inner, self.LD).sum(axis=-1)  # (K, K, R)
        places = blocks.first.places
        for a, b in zip(*np.nonzero(places >= 0), strict=True):
            gradient[:, places[a, b]] += each[a, b]
        return gradient[:, :-1]

    def _add_bands(self, gradient: Array, stack: Stack, solved: Solved, omega: Array, logs: float) -> None:
        """Add 2 (BΛS⁻¹ − YΩW') in the places of Λ, Y = B − BΛW."""
        Y = np.matmul(solved.B - np.matmul(solved.BL, solved.W), omega[:, None])
        s = stack.size
        for d, band in enumerate(stack.bands):
            part = -np.einsum("rcjx,rcjx->rcj", Y[:, :, d:], solved.W[:, :, : s - d])
            if logs:
                part += np.einsum("rcjl,rcjl->rcj", solved.BL[:, :, d:], solved.inverse[:, :, : s - d])
            spread = np.zeros((band[:, : s - d].size, gradient.shape[1]))
            spread[np.arange(len(spread)), band[:, : s - d].ravel()] = 2.0
            gradient += part.reshape(len(gradient), -1) @ spread


def _times(X: Array, Y: Array) -> Array:
    """Return products of matrices that stand first, (k, k, ...)."""
    return X * Y if len(X) == 1 else np.einsum("ac...,cb...->ab...", X, Y)


def _turned(X: Array) -> Array:
    return X.swapaxes(0, 1)


def _right(B: Array, coefficients: tuple[Array, ...]) -> Array:
    """Return BΛ for (R, c, s, s): column j is Σ_d Λ[j + d, j] B[:, j + d]."""
    s = B.shape[-1]
    out = B * coefficients[0][:, :, None, :]
    for d, c in enumerate(coefficients[1:], 1):
        out[..., : s - d] += B[..., d:] * c[:, :, None, : s - d]
    return out


def _right_turned(B: Array, coefficients: tuple[Array, ...]) -> Array:
    """Return BΛ'."""
    s = B.shape[-1]
    out = B * coefficients[0][:, :, None, :]
    for d, c in enumerate(coefficients[1:], 1):
        out[..., d:] += B[..., : s - d] * c[:, :, None, : s - d]
    return out


def _turned_left(B: Array, coefficients: tuple[Array, ...]) -> Array:
    """Return Λ'B for (R, c, s, x)."""
    s = B.shape[2]
    out = B * coefficients[0][..., None]
    for d, c in enumerate(coefficients[1:], 1):
        out[:, :, : s - d] += B[:, :, d:] * c[:, :, : s - d, None]
    return out


def _left(W: Array, coefficients: tuple[Array, ...]) -> Array:
    """Return ΛW."""
    s = W.shape[2]
    out = W * coefficients[0][..., None]
    for d, c in enumerate(coefficients[1:], 1):
        out[:, :, d:] += W[:, :, : s - d] * c[:, :, : s - d, None]
    return out
