"""Permutations of many outcomes at once: the largest statistic over outcomes, and what each outcome's own exceeds.

The same shuffles serve all outcomes, so that what these share stays as it is, and the largest of their statistics has
the distribution that a test of all of them needs (Westfall & Young 1993, Resampling-Based Multiple Testing).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymer4.errors import OptionError, few, shown
from pymer4.fit.mixed_many import Case, Cases, Design, Fits, Fitter, case
from pymer4.infer.draws import TIE
from pymer4.infer.resample import shuffles, untestable

_FITS = 2**14  # that a block of permutations takes, about
_LARGEST_BLOCK = 64
_NUMBERS = 2**24  # that the outcomes of a block take

Statistic = Callable[[np.ndarray], Any]
"""From t of one term, in the shape of the outcomes, to a number or several, large where there is something."""


@dataclass(frozen=True, slots=True, eq=False)
class Shuffled:
    """What shuffles of R outcomes are made of and held against.

    Attributes:
        within: cluster of each row, shape (n,).
        seeds: one a shuffle, shape (n_perm,).
        observed: t of the outcomes as they are, NaN where there is none or shuffles can't test it, shape (R, p).
        shape: of the outcomes, (..), whose product is R.
        statistic: what is computed of each map of t, or None.
    """

    within: np.ndarray
    seeds: np.ndarray
    observed: np.ndarray
    shape: tuple[int, ...]
    statistic: Statistic | None

    def blocks(self) -> np.ndarray:
        """Return where blocks of shuffles begin and end, shape (blocks, 2)."""
        R = max(1, len(self.observed))
        size = max(1, min(_LARGEST_BLOCK, _FITS // R, _NUMBERS // (R * len(self.within))))
        starts = np.arange(0, len(self.seeds), size)
        return np.column_stack([starts, np.minimum(starts + size, len(self.seeds))])


@dataclass(frozen=True, slots=True)
class Counts:
    """What k shuffles came to.

    Attributes:
        hits, made: of each outcome and term the shuffles with a t as large, and those with any, shape (R, p).
        maxima: the largest absolute t over outcomes, shape (k, p).
        statistics: shape (k, p, s), s = 0 where none is asked for.
    """

    hits: np.ndarray
    made: np.ndarray
    maxima: np.ndarray
    statistics: np.ndarray

    def __add__(self, other: Counts) -> Counts:
        """Return both, one after the other."""
        parts = (np.concatenate([a, b]) for a, b in ((self.maxima, other.maxima), (self.statistics, other.statistics)))
        return Counts(self.hits + other.hits, self.made + other.made, *parts)

    @property
    def p(self) -> np.ndarray:
        """Return p of each outcome and term by itself, shape (R, p)."""
        return np.where(self.made > 0, (1 + self.hits) / (self.made + 1), np.nan)

    def adjusted_p(self, observed: np.ndarray) -> np.ndarray:
        """Return p of t, shape (R, p), against the largest over all outcomes."""
        found = np.full(observed.shape, np.nan)
        for j, largest in enumerate(self.maxima.T):
            held = np.sort(largest[~np.isnan(largest)])
            if len(held):
                below = np.searchsorted(held, _bound(observed[:, j]))
                found[:, j] = np.where(np.isnan(observed[:, j]), np.nan, (1 + len(held) - below) / (len(held) + 1))
        return found


def _bound(observed: np.ndarray) -> np.ndarray:
    """Return from which size on a permuted t counts as no smaller."""
    return np.abs(observed) - TIE * np.maximum(1, np.abs(observed))


def constant_terms(design: Design, known: Cases, within: np.ndarray) -> np.ndarray:
    """Return which coefficients of each outcome shuffles within clusters say nothing of, shape (R, p)."""
    found = np.ones((len(known.missing), design.X.shape[1]), dtype=bool)
    for c, missing in enumerate(known.missing):
        of = case(design, missing)
        if of.told.any():
            found[c, of.told] = untestable(of.design.X, within[of.rows])[of.own]
    return found[known.of]


def permuted_some(
    fitter: Fitter, design: Design, Y: np.ndarray, known: Cases, shuffled: Shuffled, spans: np.ndarray
) -> list[tuple[int, Counts]]:
    """Return for each span of shuffles, shape (spans, 2), where it begins, and its counts."""
    items = known.items(max(1, len(known.order)))
    made = [(case(design, known.missing[c]), known.order[first:last], int(c)) for c, first, last in items]
    return [
        (int(start), _counts(fitter, Y, known, shuffled, made, shuffled.seeds[start:stop])) for start, stop in spans
    ]


def _counts(
    fitter: Fitter,
    Y: np.ndarray,
    known: Cases,
    shuffled: Shuffled,
    made: Sequence[tuple[Case, np.ndarray, int]],
    seeds: np.ndarray,
) -> Counts:
    (R, p), k = shuffled.observed.shape, len(seeds)
    orders = [shuffles(len(Y), 1, int(seed), shuffled.within)[0] for seed in seeds]
    t = np.full((k, R, p), np.nan)
    for of, members, which in made:
        if of.flag:
            continue
        own = np.stack([restricted(order, of.rows, shuffled.within) for order in orders])  # (k, rows)
        if known.weights is None:
            columns = np.hstack([Y[np.ix_(rows, members)] for rows in own])
            t[:, members] = _t(fitter(of, None, columns, False)).reshape(k, len(members), p)
            continue
        for i, rows in enumerate(own):  # an outcome takes its weight along
            t[i, members] = _t(fitter(of, known.weights_of(which, rows), Y[np.ix_(rows, members)], False))
    t[:, np.isnan(shuffled.observed)] = np.nan
    size = np.abs(t)
    hits = (size >= _bound(shuffled.observed)).sum(axis=0)
    maxima = np.where(np.isnan(size), -np.inf, size).max(axis=1, initial=-np.inf)
    return Counts(hits, (~np.isnan(t)).sum(axis=0), np.where(maxima < 0, np.nan, maxima), statistics_of(t, shuffled))


def _t(fits: Fits) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return fits.b / fits.se


def statistics_of(t: np.ndarray, shuffled: Shuffled) -> np.ndarray:
    """Return what `statistic` makes of k maps of t of each term, (k, R, p), shape (k, p, s)."""
    k, _, p = t.shape
    tested = ~np.isnan(shuffled.observed).all(axis=0)
    if shuffled.statistic is None or not tested.any():
        return np.empty((k, p, 0))
    maps = [column.reshape(shuffled.shape) for one in t[:, :, tested] for column in one.T]
    told = [shuffled.statistic(one) for one in maps]
    if any(one is None for one in told):
        raise OptionError("statistic= returned None. It has to return a number, or several: does its return lack?")
    try:
        values = np.array([np.ravel(np.asarray(one, dtype=float)) for one in told])
    except (TypeError, ValueError) as error:
        raise OptionError(
            "statistic= has to return a number, or as many numbers for each map of t. It returned "
            f"{few(list(map(shown, told)), 2)}."
        ) from error
    lacking = np.isnan(values).any(axis=1)
    if lacking.any():
        of = maps[int(lacking.argmax())]
        raise OptionError(
            f"statistic= returned NaN for a map of {of.size:,} t, of which {np.isnan(of).sum():,} are NaN themselves. "
            "Have it return numbers, and leave NaN out as np.nanmax does."
        )
    found = np.full((k, p, values.shape[1]), np.nan)
    found[:, tested] = values.reshape(k, -1, values.shape[1])
    return found


def restricted(order: np.ndarray, rows: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Return which of some rows, ascending, stand at their places after a shuffle of all rows within clusters.

    They keep the order that the shuffle gives them.

    Examples:
        >>> restricted(np.array([2, 0, 1, 3]), np.array([0, 2, 3]), np.array([0, 0, 0, 1])).tolist()
        [2, 0, 3]
    """
    if len(rows) == len(order):
        return order
    place = np.empty(len(order), dtype=np.intp)
    place[order] = np.arange(len(order))
    own, found = within[rows], np.empty(len(rows), dtype=np.intp)
    found[np.argsort(own, kind="stable")] = rows[np.lexsort((place[rows], own))]
    return found
