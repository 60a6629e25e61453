"""Shares of variance against R's performance and the paper, conditional standard deviations against ranef."""

from __future__ import annotations

from functools import cache

import hermetic
import numpy as np
import pandas as pd
import pytest
import samples
from against_r import inside
from scipy import special

from pymer4 import Lmer, compare, load_dataset
from pymer4.data.families import LINKS
from pymer4.errors import ModelWarning, NotFittedError, OptionError
from pymer4.models.lmer_diagnosis import ICC, R2
from pymer4.rbridge import bridge

pytestmark = pytest.mark.r

SHARES = 1e-10  # relative: the same variances, added up in another order
REFITTED = 1e-5  # relative: the null model is fitted again, by another optimizer run
SPREAD = 1e-8  # relative: two ways to solve one system


def trial() -> pd.DataFrame:
    """Return the trial with counts that vary between rows and in slopes, outcomes with nested groups and with none."""
    frame = samples.trial()
    frame["row"] = np.arange(len(frame)).astype(str)
    frame["many"] = np.random.default_rng(21).poisson(np.exp(0.3 * frame.y))
    frame["inner"] = frame.y + np.random.default_rng(3).normal(size=72)[frame.groupby(["g", "cond"]).ngroup()]
    frame["still"] = frame.y - frame.groupby("g")["y"].transform("mean")
    return frame


CASES = {
    "intercepts": ("y ~ x + (1 | g)", {}),
    "slopes": ("y ~ x * cond + (x | g)", {}),
    "uncorrelated": ("y ~ x + (x || g)", {}),
    "crossed": ("y ~ x + (x | g) + (1 | h)", {}),
    "nested": ("inner ~ x + (1 | g / cond)", {}),
    "slopes alone": ("y ~ 1 + (x | g)", {}),
    "logit": ("yes ~ x + (1 | g)", {"family": "binomial"}),
    "probit": ("yes ~ x + (1 | g)", {"family": "binomial", "link": "probit"}),
    "cloglog": ("yes ~ x + (1 | g)", {"family": "binomial", "link": "cloglog"}),
    "trials": ("cbind(hits, trials - hits) ~ x + (1 | g)", {"family": "binomial"}),
    "poisson": ("count ~ x + (1 | g)", {"family": "poisson"}),
    "poisson slopes": ("many ~ x + (x | g) + (1 | h)", {"family": "poisson"}),
    "sqrt": ("count ~ x + (1 | g)", {"family": "poisson", "link": "sqrt"}),
    "overdispersed": ("many ~ x + (1 | g) + (1 | row)", {"family": "poisson"}),
    "offset": ("count ~ x + offset(z) + (1 | g)", {"family": "poisson"}),
    "offset given": ("count ~ x + (1 | g)", {"family": "poisson", "offset": "z"}),
    "gamma": ("size ~ x + (1 | g)", {"family": "gamma", "link": "log"}),
    "nbinom": ("spread ~ x + (1 | g)", {"family": "nbinom"}),
}


@cache
def fitted(case: str, null: bool = False) -> Lmer:
    """Return a case, or its null model, fitted once for the whole file; tests only read it."""
    formula, given = CASES[case]
    return samples.fitted(formula.replace("x", "1", 1) if null else formula, trial(), given=given)


def random_variance(model: Lmer) -> float:
    """Return the mean of z G z' over the rows: Johnson (2014)."""
    x, var = trial()["x"], model.ranef_var.drop(index="Residual", errors="ignore")
    total = (var["Var"] * np.where(var["Name"] == "x", (x**2).mean(), 1)).sum()
    if model.ranef_corr is not None:
        total += 2 * x.mean() * model.ranef_corr["Corr"].iloc[0] * var.loc["g", "Std"].prod()
    return float(total)


def mean_rate(case: str) -> float:
    """Return the mean of the counts that the model without predictors has: exp(intercept + mean of z G z' / 2)."""
    null = fitted(case, null=True)
    return float(np.exp(null.coefs["Estimate"].iloc[0] + random_variance(null) / 2))


# ---------------------------------------------------------------- shares of variance

_PERFORMANCE = """function(m) {
  invisible(capture.output(told <- suppressMessages(suppressWarnings(
    list(icc = performance::icc(m), r2 = performance::r2_nakagawa(m))))))
  c(told$icc$ICC_adjusted, told$icc$ICC_unadjusted, told$r2$R2_conditional, told$r2$R2_marginal)
}"""
# Its variances, with another one of the distribution in the place of its own.
_OF_ITS_VARIANCES = """function(m, own) {
  v <- suppressWarnings(insight::get_variance(m))
  rest <- own + v$var.dispersion
  c(v$var.random / c(v$var.random + rest, v$var.fixed + v$var.random + rest),
    c(v$var.fixed + v$var.random, v$var.fixed) / (v$var.fixed + v$var.random + rest))
}"""
_OLDER = """function() !"null_model" %in% names(formals(performance::r2_nakagawa))"""
NOT_THEIRS = ("uncorrelated", "slopes alone", "offset", "offset given")


