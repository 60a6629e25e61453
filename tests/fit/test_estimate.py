"""Least squares against the certified values of NIST's reference data, and what must not change it.

Numbers of R's `lm` are in tests/reference/native.csv.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from against_r import each, relative
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import FACTOR, UNIT, bounds, condition

from pymer4.errors import DataError
from pymer4.fit.influence import jackknife, self_fitted
from pymer4.fit.linear import factor, independent_columns, least_squares, orthonormal

pytestmark = pytest.mark.numeric

OWN = 1e-11  # relative: two ways of computing one thing on this side, well conditioned

# Longley (1967, JASA 62, 819-841) and the polynomials of Wampler (1970, JASA 65, 549-565), with the values that NIST
# certifies for them (Statistical Reference Datasets, linear regression).
LONGLEY_DATA = np.fromstring(
    """60323 83.0 234289 2356 1590 107608 1947   61122 88.5 259426 2325 1456 108632 1948
       60171 88.2 258054 3682 1616 109773 1949   61187 89.5 284599 3351 1650 110929 1950
       63221 96.2 328975 2099 3099 112075 1951   63639 98.1 346999 1932 3594 113270 1952
       64989 99.0 365385 1870 3547 115094 1953   63761 100.0 363112 3578 3350 116219 1954
       66019 101.2 397469 2904 3048 117388 1955  67857 104.6 419180 2822 2857 118734 1956
       68169 108.4 442769 2936 2798 120445 1957  66513 110.8 444546 4681 2637 121950 1958
       68655 112.6 482704 3813 2552 123366 1959  69564 114.2 502601 3931 2514 125368 1960
       69331 115.7 518173 4806 2572 127852 1961  70551 116.9 554894 4007 2827 130081 1962""",
    sep=" ",
).reshape(-1, 7)
LONGLEY_B, LONGLEY_SE = np.fromstring(
    """-3482258.63459582 15.0618722713733 -0.0358191792925910 -2.02022980381683 -1.03322686717359 -0.0511041056535807
    1829.15146461355     890420.383607373 84.9149257747669 0.0334910077722432 0.488399681651699 0.214274163161675
    0.226073200069370 455.478499142212""",
    sep=" ",
).reshape(2, 7)
WAMPLER_NOISE = np.fromstring(
    """759 -2048 2048 -2048 2523 -2048 2048 -2048 1838 -2048 2048
    -2048 1838 -2048 2048 -2048 2523 -2048 2048 -2048 759""",
    sep=" ",
)
WAMPLER_SE = np.fromstring(
    "2152.32624678170 2363.55173469681 779.343524331583 101.475507550350 5.64566512170752 0.112324854679312", sep=" "
)


def longley() -> tuple[np.ndarray, np.ndarray]:
    return np.column_stack([np.ones(16), LONGLEY_DATA[:, 1:]]), LONGLEY_DATA[:, 0]


@cache
def case() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    x, z = rng.normal(size=60), rng.uniform(1, 3, 60)
    y, X = 3 + x - 0.2 * z + rng.normal(size=60), np.column_stack([np.ones(60), x, z])
    return {"X": X, "y": y, "weights": np.exp(rng.normal(size=60))}


def test_longley_as_certified():
    fit, allowed = least_squares(*longley()), bounds(*longley())
    assert (np.abs(fit.b - LONGLEY_B) <= allowed.b).all()
    assert (np.abs(fit.se / LONGLEY_SE - 1) <= allowed.se).all()
    assert each([fit.sigma, fit.rsquared], [304.854073561965, 0.995479004577296]) <= allowed.sigma


@pytest.mark.parametrize("size", [0, 1, 100, 1e4])
def test_wampler_as_certified(size):
    X = np.vander(np.arange(21.0), 6, increasing=True)
    y = X @ np.ones(6) + size * WAMPLER_NOISE
    fit, allowed = least_squares(X, y), bounds(X, y)
    assert (np.abs(fit.b - 1) <= allowed.b).all() and allowed.b.max() < 1e-3
    if size:
        assert (np.abs(fit.se / (size * WAMPLER_SE) - 1) <= allowed.se).all()


# ------------------------------------------------------------------ aliased columns


@cache
def designs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(8)
    n = 30
    x, z, one = rng.normal(size=n), rng.normal(size=n), np.ones(n)
    a, b = np.eye(3)[np.arange(n) % 3], np.eye(2)[np.arange(n) % 2]
    empty = np.eye(6)[np.where(np.arange(n) % 6 == 5, 0, np.arange(n) % 6)]
    steps = np.linspace(-8.781464495, -3.132002490, 82)  # the range of NIST's Filip
    return {
        "full": np.column_stack([one, x, z]),
        "sum": np.column_stack([one, x, z, x + z, 2 * x - 1]),
        "zero": np.column_stack([one, np.zeros(n), x]),
        "constant": np.column_stack([one, 5 * one, x]),
        "dummies": np.column_stack([one, a, b]),
        "crossed": np.column_stack([a, b, x[:, None] * a, x]),
        "empty cell": np.column_stack([one, empty]),
        "first of two": np.column_stack([x, x, z]),
        "near, kept": np.column_stack([one, x, x + 1e-6 * z]),
        "near, dropped": np.column_stack([one, x, x + 1e-8 * z, z]),
        "far from zero": np.column_stack([one, 1e8 + x, z]),
        "wide": rng.normal(size=(4, 7)),
        "wide, dependent": np.outer(np.arange(1.0, 5), np.arange(1.0, 7)),
        "filip": np.vander(steps, 11, increasing=True),
        "scales": np.column_stack([one, 1e-12 * x, 1e12 * z, 1e-12 * x + 1e-12]),
        "tall": np.column_stack([np.tile(np.column_stack([one, x, z, x - z]), (200, 1)), rng.normal(size=6000)]),
    }


KEPT = {  # by R's lm.fit
    "full": "111",
    "sum": "11100",
    "zero": "101",
    "constant": "101",
    "dummies": "111010",
    "crossed": "111101110",
    "empty cell": "1111100",
    "first of two": "101",
    "near, kept": "111",
    "near, dropped": "1101",
    "far from zero": "101",
    "wide": "1111000",
    "wide, dependent": "100000",
    "filip": "11111111110",
    "scales": "1110",
    "tall": "11101",
}


@pytest.mark.parametrize("name", KEPT)
def test_columns_that_r_keeps(name):
    assert "".join("01"[kept] for kept in independent_columns(designs()[name]).astype(int)) == KEPT[name]


@given(st.lists(st.lists(st.integers(-2, 2), min_size=5, max_size=5), min_size=5, max_size=9))
@settings(deadline=None, max_examples=60)
def test_columns_kept_span_the_rest(rows):
    X = np.array(rows, dtype=float)
    kept = independent_columns(X)
    assert kept.sum() == np.linalg.matrix_rank(X)
    for j in range(X.shape[1]):
        before = X[:, :j][:, kept[:j]]
        assert kept[j] == (np.linalg.matrix_rank(np.column_stack([before, X[:, j]])) > before.shape[1])


def test_weights_decide_too():
    X = np.column_stack([np.ones(4), [1.0, 1, 1, 1 + 1e-3]])
    assert independent_columns(X).all()
    assert not factor(X, np.array([1, 1, 1, 1e-12])).kept.all()


def test_aliased_columns_are_refused():
    X = designs()["sum"]
    with pytest.raises(DataError, match="independent_columns"):
        least_squares(X, X[:, 1])
    with pytest.raises(DataError, match="independent_columns"):
        orthonormal(X)


# ------------------------------------------------------------------ ways and invariances


@pytest.mark.parametrize("spoil", [0, 1e-2, 1e-4], ids=["sound", "doubtful", "nearly aliased"])
def test_tall_designs_lose_no_digits(spoil):
    rng = np.random.default_rng(3)
    X = np.column_stack([np.ones(20_001), 100 + rng.normal(size=(20_001, 3))])
    if spoil:
        X = np.column_stack([X, X[:, 1] + spoil * rng.normal(size=len(X))])
    R, reference = factor(X).R, np.linalg.qr(X, mode="r")
    signs = np.sign(np.diag(R) * np.diag(reference))
    assert each(np.diag(R) * signs, np.diag(reference)) <= FACTOR * UNIT * condition(X)
    b = np.arange(1.0, X.shape[1] + 1)
    assert (np.abs(least_squares(X, X @ b).b - b) <= bounds(X, X @ b).b).all()


def test_orthonormal_basis():
    for n in (50, 9000):
        X = np.column_stack([np.ones(n), np.random.default_rng(1).normal(5, 1, (n, 3))])
        w = np.linspace(1, 2, n)
        Q, root = orthonormal(X, w)
        assert np.abs(Q.T @ Q - np.eye(4)).max() <= FACTOR * UNIT * condition(X)
        assert relative(Q, np.sqrt(w)[:, None] * X @ root) <= FACTOR * UNIT * condition(X)


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
@settings(deadline=None, max_examples=30)
def test_invariances(seed, scale, shift):
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(25), rng.normal(size=(25, 2))])
    y, w = rng.normal(size=25), rng.uniform(0.5, 2, 25)
    fit, order = least_squares(X, y, w), rng.permutation(25)
    moved = least_squares(X[order], y[order], w[order])
    assert relative(moved.b, fit.b) < OWN
    assert relative(moved.residuals, fit.residuals[order]) < OWN
    scaled = least_squares(X * [1, scale, 1], scale * y + shift, w)
    by = np.array([scale, 1, scale])
    assert relative(scaled.b - [shift, 0, 0], fit.b * by) < OWN * max(1, abs(shift) / scale, scale)
    heavier = least_squares(X, y, scale * w)
    assert relative(heavier.vcov, fit.vcov) < OWN
    assert abs(heavier.rsquared - fit.rsquared) < OWN
    assert abs(heavier.log_likelihood - fit.log_likelihood) < 1e-9


def test_memory_order_and_a_factor_at_hand_change_nothing():
    how = case()
    fit = least_squares(**how)
    other = least_squares(**how | {"X": np.asfortranarray(how["X"])}, factored=factor(how["X"], how["weights"]))
    assert relative(other.b, fit.b) < OWN


def test_as_many_rows_as_columns():
    fit = least_squares(np.array([[1.0, 0], [1, 1]]), np.array([1.0, 3]))
    assert fit.b.round(12).tolist() == [1, 2] and fit.df_resid == 0
    assert np.isnan(fit.sigma) and np.isnan(fit.rsquared_adj) and np.isnan(fit.se).all()
    assert not fit.is_perfect


def test_a_perfect_fit_says_so():
    x = np.arange(10.0)
    X = np.column_stack([np.ones(10), x])
    assert least_squares(X, 1 + 2 * x).is_perfect
    assert not least_squares(X, 1 + 2 * x + 1e-6 * (x % 2)).is_perfect


def test_rows_that_coefficients_rest_on():
    X, y = np.column_stack([np.ones(6), np.arange(6.0), [0, 0, 0, 0, 1, 0]]), np.array([1.0, 2, 4, 3, 9, 5])
    fit = least_squares(X, y)
    assert self_fitted(fit, X).tolist() == [4]
    without = jackknife(fit, X)
    assert np.isnan(without[4]).all()
    for k in (0, 1, 2, 3, 5):
        assert relative(without[k], least_squares(np.delete(X, k, axis=0), np.delete(y, k)).b) < OWN


def test_an_offset_is_taken_out_and_put_back():
    how, shift = case(), case()["X"][:, 2] ** 2
    moved, fit = least_squares(**how | {"y": how["y"] + shift}, offset=shift), least_squares(**how)
    assert relative(moved.b, fit.b) < OWN and relative(moved.fitted, fit.fitted + shift) < OWN
    assert each([moved.rsquared, moved.log_likelihood], [fit.rsquared, fit.log_likelihood]) < OWN
    assert np.array_equal(fit.vcov, fit.sigma**2 * fit.unscaled)
