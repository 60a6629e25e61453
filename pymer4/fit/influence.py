"""What single rows do to a fit: leverages, and coefficients without each of them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from pymer4.fit import batched

ONE = 1 - 1e-10
"""A leverage from which on a row fits itself: the coefficients can't be told without it."""

_NONE = 1e-9
"""The share of an influence that rounding leaves where there is none."""


class Fit(ABC):
    """What linear and generalized fits have in common; the records say what their attributes are."""

    __slots__ = ()

    b: np.ndarray
    unscaled: np.ndarray
    root: np.ndarray
    df_resid: int

    @property
    @abstractmethod
    def vcov(self) -> np.ndarray:
        """Covariance of b under the model, shape (p, p)."""

    @property
    @abstractmethod
    def weighted_residuals(self) -> np.ndarray:
        """w_i e_i, shape (n,)."""

    @property
    @abstractmethod
    def row_weights(self) -> np.ndarray | None:
        """w_i, shape (n,); None where all are 1."""

    @property
    def se(self) -> np.ndarray:
        """Standard errors of b under the model, shape (p,)."""
        return np.sqrt(np.diag(self.vcov))

    def scores(self, X: np.ndarray) -> np.ndarray:
        """Return the rows x_i w_i e_i, shape (n, p), that sandwiches are made of."""
        return X * self.weighted_residuals[:, None]

    def leverages(self, X: np.ndarray) -> np.ndarray:
        """Return the diagonal of the hat matrix, w_i x_i' (X'WX)⁻¹ x_i, shape (n,)."""
        rows = X @ self.root
        found = np.einsum("ij,ij->i", rows, rows)
        return found if self.row_weights is None else self.row_weights * found


def self_fitted(fit: Fit, X: np.ndarray) -> np.ndarray:
    """Return the positions of rows with leverage 1."""
    return np.flatnonzero(fit.leverages(X) > ONE)


def untold_by_others(fit: Fit, X: np.ndarray, h: np.ndarray | None = None) -> np.ndarray:
    """Return which coefficients hang on rows with leverage 1 alone, shape (p,).

    Such a row has no residual, whatever its error, so that residuals tell nothing of these coefficients: theirs are
    functions of the outcomes of these rows only, X (X'WX)⁻¹ being 0 in all others, up to rounding. `h` are the
    leverages, where they are at hand.
    """
    alone = (fit.leverages(X) if h is None else h) > ONE
    if not alone.any():
        return np.zeros(len(fit.b), dtype=bool)
    arms = np.abs(X @ fit.root @ fit.root.T)
    return arms[~alone].max(axis=0, initial=0.0) <= _NONE * arms[alone].max(axis=0)


def jackknife(fit: Fit, X: np.ndarray, clusters: np.ndarray | None = None) -> np.ndarray:
    """Return the coefficients of the fits without each row in turn, or each cluster, shape (m, p).

    b less (X'WX)⁻¹ x_i w_i e_i / (1 − h_i), with the weights of the other rows as they are (Miller 1974, Annals of
    Statistics 2, 880-891); for a generalized model one step of the iterations (Pregibon 1981, Annals of Statistics 9,
    705-724). Without the rows g it is b less (X'WX − X_g'W_g X_g)⁻¹ X_g'W_g e_g. NaN where the coefficients can't be
    told without them. `clusters` are codes 0, 1, ..., shape (n,).
    """
    if clusters is None:
        h = fit.leverages(X)
        left = np.where(h > ONE, np.nan, 1 - h)
        return fit.b - (fit.scores(X) / left[:, None]) @ fit.unscaled
    # In the basis X root, where X'WX is the identity.
    arms, order = X @ fit.root, np.argsort(clusters, kind="stable")
    starts = np.searchsorted(clusters[order], np.arange(clusters.max() + 1))
    scores = np.add.reduceat((fit.scores(X) @ fit.root)[order], starts)
    weights = 1.0 if fit.row_weights is None else fit.row_weights[order, None]
    own = np.add.reduceat(batched.products(arms)[order] * weights, starts)
    rest = np.eye(X.shape[1]) - batched.unpacked(own, X.shape[1])
    told = np.linalg.eigvalsh(rest)[:, 0] > 1 - ONE
    moved = np.full(scores.shape, np.nan)
    moved[told] = np.linalg.solve(rest[told], scores[told][..., None])[..., 0]
    return fit.b - moved @ fit.root.T
