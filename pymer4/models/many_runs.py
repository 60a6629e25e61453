"""The work of many fits, in chunks: here, in worker processes or on a cluster, each kept where there is a cache."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import reduce

import numpy as np

from pymer4.fit.mixed_many import Cases, Design, Fits, Fitter, fit_some
from pymer4.infer.many import Counts, Shuffled, permuted_some
from pymer4.models.many_cache import Cache
from pymer4.work import each_chunk, progress

_Fitted = list[tuple[np.ndarray, Fits]]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What is to be fitted, and how.

    Attributes:
        design, Y, cases: outcomes (n, R) with the offset taken off.
        with_df: whether df are Satterthwaite's, else infinite.
        n_jobs, verbose: as in `fit`.
        fitter: who fits.
        most: outcomes of one item.
    """

    design: Design
    Y: np.ndarray
    cases: Cases
    with_df: bool
    n_jobs: int
    verbose: int
    fitter: Fitter
    most: int


def run_fits(run: Run, cache: Cache | None) -> Fits:
    """Return the fits of all outcomes."""
    R, p = run.Y.shape[1], run.design.X.shape[1]
    found = Fits.missing(R, p, run.design.n_variances, run.cases.flags)
    items = run.cases.items(run.most)
    names = [field.name for field in fields(Fits)]
    done = np.zeros(R, dtype=bool)
    for part in cache.kept("outcomes") if cache else ():
        found.put(part["which"], Fits(*(part[name] for name in names)))
        done[part["which"]] = True
    items = items[[not done[run.cases.order[start]] for _, start, _ in items]]
    with progress("outcomes", R, run.verbose) as advance:
        advance(int(done.sum()), 0)

        def note(part: _Fitted) -> None:
            if cache and part:
                which, *arrays = _joined(part, names)
                cache.keep("outcomes", int(part[0][0][0]), dict(zip(["which", *names], [which, *arrays], strict=True)))
            advance(sum(len(which) for which, _ in part), 0)

        if len(items):
            given = (run.fitter, run.design, run.Y, run.cases, run.with_df)
            parts = each_chunk(fit_some, items, run.n_jobs, *given, note=note)
            for which, fits in (one for part in parts for one in part):
                found.put(which, fits)
    return found


def _joined(part: _Fitted, names: list[str]) -> list[np.ndarray]:
    return [
        np.concatenate([which for which, _ in part]),
        *(np.concatenate([getattr(fits, name) for _, fits in part]) for name in names),
    ]


def run_shuffles(run: Run, shuffled: Shuffled, cache: Cache | None) -> Counts:
    """Return what all shuffles came to."""
    spans = shuffled.blocks()
    names = [field.name for field in fields(Counts)]
    starts: list[int] = []
    found: list[Counts] = []
    for part in cache.kept("shuffles") if cache else ():
        starts += part["starts"].tolist()
        found.append(Counts(*(part[name] for name in names)))
    left = spans[~np.isin(spans[:, 0], starts)]
    with progress("permutations", len(shuffled.seeds), run.verbose) as advance:
        advance(len(shuffled.seeds) - int((left[:, 1] - left[:, 0]).sum()), 0)

        def note(part: list[tuple[int, Counts]]) -> None:
            own, counts = [start for start, _ in part], reduce(Counts.__add__, (counts for _, counts in part))
            starts.extend(own)
            found.append(counts)
            if cache:
                arrays = {name: getattr(counts, name) for name in names}
                cache.keep("shuffles", own[0], {"starts": np.array(own), **arrays})
            advance(len(counts.maxima), 0)

        if len(left):
            given = (run.fitter, run.design, run.Y, run.cases, shuffled)
            each_chunk(permuted_some, left, run.n_jobs, *given, note=note)
    # A chunk of a run that goes on may reach over shuffles which were done before.
    ends, counts = dict(spans.tolist()), reduce(Counts.__add__, found)
    order = np.argsort(np.concatenate([np.arange(start, ends[start]) for start in starts]))
    return replace(counts, maxima=counts.maxima[order], statistics=counts.statistics[order])
