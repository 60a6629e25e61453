"""`Lm` against R's lm, glm, sandwich, predict and t.test, and against what a resample has to be."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import warnings
from dataclasses import dataclass, field
from functools import cache
from io import StringIO

import hermetic
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pymer4 import Lm
from pymer4.errors import ModelWarning, NotFittedError

pytestmark = pytest.mark.numeric

LINEAR = 1e-9  # relative (residuals: of their spread): both sides solve by orthogonal transformations
TESTS = 1e-9  # relative: statistics, limits, p; p also where it is 1e-80
MAXIMUM = 1e-9  # relative, of GLMs: both sides iterate until nothing changes
HERE = 1e-10  # relative: two ways of computing one thing on this side

KINDS = ["iid", "hc0", "hc1", "hc2", "hc3", "hac", "cluster"]
COLUMNS = ["Estimate", "2.5_ci", "97.5_ci", "SE", "DF", "T-stat", "P-val", "Sig"]


@cache
def data() -> pd.DataFrame:
    """Return 140 rows with gaps, groups, clusters and outcomes of every family."""
    rng = np.random.default_rng(11)
    n = 140
    frame = pd.DataFrame({"x": rng.normal(size=n), "z": rng.uniform(0, 2, n), "u": rng.normal(3, 2, n)})
    frame["g"] = rng.choice(["a", "b", "c"], n)
    frame["h"] = rng.choice(["k", "l"], n)
    frame["cl"] = rng.integers(0, 18, n)
    frame["w"] = rng.uniform(0.3, 3, n)
    frame["trials"] = rng.integers(1, 9, n)
    frame["shift"] = rng.normal(0, 0.3, n)
    spread = np.where(frame.g == "a", 0.5, np.where(frame.g == "b", 1.5, 3.0))
    frame["y"] = 2 + 0.7 * frame.x - 0.4 * frame.z + (frame.g == "b") + spread * rng.normal(size=n)
    rate = np.exp(0.4 + 0.3 * frame.x - 0.2 * frame.z)
    frame["counts"] = rng.poisson(rate)
    frame["many"] = rng.negative_binomial(1.7, 1.7 / (1.7 + 3 * rate))
    frame["hits"] = rng.binomial(frame.trials, 1 / (1 + np.exp(-0.5 * frame.x)))
    frame["share"] = frame.hits / frame.trials
    frame["binary"] = rng.binomial(1, 1 / (1 + np.exp(-0.8 * frame.x + 0.3)))
    frame["positive"] = rng.gamma(3, rate / 3)
    frame["waiting"] = rng.wald(rate, 2.0)
    for name, divisor, rest in (("y", 31, 4), ("x", 37, 2), ("g", 41, 7)):
        frame.loc[frame.index % divisor == rest, name] = None
    return frame


@dataclass(frozen=True)
class Case:
    """One model: patsy's formula, R's where it is another, and what both fits get."""

    formula: str
    r: str = ""
    weights: str = ""
    offset: str = ""
    family: str = "gaussian"
    link: str = ""
    given: dict = field(default_factory=dict)
    kinds: tuple[str, ...] = tuple(KINDS)

    @property
    def linear(self) -> bool:
        return self.family == "gaussian" and self.link in ("", "identity")


FORMULAS = {
    "plain": ("y ~ x + z", ""),
    "mean": ("y ~ 1", ""),
    "factor": ("y ~ g + x", ""),
    "crossed": ("y ~ g * h", ""),
    "sloped": ("y ~ g * x", ""),
    "none": ("y ~ 0 + x + z", ""),
    "cells": ("y ~ 0 + g + x", ""),
    "curved": ("y ~ x + I(x ** 2) + np.exp(z)", "y ~ x + I(x^2) + exp(z)"),
    "spline": ("y ~ bs(z, df=5) + x", "y ~ bs(z, df = 5) + x"),
    "logged": ("np.log(positive) ~ x + z", "log(positive) ~ x + z"),
    "aliased": ("y ~ x + I(2 * x - 1) + z", "y ~ x + z"),
}
LINEAR_CASES = {
    f"{name} {how}": Case(*pair, **extra)
    for name, pair in FORMULAS.items()
    for how, extra in (
        ("plain", {}),
        ("weighted", {"weights": "w"}),
        ("offset", {"weights": "w", "offset": "shift"}),
    )
}
HC = ("iid", "hc0", "hc1", "hc2", "hc3", "cluster")
GENERALIZED = {
    "binary": Case("binary ~ g + x", family="binomial", kinds=HC),
    "probit": Case("binary ~ x * z", family="binomial", link="probit", kinds=HC),
    "cloglog": Case("binary ~ x", family="binomial", link="cloglog", kinds=HC),
    "cauchit": Case("binary ~ x", family="binomial", link="cauchit", kinds=HC),
    "counted": Case("cbind(hits, trials - hits) ~ g + x", family="binomial", kinds=HC),
    "share": Case("share ~ g + x", weights="trials", family="binomial", kinds=HC),
    "poisson": Case("counts ~ x + z", offset="shift", family="poisson", kinds=HC),
    "sqrt": Case("counts ~ z", family="poisson", link="sqrt", kinds=HC),
    "weighted poisson": Case("counts ~ h + x", weights="w", family="poisson", kinds=HC),
    "nbinom": Case("many ~ x + z", family="nbinom", kinds=("iid", "hc0", "cluster")),
    "gamma": Case("positive ~ g + x", family="gamma", link="log", kinds=HC),
    "gamma inverse": Case("positive ~ z", family="gamma", weights="w", kinds=HC),
    "wald": Case("waiting ~ x", family="inverse_gaussian", link="log", kinds=HC),
    "wald default": Case("waiting ~ 1", family="inverse_gaussian", kinds=("iid", "hc0")),
    "gaussian log": Case("positive ~ x + z", family="gaussian", link="log", weights="w", kinds=HC),
    "gaussian inverse": Case("positive ~ x", family="gaussian", link="inverse", kinds=HC),
    "binary weighted": Case("binary ~ x", weights="w", family="binomial", kinds=HC),
    "counted weighted": Case("cbind(hits, trials - hits) ~ x", weights="w", family="binomial", kinds=HC),
    "no intercept": Case("counts ~ 0 + g + x", family="poisson", kinds=HC),
    "aliased": Case("counts ~ x + I(3 * x)", "counts ~ x", family="poisson", kinds=HC),
}
CASES = LINEAR_CASES | GENERALIZED

SCRIPT = r"""
suppressMessages({library(sandwich); library(splines); library(MASS)})
folder <- commandArgs(TRUE)[1]
d <- read.csv(file.path(folder, "data.csv"), na.strings = "")
tell <- function(name, quantity, value)
  write.table(data.frame(name, quantity, seq_along(value), sprintf("%.17g", as.numeric(value))), sep = ",",
              row.names = FALSE, col.names = FALSE)
covariance <- function(m, kind, frame) switch(kind,
  iid = vcov(m),
  hac = NeweyWest(m, lag = 3, prewhite = FALSE, adjust = FALSE),
  cluster = vcovCL(m, cluster = frame$cl, type = "HC1", cadjust = TRUE),
  vcovHC(m, type = toupper(kind)))
families <- list(binomial = binomial, poisson = poisson, gamma = Gamma, inverse_gaussian = inverse.gaussian,
                 gaussian = gaussian)
