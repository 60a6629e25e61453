"""All bootstrap draws and permutations of a regression.

A design is brought to an orthonormal basis Q once. The cross-products of all replicates of a block are then one matrix
product, and their systems are solved side by side. In the basis they are as well conditioned as the resample lets them
be; those that are not are solved again, one by one, by their own factorisation. A block holds a fixed number of
replicates with a seed of its own (`work.blocks`) and is worked off whole, so numbers depend on the seed alone, to the
last bit.

`weights`, `offset`, and codes 0, 1, ... of `groups` and `clusters` are those of the rows; where there are groups, each
has one variance, which is estimated anew in each replicate. `kind` and `n_lags` are those of `sandwich.covariance`.
`note` is told of the draws of each chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

import numpy as np

from pymer4.errors import DataError
from pymer4.fit import batched
from pymer4.fit.basis import Basis, sums_by
from pymer4.fit.distributions import Array
from pymer4.fit.glm import generalized
from pymer4.fit.linear import factor, inverse_triangle, solve_corrected
from pymer4.fit.many_glm import fitted
from pymer4.fit.sandwich import Kind, Meat, sandwiched
from pymer4.infer.resample import boot_counts, shuffles, times
from pymer4.work import BLOCK, Note, blocks, map_chunks, one_blas_thread

Names: TypeAlias = tuple[str, str]  # family and link
Vector: TypeAlias = Array | None

ROWS = 4
"""Blocks of linear models hold so many times the numbers of `work.BLOCK`, for fewer calls."""


def stacked(draw: Callable[[int, int], Array], work: Iterable[Array]) -> Array:
    """Return what `draw(seed, replicates)` gives for each block, one row a replicate."""
    found = [draw(int(seed), int(k)) for seed, k in work]
    if not found:
        raise DataError("There is nothing to draw: the number of replicates is 0.")
    return np.concatenate(found)


# ------------------------------------------------------------------ bootstrap


def bootstrap_linear(
    X: Array,
    y: Array,
    n_boot: int,
    seed: int | None,
    weights: Vector = None,
    groups: Vector = None,
    clusters: Vector = None,
    offset: Vector = None,
    n_jobs: int = 1,
    note: Note | None = None,
) -> Array:
    """Return the coefficients of bootstrap samples of rows, or of whole clusters, shape (n_boot, p).

    NaN where a sample leaves a column aliased (or a group without a variance).
    """
    draw = partial(_drawn, Basis.of(X, weights), y if offset is None else y - offset, groups, clusters)
    return map_chunks(stacked, blocks(seed, n_boot, len(y) // ROWS), n_jobs, draw, note=note)


def bootstrap_generalized(
    X: Array,
    y: Array,
    family: str,
    link: str,
    n_boot: int,
    seed: int | None,
    weights: Vector = None,
    offset: Vector = None,
    clusters: Vector = None,
    start: Vector = None,
    n_jobs: int = 1,
    note: Note | None = None,
) -> Array:
    """Return the coefficients of bootstrap samples of rows, or of whole clusters, shape (n_boot, p); NaN without a fit.

    All samples start from `start`, the coefficients of the data; None fits them first.
    """
    prior = np.ones(len(y)) if weights is None else weights
    start = generalized(X, y, family, link, prior, offset).b if start is None else start
    draw = partial(_drawn_generalized, Basis.of(X), y, (family, link), prior, offset, clusters, start)
    return map_chunks(stacked, blocks(seed, n_boot, len(y)), n_jobs, draw, note=note)


def coefficients_of(
    rows: Array, X: Array, y: Array, names: Names | None = None, weights: Vector = None, size: int | None = None
) -> Array:
    """Return the coefficients of samples given by their rows, shape (B, m), some at a time, shape (B, p).

    They are those of least squares, or of a generalized model by its `names`; NaN where a sample has no fit.
    """
    n, basis = len(y), Basis.of(X, weights if names is None else None)
    solve = partial(coefficients, basis, y) if names is None else _refitted(basis, y, names, weights)
    size = size or max(1, BLOCK // n)
    with one_blas_thread():
        return np.concatenate([solve(times(rows[i : i + size], n)) for i in range(0, len(rows), size)])


def without_each(X: Array, y: Array, names: Names, weights: Vector = None, offset: Vector = None) -> Array:
    """Return the coefficients of generalized models without each row in turn, shape (n, p); NaN where there are none.

    The iterations go to their end; `influence.jackknife` takes one step of them.
    """
    n, solve = len(y), _refitted(Basis.of(X), y, names, weights, offset)
    size, there = max(1, BLOCK // n), np.arange(n)
    with one_blas_thread():
        return np.concatenate([solve((there != there[i : i + size, None]) * 1.0) for i in range(0, n, size)])


def _refitted(basis: Basis, y: Array, names: Names, weights: Vector, offset: Vector = None) -> Callable[[Array], Array]:
    """Return what fits samples that hold each row so many times, (B, n), from the coefficients of the data on."""
    prior = np.ones(len(y)) if weights is None else weights
    start = generalized(basis.X, y, *names, prior, offset).b
    return lambda counts: fitted(basis, y, *names, counts * prior, offset, start=start).b


def _drawn(basis: Basis, y: Array, groups: Vector, clusters: Vector, seed: int, k: int) -> Array:
    return coefficients(basis, y, boot_counts(len(y), k, seed, clusters), groups)


def _drawn_generalized(
    basis: Basis, y: Array, names: Names, w: Array, offset: Vector, clusters: Vector, start: Array, seed: int, k: int
) -> Array:
    own = boot_counts(len(y), k, seed, clusters) * w
    return fitted(basis, y, *names, own, offset, start=start).b


def coefficients(basis: Basis, y: Array, counts: Array, groups: Vector = None) -> Array:
    """Return the coefficients of samples that hold each row so many times, shape (B, p), from counts (B, n)."""
    shrunk = basis.shrunk(y)
    whole = basis.Q.T @ shrunk
    left = shrunk - basis.Q @ whole  # a sample's coefficients differ from the data's by what it makes of the residuals
    moved, bad = _solved(basis, counts, left)
    if groups is not None:
        own = counts * _group_weights(basis, left - moved @ basis.Q.T, counts, groups)
        moved, bad = _solved(basis, np.nan_to_num(own), left)
        bad = bad | ~np.isfinite(own).all(axis=1)
        counts = own
    b = basis.coefficients(whole + moved)
    for k in np.flatnonzero(bad):
        b[k] = _one(basis, y, counts[k])
    return b


def _solved(basis: Basis, W: Array, left: Array) -> tuple[Array, Array]:
    """Return coefficients in the basis with weights (B, n) of outcome (n,) or (B, n), and which are doubtful."""
    elements = basis.grams(W)
    lower = batched.cholesky(batched.unpacked(elements, basis.Q.shape[1]))
    return batched.solve(lower, (W * left) @ basis.Q), basis.doubtful(elements, lower)


def _one(basis: Basis, y: Array, w: Array) -> Array:
    """Return the coefficients of one sample by its own factorisation, NaN where columns are aliased."""
    missing = np.full(basis.X.shape[1], np.nan)
    if not np.isfinite(w).all():
        return missing
    there = w > 0
    weights = w[there] if basis.shrink is None else w[there] * basis.shrink[there] ** 2
    found = factor(basis.X[there], weights)
    if not found.kept.all():
        return missing
    return solve_corrected(basis.X[there], y[there], inverse_triangle(found.R), weights)


def _group_weights(basis: Basis, residuals: Array, counts: Array, groups: Array) -> Array:
    """Return 1/variance of each row's group, shape (B, n), from least squares in each sample; see `group_variances`.

    NaN where a group that was drawn has no variance.
    """
    lower = batched.cholesky(batched.unpacked(basis.grams(counts), basis.Q.shape[1]))
    share = basis.leverages(batched.inverse(lower))
    squares, left = (sums_by(groups, counts * values) for values in (residuals**2, 1 - share))
    rounding = 1e-24 * np.square(residuals).max() * sums_by(groups, counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverses = np.where((left > 1e-8) & (squares > rounding), left / squares, np.nan)
    return np.where(counts > 0, np.take(inverses, groups, axis=1), 1.0)


# ------------------------------------------------------------------ permutation


def permute_linear(
    X: Array,
    y: Array,
    n_perm: int,
    seed: int | None,
    kind: Kind = "iid",
    clusters: Vector = None,
    n_lags: int = 1,
    weights: Vector = None,
    groups: Vector = None,
    offset: Vector = None,
    within: Vector = None,
    scheme: str = "raw",
    L: Vector = None,
    null: float | Array = 0.0,
    n_jobs: int = 1,
    note: Note | None = None,
) -> Array:
    """Return t statistics of permutations, shape (n_perm, k); rows change places within the groups `within` alone.

    They are of the rows of L, shape (k, p), or of the coefficients.

    The raw scheme shuffles the outcome (less the offset) over the rows, with its weight, which is the inverse of its
    variance; that is a test of all coefficients at once. Freedman and Lane's tests each for itself: the residuals of
    the model in which l b is `null` are shuffled, its fitted values added, and the t of l b − null is taken from the
    full model (1983, J. Bus. Econ. Stat. 1, 292-298). With weights, residuals are shuffled at unit variance and put
    back on the row's own scale.
    """
    meat = Meat.of(kind, clusters, n_lags)
    free = y if offset is None else y - offset
    basis = Basis.of(X, weights if scheme != "raw" else None)
    basis = basis if L is None else basis.toward(L)
    if scheme == "raw":
        draw = partial(_shuffled, basis, free, meat, groups, weights, within)
    else:
        draw = partial(_freedman_lane, basis, _reduced_fits(basis, free, null), meat, groups, within)
    return map_chunks(stacked, blocks(seed, n_perm, len(y) // ROWS), n_jobs, draw, note=note)


def permute_generalized(
    X: Array,
    y: Array,
    family: str,
    link: str,
    n_perm: int,
    seed: int | None,
    weights: Vector = None,
    offset: Vector = None,
    within: Vector = None,
    kind: Kind = "iid",
    clusters: Vector = None,
    n_lags: int = 1,
    L: Vector = None,
    n_jobs: int = 1,
    note: Note | None = None,
) -> Array:
    """Return L b / se of shuffles of the outcome, shape (n_perm, k), NaN where there is no fit.

    An outcome takes its prior weight (a proportion its trials) and its offset (a count its exposure) along.
    """
    meat = Meat.of(kind, clusters, n_lags)
    draw = partial(_shuffled_generalized, Basis.of(X), y, (family, link), weights, offset, within, meat, L)
    return map_chunks(stacked, blocks(seed, n_perm, len(y)), n_jobs, draw, note=note)


def _shuffled(
    basis: Basis, y: Array, meat: Meat, groups: Vector, weights: Vector, within: Vector, seed: int, k: int
) -> Array:
    orders = shuffles(len(y), k, seed, within)
    return t_statistics(basis, y[orders], meat, groups, None if weights is None else weights[orders])[0]


def _shuffled_generalized(
    basis: Basis, y: Array, names: Names, weights: Vector, offset: Vector, within: Vector, meat: Meat, L: Vector,
    seed: int, k: int,
) -> Array:  # fmt: skip
    orders = shuffles(len(y), k, seed, within)
    own, moved = (None if v is None else v[orders] for v in (weights, offset))
    return fitted(basis, y[orders], *names, own, moved, meat=meat, L=L).z


def _freedman_lane(
    basis: Basis, parts: list[tuple[Array, Array]], meat: Meat, groups: Vector, within: Vector, seed: int, k: int
) -> Array:
    orders = shuffles(len(basis.Q), k, seed, within)
    found = np.empty((k, len(parts)))
    for j, (fitted_without, residuals) in enumerate(parts):
        Y = fitted_without + residuals[orders]
        Y = Y if basis.shrink is None else Y / basis.shrink
        found[:, j] = t_statistics(basis, Y, meat, groups)[0][:, j]
    return found


def _reduced_fits(basis: Basis, y: Array, null: float | Array = 0.0) -> list[tuple[Array, Array]]:
    """Return fits and residuals of the models in which each row l b is `null`, (n,) and times sqrt(w), the null off."""
    shrunk = basis.shrunk(y)
    c = basis.Q.T @ shrunk
    left = shrunk - basis.Q @ c
    arms = basis.directions @ basis.Q.T
    held = null / np.linalg.norm(basis.root, axis=1)
    own = (basis.directions @ c - held)[:, None] * arms
    return [(shrunk - left - part - h * arm, left + part) for part, h, arm in zip(own, held, arms, strict=True)]


def t_statistics(basis: Basis, Y: Array, meat: Meat, groups: Vector = None, W: Vector = None) -> tuple[Array, Array]:
    """Return t and b, each shape (B, p), of outcomes less the offset, (B, n), perhaps with weights W of their own."""
    n, p = basis.Q.shape
    level = float(Y.mean())  # what all outcomes share bears no information on slopes, and costs digits
    constant = basis.shrunk(np.ones(n))
    level_c = basis.Q.T @ constant
    outcome = basis.shrunk(Y - level)
    c = outcome @ basis.Q
    residuals = outcome - c @ basis.Q.T + level * (constant - basis.Q @ level_c)
    h = np.einsum("ij,ij->i", basis.Q, basis.Q)
    scale, inverses = residuals, np.eye(p)[None]
    if groups is not None:
        W = _group_weights(basis, residuals, np.ones_like(Y), groups)
    if W is not None:
        lower = batched.cholesky(batched.unpacked(basis.grams(W), p))
        moved = batched.solve(lower, (W * residuals) @ basis.Q)
        residuals = residuals - moved @ basis.Q.T
        c, inverses = c + moved, batched.inverse(lower)
        scale, h = W * residuals, W * basis.leverages(inverses)
    b = basis.coefficients(c + level * level_c)
    if meat.kind == "iid":
        spread = np.einsum("bi,bi->b", scale, residuals) / (n - p)
        variances = spread[:, None] * (batched.packed(inverses) @ batched.quadratic(basis.root))
    else:
        variances = sandwiched(basis, inverses, meat.elements(basis, scale, h))
    with np.errstate(divide="ignore", invalid="ignore"):
        return b / np.sqrt(variances), b
