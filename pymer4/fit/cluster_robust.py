"""Covariances that are robust to any dependence within clusters, CR0 and CR2, and Satterthwaite's degrees of freedom.

With working covariances Θ_g of the clusters, W = Θ⁻¹ and b = (X'WX)⁻¹ X'W y, both are C Σ s_g s_g' C with
C = (X'WX)⁻¹ and scores s_g = X_g' W_g A_g e_g. CR0 has A = I (Liang & Zeger 1986, Biometrika 73, 13-22). CR2 has
A_g = D_g' B_g^(-1/2) D_g with Θ_g = D_g' D_g and B_g = D_g (Θ_g − X_g C X_g') D_g', which makes it unbiased where the
working model holds (Bell & McCaffrey 2002, Survey Methodology 28, 169-181; Pustejovsky & Tipton 2018, Journal of
Business & Economic Statistics 36, 672-683); the root is that of the pseudo-inverse.

A turn of the rows of a cluster leaves all this as it is, so that Θ may be taken as diagonal. In the basis x = W^½ X T
with C = T T', B_g = Θ_g (I − x_g x_g') Θ_g. All that is needed of A_g is J_g = B_g^(-1/2) x_g: as the scores are
T⁻ᵀ J_g' Θ_g^½ e_g, and X_g' A_g' W_g X_g is T⁻ᵀ x_g' Θ_g J_g T⁻¹, no matrix has the rows of a cluster on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import numpy as np

from pymer4.fit.cluster_rows import Members, RandomPart, Rows, batches, independent_rows
from pymer4.fit.influence import ONE
from pymer4.fit.linear import GLM_TOLERANCE, orthonormal
from pymer4.fit.sandwich import Errors, cluster_codes

Array: TypeAlias = np.ndarray

_TOLD = 1e-18  # share of a variance, below which it is a rounding error
_NUMBERS = 2**22  # that rows of L may take at a time
_DIGITS = 38.0  # of the inverse root, as a natural logarithm


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """B clusters in the principal axes of their x_g: x_g = (rows) diag(λ^½) turn'.

    Attributes:
        turn: the axes, shape (B, p, k), k the number of rows or of coefficients.
        left: λ (1 − λ), shape (B, k), 0 along axes on which a cluster fits itself.
        pull: x_g' Θ_g J_g, shape (B, k, k).
        own: J_g' B_g J_g, shape (B, k, k).
        scores: J_g' Θ_g^½ e_g, in the basis, shape (B, p).
    """

    turn: Array
    left: Array
    pull: Array
    own: Array
    scores: Array


def clustered(
    X: Array,
    e: Array,
    clusters: Array,
    kind: Literal["cr0", "cr2"],
    weights: Array | None = None,
    random: RandomPart | None = None,
) -> Errors:
    """Return the covariance of coefficients that is robust to dependence within clusters, and degrees of freedom.

    Held to `clubSandwich::vcovCR` and `coef_test`, of R, with the working covariance as the target (for weighted `lm`
    its `inverse_var=TRUE`). Those of CR0 are G − 1. Those of CR2 match the first two moments of l V l' under the
    working model to a chi-square (Satterthwaite 1946, Biometrics Bulletin 2, 110-114).

    Args:
        X: design, shape (n, p); of a generalized model on the scale of the outcome, dmu/deta x.
        e: y − X b, shape (n,), of a mixed model without its random effects; likewise y − mu.
        clusters: code of the cluster of each row, integers, shape (n,).
        kind: which of them.
        weights: inverse working variances up to a factor, shape (n,); of a mixed model, prior weights. None for 1.
        random: ZΛ of a mixed model, relative to sigma, whose fitted marginal covariance is then the working one.

    Raises:
        DataError: fewer than two clusters, a random effect that two of them share, or aliased columns.

    Examples:
        >>> x = np.repeat([0.0, 1, 0, 1], 3)
        >>> X, y = np.column_stack([np.ones(12), x]), np.array([1.0, 2, 2, 4, 3, 5, 0, 1, 1, 6, 5, 5])
        >>> e = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
        >>> found = clustered(X, e, np.repeat([0, 1, 2, 3], 3), "cr2")
        >>> np.sqrt(np.diag(found.V)).round(4).tolist(), found.df_of(np.eye(2)).round(4).tolist()
        ([0.5, 0.8333], [1.0, 2.0])
    """
    codes, n_clusters = cluster_codes(clusters)
    p, rows = X.shape[1], Rows(X, e, np.ones(len(X)) if weights is None else 1 / weights, codes)
    if not all(np.isfinite(numbers).all() for numbers in (X, e, rows.theta)):
        return Errors(np.full((p, p), np.nan), partial(_df, _satterthwaite, np.zeros((p, p)), ()))
    if random is not None:
        rows = independent_rows(rows, n_clusters, random, thin=weights is None)
    x, root = orthonormal(rows.X, 1 / rows.theta, GLM_TOLERANCE)
    members = Members.of(rows.codes, n_clusters)
    parts = [_adjusted(members, each, rows, x, kind) for each in batches(members.sizes, p)]
    scores = np.concatenate([part.scores for part in parts])
    V = root @ (scores.T @ scores) @ root.T
    untold = ~_is_told(root, parts)
    V[untold] = np.nan
    V[:, untold] = np.nan
    return Errors(V, partial(_df, _satterthwaite if kind == "cr2" else _less_one, root, parts))


def _adjusted(members: Members, clusters: Array, rows: Rows, x: Array, kind: Literal["cr0", "cr2"]) -> Clusters:
    at, there = members.padded(clusters)
    axes, scale, turned = np.linalg.svd(x[at] * there[..., None], full_matrices=False)
    turn = turned.swapaxes(1, 2)
    gap = np.where(scale**2 > ONE, 0.0, 1 - scale**2)
    x_g, theta = axes * scale[:, None], np.where(there, rows.theta[at], 0.0)
    unit = theta.max(axis=1, keepdims=True)
    pulls = rows.e[at] / np.sqrt(np.where(there, theta, 1.0)) * there
    theta = np.where(there, theta / unit, 1.0)
    J = x_g
    own = pull = np.empty((len(clusters), 0, 0))
    if kind == "cr2":
        known = _known(x_g, theta, gap == 0)
        J = _rooted(x_g, known, theta, gap)
        own, pull = known.swapaxes(1, 2) @ known, (x_g * theta[..., None]).swapaxes(1, 2) @ J
        pulls = pulls * theta
    scores = (turn @ (J.swapaxes(1, 2) @ pulls[..., None]))[..., 0]
    return Clusters(turn, gap * scale**2, pull, own, scores)


def _known(x: Array, theta: Array, full: Array) -> Array:
    """Return x less its projection on the null space of B, which is that of Θ⁻¹x along the axes that are full."""
    if not full.any():
        return x
    null = x * full[:, None] / theta[..., None]
    gram = null.swapaxes(1, 2) @ null
    np.einsum("bii->bi", gram)[:] += ~full
    return x - null @ np.linalg.solve(gram, null.swapaxes(1, 2) @ x)


def _rooted(x: Array, known: Array, theta: Array, gap: Array) -> Array:
    """Return J = B^(-1/2) x, shape (B, m, k), B = Θ(I − xx')Θ with Θ of at most 1, from what is `known` of x.

    The root is a sum of c (B + s)⁻¹, each of which takes systems of k equations (Woodbury). I − x'Θ²(Θ² + s)⁻¹x is
    written as (1 − λ) + s x'(Θ² + s)⁻¹x, which cancels nothing. Along full axes, where 1 − λ is 0, the equation that
    stands there says that the solution is orthogonal to the null space of B.
    """
    if (theta == 1).all():
        return known / np.sqrt(np.where(gap > 0, gap, 1.0))[:, None]
    full = (gap == 0)[..., None]
    low = theta.min() ** 2 * gap[gap > 0].min(initial=1.0)
    J, wide, bent = np.zeros_like(x), x * theta[..., None], known * theta[..., None]
    for shift, share in zip(*_inverse_root(low), strict=True):
        d = theta[..., None] ** 2 + shift
        small = (x / d).swapaxes(1, 2)
        left = shift * (small @ x)
        np.einsum("bii->bi", left)[:] += gap
        right = small @ bent
        if full.any():
            left = np.where(full, small @ x, left)
            right = np.where(full, -small @ (known / theta[..., None]), right)
        J += share * (known + wide @ np.linalg.solve(left, right)) / d
    return J


def _inverse_root(low: float) -> tuple[Array, Array]:
    """Return s and c with Σ c/(z + s) = z^(-1/2) for z from `low` to 1, to rounding.

    2/π ∫ dt/(t² + z) by midpoints in v, t = low^½ sc(v): the rational approximation with the least relative error
    (Zolotarev 1877; Hale, Higham & Trefethen 2008, SIAM Journal on Numerical Analysis 46, 2505-2523). sc(v) of the
    complementary modulus k = low^½ is Gauss's transformation of sinh, up to half the period, and there a mirror.
    """
    from scipy.special import ellipkm1

    low = min(low, 0.25)
    k = np.sqrt(low)
    half = int(np.ceil((3 - np.log(low)) * _DIGITS / (4 * np.pi**2)))
    period = ellipkm1(low)
    moduli = [(k / (1 + np.sqrt(1 - low))) ** 2]
    while moduli[-1] > 1e-17:
        moduli.append((moduli[-1] / (1 + np.sqrt(1 - moduli[-1] ** 2))) ** 2)
    t = np.sinh((np.arange(half) + 0.5) * period / (2 * half) / np.prod(1 + np.array(moduli)))
    for modulus in reversed(moduli):
        t = (1 + modulus) * t / (1 - modulus * t**2)
    t = np.concatenate([t, 1 / (k * t)])
    return low * t**2, k * period / (np.pi * half) * np.sqrt((1 + t**2) * (1 + low * t**2))


def _is_told(z: Array, parts: Sequence[Clusters]) -> Array:
    """Return of which rows, in the basis, residuals tell a variance, shape (k,): not only of clusters that fit it."""
    left = sum((((z @ part.turn) ** 2 * part.left[:, None]).sum(axis=(0, 2)) for part in parts), np.zeros(len(z)))
    return left > _TOLD * (z**2).sum(axis=1)


def _df(work: Callable[[Array, Sequence[Clusters]], Array], root: Array, parts: Sequence[Clusters], L: Array) -> Array:
    """Return the degrees of freedom of rows of L, shape (k,), some rows after the others."""
    z = L @ root
    most = max((part.turn.shape[0] for part in parts), default=0) * len(root) + root.size
    step = max(1, _NUMBERS // max(1, most))
    found = [
        np.where(_is_told(some, parts), work(some, parts), np.nan) for some in np.split(z, range(step, len(z), step))
    ]
    return np.concatenate(found)


def _less_one(z: Array, parts: Sequence[Clusters]) -> Array:
    return np.full(len(z), sum(len(part.turn) for part in parts) - 1.0)


def _satterthwaite(z: Array, parts: Sequence[Clusters]) -> Array:
    """Return tr(P)² / tr(P²) of rows z = l T, shape (k,).

    l V l' is Σ (a_g' e_g)² with a_g = A_g' W_g X_g C l', and P has the covariances of the a_g' e_g under the working
    model: −(X_g'a_g)' C (X_h'a_h) beside the diagonal. In the basis X_g'a_g is (pull) z, and the diagonal z'(own) z.
    """
    k, p = z.shape
    trace, squares, outer = np.zeros(k), np.zeros(k), np.zeros((k, p, p))
    for part in parts:
        along = z @ part.turn
        own, arms = ((along @ part.own) * along).sum(axis=2), along @ part.pull.swapaxes(1, 2)
        trace += own.sum(axis=0)
        squares += (own**2 - (arms**2).sum(axis=2) ** 2).sum(axis=0)
        arms = (arms @ part.turn.swapaxes(1, 2)).swapaxes(0, 1)
        outer += arms.swapaxes(1, 2) @ arms
    with np.errstate(invalid="ignore", divide="ignore"):
        return trace**2 / (squares + (outer**2).sum(axis=(1, 2)))
