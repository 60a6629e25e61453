"""Profiles of variances are R's, or of the deviance written out, and go wherever a model goes."""

from __future__ import annotations

import copy
import pickle
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import samples
from against_r import each, inside
from scipy import interpolate, stats
from test_profile import FLAT, MODELS, ROOT, trial

from pymer4 import load_model, save_model
from pymer4.errors import OptionError

pytestmark = pytest.mark.r

SAME = 1e-6  # relative: the same profile, a parameter at a time

CASES = {
    "slopes": ("Reaction ~ Days + (Days | Subject)", "sleepstudy", {}),
    "crossed": ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin", {"REML": False}),
    "binomial": ("incidence / size ~ period + (1 | herd)", "cbpp", {"family": "binomial", "weights": "size"}),
}
_ASK = """function(m, steps, level, far) {
  if (is(m, "lmerModLmerTest")) m <- as(m, "lmerMod")
  m <- unserialize(serialize(m, NULL))
  p <- profile(m, which = "theta_", signames = FALSE, delta.cutoff = 1 / steps, alphamax = far)
  traces <- as.data.frame(p)
  value <- vapply(seq_len(nrow(traces)), function(i) traces[i, as.character(traces$.par[i])], 0)
  list(names = names(attr(p, "backward")), limits = unclass(unname(confint(p, level = level))),
       par = as.character(traces$.par), value = value, zeta = traces$.zeta)
}"""


@cache
def fitted(case: str):
    formula, data, given = CASES[case]
    return samples.fitted(formula, samples.dataset(data), **given)


@cache
def weighted():
    return samples.fitted(MODELS["intercepts"].formula, trial(), given={"weights": "w"})


@cache
def profiled(case: str, steps: int = 8, level: float = 0.95) -> tuple[pd.DataFrame, Any]:
    model = weighted() if case == "weighted" else fitted(case)
    return model.infer("profile", n_steps=steps, conf_level=level), model.profile


@pytest.mark.parametrize(
    ("case", "steps", "level"),
    [("slopes", 8, 0.95), ("crossed", 8, 0.9), ("crossed", 20, 0.95), ("binomial", 20, 0.9)],
)
def test_limits_and_traces_are_those_of_r(case, steps, level):
    found, profile = profiled(case, steps, level)
    wanted = inside(_ASK, fitted(case).model_obj, steps, level, 0.01)
    order = [wanted["names"].index(name) for name in found.index]
    limits, engine = np.asarray(wanted["limits"])[order], found.attrs["engine"]
    assert engine == ("R" if case == "binomial" else "native")
    width = limits[:, 1:] - limits[:, :1]
    assert (np.abs(found.iloc[:, 1:] - limits) < (SAME if engine == "R" else ROOT) * width).all(axis=None)
    for name, part in profile.table.groupby("Parameter"):
        theirs = np.array(wanted["par"]) == name
        value, zeta = wanted["value"][theirs], wanted["zeta"][theirs]
        if engine == "R":
            assert each(part["Value"], value) < SAME
            np.testing.assert_allclose(part["Zeta"], zeta, rtol=SAME, atol=1e-6)
        else:  # points elsewhere on the same line
            inside_ = (value >= part["Value"].min()) & (value <= part["Value"].max())
            line = interpolate.CubicSpline(part["Value"], part["Zeta"])
            np.testing.assert_allclose(line(value[inside_]), zeta[inside_], atol=0.02)


def test_estimates_are_those_of_the_fit_and_eight_steps_are_confint():
    model, (found, _) = fitted("slopes"), profiled("slopes")
    sd = [*model.ranef_var["Std"][:2], model.ranef_var["Std"].iloc[-1]]
    np.testing.assert_allclose(found["Estimate"].iloc[[0, 2, 3]], sd, rtol=1e-12)
    np.testing.assert_allclose(found["Estimate"].iloc[1], model.ranef_corr["Corr"].iloc[0], rtol=1e-9)
    wanted = model.confint("profile").iloc[:4]
    assert list(found.index) == list(wanted.index) and list(found.columns) == ["Estimate", "2.5_ci", "97.5_ci"]
    width = wanted.iloc[:, 1] - wanted.iloc[:, 0]
    assert ((found.iloc[:, 1:] - wanted.to_numpy()).abs().max(axis=1) < ROOT * width).all()


