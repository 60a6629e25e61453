"""From draws, of the bootstrap or under a null hypothesis, to standard errors, limits and p."""

from __future__ import annotations

from typing import Literal

import numpy as np

from pymer4.errors import OptionError
from pymer4.infer.asymptotic import Alternative, Inference, t_statistic

Interval = Literal["percentile", "basic", "bca"]
"""How limits are taken from bootstrap draws."""

TIE = 1e-10
"""Share of the statistic, or of the usual size of its draws where that is larger, by which equal ones may differ.

They are sums of up to millions of terms, each rounded at 1e-16.
"""

_WHOLE = 1e-12
"""Share of the number of draws by which a rank may miss a whole one: the level is a difference, rounded at 1e-16."""


def from_draws(
    estimate: np.ndarray,
    draws: np.ndarray,
    level: float = 0.95,
    kind: Interval = "percentile",
    jackknife: np.ndarray | None = None,
) -> Inference:
    """Return standard errors, limits and p of k estimates from bootstrap draws, (B, k), of which NaN are left out.

    Limits are quantiles of the draws by `quantiles`, or reflected in the estimate (`basic`), or at levels that mend
    bias and skewness (`bca`; Efron 1987, JASA 82, 171-185), which takes estimates without each row (or cluster) in
    turn, shape (m, k): their distances from the estimate are the influences, as in `boot::empinf(type="jack")`. p
    inverts the percentile limits: it is the level at which they would touch 0,
    2·min(1 + #{b* ≤ 0}, 1 + #{b* ≥ 0}) / (n + 1), at most 1. Draws within `TIE` of their standard deviation from
    a value are equal to it. All numbers are NaN where there are fewer than two draws; `statistic` has the bootstrap's
    error.

    Raises:
        OptionError: `bca` without jackknife estimates.

    Examples:
        >>> draws = np.arange(1.0, 100.0)[:, None]
        >>> found = from_draws(np.array([50.0]), draws)
        >>> found.lower.round(2).tolist(), found.upper.round(2).tolist(), found.p.tolist()
        ([2.54], [97.46], [0.02])
    """
    estimate = np.asarray(estimate, dtype=float)
    draws = np.where(np.isfinite(draws), draws, np.nan)
    n = np.isfinite(draws).sum(axis=0)
    tails = np.tile([(1 - level) / 2, (1 + level) / 2], (draws.shape[1], 1))
    if kind == "bca":
        if jackknife is None:
            raise OptionError("Limits by 'bca' need the jackknife estimates. Use ci_type='percentile' or 'basic'.")
        tails = _bca_levels(estimate, draws, jackknife, tails)
    lower, upper = _limits(draws, tails)
    if kind == "basic":
        lower, upper = 2 * estimate - upper, 2 * estimate - lower
    se = spread(draws)
    return Inference(se, lower, upper, inverted_p(draws), t_statistic(estimate, se), n)


