"""Covariances that are robust to unequal variances, autocorrelation and clusters; degrees of freedom.

A sandwich is U M U with the bread U = (X'WX)⁻¹ and the meat M made of the scores
x_i w_i e_i (White 1980, Econometrica 48, 817-838). All is computed in the basis X T,
T T' = U, where the bread is the identity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import numpy as np

from pymer4.errors import DataError
from pymer4.fit import batched
from pymer4.fit.basis import Basis, sums_by
from pymer4.fit.influence import ONE, Fit, untold_by_others
from pymer4.fit.linear import factor, inverse_triangle, least_squares

Array: TypeAlias = np.ndarray
Kind = Literal["iid", "hc0", "hc1", "hc2", "hc3", "hac", "cluster"]

_LEFT = 1e-8
"""What must be left of the rows of a group, Σ (1 − h), to tell its variance."""

_SHARE = 1e-12
"""The share of a variance of coefficients that rounding leaves to a group that has none."""


@dataclass(frozen=True, slots=True, eq=False)
class Errors:
    """A covariance of coefficients, with the degrees of freedom of whatever is made of them.

    Attributes:
        V: shape (p, p); NaN for coefficients of whose variance residuals tell nothing.
        df_of: degrees of freedom, shape (k,), of rows of L, shape (k, p); NaN for rows of which residuals tell nothing.
    """

    V: Array
    df_of: Callable[[Array], Array]

    def variances(self, L: Array) -> Array:
        """Return l V l' of rows of L, shape (k,); NaN for those that touch a coefficient without a variance."""
        untold = np.isnan(np.diag(self.V))
        found = np.einsum("ij,ij->i", L @ np.where(np.isnan(self.V), 0.0, self.V), L)
        return np.where((L[:, untold] != 0).any(axis=1), np.nan, found)


def covariance(
    fit: Fit,
    X: np.ndarray,
    kind: Kind,
    clusters: np.ndarray | None = None,
    n_lags: int = 1,
) -> np.ndarray:
    """Return the covariance of the coefficients, shape (p, p).

    | kind | meat | R |
    | --- | --- | --- |
    | `iid` | none: the model's own covariance | `vcov` |
    | `hc0` | Σ s s', s the scores | `vcovHC` |
    | `hc1` | times n/(n − k) (Hinkley 1977) | `vcovHC` |
    | `hc2` | each term over 1 − h (MacKinnon & White 1985) | `vcovHC` |
    | `hc3` | each term over (1 − h)² (MacKinnon & White 1985) | `vcovHC` |
    | `hac` | Bartlett weights 1 − l/(L + 1) over lags (Newey & West 1987) | `NeweyWest(prewhite=FALSE, adjust=FALSE)` |
    | `cluster` | sums over clusters, times G/(G − 1)·(n − 1)/(n − k) | `vcovCL(type="HC1")` |

    Args:
        fit: a fitted model.
        X: its design, shape (n, p), rows in order of time for `hac`.
        kind: see the table.
        clusters: code of the cluster of each row, integers, shape (n,); for `cluster`.
        n_lags: L, for `hac`.

    Returns:
        The covariance; NaN for hc2 and hc3 where a row has leverage 1 (`influence.self_fitted` tells which), and for
        coefficients that hang on such rows alone (`influence.untold_by_others`).

    Raises:
        DataError: `cluster` with fewer than two clusters.

    Examples:
        >>> x = np.arange(6.0)
        >>> X = np.column_stack([np.ones(6), x])
        >>> fit = least_squares(X, np.array([1.0, 1, 2, 4, 3, 7]))
        >>> np.sqrt(np.diag(covariance(fit, X, "hc1"))).round(4).tolist()
        [0.5997, 0.3122]
    """
    if kind == "iid":
        return fit.vcov
    basis, h = Basis(X, X @ fit.root, fit.root, None, None), fit.leverages(X)
    elements = Meat.of(kind, clusters, n_lags).elements(basis, fit.weighted_residuals[None], h[None])
    V = fit.root @ batched.unpacked(elements, X.shape[1])[0] @ fit.root.T
    untold = untold_by_others(fit, X, h)
    V[untold] = np.nan
    V[:, untold] = np.nan
    return V


@dataclass(frozen=True, slots=True)
class Meat:
    """What goes into the standard errors of many fits; see `sandwich.covariance`."""

    kind: Kind
    codes: Array | None
    n_clusters: int
    n_lags: int

    @classmethod
    def of(cls, kind: Kind = "iid", clusters: Array | None = None, n_lags: int = 1) -> Meat:
        """Return it with the codes of the clusters that occur."""
        codes, n_clusters = cluster_codes(clusters) if kind == "cluster" else (None, 0)
        return cls(kind, codes, n_clusters, n_lags)

    def elements(self, basis: Basis, scale: Array, h: Array) -> Array:
        """Return the elements of the meat, shape (B, p(p + 1)/2), of scores q_i r_i (r the scale) and leverages h."""
        n, p = basis.Q.shape
        if self.kind == "cluster":
            return self._clustered(basis, scale)
        inflation = 1.0 if self.kind == "hac" else hc_inflation(self.kind, h, p)
        found = basis.grams(scale**2 * inflation)
        if self.kind == "hac":
            for lag, share in enumerate(bartlett(self.n_lags, n), start=1):
                found += share * basis.lagged(scale, lag)
        return found

    def _clustered(self, basis: Basis, scale: Array) -> Array:
        sums = np.stack([sums_by(self.codes, scale * q) for q in basis.Q.T], axis=1)
        return cluster_factor(self.n_clusters, *basis.Q.shape) * batched.packed(sums @ sums.transpose(0, 2, 1))


