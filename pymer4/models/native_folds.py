"""What an `Lm` and an `Lm2` supply to cross-validation: their rows, and predictions by fits without some of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pymer4.data.design import Design
from pymer4.data.group_levels import Level, nest, upward
from pymer4.data.sample import Sample
from pymer4.errors import DataError, OptionError
from pymer4.fit import overdispersion
from pymer4.fit.cluster_rows import nests
from pymer4.fit.distributions import link_function
from pymer4.fit.grouped import GroupedFit
from pymer4.fit.linear import ALIAS_TOLERANCE, GLM_TOLERANCE, independent_columns
from pymer4.infer.cv import HeldOut, Predicted
from pymer4.infer.options import InferOptions
from pymer4.infer.refits import Regression, designs, predictors
from pymer4.models.lm2_groups import Lm2Groups
from pymer4.models.lm_state import LmState
from pymer4.models.native import NativeModel
from pymer4.work import Advance


def _terms(design: Design, names: tuple[str, ...]) -> dict[str, str]:
    """Return the term that each coefficient belongs to, but for the intercept."""
    info = design.matrices.info
    of_columns = [(term.name(), info.column_names[part]) for term, part in info.term_slices.items() if term.factors]
    return {name: term for term, columns in of_columns for name in columns if name in names}


def _design(model: NativeModel, term: str | None, used: np.ndarray) -> Design:
    return model._design if term is None else model._design.without(term, used)


class LmFolds(LmState):
    """Rows or groups of rows are held out; variances by a column of weights are those of the rows trained on."""

    def _held_out(self) -> HeldOut:
        found = self._sample()
        facts = self._design.matrices.info.factor_infos.items()
        factors = {f.to.column for f, known in facts if f.to is not None and known.type == "categorical"}
        return HeldOut(
            y=found.y,
            weights=found.weights,
            law=(self.family, self.link),
            terms=_terms(self._design, found.names),
            groupings={},
            X=found.X,
            names=found.names,
            levels={name: self._frame[name][found.used] for name in self._design.predictors if name in factors},
            used=found.used,
        )

    def _refit(self, term: str | None, fold: np.ndarray, options: InferOptions, advance: Advance) -> Predicted:
        found = self._sample()
        weights = found.weights if found.groups is None else None
        regression = Regression(found.y, (self.family, self.link), weights, found.offset, found.groups)
        design = _design(self, term, found.used)
        eta, theta = predictors(
            regression, design, found.used, fold, options.n_jobs, lambda part: advance(len(part), 0)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            return Predicted(link_function(self.link).inverse(eta), theta if self.family == "nbinom" else None)


class Lm2Folds(Lm2Groups):
    """Groups are held out, and predicted by the mean of the others, of the nearest level that has one."""

    _regressions: Callable[[Sample, Level], GroupedFit]

    def _nested(self, found: Sample) -> list[Level]:
        return nest([self._frame[name][found.used].reset_index(drop=True) for name in self._levels])

    def _held_out(self) -> HeldOut:
        found = self._sample()
        return HeldOut(
            y=found.y,
            weights=found.weights,
            law=(self.family, self.link),
            terms=_terms(self._design, found.names),
            groupings={name: each.codes for name, each in zip(self._levels, self._nested(found), strict=True)},
            X=None,
            names=(),
            levels={},
            used=found.used,
        )

    def _refit(self, term: str | None, fold: np.ndarray, options: InferOptions, advance: Advance) -> Predicted:
        found = self._sample()
        levels = self._nested(found)
        inner, k = levels[-1], int(fold.max()) + 1
        of_groups = np.zeros(len(inner), dtype=np.int64)
        of_groups[inner.codes] = fold
        if options.holdout_group is False or not nests(fold, inner.codes):
            raise OptionError(
                f"An Lm2 is a regression in each group of {self._levels[-1]!r}, so that whole groups are held out: "
                f"holdout_group is None for those of {self._levels[0]!r}, or a column that does not split them."
            )
        mu, theta = np.empty(len(fold)), np.empty(k)
        for X, folds in designs(_design(self, term, found.used), found.used, fold):
            X = X[:, independent_columns(X, tol=ALIAS_TOLERANCE if self._linear else GLM_TOLERANCE)]
            fit = self._regressions(replace(found, X=X), inner)
            b = np.where(fit.separated[:, None], np.nan, fit.b)
            for j in folds:
                eta = np.einsum("ij,ij->i", X, _of_others(np.where(of_groups[:, None] == j, np.nan, b), levels, j))
                means = link_function(self.link).inverse(eta)
                mu[fold == j] = means[fold == j]
                advance(1, 0)
                if self.family == "nbinom":
                    weights = np.ones(len(fold)) if found.weights is None else found.weights
                    counts = overdispersion.Outcomes(found.y[fold != j], weights[fold != j])
                    theta[j] = overdispersion.estimate(counts, means[fold != j])[0]
        return Predicted(mu, theta if self.family == "nbinom" else None)


def _of_others(b: np.ndarray, levels: list[Level], fold: int) -> np.ndarray:
    """Return the coefficients that predict each row, shape (n, p), of those of the groups trained on, (groups, p)."""
    means = upward(b, levels)
    there = ~np.isnan(means[0]).any(axis=1)
    if not there.any():
        raise DataError(f"Without fold {fold + 1} no group is left that has a regression. Give a larger k.")
    found = np.broadcast_to(means[0][there].mean(axis=0), (len(levels[0].codes), b.shape[1]))
    for values, level in zip(means[:-1], levels[:-1], strict=True):
        own = values[level.codes]
        found = np.where(np.isnan(own), found, own)
    return found
