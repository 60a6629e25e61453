"""Tests of terms and comparisons of models, against R in a process of its own."""

from __future__ import annotations

import subprocess
import warnings
from dataclasses import dataclass, field
from functools import cache
from io import StringIO
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pymer4 import Lmer, compare, load_dataset, lrt
from pymer4.errors import DataError, ModelWarning, NotFittedError, OptionError
from pymer4.models.base import Ddf
from pymer4.models.lmer_tests import Type
from pymer4.rbridge import bridge

pytestmark = pytest.mark.r

F_COLUMNS = ["SS", "MS", "NumDF", "DenomDF", "F-stat", "P-val", "Sig"]
CHISQ_COLUMNS = ["Chisq", "Df", "P-val", "Sig"]
COMPARED = ["model", "npar", "AIC", "BIC", "log-likelihood", "deviance", "Chisq", "Df", "P-val", "Sig"]

SAME = 1e-6  # relative: both sides run one optimizer from one start
DF_TOLERANCE = 1e-4  # relative: Satterthwaite's df are second derivatives by differences, on R's side numDeriv's
P_ABSOLUTE = 1e-6
P_OWN = 1e-10  # relative: p from our own statistic and df
HYPOTHESES = 1e-5  # relative: lmerTest rounds the coefficients of its hypotheses to 7 digits

TYPES = get_args(Type)
DDFS = get_args(Ddf)


def counts() -> pd.DataFrame:
    """Return a crossed count outcome; the cell (b, C) is empty in `hole`, 0 rows elsewhere."""
    rng = np.random.default_rng(3)
    n = 260
    g = rng.integers(0, 20, n)
    frame = pd.DataFrame(
        {
            "g": [f"g{k:02d}" for k in g],
            "A": rng.choice(["a", "b", "c"], n),
            "B": rng.choice(["A", "B", "C", "D"], n),
            "fl": rng.random(n) < 0.4,
            "x": rng.normal(1, 1, n),
            "my var": rng.normal(size=n),
            "w": rng.uniform(0.5, 2, n),
        }
    )
    rate = 0.3 * frame.x + 0.2 * (frame.A == "b") + 0.3 * frame.fl + rng.normal(0, 0.4, 20)[g]
    frame["y"] = rng.poisson(np.exp(rate))
    frame["z"] = rate + rng.normal(size=n)
    return frame


@cache
def data(name: str) -> pd.DataFrame:
    if name == "counts":
        return counts()
    if name == "hole":
        return counts().query("not (A == 'b' and B == 'C')").reset_index(drop=True)
    frame = load_dataset(name)
    if name == "sleepstudy":
        frame["w"] = np.tile([1.0, 2.0, 0.5, 1.5], 45)
    return frame


@dataclass(frozen=True)
class Case:
    """One model: its formula and data, what R's `lmer` or `glmer` gets, and the same for `Lmer` and `fit`."""

    formula: str
    data: str
    r: str = ""
    given: dict = field(default_factory=dict)
    fit: dict = field(default_factory=dict)


