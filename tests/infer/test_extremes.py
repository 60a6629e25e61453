"""Tails of the largest of several statistics: other integrals, SciPy, and families with a known law."""

from __future__ import annotations

import numpy as np
import pytest
from against_r import each
from scipy.special import gammainc, ndtr
from scipy.stats import studentized_range

from pymer4.infer.asymptotic import p_value, t_quantile
from pymer4.infer.extremes import Joint, exceeded, range_tail

pytestmark = pytest.mark.numeric

INTEGRAL = 1e-11  # relative, of tails down to 1e-58
GAMMA = 1e-9  # relative: what the library leaves of an incomplete gamma function of half a million
SCIPY = 1e-9  # SciPy integrates to 1e-11 and less
DIRECTIONS = 1e-3  # relative, in families of rank 7 and less
TIE = 1e-13


def by_density(q: float, k: float, df: float) -> float:
    """Return P(R / s > q) as the mean of P(s < R / q) over the density of the range R, by Gauss-Legendre on pieces."""
    x, w = np.polynomial.legendre.leggauss(30)
    fine = q * (1 + np.linspace(-12, 12, 41) / np.sqrt(2 * max(df, 50))) if df < np.inf else [q]
    ends = np.unique(np.concatenate([[0, 1e-4, 1e-3, 0.01, 0.1], np.arange(0.5, 45), fine]).clip(0, 45))
    half = np.diff(ends)[:, None] / 2
    r = (ends[:-1, None] + half + half * x).reshape(-1, 1)
    z = r / 2 + np.arange(-10, 10, 0.125)
    between = np.where(z > r / 2, ndtr(r - z) - ndtr(-z), ndtr(z) - ndtr(z - r))
    inner = np.exp(-(z**2) / 2 - (z - r) ** 2 / 2) * between ** (k - 2)
    density = k * (k - 1) * 0.125 / (2 * np.pi) * inner.sum(axis=1)
    r = r.ravel()
    below = r > q if df == np.inf else gammainc(df / 2, df / 2 * (r / q) ** 2)
    return float(density @ (below * (half * w).ravel()))


@pytest.mark.parametrize("df", [1, 4.4, 12.7, 60, 1e6, np.inf])
@pytest.mark.parametrize("k", [2.56, 10, 50])
def test_the_studentized_range_is_a_mean_over_the_density_of_the_range(k, df):
    q = np.array([0.5, 3.5, 7, 20, 100 if df < 100 else 30])
    assert each(range_tail(q, k, df), [by_density(one, k, df) for one in q]) < (GAMMA if df == 1e6 else INTEGRAL)


@pytest.mark.parametrize("k, df", [(3, 1), (3, 7.5), (8, 30.5), (50, 7.5), (50, np.inf)])
def test_scipy_has_these_tails_and_quantiles(k, df):
    q = studentized_range.ppf(0.95, k, df)
    assert range_tail(np.array([q, 3.1]), k, df) == pytest.approx([0.05, studentized_range.sf(3.1, k, df)], abs=SCIPY)
    found = exceeded(lambda t, df: range_tail(t, k, df), 0.05, np.array([df]), np.array([0.1]), np.array([2 * q]))
    assert found == pytest.approx(q, rel=SCIPY)


def test_two_means_are_the_t_test_and_there_are_no_jumps_at_the_ends():
    q, df = np.array([0, 1e-9, 3, 40, np.inf, np.nan, 3, 3]), np.array([4, 4, 4, 4, 4, 4, 0, np.nan])
    np.testing.assert_array_equal(range_tail(q, 2, df), p_value(q / np.sqrt(2), df))
    found = range_tail(q, 3, df)
    assert found[:2] == pytest.approx(1, abs=1e-13) and found[4] == 0 and np.isnan(found[5:]).all()
    grown = range_tail(np.linspace(0, 40, 4001), 20, 3.0)
    assert (np.diff(grown) <= 0).all()


def differences(k: int) -> np.ndarray:
    """Return the covariance of the differences of k independent means."""
    K = np.array([np.eye(k)[i] - np.eye(k)[j] for i in range(k) for j in range(i + 1, k)])
    return K @ K.T


@pytest.mark.parametrize("k", [3, 5, 8])
@pytest.mark.parametrize("df", [2, 20, np.inf])
def test_the_largest_difference_of_means_is_their_range(k, df):
    t, nu = np.array([0.5, 1.5, 2.5, 4, 6]), np.full(5, float(df))
    wanted = range_tail(np.sqrt(2) * t, k, nu)
    found = Joint.of(differences(k), two_sided=True).tail(t, nu)
    assert each(found, wanted) < DIRECTIONS


@pytest.mark.parametrize("two_sided", [True, False])
def test_independent_normal_statistics_have_the_product(two_sided):
    t, df = np.array([-1, 0.1, 0.7, 2, 4]), np.full(5, np.inf)
    t = np.abs(t) if two_sided else t
    one = p_value(t, df, "two-sided" if two_sided else "greater")
    found = Joint.of(np.diag([1.0, 4, 9, 16]), two_sided).tail(t, df)
    assert each(found, -np.expm1(4 * np.log1p(-one))) < DIRECTIONS


@pytest.mark.parametrize("two_sided", [True, False])
def test_statistics_that_are_one_have_its_p(two_sided):
    t, df = np.array([0.3, 2, 9]), np.array([3.0, 8, np.inf])
    joint = Joint.of(np.ones((3, 3)), two_sided)
    assert joint.rank == 1
    assert each(joint.tail(t, df), p_value(t, df, "two-sided" if two_sided else "greater")) < TIE


def test_p_fall_in_t_from_bonferroni_to_the_single_test():
    rng = np.random.default_rng(4)
    joint = Joint.of(np.cov(rng.normal(size=(9, 6)).T), two_sided=True)
    t = np.linspace(0, 30, 601)
    for df in (1.0, 5.0, np.inf):
        found, one = joint.tail(t, np.full(601, df)), p_value(t, df)
        assert (np.diff(found[found < 0.99]) < 0).all()
        assert (found >= one * (1 - TIE)).all() and (found <= 6 * one * (1 + TIE)).all()


def test_quantiles_have_the_tail():
    df = np.array([0.5, 1, 3.3, 40, 1e5, np.inf])
    for alpha in (0.5, 0.05, 1e-6):
        low, high = t_quantile(alpha / 2, df), t_quantile(alpha / 90, df)
        t = exceeded(lambda t, df: range_tail(np.sqrt(2) * t, 10, df), alpha, df, low, high)
        assert each(range_tail(np.sqrt(2) * t, 10, df), np.full(6, alpha)) < 2 * TIE
