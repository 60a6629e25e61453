"""Equivalence of two means: two one-sided tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from pymer4.errors import OptionError, also_spelled, count, truth
from pymer4.infer.asymptotic import p_value, t_quantile
from pymer4.plots import forest
from pymer4.statistics import samples
from pymer4.statistics.bootstrap import bootstrap_limits
from pymer4.statistics.permutation import Stat, perm_test
from pymer4.statistics.samples import number
from pymer4.work import Seed, seed_stream

_ALPHA = 0.05
_VERDICTS = {
    (True, True): "Equivalent, and different from 0",
    (True, False): "Equivalent",
    (False, True): "Different",
    (False, False): "Undecided",
}
"""What to call a pair of means that are equivalent, and that differ."""


@also_spelled(return_dists="return_dist")
def tost_equivalence(
    x: Any,
    y: Any,
    lower: float,
    upper: float,
    paired: bool = False,
    equal_var: bool = False,
    n_perm: int = 1000,
    n_boot: int = 5000,
    plot: bool = False,
    seed: Seed = None,
    *,
    return_dist: bool = False,
) -> dict[str, Any]:
    """Test whether the difference of two means lies between two bounds, by two one-sided t tests.

    Two means are equivalent when the difference is significantly above `lower` and significantly below `upper`, each
    at .05 (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15, 657-680; Lakens, Scheel & Isager 2018, Adv. Methods
    Pract. Psychol. Sci. 1, 259-269). That is so just when the 90 % t interval of the difference lies within the
    bounds. Missing values are left out, from each sample or by pairs.

    Args:
        x: numbers of the first sample.
        y: numbers of the second sample.
        lower: lower bound of the range of equivalence of mean(x) - mean(y), in the units of the data.
        upper: upper bound.
        paired: take x and y for pairs; `equal_var` has no say then.
        equal_var: Student's t tests in the place of Welch's.
        n_perm: permutations for the two-sided test that the means are equal; 0 for its parametric p. The one-sided
            tests are always parametric.
        n_boot: resamples for the interval of the difference; 0 for the t interval.
        plot: draw the difference and its intervals beside the range of equivalence.
        seed: for results that can be repeated.
        return_dist: return the statistics of all permutations too.

    Returns:
        A dict. `original`, `lower` and `upper` are dicts of three numbers: `m`, the difference of means, or how far
        it is above the bound; `t`, that over its standard error; `p`, two-sided for `original`, of the test that the
        difference is above `lower`, and of the test that it is below `upper`. `In_Equivalence_Range`: both one-sided
        p are below .05. `Means_Are_Different`: the two-sided p is below .05. `CI`: the 95 % limits of the
        difference, shape (2,). With `plot=True`, `axes`: what was drawn on. With `return_dist=True`, `perm_dist`: the
        permuted t, shape (n_perm,).

    Raises:
        OptionError: an argument that is not among those above, or bounds in the wrong order.
        DataError: too few numbers, no spread, or pairs of unequal length.

    Examples:
        >>> x, y = [5.1, 4.9, 5.2, 5.0, 4.8, 5.0], [5.0, 5.1, 4.9, 4.8, 5.2, 5.1]
        >>> found = tost_equivalence(x, y, -0.5, 0.5, seed=1)
        >>> found["In_Equivalence_Range"], found["Means_Are_Different"]
        (True, False)
    """
    lower, upper = number("lower", lower), number("upper", upper)
    if not lower < upper:
        raise OptionError(f"lower={lower:g} has to be below upper={upper:g}.")
    paired, equal_var, plot = truth("paired", paired), truth("equal_var", equal_var), truth("plot", plot)
    return_dist = truth("return_dist", return_dist)
    n_perm, n_boot = count("n_perm", n_perm, 0), count("n_boot", n_boot, 0)
    if y is None:
        raise OptionError("tost_equivalence() compares two samples, so it needs y.")
    first, second = samples.compared(x, y, paired, "paired=True")
    samples.require_spread(first, second, "a t test")

    difference = float(samples.mean_difference(first, second))
    error = float(samples.standard_error(first, second, equal_var))
    df = samples.degrees_of_freedom(first, second, equal_var)
    test_seed, interval_seed = seed_stream(seed, 2)
    stat: Stat = "tstat-paired" if paired else "tstat"
    _, p, *drawn = perm_test(x, y, stat, n_perm, equal_var, return_dist=return_dist, seed=test_seed)
    found = _tests(difference, error, df, (lower, upper), p)
    if n_boot:
        found["CI"] = bootstrap_limits(
            first, second, samples.mean_difference, n_boot, 1, interval_seed, "the difference"
        )
    else:
        found["CI"] = _t_limits(difference, error, df, 0.95)
    if plot:
        equivalent, different = found["In_Equivalence_Range"], found["Means_Are_Different"]
        found["axes"] = forest.equivalence(
            difference,
            _t_limits(difference, error, df, 1 - 2 * _ALPHA),
            found["CI"],
            (lower, upper),
            verdict=_VERDICTS[equivalent, different],
            outer_label="95 % bootstrap interval" if n_boot else "95 % t interval",
        )
    return found | ({"perm_dist": drawn[0]} if drawn else {})


def _tests(difference: float, error: float, df: float, bounds: tuple[float, float], p: float) -> dict[str, Any]:
    above = [difference - bound for bound in bounds]
    one_sided = float(p_value(above[0] / error, df, "greater")), float(p_value(above[1] / error, df, "less"))
    found: dict[str, Any] = {"original": {"m": difference, "t": difference / error, "p": p}}
    for name, m, one in zip(("lower", "upper"), above, one_sided, strict=True):
        found[name] = {"m": m, "t": m / error, "p": one}
    return found | {"In_Equivalence_Range": max(one_sided) < _ALPHA, "Means_Are_Different": p < _ALPHA}


def _t_limits(difference: float, error: float, df: float, level: float) -> np.ndarray:
    half = float(t_quantile((1 - level) / 2, df)) * error
    return np.array([difference - half, difference + half])
