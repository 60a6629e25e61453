"""How far the rounding of a sound method may move least squares: bounds from the condition, not from a machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UNIT = np.finfo(float).eps / 2
"""Unit roundoff."""

FACTOR = 16
"""Error of a column, in units of roundoff, that a sound method stays below, with room for two of them.

Errors of the n terms of a sum are of either sign and grow as the square root of n or less (Higham & Mary 2019, SIAM J.
Sci. Comput. 41, A2815-A2835), and sums are taken in pieces.
"""


@dataclass(frozen=True)
class Bounds:
    """Largest differences that rounding explains.

    Attributes:
        b: of coefficients, shape (p,).
        fitted: of fitted values and residuals, shape (n,).
        unscaled: of the elements of (X'WX)⁻¹, shape (p, p).
        sigma: of the residual standard deviation, relative.
        se: of standard errors, relative, shape (p,).
    """

    b: np.ndarray
    fitted: np.ndarray
    unscaled: np.ndarray
    sigma: float
    se: np.ndarray


def condition(X: np.ndarray) -> float:
    """Return the condition of a design with columns at unit length."""
    return float(np.linalg.cond(X / np.sqrt((X**2).sum(axis=0))))


def bounds(X: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None, factor: float = FACTOR) -> Bounds:
    """Return the bounds for a design and an outcome.

    A backward stable method returns what is exact for columns a_k and an outcome y that are each off by ε of their
    length. To first order that moves b by A⁺(δy − δA b) + (A'A)⁻¹ δA' r, and A b by what A makes of that (Björck 1996,
    Numerical Methods for Least Squares Problems, 1.4): by the condition times ε, and b by its square times ε where
    residuals r are large.
    Columns of A are those of sqrt(W) X at unit length.
    """
    root = np.ones(len(y)) if weights is None else np.sqrt(weights)
    Z, z = X * root[:, None], y * root
    lengths = np.sqrt((Z**2).sum(axis=0))
    A, eps = Z / lengths, factor * UNIT
    U, values, Vt = np.linalg.svd(A, full_matrices=False)
    pseudo, G = (Vt.T / values) @ U.T, (Vt.T / values**2) @ Vt
    x = pseudo @ z
    left = np.linalg.norm(z - A @ x)
    moved = eps * (np.linalg.norm(z) + np.abs(x).sum())
    arms, row = np.linalg.norm(pseudo, axis=1), np.abs(G).sum(axis=1)
    own = eps * (np.outer(arms, row) + np.outer(row, arms))
    sigma = moved / left if left else np.inf
    return Bounds(
        b=(arms * moved + row * eps * left) / lengths,
        fitted=(moved + np.linalg.norm(pseudo) * eps * left) / root,
        unscaled=own / np.outer(lengths, lengths),
        sigma=sigma,
        se=np.diag(own) / np.diag(G) / 2 + sigma,
    )
