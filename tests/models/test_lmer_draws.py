"""Limits of an `Lmer` by profile and bootstrap, and outcomes drawn from it."""

from __future__ import annotations

import warnings
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from against_r import rinterface
from cases import case, parameters, refit
from joblib import parallel_config
from samples import fitted, trial, with_holes
from scipy import stats

from pymer4.models.lmer import Method

pytestmark = pytest.mark.r

LEVELS = {0.95: ["2.5", "97.5"], 0.9: ["5", "95"], 0.99: ["0.5", "99.5"], 0.5: ["25", "75"]}


@pytest.mark.parametrize(
    ("method", "level"), [(m, level) for m in get_args(Method) for level in (LEVELS if m == "Wald" else [0.9])]
)
def test_the_limit_columns_carry_the_level(method, level):
    names = LEVELS[level]
    model = refit("holes", conf_int=method, conf_level=level, n_boot=40, seed=2)
    assert list(model.coefs.columns[1:3]) == [f"{name}_ci" for name in names]
    table = model.confint(method, conf_level=level, n_boot=40, seed=2)
    assert list(table.columns) == [f"{name} %" for name in names]
    row = model.coefs.loc["x"]
    half = stats.norm.ppf((1 + level) / 2) * row["SE"]
    # Wald by definition; a profile is near it, and 40 draws place a limit to 0.3 of a SE
    wanted = 1e-8 if method == "Wald" else 0.6
    gap = row.iloc[1:3].astype(float) - [row.iloc[0] - half, row.iloc[0] + half]
    assert (gap.abs() < wanted * row["SE"]).all()
    assert model.ci_type == {"Wald": "Wald", "profile": "profile", "boot": "boot (40)"}[method]
    assert model.sig_type == ("bootstrapped" if method == "boot" else "parametric")


@pytest.mark.parametrize("method", ["profile", "boot"])
def test_limits_leave_the_fit_alone(method):
    """Refits work on a copy: what is read afterwards, from Python or R, is still the fit."""
    plain, asked = refit("holes"), refit("holes")
    asked.confint(method, n_boot=3, seed=1)
    for model in (asked, refit("holes", conf_int=method, n_boot=3, seed=1)):
        for table in ("ranef", "fixef", "ranef_var"):
            pd.testing.assert_frame_equal(getattr(model, table), getattr(plain, table))
        np.testing.assert_array_equal(model.fits, plain.fits)
        for use_rfx in (True, False):
            found, before = (m.predict(m.data, use_rfx=use_rfx) for m in (model, plain))
            np.testing.assert_array_equal(found, before)
            pd.testing.assert_frame_equal(model.simulate(1, use_rfx, seed=1), plain.simulate(1, use_rfx, seed=1))
        told = rinterface.evalr("function(m) lme4::ranef(m)$g[[1]]")(model.model_obj)
        np.testing.assert_array_equal(told, plain.ranef["(Intercept)"])


def test_the_bootstrap_knows_weights_and_offset():
    model = refit("weighted", conf_int="boot", conf_level=0.6827, n_boot=200, seed=5)
    table = model.coefs
    lower, upper = table.iloc[:, 1], table.iloc[:, 2]
    # limits of one standard error either way: 200 draws give their middle to 0.1, their distance to 10 %
    assert (((lower + upper) / 2 - table["Estimate"]).abs() < 0.35 * table["SE"]).all()
    np.testing.assert_allclose((upper - lower) / 2, table["SE"], rtol=0.25)
    low, high = model.confint("boot", conf_level=0.99, n_boot=100, seed=5).loc["sigma"]
    assert low < model.ranef_var["Std"].iloc[-1] < high


def test_bootstrapped_p_inverts_the_percentiles():
    """With 19 draws the percentiles k/20 are the draws themselves, so levels of 1 - 2k/20 read them off."""
    n, cases = 19, {}
    for k in range(1, 11):
        level = max(1 - 2 * k / 20, 1e-5)
        table = fitted("y ~ z + w + (1 | g)", conf_int="boot", n_boot=n, seed=3, conf_level=level).coefs
        for term in table.index:
            cases.setdefault(term, {})[k] = table.loc[term].iloc[1]
            cases[term][20 - k] = table.loc[term].iloc[2]
    counted = []
    for term, found in cases.items():
        draws = np.array([found[k] for k in range(1, n + 1)])
        assert (np.diff(draws) > 0).all()
        p = min(1, 2 * min(1 + (draws <= 0).sum(), 1 + (draws >= 0).sum()) / (n + 1))
        assert table.loc[term, "P-val"] == pytest.approx(p, abs=1e-12)
        assert table.loc[term, "Sig"] == ("." if p <= 0.1 else "")
        counted.append(p)
    assert min(counted) == pytest.approx(2 / (n + 1)) and max(counted) > 0.2
    kept = ["Estimate", "SE", "DF", "T-stat"]
    pd.testing.assert_frame_equal(table[kept], fitted("y ~ z + w + (1 | g)").coefs[kept])


AT_NAMES = [
    *((name, "boot") for name in ("ml", "uncorrelated", "factors", "nested")),
    ("slopes", "profile"),
    ("uncorrelated", "profile"),
]


