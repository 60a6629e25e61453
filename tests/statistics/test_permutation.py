"""Permutation tests, against R, SciPy and the enumeration of all rearrangements."""

from __future__ import annotations

import time
import tracemalloc
from itertools import combinations, permutations, product
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from drawn import EXACT, ROUNDING, SE, SHORT, X, Y, holes, plain
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from pymer4 import stats
from pymer4.errors import DataError, OptionError
from pymer4.statistics.bootstrap import cohens_d
from pymer4.statistics.permutation import Stat, perm_test

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("strict")]

STATS = get_args(Stat)
CORRELATIONS = ("pearsonr", "spearmanr")

# Small samples with ties, of which every rearrangement can be listed.
U, V = np.array([1.0, 2, 2, 5, 7]), np.array([2.0, 3, 6, 6])
W = np.array([0.5, -1.0, 3.0, 2.0, 2.0])

# ------------------------------------------------------------------ the parametric tests


PARAMETRIC = [
    ("tstat", X, None, False, lambda x, y, **how: reference.ttest_1samp(x, 0, **how)),
    ("tstat-paired", X, Y, False, reference.ttest_rel),
    ("tstat", X, SHORT, False, lambda x, y, **how: reference.ttest_ind(x, y, equal_var=False, **how)),
    ("tstat", X, SHORT, True, reference.ttest_ind),
    ("pearsonr", X, Y, False, reference.pearsonr),
    ("spearmanr", X.round(), Y.round(), False, reference.spearmanr),
]


@pytest.mark.parametrize("stat, x, y, equal_var, expected", PARAMETRIC)
def test_parametric_tests_are_those_of_scipy(stat, x, y, equal_var, expected):
    value, p = perm_test(x, y, stat, n_perm=0, equal_var=equal_var)
    assert (value, p) == pytest.approx(tuple(expected(x, y)), rel=EXACT)
    one = perm_test(x, y, stat, n_perm=0, equal_var=equal_var, tails=1)[1]
    assert one == pytest.approx(expected(x, y, alternative="greater" if value > 0 else "less").pvalue, rel=EXACT)
    for other in ("mean", "cohensd") if stat == "tstat" else ():
        found = perm_test(x, y, other, n_perm=0, equal_var=equal_var)
        assert found == pytest.approx((plain(other, x, y, equal_var), p), rel=EXACT)


def test_missing_values_leave_single_numbers_or_pairs_out_and_welchs_df_are_those_of_his_test():
    there = ~np.isnan(holes(X))
    for stat, y in (("tstat", Y), ("tstat-paired", Y[there]), ("pearsonr", Y[there])):
        assert perm_test(holes(X), Y, stat, n_perm=0) == perm_test(X[there], y, stat, n_perm=0)
    df = reference.ttest_ind(X, SHORT, equal_var=False).df
    assert stats.welch_dof(X, SHORT) == pytest.approx(df, rel=EXACT)
    assert stats.welch_dof(SHORT, X) == pytest.approx(df, rel=EXACT)


def test_p_far_out_are_small_and_of_a_line_zero():
    _, p = perm_test(X + 40, n_perm=0)
    assert 0 < p < 1e-30 and p == pytest.approx(reference.ttest_1samp(X + 40, 0).pvalue, rel=1e-8)
    assert perm_test([1, 2, 3, 4], [2, 4, 6, 8.0], "spearmanr", n_perm=0) == (1.0, 0.0)


# ------------------------------------------------------------------ against the enumeration of all rearrangements


def null_law(stat, x, y, equal_var):
    """Return the statistic of every rearrangement, by SciPy and plain arithmetic."""
    if y is None:
        return [plain(stat, x * s) for s in product([1, -1], repeat=len(x))]
    if stat in CORRELATIONS:
        return [getattr(reference, stat)(x, order).statistic for order in permutations(y)]
    both = np.r_[x, y]
    masks = [np.isin(np.arange(len(both)), chosen) for chosen in combinations(range(len(both)), len(x))]
    return [plain(stat, both[mask], both[~mask], equal_var) for mask in masks]


ENUMERATED = [
    *[(stat, W, None, False) for stat in ("tstat", "mean", "cohensd")],
    *[(stat, U, V, equal) for stat in ("tstat", "mean", "cohensd") for equal in (False, True)],
    *[(stat, U, W, False) for stat in ("tstat-paired", *CORRELATIONS)],
]


