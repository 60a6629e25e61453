"""Simulated data have the means, spreads, correlations and coefficients that were asked for.

On large draws each is compared with what was asked within five standard errors of its own sampling law, which a
right simulator leaves once in two million times; the seeds are fixed, so a test fails always or never.
"""

from __future__ import annotations

import doctest
import importlib.util
import pickle
import warnings
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pymer4
from pymer4 import easy_multivariate_normal, load_dataset, simulate, simulate_lm, simulate_lmm
from pymer4.errors import ConvergenceWarning, DataError, ModelWarning, OptionError
from pymer4.simulate import Family, discrete_inverse_logit
from pymer4.statistics.psd import isPSD, nearestPSD

pytestmark = pytest.mark.numeric

N = 200_000
SE = 5  # standard errors

R3 = np.array([[1, 0.6, -0.3], [0.6, 1, 0.2], [-0.3, 0.2, 1]])
IMPOSSIBLE = [[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]]
FAMILIES = get_args(Family)


@pytest.fixture(autouse=True)
def strict():
    """Nothing may warn unless a test waits for it, and NumPy's global state stays as it was."""
    before = pickle.dumps(np.random.get_state())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert pickle.dumps(np.random.get_state()) == before


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

# easy_multivariate_normal


FORMS = {
    "matrix": R3,
    "rows": R3.tolist(),
    "frame": pd.DataFrame(R3),
    "upper triangle": [0.6, -0.3, 0.2],
    "upper array": np.array([0.6, -0.3, 0.2]),
    "upper series": pd.Series([0.6, -0.3, 0.2], index=list("abc")),
}


@pytest.mark.parametrize("corrs", FORMS.values(), ids=FORMS)
def test_correlations_in_each_form(corrs):
    X, R = easy_multivariate_normal(N, 3, corrs, seed=1, return_new_corrs=True)
    assert X.shape == (N, 3)
    np.testing.assert_array_equal(R, R3)
    assert_moments(X, 0, 1, R3)
    np.testing.assert_array_equal(X, easy_multivariate_normal(N, 3, R3, seed=1))


@pytest.mark.parametrize("corr", [0.4, -0.4, 0, 1, np.float64(0.4)])
def test_one_correlation_for_all_pairs(corr):
    R = np.full((3, 3), float(corr))
    np.fill_diagonal(R, 1)
    assert_moments(easy_multivariate_normal(N, 3, corr, seed=2), 0, 1, R)


def test_two_columns_with_correlation_minus_one():
    X = easy_multivariate_normal(100, 2, -1, seed=2)
    np.testing.assert_allclose(X[:, 0], -X[:, 1], atol=1e-12)


@pytest.mark.parametrize(
    "mu, sigma",
    [(0.0, 1.0), (5, 2), ([1, -2, 30], 0.5), (0, [1, 3, 10]), (np.array([1, 2, 3]), pd.Series([3, 2, 1]))],
    ids=["default", "scalars", "means", "sds", "both"],
)
def test_means_and_standard_deviations_in_each_form(mu, sigma):
    assert_moments(easy_multivariate_normal(N, 3, R3, mu, sigma, seed=3), mu, sigma, R3)


def test_the_covariance_is_sd_r_sd():
    X = easy_multivariate_normal(N, 2, 0.5, sigma=[2, 10], seed=4)
    expected = np.array([[4, 10], [10, 100]])
    # var(s_ij) = (c_ij² + c_ii c_jj) / (n - 1)
    error = np.sqrt((expected**2 + np.outer([4, 100], [4, 100])) / N)
    assert (np.abs(np.cov(X.T) - expected) <= SE * error).all()


def test_a_standard_deviation_of_zero_gives_the_mean():
    X = easy_multivariate_normal(10, 2, 0.5, mu=[3, 4], sigma=[0, 1], seed=5)
    np.testing.assert_array_equal(X[:, 0], 3)
    assert X[:, 1].std() > 0


