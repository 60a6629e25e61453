"""The second stage of a two-stage regression: the coefficients of groups, each tested against zero.

A coefficient is a mean over groups, a regression on an intercept alone, so its standard errors are those of
`sandwich.covariance` for that design (Holmes & Friston 1998, NeuroImage 7, S754, for the summary-statistics approach).
Groups without a coefficient are left out of its mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from pymer4.data.sample import compact
from pymer4.fit import sandwich
from pymer4.fit.basis import Basis, sums_by
from pymer4.fit.batched import unpacked
from pymer4.fit.linear import least_squares
from pymer4.infer.replicates import ROWS, stacked, t_statistics
from pymer4.infer.resample import boot_counts, flips
from pymer4.work import Note, blocks, map_chunks

PermOn = Literal["tstat", "coef", "t-stat"]
"""What sign flips are compared on; `t-stat` is how releases of the 0.7 line spell the first."""


@dataclass(frozen=True, slots=True, eq=False)
class SecondLevel:
    """The coefficients of the groups, and how their means are tested.

    Attributes:
        values: shape (groups, p), NaN where a group has none.
        kind: covariance, as in `sandwich.covariance`.
        clusters: codes of the clusters of groups, shape (groups,), or None.
        n_lags: for `"hac"`, in the order of the groups.
    """

    values: np.ndarray
    kind: sandwich.Kind
    clusters: np.ndarray | None
    n_lags: int

    def units(self) -> int:
        """Return how many groups, or clusters of groups, there are."""
        return len(self.values) if self.clusters is None else int(self.clusters.max()) + 1

    def patterns(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
        """Return for each set of groups, of two at least, the coefficients that these alone have, values and clusters.

        Which of the p coefficients, shape (k,), their values, shape (groups, k), and codes, shape (groups,), or None.
        """
        sets, own = np.unique(~np.isnan(self.values), axis=1, return_inverse=True)
        found = []
        for j in np.flatnonzero(sets.sum(axis=0) > 1):
            there, columns = sets[:, j], np.flatnonzero(own.ravel() == j)
            clusters = None if self.clusters is None else compact(self.clusters[there])[0]
            found.append((columns, self.values[np.ix_(there, columns)], clusters))
        return found


def tested(stage: SecondLevel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return means, standard errors and df, each shape (p,); NaN where fewer than two groups have a coefficient.

    Raises:
        DataError: no more clusters than one.
    """
    there = ~np.isnan(stage.values)
    with np.errstate(invalid="ignore"):
        means = np.where(there, stage.values, 0.0).sum(axis=0) / there.sum(axis=0)
    se, df = np.full((2, len(means)), np.nan)
    for columns, values, clusters in stage.patterns():
        basis = Basis.of(np.ones((len(values), 1)))
        means[columns] += (values - means[columns]).mean(axis=0)
        e = (values - means[columns]).T
        if stage.kind == "iid":
            variances = np.square(e).mean(axis=1) / (len(values) - 1)
        else:
            meat = sandwich.Meat.of(stage.kind, clusters, stage.n_lags)
            elements = meat.elements(basis, e, np.full((1, len(values)), 1 / len(values)))
            variances = sandwich.sandwiched(basis, np.eye(1)[None], elements)[:, 0]
        se[columns] = np.sqrt(variances)
        df[columns] = sandwich.df_of(stage.kind, least_squares(basis.X, values[:, 0]), clusters)
    return means, se, df


def covariance_of_means(stage: SecondLevel, se: np.ndarray) -> np.ndarray:
    """Return the covariance of the means, shape (p, p), whose diagonal is that of their standard errors, shape (p,).

    The scores of a group are its deviations from the means, over the number of groups; what stands between their
    products and a covariance is one factor for each kind, that of the diagonal. Where some groups lack a coefficient
    the covariance of a pair is of those that have both.
    """
    there = ~np.isnan(stage.values)
    n = np.maximum(there.sum(axis=0), 1)
    means = np.where(there, stage.values, 0.0).sum(axis=0) / n
    scores = np.where(there, stage.values - means, 0.0) / n
    p, kind = scores.shape[1], stage.kind if stage.kind in ("hac", "cluster") else "hc0"
    basis, ones = Basis(scores, scores, np.eye(p), None, None), np.ones((1, len(scores)))
    raw = unpacked(sandwich.Meat.of(kind, stage.clusters, stage.n_lags).elements(basis, ones, ones), p)[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(np.diag(raw) > 0, se / np.sqrt(np.diag(raw)), np.where(np.isnan(se), np.nan, 0.0))
    return raw * np.outer(scale, scale)


def bootstrap_means(
    stage: SecondLevel, n_boot: int, seed: int, n_jobs: int = 1, note: Note | None = None
) -> np.ndarray:
    """Return the means of groups drawn with replacement, or of whole clusters of them, shape (n_boot, p)."""
    means = np.full((n_boot, stage.values.shape[1]), np.nan)
    for columns, values, clusters in stage.patterns():
        work = blocks(seed, n_boot, len(values) // ROWS)
        means[:, columns] = map_chunks(stacked, work, n_jobs, partial(_drawn, values, clusters), note=note)
    return means


def _drawn(values: np.ndarray, clusters: np.ndarray | None, seed: int, k: int) -> np.ndarray:
    counts, means = boot_counts(len(values), k, seed, clusters), values.mean(axis=0)
    return means + counts @ (values - means) / counts.sum(axis=1, keepdims=True)


def without_each(stage: SecondLevel) -> np.ndarray:
    """Return the means without each group in turn, or each cluster of groups, shape (m, p)."""
    codes = np.arange(len(stage.values)) if stage.clusters is None else stage.clusters
    there = ~np.isnan(stage.values)
    counts, sums = (sums_by(codes, values.T.astype(float)).T for values in (there, np.where(there, stage.values, 0.0)))
    left = counts.sum(axis=0) - counts
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(left > 0, (sums.sum(axis=0) - sums) / left, np.nan)


def flipped_statistics(
    stage: SecondLevel, on: PermOn, n_perm: int, seed: int, n_jobs: int = 1, note: Note | None = None
) -> np.ndarray:
    """Return statistics under random signs of the groups, or of whole clusters of them, shape (n_perm, p).

    They are t with the errors of `stage.kind`, or means where `on` is `"coef"`.
    """
    null = np.full((n_perm, stage.values.shape[1]), np.nan)
    for columns, values, clusters in stage.patterns():
        meat = None if on == "coef" else sandwich.Meat.of(stage.kind, clusters, stage.n_lags)
        draw = partial(_flipped, values, clusters, meat)
        null[:, columns] = map_chunks(stacked, blocks(seed, n_perm, len(values)), n_jobs, draw, note=note)
    return null


def _flipped(
    values: np.ndarray, clusters: np.ndarray | None, meat: sandwich.Meat | None, seed: int, k: int
) -> np.ndarray:
    units = np.arange(len(values)) if clusters is None else clusters
    signs = flips(int(units.max()) + 1, k, seed)[:, units]
    if meat is None:
        return np.stack([(column * signs).mean(axis=1) for column in values.T], axis=1)
    basis = Basis.of(np.ones((len(values), 1)))
    return np.concatenate([t_statistics(basis, column * signs, meat)[0] for column in values.T], axis=1)
