"""`fit(engine="native")`: numbers beside R's at the same theta, deviances beside R's optimizer, what follows."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import engine_cases
import numpy as np
import pandas as pd
import pytest
from engine_cases import TIGHT, apart, fitted, random_case
from samples import trial

from pymer4 import Lmer, compare, load_dataset, load_model, save_model
from pymer4.errors import DataError, ModelWarning, OptionError, RError
from pymer4.models.lmer_native import NativeFit
from pymer4.rbridge import bridge

pytestmark = [pytest.mark.r, pytest.mark.filterwarnings("ignore::pymer4.errors.ModelWarning")]

# R's tables at the same theta differ by rounding, its df by its differences in theta.
SAME, SAME_DF = 1e-7, 3e-4
DEVIANCE = 1e-6
SLOPES = "Reaction ~ Days + (Days | Subject)"


def check(formula: str, data: pd.DataFrame, given: dict[str, Any] | None = None, **options: Any) -> Lmer:
    """Assert that a native fit has R's numbers at its theta, and a deviance that R's optimizer does not beat."""
    model = fitted(formula, data, "native", given, **options)
    for name, gap in apart(model).items():
        assert gap < (SAME_DF if name == "df" else SAME), (name, gap)
    theirs = fitted(formula, data, "R", given, control=TIGHT, **options)
    assert model._fit.criterion <= theirs._fit.criterion + DEVIANCE
    return model


@pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
@pytest.mark.parametrize(("formula", "data", "given"), engine_cases.cases())
def test_reference_models(formula, data, given, reml):
    check(formula, data, given, REML=reml)


@pytest.mark.parametrize("seed", range(40))
def test_random_designs(seed):
    check(*random_case(seed), REML=bool(seed % 2))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40, 340))
def test_more_random_designs(seed):
    check(*random_case(seed), REML=bool(seed % 2))


@pytest.mark.slow
def test_many_ratings():
    check("y ~ service + (1 | s) + (1 | d)", engine_cases.dataset("InstEval"))


@pytest.mark.parametrize(
    "options",
    [
        {"ddf": "Kenward-Roger"},
        {"ddf": "asymptotic", "conf_level": 0.9},
        {"factors": {"cond": ["C", "a", "b"]}, "ordered": True},
        {"factors": {"cond": {"a": 1, "b": -0.5, "C": -0.5}}, "REML": False},
        {"rank": True, "rank_exclude_cols": "z"},
    ],
    ids=str,
)
def test_options(options):
    check("y ~ x * cond + z + (x | g)", engine_cases.with_holes(trial()), **options)


@pytest.mark.parametrize(
    "options",
    [{"conf_int": "boot", "n_boot": 20}, {"conf_int": "profile"}, {"permute": 20}, {"permute": 9, "conf_int": "boot"}],
    ids=str,
)
def test_limits_and_p_from_refits_are_those_of_rs_object(options, sleep):
    ours, theirs = (fitted(SLOPES, sleep, engine, seed=1, **options) for engine in ("native", "R"))
    assert list(ours.coefs) == list(theirs.coefs) and ours.sig_type == theirs.sig_type
    np.testing.assert_allclose(ours.coefs.iloc[:, :-1], theirs.coefs.iloc[:, :-1], rtol=2e-3)


def test_all_attributes_are_those_of_r(holes):
    formula, given = "y ~ x * cond + (x | g) + (1 | h)", {"weights": "w", "offset": "o"}
    ours, theirs = (
        fitted(formula, holes, engine, given, factors={"cond": ["a", "b", "C"]}) for engine in ("native", "R")
    )
    assert ours.warnings == theirs.warnings and ours.nobs == theirs.nobs and ours.df_resid == theirs.df_resid
    for name in ("coefs", "data", "design_matrix", "vcov", "ranef_var", "ranef_corr"):
        pd.testing.assert_frame_equal(getattr(ours, name), getattr(theirs, name), rtol=1e-3, atol=1e-4)
    for name in ("ranef", "fixef", "ranef_se"):
        for a, b in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            pd.testing.assert_frame_equal(a, b, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(ours.contrast_codes["cond"], theirs.contrast_codes["cond"])
    assert ours.convergence.optimizer == "native" and ours.convergence.code == 0


def test_words_are_rs(holes):
    holes["still"] = holes.y - holes.groupby("g")["y"].transform("mean")
    for formula in (
        "still ~ x + (z || g)",
        "y ~ x + I(2 * x) + I(3 * x) + (1 | g)",
        "y ~ z + (z + s | g)",
        "y ~ x + I(2 * x) + (1 | g)",
    ):
        ours, theirs = (fitted(formula, holes, engine) for engine in ("native", "R"))
        assert ours.warnings == theirs.warnings != []
        assert ours.convergence.singular_terms == theirs.convergence.singular_terms


def test_r_makes_its_object_when_it_is_needed(sleep, monkeypatch):
    asked: list[str] = []
    model = Lmer(SLOPES, sleep)
    model.fit(engine="native", summarize=False)
    call = bridge.call
    monkeypatch.setattr(bridge, "call", lambda verb, /, **given: asked.append(verb) or call(verb, **given))
    model.fit(engine="native", summarize=False)
    for name in (*type(model)._LATER, "ranef_se", "design_matrix", "vcov"):
        assert getattr(model, name) is not None
    assert model.convergence.code == 0 and not asked
    model.anova()
    model.anova()
    assert asked == ["model_at", "anova_mixed", "anova_mixed"]


def test_predictions_of_the_rows_of_the_fit_need_no_r(monkeypatch):
    data = trial()
    formula, given = "y ~ x * cond + offset(s) + (x | g) + (1 | h)", {"offset": "o"}
    ours, theirs = (fitted(formula, data, engine, given) for engine in ("native", "R"))
    wanted = [theirs.predict(data, use_rfx=use_rfx) for use_rfx in (True, False)]
    other = ours.predict(data.assign(s=0), use_rfx=True)
    np.testing.assert_allclose(other, theirs.predict(data.assign(s=0), use_rfx=True), rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(bridge, "call", None)
    for use_rfx, one in zip((True, False), wanted, strict=True):
        np.testing.assert_allclose(ours.predict(data, use_rfx=use_rfx), one, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(ours.predict(data, use_rfx=True), ours.fits)


FOLLOWING: dict[str, Callable[[Lmer], Any]] = {
    "anova": lambda m: m.anova(),
    "ranova": lambda m: m.ranova(),
    "emmeans": lambda m: m.emmeans("cond")[0],
    "post_hoc": lambda m: m.post_hoc("cond", summarize=False) or m.marginal_contrasts,
    "infer": lambda m: m.infer("boot", n_boot=9, seed=1, profile_auto=False),
    "asymp": lambda m: m.infer(errors="CR2"),
    "perm": lambda m: m.infer("perm", n_perm=9, seed=1, profile_auto=False),
    "cv": lambda m: m.infer("cv", k=3, seed=1),
    "profile": lambda m: m.confint("profile"),
    "boot": lambda m: m.confint("boot", n_boot=9, seed=1),
    "predict": lambda m: m.predict(trial().head(7), use_rfx=True, interval="prediction"),
    "simulate": lambda m: m.simulate(2, seed=1),
    "allfit": lambda m: m.allfit().iloc[:1, :1],
    "compare": lambda m: compare(m, fitted("y ~ 1 + (1 | g)", trial(), "native")).drop(columns="model"),
    "icc": lambda m: pd.Series([m.icc().adjusted, m.r2().marginal]),
    "again": lambda m: m.fit(engine="native"),
}


@pytest.mark.parametrize("what", FOLLOWING)
def test_what_follows_a_fit_is_what_follows_rs(what):
    ours, theirs = (
        FOLLOWING[what](fitted("y ~ cond + x + (1 | g)", trial(), *how)) for how in (("native", {}), ("R", {}))
    )
    numbers = [pd.DataFrame(found).select_dtypes("number") for found in (ours, theirs)]
    np.testing.assert_allclose(*numbers, rtol=2e-3, atol=2e-4)


KEEPING: dict[str, Callable[[Lmer, Any], Lmer]] = {
    "copy": lambda m, _: copy.copy(m),
    "deepcopy": lambda m, _: copy.deepcopy(m),
    "pickle": lambda m, _: pickle.loads(pickle.dumps(m)),
    "file": lambda m, folder: save_model(m, folder / "m.h5") or load_model(folder / "m.h5"),
}


@pytest.mark.parametrize("how", KEEPING)
def test_copies_keep_all(how, tmp_path):
    model = fitted("y ~ cond + x + (x | g) + (1 | h)", trial(), "native")
    kept = KEEPING[how](model, tmp_path)
    for name in ("coefs", "data", "ranef_var", "ranef_corr", "design_matrix", "vcov"):
        pd.testing.assert_frame_equal(getattr(kept, name), getattr(model, name))
    for name in ("ranef", "fixef", "ranef_se"):
        for a, b in zip(getattr(kept, name), getattr(model, name), strict=True):
            pd.testing.assert_frame_equal(a, b, rtol=1e-8)
    assert kept.convergence == model.convergence
    pd.testing.assert_frame_equal(kept.anova(), model.anova())
    kept.fit(engine="native", summarize=False)
    np.testing.assert_array_equal(kept.coefs["Estimate"], model.coefs["Estimate"])


@pytest.mark.parametrize(
    ("given", "options", "error", "words"),
    [
        ({"family": "binomial"}, {}, OptionError, "linear models.*engine='R'"),
        ({"link": "log"}, {}, OptionError, "link 'log'.*engine='R'"),
        ({}, {"control": "optimizer='bobyqa'"}, OptionError, "engine='R'"),
        ({}, {"old_optimizer": True}, OptionError, "engine='R'"),
    ],
)
def test_what_it_does_not_do_is_said(given, options, error, words):
    with pytest.raises(error, match=words):
        Lmer("yes ~ x + (1 | g)" if "family" in given else "pos ~ x + (1 | g)", trial(), **given).fit(
            engine="native", **options
        )
    with pytest.raises(OptionError, match="engine"):
        Lmer("y ~ x + (1 | g)", trial()).fit(engine="julia")


def test_what_r_has_to_judge_has_its_refusal():
    rows = trial().assign(row=np.arange(240))
    said = []
    for engine in ("R", "native"):
        with pytest.raises((DataError, RError)) as refused:
            Lmer("y ~ x + (x | factor(row))", rows).fit(engine=engine, summarize=False)
        said.append((type(refused.value), str(refused.value)))
    assert said[0] == said[1]


def test_a_model_of_no_residual_is_left_to_r():
    with pytest.raises(DataError, match="engine='R'"):
        Lmer("pos ~ exp(0.2 * y) + (1 | g)", trial()).fit(engine="native")


def test_one_fit_knows_theta_of_lme4(sleep):
    model = fitted(SLOPES, sleep, "R")
    native = fitted(SLOPES, sleep, "native")
    np.testing.assert_allclose(native._fit.parameters, model._fit.parameters, rtol=1e-3)
    assert isinstance(native._native, NativeFit) and model._native is None


@pytest.mark.parametrize("far", [0, 2000, 20_000])
def test_what_r_computes_of_a_native_fit_takes_its_derivatives(far):
    data = load_dataset("sleepstudy").assign(year=lambda frame: frame.Days + far)
    model = fitted("Reaction ~ year + (year | Subject)", data, "native")
    assert model.anova()["DenomDF"].iloc[0] == pytest.approx(17, rel=1e-4)
    assert model.infer("asymp", on="coefs")["DF"].iloc[1] == pytest.approx(17, rel=1e-4)
    assert model.emtrends("year", contrasts=None)[0]["DF"].iloc[0] == pytest.approx(17, rel=1e-4)
    assert pickle.loads(pickle.dumps(model)).anova()["DenomDF"].iloc[0] == pytest.approx(17, rel=1e-4)


@pytest.mark.filterwarnings("default::pymer4.errors.ModelWarning")
def test_an_object_of_r_that_lost_digits_is_told_of():
    data = load_dataset("sleepstudy").assign(year=lambda frame: frame.Days + 1e6)
    model = fitted("Reaction ~ year + (year | Subject)", data, "native")
    with pytest.warns(ModelWarning, match="lost digits: .* Centre and scale"):
        model.anova()