@pytest.mark.parametrize("corrs", [0.3, [[1]], []], ids=["number", "matrix", "empty"])
def test_a_single_column(corrs):
    assert easy_multivariate_normal(5, 1, corrs, seed=1).shape == (5, 1)


def test_impossible_correlations_are_moved_with_a_word_on_how_far():
    with pytest.warns(ModelWarning, match="impossible together") as told:
        X, R = easy_multivariate_normal(N, 3, IMPOSSIBLE, seed=6, return_new_corrs=True)
    np.testing.assert_array_equal(R, nearestPSD(IMPOSSIBLE))
    moved = R - IMPOSSIBLE
    text = str(told[0].message)
    assert f"up to {np.abs(moved).max():.3g} away, {np.linalg.norm(moved):.3g} in" in text
    assert told[0].filename == __file__
    assert isPSD(R)
    assert_moments(X, 0, 1, R)


def test_impossible_correlations_can_be_refused():
    with pytest.raises(OptionError, match=r"smallest eigenvalue -0\.8.*forcePSD=True"):
        easy_multivariate_normal(10, 3, IMPOSSIBLE, forcePSD=False)
    assert easy_multivariate_normal(10, 3, R3, forcePSD=False).shape == (10, 3)


def test_a_short_search_warns_too():
    with pytest.warns() as told:
        easy_multivariate_normal(10, 3, [0.99, -0.2, 0.7], nit=1)
    assert {w.category for w in told} == {ConvergenceWarning, ModelWarning}
    assert any("nit=1" in str(w.message) for w in told)


# simulate_lm


@pytest.mark.parametrize("family", FAMILIES)
def test_coefficients_are_recovered(family):
    data, b = simulate_lm(
        N, 3, [0.5, 1, -0.5, 0.25], corrs=R3, mus=[0, 1, -1], sigmas=[1, 0.5, 2], family=family, seed=7
    )
    assert list(data.columns) == ["DV", "IV1", "IV2", "IV3"]
    np.testing.assert_array_equal(b, [0.5, 1, -0.5, 0.25])
    assert_moments(data.filter(like="IV").to_numpy(), [0, 1, -1], [1, 0.5, 2], R3)
    found, error = ESTIMATE[family](data)
    assert (np.abs(found - b) <= SE * error).all()


@pytest.mark.parametrize("mean, sd", [(0, 1), (3, 0.5), (-2, 4)])
def test_gaussian_noise(mean, sd):
    data, b = simulate_lm(N, 2, noise_params=(mean, sd), seed=8)
    noise = data["DV"] - b[0] - data[["IV1", "IV2"]] @ b[1:]
    assert abs(noise.mean() - mean) <= SE * sd / np.sqrt(N)
    assert abs(noise.std() - sd) <= SE * sd / np.sqrt(2 * N)
    kurtosis = ((noise - noise.mean()) ** 4).mean() / noise.var() ** 2
    assert abs(kurtosis - 3) <= SE * np.sqrt(24 / N)


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


def test_the_binary_outcome_is_of_whole_numbers():
    data, _ = simulate_lm(100, 2, family="binomial", seed=1)
    assert data["DV"].dtype.kind == "i" and set(data["DV"]) == {0, 1}


def test_coefficients_are_drawn_where_none_are_given():
    draws = np.array([simulate_lm(2, 3, seed=seed)[1] for seed in range(500)])
    assert_moments(draws, 0, 1, np.eye(4))


def test_predictors_are_independent_by_default():
    data, _ = simulate_lm(N, 3, seed=11)
    assert_moments(data.filter(like="IV").to_numpy(), 0, 1, np.eye(3))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), family=st.sampled_from(FAMILIES), slope=st.floats(-3, 3))
def test_predictors_of_a_seed_do_not_depend_on_the_rest(seed, family, slope):
    first, _ = simulate_lm(6, 2, corrs=0.3, seed=seed)
    second, _ = simulate_lm(6, 2, [1, slope, 0], corrs=0.3, noise_params=(1, 2), family=family, seed=seed)
    pd.testing.assert_frame_equal(first[["IV1", "IV2"]], second[["IV1", "IV2"]])


