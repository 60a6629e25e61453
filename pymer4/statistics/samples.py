"""Samples and numbers as users give them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pymer4.data.columns import floats, real_array, require_squares
from pymer4.errors import DataError, OptionError, shown


def numbers(argument: str, values: Any) -> np.ndarray:
    """Return `values` as floats, shape (n,), NaN where missing.

    Args:
        argument: the argument's name, for the messages.
        values: list, array or Series of numbers or booleans.

    Raises:
        DataError: not one number after the other, or an infinite one.
    """
    found = floats(argument, values)
    if np.isinf(found).any():
        raise DataError(f"{argument} holds infinite numbers. Drop them, or put NaN in their place.")
    return found


def sample(argument: str, values: Any, least: int = 2) -> np.ndarray:
    """Return the numbers of a sample without the missing ones.

    Raises:
        DataError: fewer than `least` are left, or see `numbers`.
    """
    found = numbers(argument, values)
    found = found[~np.isnan(found)]
    if len(found) < least:
        raise DataError(f"{argument} holds {len(found)} numbers, and {least} are needed at least.")
    return _of_size(argument, found)


def pairs(x: Any, y: Any, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return two samples that belong together, without the pairs of which either is missing.

    They are paired by position, whatever the index of a Series says.

    Raises:
        DataError: unequal lengths, fewer than `least` pairs, or see `numbers`.
    """
    first, second = numbers("x", x), numbers("y", y)
    if len(first) != len(second):
        raise DataError(f"x and y hold pairs, so they have to be of one length: x has {len(first)}, y {len(second)}.")
    there = ~(np.isnan(first) | np.isnan(second))
    if there.sum() < least:
        raise DataError(f"x and y hold {there.sum()} complete pairs, and {least} are needed at least.")
    return _of_size("x", first[there]), _of_size("y", second[there])


def _of_size(argument: str, found: np.ndarray) -> np.ndarray:
    """Return the numbers, unless sums of their squares would be infinite."""
    require_squares(argument, found, "the sample")
    return found


def number(argument: str, value: Any) -> float:
    """Return a finite number as a float.

    Raises:
        OptionError: it is none; `argument` names it.
    """
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        found = real_array(value)
        if found is not None and np.isfinite(found):
            return float(value)
    raise OptionError(f"{argument}={shown(value)} has to be a finite number.")
