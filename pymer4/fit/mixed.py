"""One linear mixed model by its profiled deviance, on the cross-products of its rows (`mixed_blocks`).

Everything is in the columns that were given; theta in lme4's order. Degrees of freedom after Satterthwaite take the
Jacobian of vcov and the covariance of (theta, log sigma) from here, as Kuznetsova, Brockhoff & Christensen (2017, J.
Stat. Softw. 82(13)) define them.
"""

from __future__ import annotations

from functools import cached_property
from typing import TypeAlias

import numpy as np

from pymer4.fit.mixed_blocks import Blocks
from pymer4.fit.mixed_deviance import Evaluation
from pymer4.fit.mixed_modes import growth, mode_covariances, modes
from pymer4.fit.mixed_optimum import hessian, optimum
from pymer4.fit.mixed_outcomes import Outcomes, outcomes
from pymer4.fit.mixed_scale import factors, given_theta, scaled_theta
from pymer4.fit.mixed_terms import Unsuited

Array: TypeAlias = np.ndarray

_POSITIVE = 1e-8  # eigenvalue of the Hessian below which a direction tells nothing, as lmerTest has it
FLAT = 1e-4  # standard deviation over sigma from which on lme4 calls a fit singular


class MixedFit:
    """R outcomes of one design at given thetas: what a fit of each has to say. R is 1 for one model.

    Attributes:
        blocks, outcomes: what was fitted.
        at: the evaluation, at thetas of the scaled columns.
        theta: shape (R, m).
        deviance: the (RE)ML criterion, −2 log-likelihood, shape (R,).
        sigma: shape (R,).
        b: coefficients of X, shape (R, p).
        vcov: their covariance, shape (R, p, p).
        converged: shape (R,).
    """

    def __init__(
        self,
        blocks: Blocks,
        outcomes: Outcomes,
        theta: Array,
        converged: Array,
        hessian: Array | None = None,
        at: Evaluation | None = None,
    ) -> None:
        self.blocks, self.outcomes, self.converged = blocks, outcomes, converged
        self.at = at or Evaluation(blocks, outcomes, theta)
        self._hessian = hessian
        self.theta = given_theta(blocks, theta)
        self.deviance = self.at.deviance
        self.sigma = np.sqrt(self.at.r2 / blocks.df)
        T = blocks.T
        self.b = (self.at.b + outcomes.start) @ T.T
        self.vcov = self.sigma[:, None, None] ** 2 * (T @ self.at.S_inverse @ T.T)

    @property
    def singular(self) -> Array:
        """Return whether an entry of Lambda's diagonal is as good as 0, as lme4's isSingular has it, shape (R,)."""
        zero = [(np.diagonal(L, axis1=1, axis2=2) < FLAT).any(axis=1) for L in factors(self.blocks, self.theta)]
        return np.any(zero, axis=0)

    @property
    def covariances(self) -> list[Array]:
        """Return each bar's covariance of random effects, shape (R, k, k)."""
        return [self.sigma[:, None, None] ** 2 * (L @ L.transpose(0, 2, 1)) for L in factors(self.blocks, self.theta)]

    @cached_property
    def gradient(self) -> Array:
        """Return the gradient of the deviance in the scaled theta, shape (R, m)."""
        return self.at.gradient

    @cached_property
    def hessian(self) -> Array:
        """Return the Hessian of the deviance in the scaled theta, shape (R, m, m)."""
        if self._hessian is None:
            return hessian(self.blocks, self.outcomes, self.at.theta)
        return self._hessian

    @cached_property
    def parameter_vcov(self) -> Array:
        """Return the covariance of (theta, log sigma), (R, m + 1, m + 1), theta of the scaled columns; NaN if unknown.

        That is 2 H⁻¹, H the Hessian of the deviance in which sigma is not profiled. Directions in which it does not
        rise are left out; to tell them, theta is measured by its own size.
        """
        R, m = self.at.theta.shape
        df, r2, g = self.blocks.df, self.at.r2, self.at.r2_gradient
        H = np.empty((R, m + 1, m + 1))
        H[:, :m, :m] = self.hessian + (df / r2**2)[:, None, None] * g[:, :, None] * g[:, None, :]
        H[:, :m, m] = H[:, m, :m] = -2 * g * (df / r2)[:, None]
        H[:, m, m] = 4 * df
        size = np.hstack([np.maximum(1, np.abs(self.at.theta)), np.ones((R, 1))])
        H *= size[:, :, None] * size[:, None, :]
        known = np.isfinite(H).all(axis=(1, 2))
        values, vectors = np.linalg.eigh(np.where(known[:, None, None], H, np.eye(m + 1)))
        rises = values > np.maximum(_POSITIVE, 1e-13 * values[:, -1:])
        inverse = np.where(rises, 1 / np.where(rises, values, 1.0), 0.0)
        V = 2 * np.einsum("rij,rj,rkj->rik", vectors, inverse, vectors) * size[:, :, None] * size[:, None, :]
        return np.where(known[:, None, None], V, np.nan)

    @cached_property
    def jacobian(self) -> Array:
        """Return the derivatives of vcov by (theta, log sigma), shape (R, m + 1, p, p)."""
        R, m, p = len(self.sigma), self.blocks.m, self.blocks.p
        TS = (self.blocks.T @ self.at.S_inverse)[:, None]
        out = np.empty((R, m + 1, p, p))
        out[:, :m] = self.sigma[:, None, None, None] ** 2 * (TS @ growth(self.at) @ TS.swapaxes(2, 3))
        out[:, m] = 2 * self.vcov
        return out

    def coefficient_df(self) -> Array:
        """Return the Satterthwaite df of each coefficient, shape (R, p)."""
        g = np.einsum("rmii->rim", self.jacobian)
        variance = np.einsum("rii->ri", self.vcov)
        return 2 * variance**2 / np.einsum("rim,rmn,rin->ri", g, self.parameter_vcov, g)

    def modes(self) -> list[Array]:
        """Return the conditional modes of each bar's random effects, shape (R, q, k)."""
        return self._by_bar(modes(self.at))

    def mode_covariances(self) -> list[Array]:
        """Return the conditional covariances of each bar's random effects, given theta and b, shape (R, q, k, k)."""
        s2 = self.sigma[:, None, None, None] ** 2
        return self._by_bar([part * s2 for part in mode_covariances(self.at)], square=True)

    def _by_bar(self, parts: list[Array], square: bool = False) -> list[Array]:
        """Return what stands by factor (scaled columns) for each bar, in the given columns."""
        found: list[Array] = [np.empty(0)] * len(self.blocks.sizes)
        owners = [self.blocks.first, *(self.blocks.rest.factors if self.blocks.rest else ())]
        for factor, part in zip(owners, parts, strict=True):
            at = 0
            for bar in factor.bars:
                k, T = self.blocks.sizes[bar], self.blocks.scales[bar]
                piece = part[:, :, at : at + k]
                found[bar] = T @ piece[..., at : at + k] @ T.T if square else piece @ T.T
                at += k
        return found


def fit(blocks: Blocks, y: Array, start: Array | None = None) -> MixedFit:
    """Return the fit of outcomes y, shape (n,) or (n, R), to a design.

    Args:
        blocks: the design.
        y: with the offset taken off.
        start: theta of the given columns to begin at, shape (m,) or (R, m); by default that of `optimum`.

    Raises:
        Unsuited: one outcome whose deviance keeps too few digits.
    """
    found = outcomes(blocks, y if y.ndim == 2 else y[:, None])
    begin = None if start is None else scaled_theta(blocks, np.atleast_2d(start))
    best = optimum(blocks, found, begin)
    if y.ndim == 1 and not np.isfinite(best.deviance[0]):
        raise Unsuited("What the model leaves of the outcome, or of a column of X, is lost in rounding")
    return MixedFit(blocks, found, best.theta, best.converged, best.hessian, best.at)


def at(blocks: Blocks, y: Array, theta: Array) -> MixedFit:
    """Return what a design and an outcome (n,) look like at theta of the given columns, shape (m,)."""
    return MixedFit(blocks, outcomes(blocks, y[:, None]), scaled_theta(blocks, theta[None]), np.array([True]))
