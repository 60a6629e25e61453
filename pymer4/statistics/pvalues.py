"""Adjustment of p-values for multiple tests."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from pymer4.errors import DataError, count, one_of
from pymer4.infer.adjust import adjusted_p
from pymer4.statistics.samples import numbers

Method = Literal["holm", "hochberg", "hommel", "bonferroni", "bonf", "BH", "fdr", "BY", "none"]
"""Names of R's `p.adjust`, and `bonf` for short."""


def correct_pvals(ps: Any, method: Method = "holm", *, n: int | None = None) -> np.ndarray:
    """Return p-values adjusted for the number of tests, as R's `p.adjust`.

    | method | controls | by |
    | --- | --- | --- |
    | `bonferroni`, `bonf` | family-wise error | Bonferroni |
    | `holm` | family-wise error | Holm (1979, Scand. J. Stat. 6, 65-70) |
    | `hochberg` | family-wise error, independent tests | Hochberg (1988, Biometrika 75, 800-803) |
    | `hommel` | family-wise error, independent tests | Hommel (1988, Biometrika 75, 383-386) |
    | `BH`, `fdr` | false discovery rate, independent tests | Benjamini & Hochberg (1995, JRSS B 57, 289-300) |
    | `BY` | false discovery rate | Benjamini & Yekutieli (2001, Ann. Stat. 29, 1165-1188) |
    | `none` | nothing | |

    Args:
        ps: p-values, shape (k,). Missing ones stay missing, in place, and do not count as tests.
        method: see the table.
        n: number of tests where that is larger than the number of p-values given.

    Returns:
        Adjusted p-values, none above 1, shape (k,).

    Raises:
        OptionError: another method, or `n` smaller than the number of p-values.
        DataError: a number that is no p-value.

    Examples:
        >>> correct_pvals([0.01, 0.02, 0.03], "bonferroni").tolist()
        [0.03, 0.06, 0.09]
    """
    one_of("method", method, get_args(Method))
    found = numbers("ps", ps)
    p = found[~np.isnan(found)]
    outside = p[(p < 0) | (p > 1)]
    if len(outside):
        raise DataError(f"ps holds {outside[0]:g}, and p-values lie between 0 and 1.")
    return adjusted_p(found, method, len(p) if n is None else count("n", n, len(p)))