LINEAR = {
    "days": Case("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
    "ml": Case("Reaction ~ Days + (Days | Subject)", "sleepstudy", "REML = FALSE", fit={"REML": False}),
    "weighted": Case("Reaction ~ Days + (1 | Subject)", "sleepstudy", "weights = w", given={"weights": "w"}),
    "tvbo": Case("Coloursaturation ~ TVset * Picture + (1 | Assessor)", "TVbo"),
    "carrots": Case("Preference ~ sens2 + Homesize + (1 + sens2 | Consumer)", "carrots"),
    "ham": Case("Informed.liking ~ Gender + Information * Product + (1 | Consumer)", "ham"),
    "logical": Case("z ~ fl * x + A + (1 | g)", "counts"),
    "none": Case("z ~ 1 + (1 | g)", "counts"),
    "aliased": Case("z ~ x + I(2 * x) + A + (1 | g)", "counts"),
}
KENWARD_ROGER = ["days", "tvbo", "logical"]

FAST = {"r": "family = poisson, nAGQ = 0", "given": {"family": "poisson"}, "fit": {"nAGQ": 0}}
GENERALIZED = {
    "cbpp": Case(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)",
        "cbpp",
        "family = binomial",
        {"family": "binomial"},
    ),
    "ticks": Case("TICKS ~ YEAR * cHEIGHT + (1 | BROOD)", "grouseticks", "family = poisson", {"family": "poisson"}),
    "crossed": Case("y ~ A * B + x + (1 | g)", "counts", **FAST),
    "covariate": Case("y ~ A * x * fl + (1 | g)", "counts", **FAST),
    "reversed": Case("y ~ A:x + B + fl + (1 | g)", "counts", **FAST),
    "no_intercept": Case("y ~ 0 + A + x + (1 | g)", "counts", **FAST),
    "curved": Case("y ~ poly(x, 2) + A + `my var` + (1 | g)", "counts", **FAST),
    "aliased_glm": Case("y ~ x + I(2 * x) + A + (1 | g)", "counts", **FAST),
    "hole": Case("y ~ A * B + (1 | g)", "hole", **FAST),
    "none_glm": Case("y ~ 1 + (1 | g)", "counts", **FAST),
}
RANOVA = ["days", "ml", "weighted", "carrots"]

SLEEP = [f"Reaction ~ {right} | Subject)" for right in ("1 + (1", "Days + (1", "Days + (Days", "poly(Days, 3) + (Days")]
WEIGHTED = {"given": {"weights": "w"}}
CONTROL = {"control": "optimizer = 'bobyqa'"}
COMPARISONS = {
    "linear": ([Case(f, "sleepstudy") for f in SLEEP], ""),
    "unsorted": ([Case(SLEEP[2], "sleepstudy"), Case(SLEEP[0], "sleepstudy")], ""),
    "random": ([Case(f, "sleepstudy") for f in SLEEP[1:3]], ", refit = FALSE"),
    "mixed_methods": (
        [Case(SLEEP[1], "sleepstudy"), Case(SLEEP[2], "sleepstudy", "REML = FALSE", fit={"REML": False})],
        "",
    ),
    "weighted": ([Case(f, "sleepstudy", "weights = w", **WEIGHTED) for f in SLEEP[:2]], ""),
    "control": (
        [Case(f, "sleepstudy", "control = lmerControl(optimizer = 'bobyqa')", fit=CONTROL) for f in SLEEP[1:3]],
        "",
    ),
    "binomial": (
        [
            Case(
                f"cbind(incidence, size - incidence) ~ {f} + (1 | herd)",
                "cbpp",
                "family = binomial",
                GENERALIZED["cbpp"].given,
            )
            for f in ("1", "period")
        ],
        "",
    ),
    "poisson": ([Case(f"y ~ {f} + (1 | g)", "counts", **FAST) for f in ("x", "A * B + x")], ""),
}