def test_no_predictor_at_all():
    data, b = simulate_lm(20, 0, [4.0], seed=1)
    assert list(data.columns) == ["DV"] and b.tolist() == [4.0]


# simulate_lmm


@pytest.mark.parametrize("grp_sigmas, sds", [(0.25, [0.25] * 3), ([1, 0.5, 0], [1, 0.5, 0])], ids=["one", "each"])
def test_groups_vary_about_the_population(grp_sigmas, sds):
    groups = 20_000
    data, blups, b = simulate_lmm(5, 2, groups, [10, 2, -1], grp_sigmas=grp_sigmas, seed=12)
    assert list(data.columns) == ["DV", "IV1", "IV2", "Group"]
    assert list(blups.columns) == ["Intercept", "IV1", "IV2"]
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


@pytest.mark.parametrize("corrs", [None, 0.3, [0.3], [[1, 0.3], [0.3, 1]]], ids=["none", "number", "upper", "matrix"])
def test_no_two_groups_get_the_same_predictors(corrs):
    data, _, _ = simulate_lmm(10, 2, 30, corrs=corrs, seed=1)
    parts = [part[["IV1", "IV2"]].to_numpy() for _, part in data.groupby("Group")]
    assert not any(np.allclose(first, second) for first, second in pairwise(parts))
    assert len(np.unique(data["IV1"])) == 300


