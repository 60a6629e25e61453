"""Clusters of like size side by side, and coordinates in which the rows of a mixed model are independent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from pymer4.errors import DataError

Array: TypeAlias = np.ndarray

_NUMBERS = 2**22  # that a batch of clusters may take


def tells_variances(levels: int, effects: int, n: int) -> bool:
    """Return whether n rows tell the variances of some effects of so many groups, as lme4's checks have it."""
    return 1 < levels <= levels * effects < n


@dataclass(frozen=True, slots=True, eq=False)
class RandomPart:
    """The nonzero elements of ZΛ, shape (n, q), one of each place: with weights W the outcome varies as W⁻¹ + ZΛΛ'Z'.

    Attributes:
        rows: shape (m,), 0 to n − 1.
        columns: shape (m,), 0 to q − 1.
        values: shape (m,).
    """

    rows: Array
    columns: Array
    values: Array


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows whose errors are independent under the working model.

    Attributes:
        X: design, shape (n, p).
        e: residuals, shape (n,).
        theta: working variances up to a factor, shape (n,).
        codes: clusters, 0 to G − 1, shape (n,).
    """

    X: Array
    e: Array
    theta: Array
    codes: Array


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """What belongs to each of G clusters.

    Attributes:
        order: members, those of a cluster after those of the one before, shape (n,).
        places: of each member in its cluster, 0 to its size − 1, shape (n,).
        starts: of the clusters in `order`, shape (G,).
        sizes: shape (G,).
    """

    order: Array
    places: Array
    starts: Array
    sizes: Array

    @classmethod
    def of(cls, codes: Array, n_clusters: int) -> Members:
        """Return them from codes 0 to G − 1, shape (n,)."""
        order, sizes = np.argsort(codes, kind="stable"), np.bincount(codes, minlength=n_clusters)
        starts = np.cumsum(sizes) - sizes
        places = np.empty(len(codes), dtype=np.intp)
        places[order] = np.arange(len(codes)) - np.repeat(starts, sizes)
        return cls(order, places, starts, sizes)

    def padded(self, clusters: Array) -> tuple[Array, Array]:
        """Return the members of B clusters, a row each, and which are there, both of shape (B, most members)."""
        at = np.arange(self.sizes[clusters].max(initial=0))
        there = at < self.sizes[clusters][:, None]
        return self.order[np.where(there, self.starts[clusters][:, None] + at, 0)], there


def batches(rows: Array, columns: Array | int, more: Array | int = 0) -> Iterator[Array]:
    """Yield clusters that fill arrays together: numbers of rows and of columns at most double within a batch.

    A cluster takes its rows times its columns and what is `more`, each of shape (G,).
    """
    kinds = np.stack([np.ceil(np.log2(np.maximum(size, 1))) for size in np.broadcast_arrays(rows, columns)], axis=1)
    cost = rows * (columns + more)
    for kind in np.unique(kinds, axis=0):
        clusters = np.flatnonzero((kinds == kind).all(axis=1))
        step = max(1, _NUMBERS // max(1, int(cost[clusters].max())))
        yield from (clusters[start : start + step] for start in range(0, len(clusters), step))


def nests(outer: Array, inner: Array) -> bool:
    """Return whether each group of `inner` lies within one of `outer`; codes from 0 on, each of shape (n,)."""
    owner = np.empty(int(inner.max()) + 1, dtype=outer.dtype)
    owner[inner] = outer
    return bool((owner[inner] == outer).all())


def independent_rows(rows: Rows, n_clusters: int, random: RandomPart, thin: bool) -> Rows:
    """Return a mixed model in coordinates in which its fitted marginal covariance is diagonal.

    Rows of a cluster are turned by the eigenvectors of W⁻¹ + U U', U its part of ZΛ. Without weights only the space of
    U and X matters, in which there are no more rows than columns of both; all else has neither estimate nor score.

    Args:
        rows: the model without its random effects: theta are the inverse prior weights.
        n_clusters: G.
        random: ZΛ.
        thin: whether theta is 1 throughout.

    Raises:
        DataError: a random effect that rows of two clusters share.
    """
    X, codes = rows.X, rows.codes
    owner = np.full(int(random.columns.max(initial=-1)) + 1, n_clusters)
    owner[random.columns] = codes[random.rows]
    if (owner[random.columns] != codes[random.rows]).any():
        raise DataError(
            "Rows of different clusters share a random effect, so that clusters are not independent. "
            "Cluster by a group in which all groups of the model are nested, or use how='boot'."
        )
    members, columns = Members.of(codes, n_clusters), Members.of(owner, n_clusters + 1)
    entries = Members.of(codes[random.rows], n_clusters)
    p, parts = X.shape[1], []
    for clusters in batches(members.sizes, columns.sizes[:-1] + p, 0 if thin else members.sizes):
        (at, there), (entry, filled) = members.padded(clusters), entries.padded(clusters)
        U = np.zeros((*at.shape, columns.sizes[clusters].max(initial=0)))
        row, column = members.places[random.rows[entry]], columns.places[random.columns[entry]]
        cluster = np.broadcast_to(np.arange(len(clusters))[:, None], entry.shape)
        U[cluster[filled], row[filled], column[filled]] = random.values[entry[filled]]
        own = np.concatenate([X[at], rows.e[at][..., None]], axis=2) * there[..., None]
        own, theta = _turned_thin(U, own) if thin else _turned(U, own, np.where(there, rows.theta[at], 1.0))
        parts.append(Rows(own[..., :p], own[..., p], theta, np.repeat(clusters, theta.shape[1]).reshape(theta.shape)))
    return Rows(
        np.concatenate([part.X.reshape(-1, p) for part in parts]),
        *(np.concatenate([getattr(part, name).ravel() for part in parts]) for name in ("e", "theta", "codes")),
    )


def _turned(U: Array, own: Array, theta: Array) -> tuple[Array, Array]:
    """Return columns, shape (B, m, p + 1), in the eigenvectors of Θ + U U', and the eigenvalues, shape (B, m)."""
    S = U @ U.swapaxes(1, 2)
    np.einsum("bii->bi", S)[:] += theta
    values, turn = np.linalg.eigh(S)
    return turn.swapaxes(1, 2) @ own, values


def _turned_thin(U: Array, own: Array) -> tuple[Array, Array]:
    """Return the same with Θ = I, of the space of U and all columns but the last."""
    space = np.linalg.qr(np.concatenate([U, own[..., :-1]], axis=2))[0].swapaxes(1, 2)
    turn, scale, _ = np.linalg.svd(space @ U)
    values = np.ones(turn.shape[:2])
    values[:, : scale.shape[1]] += scale**2
    return turn.swapaxes(1, 2) @ (space @ own), values