@pytest.mark.parametrize("case", [name for name in CASES if name not in NOT_THEIRS])
def test_shares_are_those_of_performance(case):
    """Of two terms of one group, as `||` makes them, performance 0.10 takes the first alone: see below.

    That version takes the median rate, and for gamma the variance of the delta method. Later ones leave slopes and
    effects of single rows out of the mean rate, but not out of the shares, and divide the variance of the logistic
    distribution by the mean number of trials.
    """
    hermetic.compare_with("performance")
    model, options = fitted(case), {}
    if inside(_OLDER)[0]:
        options = {"rate": "median", "approximation": "delta" if case == "gamma" else "lognormal"}
    if case in ("poisson slopes", "overdispersed") and not options:
        told = inside(_OF_ITS_VARIANCES, model.model_obj, float(np.log1p(1 / mean_rate(case))))
    elif case == "trials" and not options:
        told = inside(_OF_ITS_VARIANCES, model.model_obj, np.pi**2 / 3)
    else:
        told = inside(_PERFORMANCE, model.model_obj)
    icc, r2 = model.icc(**options), model.r2(**options)
    rtol = REFITTED if case.split()[0] in ("poisson", "overdispersed", "nbinom") else SHARES
    np.testing.assert_allclose([icc.adjusted, icc.unadjusted, r2.conditional, r2.marginal], told, rtol=rtol)


@pytest.mark.parametrize("case", CASES)
def test_shares_are_made_of_the_same_variances(case):
    icc, r2 = fitted(case).icc(), fitted(case).r2()
    assert isinstance(icc, ICC) and isinstance(r2, R2)
    assert 0 < icc.unadjusted <= icc.adjusted < 1
    assert 0 <= r2.marginal < r2.conditional < 1
    assert (r2.marginal == 0) == (case == "slopes alone")
    np.testing.assert_allclose(r2.conditional - r2.marginal, icc.unadjusted, rtol=1e-12)
    np.testing.assert_allclose(icc.adjusted, icc.unadjusted / (1 - r2.marginal), rtol=1e-12)


RESIDUAL = {
    **dict.fromkeys(("slopes", "uncorrelated", "slopes alone"), lambda m: m.ranef_var.loc["Residual", "Var"]),
    "trials": lambda m: np.pi**2 / 3,
    **dict.fromkeys(("offset", "offset given"), lambda m: np.log1p(1 / mean_rate("offset given"))),
}


@pytest.mark.parametrize("case", RESIDUAL)
def test_slopes_count_with_their_mean_variance_and_null_models_keep_the_offset(case):
    random, rest = random_variance(fitted(case)), RESIDUAL[case](fitted(case))
    rtol = REFITTED if case.startswith("offset") else SHARES
    np.testing.assert_allclose(fitted(case).icc().adjusted, random / (random + rest), rtol=rtol)


@pytest.mark.parametrize("approximation", ["lognormal", "delta", "trigamma"])
@pytest.mark.parametrize("case", ["poisson", "nbinom", "gamma", "overdispersed"])
def test_variances_of_outcomes_are_those_of_the_paper(case, approximation):
    """Nakagawa, Johnson & Schielzeth (2017), table 1, from a null model; effects of single rows are overdispersion."""
    model = fitted(case)
    v = model._fit.sigma**2 if case == "gamma" else 1 / mean_rate(case)
    if case == "nbinom":
        v += 1 / inside("function(m) lme4::getME(m, 'glmer.nb.theta')", model.model_obj)[0]
    residual = {"lognormal": np.log1p(v), "delta": v, "trigamma": special.polygamma(1, 1 / v)}[approximation]
    variances = model.ranef_var["Var"]
    whole = variances.drop("Residual", errors="ignore").sum() + residual
    # The null model of nbinom has a theta of its own here, and the model's there, as in performance.
    rtol = 1e-2 if case == "nbinom" else REFITTED
    np.testing.assert_allclose(model.icc(approximation=approximation).adjusted, variances["g"] / whole, rtol=rtol)


def test_a_singular_fit_says_so():
    model = samples.fitted("still ~ x + (1 | g)", trial())
    with pytest.warns(ModelWarning, match=r"singular fit: the variance of g\b"):
        assert model.icc().adjusted < 1e-12
    with pytest.warns(ModelWarning, match=r"r2\(\)"):
        r2 = model.r2()
    np.testing.assert_allclose(r2.conditional, r2.marginal, rtol=1e-9)


WITHOUT = [
    ("size", "gamma", "inverse", "link='log'"),
    ("size", "gamma", "identity", "link='log'"),
    ("yes", "binomial", "cauchit", "link='logit' or 'probit' or 'cloglog'"),
    ("size", "inverse_gaussian", "log", "none for this family"),
    ("size", "gaussian", "log", "link='identity'"),
    ("count", "poisson", "identity", "link='log' or 'sqrt'"),
]


