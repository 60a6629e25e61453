"""Seed streams and index sets: results depend on the seed, never on the number of workers."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from pymer4.errors import OptionError, shown

MOST = 10**7
"""Draws that a call makes at most: a p of 1e-6 then has a standard error of a third of it."""

Seed = int | np.random.Generator | None
"""What makes random numbers repeatable; None for fresh ones."""


def whole_seed(seed: Seed) -> int | None:
    """Return a seed as a whole number, which says all of it, or as None for fresh entropy.

    Args:
        seed: a whole number of at least 0, a NumPy Generator, of which one number is drawn, or None.

    Raises:
        OptionError: `seed` is none of these.
    """
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(2**63))
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0):
        raise OptionError(
            f"seed={shown(seed)} is not a whole number of at least 0, a numpy.random.Generator, or None for fresh "
            "draws."
        )
    return None if seed is None else int(seed)


def seed_stream(seed: Seed, n: int) -> np.ndarray:
    """Return `n` independent seeds, shape (n,), each one that R and NumPy accept.

    Args:
        seed: as in `whole_seed`.
        n: how many.

    Raises:
        OptionError: `seed` is none.

    Examples:
        >>> bool((seed_stream(1, 3) == seed_stream(1, 3)).all())
        True
    """
    words = np.random.SeedSequence(whole_seed(seed)).generate_state(n, dtype=np.uint32)
    return (words >> 1).astype(np.int32)


def count(argument: str, value: Any, least: int = 1, most: int = MOST) -> int:
    """Return a whole number from `least` to `most`, which may be given as a float, such as 1e3.

    Raises:
        OptionError: otherwise; `argument` names it.
    """
    whole = _whole(value)
    if whole is None or whole < least:
        raise OptionError(f"{argument}={shown(value)} is not a whole number of at least {least}.")
    if whole > most:
        raise OptionError(f"{argument}={shown(value)} is too large. Give a whole number from {least} to {most:,}.")
    return whole


def permutations(permute: Any) -> int:
    """Return the number of permutations that `fit(permute=)` asks for; None and False are 0.

    Raises:
        OptionError: it is no number.
    """
    if permute is None or (isinstance(permute, (bool, np.bool_)) and not permute):
        return 0
    return count("permute", permute, least=0)


def workers(n_jobs: Any) -> int:
    """Return a number of workers as joblib counts them: 1, 2, ..., or -1 for all cores, -2 for all but one.

    Raises:
        OptionError: it is no such number.
    """
    whole = _whole(n_jobs)
    if not whole:
        raise OptionError(f"n_jobs={shown(n_jobs)} is not a number of workers. Use 1, 2, ... or -1 for all cores.")
    return whole


def _whole(value: Any) -> int | None:
    """Return a whole number as an int, None for anything else."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    is_whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return int(value) if is_whole else None


def keep_memory(megabytes: int = 16) -> None:
    """Have memory that temporary arrays give back stay with the process for the next of them.

    The C library returns freed memory to the system above a bound that rises with the largest block freed so far, at
    most 32 MB (mallopt(3), M_MMAP_THRESHOLD). Below it, each array of a loop is mapped and cleared anew, which
    takes longer than the arithmetic on it. The block made here is never touched, so it takes no memory.
    """
    np.empty(megabytes * 2**17)


def boot_counts(n: int, n_rep: int, seed: int, clusters: np.ndarray | None = None) -> np.ndarray:
    """Return how often each row is drawn in `n_rep` bootstrap samples, shape (n_rep, n), as floats.

    One seed gives one block of replicates, of which the first k do not depend on `n_rep`; `samples.blocks` makes
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
