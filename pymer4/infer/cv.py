"""Cross-validation: rows, or whole groups, are held out in folds and predicted by fits to the others.

Everything is learned from the rows trained on: coefficients, variances, and the means and knots of a formula. How much
a term adds is the out-of-sample R² of the model less that of the model without it, the proportional reduction of error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.data.group_levels import coarsest
from pymer4.data.intake import codes_of_rows, first_rows
from pymer4.data.sample import compact
from pymer4.errors import DataError, OptionError, few
from pymer4.fit.distributions import distribution
from pymer4.fit.linear import GLM_TOLERANCE, orthonormal
from pymer4.infer.options import InferOptions
from pymer4.infer.resample import folds, group_folds
from pymer4.work import Advance, progress

_ROUNDING = 1e-12  # of the squared length of a unit vector of up to about 1e3 rounded terms
_FLAT = 1e-12  # of the largest outcome: a spread that is rounding
_LARGE = 1e12  # a theta from which on counts are Poisson's to the last digit


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """What a model is measured by, row by row of those that it uses.

    Attributes:
        y: outcome, shape (n,); of a binomial model 0 and 1, or the share of successes; NaN for a row without trials.
        weights: inverse variances, or prior weights times trials, shape (n,); or None.
        law: family and link.
        terms: coefficient to the term that it belongs to.
        groupings: codes of the groups of the model, shape (n,), by what they are called.
        X: design of full column rank, shape (n, p); None where rows trained on need not tell all coefficients.
        names: names of its columns.
        levels: predictors whose levels have to be among the rows trained on, likewise.
        used: which rows of the data these are, shape (rows,).
    """

    y: np.ndarray
    weights: np.ndarray | None
    law: tuple[str, str]
    terms: Mapping[str, str]
    groupings: Mapping[str, np.ndarray]
    X: np.ndarray | None
    names: Sequence[str]
    levels: Mapping[str, pd.Series]
    used: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """Predictions of rows by fits without them.

    Attributes:
        mu: on the scale of the outcome, shape (n,).
        theta: sizes of the negative binomial fits, shape (k,), else None.
        told: what the fits said.
        attrs: what the tables say of them.
    """

    mu: np.ndarray
    theta: np.ndarray | None = None
    told: Sequence[str] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)


class Refitting(Protocol):
    """What a model supplies."""

    _frame: pd.DataFrame

    def _held_out(self) -> HeldOut:
        """Return what is held out."""

    def _refit(self, term: str | None, fold: np.ndarray, options: InferOptions, advance: Advance) -> Predicted:
        """Return predictions of each row by the model, less a term, fitted to the rows of the other folds, (n,)."""


@dataclass(frozen=True, slots=True, eq=False)
class CrossValidated:
    """What cross-validation found: measures a fold, the fold of each row of the data (from 1), PRE a coefficient."""

    measures: pd.DataFrame
    folds: pd.Series
    terms: pd.DataFrame | None
    told: Sequence[str]


def cross_validated(model: Refitting, coefs: Mapping[str, float], options: InferOptions) -> CrossValidated:
    """Return how well a model predicts rows held out, and what each term adds to that where coefs are asked for.

    Raises:
        DataError: rows held out of which the others tell nothing, or that allow no fit.
        OptionError: a column that is not there, crossed groupings of which none is named, too many folds.
    """
    found = model._held_out()
    unit, codes = _units(found, model._frame, options.holdout_group)
    fold = _folds(len(found.y), codes, options)
    _require_levels(found, fold)
    _require_rank(found, fold)
    asked = [None, *dict.fromkeys(found.terms.values())] if options.on == "coefs" else [None]
    with progress("refits", len(asked) * (int(fold.max()) + 1), options.verbose) as advance:
        predicted = [model._refit(term, fold, options, advance) for term in asked]
    scores = [_Scores(found, fold, each) for each in predicted]
    attrs = {"how": "cv", "k": options.k, "holdout_group": unit or False, **predicted[0].attrs}
    measures = tables.cv_measures(scores[0].measures())
    measures.attrs |= attrs
    of_rows = np.zeros(len(found.used), dtype=np.int64)
    of_rows[found.used] = fold + 1
    table = None
    if options.on == "coefs":
        added = {term: scores[0].more_than(less) for term, less in zip(asked[1:], scores[1:], strict=True)}
        shares = np.array([added.get(found.terms.get(name), (np.nan, np.nan)) for name in coefs]).reshape(-1, 2)
        table = tables.cv_terms(np.array(list(coefs.values())), coefs, *shares.T)
        table.attrs |= attrs | {"measure": "variance explained" if scores[0].is_linear else "deviance explained"}
    told = list(dict.fromkeys(text for each in predicted for text in each.told))
    if np.isnan(scores[0].total[-1]):
        told.append("The outcome is one value in all rows: nothing is left to explain, and R2 and PRE are missing")
    lost = np.flatnonzero(found.used)[np.any([np.isnan(each.mu) for each in predicted], axis=0)]
    if len(lost):
        told.append(f"No prediction for row(s) {first_rows(lost)}, so that what their folds are measured by is missing")
    return CrossValidated(measures, pd.Series(of_rows, model._frame.index), table, told)


# ------------------------------------------------------------------ folds


def _units(found: HeldOut, data: pd.DataFrame, name: Any) -> tuple[str | None, np.ndarray | None]:
    """Return what is held out whole, and the codes of its groups, shape (n,); None for rows."""
    if name is False or (name is None and not found.groupings):
        return None, None
    if name is None:
        name = coarsest(found.groupings)
        if name is None:
            raise OptionError(
                f"The groupings {few(list(found.groupings))} are crossed, and holding out one leaves the others. Name "
                f"one, such as holdout_group={next(iter(found.groupings))!r}, or fold rows with holdout_group=False."
            )
    known = found.groupings.get(name)
    codes = codes_of_rows("holdout_group", name, data, found.used) if known is None else compact(known)[0]
    if not codes.any():
        raise OptionError(
            f"{name!r} has a single group in the rows used, and held out it leaves no row to train on. Name a column "
            "with several, or fold rows with holdout_group=False."
        )
    return name, codes


def _folds(n: int, codes: np.ndarray | None, options: InferOptions) -> np.ndarray:
    """Return the fold of each row from 0, shape (n,)."""
    if options.k == "loo":
        return np.arange(n) if codes is None else codes
    return folds(n, options.k, options.seed) if codes is None else group_folds(codes, options.k, options.seed)


def _require_levels(found: HeldOut, fold: np.ndarray) -> None:
    """Refuse folds that hold out all rows of a level of a predictor."""
    k = int(fold.max()) + 1
    for name, column in found.levels.items():
        codes, levels = pd.factorize(column)
        counts = np.bincount(codes * k + fold, minlength=len(levels) * k).reshape(-1, k)
        lost = np.argwhere(counts == counts.sum(axis=1, keepdims=True))
        if len(lost):
            level, j = lost[0]
            raise DataError(
                f"Fold {j + 1} holds out all rows with {name} = {levels[level]!r}, so that the rows trained on tell "
                "nothing of them. Merge that level with another or drop its rows; where it is in several rows or "
                "groups, another seed or a larger k may part them."
            )


def _require_rank(found: HeldOut, fold: np.ndarray) -> None:
    """Refuse folds without which a coefficient can't be told: these hold a direction of the design by themselves.

    With Q'Q = I a unit vector v has all its length in the rows held out, |Q_j v| = 1, just where Q v is 0 in the rest.
    """
    if found.X is None:
        return
    Q, T = orthonormal(found.X, tol=GLM_TOLERANCE)
    shares = np.bincount(fold, (Q**2).sum(axis=1))
    order = np.argsort(fold, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(fold))[:-1])
    for j in np.flatnonzero(shares > 1 - _ROUNDING):
        lengths, directions = np.linalg.eigh(Q[parts[j]].T @ Q[parts[j]])
        lost = directions[:, lengths > 1 - _ROUNDING]
        if lost.size:
            size = np.linalg.norm(T @ lost, axis=1) / np.linalg.norm(T, axis=1)
            names = [name for name, share in zip(found.names, size, strict=True) if share > np.sqrt(_ROUNDING)]
            raise DataError(
                f"Fold {j + 1} holds out all rows that tell of {few(names)}, so that these can't be estimated without "
                "it. Take another seed, or a larger k, or a simpler formula."
            )


# ------------------------------------------------------------------ measures


class _Scores:
    """Sums over the rows of each fold, and last over all rows, of what measures are made of, each (k + 1,).

    R² compares with the mean of the outcomes trained on, the deviance explained with the weighted mean. Neither is
    there where outcomes do not differ from that mean.
    """

    def __init__(self, found: HeldOut, fold: np.ndarray, predicted: Predicted):
        there = ~np.isnan(found.y)
        self.y, self.mu, self.fold = found.y[there], predicted.mu[there], fold[there]
        self.k = int(fold.max()) + 1
        self.family, self.is_linear = found.law[0], found.law == ("gaussian", "identity")
        w = np.ones(len(self.y)) if found.weights is None else found.weights[there]
        self.n = self.sums(np.ones(len(self.y)))
        self.by_rows = bool((self.n[:-1] == 1).all())
        self.squares, self.total = self.sums((self.y - self.mu) ** 2), self.sums((self.y - self.trained(None)) ** 2)
        theta = np.nan if predicted.theta is None else np.minimum(predicted.theta, _LARGE)[self.fold]
        with np.errstate(divide="ignore", invalid="ignore"):
            deviance = distribution(self.family, theta).deviance
            self.deviance = self.sums(w * deviance(self.y, self.mu))
            self.null = self.sums(w * deviance(self.y, self.trained(w)))
        flat = self.total <= self.n * (_FLAT * np.abs(self.y).max(initial=0.0)) ** 2
        self.total[flat] = self.null[flat] = np.nan

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return the sums over each fold, and over all."""
        return np.append(np.bincount(self.fold, values, minlength=self.k), values.sum())

    def trained(self, weights: np.ndarray | None) -> np.ndarray:
        """Return the mean of the outcomes that each row's fold was not among, shape (n,)."""
        w = np.ones(len(self.y)) if weights is None else weights
        middle = np.average(self.y, weights=w)
        held, total = self.sums(w * (self.y - middle)), self.sums(w)
        return middle - (held[:-1] / (total[-1] - total[:-1]))[self.fold]

    def measures(self) -> dict[str, np.ndarray]:
        """Return what a table shows of each fold and of all rows; a fold of one row has no R², deviance or accuracy."""
        right = np.full(self.k + 1, np.nan)
        if self.family == "binomial" and np.isin(self.y, (0, 1)).all():
            right = self.sums(np.where(np.isnan(self.mu), np.nan, (self.mu > 0.5) == (self.y == 1))) / self.n
        with np.errstate(divide="ignore", invalid="ignore"):
            found = {"r2": 1 - self.squares / self.total, "deviance": self.deviance.copy(), "accuracy": right}
            for values in found.values() if self.by_rows else ():
                values[:-1] = np.nan
            errors = {"rmse": np.sqrt(self.squares / self.n), "mae": self.sums(np.abs(self.y - self.mu)) / self.n}
        return {"n": self.n} | errors | found

    def more_than(self, less: _Scores) -> tuple[float, float]:
        """Return PRE against the model with a term less, mean and sd over folds; of single rows the pooled one."""
        with np.errstate(divide="ignore", invalid="ignore"):
            added = self._explained() - less._explained()
        return (added[-1], np.nan) if self.by_rows else (added[:-1].mean(), added[:-1].std(ddof=1))

    def _explained(self) -> np.ndarray:
        return 1 - (self.squares / self.total if self.is_linear else self.deviance / self.null)