tight <- glm.control(epsilon = 1e-300, maxit = 100)
cases <- read.csv(file.path(folder, "cases.csv"), colClasses = "character")
for (i in seq_len(nrow(cases))) {
  case <- cases[i, ]
  f <- as.formula(case$formula)
  used <- c(all.vars(f), "cl", if (nzchar(case$weights)) case$weights, if (nzchar(case$offset)) case$offset)
  frame <- d[complete.cases(d[used]), ]
  frame$.w <- if (nzchar(case$weights)) frame[[case$weights]] else rep(1, nrow(frame))
  frame$.o <- if (nzchar(case$offset)) frame[[case$offset]] else rep(0, nrow(frame))
  how <- list(formula = f, data = quote(frame))
  if (nzchar(case$weights)) how$weights <- quote(.w)
  if (nzchar(case$offset)) how$offset <- quote(.o)
  if (case$family == "nbinom") {
    m <- suppressWarnings(glm.nb(f, data = frame, control = tight))
  } else if (case$linear == "True") {
    m <- do.call(lm, how)
  } else {
    how$family <- if (nzchar(case$link)) families[[case$family]](link = case$link) else families[[case$family]]()
    how$control <- tight
    m <- suppressWarnings(do.call(glm, how))
    if (!anyNA(coef(m))) for (more in 1:4) {  # it stops where the deviance is flat, and the errors not yet exact
      how$start <- coef(m)
      m <- suppressWarnings(do.call(glm, how))
    }
  }
  tell(case$name, "b", coef(m))
  tell(case$name, "facts", c(AIC(m), BIC(m), logLik(m), df.residual(m)))
  tell(case$name, "rows", nrow(frame))
  tell(case$name, "fitted", fitted(m))
  tell(case$name, "residuals", residuals(m))
  if (case$linear == "True") {
    # Before R 4.5 an offset counts as explained.
    explained <- if (getRversion() < "4.5.0") fitted(m) - frame$.o else fitted(m)
    s <- summary(replace(m, "fitted.values", list(explained)))
    tell(case$name, "quality", c(s$sigma, s$r.squared, s$adj.r.squared))
  } else {
    scale <- if (case$family == "nbinom") m$theta else summary(m)$dispersion
    tell(case$name, "quality", c(deviance(m), m$null.deviance, scale))
  }
  z <- case$family %in% c("binomial", "poisson", "nbinom")
  for (kind in strsplit(case$kinds, " ")[[1]]) {
    V <- covariance(m, kind, frame)
    se <- sqrt(diag(V))
    df <- if (z) Inf else if (kind == "cluster") length(unique(frame$cl)) - length(se) else df.residual(m)
    tell(case$name, paste(kind, "vcov"), V)
    tell(case$name, paste(kind, "tests"), c(coef(m) - qt(.975, df) * se, coef(m) + qt(.975, df) * se, se,
         rep(df, length(se)), coef(m) / se, 2 * pt(-abs(coef(m) / se), df)))
  }
  near <- frame[1:7, ]
  scale <- if (case$linear == "True") "response" else "link"
  link <- suppressWarnings(predict(m, near, type = scale, se.fit = TRUE))
  tell(case$name, "predicted", suppressWarnings(predict(m, near, type = "response")))
  tell(case$name, "predicted se", link$se.fit)
  if (case$linear == "True" && !nzchar(case$offset)) for (interval in c("confidence", "prediction"))
    tell(case$name, interval, suppressWarnings(predict(m, near, interval = interval, level = .9)))
}
"""


@pytest.fixture(scope="module")
def r(tmp_path_factory):
    """What R says: (case, quantity) to an array."""
    hermetic.compare_with("sandwich")
    folder = tmp_path_factory.mktemp("lm")
    data().to_csv(folder / "data.csv", index=False)
    rows = [
        (name, c.r or c.formula, c.weights, c.offset, c.family, c.link, c.linear, " ".join(c.kinds))
        for name, c in CASES.items()
    ]
    columns = ["name", "formula", "weights", "offset", "family", "link", "linear", "kinds"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "cases.csv", index=False)
    return asked(folder, SCRIPT)


def asked(folder, script: str) -> dict[tuple[str, str], np.ndarray]:
    (folder / "script.R").write_text(script)
    done = subprocess.run(
        ["Rscript", "--vanilla", str(folder / "script.R"), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    long = pd.read_csv(StringIO(done.stdout), names=["case", "quantity", "row", "value"], na_values=["NA"])
    return {key: part["value"].to_numpy(dtype=float) for key, part in long.groupby(["case", "quantity"], sort=False)}


def fitted(name: str, kind: str = "iid", **more) -> Lm:
    case = CASES[name]
    family = {"family": case.family} | ({"link": case.link} if case.link else {})
    model = Lm(case.formula, data(), offset=case.offset or None, **family)
    weights = case.weights or None
    if weights and case.linear:
        weights = data()[weights]
    how = {} if kind == "iid" else {"robust": kind}
    how |= {"cluster": {"cluster": "cl"}, "hac": {"n_lags": 3}}.get(kind, {})
    with warnings.catch_warnings():
        if name.startswith("aliased") or name == "binary weighted":  # columns left out; weights that are no trials
            warnings.simplefilter("ignore", ModelWarning)
        model.fit(weights=weights, summarize=False, **how, **more)
    return model


def close(found, expected, rtol: float, scale: float = 0.0) -> None:
    np.testing.assert_allclose(np.asarray(found, dtype=float), expected, rtol=rtol, atol=rtol * scale)


@pytest.mark.r
@pytest.mark.parametrize("name", CASES)
def test_estimates_and_measures_are_those_of_r(name, r):
    model, case = fitted(name), CASES[name]
    tolerance = LINEAR if case.linear else MAXIMUM
    close(model.coefs["Estimate"], r[name, "b"], tolerance, scale=np.abs(r[name, "b"]).max())
    used = np.isfinite(model.fits)
    assert used.sum() == r[name, "rows"][0] == len(model.design_matrix)
    AIC, BIC, log_likelihood, df = r[name, "facts"]
    close([model.AIC, model.BIC, model.logLike], [AIC, BIC, log_likelihood], tolerance)
    close(model.fits[used], r[name, "fitted"], tolerance, scale=1)
    close(model.residuals[used], r[name, "residuals"], tolerance, scale=1)
    fit = model._estimate
    assert fit.df_resid == df
    if case.linear:
        close([fit.sigma, model.rsquared, model.rsquared_adj], r[name, "quality"], LINEAR, scale=1e-3)
        assert model.estimator == ("WLS" if case.weights else "OLS")
    else:
        scale = model.theta if case.family == "nbinom" else fit.dispersion
        close([fit.deviance, fit.null_deviance, scale], r[name, "quality"], MAXIMUM)
        assert model.estimator == "ML" and np.isnan(model.rsquared)
    assert np.array_equal(model.data["fits"], model.fits, equal_nan=True)


@pytest.mark.r
@pytest.mark.parametrize("name, kind", [(name, kind) for name, case in CASES.items() for kind in case.kinds])
def test_errors_limits_and_p_are_those_of_r(name, kind, r):
    case, model = CASES[name], fitted(name, kind)
    tolerance = TESTS if case.linear else MAXIMUM
    V = r[name, f"{kind} vcov"].reshape(len(model.coefs), -1)
    close(model._fit.vcov, V, tolerance, scale=np.abs(V).max())
    lower, upper, se, df, statistic, p = r[name, f"{kind} tests"].reshape(6, -1)
    table = model.coefs
    span = np.abs(upper - lower).max()
    close(table["2.5_ci"], lower, tolerance, span)
    close(table["97.5_ci"], upper, tolerance, span)
    close(table["SE"], se, tolerance)
    at = "Z-stat" if case.family in ("binomial", "poisson", "nbinom") else "T-stat"
    close(table[at], statistic, tolerance, scale=1)
    rtol = 10 * tolerance * (1 + statistic**2)  # a relative error of z moves log p by z² times as much
    assert (np.abs(table["P-val"] - p) <= rtol * p).all()
    if case.linear:
        close(table["DF"], df, 0)
        assert list(table.columns) == COLUMNS
    assert model.se_type == ("non-robust" if kind == "iid" else f"robust ({kind})")
    assert model.ci_type == "standard" and model.sig_type == "parametric" and model.model_obj is None


@pytest.mark.r
@pytest.mark.parametrize("name", CASES)
def test_predictions_are_those_of_r(name, r):
    case, model = CASES[name], fitted(name)
    near = data()[np.isfinite(model.fits)].head(7)
    tolerance = LINEAR if case.linear else MAXIMUM
    close(model.predict(near), r[name, "predicted"], tolerance, scale=1)
    limits = model.predict(near, interval="confidence", pred_type="link", conf_level=0.9)
    if "aliased" not in name:
        close(limits["SE"], r[name, "predicted se"], tolerance)
    assert list(limits.columns) == ["Estimate", "SE", "5_ci", "95_ci"] and limits.index.equals(near.index)
    if not case.linear or case.offset:
        return
    for interval in ("confidence", "prediction"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ModelWarning)
            found = model.predict(near, interval=interval, conf_level=0.9)
        expected = r[name, interval].reshape(3, -1).T
        close(found[["Estimate", "5_ci", "95_ci"]], expected, LINEAR, scale=1)


@pytest.mark.parametrize("name", ["binary", "counted", "gamma", "gaussian log", "poisson"])
def test_limits_on_the_response_are_those_of_the_link(name):
    model = fitted(name)
    rows = data()[np.isfinite(model.fits)].head(9)
    link = model.predict(rows, interval="confidence", pred_type="link")
    response = model.predict(rows, interval="confidence")
    inverse = (lambda eta: 1 / (1 + np.exp(-eta))) if model.family == "binomial" else np.exp
    close(response[["Estimate", "2.5_ci", "97.5_ci"]], inverse(link[["Estimate", "2.5_ci", "97.5_ci"]]), HERE)
    slope = (lambda mu: mu * (1 - mu)) if model.family == "binomial" else (lambda mu: mu)
    close(response["SE"], link["SE"] * slope(response["Estimate"]), HERE)
    close(response["Estimate"], model.fits[np.isfinite(model.fits)][:9], HERE)
    close(model.predict(rows, pred_type="link"), link["Estimate"], HERE)
    assert response.attrs["scale"] == "response" and link.attrs["scale"] == "link"


@pytest.mark.parametrize(
    "name, columns",
    [
        ("plain plain", COLUMNS),
        ("gamma", [c for c in COLUMNS if c != "DF"]),
        ("wald", [c for c in COLUMNS if c != "DF"]),
        ("gaussian log", [c for c in COLUMNS if c != "DF"]),
        ("poisson", ["Estimate", "2.5_ci", "97.5_ci", "SE", "Z-stat", "P-val", "Sig"]),
        ("nbinom", ["Estimate", "2.5_ci", "97.5_ci", "SE", "Z-stat", "P-val", "Sig"]),
        (
            "binary",
            [
                "Estimate",
                "2.5_ci",
                "97.5_ci",
                "SE",
                "OR",
                "OR_2.5_ci",
                "OR_97.5_ci",
                "Prob",
                "Prob_2.5_ci",
                "Prob_97.5_ci",
                "Z-stat",
                "P-val",
                "Sig",
            ],
        ),
    ],
)
def test_the_columns_are_those_of_the_family(name, columns):
    model = fitted(name)
    assert list(model.coefs.columns) == columns
    assert model.coefs.index[0] == "Intercept"
    assert {str(model.coefs[c].dtype) for c in columns[:-1]} == {"float64"}
    permuted = fitted(name, permute=19, seed=1)
    place = columns.index("T-stat" if "T-stat" in columns else "Z-stat")
    expected = [*(c for c in columns[:place] if c != "DF"), "Num_perm", columns[place], "Perm-P-val", "Sig"]
    assert list(permuted.coefs.columns) == expected
    level = fitted(name, conf_level=90)
    assert list(level.coefs.columns[1:3]) == ["5_ci", "95_ci"]


# ------------------------------------------------------------------ weights by group, hypotheses, correlations


@pytest.mark.parametrize("offset", [None, "shift"])
def test_one_variance_a_group_is_welchs_t_test(offset):
    two = data().query("g != 'c'").dropna(subset=["g", "y"])
    outcome = two["y"] - (0 if offset is None else two["shift"])
    model = Lm("y ~ g", two, offset=offset)
    model.fit(weights="g", summarize=False)
    a, b = (outcome[two["g"] == level] for level in "ab")
    welch = stats.ttest_ind(b, a, equal_var=False)
    row = model.coefs.loc["g[T.b]"]
    low, high = welch.confidence_interval()
    expected = [b.mean() - a.mean(), low, high, (b.mean() - a.mean()) / welch.statistic, welch.df, welch.statistic]
    close(row[COLUMNS[:6]], expected, HERE)
    close(row["P-val"], welch.pvalue, HERE)
    close(model.coefs.loc["Intercept", "DF"], len(a) - 1, HERE)
    assert model.estimator == "WLS"
    by_hand = Lm("y ~ g", two, offset=offset)
    by_hand.fit(weights=1 / outcome.groupby(two["g"]).transform("var"), summarize=False)
    close(by_hand.coefs[["Estimate", "SE"]], model.coefs[["Estimate", "SE"]], HERE)
    close(by_hand.coefs["DF"], len(two) - 2, 0)
    model.fit(weights="g", wls_dof_correction=False, summarize=False)
    close(model.coefs[COLUMNS[:7]], by_hand.coefs[COLUMNS[:7]], HERE)
    means = model.predict(pd.DataFrame({"g": ["a", "b"], "shift": 0.0}), interval="confidence")
    close(means["SE"], [a.std() / len(a) ** 0.5, b.std() / len(b) ** 0.5], HERE)


@pytest.mark.parametrize("formula", ["y ~ x + z", "y ~ g * x", "np.exp(y / 9) ~ x"])
def test_a_column_stands_for_the_variances_of_the_errors(formula):
    """Squared residuals over 1 less the leverages, both summed in each group: unbiased where variances are equal."""
    frame = data().dropna(subset=["g", "y", "x", "z"])
    by_name, by_hand = Lm(formula, frame), Lm(formula, frame)
    by_hand.fit(summarize=False)
    X = by_hand.design_matrix.to_numpy()
    left = 1 - np.einsum("ij,ji->i", X, np.linalg.pinv(X))
    sums = pd.DataFrame({"e": by_hand.residuals**2, "left": left}, index=frame.index).groupby(frame["g"]).sum()
    by_name.fit(weights="g", summarize=False)
    by_hand.fit(weights=frame["g"].map(sums["left"] / sums["e"]).to_numpy(), summarize=False)
    close(by_name.coefs[["Estimate", "SE", "T-stat"]], by_hand.coefs[["Estimate", "SE", "T-stat"]], 1e-8)
    close([by_name.rsquared, by_name.AIC], [by_hand.rsquared, by_hand.AIC], 1e-8)
    assert (by_name.coefs["DF"] != by_hand.coefs["DF"]).all()


@pytest.mark.r
def test_welchs_df_for_more_groups_and_with_covariates(tmp_path):
    """Each difference from the first group has the df of its own t-test; covariates have df of their own."""
    three = data().dropna(subset=["g", "y"])
    model = Lm("y ~ g", three)
    model.fit(weights="g", summarize=False)
    three[["g", "y"]].to_csv(tmp_path / "d.csv", index=False)
    script = """
        d <- read.csv(file.path(commandArgs(TRUE)[1], "d.csv"))
        for (level in c("b", "c")) {
          m <- t.test(d$y[d$g == level], d$y[d$g == "a"])
          cat(sprintf("%s,t,%d,%.17g\\n", level, 1:4, c(m$statistic, m$parameter, m$p.value, m$stderr)), sep = "")
        }"""
    found = asked(tmp_path, script)
    for level in "bc":
        row = model.coefs.loc[f"g[T.{level}]", ["T-stat", "DF", "P-val", "SE"]]
        close(row, found[level, "t"], 1e-10)
    covariate = Lm("y ~ g + x", three)
    covariate.fit(weights="g", summarize=False)
    df = covariate.coefs["DF"]
    assert df.nunique() == 4 and df["x"] > df["g[T.c]"]
    new = three.dropna(subset="x").head(4)
    prediction, mean = (covariate.predict(new, interval=interval) for interval in ("prediction", "confidence"))
    assert (prediction["SE"] > mean["SE"]).all() and prediction.attrs["ddf"] == "Satterthwaite"
    for name in covariate.coefs.index:  # a test of one coefficient is its t-test
        table = covariate.test(f"{name} = 0")
        row = covariate.coefs.loc[name]
        close(table[["DenomDF", "F-stat", "P-val"]].iloc[0], [row["DF"], row["T-stat"] ** 2, row["P-val"]], 1e-8)


HYPOTHESES = [
    "x = 0",
    "x",
    "x = z",
    "g[T.b] - g[T.c] = 0, x = 2",
    "g[T.b], g[T.c]",
    ["x = 1", "z"],
    {"x": 1, "z": -0.5},
    "x = z = 0.3",
    "2 * x = (z + 1) / 3",
    ([[0, 1, 0, 0, 0], [0, 0, 1, 0, 0]], [0, 0.5]),
]


@pytest.mark.parametrize("kind", ["iid", "hc3", "cluster"])
@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("hypothesis", HYPOTHESES, ids=str)
def test_linear_hypotheses(hypothesis, weights, kind):
    model = Lm("y ~ g + x + z", data())
    how = {"robust": False if kind == "iid" else kind} | ({"cluster": "cl"} if kind == "cluster" else {})
    model.fit(weights=None if weights is None else data()[weights], summarize=False, **how)
    import patsy

    L = patsy.DesignInfo(list(model.coefs.index)).linear_constraint(hypothesis)
    off = L.coefs @ model.coefs["Estimate"].to_numpy() - L.constants[:, 0]
    F = off @ np.linalg.inv(L.coefs @ model._fit.vcov @ L.coefs.T) @ off / len(off)
    df = model.coefs["DF"].iloc[0]
    table = model.test(hypothesis)
    assert list(table.columns) == ["NumDF", "DenomDF", "F-stat", "P-val", "Sig"] and len(table) == 1
    close(table.iloc[0, :4], [len(off), df, F, stats.f.sf(F, len(off), df)], 1e-9)
    if kind == "iid" and hypothesis == "g[T.b], g[T.c]":
        smaller = Lm("y ~ x + z", data().dropna(subset=["g"]))
        smaller.fit(weights=None if weights is None else data().dropna(subset=["g"])[weights], summarize=False)
        rss = [m._estimate.sigma**2 * m._estimate.df_resid for m in (smaller, model)]
        close(F, (rss[0] / rss[1] - 1) * model._estimate.df_resid / 2, 1e-9)


def test_hypotheses_about_generalized_models_are_chi_square_or_f():
    model = fitted("poisson")
    table = model.test("x = 0, z = 0")
    b, V = model.coefs["Estimate"].to_numpy()[1:], model._fit.vcov[1:, 1:]
    chisq = b @ np.linalg.solve(V, b)
    assert list(table.columns) == ["Chisq", "Df", "P-val", "Sig"]
    close(table.iloc[0, :3], [chisq, 2, stats.chi2.sf(chisq, 2)], 1e-9)
    table = fitted("gamma").test("x")
    assert list(table.columns) == ["NumDF", "DenomDF", "F-stat", "P-val", "Sig"]
    assert list(table.index) == ["x"]


@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("right", ["x + z", "g * x + z", "0 + x + z + g", "bs(z, 4) + x", "x"])
@pytest.mark.parametrize("kind", ["semi", "partial"])
def test_correlations_are_those_of_residuals(right, kind, weights):
    model = Lm(f"y ~ {right}", data())
    model.fit(weights=None if weights is None else data()[weights], summarize=False)
    X = model.design_matrix.to_numpy()
    y = data().loc[model.design_matrix.index, "y"].to_numpy(dtype=float)
    root = np.ones(len(y)) if weights is None else np.sqrt(data().loc[model.design_matrix.index, weights].to_numpy())
    X, y = X * root[:, None], y * root
    found = model.to_corrs(kind)
    assert list(found.index) == [name for name in model.coefs.index if name != "Intercept"]
    center = "Intercept" in model.coefs.index
    for name in found.index:
        j = list(model.coefs.index).index(name)
        others = np.delete(X, j, axis=1)
        left = X[:, j] - others @ np.linalg.lstsq(others, X[:, j], rcond=None)[0]
        if kind == "partial":
            other = y - others @ np.linalg.lstsq(others, y, rcond=None)[0]
        else:
            other = y - root * (root @ y) / (root @ root) if center else y
        close(found[name], left @ other / np.sqrt((left @ left) * (other @ other)), 1e-9)
    close(model.to_corrs(kind, ztrans_corrs=True), np.arctanh(found), 1e-12)
    assert (np.abs(model.to_corrs("partial")) >= np.abs(model.to_corrs("semi")) - 1e-12).all()


def test_a_squared_semi_partial_correlation_is_the_drop_in_r_squared():
    model = Lm("y ~ x + z + u", data())
    model.fit(robust="hc3", summarize=False)
    without = Lm("y ~ z + u", data().dropna(subset=["x"]))
    without.fit(summarize=False)
    close(model.to_corrs()["x"] ** 2, model.rsquared - without.rsquared, 1e-9)
    t, df = model.coefs.loc["x", "Estimate"] / model._estimate.se[1], model._estimate.df_resid
    close(model.to_corrs("partial")["x"], t / np.sqrt(t**2 + df), 1e-12)


# ------------------------------------------------------------------ resampling


def test_bootstrap_limits_are_the_inference():
    model = Lm("y ~ x + z", data())
    model.fit(conf_int="boot", n_boot=999, seed=3, summarize=False)
    plain = Lm("y ~ x + z", data())
    plain.fit(summarize=False)
    same = ["Estimate", "SE", "DF", "T-stat"]
    pd.testing.assert_frame_equal(model.coefs[same], plain.coefs[same])
    assert (model.ci_type, model.sig_type, model.se_type) == ("boot (999)", "bootstrapped", "non-robust")
    out = (model.coefs["2.5_ci"] > 0) | (model.coefs["97.5_ci"] < 0)
    assert ((model.coefs["P-val"] <= 0.05) == out).all()
    assert (model.coefs["P-val"] >= 2 / 1000).all()
    robust = Lm("y ~ x + z", data())
    robust.fit(robust="hc0", summarize=False)
    wide = (model.coefs["97.5_ci"] - model.coefs["2.5_ci"]) / (robust.coefs["97.5_ci"] - robust.coefs["2.5_ci"])
    assert wide.between(0.85, 1.15).all()


FITS = {
    "boot": {"conf_int": "boot", "n_boot": 60},
    "boot weighted": {"conf_int": "boot", "n_boot": 60, "weights": "array"},
    "boot by column": {"conf_int": "boot", "n_boot": 60, "weights": "g"},
    "boot by cluster": {"conf_int": "boot", "n_boot": 60, "robust": "cluster", "cluster": "cl"},
    "permuted": {"permute": 60},
    "permuted robust": {"permute": 60, "robust": "hc3"},
    "permuted hac": {"permute": 60, "robust": "hac", "n_lags": 2},
    "permuted weighted": {"permute": 60, "weights": "array"},
    "permuted by column": {"permute": 60, "weights": "g"},
    "permuted by cluster": {"permute": 60, "robust": "cluster", "cluster": "cl"},
    "freedman-lane": {"permute": 60, "scheme": "freedman-lane"},
    "freedman-lane weighted": {"permute": 60, "scheme": "freedman-lane", "weights": "array", "robust": "hc2"},
    "freedman-lane by cluster": {"permute": 60, "scheme": "freedman-lane", "robust": "cluster", "cluster": "cl"},
    "both": {"conf_int": "boot", "n_boot": 60, "permute": 60},
    "ranks": {"conf_int": "boot", "n_boot": 60, "permute": 60, "rank": True},
}


def resampled(how: dict, **more) -> Lm:
    how = dict(how)
    if how.get("weights") == "array":
        how["weights"] = data()["w"]
    model = Lm("y ~ g + x + z", data(), offset="shift")
    model.fit(summarize=False, **how, **more)
    return model


@pytest.mark.parametrize("name", FITS)
def test_seeds_repeat_a_fit_and_rows_out_of_use_do_not_matter(name):
    model, again = resampled(FITS[name], seed=5), resampled(FITS[name], seed=5)
    pd.testing.assert_frame_equal(model.coefs, again.coefs)
    assert not all(resampled(FITS[name], seed=seed).coefs.equals(model.coefs) for seed in (6, 7, 8))
    n = FITS[name].get("permute")
    p = model.coefs["Perm-P-val" if n else "P-val"]
    assert (p.drop("Intercept") > 0).all() and (p.drop("Intercept") <= 1).all()
    if n:
        assert np.isnan(p["Intercept"]) == ("scheme" not in FITS[name])
        assert (model.coefs["Num_perm"] == n).all() and model.sig_type == f"permutation ({n})"
        hits = p.drop("Intercept") * (n + 1)
        close(hits, np.round(hits), 1e-9)


@pytest.mark.parametrize("name", ["boot by cluster", "permuted by column", "freedman-lane weighted", "both"])
def test_two_workers_give_the_same_bits(name):
    alone, together = resampled(FITS[name], seed=5), resampled(FITS[name], seed=5, n_jobs=2)
    pd.testing.assert_frame_equal(alone.coefs, together.coefs, check_exact=True)


@pytest.mark.parametrize("name", ["binary", "counted", "poisson", "nbinom", "gamma", "weighted poisson"])
def test_generalized_models_are_resampled(name):
    how = {"conf_int": "boot", "n_boot": 80, "permute": 80, "seed": 4}
    model = fitted(name, **how)
    assert (model.ci_type, model.sig_type) == ("boot (80)", "permutation (80)")
    p = model.coefs["Perm-P-val"].drop("Intercept")
    assert p.between(0, 1, inclusive="right").all()
    plain = fitted(name)
    assert (np.abs(np.log((model.coefs["97.5_ci"] - model.coefs["2.5_ci"]) / (4 * plain.coefs["SE"]))) < 0.5).all()
    pd.testing.assert_frame_equal(model.coefs, fitted(name, n_jobs=2, **how).coefs, check_exact=True)


def test_permutation_p_is_uniform_for_noise_and_small_for_an_effect():
    rng = np.random.default_rng(0)
    p, found_effect = {"raw": [], "freedman-lane": []}, []
    for seed in range(150):
        frame = pd.DataFrame(rng.normal(size=(30, 2)), columns=["x", "noise"])
        frame["y"] = 2 * frame.x + rng.standard_t(3, 30)
        for scheme, found in p.items():
            model = Lm("y ~ x + noise", frame)
            model.fit(permute=99, seed=seed, scheme=scheme, summarize=False)
            found.append(model.coefs.loc["noise", "Perm-P-val"])
            found_effect.append(model.coefs.loc["x", "Perm-P-val"] <= 0.05)
    for found in p.values():
        assert stats.kstest(found, "uniform").pvalue > 0.001
    assert np.mean(found_effect) > 0.9


UNTESTED = {
    # formula, how it is fitted: the names without p, and what the warning says of them
    "intercept": ("y ~ x2", {}, ["Intercept"], "added up, where .*scheme='freedman-lane' tests Intercept$"),
    "centred": ("y ~ center(x2)", {}, ["Intercept"], "freedman-lane' can't either. For Intercept take the p"),
    "means": ("y ~ 0 + g + x2", {}, ["g[a]", "g[b]", "g[c]"], "No p for g.a., g.b., g.c.: constant, alone or added up"),
    "contrasts": ("y ~ g", {}, ["Intercept"], "No p for Intercept: "),
    "one slope": ("y ~ 0 + x2", {}, [], ""),
    "clusters": (
        "y ~ x2 + between",
        {"robust": "cluster", "cluster": "cl"},
        ["Intercept", "between"],
        "No p for Intercept, between: constant, alone or added up, within the clusters, where the outcome is shuffled",
    ),
    "both in clusters": (
        "y ~ 0 + x2 + I(between - x2)",
        {"robust": "cluster", "cluster": "cl"},
        ["x2", "I(between - x2)"],
        "alone or added up",
    ),
    "generalized": ("hit ~ x2", {}, ["Intercept"], "shuffled. For Intercept take the p of a fit without permute=$"),
    "freedman-lane": ("y ~ x2", {"scheme": "freedman-lane"}, [], ""),
    "freedman-lane centred": (
        "y ~ center(x2)",
        {"scheme": "freedman-lane"},
        ["Intercept"],
        "shuffled. For Intercept take the p of a fit without permute=$",
    ),
    "freedman-lane alone": ("y ~ 1", {"scheme": "freedman-lane"}, ["Intercept"], "No p for Intercept"),
    "freedman-lane means": ("y ~ 0 + g", {"scheme": "freedman-lane"}, [], ""),
    "freedman-lane in clusters": (
        "y ~ x2 + between",
        {"scheme": "freedman-lane", "robust": "cluster", "cluster": "cl"},
        ["between"],
        "No p for between",
    ),
}


@pytest.mark.parametrize("name", UNTESTED)
def test_what_shuffling_leaves_as_it_is_has_no_p_and_is_named(name):
    formula, how, untested, told = UNTESTED[name]
    frame = data().assign(between=lambda d: (d["cl"] % 5).astype(float), x2=lambda d: d["x"] + 2)
    frame["hit"] = (frame["y"] > frame["y"].median()).astype(float)
    model = Lm(formula, frame, "binomial" if name == "generalized" else "gaussian")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model.fit(permute=40, seed=1, summarize=False, **how)
    p = model.coefs["Perm-P-val"]
    assert list(p.index[p.isna()]) == untested and (model.coefs.loc[untested, "Sig"] == "").all()
    assert [str(one.message) for one in seen] == model.warnings and len(model.warnings) == bool(untested)
    assert not untested or re.search(told, model.warnings[0]), model.warnings
    assert all(one.filename == __file__ for one in seen)


def test_the_level_of_an_intercept_by_freedman_and_lane():
    """Its p is approximate; where a third of it stays as it is, the level is right."""
    rng, p, power = np.random.default_rng(3), [], []
    for seed in range(300):
        frame = pd.DataFrame({"x": rng.normal(size=30) + 1.4, "y": rng.normal(size=30)})
        for outcome, found in (("y", p), ("I(y + 2)", power)):
            model = Lm(f"{outcome} ~ x", frame)
            model.fit(permute=99, seed=seed, scheme="freedman-lane", summarize=False)
            found.append(model.coefs.loc["Intercept", "Perm-P-val"])
    assert 0.015 < np.mean(np.array(p) <= 0.05) < 0.095 and np.mean(np.array(power) <= 0.05) > 0.8


def test_limits_of_predictions_have_the_level_of_the_fit():
    model = Lm("y ~ x", data())
    model.fit(conf_level=0.8, summarize=False)
    rows = data().head(5)
    ours = model.predict(rows, interval="confidence")
    assert list(ours.columns) == ["Estimate", "SE", "10_ci", "90_ci"] and ours.attrs["conf_level"] == 0.8
    pd.testing.assert_frame_equal(ours, model.predict(rows, interval="confidence", conf_level=80))
    assert list(model.predict(rows, interval="confidence", conf_level=0.95).columns)[2:] == ["2.5_ci", "97.5_ci"]
    with pytest.warns(ModelWarning, match="conf_level=0.9 has no effect without interval=") as seen:
        plain = model.predict(rows, conf_level=0.9)
    assert seen[0].filename == __file__
    np.testing.assert_array_equal(plain, model.predict(rows))


IDLE = {
    "cluster": ({"cluster": "cl"}, {}, "cluster='cl' has no effect without robust='cluster'"),
    "cluster, no column": ({"cluster": "nowhere"}, {}, "cluster='nowhere' has no effect without robust='cluster'"),
    "cluster, robust": ({"cluster": "cl", "robust": True}, {"robust": "hc1"}, "cluster='cl' has no effect"),
    "cluster, hc3": ({"cluster": "cl", "robust": "hc3"}, {"robust": "hc3"}, "cluster='cl' has no effect"),
    "cluster, boot": (
        {"cluster": "cl", "conf_int": "boot", "n_boot": 30, "seed": 1},
        {"conf_int": "boot", "n_boot": 30, "seed": 1},
        "cluster='cl' has no effect",
    ),
    "cluster, permuted": ({"cluster": "cl", "permute": 9, "seed": 1}, {"permute": 9, "seed": 1}, "cluster='cl' has no"),
    "n_lags": ({"n_lags": 3, "robust": "hc0"}, {"robust": "hc0"}, "n_lags=3 has no effect without robust='hac'"),
    "n_boot": ({"n_boot": 50}, {}, "n_boot=50 has no effect without conf_int='boot'"),
    "scheme": ({"scheme": "freedman-lane"}, {}, "scheme='freedman-lane' has no effect without permute="),
    "ordered": ({"ordered": True}, {}, "ordered=True has no effect without a list of levels in factors="),
    "ordered contrasts": (
        {"ordered": True, "factors": {"g": {"a": 1, "b": -1, "c": 0}}},
        {"factors": {"g": {"a": 1, "b": -1, "c": 0}}},
        "ordered=True has no effect",
    ),
    "wls": ({"wls_dof_correction": False}, {}, "wls_dof_correction=False has no effect without the name of a column"),
    "wls, robust": (
        {"wls_dof_correction": False, "weights": "g", "robust": "hc0"},
        {"weights": "g", "robust": "hc0"},
        "wls_dof_correction=False has no effect",
    ),
}
ACTING = [
    {"robust": "cluster", "cluster": "cl"},
    {"robust": "hac", "n_lags": 3},
    {"conf_int": "boot", "n_boot": 20, "seed": 1},
    {"permute": 9, "scheme": "freedman-lane", "seed": 1},
    {"ordered": True, "factors": {"g": ["a", "b", "c"]}},
    {"weights": "g", "wls_dof_correction": False},
    {"n_jobs": 2, "seed": 4, "conf_level": 0.9, "n_lags": 1, "n_boot": 500, "scheme": "raw", "ordered": False},
]


@pytest.mark.parametrize("name", IDLE)
def test_an_option_without_effect_is_told(name):
    given, same, told = IDLE[name]
    model, plain = Lm("y ~ g + x", data()), Lm("y ~ g + x", data())
    with pytest.warns(ModelWarning, match=re.escape(told)) as seen:
        model.fit(summarize=False, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        plain.fit(summarize=False, **same)
    pd.testing.assert_frame_equal(model.coefs, plain.coefs)
    assert sum("has no effect" in text for text in model.warnings) == 1 and seen[0].filename == __file__


@pytest.mark.parametrize("given", ACTING, ids=str)
def test_an_option_with_an_effect_is_not(given):
    model = Lm("y ~ g + x", data().assign(x=lambda d: d["x"] + 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        model.fit(summarize=False, **given)
    assert not any("has no effect" in text for text in model.warnings)


# ------------------------------------------------------------------ one test for each old fault


def test_weighted_fits_are_on_the_scale_of_the_outcome():
    """R², fits and residuals of weighted least squares are about the outcome, not about its weighted form."""
    frame = pd.DataFrame({"x": [0.0, 1, 2, 3, 4], "y": [1.0, 2, 4, 4, 7], "w": [1.0, 100, 1, 50, 3]})
    model = Lm("y ~ x", frame)
    model.fit(weights=frame["w"], summarize=False)
    b = np.polyfit(frame["x"], frame["y"], 1, w=np.sqrt(frame["w"]))
    close(model.fits, np.polyval(b, frame["x"]), HERE)
    close(model.residuals, frame["y"] - model.fits, HERE)
    center = np.average(frame["y"], weights=frame["w"])
    rss, tss = frame["w"] @ model.residuals**2, frame["w"] @ (frame["y"] - center) ** 2
    close(model.rsquared, 1 - rss / tss, HERE)
    log_likelihood = stats.norm.logpdf(model.residuals, scale=np.sqrt(rss / 5 / frame["w"])).sum()
    close(
        [model.logLike, model.AIC, model.BIC],
        [log_likelihood, 6 - 2 * log_likelihood, 3 * np.log(5) - 2 * log_likelihood],
        HERE,
    )


def test_small_p_are_small_and_not_zero():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"x": np.linspace(0, 1, 150)})
    frame["y"] = 5 * frame.x + 0.05 * rng.normal(size=150)
    model = Lm("y ~ x", frame)
    model.fit(summarize=False)
    t, df = model.coefs.loc["x", ["T-stat", "DF"]]
    p = model.coefs.loc["x", "P-val"]
    assert 0 < p < 1e-150
    close(np.log(p), stats.t.logsf(t, df) + np.log(2), 1e-9)
    model.fit(permute=99, seed=1, summarize=False)
    assert model.coefs.loc["x", "Perm-P-val"] == 0.01


def test_weights_go_with_their_rows():
    """Rows of weight next to nothing don't widen a bootstrap interval, wherever they stand."""
    frame = data().dropna(subset=["x", "y"])[["x", "y"]].reset_index(drop=True)
    bad = pd.DataFrame({"x": np.linspace(-3, 3, 40), "y": 1000.0})
    both = pd.concat([bad, frame], ignore_index=True)
    weights = np.r_[np.full(40, 1e-12), np.ones(len(frame))]
    found = []
    for order in (np.arange(len(both)), np.random.default_rng(0).permutation(len(both))):
        model = Lm("y ~ x", both.iloc[order])
        model.fit(conf_int="boot", n_boot=400, seed=1, weights=weights[order], summarize=False)
        found.append(model.coefs.loc["x", "97.5_ci"] - model.coefs.loc["x", "2.5_ci"])
    plain = Lm("y ~ x", frame)
    plain.fit(conf_int="boot", n_boot=400, seed=1, summarize=False)
    width = plain.coefs.loc["x", "97.5_ci"] - plain.coefs.loc["x", "2.5_ci"]
    assert all(0.7 < w / width < 1.4 for w in found)


