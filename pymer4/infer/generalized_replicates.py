"""All bootstrap draws and permutations of a generalized linear model."""

from __future__ import annotations

import numpy as np

from pymer4.fit.basis import Basis, Meat
from pymer4.fit.distributions import Array
from pymer4.fit.glm import generalized
from pymer4.fit.many_glm import fitted
from pymer4.fit.sandwich import Kind
from pymer4.infer.replicates import stacked
from pymer4.infer.resample import boot_counts, shuffles
from pymer4.work import Note, blocks, map_chunks


def bootstrap_generalized(
    X: Array,
    y: Array,
    family: str,
    link: str,
    n_boot: int,
    seed: int | None,
    weights: Array | None = None,
    offset: Array | None = None,
    clusters: Array | None = None,
    start: Array | None = None,
    n_jobs: int = 1,
    note: Note | None = None,
) -> Array:
    """Return the coefficients of `n_boot` bootstrap samples of rows, shape (n_boot, p), NaN where there is no fit.

    Args:
        X: see `generalized_batch.generalized_batch` for this and what is not below.
        y: outcome, shape (n,).
        family: error distribution.
        link: its link.
        n_boot: samples.
        seed: for draws that can be repeated.
        weights: shape (n,).
        offset: shape (n,).
        clusters: codes 0, 1, ... of shape (n,): whole clusters are drawn.
        start: coefficients of the data, from which all samples start; None fits them first.
        n_jobs: workers; the numbers do not depend on it.
        note: is told of the draws of each chunk.
    """
    prior = np.ones(len(y)) if weights is None else weights
    start = generalized(X, y, family, link, prior, offset).b if start is None else start
    fixed = (Basis.of(X), y, family, link, prior, offset, clusters, start)
    return map_chunks(_bootstrap_blocks, blocks(seed, n_boot, len(y)), n_jobs, *fixed, note=note)


def _bootstrap_blocks(
    basis: Basis,
    y: Array,
    family: str,
    link: str,
    weights: Array,
    offset: Array | None,
    clusters: Array | None,
    start: Array | None,
    work: Array,
) -> Array:
    def draw(seed: int, k: int) -> Array:
        own = boot_counts(len(y), k, seed, clusters) * weights
        return fitted(basis, y, family, link, own, offset, None, start, Meat.of("iid", None, 0)).b

    return stacked(draw, work)


def permute_generalized(
    X: Array,
    y: Array,
    family: str,
    link: str,
    n_perm: int,
    seed: int | None,
    weights: Array | None = None,
    offset: Array | None = None,
    within: Array | None = None,
    kind: Kind = "iid",
    clusters: Array | None = None,
    n_lags: int = 1,
    n_jobs: int = 1,
    note: Note | None = None,
) -> Array:
    """Return b / se of `n_perm` shuffles of the outcome, shape (n_perm, p), NaN where there is no fit.

    An outcome takes its prior weight (a proportion its trials) and its offset (a count its exposure) along.

    Args:
        X: see `generalized_batch.generalized_batch` for this and what is not below.
        y: outcome, shape (n,).
        family: error distribution.
        link: its link.
        n_perm: permutations.
        seed: for draws that can be repeated.
        weights: shape (n,).
        offset: shape (n,).
        within: codes of shape (n,): rows change places in their group only.
        kind: which standard errors.
        clusters: for `cluster`.
        n_lags: for `hac`.
        n_jobs: workers; the numbers do not depend on it.
        note: is told of the draws of each chunk.
    """
    fixed = (Basis.of(X), y, family, link, weights, offset, within, Meat.of(kind, clusters, n_lags))
    return map_chunks(_shuffled_blocks, blocks(seed, n_perm, len(y)), n_jobs, *fixed, note=note)


def _shuffled_blocks(
    basis: Basis,
    y: Array,
    family: str,
    link: str,
    weights: Array | None,
    offset: Array | None,
    within: Array | None,
    meat: Meat,
    work: Array,
) -> Array:
    def draw(seed: int, k: int) -> Array:
        orders = shuffles(len(y), k, seed, within)
        own, moved = (None if v is None else v[orders] for v in (weights, offset))
        found = fitted(basis, y[orders], family, link, own, moved, None, None, meat)
        return found.b / found.se

    return stacked(draw, work)
