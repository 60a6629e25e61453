"""Documented limits and p of draws that the user brings."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from pymer4.data.columns import array
from pymer4.errors import DataError, confidence_level, one_of
from pymer4.infer.asymptotic import Alternative
from pymer4.infer.draws import Interval, from_draws, from_null, shifted_p
from pymer4.infer.verb import BCA_LEAST

BCa_MIN_NBOOT = BCA_LEAST
"""Draws that limits by bca take at least."""


def compute_bootstrap_ci_percentile(boot_stats: Any, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper percentile limits, each shape (k,), of draws, (n_boot, k), or one of each of (n_boot,).

    The (n + 1)α/2-th draws from either end, between two draws interpolated on the normal scale, as `boot::boot.ci` in
    R; NaN are left out.

    Raises:
        DataError: what are no draws.
        OptionError: no confidence level.

    Examples:
        >>> lower, upper = compute_bootstrap_ci_percentile(np.arange(1.0, 40.0), level=0.9)
        >>> float(lower), float(upper)
        (2.0, 38.0)
    """
    return _limits("boot_stats", boot_stats, level, "percentile")


def compute_bootstrap_ci_basic(observed: Any, boot_stats: Any, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return percentile limits reflected in the estimate, 2b − upper and 2b − lower, of draws as there.

    Raises:
        DataError: what are no draws, or not as many estimates.
        OptionError: no confidence level.

    Examples:
        >>> lower, upper = compute_bootstrap_ci_basic(18.0, np.arange(1.0, 40.0), level=0.9)
        >>> float(lower), float(upper)
        (-2.0, 34.0)
    """
    return _limits("boot_stats", boot_stats, level, "basic", observed)


def compute_bootstrap_ci_bca(
    boot_stats: Any, observed: Any, jackknife_stats: Any = None, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Return limits corrected for bias and acceleration (Efron 1987, JASA 82, 171-185), of draws as above.

    The acceleration is that of estimates without each row, shape (m, k); without these it is 0.

    Raises:
        DataError: fewer than `BCa_MIN_NBOOT` draws, or not as many estimates.
        OptionError: no confidence level.

    Examples:
        >>> lower, upper = compute_bootstrap_ci_bca(np.arange(1.0, 100.0), 50.0, level=0.9)
        >>> round(float(lower), 6), round(float(upper), 6)
        (5.0, 95.0)
    """
    knife = array("observed", observed, ..., missing=True)[None] if jackknife_stats is None else jackknife_stats
    return _limits("boot_stats", boot_stats, level, "bca", observed, knife)


def compute_bootstrap_ci(
    coef_obs: Any, boot_samples_valid: Any, ci_type: Interval, level: float, jackknife_stats: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return limits by `"percentile"`, `"basic"` or `"bca"`, the last with estimates without each row.

    Raises:
        DataError: what are no draws, or too few, or not as many estimates.
        OptionError: another type, `"bca"` without the jackknife, or no confidence level.

    Examples:
        >>> lower, upper = compute_bootstrap_ci([5.0], np.arange(1.0, 20.0)[:, None], "percentile", 0.8)
        >>> lower.tolist(), upper.tolist()
        ([2.0], [18.0])
    """
    one_of("ci_type", ci_type, get_args(Interval))
    return _limits("boot_samples_valid", boot_samples_valid, level, ci_type, coef_obs, jackknife_stats)


def compute_bootstrap_pvalue(
    observed: Any, boot_samples: Any, null: Any = 0.0, alternative: Alternative = "two-sided"
) -> np.ndarray:
    """Return p of draws moved to the null, `(1 + #{|b* − b| ≥ |b − null|})/(n + 1)`, shape (k,).

    For `"greater"` b* − b ≥ b − null counts, for `"less"` the opposite.

    Raises:
        DataError: what are no draws, or not as many estimates.
        OptionError: another alternative.

    Examples:
        >>> compute_bootstrap_pvalue([3.0], [[2.0], [3.5], [6.5], [4.0]]).tolist()
        [0.4]
    """
    one_of("alternative", alternative, get_args(Alternative))
    draws, shape = _draws("boot_samples", boot_samples)
    b, null = _beside("observed", observed, draws), array("null", null, ...)
    return shifted_p(b, draws, _beside("null", null, draws) if null.ndim else null, alternative).reshape(shape)


def compute_pvalues(observed_stats: Any, null_stats: Any, alternative: Alternative = "two-sided") -> np.ndarray:
    """Return p of permutations, `(1 + #{|t*| ≥ |t|})/(n + 1)`, shape (k,), from statistics under the null, (n_perm, k).

    Raises:
        DataError: what are no draws, or not as many statistics.
        OptionError: another alternative.

    Examples:
        >>> compute_pvalues([2.5, -1.0], [[0.1, 0.2], [-0.3, 1.5], [0.8, -0.1]]).tolist()
        [0.25, 0.5]
    """
    one_of("alternative", alternative, get_args(Alternative))
    draws, shape = _draws("null_stats", null_stats)
    return from_null(_beside("observed_stats", observed_stats, draws), draws, alternative).reshape(shape)


def _limits(
    argument: str, values: Any, level: float, kind: Interval, observed: Any = None, knife: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    draws, shape = _draws(argument, values)
    if kind == "bca" and len(draws) < BCa_MIN_NBOOT:
        raise DataError(
            f"{argument} holds {len(draws)} draws; limits by 'bca' take {BCa_MIN_NBOOT} at least. Draw more, or use "
            "'percentile' or 'basic'."
        )
    b = np.zeros(draws.shape[1]) if kind == "percentile" else _beside("observed", observed, draws)
    others = None
    if knife is not None:
        others = array("jackknife_stats", _draws("jackknife_stats", knife)[0], None, draws.shape[1], missing=True)
    found = from_draws(b, draws, confidence_level(level, "level"), kind, others)
    return found.lower.reshape(shape), found.upper.reshape(shape)


def _draws(argument: str, values: Any) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return draws as rows, shape (n, k), and the shape of one as it was given."""
    found = array(argument, values, ..., missing=True)
    if found.ndim not in (1, 2) or not found.size:
        raise DataError(f"{argument} has shape {found.shape}; draws of shape (n,) or (n, k) are needed.")
    return found.reshape(len(found), -1), found.shape[1:]


def _beside(argument: str, values: Any, draws: np.ndarray) -> np.ndarray:
    return array(argument, array(argument, values, ..., missing=True).ravel(), draws.shape[1], missing=True)
