"""Fits of many resamples at once against fits of each by itself, and what resampling is for."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from against_r import each, relative
from rounding import bounds

from pymer4.data.families import NATIVE_LINKS
from pymer4.errors import DataError
from pymer4.fit import basis as basis_module
from pymer4.fit import batched
from pymer4.fit.basis import Basis
from pymer4.fit.glm import generalized
from pymer4.fit.irls import STILL
from pymer4.fit.linear import least_squares
from pymer4.fit.many_glm import fitted
from pymer4.fit.sandwich import Meat, covariance, group_variances
from pymer4.infer.draws import from_null
from pymer4.infer.replicates import (
    bootstrap_generalized,
    bootstrap_linear,
    coefficients,
    permute_generalized,
    permute_linear,
    t_statistics,
)
from pymer4.infer.resample import boot_counts, shuffles
from pymer4.work import blocks

pytestmark = pytest.mark.numeric

LOOP = 1e-11  # relative: cross-products in an orthonormal basis here, a factorisation for each there
MAXIMUM = 100 * STILL  # in standard errors: what steps that shrink by a tenth or more leave behind the last one
KINDS = ("iid", "hc0", "hc1", "hc2", "hc3", "hac", "cluster")


@cache
def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(12)
    n = 80
    X = np.column_stack([np.ones(n), 20 + rng.normal(size=n), rng.integers(0, 3, n) == 1, rng.normal(size=n)])
    return {
        "X": X,
        "y": 100 + X @ [1, 2, -1, 0] + np.exp(0.5 * X[:, 3]) * rng.normal(size=n),
        "w": rng.uniform(0.3, 3, n),
        "groups": rng.integers(0, 3, n),
        "clusters": rng.integers(0, 15, n),
    }


def how(name: str) -> dict[str, np.ndarray]:
    """Return the arguments of plain, weighted, and group-weighted least squares."""
    d = data()
    return {"plain": {}, "weights": {"weights": d["w"]}, "groups": {"groups": d["groups"]}}[name]


def by_itself(y: np.ndarray, name: str, rows: np.ndarray | None = None):
    """Return a fit of some rows, as the functions for many have to make it."""
    d = data()
    rows = np.arange(80) if rows is None else rows
    X, w = d["X"][rows], None
    if name == "weights":
        w = d["w"][rows]
    if name == "groups":
        own = d["groups"][rows]
        w = 1 / group_variances(X, y[rows], own, 3)[own]
    return least_squares(X, y[rows], w)


def drawn(X, y, counts, weights=None, groups=None):
    return coefficients(Basis.of(X, weights), y, counts, groups)


def t_of(X, Y, kind="iid", clusters=None, n_lags=1, weights=None, groups=None):
    own = weights if np.ndim(weights) == 2 else None
    return t_statistics(Basis.of(X, weights if own is None else None), Y, Meat.of(kind, clusters, n_lags), groups, own)


@pytest.mark.parametrize("name", ["plain", "weights", "groups"])
def test_bootstrap_is_a_fit_of_the_rows_drawn(name):
    d, counts = data(), boot_counts(80, 25, 3)
    found = drawn(d["X"], d["y"], counts, **how(name))
    for k in range(25):
        rows = np.repeat(np.arange(80), counts[k].astype(int))
        assert relative(found[k], by_itself(d["y"], name, rows).b) < LOOP


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["plain", "weights", "groups"])
def test_permuted_statistics_are_those_of_each_outcome(name, kind):
    d = data()
    Y = d["y"][shuffles(80, 12, 5)]
    t, b = t_of(d["X"], Y, kind, d["clusters"], 3, **how(name))
    for k in range(12):
        fit = by_itself(Y[k], name)
        se = np.sqrt(np.diag(covariance(fit, d["X"], kind, d["clusters"], 3)))
        assert relative(b[k], fit.b) < LOOP
        assert relative(t[k], fit.b / se) < LOOP


def test_outcomes_with_weights_of_their_own():
    d, orders = data(), shuffles(80, 6, 5)
    t, _ = t_of(d["X"], d["y"][orders], "hc3", weights=d["w"][orders])
    for k, order in enumerate(orders):
        fit = least_squares(d["X"], d["y"][order], d["w"][order])
        assert relative(t[k], fit.b / np.sqrt(np.diag(covariance(fit, d["X"], "hc3")))) < LOOP


@pytest.mark.parametrize("kind", KINDS)
def test_large_designs_are_summed_without_their_products(kind, monkeypatch):
    d = data()
    Y, counts = d["y"][shuffles(80, 4, 5)], boot_counts(80, 4, 3)
    wanted = t_of(d["X"], Y, kind, d["clusters"], 2, groups=d["groups"])
    whole = drawn(d["X"], d["y"], counts)
    monkeypatch.setattr(basis_module, "_PRODUCTS", 0)
    found = t_of(d["X"], Y, kind, d["clusters"], 2, groups=d["groups"])
    assert relative(found[0], wanted[0]) < LOOP and relative(found[1], wanted[1]) < LOOP
    assert relative(drawn(d["X"], d["y"], counts), whole) < LOOP


def test_samples_without_a_level_have_no_coefficients():
    X = np.column_stack([np.ones(12), np.arange(12.0), np.arange(12) == 4])
    y = np.arange(12.0) ** 2
    counts = boot_counts(12, 200, 1)
    found = drawn(X, y, counts)
    lost = counts[:, 4] == 0
    assert 0 < lost.sum() < 200
    assert np.isnan(found[lost]).all() and np.isfinite(found[~lost]).all()
    # One draw of many rows leaves few different ones: their fit is exact.
    few = np.zeros((2, 12))
    few[0, [0, 4, 7]], few[1, [0, 7]] = 4, 6
    exact = drawn(X, y, few)
    assert relative(exact[0], np.linalg.solve(X[[0, 4, 7]], y[[0, 4, 7]])) < LOOP and np.isnan(exact[1]).all()


def test_nearly_aliased_samples_are_solved_again():
    rng = np.random.default_rng(1)
    x = rng.normal(size=40)
    X = np.column_stack([np.ones(40), x, x + 1e-5 * rng.normal(size=40)])
    y, counts = X @ [1.0, 2, 3] + rng.normal(size=40), boot_counts(40, 30, 2)
    found = drawn(X, y, counts)
    for k in range(30):
        rows = np.repeat(np.arange(40), counts[k].astype(int))
        assert (np.abs(found[k] - least_squares(X[rows], y[rows]).b) <= bounds(X[rows], y[rows]).b).all()


def test_what_a_system_gives_does_not_hang_on_those_beside_it():
    alone = [np.eye(3), np.diag([1, 1, 1e-14]), np.diag([1.0, 2, 0]), np.full((3, 3), np.nan)]
    together = batched.cholesky(np.stack(alone))
    for one, found in zip(alone, together, strict=True):
        np.testing.assert_array_equal(batched.cholesky(one[None])[0], found)
    np.testing.assert_array_equal(np.isnan(together).any(axis=(1, 2)), [False, False, True, True])


def test_a_group_without_a_variance_leaves_a_sample_out():
    X, y = np.ones((6, 1)), np.array([1.0, 2, 4, 7, 3, 5])
    groups, counts = (
        np.array([0, 0, 0, 1, 1, 1]),
        np.array([[2.0, 1, 0, 1, 1, 1], [1, 1, 1, 3, 0, 0], [2, 2, 2, 0, 0, 0]]),
    )
    found = drawn(X, y, counts, groups=groups)
    assert np.isfinite(found[[0, 2]]).all()
    wide = drawn(np.column_stack([np.ones(6), groups]), y, counts, groups=groups)
    assert np.isnan(wide[1:]).all() and np.isfinite(wide[0]).all()


# ------------------------------------------------------------------ all draws


def test_numbers_depend_on_the_seed_alone():
    d = data()
    X, y, w, clusters = (d[key] for key in ("X", "y", "w", "clusters"))
    for draw in (
        lambda n, seed, jobs: bootstrap_linear(X, y, n, seed, w, n_jobs=jobs),
        lambda n, seed, jobs: bootstrap_linear(X, y, n, seed, clusters=clusters, n_jobs=jobs),
        lambda n, seed, jobs: permute_linear(X, y, n, seed, "hc3", n_jobs=jobs),
        lambda n, seed, jobs: permute_linear(X, y, n, seed, scheme="freedman-lane", within=clusters, n_jobs=jobs),
    ):
        many = draw(7000, 4, 1)
        assert many.shape == (7000, 4)
        assert np.array_equal(draw(7000, 4, 2), many)
        assert np.array_equal(draw(5, 4, 1), many[:5]) or relative(draw(5, 4, 1), many[:5]) < LOOP
        assert not np.array_equal(draw(5, 5, 1), many[:5])
    assert len(blocks(4, 7000, 20)) > 1
    with pytest.raises(DataError, match="nothing to draw"):
        bootstrap_linear(X, y, 0, 1)


def test_freedman_lane_shuffles_what_the_other_columns_leave():
    d = data()
    X, y, w = d["X"], d["y"], d["w"]
    for weights in (None, w):
        found = permute_linear(X, y, 10, 3, "hc1", weights=weights, scheme="freedman-lane")
        [(seed, k)] = blocks(3, 10, 20)
        root = np.ones(80) if weights is None else np.sqrt(weights)
        for j in range(4):
            reduced = least_squares(np.delete(X, j, axis=1), y, weights, has_intercept=j > 0)
            for i, order in enumerate(shuffles(80, int(k), int(seed))):
                shuffled = reduced.fitted + (root * reduced.residuals)[order] / root
                fit = least_squares(X, shuffled, weights)
                se = np.sqrt(np.diag(covariance(fit, X, "hc1")))
                assert abs(found[i, j] - fit.b[j] / se[j]) < 1e-9 * max(1, abs(found[i, j]))


@pytest.mark.parametrize("scheme", ["raw", "freedman-lane"])
@pytest.mark.parametrize("kind", ["iid", "hc3"])
def test_a_noise_predictor_has_a_uniform_p(scheme, kind):
    rng = np.random.default_rng(17)
    p = []
    for seed in range(300):
        x, z = rng.normal(size=(2, 25))
        X, slope = np.column_stack([np.ones(25), x, z]), 0.0 if scheme == "raw" else 2.0
        y = 3 + slope * z + rng.normal(size=25)
        fit = least_squares(X, y)
        t = fit.b / np.sqrt(np.diag(covariance(fit, X, kind)))
        p.append(from_null(t, permute_linear(X, y, 99, seed, kind, scheme=scheme))[1])
    # 300 tests: 5 % ± 4 standard errors, and a mean of 1/2.
    assert abs(np.mean(np.array(p) <= 0.05) - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 300)
    assert abs(np.mean(p) - 0.5) < 4 / np.sqrt(12 * 300)


def test_weights_go_with_the_outcome_they_belong_to():
    """Outcomes of unequal variance that are shuffled without their weights reject too often, or too seldom."""
    rng = np.random.default_rng(18)
    p = []
    for seed in range(300):
        X, scale = np.column_stack([np.ones(30), rng.normal(size=30)]), np.exp(rng.normal(size=30))
        y, w = scale * rng.normal(size=30), scale**-2
        fit = least_squares(X, y, w)
        p.append(from_null(fit.b / fit.se, permute_linear(X, y, 99, seed, weights=w))[1])
    assert abs(np.mean(np.array(p) <= 0.05) - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 300)


def test_shuffles_within_groups_leave_their_means():
    d = data()
    level = np.repeat(np.arange(8), 10) * 100.0
    t = permute_linear(d["X"], d["y"] + level, 500, 2, within=np.repeat(np.arange(8), 10))
    total = permute_linear(np.column_stack([np.ones(80), level]), level, 50, 2, within=np.repeat(np.arange(8), 10))
    assert np.abs(t[:, 1]).max() < 6
    assert (np.abs(total[:, 1]) > 1e6).all()  # nothing that varies between groups alone can change


# ------------------------------------------------------------------ generalized


def outcome(family: str, link: str, rng: np.random.Generator, eta: np.ndarray) -> np.ndarray:
    mean = np.exp(eta)
    if family == "binomial":
        return rng.binomial(1, np.exp(-1.2 + 0.6 * eta)).astype(float)
    return {
        "gaussian": lambda: eta + 1 + 0.2 * rng.normal(size=len(eta)),
        "poisson": lambda: rng.poisson(mean).astype(float),
        "gamma": lambda: rng.gamma(5, mean / 5),
        "inverse_gaussian": lambda: rng.wald(mean, 8),
        "nbinom": lambda: rng.negative_binomial(2, 2 / (2 + 2 * mean)).astype(float),
    }[family]()


@pytest.mark.parametrize("family, link", [(f, link) for f, links in NATIVE_LINKS.items() for link in links])
def test_generalized_batches_are_loops(family, link):
    rng = np.random.default_rng(9)
    n, B = 150, 6
    X = np.column_stack([np.ones(n), rng.uniform(size=n), rng.integers(0, 2, n)])
    y = outcome(family, link, rng, X @ [0.5, 0.8, -0.3])
    prior, offset, clusters = rng.integers(1, 4, n).astype(float), 0.01 * X[:, 1], rng.integers(0, 20, n)
    full = generalized(X, y, family, link, prior, offset)
    weights = boot_counts(n, B, 3) * prior
    drawn = fitted(Basis.of(X), y, family, link, weights, offset, start=full.b)
    orders = shuffles(n, B, 4)
    moved = fitted(Basis.of(X), y[orders], family, link, prior[orders], offset[orders], meat=Meat.of("hc3"))
    grouped = fitted(
        Basis.of(X), y[orders], family, link, prior[orders], offset[orders], meat=Meat.of("cluster", clusters)
    )
    assert drawn.ok.all() and moved.ok.all()
    for k in range(B):
        used = weights[k] > 0
        fit = generalized(X[used], y[used], family, link, weights[k][used], offset[used])
        assert (np.abs(drawn.b[k] - fit.b) / fit.se).max() < MAXIMUM
        assert relative(drawn.unscaled[k], fit.unscaled) < 1e-9
        order = orders[k]
        fit = generalized(X, y[order], family, link, prior[order], offset[order])
        assert (np.abs(moved.b[k] - fit.b) / fit.se).max() < MAXIMUM
        assert each([moved.dispersion[k]], [fit.dispersion]) < 1e-9
        assert each(moved.b[k] / moved.z[k], np.sqrt(np.diag(covariance(fit, X, "hc3")))) < 1e-9
        assert each(grouped.b[k] / grouped.z[k], np.sqrt(np.diag(covariance(fit, X, "cluster", clusters)))) < 1e-9
        if family == "nbinom":
            assert each([moved.theta[k]], [fit.theta]) < 1e-9


def test_a_theta_that_is_given_stays():
    rng = np.random.default_rng(2)
    X = np.column_stack([np.ones(60), rng.normal(size=60)])
    Y = rng.negative_binomial(2, 0.3, (4, 60)).astype(float)
    found = fitted(Basis.of(X), Y, "nbinom", "log", theta=1.3)
    assert (found.theta == 1.3).all()
    for b, y in zip(found.b, Y, strict=True):
        assert relative(b, generalized(X, y, "nbinom", "log", theta=1.3).b) < 1e-9


def test_samples_that_are_separated_or_aliased_are_told():
    x = np.arange(16.0)
    X, y = np.column_stack([np.ones(16), x]), np.array([0.0] * 6 + [1, 0, 1, 0] + [1] * 6)
    counts = np.ones((4, 16))
    counts[1, [6, 8]], counts[2], counts[3, 7] = 0, 0, 3
    counts[2, 3] = 16
    found = fitted(Basis.of(X), y, "binomial", "logit", counts)
    assert found.ok.tolist() == [True, True, False, True]
    assert found.separated.tolist() == [False, True, False, False]
    assert np.isnan(found.b[2]).all() and found.b[1, 1] > 10


@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_generalized_draws_depend_on_the_seed_alone(family):
    rng = np.random.default_rng(4)
    X = np.column_stack([np.ones(90), rng.normal(size=90)])
    y, w = rng.integers(0, 2, 90).astype(float), rng.integers(1, 4, 90).astype(float)
    link = {"binomial": "logit", "poisson": "log"}[family]
    boot = bootstrap_generalized(X, y, family, link, 900, 3, w)
    assert np.array_equal(bootstrap_generalized(X, y, family, link, 900, 3, w, n_jobs=2), boot)
    t = permute_generalized(X, y, family, link, 900, 3, w, kind="hc0")
    assert np.array_equal(permute_generalized(X, y, family, link, 900, 3, w, kind="hc0", n_jobs=2), t)
    fit = generalized(X, y, family, link, w)
    assert np.abs(boot.mean(axis=0) - fit.b).max() < 0.5 * fit.se.max()
    [(seed, k), *_] = blocks(3, 900, 90)
    order = shuffles(90, int(k), int(seed))[0]
    first = generalized(X, y[order], family, link, w[order])
    assert relative(t[0], first.b / np.sqrt(np.diag(covariance(first, X, "hc0")))) < 1e-9


def test_a_row_without_weight_may_have_a_predictor_out_of_range():
    rng = np.random.default_rng(4)
    X = np.column_stack([np.ones(40), rng.uniform(0, 1, 40)])
    y = rng.wald((X @ [1.0, 0.5]) ** -0.5, 20)
    X[-1, 1] = -9.0
    weights = np.append(np.ones(39), 0.0)
    found = fitted(
        Basis.of(X), y, "inverse_gaussian", "1/mu^2", weights[None], None, None, None, Meat.of("iid", None, 1)
    )
    alone = generalized(X[:-1], y[:-1], "inverse_gaussian", "1/mu^2")
    np.testing.assert_allclose(found.z[0], alone.b / alone.se, rtol=1e-8)
