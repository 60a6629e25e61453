"""Regressions by group against those of each group by itself."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from against_r import each, relative
from rounding import bounds

from pymer4.fit.glm import generalized
from pymer4.fit.grouped import OK, SINGULAR, TOO_FEW, UNFITTED, grouped_generalized, grouped_least_squares
from pymer4.fit.linear import least_squares

pytestmark = pytest.mark.numeric

SAME = 1e-11  # relative: Gram-Schmidt here, Householder there
MAXIMUM = 1e-9  # in standard errors
R = 1e-9  # relative


@cache
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return design, outcome and unsorted codes of 12 groups of 5 to 38 rows."""
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(12), np.arange(5, 41, 3))
    codes = codes[rng.permutation(len(codes))]
    n = len(codes)
    X = np.column_stack([np.ones(n), 50 + rng.normal(size=n), rng.uniform(size=n)])
    y = 1e3 + X @ [1, 2, -1] + rng.normal(size=12)[codes] * X[:, 1] + rng.normal(size=n)
    return X, y, codes


@pytest.mark.parametrize("has_intercept", [True, False])
def test_each_group_is_a_fit_of_its_own(has_intercept):
    X, y, codes = data()
    X = X if has_intercept else X[:, 1:]
    found = grouped_least_squares(X, y, codes, 12, has_intercept)
    for g in range(12):
        here = codes == g
        fit = least_squares(X[here], y[here], has_intercept=has_intercept)
        assert relative(found.b[g], fit.b) < SAME
        assert each(found.se[g], fit.se) < SAME
        assert each(found.unscaled[g], np.diag(fit.unscaled)) < SAME
        assert relative(found.fitted[here], fit.fitted) < SAME
        assert np.abs(found.residuals[here] - fit.residuals).max() < 1e-9 * fit.sigma
        numbers = [found.dispersion[g], found.rsquared[g], found.rsquared_adj[g], found.log_likelihood[g]]
        assert each(numbers, [fit.sigma**2, fit.rsquared, fit.rsquared_adj, fit.log_likelihood]) < 1e-10
        assert (found.n[g], found.df_resid[g]) == (here.sum(), fit.df_resid)
        assert found.n_parameters[g] == fit.n_parameters
    assert (found.reason == OK).all() and not found.separated.any()


def test_sums_of_squares():
    X, y, codes = data()
    found = grouped_least_squares(X, y, codes, 12)
    total = [((y[codes == g] - y[codes == g].mean()) ** 2).sum() for g in range(12)]
    assert each(found.tss, total) < 1e-10
    assert each(1 - found.rss / found.tss, found.rsquared) < 1e-10
    without = grouped_least_squares(X, y, codes, 12, has_intercept=False)
    assert each(without.tss, [(y[codes == g] ** 2).sum() for g in range(12)]) < 1e-12


def test_groups_that_can_not_be_fitted():
    codes = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 4, 4, 4, 5, 5, 5])
    X = np.column_stack([np.ones(16), np.arange(16.0) ** 1.5, [0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 1, 0]])
    y = np.arange(16.0) ** 2
    y[13:] = 7.0
    found = grouped_least_squares(X, y, codes, 6)
    assert found.reason.tolist() == [OK, TOO_FEW, SINGULAR, TOO_FEW, OK, OK]  # group 3 has no rows
    bad = found.reason != OK
    assert np.isnan(found.b[bad]).all() and np.isnan(found.se[bad]).all() and np.isnan(found.rsquared[bad]).all()
    assert np.isnan(found.fitted[bad[codes]]).all() and np.isfinite(found.fitted[~bad[codes]]).all()
    assert np.isfinite(found.b[4]).all() and np.isnan(found.se[4]).all() and np.isinf(found.log_likelihood[4])
    assert np.isnan(found.rsquared[5])  # an outcome that does not vary
    assert found.n.tolist() == [4, 2, 4, 0, 3, 3]


