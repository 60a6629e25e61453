"""Documented sets of rows: resamples, permutations and folds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.columns import as_factor, normalise_column
from pymer4.data.frames import plain
from pymer4.errors import DataError, OptionError, count, items, truth
from pymer4.infer.resample import boot_rows, folds, group_folds, shuffles, splits
from pymer4.work import Seed, generator

Splits = list[tuple[np.ndarray, np.ndarray]]
"""Rows to train on and rows to test on, of each fold."""

_MOST = 10**9


def generate_bootstrap_indices(rng: Seed, n: int, n_boot: int) -> np.ndarray:
    """Return rows drawn with replacement, shape (n_boot, n).

    Raises:
        OptionError: no seed, or no whole numbers.

    Examples:
        >>> generate_bootstrap_indices(42, n=5, n_boot=3).shape
        (3, 5)
    """
    return boot_rows(*_sizes(n, n_boot, "n_boot"), generator(rng)).astype(np.intp)


def generate_permutation_indices(rng: Seed, n: int, n_perm: int) -> np.ndarray:
    """Return random orders of n rows, shape (n_perm, n).

    Raises:
        OptionError: no seed, or no whole numbers.

    Examples:
        >>> np.sort(generate_permutation_indices(42, n=3, n_perm=2)).tolist()
        [[0, 1, 2], [0, 1, 2]]
    """
    return shuffles(*_sizes(n, n_perm, "n_perm"), generator(rng))


def generate_kfold_indices(rng: Seed, n: int, k: int, shuffle: bool = True) -> Splits:
    """Return the rows to train on and to test on of k folds, drawn or in their order; the first n % k have one more.

    Raises:
        OptionError: k is no whole number from 2 to n, or what is no seed.

    Examples:
        >>> [test.tolist() for _, test in generate_kfold_indices(None, n=5, k=2, shuffle=False)]
        [[0, 1, 2], [3, 4]]
    """
    return splits(folds(count("n", n), k, rng, truth("shuffle", shuffle)))


def generate_kfold_splits(n: int, k: int, seed: Seed = None) -> Splits:
    """Return the rows to train on and to test on of k random folds; see `generate_kfold_indices`.

    Raises:
        OptionError: k is no whole number from 2 to n, or what is no seed.

    Examples:
        >>> [len(test) for _, test in generate_kfold_splits(100, k=10, seed=42)] == [10] * 10
        True
    """
    return generate_kfold_indices(seed, n, k)


def generate_group_kfold_splits(group_ids: Any, k: int, seed: Seed = None) -> Splits:
    """Return the rows to train on and to test on of k folds of whole groups, drawn, with about as many rows each.

    Raises:
        DataError: a missing group.
        OptionError: k is no whole number from 2 to the number of groups, or what is no seed.

    Examples:
        >>> [len(test) for _, test in generate_group_kfold_splits(["a", "a", "b", "b", "c", "c", "d", "d"], 2, seed=42)]
        [4, 4]
    """
    group_ids = plain(group_ids)
    given = items(group_ids)
    if not given or getattr(group_ids, "ndim", 1) != 1:
        raise DataError("group_ids has to be a list, array or Series with the group of each row.")
    column = as_factor(normalise_column(pd.Series(given), "group_ids"))
    if column.missing.any():
        raise DataError("group_ids holds missing values. Leave out such rows first.")
    return splits(group_folds(column.values - 1, k, seed))


def generate_loo_indices(n: int) -> Splits:
    """Return the rows to train on and to test on for each of n rows left out in turn.

    Raises:
        OptionError: n is no whole number of at least 2.

    Examples:
        >>> [test.tolist() for _, test in generate_loo_indices(3)]
        [[0], [1], [2]]
    """
    n = count("n", n, 2, 30_000)
    return splits(folds(n, n, None, shuffle=False))


def _sizes(n: Any, times: Any, argument: str) -> tuple[int, int]:
    n, times = count("n", n), count(argument, times)
    if n * times > _MOST:
        raise OptionError(f"{n=} rows {times:,} times are more numbers than can be held. Draw them in parts.")
    return n, times
