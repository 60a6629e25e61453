"""Tests of terms, where no number of lmerTest's is stored: Wald tests, weights, aliased terms, refits.

F tests of linear models and `ranova` are held to lmerTest's by `tests/reference/test_reference_anova.py`.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from against_r import inside
from samples import dataset, trial
from samples import fitted as fit
from scipy import stats

from pymer4 import Lm, Lmer, compare
from pymer4.errors import ModelWarning, NotFittedError, OptionError
from pymer4.models.base import Ddf
from pymer4.models.lmer_inference import Type

pytestmark = pytest.mark.r

F_COLUMNS = ["SS", "MS", "NumDF", "DenomDF", "F-stat", "P-val", "Sig"]
CHISQ_COLUMNS = ["Chisq", "Df", "P-val", "Sig"]

SAME = 1e-6  # relative: both sides run one optimizer from one start
DF_TOLERANCE = 1e-4  # relative: Satterthwaite's df are second derivatives by differences
P_OWN = 1e-10  # relative: p from our own statistic and df
HYPOTHESES = 1e-5  # relative: lmerTest rounds the coefficients of its hypotheses to 7 digits
ELSEWHERE = 1e-3  # relative: the optimizer stops elsewhere on other columns

DAYS = "Reaction ~ Days + (Days | Subject)"
WALD = {
    "herds": "cbind(incidence, size - incidence) ~ period + (1 | herd)",
    "ticks": "TICKS ~ YEAR * cHEIGHT + (1 | BROOD)",
    "crossed": "count ~ cond * dose + x + (1 | g)",
    "covariate": "count ~ cond * x * flag + (1 | g)",
    "reversed": "count ~ cond:x + dose + flag + (1 | g)",
    "no intercept": "count ~ 0 + cond + x + (1 | g)",
    "curved": "count ~ poly(x, 2) + cond + `my var` + (1 | g)",
    "aliased": "count ~ x + I(2 * x) + cond + (1 | g)",
    "hole": "count ~ cond * dose + (1 | g)",
}


def counts(hole: bool = False) -> pd.DataFrame:
    """Return the trial; the cell (a, mid) is empty where asked for."""
    frame = trial().rename(columns={"s": "my var"})
    return frame.query("not (cond == 'a' and dose == 'mid')").reset_index(drop=True) if hole else frame


@cache
def days(REML: bool = True) -> Lmer:
    return fit(DAYS, dataset("sleepstudy"), REML=REML)


@cache
def linear(right: str, **given: str) -> Lmer:
    return fit(f"y ~ {right} + (1 | g)", counts(), given=given)


@cache
def generalized(name: str) -> Lmer:
    """Return a case of WALD fitted once; tests only read it."""
    if name in ("herds", "ticks"):
        data, family = {"herds": ("cbpp", "binomial"), "ticks": ("grouseticks", "poisson")}[name]
        return fit(WALD[name], dataset(data), given={"family": family})
    return poisson(WALD[name], name == "hole")


def poisson(formula: str, hole: bool = False, **how) -> Lmer:
    return fit(formula, counts(hole), given={"family": "poisson"}, nAGQ=0, **how)


def quiet(method, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        return method(*args, **kwargs)


def close(found, expected, rtol=SAME):
    np.testing.assert_allclose(np.asarray(found, dtype=float), np.asarray(expected, dtype=float), rtol=rtol)


# ------------------------------------------------------------------ linear models


WEIGHTED = {"weights": "w", "offset": "o"}
HOW = [({}, ddf) for ddf in get_args(Ddf)] + [(WEIGHTED, "Satterthwaite"), (WEIGHTED, "asymptotic")]


@pytest.mark.parametrize(("given", "ddf"), HOW, ids=str)
def test_the_df_are_the_fits_unless_asked_otherwise(given, ddf):
    """Those that the fit did not compute come from its parts, weights and offset among them."""
    model = fit("y ~ cond + x + (1 | g)", counts(), given=given, ddf=ddf)
    other = model if ddf == "Satterthwaite" else fit("y ~ cond + x + (1 | g)", counts(), given=given)
    assert model.anova().attrs == {"type": 3, "ddf": ddf}
    for each in [name for name in get_args(Ddf) if not given or name != "Kenward-Roger"]:
        table = model.anova(ddf=each)
        assert list(table.columns) == F_COLUMNS
        close(table.iloc[:, :5], other.anova(ddf=each).iloc[:, :5], DF_TOLERANCE)
        if each != "asymptotic":
            close(table["P-val"], stats.f.sf(table["F-stat"], table["NumDF"], table["DenomDF"]), P_OWN)
        else:
            assert np.isinf(table["DenomDF"]).all()
            close(table["P-val"], stats.chi2.sf(table["F-stat"] * table["NumDF"], table["NumDF"]), P_OWN)
            close(table["F-stat"], model.anova(ddf="Satterthwaite")["F-stat"])
        if each == ddf:
            t, df = model.coefs.loc["x", ["T-stat", "DF"]]
            close(table.loc["x", ["F-stat", "DenomDF"]], [t**2, df])


def test_truth_values_are_a_factor():
    named = fit("y ~ flag * x + (1 | g)", counts().assign(flag=lambda d: np.where(d.flag, "TRUE", "FALSE")))
    for type in get_args(Type):
        pd.testing.assert_frame_equal(linear("flag * x").anova(type=type), named.anova(type=type))


def test_a_model_without_terms_has_an_empty_table():
    for ddf in get_args(Ddf):
        table = linear("1").anova(ddf=ddf)
        assert (list(table.columns), len(table)) == (F_COLUMNS, 0)
    table = poisson("count ~ 1 + (1 | g)").anova()
    assert (list(table.columns), len(table)) == (CHISQ_COLUMNS, 0)
    assert [str(kind) for kind in table.dtypes.iloc[:3]] == ["float64"] * 3


def test_the_table_is_kept_and_forgotten_with_the_fit():
    model = Lmer(DAYS, dataset("sleepstudy"))
    assert model.anova_results is None
    model.fit(summarize=False)
    assert model.anova_results is None
    table = model.anova()
    assert table is model.anova_results
    assert [type(mark) for mark in table["Sig"]] == [str] and table.loc["Days", "Sig"] == "***"
    model.fit(summarize=False)
    assert model.anova_results is None


# ------------------------------------------------------------------ generalized models

# Wald tests of types 1 and 2 condition on the terms that are left out; the hypotheses of type 3 are those that lmerTest
# finds for a linear model with the same formula.
_WALD = """function(m) {
  quiet <- function(x) suppressWarnings(suppressMessages(x))
  wald <- function(b, V) sum(b * solve(V, b))
  conditional <- function(b, V, tested, left_out) {
    if (!any(tested)) return(NaN)
    if (!any(left_out)) return(wald(b[tested], V[tested, tested]))
    onto <- V[tested, left_out, drop = FALSE] %*% solve(V[left_out, left_out])
    wald(b[tested] - c(onto %*% b[left_out]), V[tested, tested] - onto %*% V[left_out, tested])
  }
  labels <- attr(terms(m), "term.labels")
  b <- lme4::fixef(m)
  V <- as.matrix(vcov(m))
  assigned <- attr(lme4::getME(m, "X"), "assign")
  has <- attr(terms(m), "factors") > 0
  contains <- outer(seq_along(labels), seq_along(labels), Vectorize(function(t, u) t != u && all(has[has[, t], u])))
  likewise <- formula(m)
  d <- environment(likewise)$data
  likewise[[2]] <- quote(any_outcome)
  d$any_outcome <- sin(seq_along(d[[1]]))
  L <- lmerTest::show_tests(quiet(anova(lmerTest::lmer(likewise, d))), fractions = FALSE)
  each <- function(f) vapply(seq_along(labels), f, 0)
  list(
    one = each(function(t) conditional(b, V, assigned == t, assigned > t)),
    two = each(function(t) conditional(b, V, assigned == t, assigned %in% which(contains[t, ]))),
    three = each(function(t) {
      K <- as.matrix(L[[labels[t]]])
      if (nrow(K)) wald(c(K %*% b), K %*% V %*% t(K)) else NaN
    }),
    df = each(function(t) sum(assigned == t)), terms = labels
  )
}"""


@pytest.mark.parametrize("case", WALD)
def test_wald_tests(case):
    model = generalized(case)
    told = inside(_WALD, model.model_obj)
    for type, name in zip(get_args(Type), ("one", "two", "three"), strict=True):
        table = quiet(model.anova, type=type)
        assert list(table.columns) == CHISQ_COLUMNS
        assert list(table.index) == np.atleast_1d(told["terms"]).tolist()
        close(table["Chisq"], np.atleast_1d(told[name]), HYPOTHESES if type == 3 else SAME)
        assert (table["Df"] == told["df"]).all()
        close(table["P-val"], stats.chi2.sf(table["Chisq"], table["Df"].where(table["Df"] > 0)), P_OWN)
        assert table.attrs == {"type": type, "ddf": "asymptotic"}


def test_tests_of_type_3_do_not_depend_on_the_coding():
    codings = [
        {"cond": ["C", "a", "b"], "flag": [True, False]},
        {"cond": {"a": 1, "b": -0.5, "C": -0.5}},
        {"cond": {"a": [1, 0], "b": [0, 1], "C": [-1, -1]}, "flag": {True: 1, False: -1}},
    ]
    plain, straight = quiet(generalized("covariate").anova), linear("cond * flag").anova()
    for factors in codings:
        table = poisson(WALD["covariate"], factors=factors).anova()
        assert list(table.index) == list(plain.index)
        close(table["Chisq"], plain["Chisq"], HYPOTHESES)
        close(fit("y ~ cond * flag + (1 | g)", counts(), factors=factors).anova()["F-stat"], straight["F-stat"])


def test_a_model_without_intercept_has_the_tests_of_its_twin():
    """`0 + A * B` spans the same as `A * B`; an indicator for each level of A is then another coding."""
    whole, twin = (poisson(f"count ~ {left}cond * dose + (1 | g)") for left in ("0 + ", ""))
    close(whole.anova()["Chisq"], twin.anova()["Chisq"], HYPOTHESES)


def test_empty_cells_are_told():
    with pytest.warns(ModelWarning, match="Missing cells"):
        generalized("hole").anova()
    assert generalized("hole").anova(type=2)["Df"].to_list() == [2, 2, 3]


def test_offset_and_weights_stay_with_the_test():
    given = {"family": "poisson", "weights": "w"}
    model = fit("count ~ cond + offset(o) + x + (1 | g)", counts(), given=given, nAGQ=0)
    table = model.anova()
    assert list(table.index) == ["cond", "x"]
    close(table.loc["x", "Chisq"], model.coefs.loc["x", "Z-stat"] ** 2)


# ------------------------------------------------------------------ orthogonal contrasts


def test_orthogonal_contrasts_refit_with_all_else_as_it_was():
    weights = {"1": 1, "2": -1, "3": 0, "4": 0}
    given = {"factors": {"period": weights}, "control": "optimizer='bobyqa'", "conf_level": 0.9, "nAGQ": 2}
    model = Lmer("incidence / size ~ period + (1 | herd)", dataset("cbpp"), "binomial", weights="size")
    model.fit(summarize=False, **given)
    before, fits = model.anova(), model.fits
    table = model.anova(force_orthogonal=True)
    close(table["Chisq"], before["Chisq"], ELSEWHERE)
    assert list(model.coefs.index) == ["(Intercept)", "period.L", "period.Q", "period.C"]
    assert (model.factors, model.factors_prev_) == ({"period": ["1", "2", "3", "4"]}, {"period": weights})
    assert "5_ci" in model.coefs and model.convergence.optimizer == "bobyqa"
    assert model.anova_results is table and (model.family, model.link) == ("binomial", "logit")
    close(model.fits, fits, ELSEWHERE)
    handle = model._handle
    model.anova(force_orthogonal=True)
    assert model._handle is handle and model.factors_prev_ == {"period": weights}


@pytest.mark.parametrize("how", [{"REML": False}, {"ddf": "Kenward-Roger"}, {"rank": True}], ids=str)
def test_orthogonal_contrasts_are_for_factors_of_the_fixed_part(how):
    model = fit("y ~ x + cond * flag + (1 | g)", counts(), given={} if "ddf" in how else {"weights": "w"}, **how)
    before = model.anova()
    table = model.anova(force_orthogonal=True)
    assert model.factors == {"cond": ["C", "a", "b"], "flag": ["FALSE", "TRUE"]} and model.factors_prev_ is None
    assert {"cond.L", "cond.Q", "flag.L", "cond.L:flag.L"} < set(model.coefs.index)
    close(table["F-stat"], before["F-stat"], ELSEWHERE)
    assert model._options.REML is how.get("REML", True) and model.ranked_data is how.get("rank", False)
    assert table.attrs["ddf"] == how.get("ddf", "Satterthwaite")


def test_without_factors_nothing_is_refitted():
    handle = days()._handle
    assert days().anova(force_orthogonal=True).equals(days().anova())
    assert days()._handle is handle


# ------------------------------------------------------------------ random effects


def test_ranova_knows_weights_and_offset():
    """Without its random effect the model is a regression."""
    frame, control = counts(), {"control": "optimizer='bobyqa'", "ddf": "asymptotic", "REML": False}
    given = ({"weights": "w", "offset": "o"}, {"weights": frame["w"], "offset": frame["o"]})
    named, listed = (fit("y ~ x + (1 | g)", frame, given=each, **control) for each in given)
    assert named.ranova().equals(listed.ranova())
    plain = Lm("y ~ x", frame, offset="o")
    plain.fit(weights=frame["w"], summarize=False)
    close(named.ranova()[["Chisq", "Df", "P-val"]], compare(plain, named)[["Chisq", "Df", "P-val"]])


# ------------------------------------------------------------------ errors

ERRORS = {
    "anova unfitted": (NotFittedError, "anova", lambda: Lmer("y ~ x + (1 | g)", counts()).anova()),
    "ranova unfitted": (NotFittedError, "ranova", lambda: Lmer("y ~ x + (1 | g)", counts()).ranova()),
    "type": (OptionError, "type=4", lambda: days().anova(type=4)),
    "ddf": (OptionError, "'satterthwaite'.*'Satterthwaite'", lambda: days().anova(ddf="satterthwaite")),
    "ddf of a glmm": (OptionError, "poisson", lambda: generalized("ticks").anova(ddf="Satterthwaite")),
    "kr by ml": (OptionError, "REML", lambda: days(REML=False).anova(ddf="Kenward-Roger")),
    "kr, weighted": (OptionError, "leaves weights", lambda: linear("x", weights="w").anova(ddf="Kenward-Roger")),
    "ranova of a glmm": (OptionError, "compare", lambda: generalized("ticks").ranova()),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    kind, told, act = ERRORS[name]
    with pytest.raises(kind, match=told):
        act()