def test_ill_conditioned_columns_lose_no_more_digits_than_by_themselves():
    t = np.arange(21.0)
    X = np.tile(np.vander(t, 6, increasing=True), (3, 1))
    y = X @ np.ones(6)
    found = grouped_least_squares(X, y, np.repeat(np.arange(3), 21), 3)
    assert (np.abs(found.b - 1) <= bounds(X[:21], y[:21]).b).all()
    assert relative(found.b[0], found.b[2]) == 0
    nearly = np.column_stack([np.ones(21), t, t + 1e-8 * (t % 3)])
    assert grouped_least_squares(nearly, t, np.zeros(21, dtype=int), 1).reason[0] == SINGULAR


# ------------------------------------------------------------------ generalized

OUTCOMES = {
    "binomial logit": lambda rng, mu, m: rng.binomial(m, mu / (1 + mu)) / m,
    "binomial probit": lambda rng, mu, m: rng.binomial(m, mu / (1 + mu)) / m,
    "poisson log": lambda rng, mu, m: rng.poisson(mu).astype(float),
    "poisson identity": lambda rng, mu, m: rng.poisson(20 * mu).astype(float),
    "gamma inverse": lambda rng, mu, m: rng.gamma(4, mu),
    "gaussian log": lambda rng, mu, m: 5 * mu + 0.1 * rng.normal(size=len(mu)),
    "inverse_gaussian log": lambda rng, mu, m: rng.wald(mu, 5),
    "nbinom log": lambda rng, mu, m: rng.negative_binomial(2, 2 / (2 + 5 * mu)).astype(float),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_each_generalized_group_is_a_fit_of_its_own(name):
    rng = np.random.default_rng(6)
    codes = np.repeat(np.arange(8), 30)[rng.permutation(240)]
    X = np.column_stack([np.ones(240), rng.uniform(0, 1, 240), rng.integers(0, 2, 240)])
    weights, (family, link) = rng.integers(3, 9, 240).astype(float), name.split()
    y = OUTCOMES[name](rng, np.exp(X @ [0.3, 0.5, -0.2]), weights.astype(int))
    found = grouped_generalized(X, y, codes, 8, family, link, weights)
    assert (found.reason == OK).all()
    for g in range(8):
        here = codes == g
        fit = generalized(X[here], y[here], family, link, weights[here])
        assert (np.abs(found.b[g] - fit.b) / fit.se).max() < MAXIMUM
        assert each(found.se[g], fit.se) < 1e-9
        assert relative(found.fitted[here], fit.fitted) < 1e-9
        assert relative(found.residuals[here], fit.residuals) < 1e-9
        assert each([found.rss[g], found.log_likelihood[g]], [fit.deviance, fit.log_likelihood]) < 1e-9
        assert (found.n_parameters[g], found.df_resid[g]) == (fit.n_parameters, fit.df_resid)
    assert np.isnan(found.rsquared).all() and np.isnan(found.tss).all()


def test_generalized_groups_that_can_not_be_fitted():
    x = np.tile(np.arange(10.0), 4)
    X, codes = np.column_stack([np.ones(40), x]), np.repeat(np.arange(4), 10)
    X[20:30, 1] = 3.0
    y = (np.arange(40) * 7 % 10 > 4) * 1.0
    y[10:20] = x[10:20] > 4.5
    found = grouped_generalized(X, y, codes, 5, "binomial", "logit")
    assert found.reason.tolist() == [OK, OK, SINGULAR, OK, TOO_FEW]
    assert found.separated.tolist() == [False, True, False, False, False]
    assert np.isnan(found.b[2]).all() and np.isfinite(found.b[1]).all()
    illegal = grouped_generalized(X[:20], np.where(codes[:20] == 1, -1.0, 1 + x[:20]), codes[:20], 2, "gaussian", "log")
    assert illegal.reason.tolist() == [OK, UNFITTED]
    assert np.isnan(illegal.log_likelihood[1]) and np.isnan(illegal.residuals[10:]).all()
