"""From draws under the null hypothesis to p."""

from __future__ import annotations

import numpy as np

from pymer4.infer.asymptotic import Alternative

TIE = 1e-10
"""Share of the statistic, or of the usual size of its draws where that is larger, by which equal ones may differ.

They are sums of up to millions of terms, each rounded at 1e-16.
"""


def from_null(observed: np.ndarray, null: np.ndarray, alternative: Alternative = "two-sided") -> np.ndarray:
    """Return p = (1 + hits) / (n + 1) from draws under the null hypothesis, shape (k,).

    A hit is a draw at least as extreme as what was observed, so p is never 0 (Phipson & Smyth 2010, Stat. Appl. Genet.
    Mol. Biol. 9, 39). Ties count: a permutation that leaves the data as they are sums the same terms in another order,
    and differs by rounding (`TIE`).

    Args:
        observed: statistics, shape (k,).
        null: draws, shape (B, k); those that are NaN are left out.
        alternative: `"greater"` counts draws as large, `"less"` those as small, `"two-sided"` those as far from 0.

    Returns:
        p; NaN where nothing was observed or no draw is left.

    Examples:
        >>> from_null(np.array([2.0]), np.array([[0.5], [-2.0], [1.0]])).tolist()
        [0.5]
    """
    observed = np.asarray(observed, dtype=float)
    if alternative == "two-sided":
        far, bound = np.abs(null), np.abs(observed)
    else:
        sign = 1 if alternative == "greater" else -1
        far, bound = sign * null, sign * observed
    n = (~np.isnan(null)).sum(axis=0)
    usual = np.sqrt((np.where(np.isfinite(null), null, 0.0) ** 2).sum(axis=0) / np.maximum(n, 1))
    slack = TIE * np.maximum(usual, np.where(np.isfinite(bound), np.abs(bound), 0.0))
    hits = (far >= bound - slack).sum(axis=0)
    return np.where((n > 0) & ~np.isnan(observed), (1 + hits) / (n + 1), np.nan)
