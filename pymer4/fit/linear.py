"""Ordinary and weighted least squares, with the numbers of R's `lm` and `summary.lm`.

A design is reduced to its triangular factor R, X'WX = R'R, by orthogonal
transformations, so that no digits go into cross-products of ill-conditioned
columns. Coefficients come from the seminormal equations R'R b = X'Wy, corrected
by their own residuals until nothing changes, which is as accurate as a full QR
(Björck 1987, Linear Algebra and its Applications 88/89, 31-48).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymer4.errors import DataError
from pymer4.fit.influence import Fit

ALIAS_TOLERANCE = 1e-7
"""A column is aliased where less than this share of its length is left beside the columns before it (R's `lm`)."""

GLM_TOLERANCE = 1e-11
"""The same in R's `glm`."""

_PERFECT = 1e-13
"""Share of the size of the fitted values below which residuals are rounding errors."""

_STRIP = 8192
_BLOCK = 512
_TALL = 8 * _BLOCK
_SAFE_CONDITION = 1e5
_CORRECTIONS = 6
_NEGLIGIBLE = 1e-13


@dataclass(frozen=True, slots=True)
class Factor:
    """The triangular factor of a design.

    Attributes:
        R: upper triangle with X'WX = R'R, shape (min(n, p), p).
        kept: which columns are no combination of those before them, shape (p,).
    """

    R: np.ndarray
    kept: np.ndarray


@dataclass(frozen=True, slots=True)
class LinearFit(Fit):
    """A linear model fitted by ordinary or weighted least squares.

    Attributes:
        b: coefficients, shape (p,).
        unscaled: inverse of X'WX, shape (p, p); times sigma² it is the covariance of b.
        root: T with T T' = `unscaled`, upper triangular, shape (p, p).
        fitted: X b + offset, shape (n,).
        residuals: y − fitted, shape (n,), not weighted.
        weights: as given, shape (n,), or None.
        df_resid: n − p.
        sigma: residual standard deviation (of a row of weight 1); NaN where n = p.
        log_likelihood: at the ML estimates, as R's `logLik`.
        AIC: as R's; sigma counts as a parameter.
        BIC: likewise.
        rsquared: share of the (weighted) sum of squares of y − offset that X b explains, about the mean with an
            intercept, about zero without: as R's `summary.lm` from R 4.5 on, which before left the offset in.
        rsquared_adj: likewise; NaN where n = p.
    """

    b: np.ndarray
    unscaled: np.ndarray
    root: np.ndarray
    fitted: np.ndarray
    residuals: np.ndarray
    weights: np.ndarray | None
    df_resid: int
    sigma: float
    log_likelihood: float
    AIC: float
    BIC: float
    rsquared: float
    rsquared_adj: float

    @property
    def vcov(self) -> np.ndarray:
        """Covariance of b under equal variances, shape (p, p)."""
        return self.sigma**2 * self.unscaled

    @property
    def n_parameters(self) -> int:
        """Coefficients and sigma, as AIC counts them."""
        return len(self.b) + 1

    @property
    def row_weights(self) -> np.ndarray | None:
        """The weights, shape (n,), or None."""
        return self.weights

    @property
    def weighted_residuals(self) -> np.ndarray:
        """w_i e_i, shape (n,)."""
        return self.residuals if self.weights is None else self.weights * self.residuals

    @property
    def is_perfect(self) -> bool:
        """Whether the residuals are rounding errors, which R calls an essentially perfect fit.

        R draws the line at 1e-15 of the size of the fitted values, in the midst of the rounding errors themselves.
        """
        if self.df_resid == 0:
            return False
        return bool(self.sigma < _PERFECT * np.sqrt(self.fitted.mean() ** 2 + self.fitted.var(ddof=1)))


def factor(X: np.ndarray, weights: np.ndarray | None = None, tol: float = ALIAS_TOLERANCE) -> Factor:
    """Return the triangular factor of sqrt(W) X, and which of its columns are independent.

    Small designs go through Householder's QR. Tall ones go twice through Cholesky, which is as accurate while
    the condition is far from 1/sqrt(eps) (Yamamoto et al. 2015, ETNA 44, 306-326), and else through the QR of the
    stacked factors of blocks of rows (Demmel et al. 2012, SIAM J. Sci. Comput. 34, A206-A239).

    """
    R = _triangle(X if weights is None else X * np.sqrt(weights)[:, None])
    return Factor(R, _independent(R, tol))


def independent_columns(X: np.ndarray, tol: float = ALIAS_TOLERANCE) -> np.ndarray:
    """Return which columns R's `lm` would keep; the others are combinations of those before them.

    Columns are taken in order. One is dropped where what is left of it, once the columns kept so far are
    projected out, is shorter than `tol` times the whole: the limited pivoting of LINPACK's dqrdc2 in R.

    Args:
        X: design, shape (n, p).
        tol: R's `lm` takes 1e-7, its `glm` 1e-11.

    Returns:
        One truth value a column, shape (p,).

    Examples:
        >>> x = np.arange(4.0)
        >>> independent_columns(np.column_stack([np.ones(4), x, 2 * x - 1, x**2])).tolist()
        [True, True, False, True]
    """
    return factor(X, tol=tol).kept


def least_squares(
    X: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None = None,
    offset: np.ndarray | None = None,
    has_intercept: bool = True,
    factored: Factor | None = None,
) -> LinearFit:
    """Fit a linear model by ordinary or weighted least squares.

    Args:
        X: design, shape (n, p), its columns independent.
        y: outcome, shape (n,).
        weights: inverse variances up to a factor, shape (n,), above 0; None for equal ones.
        offset: part of the fitted values that is known, shape (n,).
        has_intercept: whether the formula has an intercept, which R² is then measured from.
        factored: `factor(X, weights)`, where that is at hand.

    Raises:
        DataError: aliased columns; `independent_columns` tells which.

    Examples:
        >>> x = np.array([1.0, 2.0, 3.0, 4.0])
        >>> fit = least_squares(np.column_stack([np.ones(4), x]), np.array([1.0, 3.0, 5.0, 8.0]))
        >>> fit.b.round(3).tolist(), round(fit.sigma, 3), fit.df_resid
        ([-1.5, 2.3], 0.387, 2)
    """
    n, p = X.shape
    factored = factored or factor(X, weights)
    _require_independent(factored.kept)
    root = inverse_triangle(factored.R)
    free = y if offset is None else y - offset
    b = solve_corrected(X, free, root, weights)
    around = X @ b
    residuals = free - around
    fitted = around if offset is None else around + offset
    rss, log_likelihood = _total(residuals**2, weights), np.inf
    if rss:
        own = 0.0 if weights is None else np.log(weights).sum()
        log_likelihood = float(0.5 * (own - n * (np.log(2 * np.pi) + 1 - np.log(n) + np.log(rss))))
    r2, r2_adj = _rsquared(around, rss, weights, has_intercept, p)
    return LinearFit(
        b=b,
        unscaled=root @ root.T,
        root=root,
        fitted=fitted,
        residuals=residuals,
        weights=weights,
        df_resid=n - p,
        sigma=float(np.sqrt(rss / (n - p))) if n > p else np.nan,
        log_likelihood=log_likelihood,
        AIC=2 * (p + 1) - 2 * log_likelihood,
        BIC=float(np.log(n)) * (p + 1) - 2 * log_likelihood,
        rsquared=r2,
        rsquared_adj=r2_adj,
    )


def orthonormal(
    X: np.ndarray, weights: np.ndarray | None = None, tol: float = ALIAS_TOLERANCE
) -> tuple[np.ndarray, np.ndarray]:
    """Return Q of shape (n, p) with Q'Q = I, and the triangle T with Q = sqrt(W) X T.

    Raises:
        DataError: aliased columns.
    """
    Z = X if weights is None else X * np.sqrt(weights)[:, None]
    small = len(Z) < _TALL
    Q, R = np.linalg.qr(Z) if small else (None, _triangle(Z))
    _require_independent(_independent(R, tol))
    root = inverse_triangle(R)
    return Q if small else Z @ root, root


def solve_corrected(X: np.ndarray, y: np.ndarray, root: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the least-squares coefficients of y, shape (p,), from T with T T' = (X'WX)⁻¹.

    The seminormal equations are solved for y, then for the residuals that are left, until the correction
    no longer shrinks.
    """
    b, residuals, lengths = np.zeros(X.shape[1]), y, [np.inf]
    while len(lengths) <= _CORRECTIONS:
        step = root.T @ ((residuals if weights is None else weights * residuals) @ X)
        lengths.append(float(np.sqrt(step @ step)))
        if not lengths[-1] < 0.5 * lengths[-2]:
            break
        b = b + root @ step
        if lengths[-1] < _NEGLIGIBLE * lengths[1]:
            break
        residuals = y - X @ b
    return b


def gram(Z: np.ndarray, T: np.ndarray | None = None, weights: np.ndarray | None = None) -> np.ndarray:
    """Return (Z T)'W (Z T), shape (p, p), some rows after the others, so that they stay in the cache."""
    found = np.zeros((Z.shape[1], Z.shape[1]))
    for start in range(0, len(Z), _STRIP):
        rows = Z[start : start + _STRIP] if T is None else Z[start : start + _STRIP] @ T
        found += (rows if weights is None else rows * weights[start : start + _STRIP, None]).T @ rows
    return found


def inverse_triangle(R: np.ndarray) -> np.ndarray:
    """Return the inverse of an upper triangle, itself an upper triangle, shape (p, p)."""
    return np.triu(np.linalg.inv(R))


def _triangle(Z: np.ndarray) -> np.ndarray:
    """Return R with Z'Z = R'R, shape (min(n, p), p), from Z alone."""
    n, p = Z.shape
    if n < max(_TALL, 16 * p):
        return np.linalg.qr(Z, mode="r")
    R = _cholesky_twice(Z)
    if R is not None:
        return R
    block = max(_BLOCK, 4 * p)
    whole = n // block * block
    parts = np.linalg.qr(Z[:whole].reshape(-1, block, p), mode="r").reshape(-1, p)
    return _triangle(np.concatenate([parts, Z[whole:]]))


def _cholesky_twice(Z: np.ndarray) -> np.ndarray | None:
    """Return the triangle of Z by Cholesky, of Z'Z and then of the columns that makes orthogonal; None if unsafe."""
    squares = gram(Z)
    scale = np.sqrt(np.diag(squares))
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        return None
    try:
        first = np.linalg.cholesky(squares / np.outer(scale, scale)).T
        inverse = inverse_triangle(first)
        if not np.linalg.norm(inverse) < _SAFE_CONDITION:
            return None
        return np.linalg.cholesky(gram(Z, inverse / scale[:, None])).T @ (first * scale)
    except np.linalg.LinAlgError:
        return None


def _independent(R: np.ndarray, tol: float) -> np.ndarray:
    """Return which columns of a triangle are independent of those kept before them."""
    rows, p = R.shape
    lengths = np.sqrt(np.einsum("ij,ij->j", R, R))
    if rows == p and (np.abs(np.diag(R)) >= tol * lengths).all() and lengths.all():
        return np.ones(p, dtype=bool)
    left, kept, rank = R.copy(), np.zeros(p, dtype=bool), 0
    for j in range(p):
        v = left[rank:, j].copy()
        length = np.sqrt(v @ v)
        if lengths[j] == 0 or length < tol * lengths[j]:
            continue
        v[0] += np.copysign(length, v[0])
        left[rank:, j:] -= np.outer(v, (2 / (v @ v)) * (v @ left[rank:, j:]))
        kept[j], rank = True, rank + 1
    return kept


def _require_independent(kept: np.ndarray) -> None:
    if not kept.all():
        raise DataError("Columns of the design are combinations of others. Keep those of independent_columns().")


def _total(values: np.ndarray, weights: np.ndarray | None) -> float:
    return float((values if weights is None else weights * values).sum())


def _rsquared(
    around: np.ndarray, rss: float, weights: np.ndarray | None, has_intercept: bool, p: int
) -> tuple[float, float]:
    if p == int(has_intercept):
        return 0.0, 0.0
    n = len(around)
    center = _total(around, weights) / (n if weights is None else weights.sum()) if has_intercept else 0.0
    explained = _total((around - center) ** 2, weights)
    r2 = explained / (explained + rss) if explained + rss else np.nan
    return r2, 1 - (1 - r2) * (n - has_intercept) / (n - p) if n > p else np.nan
