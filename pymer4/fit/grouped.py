"""The same regression in every group of rows, all groups at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymer4.errors import DataError
from pymer4.fit.distributions import Array, Distribution, distribution, link_function
from pymer4.fit.glm import generalized
from pymer4.fit.irls import Point, climb
from pymer4.fit.linear import ALIAS_TOLERANCE, GLM_TOLERANCE
from pymer4.fit.systems import Groups, Rows, back_solved, inverse_diagonals
from pymer4.work import keep_memory

OK, TOO_FEW, SINGULAR, UNFITTED = range(4)
"""Why a group has no coefficients: it has some; fewer rows than columns; dependent columns; no maximum was found."""


@dataclass(frozen=True, slots=True)
class GroupedFit:
    """Regressions of G groups; NaN where a group has none.

    Attributes:
        b: coefficients, shape (G, p).
        unscaled: diagonals of the inverses of X'WX, shape (G, p).
        dispersion: residual variances, shape (G,); 1 where a family has none; NaN where n = p.
        fitted: shape (n,).
        residuals: shape (n,), in the order of the rows given; deviance residuals of generalized models.
        rss: sums of squared residuals, shape (G,); deviances of generalized models.
        tss: sums of squares of the outcome, about its mean with an intercept, shape (G,); NaN for generalized models.
        rsquared: as R's `summary.lm`, shape (G,); NaN for generalized models and where the outcome does not vary.
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


def _back(order: Array, values: Array) -> Array:
    """Return values of sorted rows in the order of the rows given."""
    found = np.empty_like(values)
    found[order] = values
    return found


def grouped_least_squares(
    X: Array,
    y: Array,
    codes: Array,
    n_groups: int,
    has_intercept: bool = True,
) -> GroupedFit:
    """Fit a linear model to each group of rows.

    Args:
        X: design, shape (n, p).
        y: outcome, shape (n,).
        codes: group of each row, 0 to G − 1, shape (n,).
        n_groups: G.
        has_intercept: whether the formula has an intercept, which R² is then measured from.

    Returns:
        The fits. A group whose columns depend on one another by the rule of `independent_columns` has none.

    Examples:
        >>> X = np.column_stack([np.ones(5), [0.0, 1, 2, 0, 1]])
        >>> found = grouped_least_squares(X, np.array([1.0, 3, 5, 2, 2]), np.array([0, 0, 0, 1, 1]), 2)
        >>> found.b.round(6).tolist()
        [[1.0, 2.0], [2.0, 0.0]]
    """
    keep_memory()
    order, rows = np.argsort(codes, kind="stable"), Rows(np.bincount(codes, minlength=n_groups))
    n, p = X.shape
    design, outcome = X[order].T, y[order]
    R, z, independent = rows.triangles(design, outcome, ALIAS_TOLERANCE)
    reason = np.where(rows.sizes < p, TOO_FEW, np.where(independent, OK, SINGULAR))
    sound = reason == OK
    b = np.where(sound[:, None], back_solved(R, z), np.nan)
    around = rows.predicted(design, b)
    residuals = outcome - around
    rss, df = rows.sums(residuals**2), rows.sizes - p
    center, middle = np.zeros((2, n))
    if has_intercept:
        with np.errstate(invalid="ignore", divide="ignore"):
            center, middle = (rows.spread(rows.sums(v) / rows.sizes) for v in (outcome, around))
    tss = np.where(sound, rows.sums((outcome - center) ** 2), np.nan)
    explained = rows.sums((around - middle) ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = np.full(n_groups, 0.0) if p == int(has_intercept) else explained / (explained + rss)
        r2 = np.where(sound & (tss > 1e-24 * rows.sums(outcome**2)), r2, np.nan)
        r2_adj = 1 - (1 - r2) * (rows.sizes - has_intercept) / np.where(df > 0, df, np.nan)
        log_likelihood = -0.5 * rows.sizes * (np.log(2 * np.pi) + 1 - np.log(rows.sizes) + np.log(rss))
        dispersion = rss / np.where(df > 0, df, np.nan)
    return GroupedFit(
        b=b,
        unscaled=np.where(sound[:, None], inverse_diagonals(R), np.nan),
        dispersion=dispersion,
        fitted=_back(order, around),
        residuals=_back(order, residuals),
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
) -> GroupedFit:
    """Fit a generalized linear model to each group of rows.

    All groups iterate side by side. Those that leave the legal range or do not come to rest, and all those of the
    negative binomial, are fitted one by one by `generalized`.

    Args are those of `grouped_least_squares` and `generalized`.
    """
    keep_memory()
    order, rows = np.argsort(codes, kind="stable"), Rows(np.bincount(codes, minlength=n_groups))
    n, p = X.shape
    design, outcome = X[order].T, y[order]
    w = np.ones(n) if weights is None else weights[order]
    independent = rows.triangles(design, outcome, GLM_TOLERANCE)[2]
    reason = np.where(rows.sizes < p, TOO_FEW, np.where(independent, OK, SINGULAR))
    law = None if family == "nbinom" else distribution(family)
    b, unscaled = np.full((2, n_groups, p), np.nan)
    rested, separated = np.zeros((2, n_groups), dtype=bool)
    if law is not None:
        ok, there = reason == OK, rows.spread(reason == OK)
        own = {"y": outcome[there], "weights": w[there], "offset": np.zeros(there.sum()), "design": design[:, there]}
        system = Groups(
            law=law, link=link_function(link), places=np.arange(ok.sum()), groups=Rows(rows.sizes[ok]), **own
        )
        with np.errstate(all="ignore"):
            path = climb(system, Point.start(system, system.link.value(law.start(system.y, system.weights))), p)
            b[ok], unscaled[ok], rested[ok] = path.c, inverse_diagonals(path.factor), path.converged
    laws: list[Distribution] = [law or distribution(family, np.nan)] * n_groups
    ends = np.cumsum(rows.sizes)
    places = [slice(end - size, end) for end, size in zip(ends, rows.sizes, strict=True)]
    for g in np.flatnonzero((reason == OK) & ~rested):
        here = places[g]
        try:
            fit = generalized(design[:, here].T, outcome[here], family, link, w[here])
        except DataError:
            reason[g] = UNFITTED
            continue
        b[g], unscaled[g], separated[g] = fit.b, np.diag(fit.unscaled), fit.separated
        laws[g] = distribution(family, fit.theta)
    sound = reason == OK
    b[~sound], unscaled[~sound] = np.nan, np.nan
    eta = rows.predicted(design, b)
    mu, deviances, pearson = np.full((3, n), np.nan)
    log_likelihood = np.full(n_groups, np.nan)
    for g in np.flatnonzero(sound):
        own, here = laws[g], places[g]
        y_g, w_g = outcome[here], w[here]
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
        fitted=_back(order, mu),
        residuals=_back(order, np.sign(outcome - mu) * np.sqrt(np.maximum(deviances, 0))),
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
