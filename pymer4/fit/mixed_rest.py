"""The grouping factors after the first: a dense Schur complement for each connected component of their levels.

Once the first factor's blocks are eliminated, the cross-products of the others are A22 − Σ A_2i M_i A_i2, with M_i the
inverted block of level i. That is linear in the entries of M, so one sparse map made once updates it, and its transpose
carries derivatives back. Levels that no row joins, directly or through levels of the first factor, never meet: what is
nested stays in small blocks. Blocks of about one size are stacked, filled up with columns of zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeAlias

import numpy as np
from scipy.sparse import coo_array, csc_array, csr_array
from scipy.sparse.csgraph import connected_components

from pymer4.fit.mixed_terms import Factor, Unsuited

Array: TypeAlias = np.ndarray

LARGEST = 4000  # columns of one dense block
_MAPPED = 2 * 10**7  # entries of the sparse map; above, blocks are multiplied out at each step
_BLAS = 8  # multiplications by BLAS in the time of one of the sparse map
_DENSE = 2 * 10**8  # entries of the first factor's products with the others, where they are multiplied out


@dataclass(frozen=True, slots=True)
class Stack:
    """Components of one size: c blocks of s columns.

    Attributes:
        count, size: c and s.
        slots, flat: their part of the columns, and of the entries of all blocks laid end to end.
        bands: for d = 0, 1, ... the index into theta of Lambda's entry d below the diagonal in each column, (c, s); the
            number of thetas where there is none.
    """

    count: int
    size: int
    slots: slice
    flat: slice
    bands: tuple[Array, ...]


@dataclass(frozen=True, slots=True)
class Rest:
    """Cross-products of the factors after the first.

    Attributes:
        stacks: where the columns stand: Q slots in all, E entries of blocks.
        slots: for each factor, its slots by level and column, (q, K).
        factors: the factors.
        A22: entries of the blocks, shape (E,).
        A12: products with the first factor, shape (q K, Q).
        AX: products with X, shape (Q, p).
        map: what M does to the blocks.
        joined: level of the first factor, slot, and products (K,) of each column that meets a level.
        starts: for each slot where its row begins among the entries of blocks, and its place in a row.
    """

    stacks: tuple[Stack, ...]
    slots: tuple[Array, ...]
    factors: tuple[Factor, ...]
    A22: Array
    A12: csr_array
    AX: Array
    map: SparseMap | Multiplied
    joined: tuple[Array, Array, Array]
    starts: tuple[Array, Array]

    @classmethod
    def of(cls, first: Factor, factors: Sequence[Factor], distinct: Array, n_distinct: int, X: Array) -> Rest:
        """Return the products of the other factors with themselves, with the first, and with X."""
        pairs = [_Pairs.of(first.codes, factor.codes, factor.levels) for factor in factors]
        crossed = {
            (f, g): _Pairs.of(factors[f].codes, factors[g].codes, factors[g].levels)
            for f, g in combinations(range(len(factors)), 2)
        }
        stacks, slots, n_slots = _layout(factors, _components(first.levels, factors, pairs, crossed))
        starts = _starts(stacks, n_slots)
        A22 = np.zeros(stacks[-1].flat.stop)
        for f, factor in enumerate(factors):
            levels = np.arange(factor.levels)
            products = _products(factor.Z, factor.Z, factor.codes, factor.levels)
            _put(A22, starts, slots[f][levels], slots[f][levels], products)
        for (f, g), pair in crossed.items():
            products = _products(factors[f].Z, factors[g].Z, pair.inverse, len(pair.left))
            rows, columns = slots[f][pair.left], slots[g][pair.right]
            _put(A22, starts, rows, columns, products)
            _put(A22, starts, columns, rows, products.transpose(0, 2, 1))
        levels, columns, values = _joined(first, factors, pairs, slots)
        K = first.Z.shape[1]
        rows = levels[:, None] * K + np.arange(K)
        A12 = csr_array(
            coo_array((values.ravel(), (rows.ravel(), np.repeat(columns, K))), shape=(first.levels * K, n_slots))
        )
        AX = np.zeros((n_slots, X.shape[1]))
        for factor, places in zip(factors, slots, strict=True):
            AX[places.ravel()] = factor.sparse().T @ X
        met = np.bincount(levels, minlength=first.levels).astype(float)
        many = (met**2).sum() * K**2
        mapped = min(many, len(A22) * n_distinct * K**2)
        dense = first.size * n_slots**2 if len(stacks) == stacks[0].count == 1 else np.inf
        linear: SparseMap | Multiplied
        if many <= _MAPPED and mapped <= dense / _BLAS:
            linear = SparseMap.of(levels, columns, values, distinct, n_distinct, starts, len(A22))
        else:
            linear = Multiplied.of(A12, K, distinct, n_distinct, stacks)
        return cls(stacks, slots, tuple(factors), A22, A12, AX, linear, (levels, columns, values), starts)

    def by_level(self) -> SparseMap | Multiplied:
        """Return the map with each level of the first factor by itself."""
        q = self.A12.shape[0] // self.joined[2].shape[1]
        if isinstance(self.map, Multiplied):
            return replace(self.map, distinct=np.arange(q), n_distinct=q)
        return SparseMap.of(*self.joined, np.arange(q), q, self.starts, len(self.A22))


@dataclass(frozen=True, slots=True)
class SparseMap:
    """Σ A_2i M_i A_i2 as a sparse matrix, shape (E, U K K), times the entries of M; those of several levels add up."""

    matrix: csc_array
    n_distinct: int

    @classmethod
    def of(
        cls,
        levels: Array,
        columns: Array,
        values: Array,
        distinct: Array,
        n_distinct: int,
        starts: tuple[Array, Array],
        size: int,
    ) -> SparseMap:
        """Return it, from each column that meets a level (`_joined`), and where its entries stand."""
        order = np.lexsort((levels, distinct[levels]))
        levels, columns, values = levels[order], columns[order], values[order]
        each = np.bincount(levels)[levels]  # partners of an entry
        new = np.flatnonzero(np.r_[True, levels[1:] != levels[:-1]])
        begins = np.repeat(new, np.diff(np.append(new, len(levels))))
        left = np.repeat(np.arange(len(levels)), each)
        right = np.arange(len(left)) + np.repeat(begins - np.cumsum(each) + each, each)
        K = values.shape[1]
        base, place = starts
        entry = base[columns[left]] + place[columns[right]]
        data = [values[left, a] * values[right, b] for a in range(K) for b in range(K)]
        filled = np.bincount(distinct[levels], each, n_distinct).astype(np.int64)
        ends = np.cumsum(np.tile(filled, K * K))
        parts = np.concatenate(data), np.tile(entry, K * K), np.append(0, ends)
        matrix = csc_array(parts, shape=(size, K * K * n_distinct))
        return cls(matrix, n_distinct)

    def __call__(self, M: Array) -> Array:
        """Return the entries, shape (R, E), for M of shape (K, K, R, U)."""
        return (self.matrix @ M.transpose(0, 1, 3, 2).reshape(-1, M.shape[2])).T

    def back(self, entries: Array) -> Array:
        """Return Σ over levels of each distinct block of A_i2 N A_2i, (K, K, R, U), for entries of N, (R, E)."""
        K = int(np.sqrt(self.matrix.shape[1] / self.n_distinct) + 0.5)
        return (self.matrix.T @ entries.T).reshape(K, K, self.n_distinct, len(entries)).transpose(0, 1, 3, 2)


@dataclass(frozen=True, slots=True)
class Multiplied:
    """The same where most levels meet: one block, multiplied out."""

    A12: Array  # (q, K, Q)
    distinct: Array
    n_distinct: int

    @classmethod
    def of(cls, A12: csr_array, K: int, distinct: Array, n_distinct: int, stacks: Sequence[Stack]) -> Multiplied:
        """Return it.

        Raises:
            Unsuited: more than fits.
        """
        if len(stacks) > 1 or stacks[0].count > 1 or np.prod(A12.shape) > _DENSE:
            raise Unsuited(f"{A12.shape[0]:,} random effects of one factor meet {A12.shape[1]:,} of others")
        return cls(A12.toarray().reshape(-1, K, A12.shape[1]), distinct, n_distinct)

    def __call__(self, M: Array) -> Array:
        """Return the entries, shape (R, E), for M of shape (K, K, R, U)."""
        q, K, Q = self.A12.shape
        flat = self.A12.reshape(q * K, Q)
        each = M.transpose(2, 3, 0, 1)[:, self.distinct]
        return np.stack([(flat.T @ np.matmul(one, self.A12).reshape(q * K, Q)).ravel() for one in each])

    def back(self, entries: Array) -> Array:
        """Return A_i2 N A_2i summed over levels of each distinct block, (K, K, R, U), for entries of N, (R, E)."""
        q, K, Q = self.A12.shape
        found = np.zeros((K, K, len(entries), self.n_distinct))
        for r, N in enumerate(entries.reshape(-1, Q, Q)):
            product = (self.A12.reshape(q * K, Q) @ N).reshape(q, K, Q)
            blocks = np.matmul(product, self.A12.transpose(0, 2, 1))
            for a in range(K):
                for b in range(K):
                    found[a, b, r] = np.bincount(self.distinct, blocks[:, a, b], self.n_distinct)
        return found


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The levels of two factors that occur together: left and right (P,), and the pair of each row (n,)."""

    left: Array
    right: Array
    inverse: Array

    @classmethod
    def of(cls, left: Array, right: Array, n_right: int) -> _Pairs:
        keys, inverse = np.unique(left.astype(np.int64) * n_right + right, return_inverse=True)
        return cls(keys // n_right, keys % n_right, inverse)


def _components(
    n_first: int, factors: Sequence[Factor], pairs: Sequence[_Pairs], crossed: dict[tuple[int, int], _Pairs]
) -> list[Array]:
    """Return the component of each level of each factor."""
    starts = n_first + np.cumsum([0, *(factor.levels for factor in factors)])
    joined = [(pair.left, starts[f] + pair.right) for f, pair in enumerate(pairs)]
    joined += [(starts[f] + pair.left, starts[g] + pair.right) for (f, g), pair in crossed.items()]
    left, right = (np.concatenate(side) for side in zip(*joined, strict=True))
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(starts[-1], starts[-1]))
    labels = connected_components(graph, directed=False)[1]
    return [labels[starts[f] : starts[f + 1]] for f in range(len(factors))]


