"""Regressions fitted again to the rows of all folds but one, and what they predict for the rows held out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from pymer4.data.design import Design
from pymer4.errors import DataError
from pymer4.fit import many_glm
from pymer4.fit.basis import Basis
from pymer4.fit.distributions import Array
from pymer4.fit.glm import generalized
from pymer4.fit.influence import jackknife
from pymer4.fit.linear import ALIAS_TOLERANCE, GLM_TOLERANCE, independent_columns, least_squares
from pymer4.infer import replicates
from pymer4.work import BLOCK, Note, map_chunks

Vector: TypeAlias = Array | None

_TOLD = 0.999  # leverage of a row, below which 1 − h keeps its digits


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """What regressions of one law are fitted to.

    Attributes:
        y: outcome, shape (n,).
        law: family and link.
        weights: inverse variances, or prior weights, shape (n,); or None.
        offset: shape (n,), or None.
        groups: codes of the groups that have a variance each, which is estimated in each fit, shape (n,); or None.
    """

    y: Array
    law: tuple[str, str]
    weights: Vector
    offset: Vector
    groups: Vector

    @property
    def is_linear(self) -> bool:
        """Whether it is least squares."""
        return self.law == ("gaussian", "identity")

    def without(self, X: Array, fold: Array, folds: Array, n_jobs: int, note: Note) -> Array:
        """Return the coefficients, and last theta, of the fits without each of some folds, shape (k, p + 1).

        Args:
            X: design, shape (n, p), its columns independent.
            fold: of each row, shape (n,).
            folds: those that are left out in turn, which follow each other, shape (k,).
            n_jobs: workers.
            note: is told of each chunk.
        """
        if self.is_linear and self.groups is None and len(folds) == len(fold):
            fit = least_squares(X, self.y, self.weights, self.offset)
            if fit.leverages(X).max() < _TOLD:
                b = jackknife(fit, X)[np.argsort(fold)]
                note(b)
                return np.column_stack([b, np.ones(len(b))])
        starts = np.arange(folds[0], folds[-1] + 1, max(1, BLOCK // len(fold)))
        work = np.column_stack([starts, np.diff([*starts, folds[-1] + 1])])
        if self.is_linear:
            refit = partial(self._linear, Basis.of(X, self.weights), fold)
        else:
            prior = np.ones(len(X)) if self.weights is None else self.weights
            start = generalized(X, self.y, *self.law, prior, self.offset).b
            refit = partial(self._generalized, Basis.of(X, tol=GLM_TOLERANCE), fold, prior, start)
        return map_chunks(replicates.stacked, work, n_jobs, refit, note=note)

    def _linear(self, basis: Basis, fold: Array, first: int, k: int) -> Array:
        free = self.y if self.offset is None else self.y - self.offset
        b = replicates.coefficients(basis, free, _counts(fold, first, k), self.groups)
        return np.column_stack([b, np.ones(k)])

    def _generalized(self, basis: Basis, fold: Array, prior: Array, start: Array, first: int, k: int) -> Array:
        counts = _counts(fold, first, k) * prior
        found = many_glm.fitted(basis, self.y, *self.law, counts, self.offset, start=start)
        return np.column_stack([found.b, np.ones(k) if found.theta is None else found.theta])


def _counts(fold: Array, first: int, k: int) -> Array:
    """Return which rows are trained on without each of k folds, shape (k, n)."""
    return (fold != np.arange(first, first + k)[:, None]).astype(float)


def designs(design: Design, used: Array, fold: Array) -> Iterator[tuple[Array, Array]]:
    """Yield designs of the rows used, shape (n, p), and the folds that each is for.

    What a formula learns from data, such as means and knots, it learns from the rows trained on. Where it learns
    nothing, one design is for all folds. `used` are rows of the data, shape (rows,), and `fold` is theirs, (n,).
    """
    every = np.arange(int(fold.max()) + 1)
    if not design.is_learned:
        matrices = design.matrices
        yield matrices.X[used[matrices.used]], every
        return
    for j in every:
        held_out = np.zeros(len(used), dtype=bool)
        held_out[used] = fold == j
        yield design.learned_without(held_out, used), every[[j]]


def predictors(
    regression: Regression, design: Design, used: Array, fold: Array, n_jobs: int, note: Note
) -> tuple[Array, Array]:
    """Return x b + offset of each row by the fit without its fold, shape (n,), and the theta of each fit, shape (k,).

    Raises:
        DataError: the rows of all folds but one allow no fit.
    """
    eta, theta = np.empty(len(fold)), np.empty(int(fold.max()) + 1)
    for X, folds in designs(design, used, fold):
        rows = np.isin(fold, folds)
        training = np.ones(len(fold), dtype=bool) if len(folds) > 1 else ~rows
        X = X[:, independent_columns(X[training], tol=ALIAS_TOLERANCE if regression.is_linear else GLM_TOLERANCE)]
        found = regression.without(X, fold, folds, n_jobs if len(folds) > 1 else 1, note)
        lost = folds[np.isnan(found).any(axis=1)]
        if len(lost):
            raise DataError(
                f"No fit to the rows trained on without those of fold {lost[0] + 1}: a predictor rests on too few of "
                "them, or means leave the range of the family. Take another seed or k, or a simpler formula."
            )
        theta[folds] = found[:, -1]
        eta[rows] = np.einsum("ij,ij->i", X[rows], found[fold[rows] - folds[0], :-1])
    return (eta if regression.offset is None else eta + regression.offset), theta