# What R itself says, in a session that pymer4 has no part in. Wald tests of types 1 and 2 condition on the terms
# that are left out; the hypotheses of type 3 are those that lmerTest finds for a linear model with the same formula.
SCRIPT = r"""
suppressMessages(library(lmerTest))
folder <- commandArgs(TRUE)[1]
tell <- function(name, quantity, value) {
  value <- as.matrix(value)
  rows <- if (is.null(rownames(value))) seq_len(nrow(value)) else rownames(value)
  if (length(value))
    write.table(data.frame(name, quantity, rep(rows, ncol(value)), rep(seq_len(ncol(value)), each = nrow(value)),
                           sprintf("%.17g", c(value))), sep = ",", row.names = FALSE, col.names = FALSE)
}
read <- function(name) {
  if (!name %in% c("counts", "hole", "sleepstudy")) {
    data(list = name, package = if (name %in% c("cbpp", "grouseticks")) "lme4" else "lmerTest")
    return(get(name))
  }
  d <- read.csv(file.path(folder, paste0(name, ".csv")), check.names = FALSE)
  for (text in intersect(c("A", "B", "g"), names(d))) d[[text]] <- factor(d[[text]])
  if ("fl" %in% names(d)) d$fl <- d$fl == "True"
  d
}
quiet <- function(x) suppressWarnings(suppressMessages(x))
fit <- function(fitter, case) quiet(eval(parse(text = sprintf("%s(%s, data = d%s)", fitter, case$formula, case$r))))
wald <- function(b, V) sum(b * solve(V, b))
conditional <- function(b, V, tested, left_out) {
  if (!any(tested)) return(NaN)
  if (!any(left_out)) return(wald(b[tested], V[tested, tested]))
  onto <- V[tested, left_out, drop = FALSE] %*% solve(V[left_out, left_out])
  wald(b[tested] - c(onto %*% b[left_out]), V[tested, tested] - onto %*% V[left_out, tested])
}
cases <- read.csv(file.path(folder, "cases.csv"), colClasses = "character")
fits <- list()
for (i in seq_len(nrow(cases))) {
  case <- cases[i, ]
  d <- read(case$data)
  m <- fit(if (case$linear == "True") "lmer" else "glmer", case)
  labels <- attr(terms(m), "term.labels")
  for (type in 1:3) if (case$linear == "True") {
    tell(case$name, paste("Satterthwaite", type), quiet(anova(m, type = type))[labels, ])
    if (case$kr == "True") tell(case$name, paste("Kenward-Roger", type), anova(m, type = type, ddf = "Kenward-Roger"))
  }
  if (case$ranova == "True") tell(case$name, "ranova", ranova(m))
  if (case$linear == "True" || !length(labels)) next
  b <- fixef(m)
  V <- as.matrix(vcov(m))
  assigned <- attr(getME(m, "X"), "assign")
  has <- attr(terms(m), "factors") > 0
  contains <- outer(seq_along(labels), seq_along(labels), Vectorize(function(t, u) t != u && all(has[has[, t], u])))
  likewise <- formula(m)
  likewise[[2]] <- quote(any_outcome)
  d$any_outcome <- sin(seq_len(nrow(d)))
  twin <- quiet(lmer(likewise, d))
  L <- show_tests(quiet(anova(twin)), fractions = FALSE)
  tests <- sapply(seq_along(labels), function(t) c(
    conditional(b, V, assigned == t, assigned > t),
    conditional(b, V, assigned == t, assigned %in% which(contains[t, ])),
    if (nrow(as.matrix(L[[labels[t]]])) == 0) NaN else {
      K <- as.matrix(L[[labels[t]]])
      wald(c(K %*% b), K %*% V %*% t(K))
    },
    sum(assigned == t)))
  tell(case$name, "wald", matrix(t(tests), length(labels), dimnames = list(labels, NULL)))
}
compared <- read.csv(file.path(folder, "compared.csv"), colClasses = "character")
for (name in unique(compared$name)) {
  mine <- compared[compared$name == name, ]
  d <- read(mine$data[1])
  models <- lapply(seq_len(nrow(mine)), function(i)
    fit(if (grepl("family", mine$r[i])) "glmer" else "lmer", mine[i, ]))
  names(models) <- letters[seq_along(models)]
  table <- quiet(eval(parse(text = sprintf("with(models, anova(%s%s))", toString(names(models)), mine$refit[1]))))
  tell(name, "compared", unname(as.matrix(as.data.frame(table))))
}
"""


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> dict[tuple[str, str], pd.DataFrame]:
    """What R says: (case, quantity) to a frame with R's row names and columns 1, 2, ..."""
    folder = tmp_path_factory.mktemp("reference")
    for name in ("counts", "hole", "sleepstudy"):
        data(name).to_csv(folder / f"{name}.csv", index=False)
    cases = [
        (name, c.formula, c.data, c.r and f", {c.r}", name in LINEAR, name in KENWARD_ROGER, name in RANOVA)
        for name, c in (LINEAR | GENERALIZED).items()
    ]
    columns = ["name", "formula", "data", "r", "linear", "kr", "ranova"]
    pd.DataFrame(cases, columns=columns).to_csv(folder / "cases.csv", index=False)
    rows = [
        (name, c.formula, c.data, c.r and f", {c.r}", refit)
        for name, (models, refit) in COMPARISONS.items()
        for c in models
    ]
    pd.DataFrame(rows, columns=["name", "formula", "data", "r", "refit"]).to_csv(folder / "compared.csv", index=False)
    script = folder / "reference.R"
    script.write_text(SCRIPT)
    done = subprocess.run(
        ["Rscript", "--vanilla", str(script), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    names = ["case", "quantity", "row", "column", "value"]
    long = pd.read_csv(StringIO(done.stdout), names=names, dtype={"row": str}, keep_default_na=False, na_values=["NA"])
    found = {}
    for key, part in long.groupby(["case", "quantity"], sort=False):
        wide = part["value"].astype(float).to_numpy().reshape(part["column"].max(), -1).T
        found[key] = pd.DataFrame(wide, index=list(part["row"][: len(wide)]), columns=range(1, wide.shape[1] + 1))
    return found


def make(case: Case, **fit) -> Lmer:
    model = Lmer(case.formula, data(case.data), **case.given)
    model.fit(summarize=False, no_warnings=True, **case.fit, **fit)
    return model


@cache
def fitted(name: str) -> Lmer:
    """Return a case fitted once for the whole file; tests only read it."""
    return make((LINEAR | GENERALIZED)[name])


def quiet(method, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        return method(*args, **kwargs)


def close(found, expected, rtol=SAME, atol=0.0):
    np.testing.assert_allclose(np.asarray(found, dtype=float), np.asarray(expected, dtype=float), rtol=rtol, atol=atol)


# ------------------------------------------------------------------ linear models


def check_f_tests(table: pd.DataFrame, expected: pd.DataFrame):
    assert list(table.columns) == F_COLUMNS
    assert list(table.index) == list(expected.index)
    close(table["SS"], expected[1])
    close(table["MS"], expected[2])
    close(table["NumDF"], expected[3])
    close(table["DenomDF"], expected[4], DF_TOLERANCE)
    close(table["F-stat"], expected[5])
    close(table["P-val"], expected[6], SAME, P_ABSOLUTE)


def check_own_p(table: pd.DataFrame):
    close(table["P-val"], stats.f.sf(table["F-stat"], table["NumDF"], table["DenomDF"]), P_OWN)


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("case", [name for name in LINEAR if name != "none"])
def test_satterthwaite_is_lmertests(case, type, reference):
    table = quiet(fitted(case).anova, type=type)
    check_f_tests(table, reference[case, f"Satterthwaite {type}"])
    check_own_p(table)


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("case", KENWARD_ROGER)
def test_kenward_roger_is_lmertests(case, type, reference):
    table = fitted(case).anova(type=type, ddf="Kenward-Roger")
    check_f_tests(table, reference[case, f"Kenward-Roger {type}"])
    check_own_p(table)


@pytest.mark.parametrize("type", TYPES)
def test_asymptotic_is_f_with_infinite_df(type, reference):
    table, expected = fitted("tvbo").anova(type=type, ddf="asymptotic"), reference["tvbo", f"Satterthwaite {type}"]
    close(table["F-stat"], expected[5])
    assert np.isinf(table["DenomDF"]).all()
    close(table["P-val"], stats.chi2.sf(expected[5] * expected[3], expected[3]), 1e-4)


@pytest.mark.parametrize("fit_ddf", DDFS)
def test_the_df_are_the_fits_unless_asked_otherwise(fit_ddf, reference):
    model = make(LINEAR["days"], ddf=fit_ddf)
    assert model.anova().attrs == {"type": 3, "ddf": fit_ddf}
    close(model.anova()["DenomDF"], fitted("days").anova(ddf=fit_ddf)["DenomDF"], DF_TOLERANCE)
    for ddf in ("Satterthwaite", "Kenward-Roger"):
        check_f_tests(model.anova(ddf=ddf), reference["days", f"{ddf} 3"])


def test_df_not_computed_by_the_fit_come_out_the_same():
    """The deviance function is then made anew from the model's parts, weights and offset among them."""
    given = {"weights": "w", "offset": "my var"}
    models = [Lmer("z ~ A * x + (1 | g)", data("counts"), **given) for _ in range(2)]
    for model, ddf in zip(models, ("Satterthwaite", "asymptotic"), strict=True):
        model.fit(summarize=False, ddf=ddf)
    tables = [model.anova(ddf="Satterthwaite") for model in models]
    close(tables[1].iloc[:, :5], tables[0].iloc[:, :5], DF_TOLERANCE)


def test_a_model_without_terms_has_an_empty_table():
    for ddf in DDFS:
        table = fitted("none").anova(ddf=ddf)
        assert (list(table.columns), len(table)) == (F_COLUMNS, 0)
    table = fitted("none_glm").anova()
    assert (list(table.columns), len(table)) == (CHISQ_COLUMNS, 0)
    assert [str(kind) for kind in table.dtypes.iloc[:3]] == ["float64"] * 3


def test_an_aliased_term_keeps_its_place_and_has_no_test():
    table = fitted("aliased").anova()
    assert list(table.index) == ["x", "I(2 * x)", "A"]
    assert table.loc["I(2 * x)"].iloc[:6].isna().all() and table.loc["I(2 * x)", "Sig"] == ""
    assert table.drop("I(2 * x)").iloc[:, :6].notna().all(axis=None)


def test_the_table_is_kept_and_forgotten_with_the_fit():
    model = Lmer(LINEAR["days"].formula, data("sleepstudy"))
    assert model.anova_results is None
    model.fit(summarize=False)
    assert model.anova_results is None
    table = model.anova()
    assert table is model.anova_results
    assert [type(mark) for mark in table["Sig"]] == [str] and table.loc["Days", "Sig"] == "***"
    model.fit(summarize=False)
    assert model.anova_results is None


def test_type_3_does_not_depend_on_the_coding():
    plain = fitted("tvbo").anova()
    levels = ["TV3", "TV1", "TV2"]
    for factors in ({"TVset": levels}, {"TVset": dict(zip(levels, (1, -0.5, -0.5), strict=True))}):
        close(make(LINEAR["tvbo"], factors=factors).anova()["F-stat"], plain["F-stat"])


# ------------------------------------------------------------------ generalized models


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("case", [name for name in GENERALIZED if name != "none_glm"])
def test_wald_tests(case, type, reference):
    table, expected = quiet(fitted(case).anova, type=type), reference[case, "wald"]
    assert list(table.columns) == CHISQ_COLUMNS
    assert list(table.index) == list(expected.index)
    close(table["Chisq"], expected[type], HYPOTHESES if type == 3 else SAME)
    assert (table["Df"] == expected[4]).all()
    close(table["P-val"], stats.chi2.sf(table["Chisq"], table["Df"].where(table["Df"] > 0)), P_OWN)
    assert table.attrs == {"type": type, "ddf": "asymptotic"}


def test_wald_tests_of_type_3_do_not_depend_on_the_coding():
    plain = quiet(fitted("covariate").anova)
    codings = [
        {"A": ["c", "a", "b"], "fl": [True, False]},
        {"A": {"a": 1, "b": -0.5, "c": -0.5}},
        {"A": {"a": [1, 0], "b": [0, 1], "c": [-1, -1]}, "fl": {True: 1, False: -1}},
    ]
    for factors in codings:
        table = make(GENERALIZED["covariate"], factors=factors).anova()
        assert list(table.index) == list(plain.index)
        close(table["Chisq"], plain["Chisq"])


def test_a_model_without_intercept_has_the_tests_of_its_twin():
    """`0 + A + B` spans the same as `A + B`; an indicator for each level of A is then another coding."""
    for right in ("A + B", "A * B"):
        whole, twin = (make(Case(f"y ~ {left}{right} + (1 | g)", "counts", **FAST)) for left in ("0 + ", ""))
        close(whole.anova()["Chisq"], twin.anova()["Chisq"])


def test_empty_cells_are_told():
    with pytest.warns(ModelWarning, match="Missing cells"):
        fitted("hole").anova()
    assert fitted("hole").anova(type=2)["Df"].to_list() == [2, 3, 5]


def test_offset_and_weights_stay_with_the_test():
    frame = data("counts").assign(o=0.1)
    model = Lmer("y ~ A + offset(o) + x + (1 | g)", frame, "poisson", weights="w")
    model.fit(summarize=False, nAGQ=0)
    table = model.anova()
    assert list(table.index) == ["A", "x"]
    close(table.loc["x", "Chisq"], model.coefs.loc["x", "Z-stat"] ** 2)


# ------------------------------------------------------------------ orthogonal contrasts


def test_orthogonal_contrasts_refit_with_all_else_as_it_was():
    frame = data("cbpp").assign(prop=lambda d: d.incidence / d["size"])
    weights = {"1": 1, "2": -1, "3": 0, "4": 0}
    given = {"factors": {"period": weights}, "control": "optimizer='bobyqa'", "conf_level": 0.9, "nAGQ": 2}
    model = Lmer("prop ~ period + (1 | herd)", frame, "binomial", weights="size")
    model.fit(summarize=False, **given)
    before, fits = model.anova(), model.fits
    table = model.anova(force_orthogonal=True)
    close(table["Chisq"], before["Chisq"], 1e-3)  # the optimizer stops elsewhere on other columns
    assert list(model.coefs.index) == ["(Intercept)", "period.L", "period.Q", "period.C"]
    assert (model.factors, model.factors_prev_) == ({"period": ["1", "2", "3", "4"]}, {"period": weights})
    assert "5_ci" in model.coefs and model.convergence.optimizer == "bobyqa"
    assert model.anova_results is table and (model.family, model.link) == ("binomial", "logit")
    np.testing.assert_allclose(model.fits, fits, rtol=1e-3)
    handle = model._handle
    model.anova(force_orthogonal=True)
    assert model._handle is handle and model.factors_prev_ == {"period": weights}


@pytest.mark.parametrize("fit", [{"REML": False}, {"ddf": "Kenward-Roger"}, {"rank": True}], ids=str)
def test_orthogonal_contrasts_are_for_factors_of_the_fixed_part(fit):
    model = Lmer("z ~ x + A * fl + (1 | g)", data("counts"), weights=None if "ddf" in fit else "w")
    model.fit(summarize=False, no_warnings=True, **fit)
    before = model.anova()
    table = model.anova(force_orthogonal=True)
    assert model.factors == {"A": ["a", "b", "c"], "fl": ["FALSE", "TRUE"]} and model.factors_prev_ is None
    assert {"A.L", "A.Q", "fl.L", "A.L:fl.L"} < set(model.coefs.index)
    close(table["F-stat"], before["F-stat"], 1e-3)  # the optimizer stops elsewhere on other columns
    assert model._by_reml is fit.get("REML", True) and model.ranked_data is fit.get("rank", False)
    assert table.attrs["ddf"] == fit.get("ddf", "Satterthwaite")


def test_without_factors_nothing_is_refitted():
    model = fitted("days")
    handle = model._handle
    assert model.anova(force_orthogonal=True).equals(model.anova())
    assert model._handle is handle


# ------------------------------------------------------------------ random effects


@pytest.mark.parametrize("case", RANOVA)
def test_ranova_is_lmertests(case, reference):
    table, expected = quiet(fitted(case).ranova), reference[case, "ranova"]
    assert list(table.columns) == ["npar", "log-likelihood", "AIC", "Chisq", "Df", "P-val", "Sig"]
    assert list(table.index) == list(expected.index)
    close(table.iloc[:, :5], expected.iloc[:, :5])
    close(table["P-val"], expected[6], 1e-4, P_ABSOLUTE)


def test_ranova_knows_weights_and_offset_given_as_arrays():
    frame = data("counts")
    named = Lmer("z ~ x + (1 | g)", frame, weights="w", offset="my var")
    given = Lmer("z ~ x + (1 | g)", frame, weights=frame["w"], offset=frame["my var"])
    for model in (named, given):
        model.fit(summarize=False, control="optimizer='bobyqa'", ddf="asymptotic", REML=False)
    assert named.ranova().equals(given.ranova())


# ------------------------------------------------------------------ comparisons


def comparison(name: str, **kwargs) -> tuple[list[Lmer], pd.DataFrame]:
    models = [make(case) for case in COMPARISONS[name][0]]
    return models, compare(*models, refit=not COMPARISONS[name][1], **kwargs)


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparison_is_rs(name, reference):
    (models, table), expected = comparison(name), reference[name, "compared"]
    assert list(table.columns) == COMPARED and list(table.index) == list(range(len(models)))
    close(table[COMPARED[1:8]], expected.iloc[:, :7])
    close(table["P-val"], expected[8], 1e-4, P_ABSOLUTE)
    close(table["P-val"], stats.chi2.sf(table["Chisq"], table["Df"]), P_OWN)
    assert sorted(table["model"]) == sorted(model.formula for model in models)
    assert table.loc[0, "Sig"] == "" and all(isinstance(mark, str) for mark in table["Sig"])
    assert lrt(models, not COMPARISONS[name][1]).equals(table)


def test_a_comparison_leaves_the_models_as_they_are():
    model, smaller = make(LINEAR["days"]), make(Case(SLEEP[1], "sleepstudy"))

    def state():
        reply = bridge.call("likelihood_mixed", model=model._handle, refit=False).value
        return [reply[k] for k in ("log_likelihood", "AIC", "restricted")], model.predict(data("sleepstudy"), True)

    (before, predicted), coefs = state(), model.coefs.copy()
    compare(smaller, model)
    model.ranova()
    model.anova(ddf="Kenward-Roger")
    after, again = state()
    assert before == after and before[2] and model.coefs.equals(coefs)
    assert (predicted == again).all()


def test_contrasts_do_not_change_a_comparison():
    smaller, larger = Case("z ~ x + (1 | g)", "counts"), Case("z ~ x + A + (1 | g)", "counts")
    plain = compare(make(smaller), make(larger))
    coded = compare(make(smaller), make(larger, factors={"A": {"a": 1, "b": -0.5, "c": -0.5}}))
    close(coded[COMPARED[1:9]], plain[COMPARED[1:9]])


def test_rows_may_come_in_another_order():
    shuffled = data("counts").sample(frac=1, random_state=1)
    models = [Lmer("z ~ 1 + (1 | g)", data("counts")), Lmer("z ~ x + (1 | g)", shuffled)]
    for model in models:
        model.fit(summarize=False)
    assert compare(*models).loc[1, "Df"] == 1


def test_restricted_likelihoods_of_other_fixed_parts_are_warned_of():
    models = [make(Case(f, "sleepstudy")) for f in SLEEP[:2]]
    with pytest.warns(ModelWarning, match="different fixed parts") as told:
        compare(*models, refit=False)
    assert told[0].filename == __file__
    with pytest.warns(ModelWarning, match="some not") as told:
        lrt([models[0], make(Case(SLEEP[1], "sleepstudy"), REML=False)], refit=False)
    assert told[0].filename == __file__


def test_models_that_are_not_nested_are_warned_of():
    models = [make(Case(f"z ~ {f} + (1 | g)", "counts", fit={"REML": False})) for f in ("x", "A")]
    with pytest.warns(ModelWarning, match="lower likelihood"):
        table = compare(*models)
    assert table.loc[1, "Chisq"] == 0 and table.loc[1, "P-val"] == 1


# ------------------------------------------------------------------ errors


def nothing(formula="z ~ x + (1 | g)", frame=None, family="gaussian", given=None, **fit) -> Lmer:
    model = Lmer(formula, counts() if frame is None else frame, family, **(given or {}))
    model.fit(summarize=False, no_warnings=True, **fit)
    return model


ERRORS = {
    "anova unfitted": (NotFittedError, "anova", lambda: Lmer("z ~ x + (1 | g)", counts()).anova()),
    "ranova unfitted": (NotFittedError, "ranova", lambda: Lmer("z ~ x + (1 | g)", counts()).ranova()),
    "type": (OptionError, "type=4", lambda: fitted("days").anova(type=4)),
    "ddf": (OptionError, "'satterthwaite'.*'Satterthwaite'", lambda: fitted("days").anova(ddf="satterthwaite")),
    "ddf of a glmm": (OptionError, "poisson", lambda: fitted("ticks").anova(ddf="Satterthwaite")),
    "kr by ml": (OptionError, "REML", lambda: fitted("ml").anova(ddf="Kenward-Roger")),
    "ranova of a glmm": (OptionError, "compare", lambda: fitted("ticks").ranova()),
    "no model": (OptionError, "0 model", lambda: compare()),
    "one model": (OptionError, "1 model", lambda: lrt([fitted("days")])),
    "a list": (TypeError, "list.*lrt", lambda: compare([fitted("days"), fitted("ml")])),
    "no list": (TypeError, "one list", lambda: lrt(fitted("days"))),
    "no models": (TypeError, "not a str", lambda: compare("y ~ x", "y ~ 1")),
    "unfitted": (NotFittedError, "z ~ x", lambda: compare(fitted("logical"), Lmer("z ~ x + (1 | g)", counts()))),
    "rows": (DataError, "259.*260|260.*259", lambda: compare(nothing(), nothing("z ~ x + A + (1 | g)", counts()[1:]))),
    "outcome": (DataError, "outcome", lambda: compare(nothing(), nothing("I(2 * z) ~ x + A + (1 | g)"))),
    "weights": (
        DataError,
        "weights",
        lambda: compare(nothing(), nothing("z ~ x + A + (1 | g)", given={"weights": "w"})),
    ),
    "families": (OptionError, "gaussian.*poisson", lambda: compare(nothing("y ~ x + (1 | g)"), fitted("crossed"))),
    "links": (
        OptionError,
        "log.*sqrt",
        lambda: compare(nothing("y ~ x + (1 | g)", None, "poisson", {"link": "sqrt"}, nAGQ=0), fitted("crossed")),
    ),
    "equal size": (OptionError, "4 parameters.*AIC", lambda: compare(nothing(), nothing("z ~ w + (1 | g)"))),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    kind, told, act = ERRORS[name]
    with pytest.raises(kind, match=told):
        act()


def test_poisson_and_negative_binomial_compare():
    negative = nothing("y ~ x + (1 | g)", family="nbinom", nAGQ=0)
    table = compare(nothing("y ~ x + (1 | g)", family="poisson", nAGQ=0), negative)
    assert table["npar"].to_list() == [3, 4]


def test_kenward_roger_with_weights_is_refused():
    with pytest.raises(OptionError, match="leaves weights out"):
        fitted("weighted").anova(ddf="Kenward-Roger")
