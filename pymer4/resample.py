"""Seed streams and parallel maps: results depend on the seed, never on the number of workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pymer4.errors import OptionError


def seed_stream(seed: int | None, n: int) -> np.ndarray:
    """Return `n` independent seeds, shape (n,), each one that R and NumPy accept.

    Args:
        seed: a whole number for a stream that can be repeated, None for fresh entropy.
        n: how many.

    Raises:
        OptionError: `seed` is not a whole number of at least 0.

    Examples:
        >>> bool((seed_stream(1, 3) == seed_stream(1, 3)).all())
        True
    """
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0):
        raise OptionError(f"seed={seed!r} is not a whole number of at least 0; None draws a fresh one.")
    words = np.random.SeedSequence(seed).generate_state(n, dtype=np.uint32)
    return (words >> 1).astype(np.int32)


def count(argument: str, value: Any, least: int = 1) -> int:
    """Return `value` if it is a whole number of at least `least`.

    Raises:
        OptionError: otherwise; `argument` names it.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise OptionError(f"{argument}={value!r} is not a whole number of at least {least}.")
    return int(value)


def workers(n_jobs: Any) -> int:
    """Return a number of workers as joblib counts them: 1, 2, ..., or -1 for all cores, -2 for all but one.

    Raises:
        OptionError: it is no such number.
    """
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, (int, np.integer)) or n_jobs == 0:
        raise OptionError(f"n_jobs={n_jobs!r} is not a number of workers. Use 1, 2, ... or -1 for all cores.")
    return int(n_jobs)


def map_chunks(work: Callable[..., np.ndarray], items: np.ndarray, n_jobs: int, *fixed: Any) -> np.ndarray:
    """Return `work(*fixed, chunk)` of every chunk of `items`, stacked in order.

    Args:
        work: a module-level function that returns one row an item.
        items: shape (n, ...).
        n_jobs: workers, as joblib counts them (-1 is all cores); 1 works in this process.
        *fixed: first arguments of every call.

    Raises:
        OptionError: joblib's fork-based `multiprocessing` backend is in force; R can't be forked once it runs.
    """
    if n_jobs == 1:
        return work(*fixed, items)
    from joblib import Parallel, delayed, effective_n_jobs

    pool = Parallel(n_jobs=n_jobs)
    if type(pool._backend).__name__ == "MultiprocessingBackend":
        raise OptionError(
            "joblib's 'multiprocessing' backend forks this process, and R can't be forked once it runs. "
            "Use backend 'loky' (the default) or n_jobs=1."
        )
    chunks: Sequence[np.ndarray] = np.array_split(items, max(1, min(len(items), effective_n_jobs(n_jobs))))
    return np.concatenate(pool(delayed(work)(*fixed, chunk) for chunk in chunks))
