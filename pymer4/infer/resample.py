"""Index sets: which rows a draw takes, by its seed alone; and why draws have no fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

_REASONS = 5  # that are told one by one


def boot_counts(n: int, n_rep: int, seed: int, clusters: np.ndarray | None = None) -> np.ndarray:
    """Return how often each row is drawn in `n_rep` bootstrap samples, shape (n_rep, n), as floats.

    One seed gives one block of replicates, of which the first k do not depend on `n_rep`; `work.blocks` makes
    the seeds.

    Args:
        n: rows.
        n_rep: samples.
        seed: of the block.
        clusters: codes 0, 1, ... of the cluster of each row, shape (n,): whole clusters are drawn.

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
    """Return `n_rep` random orders of the rows 0 to n − 1, shape (n_rep, n), each equally likely.

    Args:
        n: rows.
        n_rep: orders.
        seed: of the block, as in `boot_counts`.
        within: code of the group of each row, shape (n,): rows change places in their group only. Rows that draw one
            number keep their order.

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
