"""Index sets: which rows a draw takes, by its seed alone; what shuffled rows say nothing of; why draws have no fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from pymer4.fit.basis import Basis

_REASONS = 5  # that are told one by one
_CONSTANT = 1e-8  # share of a unit vector that varies within the clusters, below which it is rounding
_INVOLVED = 1e-6  # share of a coefficient in a direction, likewise

MOST_KEPT = 0.5
"""Share of an estimate that shuffled residuals may keep. At a share r a shuffled z has mean r z and variance 1 − r, so
p is about Φ(−z √(1 − r)) + Φ(−z (1 + r) / √(1 − r)): the level stays below .059 where .05 is meant, and falls from
r = 0.3 on."""


def boot_counts(n: int, n_rep: int, seed: int, clusters: np.ndarray | None = None) -> np.ndarray:
    """Return how often each of n rows is drawn in `n_rep` bootstrap samples, shape (n_rep, n), as floats.

    One seed gives one block of replicates, of which the first k do not depend on `n_rep`; `work.blocks` makes the
    seeds. With codes 0, 1, ... of the cluster of each row, shape (n,), whole clusters are drawn.

    Examples:
        >>> boot_counts(5, 2, seed=1).sum(axis=1).tolist()
        [5.0, 5.0]
    """
    units = n if clusters is None else int(clusters.max()) + 1
    kind = np.uint16 if units <= 2**16 else np.uint32
    drawn = np.random.default_rng(seed).integers(0, units, size=(n_rep, units), dtype=kind)
    cells = drawn + np.arange(0, n_rep * units, units)[:, None]
    counts = np.bincount(cells.ravel(), minlength=n_rep * units).reshape(n_rep, units)
    return (counts if clusters is None else counts[:, clusters]).astype(float)


def shuffles(n: int, n_rep: int, seed: int, within: np.ndarray | None = None) -> np.ndarray:
    """Return random orders of the rows 0 to n − 1, shape (n_rep, n), each equally likely; seeds as in `boot_counts`.

    With codes of groups, shape (n,), rows change places in their group only; those that draw one number keep their
    order.

    Examples:
        >>> np.sort(shuffles(4, 1, seed=1)).tolist()
        [[0, 1, 2, 3]]
    """
    rng = np.random.default_rng(seed)
    if within is None:
        return rng.permuted(np.broadcast_to(np.arange(n), (n_rep, n)), axis=1)
    groups = np.unique(within, return_inverse=True)[1].ravel()
    orders = np.empty((n_rep, n), dtype=np.intp)
    orders[:, np.argsort(groups, kind="stable")] = np.argsort(groups + rng.random((n_rep, n)), axis=1, kind="stable")
    return orders


def flips(n: int, n_rep: int, seed: int) -> np.ndarray:
    """Return random signs, 1.0 or −1.0, shape (n_rep, n); `seed` as in `boot_counts`."""
    return 1.0 - 2.0 * np.random.default_rng(seed).integers(0, 2, size=(n_rep, n), dtype=np.int8)


def counted(reasons: Iterable[str], n: int) -> str:
    """Return how often each reason was given, of n draws, the most frequent first; equally frequent ones as they came.

    Examples:
        >>> counted(["no  mean", "stopped", "stopped"], 20)
        '2 of 20: stopped; 1 of 20: no mean'
    """
    found = Counter(" ".join(reason.split()) for reason in reasons).most_common()
    told = [f"{times} of {n}: {reason}" for reason, times in found[:_REASONS]]
    more = len(found) - len(told)
    return "; ".join([*told, f"and {more} other reasons"] if more else told)


# ------------------------------------------------------------------ what shuffling leaves as it is


def untestable(X: np.ndarray, within: np.ndarray | None, L: np.ndarray | None = None) -> np.ndarray:
    """Return of which rows of L b, by default the coefficients, shuffled outcomes say nothing, shape (k,).

    A row l says something of b only if l b = 0 for all b whose X b is constant within the clusters: shuffling adds
    such an X b to every outcome alike. So a mean is not tested, and a contrast of means is. Rows change places among
    those of one code in `within`, shape (n,), or among all.

    Examples:
        >>> X = np.array([[1.0, 0], [1, 1], [1, 2], [1, 3]])
        >>> untestable(X, None).tolist(), untestable(X, np.array([0, 0, 1, 1])).tolist()
        ([True, False], [True, False])
    """
    basis = Basis.of(X) if L is None else Basis.of(X).toward(L)
    varying = basis.Q - _means(basis.Q, within)
    _, lengths, directions = np.linalg.svd(varying, full_matrices=False)
    constant = directions[lengths < _CONSTANT]
    return np.linalg.norm(basis.directions @ constant.T, axis=1) > _INVOLVED


def kept(
    X: np.ndarray, weights: np.ndarray | None, within: np.ndarray | None, L: np.ndarray | None = None
) -> np.ndarray:
    """Return which share of each estimate stays when the residuals without it are shuffled, shape (k,)."""
    basis = Basis.of(X, weights) if L is None else Basis.of(X, weights).toward(L)
    alone = basis.Q @ basis.directions.T
    return (_means(alone, within) ** 2).sum(axis=0)


def _means(values: np.ndarray, within: np.ndarray | None) -> np.ndarray:
    """Return the mean of each row's cluster, shaped as `values`."""
    if within is None:
        return np.broadcast_to(values.mean(axis=0), values.shape)
    codes = np.unique(within, return_inverse=True)[1].ravel()
    sums = np.stack([np.bincount(codes, column) for column in values.T], axis=1)
    return (sums / np.bincount(codes)[:, None])[codes]