def test_weights_clusters_and_offsets_are_cut_to_the_rows_used():
    whole = data().copy()
    whole.loc[[3, 9], "cl"] = None
    whole.loc[11, "shift"] = None
    kept = whole.dropna(subset=["y", "x", "g", "cl", "shift"])
    for how in ({}, {"weights": True}):
        found = []
        for frame in (whole, kept):
            extra = dict(how)
            if extra.get("weights") is True:
                extra["weights"] = frame["w"].to_numpy()
            model = Lm("y ~ x + g", frame, offset="shift")
            model.fit(robust="cluster", cluster="cl", summarize=False, **extra)
            found.append(model)
        pd.testing.assert_frame_equal(found[0].coefs, found[1].coefs)
        assert np.isnan(found[0].fits[[3, 9, 11]]).all() and len(found[0].fits) == len(whole)
        assert found[0].design_matrix.index.equals(kept.index)


def test_a_constant_outcome_a_perfect_fit_and_no_residual_df_are_told():
    frame = pd.DataFrame({"x": [1.0, 2, 3, 5], "same": 4.0, "line": [3.0, 5, 7, 11], "y": [1.0, 0, 2, 2]})
    model = Lm("same ~ x", frame)
    with pytest.warns(ModelWarning, match="The outcome is 4 in every row used"):
        model.fit(summarize=False)
    np.testing.assert_allclose(model.coefs["Estimate"], [4, 0], atol=1e-12)
    assert model.coefs[["SE", "T-stat", "P-val", "2.5_ci"]].isna().all().all() and set(model.coefs["Sig"]) == {""}
    model = Lm("line ~ x", frame)
    with pytest.warns(ModelWarning, match="essentially perfect fit: summary may be unreliable"):
        model.fit(summarize=False)
    model = Lm("y ~ C(x)", frame)
    with pytest.warns(ModelWarning, match="No residual degrees of freedom: 4 coefficients for 4 rows"):
        model.fit(summarize=False, robust="hc3")
    assert model.coefs[["SE", "T-stat", "P-val"]].isna().all().all()
    np.testing.assert_allclose(model.fits, frame["y"], atol=1e-12)
    model = Lm("y ~ x + I(x ** 2) + I(x ** 3) + np.exp(x)", frame)
    with pytest.warns(ModelWarning):
        model.fit(summarize=False)
    assert list(model.coefs.index) == ["Intercept", "x", "I(x ** 2)", "I(x ** 3)"]
    assert [text.split(":")[0] for text in model.warnings] == [
        "Left out, since other terms add up to them",
        "No residual degrees of freedom",
    ]


