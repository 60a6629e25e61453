"""Simulated data have the means, spreads, correlations and coefficients that were asked for.

On large draws each is compared with what was asked within five standard errors of its own sampling law, which a
right simulator leaves once in two million times; the seeds are fixed, so a test fails always or never.
"""

from __future__ import annotations

from itertools import pairwise
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import given, settings
from hypothesis import strategies as st

from pymer4 import easy_multivariate_normal, simulate_lm, simulate_lmm
from pymer4.errors import ConvergenceWarning, DataError, ModelWarning, OptionError
from pymer4.simulate import Family, discrete_inverse_logit
from pymer4.statistics.psd import isPSD, nearestPSD

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("strict")]

N = 200_000
SE = 5  # standard errors

R3 = np.array([[1, 0.6, -0.3], [0.6, 1, 0.2], [-0.3, 0.2, 1]])
IMPOSSIBLE = [[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]]
FAMILIES = get_args(Family)


def assert_moments(X, means, sds, R):
    """Check means, standard deviations and correlations within SE standard errors."""
    n, means, sds = len(X), np.broadcast_to(means, X.shape[1]), np.broadcast_to(sds, X.shape[1])
    assert (np.abs(X.mean(axis=0) - means) <= SE * sds / np.sqrt(n)).all()
    assert (np.abs(X.std(axis=0, ddof=1) - sds) <= SE * sds / np.sqrt(2 * n)).all()
    found = np.corrcoef(X.T)
    assert (np.abs(found - R) <= SE * (1 - np.square(R)) / np.sqrt(n) + 1e-12).all()


def least_squares(data):
    """Return coefficients and their standard errors."""
    X = np.column_stack([np.ones(len(data)), data.filter(like="IV")])
    b, rest, *_ = np.linalg.lstsq(X, data["DV"], rcond=None)
    return b, np.sqrt(np.diag(np.linalg.inv(X.T @ X)) * rest[0] / (len(data) - X.shape[1]))


def logistic(data):
    """Return maximum-likelihood coefficients of a logistic regression and their standard errors, by Newton's method."""
    X = np.column_stack([np.ones(len(data)), data.filter(like="IV")])
    b = np.zeros(X.shape[1])
    for _ in range(25):
        p = 1 / (1 + np.exp(-X @ b))
        information = X.T @ (X * (p * (1 - p))[:, None])
        b = b + np.linalg.solve(information, X.T @ (data["DV"] - p))
    return b, np.sqrt(np.diag(np.linalg.inv(information)))


ESTIMATE = {"gaussian": least_squares, "binomial": logistic}

# ------------------------------------------------------------------ easy_multivariate_normal


@pytest.mark.parametrize(
    "mu, sigma", [(0.0, 1.0), ([1, -2, 30], 0.5), (5, [1, 3, 10]), (np.arange(3), pd.Series([3, 2, 1]))]
)
def test_correlations_and_moments_in_each_form(mu, sigma):
    X, R = easy_multivariate_normal(N, 3, R3, mu, sigma, seed=1, return_new_corrs=True)
    assert X.shape == (N, 3)
    np.testing.assert_array_equal(R, R3)
    assert_moments(X, mu, sigma, R3)
    upper = [0.6, -0.3, 0.2]
    for corrs in (R3.tolist(), pd.DataFrame(R3), upper, np.array(upper), pd.Series(upper, index=list("abc"))):
        again = easy_multivariate_normal(50, 3, corrs, mu, sigma, seed=1)
        np.testing.assert_array_equal(again, easy_multivariate_normal(50, 3, R3, mu, sigma, seed=1))


@pytest.mark.parametrize("corr", [0.4, -0.4, 0, 1, np.float64(0.4)])
def test_one_correlation_for_all_pairs(corr):
    R = np.full((3, 3), float(corr))
    np.fill_diagonal(R, 1)
    assert_moments(easy_multivariate_normal(N, 3, corr, seed=2), 0, 1, R)


def test_the_edges_of_correlations_and_spreads():
    X = easy_multivariate_normal(100, 2, -1, seed=2)
    np.testing.assert_allclose(X[:, 0], -X[:, 1], atol=1e-12)
    X = easy_multivariate_normal(10, 2, 0.5, mu=[3, 4], sigma=[0, 1], seed=5)
    assert (X[:, 0] == 3).all() and X[:, 1].std() > 0
    for corrs in (0.3, [[1]], []):
        assert easy_multivariate_normal(5, 1, corrs, seed=1).shape == (5, 1)


