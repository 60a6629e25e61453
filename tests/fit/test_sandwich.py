"""Robust covariances against the sums that define them, and degrees of freedom against Welch's t test."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from against_r import each, relative
from scipy import stats

from pymer4.errors import DataError
from pymer4.fit.glm import generalized
from pymer4.fit.linear import independent_columns, least_squares
from pymer4.fit.sandwich import covariance, df_of, group_variances, welch_df

pytestmark = pytest.mark.numeric

SAME = 1e-9  # relative to the largest element
DF = 1e-10  # relative, against SciPy's Welch test


@cache
def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    n = 90
    x, z = rng.normal(size=n), rng.uniform(0, 2, n)
    X = np.column_stack([np.ones(n), x, z, (np.arange(n) % 3 == 1) * 1.0])
    rate = np.exp(0.3 + 0.4 * x - 0.2 * z)
    trials = rng.integers(1, 7, n)
    return {
        "X": X,
        "y": 2 + x + np.exp(0.5 * x) * rng.normal(size=n),
        "w": rng.uniform(0.3, 3, n),
        "cl": rng.integers(0, 12, n),
        "trials": trials,
        "binomial": rng.binomial(trials, 1 / (1 + np.exp(-x))) / trials,
        "poisson": rng.poisson(rate),
        "gamma": rng.gamma(2, rate / 2),
        "nbinom": rng.negative_binomial(2, 2 / (2 + rate)),
    }


@cache
def fits() -> dict:
    d = data()
    X = d["X"]
    return {
        "ols": least_squares(X, d["y"]),
        "wls": least_squares(X, d["y"], d["w"]),
        "binomial": generalized(X, d["binomial"], "binomial", "logit", d["trials"].astype(float)),
        "poisson": generalized(X, d["poisson"].astype(float), "poisson", "log", d["w"]),
        "gamma": generalized(X, d["gamma"], "gamma", "log"),
        "nbinom": generalized(X, d["nbinom"].astype(float), "nbinom", "log", theta=2.0),
    }


def by_definition(fit, X: np.ndarray, kind: str, clusters: np.ndarray, n_lags: int) -> np.ndarray:
    """Return a covariance from its sums, row by row; tests/reference/native.csv has those of R's sandwich."""
    n, p = X.shape
    s, h = fit.scores(X), fit.leverages(X)
    if kind == "cluster":
        sums = [s[clusters == c].sum(axis=0) for c in np.unique(clusters)]
        meat = sum(np.outer(v, v) for v in sums) * len(sums) / (len(sums) - 1) * (n - 1) / (n - p)
    elif kind == "hac":
        pairs = [(i, j) for i in range(n) for j in range(n) if abs(i - j) <= n_lags]
        meat = sum((1 - abs(i - j) / (n_lags + 1)) * np.outer(s[i], s[j]) for i, j in pairs)
    else:
        power = {"hc0": 0, "hc1": 0, "hc2": 1, "hc3": 2}[kind]
        meat = (s / (1 - h[:, None]) ** power).T @ s * (n / (n - p) if kind == "hc1" else 1)
    return fit.unscaled @ meat @ fit.unscaled


KINDS = [("hc0", 0), ("hc1", 0), ("hc2", 0), ("hc3", 0), ("cluster", 0), ("hac", 0), ("hac", 3), ("hac", 200)]


@pytest.mark.parametrize("kind, n_lags", KINDS)
@pytest.mark.parametrize("model", ["ols", "wls", "binomial", "poisson", "gamma", "nbinom"])
def test_covariances_are_their_sums(model, kind, n_lags):
    X, clusters = data()["X"], data()["cl"]
    found = covariance(fits()[model], X, kind, clusters, n_lags)
    assert relative(found, by_definition(fits()[model], X, kind, clusters, n_lags)) < SAME
    assert relative(found, found.T) < 1e-14


def test_rows_order_and_cluster_names_do_not_matter():
    d, order = data(), np.random.default_rng(1).permutation(90)
    X, y, cl = d["X"], d["y"], d["cl"]
    moved = least_squares(X[order], y[order])
    for kind in ("hc3", "cluster"):
        wanted = covariance(fits()["ols"], X, kind, cl)
        assert relative(covariance(moved, X[order], kind, 1000 - 7 * cl[order]), wanted) < 1e-12


def test_a_row_that_fits_itself():
    X = np.column_stack([np.ones(8), np.arange(8) == 3])
    fit = least_squares(X.astype(float), np.array([1.0, 2, 4, 9, 3, 5, 2, 3]))
    assert np.isnan(covariance(fit, X.astype(float), "hc3")).all()
    assert np.isnan(covariance(fit, X.astype(float), "hc2")).all()
    assert np.isfinite(covariance(fit, X.astype(float), "hc1")).all()


def test_degrees_of_freedom():
    fit, cl = fits()["ols"], data()["cl"]
    assert df_of("iid", fit) == df_of("hac", fit) == 86
    assert df_of("cluster", fit, cl) == 12 - 4
    with pytest.raises(DataError, match="4 clusters for 4 coefficients"):
        df_of("cluster", fit, cl % 4)
    with pytest.raises(DataError, match="one cluster"):
        covariance(fit, data()["X"], "cluster", np.zeros(90, dtype=int))


# ------------------------------------------------------------------ one variance per group