def quantiles(draws: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the values below which shares of a distribution lie, shape (m, ...), of n finite draws from it, (n, ...).

    A share a is the (n + 1)a-th draw in ascending order. Between two draws it is found on a straight line over normal
    quantiles (Davison & Hinkley 1997, Bootstrap Methods and their Application, 5.8); beyond them it is the last.

    Examples:
        >>> quantiles(np.arange(1.0, 20.0), np.array([0.05, 0.5])).tolist()
        [1.0, 10.0]
    """
    shares = np.asarray(shares, dtype=float)
    columns = draws.reshape(len(draws), -1)
    found = _placed(columns, np.full(columns.shape[1], len(draws)), np.tile(shares.ravel(), (columns.shape[1], 1)))
    return found.T.reshape(*shares.shape, *draws.shape[1:])


def _placed(draws: np.ndarray, n: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return quantiles of columns of draws (B, k), shape (k, m), at shares (k, m), of the n (k,) that are no NaN."""
    from scipy.special import ndtri

    ascending, n = np.sort(draws, axis=0), n[:, None]
    rank = (n + 1) * shares
    whole = np.round(rank)
    with np.errstate(invalid="ignore"):
        below = np.where(np.abs(rank - whole) <= _WHOLE * (n + 1), whole, np.floor(rank))
        below = np.clip(np.nan_to_num(below), 0, n).astype(int)
    start, end = (ndtri(np.clip(place, 1, n) / (n + 1)) for place in (below, below + 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        step = (ndtri(shares) - start) / (end - start)
    inside = (below >= 1) & (below < n) & (np.abs(rank - below) > _WHOLE * (n + 1))
    places = [np.maximum(np.clip(place, 1, n) - 1, 0).T for place in (below, below + 1)]
    first, second = (np.take_along_axis(ascending, place, axis=0).T for place in places)
    return first + np.where(inside, step, 0.0) * (second - first)


def percentiles(draws: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper percentile limits of draws (B, k), each shape (k,); NaN of fewer than two finite ones."""
    return _limits(draws, np.tile([(1 - level) / 2, (1 + level) / 2], (draws.shape[1], 1)))


def _limits(draws: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two quantiles of each column of draws, whose shares are a row of `shares`, shape (k, 2)."""
    n = np.isfinite(draws).sum(axis=0)
    found = np.full(shares.shape, np.nan)
    told = (n > 1) & np.isfinite(shares).all(axis=1)
    if told.any():
        found[told] = _placed(np.where(np.isfinite(draws), draws, np.nan)[:, told], n[told], shares[told])
    return found[:, 0], found[:, 1]


def inverted_p(draws: np.ndarray) -> np.ndarray:
    """Return the two-sided p that inverts percentile limits, shape (k,); see `from_draws`."""
    n = np.isfinite(draws).sum(axis=0)
    above = _sides(draws, 0.0)
    fewer = 1 + np.minimum((above <= 0).sum(axis=0), (above >= 0).sum(axis=0))
    return np.where(n > 1, np.minimum(1.0, 2 * fewer / (n + 1)), np.nan)


def shifted_p(
    estimate: np.ndarray,
    draws: np.ndarray,
    null: float | np.ndarray = 0.0,
    alternative: Alternative = "two-sided",
) -> np.ndarray:
    """Return p of bootstrap draws moved to the null: `(1 + #{|b* − b| ≥ |b − null|}) / (n + 1)`, shape (k,)."""
    return from_null(np.asarray(estimate) - null, draws - estimate, alternative)


def from_null(observed: np.ndarray, null: np.ndarray, alternative: Alternative = "two-sided") -> np.ndarray:
    """Return p = (1 + hits) / (n + 1) of statistics (k,) from draws under the null hypothesis (B, k), shape (k,).

    A hit is a draw at least as extreme as what was observed, so p is never 0 (Phipson & Smyth 2010, Stat. Appl. Genet.
    Mol. Biol. 9, 39): as large (`"greater"`), as small (`"less"`), or as far from 0. Ties count: a permutation that
    leaves the data as they are sums the same terms in another order, and differs by rounding (`TIE`). Draws that are
    NaN are left out; p is NaN where nothing was observed or no draw is left.

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


def spread(draws: np.ndarray) -> np.ndarray:
    """Return the standard deviations of draws, shape (k,); NaN where there are fewer than two."""
    n = np.isfinite(draws).sum(axis=0)
    deviations = draws - np.nansum(draws, axis=0) / np.maximum(n, 1)
    return np.sqrt(np.nansum(deviations**2, axis=0) / np.where(n > 1, n - 1, np.nan))


def _sides(draws: np.ndarray, value: float | np.ndarray) -> np.ndarray:
    """Return on which side of a value the draws are, shape (B, k): −1, 0, 1, or NaN."""
    apart = draws - value
    return np.where(np.abs(apart) <= TIE * spread(draws), 0.0, np.sign(apart))


def _bca_levels(estimate: np.ndarray, draws: np.ndarray, jackknife: np.ndarray, tails: np.ndarray) -> np.ndarray:
    """Return the levels of the quantiles that correct for bias (of the median) and acceleration (skewness)."""
    from scipy.special import ndtr, ndtri

    n = np.isfinite(draws).sum(axis=0)
    above = _sides(draws, estimate)
    below = (above < 0).sum(axis=0) + 0.5 * (above == 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # No draw on one side of the estimate would put the limits at infinity: half a draw is there.
        bias = ndtri(np.clip(below, 0.5, n - 0.5) / n)
        pulls = estimate - jackknife
        acceleration = np.nansum(pulls**3, axis=0) / (6 * np.nansum(pulls**2, axis=0) ** 1.5)
        moved = bias[:, None] + ndtri(tails)
        return ndtr(bias[:, None] + moved / (1 - np.nan_to_num(acceleration)[:, None] * moved))
