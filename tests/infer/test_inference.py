"""p, quantiles and limits against R, and counts against their definition."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from against_r import ask, each

from pymer4.errors import OptionError
from pymer4.infer.asymptotic import asymptotic, limits, p_value, t_quantile, t_statistic
from pymer4.infer.draws import from_draws, from_null, inverted_p, quantiles, shifted_p

pytestmark = pytest.mark.numeric

P = 1e-12  # relative, down to 1e-300
QUANTILE = 1e-13  # relative
LIMIT = 1e-12  # relative: the same sums in another order

DF = [0.3, 1, 1.5, 2, 3.7, 10, 30.5, 100, 1e4, 1e7, 1e12, np.inf]
T = [0, 1e-8, 0.1, 0.5, 0.999, 1, 1.001, 2, 5, 12, 36]
TAILS = [0.4, 0.25, 0.05, 0.025, 0.005, 1e-6]


@cache
def grid() -> tuple[np.ndarray, np.ndarray]:
    t, df = (values.ravel() for values in np.meshgrid(T, DF))
    return t, df


@cache
def draws() -> np.ndarray:
    rng = np.random.default_rng(6)
    return np.column_stack([1 + rng.normal(size=199), rng.exponential(size=199), 0.4 + rng.gamma(2, size=199) / 5])


ESTIMATES = np.array([1.1, 0.8, 0.75])


@cache
def answers() -> dict[str, np.ndarray]:
    script = r"""
    df[df == 0] <- Inf
    answer$two <- 2 * pt(t, df, lower.tail = FALSE)
    answer$greater <- pt(t, df, lower.tail = FALSE); answer$less <- pt(t, df)
    answer$q <- outer(levels, unique(df), function(p, d) qt(p, d, lower.tail = FALSE))
    limits <- function(f) t(sapply(1:3, f))
    none <- structure(list(R = nrow(draws), sim = "ordinary"), class = "boot")
    taken <- function(type) limits(function(j) {
      influence <- b[j] - knife[, j]
      given <- boot::boot.ci(none, conf = 0.9, type = type, t0 = b[j], t = draws[, j], L = influence)
      rev(rev(given[[4]])[1:2])
    })
    answer$percentile <- taken("perc"); answer$basic <- taken("basic"); answer$bca <- taken("bca")
    answer$sd <- apply(draws, 2, sd)
    """
    t, df = grid()
    finite = np.where(np.isinf(df), 0, df)
    return ask(script, t=t, df=finite, levels=TAILS, draws=draws(), b=ESTIMATES, knife=draws()[:40] ** 2)


@pytest.mark.r
@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_p_of_pt(alternative):
    t, df = grid()
    wanted = answers()["two" if alternative == "two-sided" else alternative]
    assert each(p_value(t, df, alternative), wanted) < P


@pytest.mark.r
def test_quantiles_of_qt():
    for tail, wanted in zip(TAILS, answers()["q"], strict=True):
        found = t_quantile(tail, np.array(DF))
        first = 1 if tail == 1e-6 else 0  # for 0.3 df R's own tail is 2e-10 off there
        assert each(found[first:], wanted[first:]) < QUANTILE


def test_asymptotic_limits_and_alternatives():
    b, se, df = np.array([2.0, -1, 0]), np.array([0.5, 0.4, 1]), np.array([10, 4.5, np.inf])
    both = asymptotic(b, se, df, level=0.9)
    assert np.allclose((b - both.lower) / se, t_quantile(0.05, df), rtol=1e-14)
    assert np.allclose(both.upper - b, b - both.lower, rtol=1e-14)
    assert np.array_equal(both.statistic, b / se) and both.n is None
    more, less = (limits(b, se, df, 0.9, side) for side in ("greater", "less"))
    assert np.isposinf(more[1]).all() and np.isneginf(less[0]).all()
    assert np.allclose((b - more[0]) / se, t_quantile(0.1, df), rtol=1e-14)
    assert np.allclose(p_value(b / se, df, "greater") + p_value(b / se, df, "less"), 1)
    # A test at the limit has p = 1 − level.
    for side in (both.lower, both.upper):
        assert np.allclose(p_value(t_statistic(b, se, side), df), 0.1, rtol=1e-12)


def test_no_df_no_inference():
    found = asymptotic(np.array([1.0, 2]), np.array([np.nan, 1]), np.array([5, 0]))
    assert np.isnan(found.p).all() and np.isnan(found.lower).all() and np.isnan(found.upper).all()


@pytest.mark.r
@pytest.mark.parametrize("kind", ["percentile", "basic", "bca"])
def test_limits_from_draws(kind):
    found = from_draws(ESTIMATES, draws(), 0.9, kind, jackknife=draws()[:40] ** 2)
    assert each(np.column_stack([found.lower, found.upper]), answers()[kind]) < LIMIT
    assert each(found.se, answers()["sd"]) < LIMIT
    assert found.n.tolist() == [199] * 3


@pytest.mark.parametrize("n", [1, 2, 19, 99, 100, 1000])
def test_quantiles_are_draws_where_their_rank_is_whole(n):
    draws = np.random.default_rng(3).permutation(np.arange(1.0, n + 1))
    shares = np.arange(1, n + 1) / (n + 1)
    np.testing.assert_array_equal(quantiles(draws, shares), np.arange(1.0, n + 1))
    np.testing.assert_array_equal(quantiles(draws, [1e-9, 1 - 1e-9]), [1, n])
    two = quantiles(np.column_stack([draws, -draws]), [0.3, 0.6])
    np.testing.assert_array_equal(two[:, 0], quantiles(draws, [0.3, 0.6]))
    assert two.shape == (2, 2) and np.all(np.diff(two[:, 1]) >= 0)


def test_p_inverts_the_percentile_limits():
    rng = np.random.default_rng(1)
    for _ in range(50):
        sample = rng.normal(rng.normal(), 1, size=(199, 1))
        p = from_draws(sample.mean(axis=0), sample).p[0]
        below, above = (sample <= 0).sum(), (sample >= 0).sum()
        assert p == min(1, 2 * (1 + min(below, above)) / 200)
    far = np.full((99, 1), 3.0)
    assert inverted_p(far)[0] == 2 / 100
    assert inverted_p(np.zeros((99, 1)))[0] == 1
    assert inverted_p(far - 3.0)[0] == 1


def test_draws_that_failed_are_left_out():
    sample = draws().copy()
    sample[:10, 1], sample[3] = np.nan, np.nan
    found, wanted = from_draws(ESTIMATES, sample), from_draws(ESTIMATES[1:2], draws()[10:, 1:2])
    assert found.n.tolist() == [198, 189, 198]
    assert found.lower[1] == wanted.lower[0] and found.p[1] == wanted.p[0]
    assert each(found.se[1:2], wanted.se) < LIMIT
    none = from_draws(ESTIMATES, np.full((5, 3), np.nan))
    assert np.isnan(none.p).all() and np.isnan(none.se).all() and none.n.tolist() == [0, 0, 0]


def test_bca_with_all_draws_on_one_side_stays_finite():
    found = from_draws(np.array([10.0]), draws()[:, :1], 0.95, "bca", draws()[:20, :1])
    assert np.isfinite(found.lower).all() and found.upper[0] <= draws()[:, 0].max()
    flat = from_draws(np.array([1.0]), draws()[:, :1], 0.95, "bca", np.ones((20, 1)))
    assert np.isfinite(flat.lower).all()


def test_bca_needs_the_jackknife():
    with pytest.raises(OptionError, match="ci_type='percentile'"):
        from_draws(ESTIMATES, draws(), kind="bca")


# ------------------------------------------------------------------ permutations


def test_hits_are_counted_with_the_observed_one():
    null = np.array([[0.5, -3], [-2, 1], [1, 1], [2, 3]])
    assert from_null(np.array([2.0, 3]), null).tolist() == [3 / 5, 3 / 5]
    assert from_null(np.array([2.0, 3]), null, "greater").tolist() == [2 / 5, 2 / 5]
    assert from_null(np.array([-2.0, -3]), null, "less").tolist() == [2 / 5, 2 / 5]
    assert from_null(np.array([9.0, 9]), null).tolist() == [1 / 5, 1 / 5]


def test_ties_count_in_spite_of_rounding():
    assert from_null(np.array([0.3]), np.array([[0.1 + 0.2], [0.3 - 1e-15], [0.2]]))[0] == 3 / 4
    assert from_null(np.array([0.3]), np.array([[0.3 - 1e-8]]))[0] == 1 / 2
    # A statistic that is 0 but for rounding ties with all others that are.
    assert from_null(np.array([1e-16]), np.array([[0.0], [-3e-17], [1.0]]))[0] == 1
    assert from_null(np.array([np.inf]), np.array([[np.inf], [1.0]]))[0] == 2 / 3


def test_what_is_missing_is_no_draw():
    assert from_null(np.array([2.0]), np.array([[np.nan], [3.0], [1.0]]))[0] == 2 / 3
    assert np.isnan(from_null(np.array([np.nan, 1]), np.array([[1.0, np.nan]]))).all()


def test_draws_moved_to_the_null():
    sample, b = draws(), ESTIMATES
    wanted = [(1 + (np.abs(sample[:, j] - b[j]) >= abs(b[j] - 0.5)).sum()) / 200 for j in range(3)]
    assert shifted_p(b, sample, 0.5).tolist() == wanted