@pytest.mark.parametrize(("name", "method"), AT_NAMES)
def test_limits_stand_at_the_names_of_their_parameters(name, method):
    limits, values = case(name).confint(method, n_boot=30, seed=1, conf_level=0.99), parameters(case(name))
    assert set(limits.index) == set(values)
    inside = [low <= values[term] <= high for term, low, high in limits.itertuples()]
    assert all(inside)  # 99 % limits; each is a different number, most of another size


def test_draws_without_variance_between_groups_are_draws():
    """A correlation is undefined where a variance is zero, but the fit has not failed."""
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        model = fitted("s ~ x + (x | h)", conf_int="boot", n_boot=40, seed=1, no_warnings=False)
        limits = model.confint("boot", n_boot=40, seed=1, conf_level=0.999)
    assert [str(w.message) for w in issued if "failed" in str(w.message)] == []
    lowest = limits.iloc[:, 0][["sd_(Intercept)|h", "sd_x|h"]].min()
    assert lowest < 0.005  # the smallest of 40 draws of which some are zero
    hits = model.coefs["P-val"] * (40 + 1) / 2
    np.testing.assert_allclose(hits, hits.round(), atol=1e-9)


def test_bootstrap_draws_repeat_with_their_seed():
    first, again, other = (refit("holes", conf_int="boot", n_boot=30, seed=seed).coefs for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert (other["2.5_ci"] != first["2.5_ci"]).all()
    for seed, same in ((None, False), (0, True)):
        found, once_more = (case("holes").confint("boot", n_boot=10, seed=seed).iloc[:, 0] for _ in range(2))
        assert (found == once_more).all() == (found == once_more).any() == same


@pytest.mark.usefixtures("refits_in_r")
@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_bootstrap_does_not_depend_on_the_number_of_jobs(backend):
    """Threads share this R and are quick; processes (slow) each start their own."""
    with parallel_config(backend=backend):
        one, two, three = (refit("holes", conf_int="boot", n_boot=7, seed=9, n_jobs=n) for n in (1, 2, 3))
        limits = [case("holes").confint("boot", n_boot=7, seed=9, n_jobs=n) for n in (1, 2)]
    for model in (two, three):
        pd.testing.assert_frame_equal(one.coefs, model.coefs, rtol=1e-12)
        pd.testing.assert_frame_equal(one.ranef, model.ranef, rtol=1e-12)
        assert (model.ci_type, model.sig_type, model.fitted) == ("boot (7)", "bootstrapped", True)
    pd.testing.assert_frame_equal(*limits, rtol=1e-12)


@pytest.mark.usefixtures("refits_in_r")
def test_a_fork_of_r_is_refused():
    with parallel_config(backend="multiprocessing"), pytest.raises(ValueError, match="multiprocessing"):
        refit("holes", conf_int="boot", n_boot=2, n_jobs=2)


# simulate


@pytest.mark.parametrize("use_rfx", [True, False])
def test_simulations_have_the_index_of_the_rows_used(use_rfx):
    model = fitted("y ~ x + (1 | g)", with_holes().set_axis([f"r{k}" for k in range(240)]))
    found = model.simulate(3, use_rfx, seed=1)
    assert list(found.columns) == ["sim_1", "sim_2", "sim_3"]
    assert list(found.index) == [f"r{k}" for k in range(240) if not np.isnan(model.fits[k])]
    assert (found.dtypes == np.float64).all()
    pd.testing.assert_frame_equal(found, model.simulate(3, use_rfx, seed=1))
    assert (found != model.simulate(3, use_rfx, seed=2)).all(axis=None)
    assert (model.simulate(1) != model.simulate(1)).all(axis=None)
    assert found.iloc[:, 0].ne(found.iloc[:, 1]).all()


def test_simulations_round_the_fits_have_the_residual_variance():
    model = case("weighted")
    draws = model.simulate(400, seed=4).to_numpy()
    sd = model.ranef_var["Std"].iloc[-1] / np.sqrt(model.data["w"].to_numpy())
    z = (draws.mean(axis=1) - model.fits) / (sd / np.sqrt(400))
    assert np.abs(z).max() < 4.5  # 240 standard normals
    assert z.std() == pytest.approx(1, abs=0.2)
    np.testing.assert_allclose(draws.std(axis=1, ddof=1) / sd, 1, atol=0.16)  # 4.5 / sqrt(2 * 400)


def test_simulations_of_new_groups_have_the_marginal_covariance():
    model, data = case("offset term"), trial()
    draws = model.simulate(2000, use_rfx=False, seed=4).to_numpy() - model.predict(data)[:, None]
    group, residual = model.ranef_var["Var"]
    variance, covariance = [], []
    for g in (5, 60, 120):
        part = np.cov(draws[(data.g == g).to_numpy()])
        variance.append(np.diag(part).mean())
        covariance.append(part[~np.eye(len(part), dtype=bool)].mean())
    other = np.cov(*(draws[(data.g == g).to_numpy()].mean(axis=0) for g in (5, 60)))
    # 2000 draws give a variance to 3 %, three groups are averaged
    assert np.mean(variance) == pytest.approx(group + residual, rel=0.06)
    assert np.mean(covariance) == pytest.approx(group, rel=0.09)
    assert abs(other[0, 1]) < 0.1 * group
