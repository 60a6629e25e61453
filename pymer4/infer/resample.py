"""Index sets: which rows a draw takes, by its seed alone; what shuffled rows say nothing of; why draws have no fit."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pymer4.errors import OptionError, count, few
from pymer4.fit.basis import Basis
from pymer4.work import Seed, generator

_REASONS = 5  # that are told one by one
_CONSTANT = 1e-8  # share of a unit vector that varies within the clusters, below which it is rounding
_INVOLVED = 1e-6  # share of a coefficient in a direction, likewise

MOST_KEPT = 0.5
"""Share of an estimate that shuffled residuals may keep. At a share r a shuffled z has mean r z and variance 1 − r, so
p is about Φ(−z √(1 − r)) + Φ(−z (1 + r) / √(1 − r)): the level stays below .059 where .05 is meant, and falls from
r = 0.3 on. Where p by z is .003, it is .017 at r = .5 and .17 at .9: beyond a half it tells too little."""


def of_two(units: int, what: str, remedy: str) -> list[str]:
    """Return what to say of bootstraps of two clusters or groups."""
    if units != 2:
        return []
    return [
        f"Draws of two {what}s are of three kinds: both, or one of them twice. Standard errors and limits of these "
        f"mean little; take those of {remedy}, or more {what}s"
    ]


def offset_in(names: Sequence[object], linear: bool) -> list[str]:
    """Return what to say of rows that hold a part of an offset, if there are some."""
    if not len(names):
        return []
    remedy = "scheme='freedman-lane' tests such" if linear else "how='asymp' and 'boot' have one"
    named = few([str(name) for name in names])
    return [f"No p for {named}: the offset is a part of it, and shuffled outcomes have none; {remedy}"]


def boot_counts(n: int, n_rep: int, seed: int, clusters: np.ndarray | None = None) -> np.ndarray:
    """Return how often each of n rows is drawn in `n_rep` bootstrap samples, shape (n_rep, n), as floats.

    One seed gives one block of replicates, of which the first k do not depend on `n_rep`; `work.blocks` makes the
    seeds. With codes 0, 1, ... of the cluster of each row, shape (n,), whole clusters are drawn.

    Examples:
        >>> boot_counts(5, 2, seed=1).sum(axis=1).tolist()
        [5.0, 5.0]
    """
    units = n if clusters is None else int(clusters.max()) + 1
    counts = times(boot_rows(units, n_rep, seed), units)
    return (counts if clusters is None else counts[:, clusters]).astype(float)


def boot_rows(n: int, n_rep: int, seed: int | np.random.Generator) -> np.ndarray:
    """Return n of the rows 0 to n − 1, drawn with replacement, shape (n_rep, n); `seed` as in `boot_counts`."""
    kind = np.uint16 if n <= 2**16 else np.uint32
    return np.random.default_rng(seed).integers(0, n, size=(n_rep, n), dtype=kind)


def times(rows: np.ndarray, n: int) -> np.ndarray:
    """Return how often each of n rows is in each sample, shape (B, n), from the rows of samples, shape (B, m)."""
    cells = rows + np.arange(0, len(rows) * n, n)[:, None]
    return np.bincount(cells.ravel(), minlength=len(rows) * n).reshape(len(rows), n)


def shuffles(n: int, n_rep: int, seed: int | np.random.Generator, within: np.ndarray | None = None) -> np.ndarray:
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


# ------------------------------------------------------------------ folds


def folds(n: int, k: Any, seed: Seed, shuffle: bool = True) -> np.ndarray:
    """Return the fold, 0 to k − 1, of each of n rows, shape (n,).

    The first n % k folds have one row more than the others, as in scikit-learn's `KFold`; which rows are in a fold is
    drawn, or they follow each other. With k = n each row is left out by itself.

    Raises:
        OptionError: k is no whole number from 2 to n.

    Examples:
        >>> folds(7, 3, None, shuffle=False).tolist(), np.bincount(folds(7, 3, seed=1)).tolist()
        ([0, 0, 0, 1, 1, 2, 2], [3, 2, 2])
    """
    k = _fold_count(k, n, "rows")
    ordered = np.repeat(np.arange(k), n // k + (np.arange(k) < n % k))
    return generator(seed).permutation(ordered) if shuffle else ordered


def group_folds(codes: np.ndarray, k: Any, seed: Seed) -> np.ndarray:
    """Return the fold, 0 to k − 1, of each row, shape (n,), for folds of whole groups.

    Groups come in random order, each to the fold that has the fewest rows by then, the first of equals. So folds differ
    by no more rows than the largest group has, and, where groups are of one size, by one group.

    Args:
        codes: group of each row, 0, 1, ... without gaps, shape (n,).
        k: folds.
        seed: for the order of the groups.

    Raises:
        OptionError: k is no whole number from 2 to the number of groups.

    Examples:
        >>> fold = group_folds(np.array([0, 0, 1, 1, 2, 2, 3]), 2, seed=1)
        >>> bool(fold[0] == fold[1]), np.bincount(fold).tolist()
        (True, [3, 4])
    """
    sizes = np.bincount(codes)
    k = _fold_count(k, len(sizes), "groups")
    found, filled = np.empty(len(sizes), dtype=np.intp), [(0, j) for j in range(k)]
    for group in generator(seed).permutation(len(sizes)):
        rows, found[group] = filled[0]
        heapq.heapreplace(filled, (rows + int(sizes[group]), int(found[group])))
    return found[codes]


def splits(fold: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rows to train on and those to test on, both ascending, for each fold in turn."""
    return [(np.flatnonzero(fold != j), np.flatnonzero(fold == j)) for j in range(int(fold.max()) + 1)]


def _fold_count(k: Any, most: int, what: str) -> int:
    whole = count("k", k, least=2)
    if whole > most:
        way = f"Give a whole number from 2 to {most}" if most > 1 else "It takes two at least"
        raise OptionError(f"k={whole} folds can't be made of {most} {what}. {way}.")
    return whole


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