def test_separation_is_told():
    frame = pd.DataFrame({"x": np.arange(8.0), "y": [0, 0, 0, 0, 1, 1, 1, 1]})
    model = Lm("y ~ x", frame, family="binomial")
    with pytest.warns(ModelWarning, match="fitted probabilities numerically 0 or 1 occurred"):
        model.fit(summarize=False)
    assert any("0 or 1" in text for text in model.warnings)


def test_odd_names_are_names():
    """Columns called as columns of tables are, or as parts of them, get their own rows."""
    rng = np.random.default_rng(1)
    names = ["signal", "sigma", "Estimate", "SE", "Intercept_", "N", "fits_", "x_ci"]
    frame = pd.DataFrame(rng.normal(size=(60, 9)), columns=[*names, "y"])
    model = Lm("y ~ " + " + ".join(names), frame)
    model.fit(summarize=False)
    assert list(model.coefs.index) == ["Intercept", *names]
    X = np.column_stack([np.ones(60), frame[names]])
    close(model.coefs["Estimate"], np.linalg.lstsq(X, frame["y"], rcond=None)[0], 1e-9)
    assert list(model.to_corrs().index) == names


def test_columns_called_fits_stay_and_two_fits_are_one():
    frame = data().assign(fits=1.5)
    model = Lm("y ~ x + fits", frame)
    with pytest.warns(ModelWarning) as seen:
        model.fit(summarize=False)
    assert len(seen) == 2
    first, told = model.coefs, list(model.warnings)
    with pytest.warns(ModelWarning) as seen:
        model.fit(summarize=False)
    assert len(seen) == 2
    pd.testing.assert_frame_equal(model.coefs, first)
    assert model.warnings == told and len(told) == 2
    assert (model.data["fits"] == 1.5).all() and "residuals" in model.data
    assert "residuals" not in frame