@pytest.mark.parametrize("case", ["slopes", "weighted"])
def test_traces_cross_the_threshold_at_the_limits(case):
    found, profile = profiled(case)
    for name, part in profile.table.groupby("Parameter", sort=False):
        assert part["Value"].is_monotonic_increasing and part["Zeta"].is_monotonic_increasing
        zeta = np.interp(found.loc[name].iloc[1:], part["Value"], part["Zeta"])
        np.testing.assert_allclose(zeta, [-1.96, 1.96], atol=0.05)  # straight between points


def test_the_deviance_of_a_weighted_model_rises_by_zeta_squared():
    how, traces = MODELS["intercepts"], profiled("weighted", 2)[1].table
    least = how.least()
    for row, (_, part) in enumerate(traces.groupby("Parameter", sort=False)):
        for value, zeta in zip(part["Value"], part["Zeta"], strict=True):
            assert how.least(row, value) - least == pytest.approx(zeta**2, abs=FLAT)


def test_a_threshold_stands_for_the_quantile_and_names_its_level():
    model = weighted()
    wanted, found = model.infer("profile", conf_level=0.9), model.infer("profile", threshold=stats.chi2.ppf(0.9, 1))
    pd.testing.assert_frame_equal(found, wanted, rtol=1e-6)
    far = fitted("crossed").infer("profile", threshold=25.0)
    for name, part in fitted("crossed").profile.table.groupby("Parameter"):
        assert np.interp(far.loc[name].iloc[2], part["Value"], part["Zeta"]) == pytest.approx(5, abs=0.05)


def test_variances_are_squares_and_correlations_stay():
    sd, profile = profiled("slopes")
    var = profile.limits("var")
    assert list(var.index) == ["var_(Intercept)|Subject", sd.index[1], "var_Days|Subject", "sigma^2"]
    np.testing.assert_allclose(
        var.iloc[[0, 2, 3]], sd.iloc[[0, 2, 3]] ** 2, rtol=1e-14
    )  # powers of arrays round by machine
    np.testing.assert_array_equal(var.iloc[1], sd.iloc[1])
    with pytest.raises(OptionError, match="scale='cor'"):
        profile.limits("cor")


@pytest.mark.parametrize("keep", ["copy", "pickle", "file"])
def test_profiles_are_kept_with_the_model(keep, tmp_path):
    model = weighted()
    model.infer("profile", n_steps=4)
    if keep == "file":
        save_model(model, tmp_path / "model.h5")
        kept = load_model(tmp_path / "model.h5")
    else:
        kept = copy.deepcopy(model) if keep == "copy" else pickle.loads(pickle.dumps(model))
    for ours, theirs in ((kept.profile.table, model.profile.table), (kept.profile.limits(), model.profile.limits())):
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    assert kept.profile.threshold == model.profile.threshold


def test_draws_of_a_linear_model_come_with_a_profile_unless_it_is_not_wanted():
    model = fitted("crossed")
    model.fit(summarize=False)
    model.infer("boot", n_boot=10, seed=1, profile_auto=False)
    assert model.profile is None
    model.infer("boot", n_boot=10, seed=1, n_steps=4)
    pd.testing.assert_frame_equal(model.profile.limits(), model.infer("profile", n_steps=4))
    binomial = fitted("binomial")
    binomial.fit(summarize=False)
    binomial.infer("boot", n_boot=4, seed=1)
    assert binomial.profile is None


def test_a_model_without_coefficients_has_a_profile():
    model = samples.fitted("y ~ 0 + (1 | g)", trial(), engine="native", REML=False, ddf="asymptotic")
    profile, names = model.infer("profile"), ["sd_(Intercept)|g", "sigma"]
    assert profile.index.tolist() == names
    np.testing.assert_allclose(profile.iloc[:, 1:], model.confint("profile"), rtol=1e-4)
    assert model.infer("boot", on="variance", n_boot=40, seed=1).index.tolist() == names
    assert model.profile is not None


def test_profiles_are_refused_where_there_are_none():
    gamma = samples.fitted("size ~ x + (1 | g)", family="gamma", link="log")
    with pytest.raises(OptionError, match=r"how='profile' can't be had for family 'gamma'.*how='boot', on='variance'"):
        gamma.infer("profile")
    with pytest.raises(OptionError, match=r"'variance', which is not for an Lm"):
        samples.regression("y ~ x").infer("profile")


def test_a_profile_is_drawn():
    model = weighted()
    found = model.infer("profile", n_steps=4)
    drawn = model.plot_inference()
    assert [ax.get_title().replace("\n", "") for ax in drawn] == list(found.index)
    one = model.plot_inference(terms="sigma")
    upright = [line.get_xdata()[0] for line in one.lines if len(set(line.get_xdata())) == 1]
    assert set(found.loc["sigma"].iloc[1:]) <= set(upright)
