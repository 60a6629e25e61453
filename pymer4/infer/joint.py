"""Joint tests of model terms by contrasts of marginal means, as R's emmeans makes them.

A term is tested by the differences of consecutive levels of its variables, crossed, of means over all others; in a
nested factor these are taken at each level of what it is nested in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from pymer4.infer.estimable import Estimable, independent_rows, noise_of
from pymer4.infer.reference import Grid, Rows, means, numbered, variables_of

CONFOUNDED = "(confounded)"
"""What no term alone accounts for."""

_SINGULAR = 1e14
_Group = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class JointTest:
    """A test of one term.

    Attributes:
        term: its name.
        group: values of the variables that tests are made by.
        df1: number of hypotheses, above 0.
        df2: denominator df.
        f: F statistic.
        reduced: whether a part of the term can't be estimated.
    """

    term: str
    group: _Group
    df1: int
    df2: float
    f: float
    reduced: bool = False


def joint_tests(
    grid: Grid,
    by: Sequence[str],
    estimable: Estimable,
    b: np.ndarray,
    V: np.ndarray,
    df: Callable[[np.ndarray, np.ndarray], float],
) -> list[JointTest]:
    """Return the tests of all terms at each level of `by`, at the end those of what no term accounts for.

    Args:
        grid: with covariates at two values at least.
        by: variables.
        estimable: what the coefficients can tell.
        b: coefficients, shape (p,).
        V: their covariance.
        df: from hypotheses, shape (q, p), and their covariance to denominator df.
    """
    noise = noise_of(grid.X[..., :-1])

    def test(term: str, group: _Group, basis: np.ndarray, reduced: bool = False) -> JointTest:
        L = basis[:, estimable.kept]
        middle = L @ V @ L.T
        scale = np.sqrt(np.diag(middle))
        unit, z = middle / np.outer(scale, scale), L @ b / scale
        known = np.isfinite(unit).all() and np.linalg.cond(unit) < _SINGULAR
        f = float(z @ np.linalg.solve(unit, z)) / len(L) if known else np.nan
        return JointTest(term, group, len(L), df(L, middle), f, reduced)

    found: list[JointTest] = []
    bases: dict[_Group, list[np.ndarray]] = {}
    names = [name for name in grid.levels if name not in by]
    for term in _terms(grid, names):
        rows = means(grid, term, by)
        for group, places in _groups(rows, by):
            L = _differences(grid, term, rows, places)
            there = L[~np.isnan(L).any(axis=1) & (np.abs(L) > noise).any(axis=1)]
            free = estimable.subspace(there)
            basis = independent_rows(free, noise)
            if len(basis):
                found.append(test(":".join(term), group, basis, len(free) < len(L)))
                bases.setdefault(group, []).append(basis)
    rows = means(grid, names, by)
    for group, places in _groups(rows, by):
        L = np.diff(rows.X[places, :-1], axis=0)
        basis = independent_rows(estimable.subspace(L[~np.isnan(L).any(axis=1)]), noise)
        told = independent_rows(np.concatenate([basis[:0], *bases.get(group, [])]), noise)
        if len(basis) > len(told):
            whole, part = test(CONFOUNDED, group, basis), test(CONFOUNDED, group, told) if len(told) else None
            df1 = len(basis) - len(told)
            f = (whole.df1 * whole.f - (part.df1 * part.f if part else 0.0)) / df1
            found.append(JointTest(CONFOUNDED, group, df1, whole.df2, f))
    return found


def _terms(grid: Grid, names: list[str]) -> list[tuple[str, ...]]:
    """Return the combinations of variables that a term or a nest has, without a nested one where its nest is not."""
    whole = [variables_of(term) for term in grid.terms]
    whole += [{name, *nesters} for name, nesters in grid.nesting.items()]
    own = [[name for name in names if name in each] for each in whole]
    subsets = {some for each in own for k in range(len(each)) for some in combinations(each, k + 1)}
    complete = [some for some in subsets if all({*grid.nesting.get(name, ())} <= {*some} for name in some)]
    return sorted(complete, key=lambda some: (len(some), [names.index(name) for name in some]))


def _groups(rows: Rows, by: Sequence[str]) -> Iterator[tuple[_Group, np.ndarray]]:
    """Yield the values of `by` and the rows of each group."""
    values = [pd.factorize(np.asarray(rows.labels[name])) for name in by]
    codes = numbered(np.array([code for code, _ in values]).reshape(len(by), len(rows.X)))
    for number in range(codes.max() + 1):
        places = np.flatnonzero(codes == number)
        yield tuple(known[code[places[0]]] for code, known in values), places


def _differences(grid: Grid, term: Sequence[str], rows: Rows, places: np.ndarray) -> np.ndarray:
    """Return the differences that a term is tested by among some means, shape (q, p)."""
    nesters = {n for name in term for n in grid.nesting.get(name, ())}
    varying, p = [name for name in term if name not in nesters], rows.X.shape[1] - 1
    codes = {name: pd.factorize(np.asarray(values)[places])[0] for name, values in rows.labels.items()}
    inner = numbered(np.array([codes[name] for name in codes if name not in varying]).reshape(-1, len(places)))
    found = []
    for number in range(inner.max() + 1):
        here = inner == number
        levels = [np.unique(codes[name][here], return_inverse=True) for name in varying]
        table = np.full((*(len(known) for known, _ in levels), p), np.nan)
        table[tuple(place.ravel() for _, place in levels)] = rows.X[places[here], :-1]
        for axis in range(len(levels)):
            table = np.diff(table, axis=axis)
        found.append(table.reshape(-1, p))
    return np.concatenate(found)
