"""Permutation tests, effect sizes and bootstrap limits, against R, SciPy and the enumeration of all rearrangements."""

from __future__ import annotations

import doctest
import subprocess
import time
import tracemalloc
import warnings
from functools import cache
from itertools import combinations, permutations, product
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as reference

import pymer4
from pymer4 import stats
from pymer4.errors import DataError, ModelWarning, OptionError
from pymer4.statistics import bootstrap, permutation
from pymer4.statistics.bootstrap import boot_func, cohens_d
from pymer4.statistics.permutation import Stat, perm_test
from pymer4.work import BLOCK, blocks

pytestmark = pytest.mark.numeric

STATS = get_args(Stat)
CORRELATIONS = ("pearsonr", "spearmanr")
EXACT = 1e-10  # relative: closed formulas of the same numbers
SE = 5  # standard errors of a share, over draws with a fixed seed
ROUNDING = 1e-12

RNG = np.random.default_rng(2024)
X, Y = RNG.normal(0.4, 1, 23).round(3), RNG.normal(0, 1.7, 23).round(3)
SHORT = Y[:15]

# Small samples with ties, of which every rearrangement can be listed.
U, V = np.array([1.0, 2, 2, 5, 7]), np.array([2.0, 3, 6, 6])
W = np.array([0.5, -1.0, 3.0, 2.0, 2.0])


