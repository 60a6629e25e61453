"""What the columns of a design that were kept can estimate, and the rank of rows of L."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LOST = 1e-8  # share of the squared length of a row that may lie where the data say nothing, as in emmeans
_RANK = 1e-7  # of the largest singular value
_NOISE = 1e-12  # share of the largest number in a column


@dataclass(frozen=True, slots=True, eq=False)
class Estimable:
    """What can be estimated of p coefficients, some of which a fit left out.

    Attributes:
        kept: which are in the fit, shape (p,).
        scale: lengths of the columns, shape (p,).
        null: orthonormal directions of which the data say nothing, of columns of unit length, shape (p, p − rank).
    """

    kept: np.ndarray
    scale: np.ndarray
    null: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray, kept: np.ndarray) -> Estimable:
        """Return it for a design, shape (n, p), whose other columns are combinations of those kept."""
        if kept.all():
            return cls.every(len(kept))
        scale = np.sqrt(np.einsum("ij,ij->j", X, X))
        scale[scale == 0] = 1.0
        unit, null = X / scale, np.eye(len(kept))[:, ~kept]
        null[kept] = -np.linalg.lstsq(unit[:, kept], unit[:, ~kept], rcond=None)[0]
        return cls(kept, scale, np.linalg.qr(null)[0])

    @classmethod
    def every(cls, p: int) -> Estimable:
        """Return it where all can be."""
        return cls(np.ones(p, dtype=bool), np.ones(p), np.zeros((p, 0)))

    def free(self, L: np.ndarray) -> np.ndarray:
        """Return which rows can be estimated, of shape (.., p)."""
        unit = L / self.scale
        return ((unit @ self.null) ** 2).sum(axis=-1) <= _LOST * (unit**2).sum(axis=-1)

    def rows(self, L: np.ndarray) -> np.ndarray:
        """Return rows over the coefficients of the fit, NaN where they can't be estimated, shape (.., kept)."""
        return np.where(self.free(L)[..., None], L[..., self.kept], np.nan)

    def subspace(self, L: np.ndarray) -> np.ndarray:
        """Return combinations of rows that can be estimated, as many as there are, over all columns, shape (k, p)."""
        if self.free(L).all():
            return L
        U, s, _ = np.linalg.svd(L / self.scale @ self.null)
        return U[:, int((s > _RANK * s.max()).sum()) :].T @ L


def noise_of(L: np.ndarray) -> np.ndarray:
    """Return the size of numbers that are none in each column of rows, of shape (.., p)."""
    return _NOISE * np.fmax.reduce(np.abs(L.reshape(-1, L.shape[-1])), axis=0, initial=0.0)


def independent_rows(L: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return independent rows that span the same as those of L that have values; `noise` is of `noise_of`."""
    L = np.where(np.abs(L) > noise, L, 0.0)[~np.isnan(L).any(axis=1)]
    scale = np.abs(L).max(axis=0, initial=0.0)
    _, s, V = np.linalg.svd(L / np.where(scale > 0, scale, 1.0), full_matrices=False)
    return V[: int((s > _RANK * s.max(initial=0.0)).sum())] * scale
