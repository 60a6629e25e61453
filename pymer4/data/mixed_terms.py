"""Design matrices of R's terms: products of numbers and factors, by the rules of R's `model.matrix`.

R tells which variables are in each term (Chambers & Hastie 1992, Statistical Models in S, ch. 2); here they are
multiplied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, product
from typing import Any

import numpy as np

from pymer4.data.columns import Column

INTERCEPT = "(Intercept)"


@dataclass(frozen=True, slots=True, eq=False)
class Contrasts:
    """Contrasts of a factor other than treatment contrasts: matrix of shape (levels, m), and the names of its columns.

    Without names R numbers them.
    """

    matrix: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """A factor on some rows: codes from 0 to `levels`, shape (n,); `contrasts` None are treatment contrasts."""

    codes: np.ndarray
    levels: tuple[str, ...]
    contrasts: Contrasts | None = None

    @property
    def n(self) -> int:
        """The number of rows."""
        return len(self.codes)

    def columns(self, whole: bool) -> list[np.ndarray]:
        """Return a column a level where `whole`, else a column a contrast, shape (n,) each."""
        if whole or self.contrasts is None:
            return [self.codes == code for code in range(0 if whole else 1, len(self.levels))]
        return [column.take(self.codes) for column in np.ascontiguousarray(self.contrasts.matrix.T)]

    def suffixes(self, whole: bool) -> Sequence[str]:
        """Return what follows the name of the factor in the names of these columns."""
        if whole or self.contrasts is None:
            return self.levels[0 if whole else 1 :]
        return self.contrasts.names


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """Numbers on some rows, shape (n, k), with the names of the columns; R numbers those of several without a name."""

    values: np.ndarray
    names: tuple[str, ...]

    @property
    def n(self) -> int:
        """The number of rows."""
        return len(self.values)

    def columns(self, whole: bool) -> list[np.ndarray]:
        """Return the columns, shape (n,) each."""
        return list(self.values.T)

    def suffixes(self, whole: bool) -> Sequence[str]:
        """Return what follows the name of the variable in the names of these columns."""
        return self.names if len(self.names) > 1 else [""]


Variable = Factor | Numbers


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """One side of a formula as R's `terms()` has it.

    Attributes:
        intercept: whether it has one.
        variables: the places of its variables among those of the model frame, v of them.
        labels: what these are called in the names of columns.
        factors: which variable is in which term, shape (v, terms): 0 not, 1 a factor by its contrasts, 2 by its levels.
    """

    intercept: bool
    variables: tuple[int, ...]
    labels: tuple[str, ...]
    factors: np.ndarray

    @property
    def in_use(self) -> tuple[int, ...]:
        """The places of the variables that stand in a term: not an offset, nor what is taken out again."""
        return tuple(place for place, row in zip(self.variables, self.factors, strict=True) if row.any())

    def codes(self, variables: Mapping[int, Variable]) -> np.ndarray:
        """Return `factors` for these variables: without an intercept the first factor has a column a level."""
        codes = self.factors.copy()
        if not self.intercept and codes.size:
            is_factor = np.array([isinstance(variables.get(place), Factor) for place in self.variables])
            found = np.argwhere((codes > 0).T & is_factor)
            if len(found):
                codes[found[0, 1], found[0, 0]] = 2
        return codes

    def flat(self, variables: Mapping[int, Variable]) -> bool:
        """Whether a factor of a single level is to be compared with others."""
        compared = (self.codes(variables) == 1).any(axis=1)
        known = (variables[place] for place in compress(self.variables, compared))
        return any(isinstance(variable, Factor) and len(variable.levels) < 2 for variable in known)

    def matrix(self, variables: Mapping[int, Variable], n: int) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return the design, shape (n, p), by column, and what R calls its columns.

        Args:
            variables: those in use, by place.
            n: number of rows.
        """
        chosen = [
            [(j, variables[self.variables[j]], codes[j] == 2) for j in np.flatnonzero(codes)]
            for codes in self.codes(variables).T
        ]
        names = [INTERCEPT] * self.intercept + [name for term in chosen for name in self._names(term)]
        X = np.empty((n, len(names)), order="F")
        X[:, : self.intercept] = 1.0
        column = int(self.intercept)
        for term in chosen:
            *before, last = (variable.columns(whole) for _, variable, whole in term)
            made: list[Any] = [1.0]
            for own in before:
                made = [a * b for b, a in product(own, made)]
            for b, a in product(last, made):
                np.multiply(a, b, out=X[:, column])
                column += 1
        return X, tuple(names)

    def _names(self, term: list[tuple[int, Variable, bool]]) -> list[str]:
        """Return what R calls the columns of a term, in which the first variable runs fastest."""
        names: list[str] = []
        for j, variable, whole in term:
            own = [f"{self.labels[j]}{suffix}" for suffix in variable.suffixes(whole)]
            names = [f"{a}:{b}" for b, a in product(own, names)] if names else own
        return names


def variable_of(column: Column, contrasts: Contrasts | None = None) -> Variable:
    """Return a column without gaps as R's `model.matrix` takes it; booleans are a factor."""
    if column.kind == "factor":
        return Factor(column.values - 1, column.levels, contrasts)
    if column.kind == "logical":
        return Factor(column.values, ("FALSE", "TRUE"))
    return Numbers(column.values[:, None].astype(np.float64, copy=False), ("",))
