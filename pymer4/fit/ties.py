"""Numbers that are equal but for rounding, which another processor may put in another order."""

from __future__ import annotations

import numpy as np

ROUNDING = 64 * np.finfo(float).eps
"""Share of the largest number by which equal ones may differ: sums of a few terms in another order do."""


def settled(values: np.ndarray) -> np.ndarray:
    """Return the values, shape (n,), with those equal that differ by rounding alone: the least of each run.

    Sorted, a run goes on while each value is within `ROUNDING` of the one before it. A stable sort of what is
    returned thus leaves ties in the order given, on every machine. NaN and infinite values stay.

    Examples:
        >>> settled(np.array([0.3, 0.1 + 0.2, 0.5])).tolist()
        [0.3, 0.3, 0.5]
    """
    values = np.asarray(values, dtype=float)
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    largest = np.abs(ascending[np.isfinite(ascending)]).max(initial=0.0)
    with np.errstate(invalid="ignore"):
        begins = ~(np.diff(ascending, prepend=-np.inf) <= ROUNDING * largest)
    found = np.empty_like(values)
    found[order] = ascending[np.maximum.accumulate(np.where(begins, np.arange(values.size), 0))]
    return found
