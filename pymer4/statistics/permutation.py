"""Permutation tests of one sample, of two, and of pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np

from pymer4.errors import DataError, OptionError, also_spelled, count, one_of, truth, workers
from pymer4.infer.asymptotic import Alternative, p_value
from pymer4.infer.draws import TIE, from_null
from pymer4.infer.resample import flips, shuffles
from pymer4.statistics import moments
from pymer4.statistics.samples import pairs, sample
from pymer4.work import blocks, map_chunks

Stat = Literal["tstat", "tstat-paired", "mean", "cohensd", "pearsonr", "spearmanr"]
"""What a permutation test can be about."""

_CORRELATIONS = ("pearsonr", "spearmanr")


@dataclass(frozen=True, slots=True, eq=False)
class _Test:
    """A statistic, and what is permuted under its null hypothesis.

    Attributes:
        values: what is rearranged, shape (n,): both samples one after the other, differences, or one of two variables.
        signs: whether a permutation turns signs; else it changes the order.
        measure: rearrangements, shape (draws, n), to statistics, shape (draws,).
        parametric: p of the parametric test, for one tail or two.
    """

    values: np.ndarray
    signs: bool
    measure: Callable[[np.ndarray], np.ndarray]
    parametric: Callable[[int], float]


@also_spelled(return_dists="return_dist")
def perm_test(
    x: Any,
    y: Any = None,
    stat: Stat = "tstat",
    n_perm: int = 1000,
    equal_var: bool = False,
    tails: Literal[1, 2] = 2,
    return_dist: bool = False,
    n_jobs: int = 1,
    seed: int | np.random.Generator | None = None,
) -> tuple[float, float] | tuple[float, float, np.ndarray]:
    """Test one sample, the difference of two, or the correlation of pairs by permutation.

    | stat | of | under the null hypothesis |
    | --- | --- | --- |
    | `tstat`, `mean`, `cohensd` | x | signs of x are arbitrary: its law is symmetric about 0 |
    | `tstat`, `mean`, `cohensd` | x and y | labels are arbitrary: x and y have one law |
    | `tstat-paired` | pairs | signs of the differences are arbitrary |
    | `pearsonr`, `spearmanr` | pairs | any y may stand beside any x |

    p is (1 + hits) / (n_perm + 1), where a hit is a permutation at least as extreme as the data, so it is never 0
    (Phipson & Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9, 39). Statistics that differ by rounding alone are ties, and
    count; one that is zero but for rounding has its one tail above. Missing values are left out, from each sample or
    by pairs, as in R's `t.test` and `cor.test`.

    Args:
        x: numbers of the first sample.
        y: numbers of the second sample; None for one sample.
        stat: see the table. `mean` is the plain mean or difference of means, and suits numbers that are statistics
            themselves. Spearman's correlation has average ranks for ties.
        n_perm: permutations; 0 for the parametric test: t for means and d, t with n - 2 df for correlations.
        equal_var: whether `tstat` and `cohensd` of two samples take their variances for equal (pooled) or not
            (Welch's t; d over the root of the mean variance).
        tails: 2, or 1 for the direction that the data show.
        return_dist: return the statistics of all permutations too.
        n_jobs: workers, as joblib counts them; the result does not depend on it.
        seed: for a test that can be repeated.

    Returns:
        Statistic and p; with `return_dist` also the permuted statistics, shape (n_perm,).

    Raises:
        OptionError: an argument that is not among those above.
        DataError: too few numbers, pairs of unequal length, or no spread where the statistic needs some.

    Examples:
        >>> t, p = perm_test([5.1, 4.9, 6.2, 5.7], [4.1, 4.6, 4.4, 3.9], seed=1)
        >>> round(t, 3), 0.02 < p < 0.05
        (3.669, True)
    """
    stat = "tstat-paired" if isinstance(stat, str) and stat == "tstatpaired" else stat
    one_of("stat", stat, get_args(Stat))
    one_of("tails", tails, (1, 2))
    n_perm, n_jobs = count("n_perm", n_perm, 0), workers(n_jobs)
    equal_var, return_dist = truth("equal_var", equal_var), truth("return_dist", return_dist)
    if return_dist and not n_perm:
        raise OptionError("return_dist=True needs permutations, and n_perm is 0.")
    test = _correlation(x, y, stat) if stat in _CORRELATIONS else _means(x, y, stat, equal_var)
    observed = float(test.measure(test.values[None, :])[0])
    if not n_perm:
        return observed, test.parametric(tails)
    work = blocks(seed, n_perm, len(test.values))
    drawn = map_chunks(_permuted, work, n_jobs, test.values, test.signs, test.measure)
    scale = np.abs(test.values).max() if stat == "mean" else 1.0
    p = float(from_null(np.array([observed]), drawn[:, None], _alternative(observed, tails, scale))[0])
    return (observed, p, drawn) if return_dist else (observed, p)


def _permuted(values: np.ndarray, signs: bool, measure: Callable, work: np.ndarray) -> np.ndarray:
    """Return the statistics of the permutations of some blocks."""
    n = len(values)
    rows = (values * flips(n, draws, seed) if signs else values[shuffles(n, draws, seed)] for seed, draws in work)
    return np.concatenate([measure(some) for some in rows])


def _means(x: Any, y: Any, stat: str, equal_var: bool) -> _Test:
    if stat == "tstat-paired":
        if y is None:
            raise OptionError("stat='tstat-paired' needs y, the second number of each pair.")
        first, second = pairs(x, y)
        first, second = first - second, None
    else:
        first, second = sample("x", x), None if y is None else sample("y", y)
    if stat != "mean":
        moments.require_spread(first, second, f"stat={stat!r}")
    # What is common to both samples bears no information, and costs digits.
    centre = 0.0 if second is None else np.concatenate([first, second]).mean()
    values = first if second is None else np.concatenate([first, second]) - centre
    cut = None if second is None else len(first)
    measure = {"mean": partial(_mean, cut), "cohensd": partial(_cohen, cut, equal_var)}.get(
        stat, partial(_t, cut, equal_var)
    )
    return _Test(values, second is None, measure, partial(_p_of_t, first, second, equal_var))


def _correlation(x: Any, y: Any, stat: str) -> _Test:
    if y is None:
        raise OptionError(f"stat={stat!r} is about pairs. Give y, the second number of each.")
    first, second = pairs(x, y, least=3)
    if stat == "spearmanr":
        from scipy.stats import rankdata

        first, second = rankdata(first), rankdata(second)
    for name, values in (("x", first), ("y", second)):
        if not moments.variance(values):
            raise DataError(f"{name} is constant, and has no correlation with anything.")
    first, second = _unit_length(first), _unit_length(second)
    measure = partial(_product, first)
    r = float(measure(second[None, :])[0])
    return _Test(second, False, measure, partial(_p_of_r, r, len(first)))


def _split(rows: np.ndarray, cut: int | None) -> tuple[np.ndarray, np.ndarray | None]:
    return (rows, None) if cut is None else (rows[:, :cut], rows[:, cut:])


def _mean(cut: int | None, rows: np.ndarray) -> np.ndarray:
    return moments.mean_difference(*_split(rows, cut))


def _t(cut: int | None, equal_var: bool, rows: np.ndarray) -> np.ndarray:
    return moments.student(*_split(rows, cut), equal_var)


def _cohen(cut: int | None, equal_var: bool, rows: np.ndarray) -> np.ndarray:
    return moments.cohen(*_split(rows, cut), equal_var)


def _product(first: np.ndarray, rows: np.ndarray) -> np.ndarray:
    # einsum adds in one order on every machine and in every worker; a matrix product need not.
    return np.clip(np.einsum("ij,j->i", rows, first), -1.0, 1.0)


def _unit_length(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean()
    return centred / np.sqrt((centred**2).sum())


def _p_of_t(x: np.ndarray, y: np.ndarray | None, equal_var: bool, tails: int) -> float:
    moments.require_spread(x, y, "a t test")
    t = float(moments.student(x, y, equal_var))
    return float(p_value(t, moments.degrees_of_freedom(x, y, equal_var), _alternative(t, tails)))


def _p_of_r(r: float, n: int, tails: int) -> float:
    with np.errstate(divide="ignore"):
        t = r * np.sqrt((n - 2) / ((1 - np.float64(r)) * (1 + r)))
    return float(p_value(t, n - 2, _alternative(t, tails)))


def _alternative(observed: float, tails: int, scale: float = 1.0) -> Alternative:
    """Return what is held against the null hypothesis: for one tail what the data show, greater where it is zero.

    A statistic within `TIE` of its scale is zero, whichever sign rounding gives it.
    """
    return "two-sided" if tails == 2 else "greater" if observed >= -TIE * scale else "less"