@pytest.mark.parametrize("outcome, family, link, remedy", WITHOUT)
def test_a_link_without_a_formula_is_told_which_have_one(outcome, family, link, remedy):
    assert link in LINKS[family]
    frame = trial().assign(count=lambda d: d["count"] + 1)
    model = samples.fitted(f"{outcome} ~ 1 + (1 | g)", frame, given={"family": family, "link": link})
    for ask in (model.icc, model.r2):
        with pytest.raises(OptionError, match="Nakagawa") as raised:
            ask()
        assert remedy in str(raised.value)


@pytest.mark.parametrize("given", [{"approximation": "log"}, {"rate": "mode"}, {"approximation": None}])
def test_options_of_shares_are_checked(given, sleep_model):
    for ask in (sleep_model.icc, sleep_model.r2):
        with pytest.raises(OptionError, match=next(iter(given))):
            ask(**given)


_NUMBERS = """function(m) c(
  m@beta, m@theta, m@u, m@devcomp$cmp, m@resp$mu, m@resp$weights, m@resp$sqrtXwt, m@pp$theta, m@pp$Lambdat@x,
  m@pp$delu, m@pp$delb, as.vector(m@pp$RX()), as.vector(m@pp$RZX), as(m@pp$L(), "sparseMatrix")@x
)"""
_KNOWN = "function(m) sort(ls(environment(formula(m)), all.names = TRUE))"


@pytest.mark.parametrize("outcome, family", [("count", "poisson"), ("y", "gaussian")])
def test_questions_leave_the_model_alone(outcome, family):
    frame = trial()
    given = {"family": family, "weights": frame["w"].to_numpy(), "offset": "o"}
    model = samples.fitted(f"{outcome} ~ x + (1 | g)", frame, given=given)
    before, known = inside(_NUMBERS, model.model_obj), inside(_KNOWN, model.model_obj)
    coefs, smaller = model.coefs.copy(), samples.fitted(f"{outcome} ~ 1 + (1 | g)", frame, given=given)
    asked = [model.icc, model.r2, model.allfit, model.anova, lambda: compare(smaller, model)]
    for ask in [*asked, *([model.ranova] if family == "gaussian" else [])]:
        ask()
    assert model.ranef_se.notna().all(axis=None)
    assert inside(_KNOWN, model.model_obj) == known and model.coefs.equals(coefs)
    np.testing.assert_array_equal(inside(_NUMBERS, model.model_obj), before)


# ---------------------------------------------------------------- precision of the random effects

_SPREAD = """function(m) lapply(lme4::ranef(m, condVar = TRUE), function(effects) {
  post <- attr(effects, "postVar")
  if (!is.list(post)) post <- list(post)
  do.call(cbind, lapply(post, function(v) {
    matrix(sqrt(apply(v, 3, function(block) diag(as.matrix(block)))), dim(v)[3], byrow = TRUE)
  }))
})"""
EFFECTS = {
    **{name: CASES[name] for name in ("slopes", "uncorrelated", "crossed", "nested", "poisson slopes", "nbinom")},
    "three": ("y ~ x + (cond + x | g) + (0 + x | h) + (1 | h)", {}),
    "weighted": ("y ~ x + (x | g)", {"weights": "w"}),
    "singular": ("still ~ x + (1 | g)", {}),
}


@pytest.mark.parametrize("case", EFFECTS)
def test_conditional_sd_are_those_of_ranef(case):
    model = samples.fitted(EFFECTS[case][0], trial(), given=EFFECTS[case][1])
    told = inside(_SPREAD, model.model_obj)
    found, effects = model.ranef_se, model.ranef
    assert isinstance(found, list) == isinstance(effects, list)
    found, effects = (value if isinstance(value, list) else [value] for value in (found, effects))
    assert list(model.grps) == list(told)
    for spread, effect, values in zip(found, effects, told.values(), strict=True):
        pd.testing.assert_index_equal(spread.index, effect.index)
        pd.testing.assert_index_equal(spread.columns, effect.columns)
        np.testing.assert_allclose(spread, values, rtol=SPREAD, atol=1e-12)


def test_conditional_sd_are_computed_once_and_when_asked_for(monkeypatch):
    calls, call = [], bridge.call
    monkeypatch.setattr(bridge, "call", lambda verb, **given: calls.append(verb) or call(verb, **given))
    model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
    assert model.ranef_se is None
    calls.clear()
    model.fit(summarize=False)
    assert calls == ["fit_mixed"]
    first = model.ranef_se
    assert model.ranef_se is first
    assert calls == ["fit_mixed", "random_spread"]
    model.fit(REML=False, summarize=False)
    assert calls[2:] == ["fit_mixed"]
    assert not model.ranef_se.equals(first)


@pytest.mark.parametrize("ask", ["allfit", "icc", "r2"])
def test_questions_need_a_fit(ask):
    with pytest.raises(NotFittedError, match=ask):
        getattr(Lmer("y ~ x + (1 | g)", trial()), ask)()
