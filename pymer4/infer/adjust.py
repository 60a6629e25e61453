"""Adjustment for several tests: p and critical values of one family, by R's names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pymer4.errors import OptionError
from pymer4.infer.asymptotic import Alternative, p_value, t_quantile
from pymer4.infer.extremes import Joint, Tail, exceeded, f_quantile, f_tail, range_tail

_OF_P = ("none", "bonferroni", "holm", "hochberg", "hommel", "fdr", "BH", "BY")
OF_P = (*_OF_P, "sidak", "bonf")
"""Adjustments of p that hang on nothing else."""

BY_NUMBER = ("none", "bonferroni", "sidak", "tukey", "scheffe", "dunnettx")
"""Adjustments that take no more of the other tests of a family than how many they are, and their rank."""

_TWO_SIDED = ("tukey", "scheffe", "dunnettx")


def applied(adjust: str, k: int, *, pairwise: bool = False, alternative: Alternative = "two-sided") -> str:
    """Return the adjustment that emmeans makes of k tests where `adjust` is asked for.

    One test needs none. Tukey's is for all pairwise differences of one set of means; it, Scheffé's and the
    approximate Dunnett's are two-sided. In their place it takes Šidák's.

    Args:
        adjust: a name that `grids.adjustment` returns.
        k: tests in the family, that is at one level of the grouping variables.
        pairwise: whether these are all pairwise differences of one set of means.
        alternative: of the tests.

    Examples:
        >>> applied("tukey", 6, pairwise=True), applied("tukey", 6), applied("tukey", 1)
        ('tukey', 'sidak', 'none')
    """
    if k == 1 and adjust != "scheffe":
        return "none"
    fits = (pairwise or adjust != "tukey") and (alternative == "two-sided" or adjust not in _TWO_SIDED)
    return adjust if fits else "sidak"


def adjusted(
    statistic: np.ndarray | Sequence[float],
    df: float | np.ndarray,
    adjust: str,
    *,
    level: float = 0.95,
    alternative: Alternative = "two-sided",
    rank: int = 1,
    V: np.ndarray | None = None,
    k: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return adjusted p of one family of tests, and what its simultaneous limits take for the t quantile.

    | adjust | p | limits |
    | --- | --- | --- |
    | `tukey` | studentized range of the means that have k pairwise differences | the same |
    | `dunnettx` | (k - 1)/k of `tukey`'s and 1/k of `sidak`'s p, for k comparisons with one mean | the same |
    | `mvt` | multivariate t | the same |
    | `scheffe` | F with `rank` and df degrees of freedom of t²/`rank` | the same |
    | `sidak` | 1 - (1 - p)^k | the same |
    | `bonferroni`, `none` | k p, p | the same |
    | `holm`, `hochberg`, `hommel`, `fdr`, `BH`, `BY` | `adjusted_p` | Bonferroni's |

    A test with no statistic has no p, and by default is none of the k, as in emmeans from 1.9 on. p of `mvt` have
    relative errors of 1e-3 in families of rank 10 and less, of 1e-2 in those of rank 50; its df are rounded down from
    .75, at least 1, and infinite above 9999, as emmeans has them for mvtnorm.

    Args:
        statistic: t, or z where df are infinite, shape (k,).
        df: degrees of freedom, one or one a test.
        adjust: what `applied` returns.
        level: of the limits.
        alternative: `"greater"` and `"less"` for one-sided tests, limits of which are estimate ∓ critical se.
        rank: of the family's rows of L; for `scheffe`.
        V: covariance of the estimates, L V L', up to scale, shape (k, k); for `mvt`.
        k: tests in the family, by default those with a statistic.

    Returns:
        p and critical values, shape (k,) each. Both are NaN where df is not above 0, p where the statistic is.

    Raises:
        OptionError: one-sided tests by an adjustment that is two-sided.

    Examples:
        >>> p, critical = adjusted([3.0, 2.1, 0.4], 20, "tukey")
        >>> p.round(4).tolist(), critical.round(4).tolist()
        ([0.0186, 0.1152, 0.9159], [2.53, 2.53, 2.53])
    """
    t, df = np.broadcast_arrays(np.asarray(statistic, dtype=float), np.asarray(df, dtype=float))
    two_sided = alternative == "two-sided"
    if not two_sided and adjust in _TWO_SIDED:
        raise OptionError(f"adjust={adjust!r} is for two-sided tests. Use 'sidak' for alternative={alternative!r}.")
    k = max(1, int((~np.isnan(t)).sum()) if k is None else k)
    alpha, sides = 1 - level, 2 if two_sided else 1
    one = p_value(t, df, alternative)
    if adjust in _OF_P:
        return adjusted_p(one, adjust, k), t_quantile(alpha / sides / (1 if adjust == "none" else k), df)
    if adjust == "sidak":
        return _sidak(one, k), t_quantile(-np.expm1(np.log(level) / k) / sides, df)
    if adjust == "scheffe":
        return f_tail(t**2 / rank, rank, df), np.sqrt(rank * f_quantile(alpha, rank, df))
    t = np.abs(t) if two_sided else t if alternative == "greater" else -t
    tail: Tail = _of_differences(k, dunnett=adjust == "dunnettx")
    if adjust == "mvt":
        df = np.where(df > 9999, np.inf, np.floor(np.where(df > 0, np.maximum(df, 1), np.nan) + 0.25))
        there = ~np.isnan(t) & (np.diagonal(np.asarray(V)) > 0)
        t, k = np.where(there, t, np.nan), int(there.sum())
        if not k:
            return t, np.full_like(t, np.nan)
        tail = Joint.of(np.asarray(V)[np.ix_(there, there)], two_sided).tail
    values, which = np.unique(df, return_inverse=True)
    low, high = t_quantile(alpha / sides / np.array([[1], [k]]), values)
    critical = np.full(len(values), np.nan)
    known = ~np.isnan(low)
    critical[known] = exceeded(tail, alpha, values[known], low[known], high[known])
    return tail(t, df), critical[which]


