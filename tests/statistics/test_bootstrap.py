"""Bootstrap limits of Cohen's d and of functions of the user, against the enumeration of all resamples."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from drawn import EXACT, ROUNDING, SE, SHORT, X, Y, every_resample, holes, plain
from scipy import stats as reference

from pymer4.errors import DataError, ModelWarning, OptionError
from pymer4.statistics.bootstrap import boot_func, cohens_d
from pymer4.work import BLOCK, blocks

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("strict")]

# ------------------------------------------------------------------ cohens_d


@pytest.mark.parametrize("value", [0, 0.5, -1, np.float64(2)])
def test_cohens_d_is_a_difference_over_a_spread_and_value_is_taken_off_before(value):
    def d(*samples, **options):
        return cohens_d(*samples, value=value, n_boot=0, **options)

    assert d(X) == pytest.approx(plain("cohensd", X - value), rel=EXACT)
    for equal_var in (False, True):
        expected = plain("cohensd", X - value, SHORT, equal_var)
        assert d(X, SHORT, equal_var=equal_var) == pytest.approx(expected, rel=EXACT)
        assert d(X, Y, paired=True, equal_var=equal_var) == pytest.approx(plain("cohensd", X - Y - value), rel=EXACT)
    t = reference.ttest_ind(X - value, SHORT).statistic
    assert d(X, SHORT, equal_var=True) == pytest.approx(t * np.sqrt(1 / len(X) + 1 / len(SHORT)), rel=EXACT)


@pytest.mark.parametrize("kind", ["one", "two", "pooled", "paired"])
def test_limits_of_d_are_the_percentiles_of_all_resamples(kind):
    x, y = np.array([1.0, 2, 4, 7]), np.array([0.5, 2.5, 3, 4] if kind == "paired" else [2.0, 2.5, 3])
    if kind in ("one", "paired"):
        law = np.array([plain("cohensd", r) for r in every_resample(x - y if kind == "paired" else x)])
    else:
        both = [(r, s) for r in every_resample(x) for s in every_resample(y)]
        law = np.array([plain("cohensd", *pair, kind == "pooled") for pair in both])
    samples, options = (x,) if kind == "one" else (x, y), {"paired": kind == "paired", "equal_var": kind == "pooled"}
    n = 40_000
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        d, limits = cohens_d(*samples, **options, n_boot=n, seed=1)
    assert d == cohens_d(*samples, **options, n_boot=0)
    finite = law[np.isfinite(law)]
    assert len(told) == (len(finite) < len(law))
    # A quantile of the draws lies between the law's quantiles SE standard errors of the share away.
    for share, limit in zip((0.025, 0.975), limits, strict=True):
        slack = SE * np.sqrt(share * (1 - share) / n)
        low, high = np.quantile(finite, [share - slack, share + slack], method="inverted_cdf")
        assert low - ROUNDING <= limit <= high + ROUNDING


def test_resamples_without_spread_are_counted_and_left_out():
    with pytest.warns(ModelWarning, match=r"In \d+ of 1000 resamples d is NaN or infinite") as told:
        _, limits = cohens_d([1.0, 2.0, 4.0], n_boot=1000, seed=1)
    assert np.isfinite(limits).all() and told[0].filename == __file__


@pytest.mark.parametrize("arguments", [{}, {"paired": True}, {"equal_var": True}, {"value": 0.3}], ids=str)
def test_limits_of_d_repeat_and_do_not_depend_on_workers(arguments):
    d, limits = cohens_d(X, Y, n_boot=5000, seed=7, **arguments)
    assert isinstance(d, float) and limits.shape == (2,) and limits[0] < d < limits[1]
    again = cohens_d(X, pd.Series(Y, index=np.arange(len(Y))[::-1]), n_boot=5000, seed=7, n_jobs=2, **arguments)
    assert again[0] == d
    np.testing.assert_array_equal(again[1], limits)
    assert cohens_d(X, Y, n_boot=5000, seed=8, **arguments)[1].tolist() != limits.tolist()


def test_missing_values_are_left_out_of_d():
    there = ~np.isnan(holes(X))
    assert cohens_d(holes(X), Y, n_boot=0) == cohens_d(X[there], Y, n_boot=0)
    assert cohens_d(holes(X), Y, paired=True, n_boot=0) == cohens_d(X[there], Y[there], paired=True, n_boot=0)
    nullable = pd.Series([1, 2, None, 4], dtype="Int64")
    assert cohens_d(nullable, n_boot=0) == cohens_d([1, 2, 4], n_boot=0)


# ------------------------------------------------------------------ boot_func


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
    x = np.array([1.0, 3, 4, 9])
    law = np.array([np.median(r) for r in every_resample(x)])
    value, limits = boot_func(x, func=np.median, n_boot=5000, seed=2)
    assert value == 3.5
    np.testing.assert_array_equal(limits, np.quantile(law, [0.025, 0.975]))


def test_samples_are_drawn_independently_or_together():
    _, apart = boot_func(X, X + 0.01 * Y, difference, n_boot=2000, seed=3)
    _, together = boot_func(X, X + 0.01 * Y, difference, paired=True, n_boot=2000, seed=3)
    assert np.ptp(together) < 0.1 * np.ptp(apart)
    _, limits = boot_func(X, 2 * X, correlation, paired=True, n_boot=100, seed=3)
    np.testing.assert_allclose(limits, 1)
    frame = pd.DataFrame({"a": X, "b": 3 * X})
    value, limits = boot_func(frame, func=lambda rows: np.ptp(rows[:, 1] - 3 * rows[:, 0]), n_boot=20, seed=1)
    assert value == 0 and not limits.any(), "rows of a frame stay together"


def test_arguments_of_the_function_go_by_name_and_it_may_return_an_array():
    value, limits = boot_func(X, func=first_of, func_args={"factor": 2, "shift": 10}, n_boot=100, seed=4)
    plain_value, plain_limits = boot_func(X, func=first_of, n_boot=100, seed=4)
    assert value == pytest.approx(2 * plain_value + 10)
    np.testing.assert_allclose(limits, 2 * plain_limits + 10)
    value, limits = boot_func(X, func=np.percentile, func_args={"q": [25, 50, 75]}, n_boot=200, seed=5)
    assert value.shape == (3,) and limits.shape == (2, 3)
    np.testing.assert_allclose(limits[:, 1], boot_func(X, func=np.median, n_boot=200, seed=5)[1])


@pytest.mark.parametrize("paired", [False, True])
def test_boot_func_repeats_and_does_not_depend_on_workers(paired):
    expected = boot_func(X, Y, difference, paired=paired, n_boot=103, seed=6)
    for func, n_jobs in ((difference, 2), (difference, -1), (lambda a, b: a.mean() - b.mean(), 2)):
        found = boot_func(X, Y, func, paired=paired, n_boot=103, n_jobs=n_jobs, seed=6)
        assert found[0] == expected[0]
        np.testing.assert_array_equal(found[1], expected[1])


def test_the_function_gets_arrays_of_its_own():
    def spoil(x):
        assert type(x) is np.ndarray
        x[:] = 0
        return 1.0

    x = X.copy()
    for values in (x, pd.Series(x), list(x)):
        assert boot_func(values, func=spoil, n_boot=5, seed=1)[0] == 1.0
    np.testing.assert_array_equal(x, X)
    share, _ = boot_func(pd.Series(["a", "b", "a"]), func=lambda x: float((x == "a").mean()), n_boot=5, seed=1)
    assert share == pytest.approx(2 / 3)


def test_missing_values_and_errors_are_for_the_function():
    value, limits = boot_func(holes(X), func=np.nanmean, n_boot=50, seed=1)
    assert value == np.nanmean(holes(X)) and np.isfinite(limits).all()
    with pytest.warns(ModelWarning, match="func is NaN"):
        value, limits = boot_func(holes(X), func=np.mean, n_boot=50, seed=1)
    assert np.isnan(value) and np.isfinite(limits).all()

    def fail(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        boot_func(X, func=fail)


# ------------------------------------------------------------------ what both stand on


@pytest.mark.parametrize("n, size", [(1, 1), (5000, 100), (7, 10**9), (65537, 1), (3, 0)])
def test_blocks_hold_all_draws_and_little_memory(n, size):
    work = blocks(1, n, size)
    assert work[:, 1].sum() == n and (work[:, 1] > 0).all()
    assert (work[:, 1] * size <= max(BLOCK, size)).all()
    assert len(np.unique(work[:, 0])) == len(work) and (work[:, 0] >= 0).all()
    np.testing.assert_array_equal(work, blocks(1, n, size))
    more = blocks(1, 2 * n, size)  # begins with the same seeds
    np.testing.assert_array_equal(work[:-1], more[: len(work) - 1])
    assert work[-1, 0] == more[len(work) - 1, 0]


REFUSED = {
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
}


@pytest.mark.parametrize("call, kind, said", REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused(call, kind, said):
    with pytest.raises(kind, match=said):
        call()