@cache
def groups() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(9)
    codes = np.repeat([0, 1, 2], [7, 12, 25])[rng.permutation(44)]
    y = np.array([1.0, 2.5, 2])[codes] + np.array([0.3, 2, 1])[codes] * rng.normal(size=44)
    return codes, y, rng.normal(size=44)


@pytest.mark.parametrize("n_groups", [2, 3])
def test_groups_alone_are_welchs_t_test(n_groups):
    codes, y, _ = groups()
    used = codes < n_groups
    codes, y = codes[used], y[used]
    X = np.column_stack([np.ones(len(y)), *(codes == k for k in range(1, n_groups))])
    variances = group_variances(X, y, codes, n_groups)
    fit, df = least_squares(X, y, 1 / variances[codes]), welch_df(X, codes, variances)
    assert each(variances, [y[codes == k].var(ddof=1) for k in range(n_groups)]) < DF
    for k in range(1, n_groups):
        wanted = stats.ttest_ind(y[codes == k], y[codes == 0], equal_var=False)
        assert each([fit.b[k] / fit.se[k], df[k]], [wanted.statistic, wanted.df]) < DF
    assert abs(df[0] - 6) < 1e-9  # the mean of the group of seven


def test_df_of_a_difference_of_two_other_groups():
    codes, y, _ = groups()
    X = np.column_stack([np.ones(44), codes == 1, codes == 2])
    variances = group_variances(X, y, codes, 3)
    a, b = variances[1] / 12, variances[2] / 25
    found = welch_df(X, codes, variances, L=np.array([[0.0, -1, 1]]))
    assert each(found, [(a + b) ** 2 / (a**2 / 11 + b**2 / 24)]) < DF


def test_df_with_covariates_follow_the_formula_row_by_row():
    codes, y, x = groups()
    X = np.column_stack([np.ones(44), codes == 1, codes == 2, x, x * (codes == 2)])
    variances = group_variances(X, y, codes, 3)
    M = np.eye(44) - X @ np.linalg.inv(X.T @ X) @ X.T
    D = [np.diag((codes == g).astype(float)) for g in range(3)]
    traces = np.array([np.trace(M @ d) for d in D])
    assert each(variances, [y @ M @ d @ M @ y / t for d, t in zip(D, traces, strict=True)]) < 1e-10
    middle = M @ np.diag(variances[codes]) @ M
    C = np.array([[2 * np.trace(a @ middle @ b @ middle) for b in D] for a in D]) / np.outer(traces, traces)

    def of(v: np.ndarray) -> np.ndarray:
        return np.diag(np.linalg.inv(X.T @ np.diag(1 / v[codes]) @ X))

    steps = 1e-4 * np.diag(variances)
    slopes = np.array([(of(variances + s) - of(variances - s)) / (2 * s.sum()) for s in steps])
    wanted = 2 * of(variances) ** 2 / np.einsum("gj,gh,hj->j", slopes, C, slopes)
    assert each(welch_df(X, codes, variances), wanted) < 1e-7  # slopes by differences
    assert not np.allclose(wanted, wanted[0])  # no one df for all coefficients


def test_groups_without_a_variance():
    codes = np.array([0, 0, 0, 1, 2, 2, 2])
    X = np.column_stack([np.ones(7), codes == 1, codes == 2])
    found = group_variances(X, np.array([1.0, 2, 4, 9, 5, 5, 5]), codes, 3)
    assert np.isfinite(found[0]) and np.isnan(found[1]) and found[2] == 0
    assert independent_columns(X).all()


def test_offset_leaves_the_variances():
    codes, y, x = groups()
    X = np.column_stack([np.ones(44), x])
    assert each(group_variances(X, y + 3 * x**2, codes, 3, offset=3 * x**2), group_variances(X, y, codes, 3)) < 1e-10


# ------------------------------------------------------------------ rows that fit themselves

CELLS = np.repeat([0, 1, 2], [10, 10, 1])
CELL_MEANS = np.eye(3)[CELLS]
FROM_FIRST = np.column_stack([np.ones(21), CELL_MEANS[:, 1:]])


@pytest.mark.parametrize("kind", ["hc0", "hc1", "hac", "cluster"])
@pytest.mark.parametrize("family", [None, "poisson"])
def test_a_coefficient_of_rows_that_fit_themselves_has_no_robust_error(kind, family):
    """The mean of a cell of one row; the other means keep their number."""
    y = np.random.default_rng(8).poisson(4, 21).astype(float)
    clusters = np.arange(21) // 2
    fit = least_squares(CELL_MEANS, y) if family is None else generalized(CELL_MEANS, y, family, "log")
    V = covariance(fit, CELL_MEANS, kind, clusters)
    assert np.isnan(V[2]).all() and np.isnan(V[:, 2]).all()
    e = y[CELLS == 0] - y[CELLS == 0].mean()
    if (kind, family) == ("hc0", None):
        np.testing.assert_allclose(V[0, 0], (e**2).sum() / 100, rtol=1e-12)
    assert np.isfinite(V[:2, :2]).all()


def test_a_difference_from_others_keeps_its_number():
    """The same cell as a difference from the first one hangs on rows that have residuals too."""
    fit = least_squares(FROM_FIRST, np.random.default_rng(8).normal(size=21))
    assert relative(covariance(fit, FROM_FIRST, "hc0"), by_definition(fit, FROM_FIRST, "hc0", CELLS, 0)) < SAME
