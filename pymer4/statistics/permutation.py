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
from pymer4.statistics import samples
from pymer4.statistics.bootstrap import Measure
from pymer4.work import Seed, blocks, map_chunks

Stat = Literal["tstat", "tstat-paired", "mean", "cohensd", "pearsonr", "spearmanr"]
"""What a permutation test can be about."""

_CORRELATIONS = ("pearsonr", "spearmanr")
_SPELLED: dict[str, Stat] = {"tstatpaired": "tstat-paired"}


@dataclass(frozen=True, slots=True, eq=False)
class _Test:
    """A statistic, and what is permuted under its null hypothesis.

    Attributes:
        values: what is rearranged, shape (n,): both samples one after the other, differences, or one of two variables.
        signs: whether a permutation turns signs; else it changes the order.
        measure: rearrangements, shape (draws, n), to statistics, shape (draws,).
        parametric: the statistic of the parametric test, and its df.
    """

    values: np.ndarray
    signs: bool
    measure: Callable[[np.ndarray], np.ndarray]
    parametric: Callable[[], tuple[float, float]]


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
    seed: Seed = None,
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
    stat = _SPELLED.get(stat, stat) if isinstance(stat, str) else stat
    one_of("stat", stat, get_args(Stat))
    one_of("tails", tails, (1, 2))
    n_perm, n_jobs = count("n_perm", n_perm, 0), workers(n_jobs)
    equal_var, return_dist = truth("equal_var", equal_var), truth("return_dist", return_dist)
    if return_dist and not n_perm:
        raise OptionError("return_dist=True needs permutations, and n_perm is 0.")
    test = _correlation(x, y, stat) if stat in _CORRELATIONS else _means(x, y, stat, equal_var)
    observed = float(test.measure(test.values[None, :])[0])
    if not n_perm:
        t, df = test.parametric()
        return observed, float(p_value(t, df, _alternative(t, tails)))
    work = blocks(seed, n_perm, len(test.values))
    drawn = map_chunks(_permuted, work, n_jobs, test.values, test.signs, test.measure)
    scale = np.abs(test.values).max() if stat == "mean" else 1.0
    p = float(from_null(np.array([observed]), drawn[:, None], _alternative(observed, tails, scale))[0])
    return (observed, p, drawn) if return_dist else (observed, p)


def _permuted(
    values: np.ndarray, signs: bool, measure: Callable[[np.ndarray], np.ndarray], work: np.ndarray
) -> np.ndarray:
    """Return the statistics of the permutations of some blocks."""
    n = len(values)
    rows = (values * flips(n, draws, seed) if signs else values[shuffles(n, draws, seed)] for seed, draws in work)
    return np.concatenate([measure(some) for some in rows])


def _means(x: Any, y: Any, stat: str, equal_var: bool) -> _Test:
    first, second = samples.compared(x, y, stat == "tstat-paired", "stat='tstat-paired'")
    if stat != "mean":
        samples.require_spread(first, second, f"stat={stat!r}")
    # What is common to both samples bears no information, and costs digits.
    centre = 0.0 if second is None else np.concatenate([first, second]).mean()
    values = first if second is None else np.concatenate([first, second]) - centre
    of_samples: Measure = partial(samples.cohen if stat == "cohensd" else samples.student, equal_var=equal_var)
    of_samples = samples.mean_difference if stat == "mean" else of_samples
    measure = partial(_of_rows, of_samples, None if second is None else len(first))
    return _Test(values, second is None, measure, partial(_t_of_means, first, second, equal_var))


def _of_rows(of_samples: Measure, cut: int | None, rows: np.ndarray) -> np.ndarray:
    return of_samples(rows, None) if cut is None else of_samples(rows[:, :cut], rows[:, cut:])


def _t_of_means(x: np.ndarray, y: np.ndarray | None, equal_var: bool) -> tuple[float, float]:
    samples.require_spread(x, y, "a t test")
    return float(samples.student(x, y, equal_var)), samples.degrees_of_freedom(x, y, equal_var)


def _correlation(x: Any, y: Any, stat: str) -> _Test:
    if y is None:
        raise OptionError(f"stat={stat!r} is about pairs. Give y, the second number of each.")
    first, second = samples.pairs(x, y, least=3)
    if stat == "spearmanr":
        from scipy.stats import rankdata

        first, second = rankdata(first), rankdata(second)
    for name, values in (("x", first), ("y", second)):
        if not samples.variance(values):
            raise DataError(f"{name} is constant, and has no correlation with anything.")
    centred = [values - values.mean() for values in (first, second)]
    first, second = (values / np.sqrt((values**2).sum()) for values in centred)
    return _Test(second, False, partial(_product, first), partial(_t_of_r, first, second))


def _product(first: np.ndarray, rows: np.ndarray) -> np.ndarray:
    # einsum adds in one order on every machine and in every worker; a matrix product need not.
    return np.clip(np.einsum("ij,j->i", rows, first), -1.0, 1.0)


def _t_of_r(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    r, df = _product(first, second[None, :])[0], len(first) - 2
    with np.errstate(divide="ignore"):
        return float(r * np.sqrt(df / ((1 - r) * (1 + r)))), float(df)


def _alternative(observed: float, tails: int, scale: float = 1.0) -> Alternative:
    """Return what is held against the null hypothesis: for one tail what the data show, greater where it is zero.

    A statistic within `TIE` of its scale is zero, whichever sign rounding gives it.
    """
    return "two-sided" if tails == 2 else "greater" if observed >= -TIE * scale else "less"
