"""Refits of a linear mixed model to the rows of all folds but one, and what they predict for its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from pymer4.fit import mixed
from pymer4.fit.cluster_rows import tells_variances
from pymer4.fit.mixed_blocks import blocks
from pymer4.fit.mixed_terms import Bar, Unsuited
from pymer4.infer.mixed_replicates import MixedModel
from pymer4.work import Note, each_chunk

Array: TypeAlias = np.ndarray

_WORTH = 2**22  # rows in all refits, from which on workers gain more than their start costs


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """A model of all rows and its folds.

    Attributes:
        model: its outcome has the offset off.
        known: the offset, shape (n,), or 0.
        fold: of each row, 0 to k − 1, shape (n,).
    """

    model: MixedModel
    known: Array | float
    fold: Array

    def predictions(self, n_jobs: int, note: Note) -> tuple[Array, list[str]]:
        """Return predictions of all rows, (n,), and what the fits said.

        Args:
            n_jobs: workers, which are asked where that pays.
            note: is told of each part, its predictions by fold.

        Raises:
            Unsuited: rows trained on that the engine has no fit for.
        """
        k, n = int(self.fold.max()) + 1, len(self.fold)
        parts = each_chunk(_predicted, np.arange(k), n_jobs if k * n > _WORTH else 1, self, note=note)
        mu = np.empty(n)
        mu[np.argsort(self.fold, kind="stable")] = np.concatenate([each for part in parts for each in part["mu"]])
        return mu + self.known, [text for part in parts for text in part["said"]]


def _predicted(folded: Folded, held: Array) -> dict[str, Any]:
    found = [_fold(folded.model, folded.fold == j) for j in held]
    return {"mu": [mu for mu, _ in found], "said": [text for _, text in found if text], "done": len(held)}


def _fold(model: MixedModel, test: Array) -> tuple[Array, str]:
    """Return predictions of the rows of a fold, for groups not trained on those of the population, and what is said."""
    train, seen, trained = ~test, dict[int, tuple[Array, Array]](), []
    for bar in model.bars:
        if id(bar.codes) not in seen:
            present, codes = np.unique(bar.codes[train], return_inverse=True)
            place = np.full(bar.levels, -1)
            place[present] = np.arange(len(present))
            seen[id(bar.codes)] = codes.ravel(), place
        codes, place = seen[id(bar.codes)]
        levels = int(place.max()) + 1
        if not tells_variances(levels, bar.Z.shape[1], len(codes)):
            raise Unsuited("A fold leaves one group, or as many effects as rows")
        trained.append(Bar(bar.Z[train], codes, levels))
    weights = None if model.weights is None else model.weights[train]
    fit = mixed.fit(blocks(model.X[train], trained, weights, model.blocks.reml), model.y[train], model.theta)
    mu = model.X[test] @ fit.b[0]
    for bar, u in zip(model.bars, fit.modes(), strict=True):
        at = seen[id(bar.codes)][1][bar.codes[test]]
        mu += np.where(at >= 0, (bar.Z[test] * u[0][at]).sum(axis=1), 0.0)
    return mu, "" if fit.converged[0] else "the optimum was not reached"