# ------------------------------------------------------------------ the rest of the surface


def test_robust_errors_have_short_forms():
    model = Lm("y ~ x", data())
    tables = []
    for robust in ("hc1", "HC1", True):
        model.fit(summarize=False, robust=robust)
        tables.append(model.coefs)
    pd.testing.assert_frame_equal(tables[1], tables[0])
    pd.testing.assert_frame_equal(tables[2], tables[0])
    model.fit(summarize=False, robust="cluster", cluster="cl")
    assert (model.coefs["DF"] == data().dropna(subset=["x", "y"])["cl"].nunique() - 2).all()


def test_ranks_are_fitted_and_predicted():
    kept = data().dropna(subset=["x", "y", "g"])
    ranks = kept.assign(x=kept["x"].rank(), y=kept["y"].rank(), z=kept["z"].rank())
    model, by_hand = Lm("y ~ x * g + z", data()), Lm("y ~ x * g + z", ranks)
    model.fit(rank=True, summarize=False)
    by_hand.fit(summarize=False)
    pd.testing.assert_frame_equal(model.coefs, by_hand.coefs, rtol=1e-9)
    assert model.ranked_data and model.data["y"].equals(data()["y"])
    np.testing.assert_allclose(model.predict(kept), by_hand.fits, rtol=1e-9)
    middle = kept["x"].sort_values().iloc[[10, 11]]
    one = kept.head(1).assign(x=middle.mean())
    ends = [model.predict(kept.head(1).assign(x=value))[0] for value in middle]
    np.testing.assert_allclose(model.predict(one), np.mean(ends), rtol=1e-9)