def adjusted_p(p: np.ndarray, method: str, n: int | None = None) -> np.ndarray:
    """Return p-values adjusted for n tests as R's `p.adjust` does, shape (k,).

    Args:
        p: between 0 and 1, shape (k,). NaN stay NaN, and count as tests only in an `n` that is given.
        method: one of `OF_P`: the names of `p.adjust`, `bonf`, and `sidak`.
        n: at least the number of p that are not NaN, which it is by default.
    """
    found, there = p.copy(), ~np.isnan(p)
    n = int(there.sum()) if n is None else n
    if n > 1 and method != "none":
        found[there] = _adjusted(p[there], method, n)
    return found


def _adjusted(p: np.ndarray, method: str, n: int) -> np.ndarray:
    if method in ("bonferroni", "bonf"):
        return np.minimum(1.0, n * p)
    if method == "sidak":
        return _sidak(p, n)
    order = np.argsort(p, kind="stable")
    rank = np.arange(1, len(p) + 1)
    ascending = p[order]
    if method == "holm":
        steps = np.maximum.accumulate((n + 1 - rank) * ascending)
    elif method == "hommel":
        steps = _hommel(np.append(ascending, np.ones(n - len(p))))[: len(p)]
    else:
        factor = {"hochberg": n + 1 - rank, "BY": n / rank * (1 / np.arange(1, n + 1)).sum()}.get(method, n / rank)
        steps = np.minimum.accumulate((factor * ascending)[::-1])[::-1]
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, steps)
    return adjusted


def _hommel(p: np.ndarray) -> np.ndarray:
    """Return Hommel's adjusted p of ascending p-values.

    In Wright's form (1992, Biometrics 48, 1005-1013): for every subset size m, Simes' bound min m·p / rank of the m
    largest bounds each p from below, which for the n - m smaller ones is also at most m·p.
    """
    n = len(p)
    adjusted = np.full(n, (n * p / np.arange(1, n + 1)).min())
    for m in range(n - 1, 1, -1):
        small, large = p[: n - m + 1], p[n - m + 1 :]
        bound = (m * large / np.arange(2, m + 1)).min()
        floor = np.minimum(bound, m * small)
        at_least = np.append(floor, np.full(m - 1, floor[-1]))
        adjusted = np.maximum(adjusted, at_least)
    return np.maximum(adjusted, p)


def _sidak(p: np.ndarray, k: int) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return -np.expm1(k * np.log1p(-p))


def _of_differences(k: int, dunnett: bool) -> Tail:
    """Return the tail of k differences: of all pairs of means, or of one mean from the others (Lenth's `dunnettx`)."""
    means = (1 + np.sqrt(1 + 8 * k)) / 2

    def tukey(t: np.ndarray, df: np.ndarray) -> np.ndarray:
        return range_tail(np.sqrt(2) * t, means, df)

    def dunnettx(t: np.ndarray, df: np.ndarray) -> np.ndarray:
        return ((k - 1) * tukey(t, df) + _sidak(p_value(t, df), k)) / k

    return dunnettx if dunnett else tukey