PLAIN = Meat.of()


def sandwiched(basis: Basis, inverses: Array, elements: Array) -> Array:
    """Return the variances of coefficients, shape (B, p), from bread (B, p, p) and elements of the meat."""
    if len(inverses) == 1:
        return elements @ batched.quadratic(basis.root @ inverses[0])
    arms = basis.root @ inverses
    return ((arms @ batched.unpacked(elements, basis.Q.shape[1])) * arms).sum(axis=2)


def hc_inflation(kind: Kind, h: np.ndarray, p: int) -> np.ndarray:
    """Return the factors of the squared residuals in hc0 to hc3, shaped as the leverages h with rows last."""
    if kind == "hc0":
        return np.ones(1)
    if kind == "hc1":
        n = h.shape[-1]
        return np.full(1, n / (n - p) if n > p else np.nan)
    left = np.where(h > ONE, np.nan, 1 - h)
    return 1 / left if kind == "hc2" else 1 / left**2


def df_of(kind: Kind, fit: Fit, clusters: np.ndarray | None = None) -> float:
    """Return the degrees of freedom that go with a covariance: n − k, and G − k for `cluster`.

    Raises:
        DataError: no more clusters than coefficients.
    """
    if kind != "cluster":
        return float(fit.df_resid)
    found, p = len(np.unique(clusters)), len(fit.b)
    if found - p < 1:
        raise DataError(
            f"There are {found} clusters for {p} coefficients, which leaves {found - p} degrees of freedom. "
            "Cluster-robust errors need more clusters than coefficients: use hc3, or fewer predictors."
        )
    return float(found - p)


def bartlett(n_lags: int, n: int) -> np.ndarray:
    """Return the weights of lags 1, 2, ..., no more than n rows have."""
    return 1 - np.arange(1, min(n_lags, n - 1) + 1) / (n_lags + 1)


def cluster_codes(clusters: np.ndarray) -> tuple[np.ndarray, int]:
    """Return codes 0, 1, ... of the clusters that occur, and their number.

    Raises:
        DataError: fewer than two.
    """
    found, codes = np.unique(clusters, return_inverse=True)
    if len(found) < 2:
        raise DataError("All rows are in one cluster. Cluster-robust errors need at least two, and better forty.")
    return codes.ravel(), len(found)


def cluster_factor(n_clusters: int, n: int, p: int) -> float:
    """Return G/(G − 1)·(n − 1)/(n − k)."""
    return n_clusters / (n_clusters - 1) * (n - 1) / (n - p) if n > p else np.nan


# ------------------------------------------------------------------ one variance per group


def group_variances(
    X: np.ndarray, y: np.ndarray, codes: np.ndarray, n_groups: int, offset: np.ndarray | None = None
) -> np.ndarray:
    """Return the error variance in each group, shape (G,); their inverses weight `Lm.fit(weights="column")`.

    Squared residuals of ordinary least squares are summed in each group, and divided by the sum of 1 − h (Horn, Horn &
    Duncan 1975, JASA 70, 380-385). In `y ~ group` these are the sample variances of the outcome, as in Welch's t-test;
    with covariates, variances of what the model leaves unexplained. NaN where nothing is left to tell one (such as a
    group of one row), 0 where the fit is perfect. Codes, shape (n,), are 0 to G − 1.
    """
    fit = least_squares(X, y, offset=offset)
    left = np.bincount(codes, 1 - fit.leverages(X), minlength=n_groups)
    squares = np.bincount(codes, fit.residuals**2, minlength=n_groups)
    scale = np.bincount(codes, y**2, minlength=n_groups)
    squares[squares <= 1e-24 * scale] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(left > _LEFT, squares / left, np.nan)