def _layout(factors: Sequence[Factor], components: Sequence[Array]) -> tuple[tuple[Stack, ...], tuple[Array, ...], int]:
    """Return stacks of components, the slots of each factor's columns, and how many slots there are."""
    widths = [factor.Z.shape[1] for factor in factors]
    used, names = np.unique(np.concatenate(components), return_inverse=True)
    owner = np.concatenate([np.full(factor.levels, f) for f, factor in enumerate(factors)])
    width = np.array(widths)[owner]
    total = np.bincount(names, width).astype(int)
    if total.max() > LARGEST:
        raise Unsuited(
            f"{total.max():,} random effects of the factors after the largest hang together, over {LARGEST:,}"
        )
    order = np.argsort(names, kind="stable")
    ends = np.cumsum(width[order])
    begin = np.empty(len(names), dtype=int)
    begin[order] = ends - width[order] - np.repeat(np.r_[0, np.cumsum(total)[:-1]], np.bincount(names))
    padded = _ladder(total)
    where = np.empty(len(used), dtype=int)
    stacks, slot, flat = [], 0, 0
    for size in np.unique(padded):
        members = np.flatnonzero(padded == size)
        where[members] = slot + size * np.arange(len(members))
        stop, end = slot + size * len(members), flat + size**2 * len(members)
        stacks.append((len(members), int(size), slice(slot, stop), slice(flat, end)))
        slot, flat = stop, end
    at = where[names] + begin
    edges = np.cumsum([0, *(factor.levels for factor in factors)])
    slots = tuple(at[edges[f] : edges[f + 1], None] + np.arange(k) for f, k in enumerate(widths))
    bands = np.full((max(widths), slot), -1)
    for factor, places in zip(factors, slots, strict=True):
        K = places.shape[1]
        for d in range(K):
            bands[d, places[:, : K - d]] = np.diagonal(factor.places, -d)
    made = tuple(
        Stack(c, s, part, entries, tuple(band[part].reshape(c, s) for band in bands)) for c, s, part, entries in stacks
    )
    return made, slots, slot