def test_binary_outcomes_of_groups():
    data, blups, _ = simulate_lmm(N // 2, 1, 2, [0.5, 1], grp_sigmas=1, family="binomial", seed=14)
    for group, part in data.groupby("Group"):
        found, error = logistic(part.drop(columns="Group"))
        assert (np.abs(found - blups.iloc[group - 1]) <= SE * error).all()


def test_a_model_without_predictors():
    data, blups, b = simulate_lmm(4, 0, 3, [7], seed=1)
    assert list(data.columns) == ["DV", "Group"] and blups.shape == (3, 1) and b.shape == (1,)


@pytest.mark.r
def test_a_mixed_model_finds_what_was_simulated():
    data, _, b = simulate_lmm(30, 2, 200, [5, 1, -1], corrs=0.3, grp_sigmas=[1, 0.5, 0.25], seed=15)
    model = pymer4.Lmer("DV ~ IV1 + IV2 + (IV1 + IV2 || Group)", data)
    model.fit(summarize=False)
    assert (np.abs(model.coefs["Estimate"] - b) <= SE * model.coefs["SE"]).all()
    # The SE of a standard deviation is at least s / sqrt(2 (groups - 1)); the residual part adds less than as much.
    expected = np.array([1, 0.5, 0.25])
    found = model.ranef_var["Std"].iloc[:3].to_numpy()
    assert (np.abs(found - expected) <= 2 * SE * expected / np.sqrt(2 * 199)).all()


# seeds

CALLS = {
    "normal": lambda seed: easy_multivariate_normal(10, 2, 0.5, seed=seed),
    "lm": lambda seed: simulate_lm(10, 2, seed=seed)[0].to_numpy(),
    "logit": lambda seed: simulate_lm(10, 2, family="binomial", seed=seed)[0].to_numpy(),
    "lmm": lambda seed: simulate_lmm(10, 2, 3, corrs=0.3, seed=seed)[0].to_numpy(),
    "blups": lambda seed: simulate_lmm(10, 2, 3, family="binomial", seed=seed)[1].to_numpy(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_seed_repeats_a_draw(call):
    np.testing.assert_array_equal(call(1), call(1))
    np.testing.assert_array_equal(call(np.int64(1)), call(1))
    assert not np.array_equal(call(1), call(2))
    assert not np.array_equal(call(None), call(None))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_generator_moves_on_and_can_be_repeated(call):
    rng = np.random.default_rng(5)
    first, second = call(rng), call(rng)
    assert not np.array_equal(first, second)
    rng = np.random.default_rng(5)
    np.testing.assert_array_equal(call(rng), first)
    np.testing.assert_array_equal(call(rng), second)


# discrete_inverse_logit


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, tuple])
def test_the_discrete_inverse_logit_cuts_at_one_half(kind):
    values = [-700.0, -0.1, 0.0, 1e-300, 2, 700]
    found = discrete_inverse_logit(kind(values))
    assert found.tolist() == [0, 0, 0, 1, 1, 1] and found.dtype.kind == "i"


def test_the_discrete_inverse_logit_keeps_what_is_missing():
    np.testing.assert_array_equal(discrete_inverse_logit([1.0, None, -1.0]), [1, np.nan, 0])


@pytest.mark.parametrize("values", ["text", 3.0, [["a"]], np.ones((2, 2)), ["a", "b"]])
def test_the_discrete_inverse_logit_wants_numbers(values):
    with pytest.raises(DataError, match="arr has to"):
        discrete_inverse_logit(values)


# bad input

BAD_NORMAL = {
    "no rows": ({"num_obs": 0}, "num_obs=0"),
    "negative rows": ({"num_obs": -3}, "num_obs=-3"),
    "fractional rows": ({"num_obs": 2.5}, "num_obs=2.5"),
    "no columns": ({"num_features": 0}, "num_features=0"),
    "short triangle": ({"corrs": [0.1, 0.2]}, r"corrs has shape \(2,\).*the 3 above"),
    "wrong matrix": ({"corrs": np.eye(2)}, r"corrs has shape \(2, 2\)"),
    "asymmetric": ({"corrs": [[1, 0.5, 0], [0.1, 1, 0], [0, 0, 1]]}, "corrs is not symmetric: 0.5 in row 1"),
    "diagonal": ({"corrs": np.eye(3) * 2}, "1 all along its diagonal"),
    "above one": ({"corrs": 1.2}, "between -1 and 1"),
    "matrix above one": ({"corrs": [[1, 1.5, 0], [1.5, 1, 0], [0, 0, 1]]}, "between -1 and 1"),
    "missing": ({"corrs": [0.1, np.nan, 0.2]}, "between -1 and 1"),
    "text": ({"corrs": "high"}, "between -1 and 1"),
    "none": ({"corrs": None}, "between -1 and 1"),
    "means": ({"mu": [1, 2]}, r"mu has shape \(2,\).*3 of them"),
    "infinite mean": ({"mu": np.inf}, "mu=inf has to hold finite"),
    "text mean": ({"mu": "a"}, "mu='a' has to hold finite"),
    "sds": ({"sigma": [1, 2, 3, 4]}, r"sigma has shape \(4,\)"),
    "negative sd": ({"sigma": [1, -2, 3]}, "negative"),
    "seed": ({"seed": -1}, "seed=-1"),
    "text seed": ({"seed": "a"}, "seed='a'"),
    "force": ({"forcePSD": "yes"}, "forcePSD='yes'"),
    "return": ({"return_new_corrs": 2}, "return_new_corrs=2"),
}


@pytest.mark.parametrize("change, said", BAD_NORMAL.values(), ids=BAD_NORMAL)
def test_what_is_impossible_is_refused(change, said):
    arguments = {"num_obs": 5, "num_features": 3, "corrs": 0.1, "seed": 1} | change
    with pytest.raises(OptionError, match=said):
        easy_multivariate_normal(**arguments)


BAD_MODEL = {
    "rows": ({"num_obs": 0}, "num_obs=0"),
    "coefficients": ({"num_coef": -1}, "num_coef=-1"),
    "missing intercept": ({"coef_vals": [1, 2]}, "3 finite numbers: the intercept and one for each of 2"),
    "text coefficients": ({"coef_vals": "ab"}, "3 finite numbers"),
    "missing coefficient": ({"coef_vals": [1, 2, np.nan]}, "3 finite numbers"),
    "correlations": ({"corrs": [0.1, 0.2, 0.3]}, r"corrs has shape \(3,\)"),
    "means": ({"mus": [1, 2, 3]}, r"mus has shape \(3,\)"),
    "sds": ({"sigmas": -1}, "sigmas=-1 holds a negative"),
    "noise": ({"noise_params": 1}, "noise_params=1 has to be two numbers"),
    "three noises": ({"noise_params": (0, 1, 2)}, "two numbers"),
    "negative noise": ({"noise_params": (0, -1)}, "two numbers"),
    "text noise": ({"noise_params": ("a", 1)}, "two numbers"),
    "family": ({"family": "binomal"}, "family='binomal'.*Did you mean 'binomial'"),
    "seed": ({"seed": 1.5}, "seed=1.5"),
}


@pytest.mark.parametrize("change, said", BAD_MODEL.values(), ids=BAD_MODEL)
@pytest.mark.parametrize("function", [simulate_lm, simulate_lmm])
def test_impossible_models_are_refused(function, change, said):
    arguments = {"num_obs": 5, "num_coef": 2, **({"num_grps": 3} if function is simulate_lmm else {})} | change
    with pytest.raises(OptionError, match=said):
        function(**arguments)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"num_grps": 0}, "num_grps=0"),
        ({"grp_sigmas": [1, 2]}, "grp_sigmas has shape"),
        ({"grp_sigmas": -1}, "negative"),
    ],
)
def test_impossible_groups_are_refused(change, said):
    with pytest.raises(OptionError, match=said):
        simulate_lmm(**({"num_obs": 5, "num_coef": 2, "num_grps": 3} | change))