@pytest.mark.parametrize("tails", [1, 2])
@pytest.mark.parametrize("stat, x, y, equal_var", ENUMERATED)
def test_permutation_p_is_that_of_the_enumeration(stat, x, y, equal_var, tails):
    law = np.array(null_law(stat, x - y, None, False) if stat == "tstat-paired" else null_law(stat, x, y, equal_var))
    n = 20_000
    observed, p, drawn = perm_test(x, y, stat, n, equal_var, tails, return_dist=True, seed=1)
    if stat in CORRELATIONS:
        expected = getattr(reference, stat)(x, y).statistic
    else:
        expected = plain(stat, x - y) if stat == "tstat-paired" else plain(stat, x, y, equal_var)
    assert observed == pytest.approx(expected, rel=EXACT)
    far = np.abs(law) >= abs(observed) - 1e-9 if tails == 2 else law * np.sign(observed) >= abs(observed) - 1e-9
    exact = far.mean()
    assert abs(p - exact) <= SE * np.sqrt(exact * (1 - exact) / n) + 1 / n
    # What is drawn are the rearrangements, each as often as the law says.
    values, counts = np.unique(law.round(9), return_counts=True)
    found = np.array([np.isclose(drawn, v, atol=1e-8).sum() for v in values])
    share = counts / counts.sum()
    assert found.sum() == n and (np.abs(found / n - share) <= SE * np.sqrt(share * (1 - share) / n)).all()


@pytest.mark.parametrize("stat", STATS)
@pytest.mark.parametrize("tails", [1, 2])
def test_p_is_one_plus_hits_over_n_plus_one(stat, tails):
    observed, p, drawn = perm_test(X, Y, stat, 500, tails=tails, return_dist=True, seed=3)
    far = np.abs(drawn) if tails == 2 else drawn * np.sign(observed)
    assert p == (1 + (far >= abs(observed) * (1 - ROUNDING)).sum()) / 501 and drawn.shape == (500,)
    if stat == "tstat":
        assert perm_test(X + 100, Y, n_perm=99, tails=tails, seed=1)[1] == 0.01


def test_ties_count_in_spite_of_rounding():
    """The values are multiples of 0.1, so that equal sums differ in their last digits, but not times 10."""
    x = np.array([0.1, 0.2, 0.3, 0.7])
    for y, certain in (([0.1, 0.6, 0.3, 0.3], True), ([0.1, 0.6, 0.3, 0.1], False)):
        exact = perm_test(10 * x, 10 * np.array(y), "mean", 3000, seed=2)[1]
        assert (exact == 1) == certain
        for unit in (1, 1e-20, 1e20):
            assert perm_test(unit * x, unit * np.array(y), "mean", 3000, seed=2)[1] == exact


@pytest.mark.parametrize("stat", STATS)
def test_the_null_hypothesis_is_rejected_as_often_as_it_should_and_one_tail_is_that_of_the_data(stat):
    rng = np.random.default_rng(8)
    p = [perm_test(rng.exponential(size=8), rng.exponential(size=8), stat, 99, seed=rng)[1] for _ in range(200)]
    assert abs(np.mean(np.array(p) <= 0.1) - 0.1) <= SE * np.sqrt(0.09 / 200)
    both = [perm_test(*pair, stat, 2000, tails=1, seed=4)[1] for pair in ((X + 1, Y), (-X - 1, -Y))]
    assert both[0] == pytest.approx(both[1], abs=0.05) and max(both) <= 0.55


# ------------------------------------------------------------------ seeds, workers, kinds of samples


@pytest.mark.parametrize("stat", STATS)
def test_a_seed_repeats_a_test_whatever_holds_the_samples_and_does_the_work(stat):
    """Pairs are made by position, not by index; arguments stay as they are."""
    turned = pd.Series(Y.copy(), index=np.arange(len(Y))[::-1])
    first = perm_test(X, Y, stat, 3000, return_dist=True, seed=5)
    for x, y, more in (
        (X, Y, {"seed": np.int64(5)}), (X, Y, {"n_jobs": 2}), (list(X), tuple(Y), {}), (pd.Series(X), turned, {}),
    ):  # fmt: skip
        other = perm_test(x, y, stat, 3000, return_dist=True, **{"seed": 5} | more)
        assert first[:2] == other[:2]
        np.testing.assert_array_equal(first[2], other[2])
    np.testing.assert_array_equal(turned, Y)
    assert perm_test(X, Y, stat, 3000, return_dist=True, seed=6)[2].tolist() != first[2].tolist()
    rngs = [np.random.default_rng(1) for _ in range(2)]
    drawn = [perm_test(X, Y, stat, 100, return_dist=True, seed=rng)[2].tolist() for rng in (*rngs, rngs[0])]
    assert drawn[0] == drawn[1] != drawn[2]


moderate = st.lists(st.integers(-50, 50), min_size=3, max_size=12)
MEANS = st.sampled_from(["tstat", "mean", "cohensd"])


@settings(max_examples=60, deadline=None)
@given(x=moderate, y=moderate, shift=st.integers(-1000, 1000), stat=MEANS, equal_var=st.booleans())
def test_shift_scale_and_order_do_not_change_p(x, y, shift, stat, equal_var):
    x, y = np.array(x, float), np.array(y, float)
    assume(x.std() or y.std())
    value, p = perm_test(x, y, stat, 200, equal_var, seed=1)
    for a, b in ((x + shift, y + shift), (x * 0.1, y * 0.1), (-x, -y), (np.r_[x, np.nan], y)):
        assert perm_test(a, b, stat, 200, equal_var, seed=1)[1] == p
    turned = perm_test(y, x, stat, n_perm=0, equal_var=equal_var)[0]
    assert value == pytest.approx(-turned, rel=1e-9, abs=1e-12)