def _ladder(sizes: Array) -> Array:
    """Return sizes rounded up to a few."""
    if len(np.unique(sizes)) <= 12:
        return sizes
    steps = np.unique(np.ceil(1.2 ** np.arange(1, 60)).astype(int))
    return np.minimum(steps[np.searchsorted(steps, sizes)], max(sizes))


def _starts(stacks: Sequence[Stack], n_slots: int) -> tuple[Array, Array]:
    """Return for each slot where its row begins among the entries of blocks, and its place in a row."""
    base, place = np.empty(n_slots, dtype=np.int64), np.empty(n_slots, dtype=np.int64)
    for stack in stacks:
        rows = np.arange(stack.count * stack.size)
        base[stack.slots] = stack.flat.start + rows * stack.size
        place[stack.slots] = rows % stack.size
    return base, place


def _put(entries: Array, starts: tuple[Array, Array], rows: Array, columns: Array, values: Array) -> None:
    """Write blocks of shape (P, K, K') at slots (P, K) and (P, K')."""
    base, place = starts
    entries[base[rows][:, :, None] + place[columns][:, None, :]] = values


def _products(left: Array, right: Array, codes: Array, n_codes: int) -> Array:
    """Return sums over rows of each code of left'right, shape (n_codes, K, K')."""
    out = np.empty((n_codes, left.shape[1], right.shape[1]))
    for a in range(left.shape[1]):
        for b in range(right.shape[1]):
            out[:, a, b] = np.bincount(codes, left[:, a] * right[:, b], n_codes)
    return out


def _joined(
    first: Factor, factors: Sequence[Factor], pairs: Sequence[_Pairs], slots: Sequence[Array]
) -> tuple[Array, Array, Array]:
    """Return level of the first factor, slot, and the K products with it, of each column that meets a level."""
    levels, columns, values = [], [], []
    for factor, pair, places in zip(factors, pairs, slots, strict=True):
        k = factor.Z.shape[1]
        products = _products(first.Z, factor.Z, pair.inverse, len(pair.left))  # (P, K, k)
        levels.append(np.repeat(pair.left, k))
        columns.append(places[pair.right].ravel())
        values.append(products.transpose(0, 2, 1).reshape(-1, products.shape[1]))
    return np.concatenate(levels), np.concatenate(columns), np.concatenate(values)
