"""The largest of several t statistics: its upper tail, and the values that have a given tail.

Tails are sums of positive terms, never one less a probability, so that small ones keep their digits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pymer4.infer.asymptotic import p_value

Tail = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Probability of more than t, shape (n,), at df, shape (n,)."""

_LOG_W = np.linspace(-14.0, np.log(50.0), 2048)  # below it all ranges exceed w; above it p is below 1e-270
_STEP_Z = 0.125
_TAU = np.linspace(-9.0, 8.0, 257)
_CELLS = 2048
_LOG2_DIRECTIONS = 15
_BLOCK = 2**20
_STEPS, _EXACT = 50, 1e-13  # the relative error of a tail that ends the search
_DEPENDENT = 1e-8  # of a variance: what the others leave of a statistic that counts as their sum


def range_tail(q: np.ndarray, k: float, df: float | np.ndarray) -> np.ndarray:
    """Return the upper tail of the studentized range, the law of Tukey's test.

    The range of k normal variables over s, an estimate of their standard deviation: P = ∫ f(s) S(q s) ds, S the tail
    of the range itself. As S(v) exp(v²/4) varies slowly, f(s) exp(-q²s²/4) is taken for the density: that of s again,
    on the scale (1 + q²/2df)^-½. The sum runs over a fixed grid in a transform of log s, where the trapezoidal rule
    converges exponentially. Relative errors are 1e-12 for df of 1 and more and k up to 200. R's `ptukey` is off by 6e-4
    at k = 50, df = 2 and q = 20, and by 1e-7 at 12 df; it has nothing below 2 df, and takes those above 25000 for
    infinite.

    Args:
        q: statistics of at least 0, shape (n,).
        k: number of means, 2 or more; need not be whole.
        df: degrees of freedom, inf for a known standard deviation.

    Returns:
        Probabilities, shape (n,); NaN where df is not above 0.

    Examples:
        >>> range_tail(np.array([3.5]), 3, 20.0).round(4).tolist()
        [0.0559]
    """
    q, df = np.broadcast_arrays(np.asarray(q, dtype=float), np.asarray(df, dtype=float))
    if k == 2:
        return p_value(q / np.sqrt(2), df)
    log_scaled = _scaled_range(k)
    nu = np.where((df > 0) & np.isfinite(df), df, 1.0)[..., None]
    stretch = 0.75 / np.sqrt(nu)  # the left tail of log s is exponential where df are few
    y = (_TAU - stretch * np.expm1(-0.5 * _TAU)) / np.sqrt(2 * nu)
    weights = np.exp(nu * (y - 0.5 * np.expm1(2 * y))) * (1 + 0.5 * stretch * np.exp(-0.5 * _TAU))
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        log_scale = -0.5 * np.log1p(q**2 / (2 * nu[..., 0]))
        scaled = np.exp(log_scaled(np.log(q)[..., None] + log_scale[..., None] + y))
        student = np.exp(nu[..., 0] * log_scale) * (weights * scaled).sum(axis=-1) / weights.sum(axis=-1)
        normal = np.exp(log_scaled(np.log(q)) - q**2 / 4)
    found = np.where(np.isinf(q), 0.0, np.where(np.isinf(df), normal, student))
    return np.where((df > 0) & ~np.isnan(q), np.minimum(found, 1.0), np.nan)


