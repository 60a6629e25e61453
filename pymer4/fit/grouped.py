"""The same regression in every group of rows, all groups at once.

Rows are sorted by group, and columns made orthogonal one after the other by
modified Gram-Schmidt with the outcome as the last column, sums taken over each
group's rows. That is as stable as Householder's QR for least squares (Björck 1967,
BIT 7, 1-21) and forms no cross-products of columns that share a mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pymer4.errors import DataError
from pymer4.fit.distributions import EPS, Array, Distribution, Link, distribution, link_function
from pymer4.fit.glm import generalized
from pymer4.fit.linear import ALIAS_TOLERANCE
from pymer4.fit.scoring import GLM_TOLERANCE, STILL
from pymer4.work import keep_memory

OK, TOO_FEW, SINGULAR, UNFITTED = range(4)
"""Why a group has no coefficients: it has some; fewer rows than columns; dependent columns; no maximum was found."""

_ROUNDS = 30


@dataclass(frozen=True, slots=True)
class GroupedFit:
    """Regressions of G groups; NaN where a group has none.

    Attributes:
        b: coefficients, shape (G, p).
        unscaled: diagonals of the inverses of X'WX, shape (G, p).
        dispersion: residual variances, shape (G,); 1 where a family has none; NaN where n = p.
        fitted: shape (n,).
        residuals: shape (n,), in the order of the rows given; deviance residuals of generalized models.
        rss: weighted sums of squared residuals, shape (G,); deviances of generalized models.
        tss: weighted sums of squares of the outcome, about its mean with an intercept, shape (G,); NaN for generalized
            models.
        rsquared: as R's `summary.lm`, of the outcome less the offset, shape (G,); NaN for generalized models and where
            the outcome does not vary.
        rsquared_adj: likewise; NaN where n = p.
        n: rows, shape (G,).
        df_resid: n − p, shape (G,).
        n_parameters: as AIC counts them, shape (G,).
        log_likelihood: shape (G,); inf where a linear model fits its rows exactly.
        reason: `OK`, `TOO_FEW`, `SINGULAR` or `UNFITTED`, shape (G,).
        separated: whether coefficients of a generalized model grow without limit, shape (G,).
    """

    b: Array
    unscaled: Array
    dispersion: Array
    fitted: Array
    residuals: Array
    rss: Array
    tss: Array
    rsquared: Array
    rsquared_adj: Array
    n: Array
    df_resid: Array
    n_parameters: Array
    log_likelihood: Array
    reason: Array
    separated: Array

    @property
    def se(self) -> Array:
        """Standard errors of the coefficients, shape (G, p)."""
        return np.sqrt(self.dispersion[:, None] * self.unscaled)

    @property
    def without_correlations(self) -> Array:
        """Which groups have coefficients, but correlations that are noise, or infinite as Fisher's z, shape (G,)."""
        with np.errstate(invalid="ignore"):
            noise = (self.df_resid == 0) | np.isnan(self.rsquared) | (self.rss <= 1e-24 * self.tss)
        return noise & (self.reason == OK)


class _Rows:
    """Rows in the order of their groups.

    Attributes:
        order: positions of the rows, shape (n,).
        sizes: rows of each group, shape (G,).
    """

    def __init__(self, codes: Array, n_groups: int):
        self.order = np.argsort(codes, kind="stable")
        self.sizes = np.bincount(codes, minlength=n_groups)
        self._there = np.flatnonzero(self.sizes)
        self._starts = (np.cumsum(self.sizes) - self.sizes)[self._there]

    def sums(self, values: Array) -> Array:
        """Return sums over groups, shape (..., G), of values of shape (..., n)."""
        found = np.zeros((*values.shape[:-1], len(self.sizes)))
        if len(self._there):
            found[..., self._there] = np.add.reduceat(values, self._starts, axis=-1)
        return found

    def spread(self, values: Array) -> Array:
        """Return values of groups, shape (..., G), for each row, shape (..., n)."""
        return np.repeat(values, self.sizes, axis=-1)

    def slices(self, which: Array) -> Iterator[tuple[int, slice]]:
        """Yield each group of which that is wanted, and where its rows are."""
        ends = np.cumsum(self.sizes)
        for g in np.flatnonzero(which):
            yield g, slice(ends[g] - self.sizes[g], ends[g])

    def back(self, values: Array) -> Array:
        """Return values of sorted rows, shape (n,), in the order of the rows given."""
        found = np.empty_like(values)
        found[self.order] = values
        return found


