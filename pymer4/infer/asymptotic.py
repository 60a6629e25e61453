"""From estimates and their standard errors to limits and p.

Every p is of a survival function or of counts, never one less a probability, so
that p as small as 1e-300 is told from 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pymer4.fit.correlations import principal_axes

Alternative = Literal["two-sided", "greater", "less"]
"""What is held against the null hypothesis."""


@dataclass(frozen=True, slots=True)
class Inference:
    """What is inferred of k quantities.

    Attributes:
        se: standard errors, shape (k,).
        lower: lower limits, shape (k,).
        upper: upper limits, shape (k,).
        p: p-values, shape (k,).
        statistic: estimate / se, shape (k,).
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
) -> Inference:
    """Return t tests and limits of estimates, shape (k,), or normal ones where df is infinite.

    A df of NaN or 0 leaves limits and p missing.

    Examples:
        >>> found = asymptotic(np.array([2.0]), np.array([1.0]), df=10)
        >>> found.p.round(4).tolist(), found.lower.round(3).tolist()
        ([0.0734], [-0.228])
    """
    b, se = np.asarray(b, dtype=float), np.asarray(se, dtype=float)
    statistic = t_statistic(b, se)
    return Inference(se, *limits(b, se, df, level), p_value(statistic, df), statistic)


def t_statistic(b: np.ndarray, se: np.ndarray, null: float | np.ndarray = 0.0) -> np.ndarray:
    """Return (b − null) / se, NaN or infinite where se is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return (b - null) / se


def limits(
    b: np.ndarray, se: np.ndarray, df: float | np.ndarray, level: float, alternative: Alternative = "two-sided"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the limits of estimates, one of them infinite with `"greater"` or `"less"`; see `asymptotic`."""
    t = t_quantile((1 - level) / (2 if alternative == "two-sided" else 1), np.asarray(df, dtype=float))
    return around(b, t * se, alternative)


def around(b: np.ndarray, reach: np.ndarray, alternative: Alternative) -> tuple[np.ndarray, np.ndarray]:
    """Return limits so far from estimates, shape (k,) each; NaN where it is not known how far."""
    lower = np.where(alternative == "less", -np.inf, b - reach)
    upper = np.where(alternative == "greater", np.inf, b + reach)
    known = np.isfinite(reach)
    return np.where(known, lower, np.nan), np.where(known, upper, np.nan)


def joint_df(df_of: Callable[[np.ndarray], np.ndarray], L: np.ndarray, middle: np.ndarray) -> float:
    """Return the denominator df of an F test of L b = 0, shape (q, p), whose covariance is `middle`.

    Those of its principal axes, put together by Fai & Cornelius (1996, Journal of Statistical Computation and
    Simulation 54); where principal variances tie, the axes are those of `correlations.principal_axes`.
    """
    each = df_of(principal_axes(middle).T @ L)
    if np.ptp(each) == 0 or np.isinf(each).all():
        return float(each[0])
    expected = float((each / (each - 2))[each > 2].sum())
    return 2 * expected / (expected - len(L)) if expected > len(L) else 0.0


def p_value(
    statistic: np.ndarray, df: float | np.ndarray = np.inf, alternative: Alternative = "two-sided"
) -> np.ndarray:
    """Return p of t statistics, or of normal ones where df is infinite; NaN where df is not above 0."""
    t = np.asarray(statistic, dtype=float)
    if alternative == "two-sided":
        return 2 * _upper_tail(np.abs(t), df)
    return _upper_tail(t if alternative == "greater" else -t, df)


def satterthwaite_df(L: np.ndarray, V: np.ndarray, jacobian: np.ndarray, A: np.ndarray) -> np.ndarray:
    """Return df of the rows of L, shape (k,): 2 (l V l')² / (g' A g), g_j = l (∂V/∂φ_j) l' (Satterthwaite 1946).

    Args:
        L: shape (k, p).
        V: covariance of b, shape (p, p).
        jacobian: its derivatives by the m parameters φ of the variances, shape (m, p, p).
        A: covariance of their estimates, shape (m, m).
    """
    variance = np.einsum("ki,ij,kj->k", L, V, L)
    g = np.einsum("ki,mij,kj->km", L, jacobian, L)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 2 * variance**2 / np.einsum("km,mn,kn->k", g, A, g)


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


def t_quantile(tail: float | np.ndarray, df: np.ndarray) -> np.ndarray:
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