def test_impossible_correlations_are_moved_with_a_word_on_how_far_or_refused():
    with pytest.warns(ModelWarning, match="impossible together") as told:
        X, R = easy_multivariate_normal(N, 3, IMPOSSIBLE, seed=6, return_new_corrs=True)
    np.testing.assert_array_equal(R, nearestPSD(IMPOSSIBLE))
    far, distance = np.abs(R - IMPOSSIBLE).max(), np.linalg.norm(R - IMPOSSIBLE)
    assert f"up to {far:.3g} away, {distance:.3g} in" in str(told[0].message)
    assert told[0].filename == __file__ and isPSD(R)
    assert_moments(X, 0, 1, R)
    with pytest.raises(OptionError, match=r"smallest eigenvalue -0\.8.*forcePSD=True"):
        easy_multivariate_normal(10, 3, IMPOSSIBLE, forcePSD=False)
    assert easy_multivariate_normal(10, 3, R3, forcePSD=False).shape == (10, 3)
    with pytest.warns() as told:
        easy_multivariate_normal(10, 3, [0.99, -0.2, 0.7], nit=1)
    assert {w.category for w in told} == {ConvergenceWarning, ModelWarning}
    assert any("nit=1" in str(w.message) for w in told)


# ------------------------------------------------------------------ simulate_lm


@pytest.mark.parametrize("family", FAMILIES)
def test_coefficients_are_recovered(family):
    data, b = simulate_lm(
        N, 3, [0.5, 1, -0.5, 0.25], corrs=R3, mus=[0, 1, -1], sigmas=[1, 0.5, 2], family=family, seed=7
    )
    assert list(data.columns) == ["DV", "IV1", "IV2", "IV3"] and b.tolist() == [0.5, 1, -0.5, 0.25]
    assert_moments(data.filter(like="IV").to_numpy(), [0, 1, -1], [1, 0.5, 2], R3)
    found, error = ESTIMATE[family](data)
    assert (np.abs(found - b) <= SE * error).all()
    if family == "binomial":
        assert data["DV"].dtype.kind == "i" and set(data["DV"]) == {0, 1}


@pytest.mark.parametrize("mean, sd", [(0, 1), (3, 0.5), (-2, 4)])
def test_gaussian_noise(mean, sd):
    data, b = simulate_lm(N, 2, noise_params=(mean, sd), seed=8)
    noise = data["DV"] - b[0] - data[["IV1", "IV2"]] @ b[1:]
    assert abs(noise.mean() - mean) <= SE * sd / np.sqrt(N)
    assert abs(noise.std() - sd) <= SE * sd / np.sqrt(2 * N)
    kurtosis = ((noise - noise.mean()) ** 4).mean() / noise.var() ** 2
    assert abs(kurtosis - 3) <= SE * np.sqrt(24 / N)
    assert_moments(data[["IV1", "IV2"]].to_numpy(), 0, 1, np.eye(2))


@pytest.mark.parametrize("location, scale", [(1, 1), (0, 2), (-0.5, 0.5)])
def test_logistic_noise_shifts_and_scales_the_coefficients(location, scale):
    data, b = simulate_lm(N, 1, [0.2, 0.8], noise_params=(location, scale), family="binomial", seed=9)
    found, error = logistic(data)
    assert (np.abs(found - (b + np.array([location, 0])) / scale) <= SE * error).all()


def test_no_noise_leaves_no_chance():
    data, b = simulate_lm(50, 2, noise_params=(0, 0), seed=10)
    np.testing.assert_allclose(data["DV"], b[0] + data[["IV1", "IV2"]] @ b[1:], rtol=1e-12)
    data, b = simulate_lm(50, 2, noise_params=(0, 0), family="binomial", seed=10)
    np.testing.assert_array_equal(data["DV"], (b[0] + data[["IV1", "IV2"]] @ b[1:] > 0).astype(int))


def test_coefficients_are_drawn_where_none_are_given():
    draws = np.array([simulate_lm(2, 3, seed=seed)[1] for seed in range(500)])
    assert_moments(draws, 0, 1, np.eye(4))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), family=st.sampled_from(FAMILIES), slope=st.floats(-3, 3))
def test_predictors_of_a_seed_do_not_depend_on_the_rest(seed, family, slope):
    first, _ = simulate_lm(6, 2, corrs=0.3, seed=seed)
    second, _ = simulate_lm(6, 2, [1, slope, 0], corrs=0.3, noise_params=(1, 2), family=family, seed=seed)
    pd.testing.assert_frame_equal(first[["IV1", "IV2"]], second[["IV1", "IV2"]])


def test_no_predictor_at_all():
    data, b = simulate_lm(20, 0, [4.0], seed=1)
    assert list(data.columns) == ["DV"] and b.tolist() == [4.0]
    data, blups, b = simulate_lmm(4, 0, 3, [7], seed=1)
    assert list(data.columns) == ["DV", "Group"] and blups.shape == (3, 1) and b.shape == (1,)


