"""`infer()` of `Lmer`: beside the fit, predictions and draws that ask the same, and beside R's own bootstrap."""

from __future__ import annotations

import warnings

import hermetic
import numpy as np
import pandas as pd
import pytest
from against_r import each, inside
from cases import case, refit
from joblib import parallel_config
from samples import dataset, fitted, trial, with_holes
from scipy import stats

from pymer4 import Lmer
from pymer4.errors import ModelWarning, OptionError

pytestmark = pytest.mark.r

GENERALIZED = {
    "binomial": "yes ~ x + cond + (1 | g)",
    "poisson": "count ~ x + offset(o) + (1 | g)",
    "gamma": "size ~ x + (1 | g)",
}
BOOT = {"seed": 3, "profile_auto": False}


def generalized(family: str, **how) -> Lmer:
    return fitted(GENERALIZED[family], family=family, link="log" if family == "gamma" else None, **how)


def quietly(call, *args, **given):
    """Call without a word of what can't be tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        return call(*args, **given)


@pytest.mark.parametrize("ddf", ["Satterthwaite", "Kenward-Roger", "asymptotic"])
def test_coefficients_are_those_of_the_fit_with_limits_by_t(ddf):
    model = refit("factors", ddf=ddf)
    found, table = model.infer(conf_level=90), model.coefs
    same = ["Estimate", "SE", "DF", "T-stat", "P-val"]
    assert each(found[same], table[same]) < 1e-8 and found["Sig"].equals(table["Sig"])
    half = stats.t.ppf(0.95, table["DF"]) * table["SE"]
    assert each(found["95_ci"], table["Estimate"] + half) < 1e-8
    tested = model.infer(null=0.1, alternative="greater")
    np.testing.assert_allclose(tested["P-val"], stats.t.sf((table.Estimate - 0.1) / table.SE, table.DF), rtol=1e-8)
    assert tested.columns[1:3].tolist() == ["5_ci", "100_ci"] and np.isinf(tested["100_ci"]).all()


@pytest.mark.parametrize("family", GENERALIZED)
def test_coefficients_of_generalized_models_are_those_of_the_fit(family):
    model = generalized(family)
    pd.testing.assert_frame_equal(model.infer(), model.coefs, rtol=1e-9)


PREDICTED = {
    **{ddf: lambda ddf=ddf: refit("factors", ddf=ddf) for ddf in ("Satterthwaite", "Kenward-Roger", "asymptotic")},
    "offset": lambda: case("weighted"),
    "poisson": lambda: generalized("poisson"),
}


@pytest.mark.parametrize("scale", ["response", "link"])
@pytest.mark.parametrize("use_rfx", [False, True])
@pytest.mark.parametrize("name", PREDICTED)
def test_predictions_are_those_with_confidence_limits(name, use_rfx, scale):
    model, rows = PREDICTED[name](), trial().iloc[[4, 7, 100]].astype({"x": float})
    rows.loc[rows.index[1], "x"] = np.nan
    wanted = model.predict(rows, use_rfx=use_rfx, interval="confidence", pred_type=scale)
    found = model.infer()
    assert found.index.equals(wanted.index)
    np.testing.assert_allclose(found[wanted.columns.tolist()], wanted, rtol=1e-8)
    assert found.columns.tolist() == ["Estimate", "2.5_ci", "97.5_ci", "SE", "DF"]
    assert np.isnan(found["Estimate"]).tolist() == [False, True, False]
    if use_rfx:
        with pytest.raises(OptionError, match=r"use_rfx=True have no draws.*predict\(use_rfx=False\)"):
            model.infer("boot")


def test_predictions_that_nobody_asked_for_are_of_the_rows_fitted():
    model = fitted("y ~ x + (1 | g)", with_holes())
    found, used = model.infer(on="predictions"), ~np.isnan(model.fits)
    assert found.index.equals(model.data.index[used])
    wanted = model.predict(model.data[used])
    np.testing.assert_allclose(found["Estimate"], wanted, rtol=1e-12)
    drawn = model.infer("boot", n_boot=19, **BOOT)
    np.testing.assert_allclose(drawn["Estimate"], wanted, rtol=1e-12)
    b = quietly(model.infer, "boot", on="coefs", n_boot=19, **BOOT)
    x = with_holes()["x"][used]
    assert each(drawn["Estimate"], b["Estimate"].iloc[0] + b["Estimate"].iloc[1] * x) < 1e-12
    assert model.resamples.shape == (19, 2)


@pytest.mark.parametrize("name", ["weighted", "binomial"])
def test_draws_are_those_of_a_fit_with_the_same_seed(name):
    model = generalized(name) if name == "binomial" else case(name)
    before = model.coefs.copy()
    found, p = model.infer("boot", on="coefs", n_boot=49, conf_level=0.9, **BOOT), len(before)
    draws = model.resamples
    how = {"conf_int": "boot", "n_boot": 49, "conf_level": 0.9, "seed": 3}
    again = generalized(name, **how) if name == "binomial" else refit(name, **how)
    np.testing.assert_array_equal(found.iloc[:, 1:3], again.coefs.iloc[:, 1:3])
    gap = np.abs(draws - before["Estimate"].to_numpy()) >= np.abs(before["Estimate"].to_numpy())
    np.testing.assert_allclose(found["P-val"], (1 + gap.sum().to_numpy()) / 50)
    np.testing.assert_allclose(found["SE"], draws.std().to_numpy(), rtol=1e-12)
    assert (found["Num_boot"] == 49).all() and draws.columns.tolist() == before.index.tolist()
    pd.testing.assert_frame_equal(model.coefs, before)
    limits = model.confint("boot", n_boot=49, conf_level=0.9, seed=3)
    every = model.infer("boot", n_boot=49, which="all", conf_level=0.9, **BOOT)
    np.testing.assert_array_equal(every.iloc[:, 1:3], limits)
    assert (
        every.index.equals(limits.index) and every["P-val"].isna().tolist() == [True] * (len(limits) - p) + [False] * p
    )
    variances = model.infer("boot", n_boot=49, which="ranef", conf_level=0.9, **BOOT)
    pd.testing.assert_frame_equal(variances, every.iloc[: len(limits) - p, :3])
    basic = model.infer("boot", on="variance", n_boot=49, ci_type="basic", conf_level=0.9, **BOOT)
    np.testing.assert_allclose(basic["5_ci"], 2 * variances["Estimate"] - variances["95_ci"], rtol=1e-12)
    assert model.resamples.columns.tolist() == limits.index[: len(limits) - p].tolist()


def test_draws_of_a_generalized_model_take_coefficients_of_any_size():
    draws = []
    for size in (1, 3000):
        model = fitted("count ~ x + (1 | g)", trial().eval(f"x = {size} * x"), family="poisson")
        quietly(model.infer, "boot", on="coefs", n_boot=19, **BOOT)
        draws.append(model.resamples * [1, size])
    assert (draws[1] - draws[0]).abs().max().max() < 1e-4 * draws[0].std().min()


def test_draws_do_not_depend_on_the_number_of_jobs():
    model = case("holes")
    for how in ({"how": "boot"}, {"how": "perm"}, {"how": "perm", "scheme": "freedman-lane"}):
        found = []
        for n_jobs in (1, 2):
            with parallel_config(backend="threading"):
                found.append(quietly(model.infer, on="coefs", n_boot=7, n_perm=7, n_jobs=n_jobs, **how, **BOOT))
        pd.testing.assert_frame_equal(*found, rtol=1e-12)


def test_standard_errors_are_those_of_bootmer():
    """A spread of n draws is known to 1/sqrt(2n), a mean to se/sqrt(n): four standard errors of both."""
    model, n = case("ml"), 400
    ours = model.infer("boot", on="coefs", n_boot=n, **BOOT)
    theirs = inside(
        "function(m, n) { d <- lme4::bootMer(as(m, 'lmerMod'), lme4::fixef, nsim = n, seed = 1)$t"
        "; list(mean = colMeans(d), sd = apply(d, 2, sd)) }",
        model.model_obj,
        n,
    )
    gap = np.abs(model.resamples.mean().to_numpy() - theirs["mean"]) / ours["SE"].to_numpy()
    assert (gap < 4 * np.sqrt(2 / n)).all()
    np.testing.assert_allclose(ours["SE"], theirs["sd"], rtol=4 / np.sqrt(n))


def test_variances_are_profiled_beside_draws():
    model = refit("holes")
    model.infer("boot", n_boot=9, seed=1)
    wanted = model.confint("profile")
    found = model.profile.limits()
    np.testing.assert_allclose(found.iloc[:, 1:3], wanted.iloc[: len(found)], rtol=1e-6)
    pd.testing.assert_frame_equal(model.infer("profile"), found)
    poisson = generalized("poisson")
    quietly(poisson.infer, "perm", n_perm=3, seed=1)
    assert poisson.profile is None


def test_simulations_are_summarised():
    model = fitted("y ~ x + (1 | g)")
    with pytest.raises(OptionError, match=r"Call simulate\(\) first"):
        model.infer(on="simulations")
    draws = model.simulate(50, seed=1)
    found = model.infer()
    np.testing.assert_allclose(found[["Mean", "SD"]], np.stack([draws.mean(axis=1), draws.std(axis=1)], axis=1))
    assert found.columns.tolist() == ["Mean", "SD", "2.5_q", "97.5_q"]
    pd.testing.assert_frame_equal(model.infer(on="coefs"), model.infer("asymp", on="coefs"))


# Robust errors


@pytest.mark.parametrize("name", ["slopes", "nested"])
def test_errors_are_those_of_clubsandwich(name):
    hermetic.compare_with("clubSandwich")
    formula, data = {
        "slopes": ("Reaction ~ Days + (Days | Subject)", dataset("sleepstudy")),
        "nested": ("yield ~ nitro + Variety + (1 | Block / Variety)", dataset("Oats")),
    }[name]
    model = fitted(formula, data, weights=None)
    told = inside(
        """function(m) {
          plain <- lme4::lmer(formula(m), environment(formula(m))$data)
          cluster <- lme4::getME(plain, "flist")[[which.min(lme4::getME(plain, "l_i"))]]
          V <- lapply(c(CR0 = "CR0", CR2 = "CR2"), function(type) clubSandwich::vcovCR(plain, cluster, type))
          list(CR0 = sqrt(diag(V$CR0)), CR2 = sqrt(diag(V$CR2)), df = clubSandwich::coef_test(plain, V$CR2)$df_Satt,
            groups = nlevels(cluster))
        }""",
        model.model_obj,
    )
    for errors in ("CR0", "cr2"):
        found = model.infer(errors=errors)
        np.testing.assert_allclose(found["SE"], told[errors.upper()], rtol=1e-5)  # two optima of one likelihood
        df = told["df"] if errors == "cr2" else np.full(len(found), told["groups"] - 1.0)
        np.testing.assert_allclose(found["DF"], df, rtol=1e-5)
    data["whole"] = data["Block" if name == "nested" else "Subject"]
    again = fitted(formula, data)
    pd.testing.assert_frame_equal(again.infer(errors="CR2", cluster="whole"), found)


REFUSED = {
    "HC3": ("holes", {"errors": "HC3"}, "takes rows for independent.*CR2.*boot"),
    "generalized HC3": ("binomial", {"errors": "HC3"}, "not. Use how='boot'"),
    "unequal_var": ("holes", {"errors": "unequal_var"}, "takes rows for independent"),
    "crossed": ("factors", {"errors": "CR2"}, "g and h are crossed. Use how='boot'"),
    "split": ("holes", {"errors": "CR0", "cluster": "h"}, "splits groups of g.*how='boot'"),
    "generalized": ("binomial", {"errors": "CR2"}, "is for linear models.*how='boot'"),
    "perm": ("holes", {"how": "perm", "errors": "CR0"}, "is not for how='perm'"),
    "bca": ("holes", {"how": "boot", "ci_type": "bca"}, "leaves none out. Use ci_type='percentile'"),
    "cluster": ("holes", {"how": "boot", "cluster": "g"}, "draws new random effects for all groups"),
    "which": ("holes", {"how": "boot", "which": "all", "on": "predictions"}, "about the parameters"),
    "null": ("holes", {"how": "perm", "null": 1.0}, "freedman-lane"),
    "scheme": ("binomial", {"how": "perm", "scheme": "freedman-lane"}, "Use scheme='raw'"),
    "free": ("holes", {"how": "perm", "scheme": "freedman-lane", "cluster": "g"}, "over all rows. Leave it out"),
    "within": ("holes", {"how": "perm", "cluster": "h"}, "not a grouping factor of the model"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_answer_is_refused_with_one_that_has(name):
    which, given, words = REFUSED[name]
    model = generalized(which) if which in GENERALIZED else case(which)
    with pytest.raises(OptionError, match=words):
        model.infer(**{"on": "coefs", **given})
