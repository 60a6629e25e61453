"""From estimates, or from draws of them, to standard errors, limits and p.

Every p is of a survival function or of counts, never one less a probability, so
that p as small as 1e-300 is told from 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pymer4.errors import OptionError

Alternative = Literal["two-sided", "greater", "less"]
"""What is held against the null hypothesis."""

Interval = Literal["percentile", "basic", "bca"]
"""How limits are taken from bootstrap draws."""

TIE = 1e-10
"""Share of the statistic, or of the usual size of its draws where that is larger, by which equal ones may differ.

They are sums of up to millions of terms, each rounded at 1e-16.
"""


@dataclass(frozen=True, slots=True)
class Inference:
    """What is inferred of k quantities.

    Attributes:
        se: standard errors, shape (k,).
        lower: lower limits, shape (k,).
        upper: upper limits, shape (k,).
        p: p-values, shape (k,).
        statistic: (estimate − null) / se, shape (k,).
        n: draws that were used, shape (k,); None without draws.
    """

    se: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    p: np.ndarray
    statistic: np.ndarray
    n: np.ndarray | None = None


def asymptotic(
    b: np.ndarray,
    se: np.ndarray,
    df: float | np.ndarray = np.inf,
    level: float = 0.95,
    null: float | np.ndarray = 0.0,
    alternative: Alternative = "two-sided",
) -> Inference:
    """Return t tests and limits of estimates, or normal ones where df is infinite.

    Args:
        b: estimates, shape (k,).
        se: their standard errors, shape (k,).
        df: degrees of freedom, a number or shape (k,); NaN or 0 leaves limits and p missing.
        level: of the limits.
        null: value under the null hypothesis.
        alternative: with `"greater"` or `"less"` one of the limits is infinite.

    Examples:
        >>> found = asymptotic(np.array([2.0]), np.array([1.0]), df=10)
        >>> found.p.round(4).tolist(), found.lower.round(3).tolist()
        ([0.0734], [-0.228])
    """
    b, se = np.asarray(b, dtype=float), np.asarray(se, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = (b - null) / se
    tail = (1 - level) / (2 if alternative == "two-sided" else 1)
    reach = t_quantile(tail, np.broadcast_to(df, b.shape)) * se
    lower = np.where(alternative == "less", -np.inf, b - reach)
    upper = np.where(alternative == "greater", np.inf, b + reach)
    known = np.isfinite(reach)
    p = p_value(statistic, df, alternative)
    return Inference(se, np.where(known, lower, np.nan), np.where(known, upper, np.nan), p, statistic)


def p_value(
    statistic: np.ndarray, df: float | np.ndarray = np.inf, alternative: Alternative = "two-sided"
) -> np.ndarray:
    """Return p of t statistics, or of normal ones where df is infinite; NaN where df is not above 0.

    Examples:
        >>> float(p_value(np.array([30.0]))[0]) > 0
        True
    """
    t = np.asarray(statistic, dtype=float)
    if alternative == "two-sided":
        return 2 * _upper_tail(np.abs(t), df)
    return _upper_tail(t if alternative == "greater" else -t, df)


def _upper_tail(t: np.ndarray, df: float | np.ndarray) -> np.ndarray:
    """Return the probability of more than t.

    For Student's t half an incomplete beta function: of df/(df + t²), or of its complement where t is small.
    """
    from scipy.special import betainc, betaincc, ndtr

    t, df = np.broadcast_arrays(np.asarray(t, dtype=float), np.asarray(df, dtype=float))
    nu = np.where((df > 0) & np.isfinite(df), df, 1.0)
    with np.errstate(over="ignore"):
        square = t**2
    far = square >= nu
    with np.errstate(invalid="ignore", over="ignore"):
        share = np.where(np.isinf(square), 0.0, nu / (nu + square))
        complement = np.where(np.isinf(square), 1.0, square / (nu + square))
    near = np.where(square < 1, 1 - betainc(0.5, nu / 2, complement), betaincc(0.5, nu / 2, complement))
    half = 0.5 * np.where(far, betainc(nu / 2, 0.5, share), near)
    student = np.where(t >= 0, half, 1 - half)
    found = np.where(np.isinf(df), ndtr(-t), student)
    return np.where((df > 0) & ~np.isnan(t), found, np.nan)


def t_quantile(tail: float, df: np.ndarray) -> np.ndarray:
    """Return the t that is exceeded with probability `tail`, normal where df is infinite; NaN where df is not above 0.

    Newton's steps on the tail mend what the inverse of the library leaves.
    """
    from scipy.special import gammaln, ndtri, stdtrit

    df = np.asarray(df, dtype=float)
    usable = (df > 0) & np.isfinite(df)
    nu = np.where(usable, df, 1.0)
    t = stdtrit(nu, 1 - tail)
    log_scale = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi)
    for _ in range(2):
        t = t + (_upper_tail(t, nu) - tail) / np.exp(log_scale - (nu + 1) / 2 * np.log1p(t**2 / nu))
    return np.where(usable, t, np.where(np.isinf(df), -ndtri(tail), np.nan))


def from_draws(
    estimate: np.ndarray,
    draws: np.ndarray,
    level: float = 0.95,
    kind: Interval = "percentile",
    jackknife: np.ndarray | None = None,
    null: float | np.ndarray = 0.0,
) -> Inference:
    """Return standard errors, limits and p from bootstrap draws.

    Limits are quantiles of the draws (R's type 7), or reflected in the estimate (`basic`), or at levels that mend bias
    and skewness (`bca`; Efron 1987, JASA 82, 171-185). p inverts the percentile limits: it is the level at which they
    would touch the null value, 2·min(1 + #{b* ≤ null}, 1 + #{b* ≥ null}) / (n + 1), at most 1. Draws within `TIE` of
    their standard deviation from a value are equal to it.

    Args:
        estimate: from the data, shape (k,).
        draws: shape (B, k); NaN where a replicate gave none, which are left out.
        level: of the limits.
        kind: how limits are taken.
        jackknife: estimates without each row (or cluster) in turn, shape (m, k), for `bca`; NaN rows are left out.
        null: value under the null hypothesis.

    Returns:
        All numbers NaN where there are fewer than two draws. `statistic` has the bootstrap's standard error.

    Raises:
        OptionError: `bca` without jackknife estimates.

    Examples:
        >>> draws = np.arange(1.0, 100.0)[:, None]
        >>> found = from_draws(np.array([50.0]), draws)
        >>> found.lower.round(2).tolist(), found.upper.round(2).tolist(), found.p.tolist()
        ([3.45], [96.55], [0.02])
    """
    estimate = np.asarray(estimate, dtype=float)
    draws = np.where(np.isfinite(draws), draws, np.nan)
    n = np.isfinite(draws).sum(axis=0)
    columns = range(draws.shape[1])
    tails = np.tile([(1 - level) / 2, (1 + level) / 2], (draws.shape[1], 1))
    if kind == "bca":
        if jackknife is None:
            raise OptionError("Limits by 'bca' need the jackknife estimates. Use ci_type='percentile' or 'basic'.")
        tails = _bca_levels(estimate, draws, jackknife, tails)
    usable = (n > 1) & np.isfinite(tails).all(axis=1)
    limits = np.array([_quantiles(draws[:, j], tails[j]) if usable[j] else (np.nan, np.nan) for j in columns])
    limits = limits.reshape(-1, 2)
    lower, upper = limits.T if kind != "basic" else (2 * estimate - limits[:, 1], 2 * estimate - limits[:, 0])
    se = _spread(draws)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = (estimate - null) / se
    return Inference(se, lower, upper, inverted_p(draws, null), statistic, n)


def inverted_p(draws: np.ndarray, null: float | np.ndarray = 0.0) -> np.ndarray:
    """Return the two-sided p that inverts percentile limits, shape (k,); see `from_draws`."""
    n = np.isfinite(draws).sum(axis=0)
    above = _sides(draws, null)
    fewer = 1 + np.minimum((above <= 0).sum(axis=0), (above >= 0).sum(axis=0))
    return np.where(n > 1, np.minimum(1.0, 2 * fewer / (n + 1)), np.nan)


def shifted_p(
    estimate: np.ndarray,
    draws: np.ndarray,
    null: float | np.ndarray = 0.0,
    alternative: Alternative = "two-sided",
) -> np.ndarray:
    """Return p of bootstrap draws moved to the null: (1 + #{|b* − b| ≥ |b − null|}) / (n + 1), shape (k,)."""
    return from_null(np.asarray(estimate) - null, draws - estimate, alternative)


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


def _spread(draws: np.ndarray) -> np.ndarray:
    """Return the standard deviations of draws, shape (k,); NaN where there are fewer than two."""
    n = np.isfinite(draws).sum(axis=0)
    deviations = draws - np.nansum(draws, axis=0) / np.maximum(n, 1)
    return np.sqrt(np.nansum(deviations**2, axis=0) / np.where(n > 1, n - 1, np.nan))


def _sides(draws: np.ndarray, value: float | np.ndarray) -> np.ndarray:
    """Return on which side of a value the draws are, shape (B, k): −1, 0, 1, or NaN."""
    apart = draws - value
    return np.where(np.abs(apart) <= TIE * _spread(draws), 0.0, np.sign(apart))


def _quantiles(draws: np.ndarray, levels: np.ndarray) -> np.ndarray:
    return np.quantile(draws[np.isfinite(draws)], levels)


def _bca_levels(estimate: np.ndarray, draws: np.ndarray, jackknife: np.ndarray, tails: np.ndarray) -> np.ndarray:
    """Return the levels of the quantiles that correct for bias (of the median) and acceleration (skewness)."""
    from scipy.special import ndtr, ndtri

    n = np.isfinite(draws).sum(axis=0)
    above = _sides(draws, estimate)
    below = (above < 0).sum(axis=0) + 0.5 * (above == 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # No draw on one side of the estimate would put the limits at infinity: half a draw is there.
        bias = ndtri(np.clip(below, 0.5, n - 0.5) / n)
        pulls = np.nanmean(jackknife, axis=0) - jackknife
        acceleration = np.nansum(pulls**3, axis=0) / (6 * np.nansum(pulls**2, axis=0) ** 1.5)
        moved = bias[:, None] + ndtri(tails)
        return ndtr(bias[:, None] + moved / (1 - np.nan_to_num(acceleration)[:, None] * moved))