# ------------------------------------------------------------------ simulate_lmm


@pytest.mark.parametrize("grp_sigmas, sds", [(0.25, [0.25] * 3), ([1, 0.5, 0], [1, 0.5, 0])], ids=["one", "each"])
def test_groups_vary_about_the_population(grp_sigmas, sds):
    groups = 20_000
    data, blups, b = simulate_lmm(5, 2, groups, [10, 2, -1], grp_sigmas=grp_sigmas, seed=12)
    assert list(data.columns) == ["DV", "IV1", "IV2", "Group"] and list(blups.columns) == ["Intercept", "IV1", "IV2"]
    assert list(blups.index[[0, -1]]) == ["Grp1", f"Grp{groups}"]
    sds = np.array(sds)
    assert (np.abs(blups.mean() - b) <= SE * sds / np.sqrt(groups)).all()
    assert (np.abs(blups.std() - sds) <= SE * sds / np.sqrt(2 * groups)).all()
    np.testing.assert_array_equal(data["Group"], np.repeat(np.arange(1, groups + 1), 5))


def test_each_group_follows_its_own_coefficients():
    data, blups, _ = simulate_lmm(40, 2, 2500, corrs=0.5, mus=[1, 2], sigmas=[2, 1], noise_params=(1, 0.5), seed=13)
    own = blups.to_numpy()[data["Group"] - 1]
    noise = data["DV"] - own[:, 0] - (own[:, 1:] * data[["IV1", "IV2"]]).sum(axis=1)
    assert abs(noise.mean() - 1) <= SE * 0.5 / np.sqrt(len(data))
    assert abs(noise.std() - 0.5) <= SE * 0.5 / np.sqrt(2 * len(data))
    assert_moments(data[["IV1", "IV2"]].to_numpy(), [1, 2], [2, 1], [[1, 0.5], [0.5, 1]])
    data, blups, _ = simulate_lmm(N // 2, 1, 2, [0.5, 1], grp_sigmas=1, family="binomial", seed=14)
    for group, part in data.groupby("Group"):
        found, error = logistic(part.drop(columns="Group"))
        assert (np.abs(found - blups.iloc[group - 1]) <= SE * error).all()


@pytest.mark.parametrize("corrs", [None, 0.3, [0.3], [[1, 0.3], [0.3, 1]]], ids=["none", "number", "upper", "matrix"])
def test_no_two_groups_get_the_same_predictors(corrs):
    data, _, _ = simulate_lmm(10, 2, 30, corrs=corrs, seed=1)
    parts = [part[["IV1", "IV2"]].to_numpy() for _, part in data.groupby("Group")]
    assert not any(np.allclose(first, second) for first, second in pairwise(parts))
    assert len(np.unique(data["IV1"])) == 300


@pytest.mark.r
def test_a_mixed_model_finds_what_was_simulated():
    data, _, b = simulate_lmm(30, 2, 200, [5, 1, -1], corrs=0.3, grp_sigmas=[1, 0.5, 0.25], seed=15)
    model = samples.fitted("DV ~ IV1 + IV2 + (IV1 + IV2 || Group)", data)
    assert (np.abs(model.coefs["Estimate"] - b) <= SE * model.coefs["SE"]).all()
    # The SE of a standard deviation is at least s / sqrt(2 (groups - 1)); the residual part adds less than as much.
    expected, found = np.array([1, 0.5, 0.25]), model.ranef_var["Std"].iloc[:3].to_numpy()
    assert (np.abs(found - expected) <= 2 * SE * expected / np.sqrt(2 * 199)).all()


# ------------------------------------------------------------------ seeds

CALLS = {
    "normal": lambda seed: easy_multivariate_normal(10, 2, 0.5, seed=seed),
    "lm": lambda seed: simulate_lm(10, 2, seed=seed)[0].to_numpy(),
    "logit": lambda seed: simulate_lm(10, 2, family="binomial", seed=seed)[0].to_numpy(),
    "lmm": lambda seed: simulate_lmm(10, 2, 3, corrs=0.3, seed=seed)[0].to_numpy(),
    "blups": lambda seed: simulate_lmm(10, 2, 3, family="binomial", seed=seed)[1].to_numpy(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_seed_repeats_a_draw_and_a_generator_moves_on(call):
    np.testing.assert_array_equal(call(np.int64(1)), call(1))
    assert not np.array_equal(call(1), call(2)) and not np.array_equal(call(None), call(None))
    rngs = np.random.default_rng(5), np.random.default_rng(5)
    first, second = call(rngs[0]), call(rngs[0])
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal([call(rngs[1]), call(rngs[1])], [first, second])


# ------------------------------------------------------------------ discrete_inverse_logit


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, tuple])
def test_the_discrete_inverse_logit_cuts_at_one_half(kind):
    found = discrete_inverse_logit(kind([-700.0, -0.1, 0.0, 1e-300, 2, 700]))
    assert found.tolist() == [0, 0, 0, 1, 1, 1] and found.dtype.kind == "i"
    np.testing.assert_array_equal(discrete_inverse_logit(kind([1.0, np.nan, -1.0])), [1, np.nan, 0])


@pytest.mark.parametrize("values", ["text", 3.0, [["a"]], np.ones((2, 2)), ["a", "b"]])
def test_the_discrete_inverse_logit_wants_numbers(values):
    with pytest.raises(DataError, match="arr has to"):
        discrete_inverse_logit(values)


# ------------------------------------------------------------------ bad input

BAD_NORMAL = [
    *[({"num_obs": n}, f"num_obs={n}") for n in (0, -3, 2.5)],
    ({"num_features": 0}, "num_features=0"),
    ({"corrs": [0.1, 0.2]}, r"corrs has shape \(2,\).*the 3 above"),
    ({"corrs": np.eye(2)}, r"corrs has shape \(2, 2\)"),
    ({"corrs": [[1, 0.5, 0], [0.1, 1, 0], [0, 0, 1]]}, r"corrs is not symmetric: 0\.5 in row 1"),
    ({"corrs": np.eye(3) * 2}, "1 all along its diagonal"),
    *[({"corrs": corrs}, "between -1 and 1") for corrs in (1.2, [0.1, np.nan, 0.2], "high", None)],
    ({"corrs": [[1, 1.5, 0], [1.5, 1, 0], [0, 0, 1]]}, "between -1 and 1"),
    ({"mu": [1, 2]}, r"mu has shape \(2,\).*3 of them"),
    ({"mu": np.inf}, "mu=inf has to hold finite"),
    ({"mu": "a"}, "mu='a' has to hold finite"),
    ({"sigma": [1, 2, 3, 4]}, r"sigma has shape \(4,\)"),
    ({"sigma": [1, -2, 3]}, "negative"),
    ({"seed": -1}, "seed=-1"),
    ({"seed": "a"}, "seed='a'"),
    ({"forcePSD": "yes"}, "forcePSD='yes'"),
    ({"return_new_corrs": 2}, "return_new_corrs=2"),
    ({"num_obs": 10**9, "num_features": 2}, "more than the 1,000,000,000 numbers"),
]
BAD_MODEL = [
    ({"num_obs": 0}, "num_obs=0"),
    ({"num_coef": -1}, "num_coef=-1"),
    ({"num_coef": 40_000}, "num_coef=40,000 make more than"),
    ({"coef_vals": [1, 2]}, "3 finite numbers: the intercept and one for each of 2"),
    *[({"coef_vals": b}, "3 finite numbers") for b in ("ab", [1, 2, np.nan], [1e308] * 3)],
    ({"corrs": [0.1, 0.2, 0.3]}, r"corrs has shape \(3,\)"),
    ({"mus": [1, 2, 3]}, r"mus has shape \(3,\)"),
    ({"mus": 1e308}, "mus=1e.308 has to hold finite numbers, at most 1e.150"),
    ({"sigmas": -1}, "sigmas=-1 holds a negative"),
    ({"noise_params": 1}, "noise_params=1 has to be two numbers"),
    *[({"noise_params": noise}, "two numbers") for noise in ((0, 1, 2), (0, -1), ("a", 1), (0, 1e308))],
    ({"family": "binomal"}, "family='binomal'.*Did you mean 'binomial'"),
    ({"seed": 1.5}, r"seed=1\.5"),
]
BAD_GROUPS = [
    ({"num_grps": 0}, "num_grps=0"),
    ({"grp_sigmas": [1, 2]}, "grp_sigmas has"),
    ({"grp_sigmas": -1}, "negative"),
]
SOUND = {
    easy_multivariate_normal: {"num_obs": 5, "num_features": 3, "corrs": 0.1, "seed": 1},
    simulate_lm: {"num_obs": 5, "num_coef": 2},
    simulate_lmm: {"num_obs": 5, "num_coef": 2, "num_grps": 3},
}
BAD = [
    *[(easy_multivariate_normal, *case) for case in BAD_NORMAL],
    *[(function, *case) for function in (simulate_lm, simulate_lmm) for case in BAD_MODEL],
    *[(simulate_lmm, *case) for case in BAD_GROUPS],
]


@pytest.mark.parametrize("function, change, said", BAD, ids=[f"{case[0].__name__} {case[1]}"[:50] for case in BAD])
def test_what_is_impossible_is_refused(function, change, said):
    with pytest.raises(OptionError, match=said):
        function(**SOUND[function] | change)
