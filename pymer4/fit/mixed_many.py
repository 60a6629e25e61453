"""One linear mixed model for many outcomes: which of them share rows and weights, and the fits of each such case.

Outcomes of one case share its cross-products (`mixed_blocks`), and are fitted side by side in chunks whose size hangs
on the design alone, so that the numbers do not depend on who works off which chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np

from pymer4.fit.cluster_rows import tells_variances
from pymer4.fit.linear import independent_columns
from pymer4.fit.mixed import MixedFit
from pymer4.fit.mixed_blocks import Blocks, blocks
from pymer4.fit.mixed_optimum import optimum
from pymer4.fit.mixed_outcomes import outcomes
from pymer4.fit.mixed_start import shared_start
from pymer4.fit.mixed_terms import Bar, Unsuited

Array: TypeAlias = np.ndarray

ALL_MISSING, INFINITE, TOO_FEW, CONSTANT, LOST, LACKS_TERMS, NOT_CONVERGED, SINGULAR = 2 ** np.arange(8)
"""What is to be said of a fit: bits of a flag."""

UNFITTED = ALL_MISSING | INFINITE | TOO_FEW | CONSTANT | LOST
"""The flags of an outcome without a fit."""

_NUMBERS = 2**21  # that a chunk takes, about
_SIDE_BY_SIDE = 4  # outcomes from which on a lattice of shared starts pays
_INVOLVED = 1e-8  # share of a column that counts as a part of it


@dataclass(frozen=True, slots=True)
class Design:
    """What all outcomes share.

    Attributes:
        X: shape (n, p).
        bars: in lme4's order; those of one factor share one array of codes.
        reml: the criterion.
    """

    X: Array
    bars: tuple[Bar, ...]
    reml: bool

    @property
    def n_variances(self) -> int:
        """Return how many variances there are, the residual one included."""
        return sum(bar.Z.shape[1] for bar in self.bars) + 1


@dataclass(frozen=True, slots=True)
class Cases:
    """Which of R outcomes share rows and weights.

    Attributes:
        missing: of each of C cases, shape (C, n).
        weights: likewise, or shape (1, n) for all cases, or None.
        of: the case of each outcome, shape (R,).
        flags: of outcomes that are not to be fitted, 0 for others, shape (R,).
        order: the outcomes that are, by case.
    """

    missing: Array
    weights: Array | None
    of: Array
    flags: Array
    order: Array

    def weights_of(self, case: int, rows: Array) -> Array | None:
        """Return the weights of a case at some rows."""
        return None if self.weights is None else self.weights[case if len(self.weights) > 1 else 0, rows]

    def items(self, most: int) -> Array:
        """Return a case, and where in `order` at most so many of its outcomes begin and end, shape (items, 3)."""
        counts = np.bincount(self.of[self.order], minlength=len(self.missing))
        ends = np.cumsum(counts)
        spans = [
            (c, start, min(start + most, end))
            for c, (count, end) in enumerate(zip(counts, ends, strict=True))
            for start in range(end - count, end, most)
        ]
        return np.array(spans, dtype=np.int64).reshape(-1, 3)


@dataclass(frozen=True, slots=True)
class Fits:
    """Fits of R outcomes, NaN where there is none.

    Attributes:
        b, se, df: of the coefficients, shape (R, p).
        variances: of the random effects, bar by bar, and of the residual, shape (R, v).
        log_likelihood: restricted, where the fit is, shape (R,).
        flags: shape (R,).
    """

    b: Array
    se: Array
    df: Array
    variances: Array
    log_likelihood: Array
    flags: Array

    @classmethod
    def missing(cls, R: int, p: int, v: int, flags: Array | int = 0) -> Fits:
        """Return R outcomes without a fit."""
        b, se, df, variances, likelihood = (np.full(shape, np.nan) for shape in ((R, p), (R, p), (R, p), (R, v), (R,)))
        return cls(b, se, df, variances, likelihood, np.broadcast_to(np.asarray(flags, dtype=np.int64), (R,)).copy())

    def put(self, where: Array, part: Fits) -> None:
        """Write fits at an index of outcomes."""
        for field in fields(self):
            getattr(self, field.name)[where] = getattr(part, field.name)


def cases(Y: Array, weights: Array | None = None) -> Cases:
    """Return the cases of outcomes Y, shape (n, R), and weights: NaN or above 0, (n,) or (n, R)."""
    R = Y.shape[1]
    own = weights is not None and weights.ndim == 2
    missing = np.isnan(Y)
    if weights is not None:
        missing |= np.isnan(weights if own else weights[:, None])
    keys = [np.packbits(missing, axis=0).T]
    if own and weights is not None:
        keys.append(np.ascontiguousarray(np.where(missing, 0.0, weights).T).view(np.uint8))
    rows = np.ascontiguousarray(np.hstack(keys))
    _, first, of = np.unique(rows.view([("", np.void, rows.shape[1])]).ravel(), return_index=True, return_inverse=True)
    of, first = np.argsort(np.argsort(first))[of.ravel()], np.sort(first)  # cases by their first outcome
    flags = np.zeros(R, dtype=np.int64)
    with np.errstate(invalid="ignore"):
        low, high = (f(axis=0, where=~missing, initial=s * np.inf) for f, s in ((Y.min, 1), (Y.max, -1)))
    flags[low == high] = CONSTANT
    flags[np.isinf(low) | np.isinf(high)] = INFINITE
    flags[missing.all(axis=0)] = ALL_MISSING
    shared = None if weights is None else np.nan_to_num(weights[:, first].T if own else weights[None], nan=1.0)
    order = np.argsort(of, kind="stable")
    return Cases(missing[:, first].T, shared, of, flags, order[flags[order] == 0])


@dataclass(frozen=True, slots=True)
class Case:
    """The design of the outcomes of one case, or `flag`, why there is none.

    Attributes:
        rows: which rows are there, ascending.
        design: of these rows, without columns of X that others add up to.
        kept: which these are, shape (p,).
        told: which coefficients of the whole design it tells, shape (p,).
    """

    rows: Array
    design: Design
    kept: Array
    told: Array
    flag: int = 0

    @property
    def own(self) -> Array:
        """Return the places of the coefficients that it tells in its design."""
        return np.flatnonzero(self.told[self.kept])


Fitter = Callable[[Case, Array | None, Array, bool], Fits]
"""Fits outcomes (rows of the case, R) with weights of these rows; see `fit_case`, which does it here."""


def whole(design: Design) -> Case:
    """Return the case of outcomes that lack no row."""
    everything = np.ones(design.X.shape[1], dtype=bool)
    return Case(np.arange(len(design.X)), design, everything, everything)


def case(design: Design, missing: Array) -> Case:
    """Return the case of outcomes that lack some rows, shape (n,)."""
    p = design.X.shape[1]
    if not missing.any():
        return whole(design)
    rows = np.flatnonzero(~missing)
    codes: dict[int, tuple[Array, int]] = {}
    for bar in design.bars:
        if id(bar.codes) not in codes:
            levels, inverse = np.unique(bar.codes[rows], return_inverse=True)
            codes[id(bar.codes)] = inverse.ravel(), len(levels)
    bars = tuple(Bar(bar.Z[rows], *codes[id(bar.codes)]) for bar in design.bars)
    X = design.X[rows]
    if len(rows) <= p or not all(tells_variances(bar.levels, bar.Z.shape[1], len(rows)) for bar in bars):
        return Case(rows, design, np.zeros(p, dtype=bool), np.zeros(p, dtype=bool), int(TOO_FEW))
    kept = independent_columns(X)
    told = kept.copy()
    if not kept.all():
        parts = np.linalg.lstsq(X[:, kept], X[:, ~kept], rcond=None)[0]
        length = np.linalg.norm(X, axis=0)
        involved = np.abs(parts) * length[kept, None] > _INVOLVED * np.maximum(length[~kept], np.finfo(float).tiny)
        told[kept] = ~involved.any(axis=1)
    return Case(rows, Design(X[:, kept], bars, design.reml), kept, told)


def at_once(design: Design) -> int:
    """Return how many outcomes are fitted side by side.

    Raises:
        Unsuited: the design can't be taken.
    """
    return _side_by_side(blocks(design.X, design.bars))


def _side_by_side(blocks: Blocks) -> int:
    return max(1, _NUMBERS // blocks.numbers)


def fit_case(case: Case, weights: Array | None, Y: Array, with_df: bool) -> Fits:
    """Return the fits of outcomes, shape (rows of the case, R), with weights of these rows.

    Df are infinite unless asked for. Outcomes whose design can't be taken are flagged.
    """
    design, R = case.design, Y.shape[1]
    found = Fits.missing(R, len(case.told), design.n_variances, LACKS_TERMS * (not case.told.all()))
    try:
        products = blocks(design.X, design.bars, weights, design.reml)
    except Unsuited:
        found.flags[:] |= LOST
        return found
    size = _side_by_side(products)
    for start in range(0, R, size):
        _fit_into(found, np.arange(start, min(start + size, R)), case, products, Y, with_df)
    return found


def _fit_into(found: Fits, which: Array, case: Case, blocks: Blocks, Y: Array, with_df: bool) -> None:
    sums = outcomes(blocks, Y[:, which])
    start = shared_start(blocks, sums) if len(which) > _SIDE_BY_SIDE else None
    best = optimum(blocks, sums, start)
    there = np.isfinite(best.deviance)
    found.flags[which[~there]] |= LOST
    if not there.any():
        return
    for one in np.flatnonzero(there & ~best.converged):
        again = optimum(blocks, sums.among(np.array([one])), best.theta[one])
        best.theta[one], best.converged[one] = again.theta[0], again.converged[0]
    fit = MixedFit(blocks, sums.among(np.flatnonzero(there)), best.theta[there], best.converged[there])
    df = fit.coefficient_df() if with_df else np.full(fit.b.shape, np.inf)
    which, own = which[there], case.own
    cells = np.ix_(which, np.flatnonzero(case.told))
    found.b[cells], found.df[cells] = fit.b[:, own], df[:, own]
    found.se[cells] = np.sqrt(np.einsum("rii->ri", fit.vcov)[:, own])
    parts = [np.einsum("rii->ri", covariance) for covariance in fit.covariances]
    found.variances[which] = np.hstack([*parts, fit.sigma[:, None] ** 2])
    found.log_likelihood[which] = -fit.deviance / 2
    found.flags[which] |= NOT_CONVERGED * ~fit.converged | SINGULAR * fit.singular


def fit_some(
    fitter: Fitter, design: Design, Y: Array, known: Cases, with_df: bool, items: Array
) -> list[tuple[Array, Fits]]:
    """Return the outcomes of each of `Cases.items`, and their fits."""
    found: list[tuple[Array, Fits]] = []
    last, of = -1, None
    for which, start, stop in items:
        if of is None or which != last:
            last, of = which, case(design, known.missing[which])
        members = known.order[start:stop]
        if of.flag:
            fits = Fits.missing(len(members), len(of.told), design.n_variances, of.flag)
        else:
            fits = fitter(of, known.weights_of(which, of.rows), Y[np.ix_(of.rows, members)], with_df)
        found.append((members, fits))
    return found