@pytest.fixture(autouse=True)
def strict():
    """Nothing may warn unless a test waits for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# the parametric tests

SCRIPT = """
number <- function(...) cat(..., "\\n")
digits <- function(...) format(c(...), digits = 17)
show <- function(name, tail, test) number(name, tail, digits(test$statistic, test$estimate, test$p.value))
for (tail in c("two.sided", "greater", "less")) {
  show("one", tail, t.test(x, alternative = tail))
  show("paired", tail, t.test(x, y, paired = TRUE, alternative = tail))
  show("welch", tail, t.test(x, s, alternative = tail))
  show("pooled", tail, t.test(x, s, var.equal = TRUE, alternative = tail))
  show("pearson", tail, cor.test(x, y, alternative = tail))
  show("spearman", tail, cor.test(rank(x), rank(y), alternative = tail))
}
number("df", "-", digits(t.test(x, s)$parameter))
number("missing", "-", digits(t.test(m, y)$p.value, t.test(m, y, paired = TRUE)$p.value, cor.test(m, y)$p.value))
"""


def holes(values):
    found = values.copy()
    found[[2, 7]] = np.nan
    return found


@cache
def of_r() -> dict[tuple[str, str], list[float]]:
    """Return statistic, estimates and p of R's tests, by name and tail."""
    vectors = {"x": X, "y": Y, "s": SHORT, "m": holes(X)}
    text = "\n".join(
        f"{name} <- c({', '.join('NA' if np.isnan(v) else repr(float(v)) for v in values)})"
        for name, values in vectors.items()
    )
    command = ["Rscript", "--vanilla", "-e", text + SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = (line.split() for line in done.stdout.splitlines())
    return {(name, tail): [float(v) for v in values] for name, tail, *values in lines}


# name in R, statistic, second sample, equal_var
PARAMETRIC = [
    ("one", "tstat", None, False),
    ("paired", "tstat-paired", Y, False),
    ("welch", "tstat", SHORT, False),
    ("pooled", "tstat", SHORT, True),
]


@pytest.mark.r
@pytest.mark.parametrize("name, stat, y, equal_var", PARAMETRIC, ids=[case[0] for case in PARAMETRIC])
def test_t_tests_are_those_of_r(name, stat, y, equal_var):
    t, p = perm_test(X, y, stat, n_perm=0, equal_var=equal_var)
    expected = of_r()[name, "two.sided"]
    assert (t, p) == pytest.approx((expected[0], expected[-1]), rel=EXACT)
    tail = "greater" if t > 0 else "less"
    assert perm_test(X, y, stat, n_perm=0, equal_var=equal_var, tails=1)[1] == pytest.approx(
        of_r()[name, tail][-1], rel=EXACT
    )
    difference = X.mean() - (0 if y is None else y.mean())
    if stat == "tstat":
        assert perm_test(X, y, "mean", n_perm=0, equal_var=equal_var) == pytest.approx((difference, p), rel=EXACT)
        d = cohens_d(X, y, equal_var=equal_var, n_boot=0)
        assert perm_test(X, y, "cohensd", n_perm=0, equal_var=equal_var) == pytest.approx((d, p), rel=EXACT)


@pytest.mark.r
@pytest.mark.parametrize("name, stat", [("pearson", "pearsonr"), ("spearman", "spearmanr")])
def test_correlation_tests_are_those_of_r(name, stat):
    r, p = perm_test(X, Y, stat, n_perm=0)
    expected = of_r()[name, "two.sided"]
    assert (r, p) == pytest.approx(tuple(expected[1:]), rel=EXACT)
    tail = "greater" if r > 0 else "less"
    assert perm_test(X, Y, stat, n_perm=0, tails=1)[1] == pytest.approx(of_r()[name, tail][-1], rel=EXACT)


@pytest.mark.r
def test_missing_values_are_left_out_as_in_r():
    m = holes(X)
    found = [perm_test(m, Y, stat, n_perm=0)[1] for stat in ("tstat", "tstat-paired", "pearsonr")]
    assert found == pytest.approx(of_r()["missing", "-"], rel=EXACT)


@pytest.mark.r
def test_the_df_of_welch_are_those_of_r():
    assert stats.welch_dof(X, SHORT) == pytest.approx(of_r()["df", "-"][0], rel=EXACT)
    assert stats.welch_dof(SHORT, X) == pytest.approx(stats.welch_dof(X, SHORT), rel=EXACT)


def test_parametric_tests_are_those_of_scipy():
    cases = [
        (perm_test(X, n_perm=0), reference.ttest_1samp(X, 0)),
        (perm_test(X, Y, "tstat-paired", n_perm=0), reference.ttest_rel(X, Y)),
        (perm_test(X, SHORT, n_perm=0), reference.ttest_ind(X, SHORT, equal_var=False)),
        (perm_test(X, SHORT, n_perm=0, equal_var=True), reference.ttest_ind(X, SHORT)),
        (perm_test(X, Y, "pearsonr", n_perm=0), reference.pearsonr(X, Y)),
        (perm_test(X, Y, "spearmanr", n_perm=0), reference.spearmanr(X, Y)),
        (perm_test(X.round(), Y.round(), "spearmanr", n_perm=0), reference.spearmanr(X.round(), Y.round())),
    ]
    for found, expected in cases:
        assert found == pytest.approx((expected.statistic, expected.pvalue), rel=EXACT)


def test_tiny_p_are_not_zero():
    _, p = perm_test(X + 40, n_perm=0)
    assert 0 < p < 1e-30
    assert p == pytest.approx(reference.ttest_1samp(X + 40, 0).pvalue, rel=1e-8)


def test_perfect_correlation_has_p_zero():
    assert perm_test([1, 2, 3, 4], [2, 4, 6, 8.0], "spearmanr", n_perm=0) == (1.0, 0.0)


# permutation against the enumeration of all rearrangements


def measured(stat, x, y, equal_var=False):
    return perm_test(x, y, stat, n_perm=0, equal_var=equal_var)[0]


def null_law(stat, x, y, equal_var=False):
    """Return the statistic of every rearrangement, by SciPy and plain arithmetic."""
    if y is None or stat == "tstat-paired":
        values = x if y is None else x - y
        return [plain(stat, values * s, None, equal_var) for s in product([1, -1], repeat=len(values))]
    if stat in CORRELATIONS:
        return [getattr(reference, stat)(x, order).statistic for order in permutations(y)]
    both = np.r_[x, y]
    found = []
    for chosen in combinations(range(len(both)), len(x)):
        mask = np.isin(np.arange(len(both)), chosen)
        found.append(plain(stat, both[mask], both[~mask], equal_var))
    return found


def plain(stat, x, y, equal_var):
    difference = x.mean() - (0 if y is None else y.mean())
    if stat == "mean":
        return difference
    if y is None:
        return difference / x.std(ddof=1) * (1 if stat == "cohensd" else np.sqrt(len(x)))
    a, b, n, m = x.var(ddof=1), y.var(ddof=1), len(x), len(y)
    pooled = ((n - 1) * a + (m - 1) * b) / (n + m - 2)
    if stat == "cohensd":
        return difference / np.sqrt(pooled if equal_var else (a + b) / 2)
    return difference / np.sqrt(pooled * (1 / n + 1 / m) if equal_var else a / n + b / m)


ENUMERATED = [
    *[(stat, W, None, False) for stat in ("tstat", "mean", "cohensd")],
    *[(stat, U, V, equal) for stat in ("tstat", "mean", "cohensd") for equal in (False, True)],
    *[(stat, U, W, False) for stat in ("tstat-paired", *CORRELATIONS)],
]


@pytest.mark.parametrize("tails", [1, 2])
@pytest.mark.parametrize("stat, x, y, equal_var", ENUMERATED)
def test_permutation_p_is_that_of_the_enumeration(stat, x, y, equal_var, tails):
    law = np.array(null_law(stat, x, y, equal_var))
    n = 20_000
    observed, p, drawn = perm_test(x, y, stat, n, equal_var, tails, return_dist=True, seed=1)
    if stat in CORRELATIONS:
        expected = getattr(reference, stat)(x, y).statistic
    else:
        expected = plain(stat, x - y, None, False) if stat == "tstat-paired" else plain(stat, x, y, equal_var)
    assert observed == pytest.approx(expected, rel=EXACT)
    far = np.abs(law) >= abs(observed) - 1e-9 if tails == 2 else law * np.sign(observed) >= abs(observed) - 1e-9
    exact = far.mean()
    assert abs(p - exact) <= SE * np.sqrt(exact * (1 - exact) / n) + 1 / n
    # What is drawn are the rearrangements, each as often as the law says.
    values, counts = np.unique(law.round(9), return_counts=True)
    found = np.array([np.isclose(drawn, v, atol=1e-8).sum() for v in values])
    assert found.sum() == n
    share = counts / counts.sum()
    assert (np.abs(found / n - share) <= SE * np.sqrt(share * (1 - share) / n)).all()


@pytest.mark.parametrize("stat", STATS)
@pytest.mark.parametrize("tails", [1, 2])
def test_p_is_one_plus_hits_over_n_plus_one(stat, tails):
    observed, p, drawn = perm_test(X, Y, stat, 500, tails=tails, return_dist=True, seed=3)
    far = np.abs(drawn) if tails == 2 else drawn * np.sign(observed)
    assert p == (1 + (far >= abs(observed) * (1 - ROUNDING)).sum()) / 501
    assert drawn.shape == (500,)


def test_p_is_never_zero():
    assert perm_test(X + 100, Y, n_perm=99, seed=1)[1] == 0.01
    assert perm_test(X + 100, Y, n_perm=1, seed=1)[1] == 0.5


def test_ties_count_in_spite_of_rounding():
    """The values are multiples of 0.1, so that equal sums differ in their last digits, but not times 10."""
    x = np.array([0.1, 0.2, 0.3, 0.7])
    for y, certain in (([0.1, 0.6, 0.3, 0.3], True), ([0.1, 0.6, 0.3, 0.1], False)):
        exact = perm_test(10 * x, 10 * np.array(y), "mean", 3000, seed=2)[1]
        assert (exact == 1) == certain
        for unit in (1, 1e-20, 1e20):
            assert perm_test(unit * x, unit * np.array(y), "mean", 3000, seed=2)[1] == exact


def test_the_null_hypothesis_is_rejected_as_often_as_it_should():
    rng = np.random.default_rng(8)
    for stat in STATS:
        p = [perm_test(rng.exponential(size=8), rng.exponential(size=8), stat, 99, seed=rng)[1] for _ in range(200)]
        share = np.mean(np.array(p) <= 0.1)
        assert abs(share - 0.1) <= SE * np.sqrt(0.09 / 200), stat


@pytest.mark.parametrize("stat", STATS)
def test_one_tail_is_that_of_the_data(stat):
    both = [perm_test(*pair, stat, 2000, tails=1, seed=4)[1] for pair in ((X + 1, Y), (-X - 1, -Y))]
    assert both[0] == pytest.approx(both[1], abs=0.05)
    assert all(p <= 0.55 for p in both)


@pytest.mark.parametrize("stat", STATS)
def test_a_seed_repeats_a_test_and_workers_do_not_change_it(stat):
    first = perm_test(X, Y, stat, 3000, return_dist=True, seed=5)
    for other in (
        perm_test(X, Y, stat, 3000, return_dist=True, seed=np.int64(5)),
        perm_test(X, Y, stat, 3000, return_dist=True, n_jobs=2, seed=5),
        perm_test(list(X), tuple(Y), stat, 3000, return_dist=True, seed=5),
        perm_test(pd.Series(X, index=range(50, 73)), pd.Series(Y), stat, 3000, return_dist=True, seed=5),
    ):
        assert first[:2] == other[:2]
        np.testing.assert_array_equal(first[2], other[2])
    assert perm_test(X, Y, stat, 3000, return_dist=True, seed=6)[2].tolist() != first[2].tolist()


def test_a_generator_serves_as_a_seed():
    first = perm_test(X, Y, n_perm=100, return_dist=True, seed=np.random.default_rng(1))[2]
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(perm_test(X, Y, n_perm=100, return_dist=True, seed=rng)[2], first)
    assert not np.array_equal(perm_test(X, Y, n_perm=100, return_dist=True, seed=rng)[2], first)


def test_numpys_global_state_is_left_alone():
    np.random.seed(3)
    expected = np.random.RandomState(3).rand(3)
    perm_test(X, Y, n_perm=10)
    cohens_d(X, Y, n_boot=10)
    boot_func(X, func=np.mean, n_boot=10)
    np.testing.assert_array_equal(np.random.rand(3), expected)


def test_arguments_are_left_as_they_are():
    x, y = X.copy(), pd.Series(Y.copy(), index=np.arange(len(Y))[::-1])
    for stat in STATS:
        perm_test(x, y, stat, 50, seed=1)
    cohens_d(x, y, paired=True, n_boot=10)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


def test_pairs_are_made_by_position_not_by_index():
    turned = pd.Series(Y, index=np.arange(len(Y))[::-1])
    for stat in ("tstat-paired", *CORRELATIONS):
        assert perm_test(pd.Series(X), turned, stat, n_perm=0) == perm_test(X, Y, stat, n_perm=0)


moderate = st.lists(st.integers(-50, 50), min_size=3, max_size=12)


@settings(max_examples=60, deadline=None)
@given(x=moderate, y=moderate, shift=st.integers(-1000, 1000), stat=st.sampled_from(["tstat", "mean", "cohensd"]))
def test_shift_scale_and_order_do_not_change_p(x, y, shift, stat):
    x, y = np.array(x, float), np.array(y, float)
    assume(x.std() or y.std())
    p = perm_test(x, y, stat, 200, seed=1)[1]
    assert perm_test(x + shift, y + shift, stat, 200, seed=1)[1] == p
    assert perm_test(x * 0.1, y * 0.1, stat, 200, seed=1)[1] == p
    assert perm_test(-x, -y, stat, 200, seed=1)[1] == p
    assert perm_test(np.r_[x, np.nan], y, stat, 200, seed=1)[1] == p


@settings(max_examples=60, deadline=None)
@given(x=moderate, y=moderate, stat=st.sampled_from(["tstat", "mean", "cohensd"]), equal_var=st.booleans())
def test_exchanging_the_samples_turns_the_sign(x, y, stat, equal_var):
    assume(np.std(x) or np.std(y))
    assert measured(stat, x, y, equal_var) == pytest.approx(-measured(stat, y, x, equal_var), rel=1e-9, abs=1e-12)


def test_permutation_is_fast():
    """5,000 permutations of 2 x 50 values take a few hundredths of a second."""
    x, y = np.random.default_rng(1).normal(size=(2, 50))
    for stat in STATS:
        best = min(timed(perm_test, x, y, stat, 5000, seed=1) for _ in range(3))
        assert best < 0.5, stat
    assert min(timed(cohens_d, x, y, n_boot=5000, seed=1) for _ in range(3)) < 0.5


def timed(function, *args, **kwargs) -> float:
    start = time.perf_counter()
    function(*args, **kwargs)
    return time.perf_counter() - start


# cohens_d


def test_cohens_d_of_two_samples():
    a, b, n, m = X.var(ddof=1), SHORT.var(ddof=1), len(X), len(SHORT)
    difference = X.mean() - SHORT.mean()
    assert cohens_d(X, SHORT, n_boot=0) == pytest.approx(difference / np.sqrt((a + b) / 2), rel=EXACT)
    pooled = ((n - 1) * a + (m - 1) * b) / (n + m - 2)
    assert cohens_d(X, SHORT, equal_var=True, n_boot=0) == pytest.approx(difference / np.sqrt(pooled), rel=EXACT)
    t = reference.ttest_ind(X, SHORT).statistic
    assert cohens_d(X, SHORT, equal_var=True, n_boot=0) == pytest.approx(t * np.sqrt(1 / n + 1 / m), rel=EXACT)


def test_cohens_d_of_pairs_and_of_one_sample():
    d = X - Y
    assert cohens_d(X, Y, paired=True, n_boot=0) == pytest.approx(d.mean() / d.std(ddof=1), rel=EXACT)
    assert cohens_d(X, Y, paired=True, equal_var=True, n_boot=0) == cohens_d(d, n_boot=0)
    assert cohens_d(X, n_boot=0) == pytest.approx(X.mean() / X.std(ddof=1), rel=EXACT)


@pytest.mark.parametrize("value", [0.5, -1, np.float64(2)])
def test_value_is_taken_off_before_dividing(value):
    assert cohens_d(X, value=value, n_boot=0) == pytest.approx((X.mean() - value) / X.std(ddof=1), rel=EXACT)
    assert cohens_d(X, SHORT, value=value, n_boot=0) == pytest.approx(cohens_d(X - value, SHORT, n_boot=0), rel=EXACT)
    paired = cohens_d(X, Y, paired=True, value=value, n_boot=0)
    assert paired == pytest.approx(cohens_d(X - Y - value, n_boot=0), rel=EXACT)


def every_resample(values):
    return [np.array(drawn) for drawn in product(values, repeat=len(values))]


@pytest.mark.parametrize("kind", ["one", "two", "pooled", "paired"])
def test_limits_of_d_are_the_percentiles_of_all_resamples(kind):
    x, y = np.array([1.0, 2, 4, 7]), np.array([2.0, 2.5, 3])
    if kind == "one":
        law = [cohens(r) for r in every_resample(x)]
        given_to = (x,)
    elif kind == "paired":
        y = np.array([0.5, 2.5, 3, 4])
        law = [cohens(r) for r in every_resample(x - y)]
        given_to = (x, y)
    else:
        law = [cohens(r, s, kind == "pooled") for r in every_resample(x) for s in every_resample(y)]
        given_to = (x, y)
    law = np.array(law)
    n = 40_000
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        d, limits = cohens_d(*given_to, paired=kind == "paired", equal_var=kind == "pooled", n_boot=n, seed=1)
    assert d == cohens_d(*given_to, paired=kind == "paired", equal_var=kind == "pooled", n_boot=0)
    lost = np.mean(~np.isfinite(law))
    assert len(told) == (lost > 0)
    finite = law[np.isfinite(law)]
    # A quantile of the draws lies between the law's quantiles SE standard errors of the share away.
    for share, limit in zip((0.025, 0.975), limits, strict=True):
        slack = SE * np.sqrt(share * (1 - share) / n)
        low, high = np.quantile(finite, [share - slack, share + slack], method="inverted_cdf")
        assert low - ROUNDING <= limit <= high + ROUNDING


def cohens(x, y=None, pooled=False):
    squared = x.var(ddof=1)
    if y is not None:
        n, m, other = len(x), len(y), y.var(ddof=1)
        squared = ((n - 1) * squared + (m - 1) * other) / (n + m - 2) if pooled else (squared + other) / 2
    difference = x.mean() - (0 if y is None else y.mean())
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.float64(difference) / np.sqrt(squared if squared > 1e-20 else 0.0)


def test_resamples_without_spread_are_counted_and_left_out():
    with pytest.warns(ModelWarning, match=r"In \d+ of 1000 resamples d is NaN or infinite") as told:
        _, limits = cohens_d([1.0, 2.0, 4.0], n_boot=1000, seed=1)
    assert np.isfinite(limits).all() and told[0].filename == __file__


@pytest.mark.parametrize("arguments", [{}, {"paired": True}, {"equal_var": True}, {"value": 0.3}], ids=str)
def test_limits_of_d_repeat_and_do_not_depend_on_workers(arguments):
    d, limits = cohens_d(X, Y, n_boot=5000, seed=7, **arguments)
    assert isinstance(d, float) and limits.shape == (2,) and limits[0] < d < limits[1]
    for other in ({"n_jobs": 2}, {}):
        again = cohens_d(X, Y, n_boot=5000, seed=7, **arguments, **other)
        assert again[0] == d
        np.testing.assert_array_equal(again[1], limits)
    assert cohens_d(X, Y, n_boot=5000, seed=8, **arguments)[1].tolist() != limits.tolist()


def test_a_series_is_a_sample():
    assert cohens_d(pd.Series(X), pd.Series(SHORT), n_boot=0) == cohens_d(X, SHORT, n_boot=0)
    nullable = pd.Series([1, 2, None, 4], dtype="Int64")
    assert cohens_d(nullable, n_boot=0) == cohens_d([1, 2, 4], n_boot=0)


def test_missing_values_are_left_out_of_d():
    m = holes(X)
    there = ~np.isnan(m)
    assert cohens_d(m, Y, n_boot=0) == cohens_d(X[there], Y, n_boot=0)
    assert cohens_d(m, Y, paired=True, n_boot=0) == cohens_d(X[there], Y[there], paired=True, n_boot=0)


# boot_func


def first_of(x, factor=1.0, shift=0.0):
    return factor * x.mean() + shift


def difference(x, y):
    return x.mean() - y.mean()


def correlation(x, y):
    return np.corrcoef(x, y)[0, 1]


def test_the_bootstrap_of_a_mean_has_the_limits_of_its_law():
    value, limits = boot_func(X, func=np.mean, n_boot=5000, seed=1)
    assert value == X.mean() and isinstance(value, float)
    error = X.std() / np.sqrt(len(X))
    np.testing.assert_allclose((limits - value) / error, [-1.96, 1.96], atol=0.15)


def test_percentiles_of_all_resamples():
    x = np.array([1.0, 3, 4, 9])
    law = np.array([np.median(r) for r in every_resample(x)])
    value, limits = boot_func(x, func=np.median, n_boot=5000, seed=2)
    assert value == 3.5
    np.testing.assert_array_equal(limits, np.quantile(law, [0.025, 0.975]))


def test_samples_are_drawn_independently_or_together():
    _, apart = boot_func(X, X + 0.01 * Y, difference, n_boot=2000, seed=3)
    _, together = boot_func(X, X + 0.01 * Y, difference, paired=True, n_boot=2000, seed=3)
    assert np.ptp(together) < 0.1 * np.ptp(apart)
    value, limits = boot_func(X, X + Y, correlation, paired=True, n_boot=500, seed=3)
    assert limits[0] < value < limits[1]
    _, limits = boot_func(X, 2 * X, correlation, paired=True, n_boot=100, seed=3)
    np.testing.assert_allclose(limits, 1)


def test_arguments_of_the_function_go_by_name():
    value, limits = boot_func(X, func=first_of, func_args={"factor": 2, "shift": 10}, n_boot=100, seed=4)
    plain_value, plain_limits = boot_func(X, func=first_of, n_boot=100, seed=4)
    assert value == pytest.approx(2 * plain_value + 10)
    np.testing.assert_allclose(limits, 2 * plain_limits + 10)


def test_a_function_may_return_an_array():
    value, limits = boot_func(X, func=np.percentile, func_args={"q": [25, 50, 75]}, n_boot=200, seed=5)
    assert value.shape == (3,) and limits.shape == (2, 3)
    _, middle = boot_func(X, func=np.median, n_boot=200, seed=5)
    np.testing.assert_allclose(limits[:, 1], middle)


@pytest.mark.parametrize("paired", [False, True])
def test_boot_func_repeats_and_does_not_depend_on_workers(paired):
    expected = boot_func(X, Y, difference, paired=paired, n_boot=103, seed=6)
    for other in ({"n_jobs": 2}, {"n_jobs": -1}, {}):
        found = boot_func(X, Y, difference, paired=paired, n_boot=103, seed=6, **other)
        assert found[0] == expected[0]
        np.testing.assert_array_equal(found[1], expected[1])
    with_lambda = boot_func(X, Y, lambda a, b: a.mean() - b.mean(), paired=paired, n_boot=103, n_jobs=2, seed=6)
    np.testing.assert_array_equal(with_lambda[1], expected[1])


def test_the_function_gets_arrays_of_its_own():
    def spoil(x):
        assert type(x) is np.ndarray
        x[:] = 0
        return 1.0

    x = X.copy()
    for values in (x, pd.Series(x), list(x)):
        assert boot_func(values, func=spoil, n_boot=5, seed=1)[0] == 1.0
    np.testing.assert_array_equal(x, X)


def test_rows_of_a_frame_stay_together():
    frame = pd.DataFrame({"a": X, "b": 3 * X})
    value, limits = boot_func(frame, func=lambda rows: np.ptp(rows[:, 1] - 3 * rows[:, 0]), n_boot=20, seed=1)
    assert value == 0 and not limits.any()


def test_missing_values_are_for_the_function_to_see():
    m = holes(X)
    value, limits = boot_func(m, func=np.nanmean, n_boot=50, seed=1)
    assert value == np.nanmean(m) and np.isfinite(limits).all()
    with pytest.warns(ModelWarning, match="func is NaN"):
        value, limits = boot_func(m, func=np.mean, n_boot=50, seed=1)
    assert np.isnan(value)


def test_text_can_be_resampled():
    value, _ = boot_func(pd.Series(["a", "b", "a"]), func=lambda x: float((x == "a").mean()), n_boot=5, seed=1)
    assert value == pytest.approx(2 / 3)


# what all of them stand on


@pytest.mark.parametrize("n, size", [(1, 1), (1000, 100), (5000, 100), (7, 10**9), (65536, 1), (65537, 1), (3, 0)])
def test_blocks_hold_all_draws_and_little_memory(n, size):
    work = blocks(1, n, size)
    assert work[:, 1].sum() == n and (work[:, 1] > 0).all()
    assert (work[:, 1] * size <= max(BLOCK, size)).all()
    assert len(np.unique(work[:, 0])) == len(work) and (work[:, 0] >= 0).all()
    np.testing.assert_array_equal(work, blocks(1, n, size))


def test_more_draws_begin_with_the_same_seeds():
    few, many = blocks(1, 5000, 100), blocks(1, 9000, 100)
    np.testing.assert_array_equal(few[:-1], many[: len(few) - 1])
    assert few[-1, 0] == many[len(few) - 1, 0]


def test_large_samples_are_permuted_in_blocks():
    x, y = np.random.default_rng(1).normal(size=(2, 200_000))
    tracemalloc.start()
    perm_test(x, y, n_perm=20, seed=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * x.nbytes, "as much as one permutation takes, a few times"


def test_distant_samples_keep_their_digits():
    """At a distance of 1e8 standard deviations eight digits are left, and none is lost on the way."""
    far_x, far_y = X + 2.0**30, SHORT + 2.0**30
    exact_x, exact_y = far_x - 2.0**30, far_y - 2.0**30
    for stat in ("tstat", "cohensd", "mean"):
        found = perm_test(far_x, far_y, stat, 200, seed=1)
        assert found == pytest.approx(perm_test(exact_x, exact_y, stat, 200, seed=1), rel=1e-7)


# bad input

REFUSED = {
    "statistic": (
        lambda: perm_test(X, Y, "tstat_paired"),
        OptionError,
        "stat='tstat_paired'.*Did you mean 'tstat-paired'",
    ),
    "tails": (lambda: perm_test(X, Y, tails=3), OptionError, "tails=3"),
    "negative n_perm": (lambda: perm_test(X, Y, n_perm=-1), OptionError, "n_perm=-1"),
    "fractional n_perm": (lambda: perm_test(X, Y, n_perm=1.5), OptionError, "n_perm=1.5"),
    "no distribution": (lambda: perm_test(X, Y, n_perm=0, return_dist=True), OptionError, "return_dist=True needs"),
    "workers": (lambda: perm_test(X, Y, n_jobs=0), OptionError, "n_jobs=0"),
    "seed": (lambda: perm_test(X, Y, seed="a"), OptionError, "seed='a'"),
    "equal_var": (lambda: perm_test(X, Y, equal_var="no"), OptionError, "equal_var='no'"),
    "return_dist": (lambda: perm_test(X, Y, return_dist=None), OptionError, "return_dist=None"),
    "pairs of one sample": (lambda: perm_test(X, stat="tstat-paired"), OptionError, "needs y"),
    "correlation of one sample": (lambda: perm_test(X, stat="pearsonr"), OptionError, "Give y"),
    "unequal pairs": (lambda: perm_test(X, SHORT, "tstat-paired"), DataError, "x has 23, y 15"),
    "unequal correlation": (lambda: perm_test(X, SHORT, "spearmanr"), DataError, "x has 23, y 15"),
    "two pairs": (lambda: perm_test([1, 2], [2, 1], "pearsonr"), DataError, "2 complete pairs, and 3"),
    "constant x": (lambda: perm_test([1, 1, 1], [1, 2, 3], "pearsonr"), DataError, "x is constant"),
    "constant y": (lambda: perm_test([1, 2, 3], [0.1, 0.1, 0.1], "spearmanr"), DataError, "y is constant"),
    "constant sample": (lambda: perm_test([0.1, 0.1, 0.1]), DataError, "sample is constant"),
    "constant samples": (lambda: perm_test([1, 1], [2, 2]), DataError, "both constant"),
    "constant mean": (lambda: perm_test([1, 1], [2, 2], "mean", n_perm=0), DataError, "both constant"),
    "one number": (lambda: perm_test([1], [1, 2]), DataError, "x holds 1 numbers, and 2"),
    "missing": (lambda: perm_test([1, 2], [np.nan, np.nan, 3]), DataError, "y holds 1 numbers"),
    "missing pairs": (lambda: perm_test([1, np.nan], [np.nan, 2], "tstat-paired"), DataError, "0 complete pairs"),
    "text": (lambda: perm_test(["a", "b"], Y), DataError, "x has to hold numbers, not str"),
    "matrix": (lambda: perm_test(np.ones((2, 2))), DataError, r"shape \(2, 2\)"),
    "frame": (lambda: perm_test(X, pd.DataFrame({"y": Y})), DataError, "y has to be a list"),
    "number": (lambda: perm_test(3.0), DataError, "x has to be a list.*not a float"),
    "word": (lambda: perm_test("words"), DataError, "x has to be a list.*not a str"),
    "infinite": (lambda: perm_test([1, np.inf]), DataError, "x holds infinite"),
    "dates": (lambda: perm_test(pd.date_range("2020", periods=3)), DataError, "x has to hold numbers"),
    "d unequal pairs": (lambda: cohens_d(X, SHORT, paired=True), DataError, "x has 23, y 15"),
    "d pairs of one sample": (lambda: cohens_d(X, paired=True), OptionError, "paired=True needs y"),
    "d constant": (lambda: cohens_d([1, 1, 1]), DataError, "sample is constant"),
    "d n_boot": (lambda: cohens_d(X, n_boot=-1), OptionError, "n_boot=-1"),
    "d value": (lambda: cohens_d(X, value="a"), OptionError, "value='a'"),
    "d infinite value": (lambda: cohens_d(X, value=np.inf), OptionError, "value=inf"),
    "d paired": (lambda: cohens_d(X, Y, paired="yes"), OptionError, "paired='yes'"),
    "d workers": (lambda: cohens_d(X, n_jobs="all"), OptionError, "n_jobs='all'"),
    "no function": (lambda: boot_func(X), OptionError, "func=None can't be called"),
    "arguments": (lambda: boot_func(X, func=np.mean, func_args=[1]), OptionError, "dict of keyword arguments"),
    "argument names": (lambda: boot_func(X, func=np.mean, func_args={1: 2}), OptionError, "dict of keyword arguments"),
    "no resamples": (lambda: boot_func(X, func=np.mean, n_boot=0), OptionError, "n_boot=0"),
    "boot pairs": (lambda: boot_func(X, SHORT, difference, paired=True), DataError, "23 rows, y 15"),
    "boot pairs of one": (lambda: boot_func(X, func=np.mean, paired=True), OptionError, "needs y"),
    "boot empty": (lambda: boot_func([], func=np.mean), DataError, "x has to hold observations"),
    "boot number": (lambda: boot_func(3.0, func=np.mean), DataError, "x has to hold observations"),
    "boot text": (lambda: boot_func(X, func=lambda x: "a"), DataError, "return a number.*not a str"),
    "boot shapes": (lambda: boot_func(X, func=np.unique, n_boot=20, seed=1), DataError, "changing shape"),
    "welch": (lambda: stats.welch_dof([1], [1, 2]), DataError, "x holds 1"),
    "welch constant": (lambda: stats.welch_dof([1, 1], [2, 2]), DataError, "both constant"),
}


@pytest.mark.parametrize("call, kind, said", REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused(call, kind, said):
    with pytest.raises(kind, match=said):
        call()


def test_an_error_of_the_function_is_the_users():
    def fail(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        boot_func(X, func=fail)


def test_the_documented_names_are_these():
    assert all(getattr(pymer4, name) is getattr(stats, name) for name in stats.__all__)


@pytest.mark.parametrize("module", [bootstrap, permutation, stats], ids=lambda module: module.__name__)
def test_the_examples_run(module):
    failed, tried = doctest.testmod(module)
    assert tried and not failed