# the bundled data


def script():
    path = Path(__file__).parents[1] / "scripts" / "make_sample_data.py"
    spec = importlib.util.spec_from_file_location("make_sample_data", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bundled_data_are_what_the_script_makes():
    made = script()
    bundled = Path(pymer4.get_resource_path()) / "sample_data.csv"
    assert bundled.read_bytes() == made.as_text(made.sample_data()).encode()


def test_the_bundled_data_have_their_columns_and_ranges():
    data = load_dataset("sample_data")
    assert list(data.columns) == ["Group", "IV1", "DV_l", "DV", "IV2", "IV3"]
    assert data.groupby("Group").size().eq(12).all() and data["Group"].nunique() == 47
    assert data["IV1"].between(5, 20).all() and data[["DV", "IV2"]].stack().between(0, 100).all()
    assert set(data["DV_l"]) == {0, 1} and data.groupby("Group")["DV_l"].mean().between(0.01, 0.99).all()
    assert data.groupby("Group")["IV3"].value_counts().eq(4).all() and set(data["IV3"]) == {0.5, 1.0, 1.5}
    assert data.notna().all(axis=None) and len(np.unique(data["DV"])) > 400


@pytest.mark.r
@pytest.mark.parametrize(
    "formula, family",
    [
        ("DV ~ IV2 + (IV2|Group)", "gaussian"),
        ("DV ~ IV1 + IV2 + (1|Group)", "gaussian"),
        ("DV ~ IV3*DV_l + (IV3|Group)", "gaussian"),
        ("DV_l ~ IV1 + (IV1|Group)", "binomial"),
    ],
)
def test_old_models_of_the_bundled_data_fit(formula, family):
    model = pymer4.Lmer(formula, load_dataset("sample_data"), family)
    model.fit(summarize=False)
    assert model.warnings == []


def test_the_documented_names_are_these():
    for name in ("easy_multivariate_normal", "simulate_lm", "simulate_lmm"):
        assert getattr(pymer4, name) is getattr(simulate, name) is getattr(pymer4.simulate, name)


def test_the_examples_run():
    failed, tried = doctest.testmod(simulate)
    assert tried and not failed


@pytest.mark.parametrize(
    "given, told",
    [
        ({"mus": 1e308}, "mus=1e.308 has to hold finite numbers, at most 1e.150"),
        ({"coef_vals": [1e308] * 3}, "has to hold 3 finite numbers"),
        ({"noise_params": (0, 1e308)}, "has to be two numbers"),
    ],
)
def test_numbers_whose_squares_are_infinite_are_refused(given, told):
    with pytest.raises(OptionError, match=told):
        simulate_lm(30, 2, seed=1, **given)
