"""Linear models fitted to many resamples at once.

The design is brought to an orthonormal basis Q once. The cross-products of all
replicates of a block are then one matrix product, and their systems are solved
side by side. In the basis they are as well conditioned as the resample lets them
be; those that are not are solved again, one by one, by `least_squares`.

A block holds a fixed number of replicates with a seed of its own (`work.blocks`)
and is worked off whole, so numbers depend on the seed alone, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np

from pymer4.errors import DataError
from pymer4.fit import batched
from pymer4.fit.basis import Basis, Meat, sandwiched, sums_by
from pymer4.fit.linear import factor, inverse_triangle, solve_corrected
from pymer4.fit.sandwich import Kind
from pymer4.infer.resample import boot_counts, shuffles
from pymer4.work import Note, blocks, map_chunks

Array: TypeAlias = np.ndarray

_ROWS = 4  # blocks hold so many times the numbers of `work.BLOCK`, for fewer calls


# ------------------------------------------------------------------ bootstrap


def bootstrap_coefficients(
    X: Array,
    y: Array,
    counts: Array,
    weights: Array | None = None,
    groups: Array | None = None,
    offset: Array | None = None,
) -> Array:
    """Return the coefficients of bootstrap samples, shape (B, p).

    Args:
        X: design, shape (n, p), its columns independent.
        y: outcome, shape (n,).
        counts: how often each row was drawn, shape (B, n), as from `resample.boot_counts`.
        weights: of the rows, shape (n,); they go with them.
        groups: codes 0, 1, ... of shape (n,) for weighted least squares with one variance a group, which is estimated
            anew in each sample; in the place of `weights`.
        offset: shape (n,).

    Returns:
        Coefficients; NaN where a sample leaves a column aliased (or a group without a variance).
    """
    basis = Basis.of(X, weights)
    return _bootstrap(basis, y if offset is None else y - offset, counts, groups)


def _bootstrap(basis: Basis, y: Array, counts: Array, groups: Array | None) -> Array:
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
    lower, pivots = batched.cholesky(batched.unpacked(elements, basis.Q.shape[1]))
    return batched.solve(lower, (W * left) @ basis.Q), basis.doubtful(elements, pivots)


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
    lower, _ = batched.cholesky(batched.unpacked(basis.grams(counts), basis.Q.shape[1]))
    share = basis.leverages(batched.inverse(lower))
    squares, left = (sums_by(groups, counts * values) for values in (residuals**2, 1 - share))
    rounding = 1e-24 * np.square(residuals).max() * sums_by(groups, counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverses = np.where((left > 1e-8) & (squares > rounding), left / squares, np.nan)
    return np.where(counts > 0, np.take(inverses, groups, axis=1), 1.0)


# ------------------------------------------------------------------ permutation


def permuted_statistics(
    X: Array,
    Y: Array,
    kind: Kind = "iid",
    clusters: Array | None = None,
    n_lags: int = 1,
    weights: Array | None = None,
    groups: Array | None = None,
) -> tuple[Array, Array]:
    """Return t statistics and coefficients of one design and many outcomes, each shape (B, p).

    Args:
        X: design, shape (n, p), its columns independent.
        Y: outcomes less the offset, shape (B, n).
        kind: which standard errors, as in `sandwich.covariance`.
        clusters: codes of shape (n,), for `cluster`.
        n_lags: for `hac`.
        weights: of the rows of X, shape (n,), or of the outcomes, shape (B, n).
        groups: codes 0, 1, ... of shape (n,): one variance a group, estimated anew for each outcome.
    """
    own = weights if weights is not None and weights.ndim == 2 else None
    basis = Basis.of(X, weights if own is None else None)
    return _statistics(basis, Y, Meat.of(kind, clusters, n_lags), groups, own)


def _statistics(
    basis: Basis, Y: Array, meat: Meat, groups: Array | None = None, W: Array | None = None
) -> tuple[Array, Array]:
    """Return t and b, each shape (B, p), of outcomes (B, n) with weights of their own, or one variance a group."""
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
        lower, _ = batched.cholesky(batched.unpacked(basis.grams(W), p))
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


# ------------------------------------------------------------------ all draws of a model


def bootstrap_linear(
    X: Array,
    y: Array,
    n_boot: int,
    seed: int | None,
    weights: Array | None = None,
    groups: Array | None = None,
    clusters: Array | None = None,
    offset: Array | None = None,
    n_jobs: int = 1,
    note: Note | None = None,
) -> Array:
    """Return the coefficients of `n_boot` bootstrap samples of rows, shape (n_boot, p).

    Args:
        X: see `bootstrap_coefficients` for this and what is not below.
        y: outcome.
        n_boot: samples.
        seed: for draws that can be repeated.
        weights: of the rows.
        groups: one variance a group.
        clusters: codes 0, 1, ... of shape (n,): whole clusters are drawn.
        offset: of the rows.
        n_jobs: workers; the numbers do not depend on it.
        note: is told of the draws of each chunk.
    """
    basis = Basis.of(X, weights)
    free = y if offset is None else y - offset
    work = blocks(seed, n_boot, len(y) // _ROWS)
    return map_chunks(_bootstrap_blocks, work, n_jobs, basis, free, groups, clusters, note=note)


def _bootstrap_blocks(basis: Basis, y: Array, groups: Array | None, clusters: Array | None, work: Array) -> Array:
    return stacked(lambda seed, k: _bootstrap(basis, y, boot_counts(len(y), k, seed, clusters), groups), work)


def permute_linear(
    X: Array,
    y: Array,
    n_perm: int,
    seed: int | None,
    kind: Kind = "iid",
    clusters: Array | None = None,
    n_lags: int = 1,
    weights: Array | None = None,
    groups: Array | None = None,
    offset: Array | None = None,
    within: Array | None = None,
    scheme: str = "raw",
    n_jobs: int = 1,
    note: Note | None = None,
) -> Array:
    """Return t statistics of `n_perm` permutations, shape (n_perm, p).

    The raw scheme shuffles the outcome (less the offset) over the rows, with its weight, which is the inverse of its
    variance; that is a test of all coefficients at once. Freedman and Lane's tests each for itself: the residuals of
    the model without a column are shuffled, its fitted values added, and the column's t is taken from the full model
    (1983, J. Bus. Econ. Stat. 1, 292-298). With weights, residuals are shuffled at unit variance and put back on the
    row's own scale.

    Args:
        X: see `permuted_statistics` for this and what is not below.
        y: outcome, shape (n,).
        n_perm: permutations.
        seed: for draws that can be repeated.
        kind: which standard errors.
        clusters: for `cluster`.
        n_lags: for `hac`.
        weights: of the rows.
        groups: one variance a group.
        offset: shape (n,).
        within: codes of shape (n,): rows change places in their group only.
        scheme: `"raw"` or `"freedman-lane"`.
        n_jobs: workers; the numbers do not depend on it.
        note: is told of the draws of each chunk.
    """
    meat = Meat.of(kind, clusters, n_lags)
    free = y if offset is None else y - offset
    work = blocks(seed, n_perm, len(y) // _ROWS)
    if scheme == "raw":
        return map_chunks(_shuffled_blocks, work, n_jobs, Basis.of(X), free, meat, groups, weights, within, note=note)
    basis = Basis.of(X, weights)
    parts = reduced_fits(basis, free)
    return map_chunks(_freedman_lane_blocks, work, n_jobs, basis, parts, meat, groups, within, note=note)


def reduced_fits(basis: Basis, y: Array) -> list[tuple[Array, Array]]:
    """Return fitted values and residuals, each (n,) and times sqrt(w), of the models without each column in turn."""
    shrunk = basis.shrunk(y)
    c = basis.Q.T @ shrunk
    left = shrunk - basis.Q @ c
    # In the basis, column j beside all others is the direction of row j of the root.
    directions = basis.root / np.linalg.norm(basis.root, axis=1, keepdims=True)
    own = (directions @ c)[:, None] * (directions @ basis.Q.T)
    return [(shrunk - left - part, left + part) for part in own]


def _shuffled_blocks(
    basis: Basis,
    y: Array,
    meat: Meat,
    groups: Array | None,
    weights: Array | None,
    within: Array | None,
    work: Array,
) -> Array:
    def draw(seed: int, k: int) -> Array:
        orders = shuffles(len(y), k, seed, within)
        return _statistics(basis, y[orders], meat, groups, None if weights is None else weights[orders])[0]

    return stacked(draw, work)


def _freedman_lane_blocks(
    basis: Basis, parts: list[Any], meat: Meat, groups: Array | None, within: Array | None, work: Array
) -> Array:
    def draw(seed: int, k: int) -> Array:
        orders = shuffles(len(basis.Q), k, seed, within)
        found = np.empty((k, len(parts)))
        for j, (fitted, residuals) in enumerate(parts):
            Y = fitted + residuals[orders]
            Y = Y if basis.shrink is None else Y / basis.shrink
            found[:, j] = _statistics(basis, Y, meat, groups)[0][:, j]
        return found

    return stacked(draw, work)


def stacked(draw: Callable[[int, int], Any], work: Iterable[Array]) -> Array:
    """Return what `draw(seed, replicates)` gives for each block, one row a replicate."""
    found = [draw(int(seed), int(k)) for seed, k in work]
    if not found:
        raise DataError("There is nothing to draw: the number of replicates is 0.")
    return np.concatenate(found)