@lru_cache(32)
def _scaled_range(k: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return log(S(w) exp(w²/4)) as a function of log w, S(w) the probability that the range of k normals exceeds w.

    S(w) = k ∫ φ(z) Φ(z)^(k-1) (1 - (1 - Φ(z - w)/Φ(z))^(k-1)) dz: z is the largest, and not all others are within w.
    """
    from scipy.interpolate import make_interp_spline
    from scipy.special import ndtr

    w = np.exp(_LOG_W)[:, None]
    z = w / 2 + np.arange(-9.0, 9.0 + _STEP_Z, _STEP_Z)
    below = ndtr(z)
    with np.errstate(divide="ignore"):
        apart = -np.expm1((k - 1) * np.log1p(-ndtr(z - w) / below))
    S = k * _STEP_Z / np.sqrt(2 * np.pi) * (np.exp(-(z**2) / 2) * below ** (k - 1) * apart).sum(axis=1)
    spline = make_interp_spline(_LOG_W, np.log(S) + w[:, 0] ** 2 / 4, k=5)
    return lambda log_w: spline(np.clip(log_w, _LOG_W[0], _LOG_W[-1]))


def f_tail(x: np.ndarray, rank: int, df: np.ndarray) -> np.ndarray:
    """Return the upper tail of F with `rank` and df degrees of freedom; of chi-square / rank where df is infinite."""
    from scipy.special import chdtrc, fdtrc

    return np.where(np.isinf(df), chdtrc(rank, rank * x), fdtrc(rank, np.where(np.isinf(df), 1.0, df), x))


def f_quantile(alpha: float, rank: int, df: np.ndarray) -> np.ndarray:
    """Return the value that F exceeds with probability alpha; see `f_tail`."""
    from scipy.special import chdtri, fdtri

    return np.where(np.isinf(df), chdtri(rank, alpha) / rank, fdtri(rank, np.where(np.isinf(df), 1.0, df), 1 - alpha))


@dataclass(frozen=True, slots=True)
class Joint:
    """The joint law of correlated t statistics, as they share one estimate of the variance.

    They are radius times reach: the squared radius over the rank is F, the reaches are the products of a direction,
    uniform on the sphere, with the rows of a factor of the correlations (Deák 1980, Numer. Math. 35, 369-380). The law
    of the reaches is tallied once, in cells of [-1, 1], over directions of a fixed Sobol sequence.

    Attributes:
        k: number of statistics.
        rank: of their correlations.
        reach: middles of the cells that hold something, shape (m,).
        largest: how often the largest of the k reaches is there, shape (m,).
        each: how often any of them is, shape (m,).
        two_sided: whether reaches are without sign.
    """

    k: int
    rank: int
    reach: np.ndarray
    largest: np.ndarray
    each: np.ndarray
    two_sided: bool

    @classmethod
    def of(cls, V: np.ndarray, two_sided: bool) -> Joint:
        """Return the joint law of statistics whose covariance is V, up to scale, shape (k, k); it may be singular."""
        A = _factor(V)
        k, rank = A.shape
        largest, each = np.zeros((2, _CELLS + 1))
        directions = _directions(rank)
        for some in np.array_split(directions, max(1, len(directions) * k // _BLOCK)):
            reach = np.clip(some @ A.T, -1, 1)
            if two_sided:
                reach = np.abs(reach)
            largest += _tally(reach.max(axis=1))
            each += _tally(reach)
        held = each > 0
        return cls(k, rank, np.linspace(-1, 1, _CELLS + 1)[held], largest[held], each[held], two_sided)

    def tail(self, t: np.ndarray, df: np.ndarray) -> np.ndarray:
        """Return the probability that the largest of the statistics, without sign where two-sided, exceeds t.

        k times the tail of one, which is known exactly, times the share that directions give to the largest: between
        the unadjusted p and Bonferroni's, and near the latter where t is large.
        """
        one = p_value(t, df, "two-sided" if self.two_sided else "greater")
        signed, c = t[:, None], self.reach
        with np.errstate(divide="ignore", invalid="ignore"):
            beyond = np.where(c == 0, 0.0, f_tail(signed**2 / (self.rank * c**2), self.rank, df[:, None]))
        if not self.two_sided:
            beyond = np.where(signed >= 0, np.where(c > 0, beyond, 0.0), np.where(c < 0, 1 - beyond, 1.0))
        largest, each = beyond @ self.largest, beyond @ self.each
        share = np.divide(largest, each, out=np.ones_like(each), where=each > 0)
        return np.minimum(1.0, self.k * one * share)


def _factor(V: np.ndarray) -> np.ndarray:
    """Return A with A A' the correlations of V, shape (k, rank): Cholesky's, in the order of the rows.

    A row that depends on those before it adds no column. No pivot is chosen and no eigenvector taken, which rounding
    would settle where several are equal.
    """
    sd = np.sqrt(np.diagonal(V))
    left, columns = V / np.outer(sd, sd), []
    for i in range(len(V)):
        if left[i, i] > _DEPENDENT:
            columns.append(left[:, i] / np.sqrt(left[i, i]))
            left = left - np.outer(columns[-1], columns[-1])
    return np.column_stack(columns)


def _directions(rank: int) -> np.ndarray:
    from scipy.special import ndtri
    from scipy.stats import qmc

    n = 2**_LOG2_DIRECTIONS
    z = ndtri(qmc.Sobol(rank, scramble=False).random(n) + 0.5 / n)
    return z / np.sqrt((z**2).sum(axis=1, keepdims=True))


def _tally(reach: np.ndarray) -> np.ndarray:
    """Return how many numbers of [-1, 1] are at each of the points of a grid; between two, in parts that keep means."""
    place = (reach.ravel() + 1) * (_CELLS / 2)
    lower = np.minimum(place.astype(np.intp), _CELLS - 1)
    part = place - lower
    return np.bincount(lower, 1 - part, _CELLS + 1) + np.bincount(lower + 1, part, _CELLS + 1)


def exceeded(tail: Tail, alpha: float, df: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return t, shape (n,), with tail(t, df) = alpha, which lie between `low` and `high`, shape (n,).

    By regula falsi on log tail against arsinh t, nearly a line where df are few. The end that stays twice counts half
    (the Illinois rule: Dowell & Jarratt 1971, BIT 11, 168-174).
    """

    def excess(x: np.ndarray) -> np.ndarray:
        return np.log(tail(np.sinh(x), df) / alpha)

    a, b = np.arcsinh(low), np.arcsinh(high)
    x, above, under, last = b, excess(a), excess(b), np.zeros(len(df))
    for _ in range(_STEPS):
        gap = above - under
        x = b + np.divide(under, gap, out=np.zeros_like(gap), where=gap > 0) * (b - a)
        off = excess(x)
        up = off > 0
        a, b = np.where(up, x, a), np.where(up, b, x)
        above, under = (
            np.where(up, off, np.where(last < 0, above / 2, above)),
            np.where(up, np.where(last > 0, under / 2, under), off),
        )
        last = np.sign(off)
        if np.abs(off).max(initial=0.0) < _EXACT:
            break
    return np.sinh(x)
