"""What the shuffling of rows leaves as it is, and so says nothing of."""

from __future__ import annotations

import numpy as np

from pymer4.fit.basis import Basis

_CONSTANT = 1e-8  # share of a unit vector that varies within the clusters, below which it is rounding
_INVOLVED = 1e-6  # share of a coefficient in a direction, likewise

MOST_KEPT = 0.5
"""Share of an estimate that shuffled residuals may keep. At a share r a shuffled z has mean r z and variance 1 − r, so
p is about Φ(−z √(1 − r)) + Φ(−z (1 + r) / √(1 − r)): the level stays below .059 where .05 is meant, and falls from
r = 0.3 on."""


def untestable(X: np.ndarray, within: np.ndarray | None) -> np.ndarray:
    """Return of which coefficients shuffled outcomes say nothing, shape (p,).

    A row l says something of b only if l b = 0 for all b whose X b is constant within the clusters: shuffling adds
    such an X b to every outcome alike. So a mean is not tested, and a contrast of means is.

    Args:
        X: design, shape (n, p), its columns independent.
        within: codes of shape (n,), within which rows change places; None for all rows.

    Examples:
        >>> X = np.array([[1.0, 0], [1, 1], [1, 2], [1, 3]])
        >>> untestable(X, None).tolist(), untestable(X, np.array([0, 0, 1, 1])).tolist()
        ([True, False], [True, False])
    """
    basis = Basis.of(X)
    varying = basis.Q - _means(basis.Q, within)
    _, lengths, directions = np.linalg.svd(varying, full_matrices=False)
    constant = directions[lengths < _CONSTANT]
    return np.linalg.norm(_directions(basis) @ constant.T, axis=1) > _INVOLVED


def kept(X: np.ndarray, weights: np.ndarray | None, within: np.ndarray | None) -> np.ndarray:
    """Return which share of each estimate does not change when the residuals without its column are shuffled.

    Args:
        X: design, shape (n, p), its columns independent.
        weights: of the rows, shape (n,), or None.
        within: as in `untestable`.

    Returns:
        Shares from 0 to 1, shape (p,).
    """
    basis = Basis.of(X, weights)
    alone = basis.Q @ _directions(basis).T
    return (_means(alone, within) ** 2).sum(axis=0)


def _directions(basis: Basis) -> np.ndarray:
    """Return each column beside all others as a unit vector in the basis, one a row, shape (p, p)."""
    return basis.root / np.linalg.norm(basis.root, axis=1, keepdims=True)


def _means(values: np.ndarray, within: np.ndarray | None) -> np.ndarray:
    """Return the mean of each row's cluster, shaped as `values`."""
    if within is None:
        return np.broadcast_to(values.mean(axis=0), values.shape)
    codes = np.unique(within, return_inverse=True)[1].ravel()
    sums = np.stack([np.bincount(codes, column) for column in values.T], axis=1)
    return (sums / np.bincount(codes)[:, None])[codes]
