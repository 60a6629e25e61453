"""Shares of variance against R's performance, other optimizers against allFit, conditional sd against ranef, hints."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path

import hermetic
import numpy as np
import pandas as pd
import pytest
from against_r import rinterface
from scipy import special

from pymer4 import Lmer, load_dataset
from pymer4.data.families import LINKS
from pymer4.errors import ConvergenceWarning, ModelWarning, NotFittedError, OptionError
from pymer4.models import lmer_diagnosis
from pymer4.models.convergence import Convergence, next_step
from pymer4.models.lmer_diagnosis import ICC, R2
from pymer4.rbridge import bridge

pytestmark = pytest.mark.r

SHARES = 1e-10  # relative: the same variances, added up in another order
REFITTED = 1e-5  # relative: the null model is fitted again, by another optimizer run
SPREAD = 1e-8  # relative: two ways to solve one system
LIKELIHOOD = 1e-8  # relative: one optimizer from one start
COEFFICIENTS = 1e-6  # relative to the largest


def trial() -> pd.DataFrame:
    """Return 20 groups crossed with 8 items, unbalanced, with outcomes of every family."""
    rng = np.random.default_rng(21)
    n = 320
    g, h = rng.integers(0, 20, n), rng.integers(0, 8, n)
    frame = pd.DataFrame({"g": [f"g{k:02d}" for k in g], "h": [f"h{k}" for k in h], "x": rng.normal(0.5, 1, n)})
    frame["c"] = rng.choice(["a", "b", "c"], n)
    frame["row"] = np.arange(n).astype(str)
    frame["n"] = rng.integers(2, 9, n)
    slopes = rng.normal(0, [0.5, 0.3], (20, 2))
    eta = 0.5 + 0.4 * frame.x + slopes[g, 0] + slopes[g, 1] * frame.x + rng.normal(0, 0.4, 8)[h]
    frame["y"] = eta + rng.normal(size=n)
    frame["yes"] = (rng.uniform(size=n) < special.expit(eta)).astype(int)
    frame["hits"] = rng.binomial(frame.n, special.expit(eta))
    frame["count"] = rng.poisson(np.exp(eta))
    frame["more"] = rng.poisson(np.exp(eta + rng.normal(0, 0.7, n)))
    frame["spread"] = rng.negative_binomial(2, 2 / (2 + np.exp(eta)))
    frame["size"] = rng.gamma(3, np.exp(eta) / 3)
    frame["still"] = frame.y - frame.groupby("g")["y"].transform("mean")
    return frame


CASES = {
    "intercepts": ("y ~ x + (1 | g)", {}),
    "slopes": ("y ~ x * c + (x | g)", {}),
    "uncorrelated": ("y ~ x + (x || g)", {}),
    "crossed": ("y ~ x + (x | g) + (1 | h)", {}),
    "nested": ("y ~ x + (1 | g / c)", {}),
    "logit": ("yes ~ x + (1 | g)", {"family": "binomial"}),
    "probit": ("yes ~ x + (1 | g)", {"family": "binomial", "link": "probit"}),
    "cloglog": ("yes ~ x + (1 | g)", {"family": "binomial", "link": "cloglog"}),
    "poisson": ("count ~ x + (1 | g)", {"family": "poisson"}),
    "poisson slopes": ("count ~ x + (x | g) + (1 | h)", {"family": "poisson"}),
    "sqrt": ("count ~ x + (1 | g)", {"family": "poisson", "link": "sqrt"}),
    "overdispersed": ("more ~ x + (1 | g) + (1 | row)", {"family": "poisson"}),
    "gamma": ("size ~ x + (1 | g)", {"family": "gamma", "link": "log"}),
    "nbinom": ("spread ~ x + (1 | g)", {"family": "nbinom"}),
}
every = pytest.mark.parametrize("case", CASES)


@cache
def fitted(case: str) -> Lmer:
    """Return a case fitted once for the whole file; tests only read it."""
    formula, given = CASES[case]
    model = Lmer(formula, trial(), **given)
    model.fit(summarize=False, no_warnings=True)
    return model


@cache
def sleep() -> Lmer:
    model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
    model.fit(summarize=False)
    return model


# What is compared with reads options of R's that a start-up file may have set.
_AS_R_STARTS = """function(judge) function(...) {
  users <- options(scipen = 0, warn = 0, na.action = "na.omit", lmerControl = NULL, glmerControl = NULL)
  on.exit(options(users))
  judge(...)
}"""


def run(code: str, *given):
    """Return what an R function says of the R objects given, as plain values."""
    judge = rinterface.evalr(_AS_R_STARTS)(rinterface.evalr(code))
    return bridge._started().values.from_r(judge(*given))


# ---------------------------------------------------------------- shares of variance

_PERFORMANCE = """function(m) {
  invisible(capture.output(told <- suppressMessages(suppressWarnings(
    list(icc = performance::icc(m), r2 = performance::r2_nakagawa(m))))))
  c(told$icc$ICC_adjusted, told$icc$ICC_unadjusted, told$r2$R2_conditional, told$r2$R2_marginal)
}"""
# Its variances, with the mean rate of the counts (see below) in the place of its own.
_OF_ALL_EFFECTS = """function(m, rate) {
  v <- suppressWarnings(insight::get_variance(m))
  rest <- log1p(1 / rate) + v$var.dispersion
  c(v$var.random / c(v$var.random + rest, v$var.fixed + v$var.random + rest),
    c(v$var.fixed + v$var.random, v$var.fixed) / (v$var.fixed + v$var.random + rest))
}"""
_OLDER = """function() !"null_model" %in% names(formals(performance::r2_nakagawa))"""


def as_performance(case: str) -> dict[str, str]:
    """Return the options that make ours the definitions of the performance at hand."""
    if not run(_OLDER)[0]:
        return {}
    # Without that argument it takes the median rate, and for gamma the variance of the delta method.
    return {"rate": "median", "approximation": "delta" if case == "gamma" else "lognormal"}


def mean_rate(case: str) -> float:
    """Return the mean of the counts that the model without predictors has: exp(intercept + mean of z G z' / 2)."""
    formula, given = CASES[case]
    frame = trial()
    null = Lmer(formula.replace("x", "1", 1), frame, **given)
    null.fit(summarize=False, no_warnings=True)
    variance = (null.ranef_var["Var"] * np.where(null.ranef_var["Name"] == "x", (frame.x**2).mean(), 1)).sum()
    if null.ranef_corr is not None:
        variance += 2 * frame.x.mean() * null.ranef_corr["Corr"].iloc[0] * null.ranef_var.loc["g", "Std"].prod()
    return float(np.exp(null.coefs["Estimate"].iloc[0] + variance / 2))


@pytest.mark.parametrize("case", ["poisson slopes", "overdispersed"])
def test_the_mean_rate_is_that_of_the_counts(case):
    outcome = CASES[case][0].split()[0]
    # With slopes it is below: exp of a mean over the rows.
    assert 0.75 < mean_rate(case) / trial()[outcome].mean() < 1.1


@pytest.mark.parametrize("case", [name for name in CASES if name != "uncorrelated"])
def test_shares_are_those_of_performance(case):
    """Of two terms of one group, as `||` makes them, performance 0.10 takes the first alone: see below.

    Later versions leave slopes and effects of single rows out of the mean rate, but not out of the shares.
    """
    hermetic.compare_with("performance")
    model, options = fitted(case), as_performance(case)
    if case in ("poisson slopes", "overdispersed") and not options:
        told = run(_OF_ALL_EFFECTS, model.model_obj, mean_rate(case))
    else:
        told = run(_PERFORMANCE, model.model_obj)
    icc, r2 = model.icc(**options), model.r2(**options)
    rtol = REFITTED if case.split()[0] in ("poisson", "overdispersed", "nbinom") else SHARES
    np.testing.assert_allclose([icc.adjusted, icc.unadjusted, r2.conditional, r2.marginal], told, rtol=rtol)


@every
def test_shares_are_made_of_the_same_variances(case):
    model = fitted(case)
    icc, r2 = model.icc(), model.r2()
    assert isinstance(icc, ICC)
    assert isinstance(r2, R2)
    assert 0 < icc.unadjusted < icc.adjusted < 1
    assert 0 < r2.marginal < r2.conditional < 1
    np.testing.assert_allclose(r2.conditional - r2.marginal, icc.unadjusted, rtol=1e-12)
    np.testing.assert_allclose(icc.adjusted, icc.unadjusted / (1 - r2.marginal), rtol=1e-12)


@pytest.mark.parametrize("approximation", ["lognormal", "delta", "trigamma"])
@pytest.mark.parametrize("case", ["poisson", "nbinom", "gamma"])
def test_variances_of_outcomes_are_those_of_the_paper(case, approximation):
    """Nakagawa, Johnson & Schielzeth (2017), table 1, from a null model that is fitted here."""
    model, (formula, given) = fitted(case), CASES[case]
    null = Lmer(formula.replace("x", "1"), trial(), **given)
    null.fit(summarize=False, no_warnings=True)
    rate = np.exp(null.coefs["Estimate"].iloc[0] + null.ranef_var["Var"].iloc[0] / 2)
    theta = "function(m) lme4::getME(m, 'glmer.nb.theta')"
    v = {
        "poisson": lambda: 1 / rate,
        "nbinom": lambda: 1 / rate + 1 / run(theta, model.model_obj)[0],
        "gamma": lambda: model._fit.sigma**2,
    }[case]()
    residual = {"lognormal": np.log1p(v), "delta": v, "trigamma": special.polygamma(1, 1 / v)}[approximation]
    random = model.ranef_var["Var"].iloc[0]
    # The null model of nbinom has a theta of its own here, and the model's there, as in performance.
    rtol = 1e-2 if case == "nbinom" else REFITTED
    np.testing.assert_allclose(model.icc(approximation=approximation).adjusted, random / (random + residual), rtol=rtol)


def test_a_slope_counts_with_its_mean_variance():
    """Johnson (2014): the mean over rows of var(u0 + u1 x)."""
    model, x = fitted("slopes"), trial()["x"]
    var, corr = model.ranef_var, model.ranef_corr["Corr"].iloc[0]
    v0, v1, residual = var["Var"]
    random = (v0 + 2 * x * corr * np.sqrt(v0 * v1) + x**2 * v1).mean()
    np.testing.assert_allclose(model.icc().adjusted, random / (random + residual), rtol=SHARES)


def test_uncorrelated_effects_add_up():
    model, x = fitted("uncorrelated"), trial()["x"]
    v0, v1, residual = model.ranef_var["Var"]
    random = v0 + (x**2).mean() * v1
    np.testing.assert_allclose(model.icc().adjusted, random / (random + residual), rtol=SHARES)


def test_a_slope_without_a_fixed_part_counts_too():
    model, x = Lmer("y ~ 1 + (x | g)", trial()), trial()["x"]
    model.fit(summarize=False)
    v0, v1, residual = model.ranef_var["Var"]
    random = (v0 + 2 * x * model.ranef_corr["Corr"].iloc[0] * np.sqrt(v0 * v1) + x**2 * v1).mean()
    np.testing.assert_allclose(model.icc().adjusted, random / (random + residual), rtol=SHARES)
    assert model.r2().marginal == 0


def test_effects_of_single_rows_are_overdispersion():
    model = fitted("overdispersed")
    var = model.ranef_var["Var"]
    icc = model.icc(approximation="delta")
    null = Lmer("more ~ 1 + (1 | g) + (1 | row)", trial(), family="poisson")
    null.fit(summarize=False, no_warnings=True)
    rate = np.exp(null.coefs["Estimate"].iloc[0] + null.ranef_var["Var"].sum() / 2)
    np.testing.assert_allclose(icc.adjusted, var["g"] / (var.sum() + 1 / rate), rtol=REFITTED)


@pytest.mark.parametrize("offset", ["column", "term"])
def test_the_null_model_keeps_offset_and_weights(offset):
    frame = trial().assign(o=lambda d: np.log(d.n))
    if offset == "term":
        model = Lmer("count ~ x + offset(o) + (1 | g)", frame, family="poisson")
        null = Lmer("count ~ 1 + offset(o) + (1 | g)", frame, family="poisson")
    else:
        model = Lmer("count ~ x + (1 | g)", frame, family="poisson", offset="o")
        null = Lmer("count ~ 1 + (1 | g)", frame, family="poisson", offset="o")
    for each in (model, null):
        each.fit(summarize=False, no_warnings=True)
    rate = np.exp(null.coefs["Estimate"].iloc[0] + null.ranef_var["Var"].iloc[0] / 2)
    random = model.ranef_var["Var"].iloc[0]
    np.testing.assert_allclose(model.icc().adjusted, random / (random + np.log1p(1 / rate)), rtol=REFITTED)


def test_trials_do_not_change_the_variance_of_the_logistic_distribution():
    model = Lmer("cbind(hits, n - hits) ~ x + (1 | g)", trial(), family="binomial")
    model.fit(summarize=False)
    random = model.ranef_var["Var"].iloc[0]
    np.testing.assert_allclose(model.icc().adjusted, random / (random + np.pi**2 / 3), rtol=SHARES)


def test_a_singular_fit_says_so():
    model = Lmer("still ~ x + (1 | g)", trial())
    model.fit(summarize=False, no_warnings=True)
    with pytest.warns(ModelWarning, match=r"singular fit: the variance of g\b"):
        icc = model.icc()
    assert icc.adjusted < 1e-12
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
    model = Lmer(f"{outcome} ~ 1 + (1 | g)", trial().assign(count=lambda d: d["count"] + 1), family=family, link=link)
    model.fit(summarize=False, no_warnings=True)
    for ask in (model.icc, model.r2):
        with pytest.raises(OptionError, match="Nakagawa") as raised:
            ask()
        assert remedy in str(raised.value)


@pytest.mark.parametrize("given", [{"approximation": "log"}, {"rate": "mode"}, {"approximation": None}])
def test_options_of_shares_are_checked(given):
    for ask in (sleep().icc, sleep().r2):
        with pytest.raises(OptionError, match=next(iter(given))):
            ask(**given)


_NUMBERS = """function(m) c(
  m@beta, m@theta, m@u, m@devcomp$cmp, m@resp$mu, m@resp$weights, m@resp$sqrtXwt, m@pp$theta, m@pp$Lambdat@x,
  m@pp$delu, m@pp$delb, as.vector(m@pp$RX()), as.vector(m@pp$RZX), as(m@pp$L(), "sparseMatrix")@x
)"""


@pytest.mark.parametrize("outcome, family", [("count", "poisson"), ("y", "gaussian")])
def test_questions_leave_the_model_alone(outcome, family):
    frame = trial().assign(w=2.0, o=lambda d: d.x / 3)
    model = Lmer(f"{outcome} ~ x + (1 | g)", frame, family, weights=frame["w"].to_numpy(), offset="o")
    model.fit(summarize=False, no_warnings=True)
    names = "function(m) sort(ls(environment(formula(m)), all.names = TRUE))"
    before, known = run(_NUMBERS, model.model_obj), run(names, model.model_obj)
    for ask in (model.icc, model.r2, model.allfit):
        ask()
    assert model.ranef_se.notna().all(axis=None)
    assert run(names, model.model_obj) == known
    np.testing.assert_array_equal(run(_NUMBERS, model.model_obj), before)


# ---------------------------------------------------------------- other optimizers

_ALL = """function(m) {
  if (inherits(m, "lmerModLmerTest")) m <- as(m, "lmerMod")
  m@call[[1]] <- if (lme4::isLMM(m)) quote(lme4::lmer) else quote(lme4::glmer)
  home <- environment(formula(m))
  given <- list(m, data = home$data, verbose = FALSE, start_from_mle = FALSE)
  given <- given[names(given) %in% c("", names(formals(lme4::allFit)))]
  fits <- suppressWarnings(suppressMessages(do.call(lme4::allFit, given)))
  rm(list = intersect("ctrl", ls(home)), envir = home)
  list(names = names(fits), likelihood = unname(sapply(fits, logLik)), fixed = unname(t(sapply(fits, lme4::fixef))))
}"""
NEEDS = {"nmkbw": "dfoptim", "optimx.L-BFGS-B": "optimx"}  # packages that no set-up brings
COLUMNS = ["log-likelihood", "Converged", "Max_abs_diff", "Max_rel_diff", "Messages"]

# What lme4 calls of these packages, with R's nlminb() in the place of their own methods.
_STAND_INS = {
    "dfoptim": """nmkb <- function(par, fn, lower, upper, control) {
  found <- stats::nlminb(par, fn, lower = lower, upper = upper, control = list(rel.tol = 1e-15))
  list(par = found$par, value = found$objective, feval = 0, convergence = 0, message = "")
}""",
    "optimx": """optimx <- function(par, fn, lower, upper, control, method) {
  found <- stats::nlminb(par, fn, lower = lower, upper = upper, control = list(rel.tol = 1e-15))
  table <- data.frame(t(found$par), value = found$objective, fevals = 0, gevals = 0, convcode = 0)
  details <- matrix(list(""), 1, dimnames = list(method, "message"))
  structure(table, class = c("optimx", "data.frame"), details = details, npar = length(par))
}
coef.optimx <- function(object, ...) as.matrix(as.data.frame(unclass(object))[seq_len(attr(object, "npar"))])""",
}
_DESCRIPTION = """Package: {}
Version: 9.9
Title: Stands In
Description: Stands in.
License: MIT
Author: x
Maintainer: x <x@example.org>
"""


def install(package: str, library: Path, folder: Path) -> None:
    """Install what stands in for a package."""
    code, source = _STAND_INS[package], folder / package
    (source / "R").mkdir(parents=True)
    (source / "R" / "code.R").write_text(code + "\n")
    (source / "DESCRIPTION").write_text(_DESCRIPTION.format(package))
    methods = "S3method(stats::coef, optimx)\n" if "coef.optimx" in code else ""
    (source / "NAMESPACE").write_text(f"export({code.partition(' ')[0]})\n{methods}")
    command = ["R", "CMD", "INSTALL", "--no-docs", "--no-test-load", f"--library={library}", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory) -> Path:
    """A library of what stands in for the optional packages."""
    library, folder = tmp_path_factory.mktemp("library"), tmp_path_factory.mktemp("source")
    for package in _STAND_INS:
        install(package, library, folder)
    return library


@pytest.fixture
def every_optimizer(stand_ins):
    """Let R have the optional packages for the length of a test: its own, or what stands in for them."""
    sleep()  # starts R
    places = rinterface.evalr(".libPaths()")
    packages = rinterface.StrSexpVector([*_STAND_INS])
    loaded = rinterface.evalr("loadedNamespaces()")
    run("function(p) .libPaths(c(.libPaths(), p))", rinterface.StrSexpVector([str(stand_ins)]))
    yield
    run("function(p, before) for (name in setdiff(p, before)) unloadNamespace(name)", packages, loaded)
    run("function(p) .libPaths(p)", places)


@pytest.mark.parametrize("case", ["ml", "poisson", "nbinom"])
def test_every_optimizer_comes_to_what_allfit_says(case, every_optimizer):
    if case == "ml":
        model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
        model.fit(REML=False, summarize=False)
    else:
        model = fitted(case)
    table, told = model.allfit(), run(_ALL, model.model_obj)
    assert list(table.index) == told["names"]
    assert list(table.columns) == [*COLUMNS, *model.coefs.index]
    np.testing.assert_allclose(table["log-likelihood"], told["likelihood"], rtol=LIKELIHOOD)
    fixed = table.iloc[:, len(COLUMNS) :].to_numpy(dtype=float)
    np.testing.assert_allclose(fixed, told["fixed"], rtol=COEFFICIENTS, atol=COEFFICIENTS * np.abs(fixed).max())
    best = table.index[table["log-likelihood"] >= table["log-likelihood"].max() - 1e-6][0]
    assert table.attrs["best"] == best
    assert table.attrs["model"] == model.convergence.optimizer
    assert table.attrs["left_out"] == ()
    apart = np.abs(fixed - fixed[table.index.get_loc(best)])
    np.testing.assert_allclose(table["Max_abs_diff"], apart.max(axis=1))
    np.testing.assert_allclose(table["Max_rel_diff"], (apart / np.abs(fixed[table.index.get_loc(best)])).max(axis=1))
    assert table.loc[best, "Max_abs_diff"] == table.loc[best, "Max_rel_diff"] == 0


def test_what_an_optimizer_says_is_in_its_row():
    """A deviance without a clear minimum: some optimizers stop in doubt."""
    frame = trial().assign(big=lambda d: 1e5 * d.x)
    model = Lmer("y ~ big + (big | g)", frame)
    model.fit(summarize=False, no_warnings=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", r"allfit\(\) leaves out", ModelWarning)
        table = model.allfit()
    assert not table["Converged"].all()
    assert (table["Messages"] == "").sum() < len(table)
    doubtful = table.loc[~table["Converged"], "Messages"]
    assert (doubtful != "").all()


def test_control_weights_and_offset_stay_as_they_were():
    frame = trial().assign(w=lambda d: d.n / 4.0, o=lambda d: d.x / 3)
    model = Lmer("y ~ x + (x | g)", frame, weights=frame["w"].to_numpy(), offset="o")
    model.fit(control={"optimizer": "bobyqa", "optCtrl": {"maxfun": 5000}}, summarize=False)
    table = model.allfit()
    assert table.attrs["model"] == "bobyqa"
    np.testing.assert_allclose(table.loc["bobyqa", "log-likelihood"], model.logLike, rtol=1e-10)
    np.testing.assert_allclose(table.loc["bobyqa"].iloc[5:].astype(float), model.coefs["Estimate"], rtol=1e-6)


def test_a_singular_fit_has_converged():
    model = Lmer("still ~ x + (1 | g)", trial())
    model.fit(summarize=False, no_warnings=True)
    table = model.allfit()
    assert table["Converged"].all()
    assert table["Messages"].str.contains("singular").all()


def test_a_model_without_coefficients_has_no_differences():
    model = Lmer("y ~ 0 + (1 | g)", trial())
    model.fit(summarize=False, no_warnings=True)
    table = model.allfit()
    assert list(table.columns) == COLUMNS
    assert (table["Max_abs_diff"] == 0).all()


def test_an_optimizer_that_fails_is_a_row_of_its_own():
    """With a control that refuses every model, none succeeds."""
    model = sleep()
    before = model.allfit().drop(columns="Messages")
    frame = load_dataset("sleepstudy")
    other = Lmer("Reaction ~ Days + (Days | Subject)", frame)
    other.fit(summarize=False)
    rinterface.evalr("function(m) assign('data', 1, environment(formula(m)))")(other.model_obj)
    table = other.allfit()
    assert table.iloc[:, [0, 2, 3, 5, 6]].isna().all(axis=None)
    assert not table["Converged"].any()
    assert (table["Messages"] != "").all()
    assert table.attrs["best"] is None
    pd.testing.assert_frame_equal(model.allfit().drop(columns="Messages"), before)


_ABSENT = """
import warnings
from pymer4 import Lmer, load_dataset
model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
model.fit(summarize=False)
with warnings.catch_warnings(record=True) as issued:
    warnings.simplefilter("always")
    table = model.allfit()
print(*table.index)
print(*table.attrs["left_out"])
print(*(str(w.message) for w in issued), sep="|")
"""


def test_optimizers_whose_package_is_not_there_are_left_out(tmp_path):
    """A library of links to every package but two; what R's own library has can't be hidden, and is then not missed."""
    for library in run("function() .libPaths()"):
        for package in Path(library).iterdir():
            if package.name not in NEEDS.values() and not (tmp_path / package.name).exists():
                (tmp_path / package.name).symlink_to(package)
    base = Path(run("function() .Library")[0])
    missed = {optimizer: package for optimizer, package in NEEDS.items() if not (base / package).exists()}
    places = {"R_LIBS_SITE": str(tmp_path), "R_LIBS": "", "R_LIBS_USER": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-c", _ABSENT], env=os.environ | places, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    always = ["bobyqa", "Nelder_Mead", "nlminbwrap", "nloptwrap.NLOPT_LN_NELDERMEAD", "nloptwrap.NLOPT_LN_BOBYQA"]
    assert [name for name in done[0].split() if name not in NEEDS] == always
    assert set(done[0].split()) == {*always, *NEEDS} - {*missed}
    assert done[1].split() == [*missed]
    assert ", ".join(missed.values()) in done[2]
    assert done[2].count("|") == 0


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
    "three": ("y ~ x + (c + x | g) + (0 + x | h) + (1 | h)", {}),
    "weighted": ("y ~ x + (x | g)", {"weights": "n"}),
    "singular": ("still ~ x + (1 | g)", {}),
}


@pytest.mark.parametrize("case", EFFECTS)
def test_conditional_sd_are_those_of_ranef(case):
    formula, given = EFFECTS[case]
    model = Lmer(formula, trial(), **given)
    assert model.ranef_se is None
    model.fit(summarize=False, no_warnings=True)
    told = run(_SPREAD, model.model_obj)
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
    calls.clear()
    model.fit(summarize=False)
    assert calls == ["fit_mixed"]
    first = model.ranef_se
    assert model.ranef_se is first
    assert calls == ["fit_mixed", "random_spread"]
    model.fit(REML=False, summarize=False)
    assert calls[2:] == ["fit_mixed"]
    assert not model.ranef_se.equals(first)


def test_questions_need_a_fit():
    model = Lmer("y ~ x + (1 | g)", trial())
    for ask in (model.allfit, model.icc, model.r2):
        with pytest.raises(NotFittedError):
            ask()
    assert model.ranef_se is None


# ---------------------------------------------------------------- what to try next

ENDED = Convergence("nloptwrap", 0, (), 0.0, True, ("g", "h.1"))
SAID = {
    "boundary (singular) fit: see help('isSingular')": ("g, h.1", "(x || group)", "convergence.singular_terms"),
    "Model failed to converge with max|grad| = 0.0178 (tol = 0.002, component 1)": ("rescale", "control=", "allfit()"),
    "Model failed to converge: degenerate  Hessian with 1 negative eigenvalues": ("rescale", "control=", "allfit()"),
    "Model may not have converged with 1 eigenvalue close to zero: 1.0e-09": ("allfit()",),
    "Hessian is numerically singular: parameters are not uniquely determined": ("allfit()",),
    "unable to evaluate scaled gradient": ("allfit()",),
    "convergence code 5 from nloptwrap: NLOPT_MAXEVAL_REACHED": ("allfit()",),
    "Model is nearly unidentifiable: very large eigenvalue\n - Rescale variables?": ("scale(x)",),
    "Some predictor variables are on very different scales: consider rescaling": ("scale(x)",),
}


@pytest.mark.parametrize("text", SAID)
def test_each_warning_of_the_optimizer_has_a_next_step(text):
    step = next_step(text, ENDED)
    assert step.startswith("Next: ")
    assert step.count(". ") + step.endswith(".") == 1
    assert all(word in step for word in SAID[text])


@pytest.mark.parametrize("text", ["NaNs produced", "Left out, since other terms add up to them: I(2 * x)", ""])
def test_other_warnings_have_none(text):
    assert next_step(text, ENDED) == ""


WARNED = {
    "singular": ("still ~ x + (1 | g)", {}, "boundary (singular) fit", "effects of g "),
    "stopped": ("y ~ x + (x | g)", {"control": "optCtrl=list(maxeval=2)"}, "NLOPT_MAXEVAL_REACHED", "allfit()"),
    "scales": ("y ~ I(1e7 * x) + x + c + (1 | g)", {}, "very different scales", "scale(x)"),
}


@pytest.mark.parametrize("case", WARNED)
def test_warnings_are_r_words_first_and_then_the_step_once_each(case):
    formula, how, words, step = WARNED[case]
    model = Lmer(formula, trial())
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        model.fit(summarize=False, **how)
    texts = [str(w.message) for w in issued]
    (text,) = [text for text in texts if words in text]
    said, _, hint = text.rpartition("\n")
    assert said in model.warnings
    assert hint.startswith("Next: ")
    assert step in hint
    assert [kept for kept in model.warnings if "Next:" in kept] == []
    assert len(texts) == len(set(texts)) == len(model.warnings)
    if case != "scales":
        assert issubclass(issued[texts.index(text)].category, ConvergenceWarning)


def test_examples_run():
    assert doctest.testmod(lmer_diagnosis).failed == 0