def test_distant_samples_keep_their_digits():
    """At a distance of 1e8 standard deviations eight digits are left, and none is lost on the way."""
    far_x, far_y = X + 2.0**30, SHORT + 2.0**30
    exact_x, exact_y = far_x - 2.0**30, far_y - 2.0**30
    for stat in ("tstat", "cohensd", "mean"):
        found = perm_test(far_x, far_y, stat, 200, seed=1)
        assert found == pytest.approx(perm_test(exact_x, exact_y, stat, 200, seed=1), rel=1e-7)


def timed(function, *args, **kwargs) -> float:
    start = time.perf_counter()
    function(*args, **kwargs)
    return time.perf_counter() - start


def test_permutation_is_fast_and_takes_little_memory():
    """5,000 permutations of 2 x 50 values take a few hundredths of a second."""
    x, y = np.random.default_rng(1).normal(size=(2, 50))
    for stat in STATS:
        assert min(timed(perm_test, x, y, stat, 5000, seed=1) for _ in range(3)) < 0.5, stat
    assert min(timed(cohens_d, x, y, n_boot=5000, seed=1) for _ in range(3)) < 0.5
    x, y = np.random.default_rng(1).normal(size=(2, 200_000))
    tracemalloc.start()
    perm_test(x, y, n_perm=20, seed=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * x.nbytes, "as much as one permutation takes, a few times"


# ------------------------------------------------------------------ bad input

REFUSED = [
    ((X, Y, "tstat_paired"), {}, OptionError, "stat='tstat_paired'.*Did you mean 'tstat-paired'"),
    ((X, Y), {"tails": 3}, OptionError, "tails=3"),
    ((X, Y), {"n_perm": -1}, OptionError, "n_perm=-1"),
    ((X, Y), {"n_perm": 1.5}, OptionError, "n_perm=1.5"),
    ((X, Y), {"n_perm": 0, "return_dist": True}, OptionError, "return_dist=True needs"),
    ((X, Y), {"n_jobs": 0}, OptionError, "n_jobs=0"),
    ((X, Y), {"seed": "a"}, OptionError, "seed='a'"),
    ((X, Y), {"equal_var": "no"}, OptionError, "equal_var='no'"),
    ((X, Y), {"return_dist": None}, OptionError, "return_dist=None"),
    ((X, None, "tstat-paired"), {}, OptionError, "needs y"),
    ((X, None, "pearsonr"), {}, OptionError, "Give y"),
    ((X, SHORT, "tstat-paired"), {}, DataError, "x has 23, y 15"),
    ((X, SHORT, "spearmanr"), {}, DataError, "x has 23, y 15"),
    (([1, 2], [2, 1], "pearsonr"), {}, DataError, "2 complete pairs, and 3"),
    (([1, 1, 1], [1, 2, 3], "pearsonr"), {}, DataError, "x is constant"),
    (([1, 2, 3], [0.1, 0.1, 0.1], "spearmanr"), {}, DataError, "y is constant"),
    (([0.1, 0.1, 0.1],), {}, DataError, "sample is constant"),
    (([1, 1], [2, 2]), {}, DataError, "both constant"),
    (([1, 1], [2, 2], "mean"), {"n_perm": 0}, DataError, "both constant"),
    (([1], [1, 2]), {}, DataError, "x holds 1 numbers, and 2"),
    (([1, 2], [np.nan, np.nan, 3]), {}, DataError, "y holds 1 numbers"),
    (([1, np.nan], [np.nan, 2], "tstat-paired"), {}, DataError, "0 complete pairs"),
    ((["a", "b"], Y), {}, DataError, "x has to hold numbers, not str"),
    ((np.ones((2, 2)),), {}, DataError, r"shape \(2, 2\)"),
    ((X, pd.DataFrame({"y": Y})), {}, DataError, "y has to be a list"),
    ((3.0,), {}, DataError, "x has to be a list.*not a float"),
    (("words",), {}, DataError, "x has to be a list.*not a str"),
    (([1, np.inf],), {}, DataError, "x holds infinite"),
    ((pd.date_range("2020", periods=3),), {}, DataError, "x has to hold numbers"),
]


@pytest.mark.parametrize("given_to, options, kind, said", REFUSED, ids=[case[-1][:20] for case in REFUSED])
def test_what_makes_no_sense_is_refused(given_to, options, kind, said):
    with pytest.raises(kind, match=said):
        perm_test(*given_to, **options)


def test_welch_needs_numbers_with_spread():
    with pytest.raises(DataError, match="x holds 1"):
        stats.welch_dof([1], [1, 2])
    with pytest.raises(DataError, match="both constant"):
        stats.welch_dof([1, 1], [2, 2])