def test_an_offset_enters_fits_and_predictions():
    for offset in ("shift", data()["shift"].to_numpy()):
        model = Lm("y ~ x", data(), offset=offset)
        model.fit(summarize=False)
        moved = Lm("I(y - shift) ~ x", data())
        moved.fit(summarize=False)
        close(model.coefs["Estimate"], moved.coefs["Estimate"], HERE)
        np.testing.assert_allclose(model.fits, moved.fits + data()["shift"], rtol=1e-12)
        np.testing.assert_allclose(model.predict(data()), np.where(data()["x"].isna(), np.nan, model.predict(data())))
        used = np.isfinite(model.fits)
        np.testing.assert_allclose(model.predict(data())[used], model.fits[used], rtol=1e-12)
        close(model.to_corrs(), moved.to_corrs(), HERE)
        close([model.rsquared, model.rsquared_adj], [moved.rsquared, moved.rsquared_adj], HERE)


def test_prediction_intervals_of_weighted_models():
    frame = data().dropna(subset=["x", "y"])
    model = Lm("y ~ x", frame)
    model.fit(weights=frame["w"], summarize=False)
    own = model.predict(frame, interval="prediction")
    mean = model.predict(frame, interval="confidence")
    close(own["SE"] ** 2, mean["SE"] ** 2 + model._estimate.sigma**2 / frame["w"], HERE)
    with pytest.warns(ModelWarning, match="Assuming constant prediction variance"):
        new = model.predict(frame.head(5), interval="prediction")
    close(new["SE"] ** 2, mean["SE"].head(5) ** 2 + model._estimate.sigma**2, HERE)