def unequal_variances(fit: Fit, X: np.ndarray, cells: np.ndarray) -> Errors:
    """Return the errors of coefficients where each cell has a variance of its own, as Welch's t-test has two.

    Coefficients stay those of least squares. With C = (X'WX)⁻¹ the covariance is C (Σ s_c² X_c'W_c X_c) C over the
    cells, s_c² = Σ w e² / Σ (1 − h) (Horn, Horn & Duncan 1975). Degrees of freedom of a row l are
    (Σ a_c)² / Σ (a_c² / df_c) with a_c = s_c² l C X_c'W_c X_c C l' and df_c = Σ (1 − h) (Satterthwaite 1946). Weights
    w are prior ones: the variance of a row is that of its cell over w. For `y ~ group` differences have the t and df of
    Welch (1938).

    Args:
        fit: a fitted linear model.
        X: its design, shape (n, p).
        cells: code of the cell of each row, integers, shape (n,).

    Returns:
        The errors; NaN for what hangs on a cell that leaves nothing to tell its variance, such as one of one row.
    """
    codes = np.unique(cells, return_inverse=True)[1].ravel()
    w = np.ones(len(X)) if fit.row_weights is None else fit.row_weights
    rows, left = X @ fit.root * np.sqrt(w)[:, None], np.bincount(codes, 1 - fit.leverages(X))
    grams = _grams(rows, codes)
    told = left > _LEFT
    s2 = np.where(told, np.bincount(codes, fit.weighted_residuals**2 / w) / np.where(told, left, 1.0), 0.0)
    V = fit.root @ (s2[:, None, None] * grams).sum(axis=0) @ fit.root.T
    df = partial(_df_of_cells, fit.root, grams, s2, np.where(told, left, np.nan))
    untold = np.isnan(df(np.eye(len(V))))
    V[untold] = np.nan
    V[:, untold] = np.nan
    return Errors(V, df)


def _df_of_cells(root: np.ndarray, grams: np.ndarray, s2: np.ndarray, left: np.ndarray, L: np.ndarray) -> np.ndarray:
    arms = L @ root
    shares = np.einsum("ki,cij,kj->kc", arms, grams, arms, optimize=True)
    hangs = (shares > _SHARE * (arms**2).sum(axis=1)[:, None]) & np.isnan(left)
    a = shares * s2
    with np.errstate(divide="ignore", invalid="ignore"):
        df = a.sum(axis=1) ** 2 / np.nansum(a**2 / left, axis=1)
    return np.where(hangs.any(axis=1), np.nan, df)


def _grams(rows: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return X_g'X_g of each group, shape (G, p, p)."""
    parts = np.split(rows[np.argsort(codes, kind="stable")], np.cumsum(np.bincount(codes))[:-1])
    return np.stack([part.T @ part for part in parts])


def welch_df(X: np.ndarray, codes: np.ndarray, variances: np.ndarray, L: np.ndarray | None = None) -> np.ndarray:
    """Return the degrees of freedom of each coefficient of a fit with weights 1 / variances[codes], shape (p,).

    The variance of a coefficient is l'V(s²)l with V(s²) = (Σ X_g'X_g / s_g²)⁻¹, whose derivative by s_g² is
    l'V X_g'X_g V l / s_g⁴. With the covariance C of the s_g² and the gradient d, df = 2 (l'Vl)² / d'C d (Satterthwaite
    1946, Biometrics Bulletin 2, 110-114). The s_g² are quadratic forms in the errors, y'M D_g M y / tr(M D_g) with
    M = I − X(X'X)⁻¹X' and D_g the rows of the group, so C_gh = 2 tr(M D_g M Σ M D_h M Σ) / (tr_g tr_h).
    For `y ~ group` this is Welch's df (1938, Biometrika 29, 350-362) of each difference from the reference group, and
    n_g − 1 of a group's own mean.

    Args:
        X: design, shape (n, p).
        codes: group of each row, 0 to G − 1, shape (n,).
        variances: of the groups, shape (G,), from `group_variances`.
        L: rows of combinations of coefficients, shape (q, p), whose df are returned in the place of those.
    """
    n_groups = len(variances)
    root = inverse_triangle(factor(X).R)
    rows = X @ root
    sizes = np.bincount(codes, minlength=n_groups)
    grams = _grams(rows, codes)
    spread = _variance_covariance(grams, sizes, variances)
    V = np.linalg.inv((grams / variances[:, None, None]).sum(axis=0))
    ends = root if L is None else L @ root
    arms = ends @ V
    parts = np.einsum("ji,gik,jk->jg", arms, grams, arms, optimize=True) / variances**2
    whole = np.einsum("ji,ji->j", arms, ends)
    return 2 * whole**2 / np.einsum("jg,jg->j", parts @ spread, parts)


def _variance_covariance(grams: np.ndarray, sizes: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Return the covariance of the groups' variances, shape (G, G), in a basis where X'X = I.

    The block of M Σ M of groups g and h is X_g K X_h' with K = X'ΣX − (s_g² + s_h²) I, plus s_g² I where g = h.
    """
    eye = np.eye(grams.shape[1])
    total = (variances[:, None, None] * grams).sum(axis=0)
    left = sizes - np.einsum("gii->g", grams)
    found = np.empty((len(sizes), len(sizes)))
    for g, gram in enumerate(grams):
        K = total - (variances[g] + variances)[:, None, None] * eye
        half = gram @ K
        found[g] = np.einsum("hij,hji->h", half, grams @ K)
        found[g, g] += variances[g] ** 2 * sizes[g] + 2 * variances[g] * np.trace(half[g])
    return 2 * found / np.outer(left, left)