def grouped_least_squares(
    X: Array,
    y: Array,
    codes: Array,
    n_groups: int,
    weights: Array | None = None,
    has_intercept: bool = True,
    offset: Array | None = None,
) -> GroupedFit:
    """Fit a linear model to each group of rows.

    Args:
        X: design, shape (n, p).
        y: outcome, shape (n,).
        codes: group of each row, 0 to G − 1, shape (n,).
        n_groups: G.
        weights: shape (n,), above 0.
        has_intercept: whether the formula has an intercept, which R² is then measured from.
        offset: shape (n,).

    Returns:
        The fits. A group whose columns depend on one another by the rule of `independent_columns` has none.

    Examples:
        >>> X = np.column_stack([np.ones(5), [0.0, 1, 2, 0, 1]])
        >>> found = grouped_least_squares(X, np.array([1.0, 3, 5, 2, 2]), np.array([0, 0, 0, 1, 1]), 2)
        >>> found.b.round(6).tolist()
        [[1.0, 2.0], [2.0, 0.0]]
    """
    keep_memory()
    rows = _Rows(codes, n_groups)
    n, p = X.shape
    design, outcome = X[rows.order].T, y[rows.order]
    free = outcome if offset is None else outcome - offset[rows.order]
    w = np.ones(n) if weights is None else weights[rows.order]
    R, z, independent = _triangles(rows, design, free, w, ALIAS_TOLERANCE)
    reason = np.where(rows.sizes < p, TOO_FEW, np.where(independent, OK, SINGULAR))
    sound = reason == OK
    b = np.where(sound[:, None], _solved(R, z), np.nan)
    around = np.einsum("pi,pi->i", design, rows.spread(b.T))
    residuals = free - around
    rss, df = rows.sums(w * residuals**2), rows.sizes - p
    total = rows.sums(w)
    center, middle = np.zeros((2, n))
    if has_intercept:
        with np.errstate(invalid="ignore", divide="ignore"):
            center, middle = (rows.spread(rows.sums(w * v) / total) for v in (free, around))
    tss = np.where(sound, rows.sums(w * (free - center) ** 2), np.nan)
    explained = rows.sums(w * (around - middle) ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = np.full(n_groups, 0.0) if p == int(has_intercept) else explained / (explained + rss)
        r2 = np.where(sound & (tss > 1e-24 * rows.sums(w * free**2)), r2, np.nan)
        r2_adj = 1 - (1 - r2) * (rows.sizes - has_intercept) / np.where(df > 0, df, np.nan)
        log_likelihood = 0.5 * (
            rows.sums(np.log(w)) - rows.sizes * (np.log(2 * np.pi) + 1 - np.log(rows.sizes) + np.log(rss))
        )
        dispersion = rss / np.where(df > 0, df, np.nan)
    return GroupedFit(
        b=b,
        unscaled=np.where(sound[:, None], _diagonals(R), np.nan),
        dispersion=dispersion,
        fitted=rows.back(around + (outcome - free)),
        residuals=rows.back(residuals),
        rss=np.where(sound, rss, np.nan),
        tss=tss,
        rsquared=r2,
        rsquared_adj=r2_adj,
        n=rows.sizes,
        df_resid=df,
        n_parameters=np.full(n_groups, p + 1),
        log_likelihood=np.where(sound, np.where(df > 0, log_likelihood, np.inf), np.nan),
        reason=reason,
        separated=np.zeros(n_groups, dtype=bool),
    )


def _triangles(rows: _Rows, design: Array, outcome: Array, w: Array, tol: float) -> tuple[Array, Array, Array]:
    """Return triangles of sqrt(W) X, shape (G, p, p), Q' sqrt(W) y, shape (G, p), and which groups are independent."""
    p = len(design)
    left = np.sqrt(w) * np.vstack([design, outcome])
    whole = rows.sums(left[:p] ** 2)
    R, z = np.zeros((len(rows.sizes), p, p)), np.zeros((len(rows.sizes), p))
    independent = np.ones(len(rows.sizes), dtype=bool)
    for j in range(p):
        square = rows.sums(left[j] ** 2)
        sound = (square >= tol**2 * whole[j]) & (square > 0)
        independent &= sound
        length = np.sqrt(np.where(sound, square, 1.0))
        q = left[j] / rows.spread(length)
        onto = rows.sums(q * left[j + 1 :])
        left[j + 1 :] -= rows.spread(onto) * q
        R[:, j, j], R[:, j, j + 1 :], z[:, j] = length, onto[:-1].T, onto[-1]
    return R, z, independent


def _solved(R: Array, z: Array) -> Array:
    """Return the solutions of R b = z, shape (G, p)."""
    b = z.copy()
    for j in reversed(range(z.shape[1])):
        b[:, j] = (b[:, j] - np.einsum("gk,gk->g", R[:, j, j + 1 :], b[:, j + 1 :])) / R[:, j, j]
    return b


def _diagonals(R: Array) -> Array:
    """Return the diagonals of (R'R)⁻¹, shape (G, p)."""
    p = R.shape[1]
    T = np.zeros_like(R)
    for j in range(p):
        T[:, j, j] = 1 / R[:, j, j]
        T[:, :j, j] = -np.einsum("gik,gk->gi", T[:, :j, :j], R[:, :j, j]) / R[:, j, j][:, None]
    return np.einsum("gij,gij->gi", T, T)


# ------------------------------------------------------------------ generalized


def grouped_generalized(
    X: Array,
    y: Array,
    codes: Array,
    n_groups: int,
    family: str,
    link: str,
    weights: Array | None = None,
    has_intercept: bool = True,
    offset: Array | None = None,
) -> GroupedFit:
    """Fit a generalized linear model to each group of rows.

    All groups iterate side by side. Those that leave the legal range or do not come to rest, and all those of the
    negative binomial, are fitted one by one by `generalized`.

    Args:
        X: see `grouped_least_squares` for this and what is not below.
        y: outcome; for binomial the proportion of successes.
        codes: groups.
        n_groups: G.
        family: as in `families.LINKS`.
        link: its link.
        weights: prior weights; for binomial the number of trials.
        has_intercept: whether the formula has an intercept.
        offset: shape (n,).
    """
    keep_memory()
    rows = _Rows(codes, n_groups)
    n, p = X.shape
    design, outcome = X[rows.order].T, y[rows.order]
    w = np.ones(n) if weights is None else weights[rows.order]
    fixed = np.zeros(n) if offset is None else offset[rows.order]
    independent = _triangles(rows, design, outcome, np.ones(n), GLM_TOLERANCE)[2]
    reason = np.where(rows.sizes < p, TOO_FEW, np.where(independent, OK, SINGULAR))
    law = None if family == "nbinom" else distribution(family)
    if law is None:
        b, unscaled = np.full((2, n_groups, p), np.nan)
        rested = np.zeros(n_groups, dtype=bool)
    else:
        with np.errstate(all="ignore"):
            b, unscaled, rested = _climb(rows, design, outcome, w, fixed, law, link_function(link), reason == OK)
    laws: list[Distribution] = [law or distribution(family, np.nan)] * n_groups
    separated = np.zeros(n_groups, dtype=bool)
    for g, here in rows.slices((reason == OK) & ~rested):
        try:
            fit = generalized(design[:, here].T, outcome[here], family, link, w[here], fixed[here])
        except DataError:
            reason[g] = UNFITTED
            continue
        b[g], unscaled[g], separated[g] = fit.b, np.diag(fit.unscaled), fit.separated
        laws[g] = distribution(family, fit.theta)
    sound = reason == OK
    b[~sound], unscaled[~sound] = np.nan, np.nan
    eta = np.einsum("pi,pi->i", design, rows.spread(b.T)) + fixed
    mu, deviances, pearson = np.full((3, n), np.nan)
    log_likelihood = np.full(n_groups, np.nan)
    for g, here in rows.slices(sound):
        own, y_g, w_g = laws[g], outcome[here], w[here]
        mu[here] = link_function(link).inverse(eta[here])
        with np.errstate(divide="ignore", invalid="ignore"):
            deviances[here] = w_g * own.deviance(y_g, mu[here])
            pearson[here] = w_g * (y_g - mu[here]) ** 2 / own.variance(mu[here])
            log_likelihood[g] = own.log_likelihood(y_g, mu[here], w_g, deviances[here].sum())
    df, scaled = rows.sizes - p, law is not None and law.has_dispersion
    with np.errstate(divide="ignore", invalid="ignore"):
        dispersion = rows.sums(pearson) / np.where(df > 0, df, np.nan) if scaled else np.ones(n_groups)
    missing = np.full(n_groups, np.nan)
    return GroupedFit(
        b=b,
        unscaled=unscaled,
        dispersion=np.where(sound, dispersion, np.nan),
        fitted=rows.back(mu),
        residuals=rows.back(np.sign(outcome - mu) * np.sqrt(np.maximum(deviances, 0))),
        rss=np.where(sound, rows.sums(deviances), np.nan),
        tss=missing,
        rsquared=missing,
        rsquared_adj=missing,
        n=rows.sizes,
        df_resid=df,
        n_parameters=np.full(n_groups, p + (scaled or law is None)),
        log_likelihood=log_likelihood,
        reason=reason,
        separated=separated,
    )


def _climb(
    rows: _Rows, design: Array, y: Array, w: Array, fixed: Array, law: Distribution, link: Link, alive: Array
) -> tuple[Array, Array, Array]:
    """Return coefficients and diagonals of (X'WX)⁻¹, each shape (G, p), and which groups came to rest."""
    eta, df = link.value(law.start(y, w)), np.maximum(rows.sizes - len(design), 1)
    b, unscaled = np.zeros((2, len(alive), len(design)))
    rested, before = np.zeros(len(alive), dtype=bool), eta - fixed
    for _ in range(_ROUNDS):
        mu, slope = link.both(eta)
        working, pull = w * slope**2 / law.variance(mu), (y - mu) / slope
        legal = link.legal(eta) & law.legal(mu) & np.isfinite(working * pull) & (working > 0)
        alive = alive & (rows.sums((~legal).astype(float)) == 0)
        going = rows.spread(alive)
        working = np.where(going, working, 1.0)
        R, z, independent = _triangles(rows, design, np.where(going, pull + before, 0.0), working, GLM_TOLERANCE)
        alive = alive & independent
        step, length = _solved(R, z), np.sqrt((z**2).sum(axis=1))
        if law.has_dispersion:
            length = length / np.sqrt(rows.sums(working * pull**2) / df)
        b, unscaled = b + step, _diagonals(R)
        last, eta = eta, np.einsum("pi,pi->i", design, rows.spread(b.T)) + fixed
        still = rows.sums((np.abs(eta - last) > 4 * EPS * np.abs(eta)).astype(float)) == 0
        rested = alive & ((length <= 10 * STILL) | still)
        before = 0.0
        if not (alive & ~rested).any():
            break
    return b, unscaled, rested