def test_outcomes_of_binomial_models_have_several_forms():
    frame = data()
    found = {}
    for name, outcome in {
        "numbers": frame["binary"],
        "text": np.where(frame["binary"] == 1, "yes", "no"),
        "truth": frame["binary"] == 1,
        "category": pd.Categorical(np.where(frame["binary"] == 1, "a", "b"), ["b", "a"]),
    }.items():
        model = Lm("outcome ~ x", frame.assign(outcome=outcome), family="binomial")
        model.fit(summarize=False)
        found[name] = model.coefs
    for table in found.values():
        pd.testing.assert_frame_equal(table, found["numbers"])
    model = Lm("outcome ~ x", frame.assign(outcome=np.where(frame["binary"] == 1, "a", "b")), family="binomial")
    model.fit(factors={"outcome": ["b", "a"]}, summarize=False)
    pd.testing.assert_frame_equal(model.coefs, found["numbers"])
    counted, share = fitted("counted"), fitted("share")
    pd.testing.assert_frame_equal(counted.coefs, share.coefs, rtol=1e-9)
    gaps = frame.assign(
        trials=frame["trials"].where(frame.index > 2, frame["hits"] * 0), hits=frame["hits"].where(frame.index > 2, 0)
    )
    model = Lm("cbind(hits, trials - hits) ~ x", gaps, family="binomial")
    with pytest.warns(ModelWarning, match=r"Left out: \d row\(s\) without trials"):
        model.fit(summarize=False)
    assert np.isnan(model.fits[:2]).all()


def test_a_summary_is_printed_and_returned_rounded(capsys):
    model = Lm("y ~ x + g", data())
    shown = model.fit(robust="hc3")
    printed = capsys.readouterr().out
    for text in ("Linear model fit by ordinary least squares", "Formula: y ~ x + g", "robust (hc3)", "R2:", "g[T.b]"):
        assert text in printed
    n = int(np.isfinite(model.fits).sum())
    assert f"Observations: {n} of 140" in printed
    pd.testing.assert_frame_equal(shown, model.coefs.round(3))
    assert model.fit(summarize=False) is None and model.fit(summary=False) is None
    assert capsys.readouterr().out == ""
    pd.testing.assert_frame_equal(model.summary(), model.coefs.round(3))
    model.fit(verbose=True, summarize=False, conf_int="boot", n_boot=20, robust="cluster", cluster="cl")
    assert "robust (cluster)" in capsys.readouterr().out
    fitted("nbinom").summary()
    assert "Family: nbinom   Link: log" in capsys.readouterr().out and "Theta" not in shown.columns


def test_nothing_is_there_before_a_fit_and_a_failed_fit_leaves_the_last():
    model = Lm("y ~ x", data())
    assert model.coefs is None and model.design_matrix is None and not model.fitted
    for call in (
        model.summary,
        lambda: model.predict(data()),
        model.to_corrs,
        lambda: model.test("x"),
        model.plot_summary,
    ):
        with pytest.raises(NotFittedError):
            call()
    assert repr(model) == "Lm('y ~ x', family='gaussian'): 140 rows, not fitted"
    model.fit(summarize=False)
    assert repr(model).endswith("140 rows, fitted")


@pytest.mark.parametrize("name", ["sloped weighted", "counted", "nbinom", "spline plain"])
def test_models_are_pickled_and_copied_whole(name):
    model = fitted(name, conf_int="boot", n_boot=30, seed=1)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        pd.testing.assert_frame_equal(other.coefs, model.coefs)
        pd.testing.assert_frame_equal(other.design_matrix, model.design_matrix)
        rows = data()[np.isfinite(model.fits)].head(5)
        np.testing.assert_array_equal(other.predict(rows), model.predict(rows))
        other.coefs.iloc[0, 0] = 99
        assert model.coefs.iloc[0, 0] != 99
        assert other.summary() is not None


@pytest.mark.parametrize(
    ("family", "link", "scale"),
    [
        ("gaussian", "identity", "y"), ("gaussian", "log", "log mean of y"), ("binomial", "logit", "log odds of b"),
        ("binomial", "probit", "probit of b"), ("binomial", "log", "log probability of b"), ("gamma", "identity", "y"),
        ("poisson", "log", "log rate of k"), ("poisson", "sqrt", "sqrt of k"), ("nbinom", "log", "log rate of k"),
        ("gamma", "inverse", "inverse of y"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::pymer4.errors.ModelWarning")
def test_the_forest_names_the_scale(family, link, scale):
    from matplotlib.figure import Figure

    rng = np.random.default_rng(9)
    x = rng.normal(size=80)
    y, k = np.exp(1 + 0.1 * x) + rng.uniform(0, 0.2, 80), rng.negative_binomial(2, 0.3, 80)
    data = pd.DataFrame({"x": x, "y": y, "k": k, "b": (rng.random(80) < 0.4).astype(int)})
    model = Lm(f"{scale[-1]} ~ x", data, family=family, link=link)
    model.fit(summarize=False)
    assert model.plot_summary(ax=Figure().subplots()).get_xlabel() == f"Estimate ({scale})"


def test_pictures_are_drawn():
    from matplotlib.figure import Figure

    model = fitted("sloped weighted")
    ax = model.plot_summary(ax=Figure().subplots())
    assert [tick.get_text() for tick in ax.get_yticklabels()] == list(model.coefs.index)
    ax = model.plot_summary(plot_intercept=False, error_bars="se", orient="h", ax=Figure().subplots())
    assert [tick.get_text() for tick in ax.get_xticklabels()] == list(model.coefs.index[1:])
    assert (
        model.plot_summary(ax=Figure().subplots()).get_xlabel() == f"Estimate ({model.formula.split('~')[0].strip()})"
    )
    for draw in (model.plot_residuals, model.plot_qq):
        assert draw(ax=Figure().subplots()).has_data()
    ax = model.plot_partial("x", ax=Figure().subplots())
    line = ax.lines[-1].get_xydata()
    close(np.diff(line[:, 1]) / np.diff(line[:, 0]), model.coefs.loc["x", "Estimate"], 1e-8)


def test_no_r_is_woken():
    code = """
import sys
import numpy as np, pandas as pd
from pymer4 import Lm
d = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=["y", "x"])
m = Lm("y ~ x", d)
m.fit(summarize=False, conf_int="boot", permute=20)
m.predict(d, interval="confidence")
print([name for name in ("rpy2", "matplotlib", "statsmodels") if name in sys.modules])
"""
    import sys

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_robust_error_of_a_cell_of_one_row_is_missing_and_told():
    data = pd.DataFrame({"f": ["a"] * 10 + ["b"] * 10 + ["c"], "y": np.random.default_rng(8).normal(size=21)})
    model = Lm("y ~ 0 + C(f)", data)
    with pytest.warns(ModelWarning, match=r"No residual tells the error of C\(f\)\[c\]"):
        model.fit(robust="hc0", permute=20, seed=1, summarize=False)
    assert np.isnan(model.coefs.loc["C(f)[c]", ["SE", "T-stat", "Perm-P-val"]].astype(float)).all()
    assert (model.coefs.loc[["C(f)[a]", "C(f)[b]"], "SE"] > 0.1).all()
