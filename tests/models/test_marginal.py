"""Marginal means, slopes, contrasts and joint tests of `Lmer` against emmeans in an R of its own."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from against_r import rinterface
from scipy import stats

from pymer4 import Lmer, load_dataset
from pymer4.errors import NotFittedError, OptionError, RError
from pymer4.infer.grids import Adjust, Family, adjustment
from pymer4.models.base import Ddf

pytestmark = pytest.mark.r

ESTIMATED = ["Estimate", "2.5_ci", "97.5_ci", "SE", "DF"]
# Estimates agree to rounding; df are second derivatives by differences, on R's side with numDeriv, and limits and p
# follow them. Generalized models: both optimizers run alike, but stop where the Hessian is known to 1e-4 or so.
SAME = 1e-7
DF_TOLERANCE = 5e-5
P_TOLERANCE = 1e-6
MONTE_CARLO = 3e-3  # mvtnorm stops at an error of 1e-3


def rows_of(name: str) -> pd.DataFrame:
    """Return a data set of R, with columns made by arithmetic on the row number."""
    data = load_dataset(name)
    i = np.arange(1, len(data) + 1)
    if name == "pigs":
        return data.assign(pen=i % 7)
    if name == "warpbreaks":
        return data.assign(run=(5 * i) % 9, breaks=data.breaks + 4.0 * ((5 * i) % 9))
    if name == "sleepstudy":
        half = np.where(data.Subject.cat.codes % 2, "odd", "even")
        return data.assign(half=half, late=data.Days > 4, third=np.array(["lo", "mid", "hi"])[i % 3])
    return data


def with_holes() -> pd.DataFrame:
    data = rows_of("sleepstudy")
    data.loc[data.index[::7], "Reaction"] = np.nan
    data.loc[data.index[3::11], "Days"] = np.nan
    return data


def long_data() -> pd.DataFrame:
    """Return 3,600 rows, more than emmeans gives df to unless told."""
    i = np.arange(3600)
    g = i % 24
    y = np.sin(1.7 * i) + 0.5 * np.sin(3.1 * g) + 0.1 * (i // 24 % 3)
    return pd.DataFrame({"y": y, "g": g, "A": np.array(["a1", "a2", "a3"])[i // 24 % 3], "x": np.cos(0.37 * i)})


DATA: dict[str, Callable[[], pd.DataFrame]] = {
    **{name: (lambda name=name: rows_of(name)) for name in ("Oats", "pigs", "warpbreaks", "oranges", "sleepstudy")},
    **{name: (lambda name=name: rows_of(name)) for name in ("cbpp", "grouseticks")},
    "holes": with_holes,
    "long": long_data,
}


@dataclass(frozen=True)
class Model:
    """A model: its formula, its data, and what `Lmer`, `fit` and R's fitting function get beside them."""

    formula: str
    data: str
    family: str = "gaussian"
    fit: dict = field(default_factory=dict)
    r: str = ""


MODELS = {
    "oats": Model("yield ~ Variety * nitro + (1 | Block)", "Oats"),
    "cells": Model("yield ~ Variety * factor(nitro) + (1 | Block)", "Oats"),
    "ml": Model("yield ~ Variety + factor(nitro) + (1 | Block)", "Oats", fit={"REML": False}, r="REML = FALSE"),
    "kr": Model("yield ~ Variety * nitro + (1 | Block)", "Oats", fit={"ddf": "Kenward-Roger"}),
    "asymptotic": Model("yield ~ Variety * nitro + (1 | Block)", "Oats", fit={"ddf": "asymptotic"}),
    "ninety": Model("yield ~ Variety + nitro + (1 | Block)", "Oats", fit={"conf_level": 0.9}),
    "pigs": Model("log(conc) ~ source + factor(percent) + (1 | pen)", "pigs"),
    "root": Model("sqrt(conc) ~ source + factor(percent) + (1 | pen)", "pigs"),
    "wool": Model("breaks ~ wool * tension + (1 | run)", "warpbreaks"),
    "oranges": Model("sales1 ~ price1 + price2 + day + (1 | store)", "oranges"),
    "sleep": Model("Reaction ~ Days * half + late + (1 | Subject)", "sleepstudy"),
    "curve": Model("Reaction ~ poly(Days, 2) * half + (1 | Subject)", "sleepstudy"),
    "holes": Model("log(Reaction) ~ Days * half + (1 | Subject)", "holes"),
    "herds": Model("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp", "binomial"),
    "ticks": Model("TICKS ~ YEAR * cHEIGHT + (1 | BROOD)", "grouseticks", "poisson"),
    "long": Model("y ~ A * x + (1 | g)", "long"),
}


@dataclass(frozen=True)
class Question:
    """A question, as a call of `means()`, `slopes()` or `joint()` in R, and as one of a fitted `Lmer`."""

    model: str
    r: str
    ask: Callable[[Lmer], object]
    p: float = P_TOLERANCE


def _adjusted(adjust: str) -> Question:
    p = MONTE_CARLO if adjust == "mvt" else P_TOLERANCE
    r_name = adjustment("adjust", adjust)
    return Question(
        "wool",
        f"means('tension', 'wool', adjust = '{r_name}')",
        lambda m: m.emmeans("tension", "wool", adjust=adjust),
        p,
    )


def _post_hoc(adjust: str) -> Question:
    p = MONTE_CARLO if adjust == "mvt" else P_TOLERANCE
    r_name = adjustment("adjust", adjust)
    return Question(
        "oats",
        f"slopes('nitro', 'Variety', adjust = '{r_name}', type = 'link')",
        lambda m: m.post_hoc("nitro", "Variety", p_adjust=adjust),
        p,
    )


def _of_family(family: str) -> Question:
    r = f"means('nitro', 'Variety', method = '{family}', adjust = 'sidak')"
    return Question("cells", r, lambda m: m.emmeans("nitro", "Variety", contrasts=family, adjust="sidak"))


NAMED = {"first": [1, -1, 0], "rest": {"Victory": 1, "Golden Rain": -0.5, "Marvellous": -0.5}, "mean": [0.5, 0.5, 0]}
IN_R = "list(first = c(1, -1, 0), rest = c(-.5, -.5, 1), mean = c(.5, .5, 0))"

POST_HOC = ("tukey", "bonf", "fdr", "hochberg", "hommel", "holm", "dunnet", "mvt")

QUESTIONS = {
    **{f"adjust {adjust}": _adjusted(adjust) for adjust in get_args(Adjust)},
    **{f"post_hoc {a}": _post_hoc(a) for a in POST_HOC},
    **{f"family {family}": _of_family(family) for family in get_args(Family)},
    "weights": Question(
        "oats",
        f"means('Variety', at = list(nitro = c(.1)), method = {IN_R}, adjust = 'holm')",
        lambda m: m.emmeans("Variety", at={"nitro": 0.1}, contrasts=NAMED, adjust="holm"),
    ),
    "cells by tuple": Question(
        "wool",
        "means(c('wool', 'tension'), method = list(x = c(1, 0, 0, 0, -1, 0)), adjust = 'none')",
        lambda m: m.emmeans(["wool", "tension"], contrasts={"x": {("A", "L"): 1, ("A", "H"): -1}}, adjust="none"),
    ),
    "post_hoc at each level": Question(
        "wool", "means('wool', 'tension', type = 'link')", lambda m: m.post_hoc("wool", "tension")
    ),
    "post_hoc of cells": Question(
        "wool", "means(c('wool', 'tension'), type = 'link')", lambda m: m.post_hoc(["wool", "tension"])
    ),
    "post_hoc of slopes": Question(
        "sleep", "slopes('Days', 'half', 'late', type = 'link')", lambda m: m.post_hoc("Days", ["half", "late"])
    ),
    "post_hoc of a bool": Question("sleep", "means('late', type = 'link')", lambda m: m.post_hoc("late")),
    "post_hoc of odds": Question("herds", "means('period', type = 'link')", lambda m: m.post_hoc("period")),
    "post_hoc of a log": Question("pigs", "means('source', type = 'link')", lambda m: m.post_hoc("source")),
    "odds": Question("herds", "means('period')", lambda m: m.emmeans("period")),
    "odds with the first": Question(
        "herds",
        "means('period', method = 'trt.vs.ctrl', adjust = 'dunnettx')",
        lambda m: m.emmeans("period", contrasts="trt.vs.ctrl", adjust="dunnet"),
    ),
    "rates": Question("ticks", "means('YEAR')", lambda m: m.emmeans("YEAR")),
    "rates on the link": Question("ticks", "means('YEAR', type = 'link')", lambda m: m.emmeans("YEAR", type="link")),
    "slopes of rates": Question(
        "ticks",
        "slopes('cHEIGHT', 'YEAR', regrid = 'response')",
        lambda m: m.emtrends("cHEIGHT", "YEAR", type="response"),
    ),
    "slopes of log rates": Question("ticks", "slopes('cHEIGHT', 'YEAR')", lambda m: m.emtrends("cHEIGHT", "YEAR")),
    "ratios": Question("pigs", "means('source')", lambda m: m.emmeans("source")),
    "numbers that are levels": Question("pigs", "means('percent')", lambda m: m.emmeans("percent")),
    "some of them": Question(
        "pigs",
        "means('percent', 'source', at = list(percent = c(9, 18), source = c('soy', 'fish')))",
        lambda m: m.emmeans("percent", "source", at={"percent": [9, 18.0], "source": ["soy", "fish"]}),
    ),
    "differences of roots": Question("root", "means('source')", lambda m: m.emmeans("source")),
    "slope of a log": Question(
        "holes", "slopes('Days', 'half', regrid = 'response')", lambda m: m.emtrends("Days", "half", type="response")
    ),
    "slope of a log on the link": Question("holes", "slopes('Days', 'half')", lambda m: m.emtrends("Days", "half")),
    "missing values": Question("holes", "means('half')", lambda m: m.emmeans("half")),
    "covariates": Question(
        "oranges",
        "means('day', at = list(price1 = 50, price2 = 48.5), method = 'eff', adjust = 'fdr')",
        lambda m: m.emmeans("day", at={"price1": 50, "price2": 48.5}, contrasts="eff", adjust="fdr"),
    ),
    "a covariate's values": Question(
        "sleep",
        "means('Days', 'half', at = list(Days = c(0, 5, 9)), method = 'consec', adjust = 'bonferroni')",
        lambda m: m.emmeans("Days", "half", {"Days": [0, 5, 9]}, contrasts="consec", adjust="bonf"),
    ),
    "slopes along a curve": Question(
        "curve",
        "slopes('Days', c('Days'), 'half', at = list(Days = c(1, 5, 8)))",
        lambda m: m.emtrends("Days", "Days", "half", at={"Days": [1, 5, 8]}),
    ),
    "overall slope": Question("sleep", "slopes('Days', ~ 1, method = NULL)", lambda m: m.emtrends("Days")),
    "no contrasts": Question("wool", "means('wool', method = NULL)", lambda m: m.emmeans("wool", contrasts=None)),
    "maximum likelihood": Question("ml", "means('Variety')", lambda m: m.emmeans("Variety")),
    "Kenward-Roger fit": Question(
        "kr",
        "slopes('nitro', 'Variety', type = 'link', df = 'kenward-roger')",
        lambda m: m.post_hoc("nitro", "Variety"),
    ),
    "Kenward-Roger asked": Question(
        "oats", "means('Variety', df = 'kenward-roger')", lambda m: m.emmeans("Variety", ddf="Kenward-Roger")
    ),
    "Satterthwaite after Kenward-Roger": Question(
        "kr", "means('Variety')", lambda m: m.emmeans("Variety", ddf="Satterthwaite")
    ),
    "asymptotic fit": Question(
        "asymptotic", "means('Variety', type = 'link', df = 'asymptotic')", lambda m: m.post_hoc("Variety")
    ),
    "Satterthwaite after none": Question(
        "asymptotic", "means('Variety')", lambda m: m.emmeans("Variety", ddf="Satterthwaite")
    ),
    "90 % limits": Question("ninety", "means('Variety', level = .9)", lambda m: m.emmeans("Variety")),
    "many rows": Question("long", "means('A')", lambda m: m.emmeans("A")),
    "slopes over many rows": Question("long", "slopes('x', 'A', type = 'link')", lambda m: m.post_hoc("x", "A")),
    "joint": Question("cells", "joint()", lambda m: m.joint_tests()),
    "joint by": Question("wool", "joint('wool')", lambda m: m.joint_tests("wool")),
    "joint with covariates": Question("oranges", "joint()", lambda m: m.joint_tests()),
    "joint Kenward-Roger": Question(
        "oats", "joint(df = 'kenward-roger')", lambda m: m.joint_tests(ddf="Kenward-Roger")
    ),
    "joint chi-square": Question("ticks", "joint()", lambda m: m.joint_tests()),
}
ESTIMATES = [name for name in QUESTIONS if not name.startswith("joint")]
JOINT = [name for name in QUESTIONS if name.startswith("joint")]

# The one place with R code: what emmeans says in a session that pymer4 has no part in.
SCRIPT = r"""
suppressMessages({library(lmerTest); library(emmeans)})
folder <- commandArgs(TRUE)[1]
set.seed(4)
read <- function(name) {
  d <- read.csv(file.path(folder, paste0(name, ".csv")), check.names = FALSE)
  levels <- read.csv(file.path(folder, paste0(name, ".levels.csv")), colClasses = "character")
  for (v in unique(levels$column)) d[[v]] <- factor(d[[v]], levels = levels$level[levels$column == v])
  for (v in names(d)) if (all(d[[v]] %in% c("True", "False"))) d[[v]] <- d[[v]] == "True"
  d
}
ask <- function(e, method, adjust, type, level) {
  both <- function(x, infer) summary(x, infer = infer, type = type, level = level)
  list(both(e, c(TRUE, FALSE)), if (!is.null(method)) both(contrast(e, method, adjust = adjust), c(TRUE, TRUE)))
}
means <- function(specs, by = NULL, method = "pairwise", adjust = "tukey", type = "response", df = "satterthwaite",
                  level = .95, ...) {
  ask(emmeans(m, specs, by = by, lmer.df = df, lmerTest.limit = 1e6, ...), method, adjust, type, level)
}
slopes <- function(var, specs, by = NULL, method = "pairwise", adjust = "tukey", type = "response",
                   df = "satterthwaite", level = .95, ...) {
  ask(emtrends(m, specs, var = var, by = by, lmer.df = df, lmerTest.limit = 1e6, ...), method, adjust, type, level)
}
joint <- function(by = NULL, df = "satterthwaite") list(joint_tests(m, by = by, lmer.df = df))
write <- function(id, k, s) {
  if (is.null(s)) return()
  d <- unclass(s)
  none <- rep(NA, length(d[[1]]))
  number <- function(name) sprintf("%.17g", as.numeric(if (length(name) && length(d[[name]])) d[[name]] else none))
  label <- function(names) do.call(paste, c(list(rep("", length(none))), lapply(d[names], as.character), sep = "|"))
  if ("model term" %in% names(d)) {
    frame <- data.frame(id, k, label = label("model term"), estimate = number("F.ratio"), lower = "NA", upper = "NA",
      se = number("df1"), df = number("df2"), statistic = "NA", p = number("p.value"), name = "F", adjust = "none")
  } else {
    est <- attr(s, "estName"); cl <- attr(s, "clNames")
    shown <- c(attr(s, "pri.vars"), attr(s, "by.vars"))
    frame <- data.frame(id, k, label = label(shown[shown != "1"]), estimate = number(est), lower = number(cl[1]),
      upper = number(cl[2]), se = number("SE"), df = number("df"),
      statistic = number(intersect(c("t.ratio", "z.ratio"), names(d))[1]), p = number("p.value"), name = est,
      adjust = attr(s, "adjust"))
  }
  write.table(frame, stdout(), sep = ",", row.names = FALSE, col.names = FALSE)
}
models <- list()
fit <- function(id, data, call) {
  d <- read(data)
  models[[id]] <<- suppressMessages(suppressWarnings(eval(call, list(d = d), globalenv())))
}
"""


ANSWER = ["id", "table", "label", "estimate", "lower", "upper", "se", "df", "statistic", "p", "name", "adjust"]


@cache
def from_r() -> pd.DataFrame:
    """Return what R says to every question, in long form."""
    with TemporaryDirectory() as folder:
        script = [SCRIPT]
        for name in {model.data for model in MODELS.values()}:
            write_data(Path(folder) / name, DATA[name]())
        for name, model in MODELS.items():
            maker = "lmer(" if model.family == "gaussian" else "glmer("
            more = "".join(
                f", {part}" for part in (model.r, "" if maker == "lmer(" else f"family = {model.family}") if part
            )
            script.append(f"fit('{name}', '{model.data}', quote({maker}{model.formula}, data = d{more})))")
        for name, asked in QUESTIONS.items():
            script.append(f"m <- models[['{asked.model}']]; found <- suppressMessages({asked.r})")
            script.append(f"for (k in seq_along(found)) write({name!r}, k, found[[k]])")
        path = Path(folder) / "script.R"
        path.write_text("\n".join(script), "utf-8")
        done = subprocess.run(["Rscript", "--vanilla", str(path), folder], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        (Path(folder) / "answers.csv").write_text(done.stdout, "utf-8")
        return pd.read_csv(Path(folder) / "answers.csv", names=ANSWER)


def write_data(path: Path, data: pd.DataFrame) -> None:
    """Write a frame, and the levels of its factors, for R to read."""
    data.to_csv(f"{path}.csv", index=False)
    text = data.select_dtypes(["category", "object", "string"])
    levels = [
        (name, level)
        for name, column in text.items()
        for level in (column.cat.categories if column.dtype == "category" else sorted(column.unique()))
    ]
    pd.DataFrame(levels, columns=["column", "level"]).to_csv(f"{path}.levels.csv", index=False)


@cache
def fitted(name: str) -> Lmer:
    model = MODELS[name]
    lmer = Lmer(model.formula, DATA[model.data](), family=model.family)
    lmer.fit(summarize=False, no_warnings=True, **model.fit)
    return lmer


def answer(name: str, table: int) -> pd.DataFrame:
    found = from_r()
    return found[(found["id"] == name) & (found["table"] == table)]


def labels_of(table: pd.DataFrame) -> list[str]:
    """Return the labels of each row as one text, as R's script does."""
    shown = table.iloc[:, : list(table.columns).index("Estimate")].astype(object)
    return ["".join(f"|{spelled(value)}" for value in row) for row in shown.to_numpy()]


def spelled(value: object) -> str:
    if isinstance(value, bool):
        return str(value).upper()
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def close(found: object, expected: object, rtol: float = SAME, atol: float = 0) -> None:
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), rtol=rtol, atol=atol)


def check(table: pd.DataFrame, expected: pd.DataFrame, p: float, loose: float) -> None:
    """Compare a table of estimates or contrasts with R's."""
    lower, upper = (name for name in table.columns if str(name).endswith("_ci"))
    close(table["Estimate"], expected["estimate"], loose, 1e-9)
    close(table["SE"], expected["se"], 10 * loose)
    close(table["DF"], expected["df"], DF_TOLERANCE)
    width = (expected["upper"] - expected["lower"]).to_numpy(float)
    for name, key in ((lower, "lower"), (upper, "upper")):
        error = (table[name].to_numpy() - expected[key].to_numpy()) / width
        assert np.abs(error).max() < max(p, 10 * loose, DF_TOLERANCE), key
    assert [x.strip() for x in labels_of(table)] == [
        str(x).strip() if str(x) != "nan" else "" for x in expected["label"]
    ]


@pytest.mark.parametrize("name", ESTIMATES)
def test_equals_emmeans(name):
    asked = QUESTIONS[name]
    model = fitted(asked.model)
    estimates, contrasts = asked.ask(model)
    loose = SAME if model.family == "gaussian" else 2e-5
    expected, compared = answer(name, 1), answer(name, 2)
    check(estimates, expected, asked.p, loose)
    assert (contrasts is None) == compared.empty
    if contrasts is None:
        return
    check(contrasts, compared, asked.p, loose)
    statistic = "Z-stat" if np.isinf(contrasts["DF"]).all() else "T-stat"
    close(contrasts[statistic], compared["statistic"], 20 * loose, 1e-7)
    close(contrasts["P-val"], compared["p"], 0, asked.p if model.family == "gaussian" else max(asked.p, 2e-6))
    assert contrasts.attrs["adjust"] == compared["adjust"].iloc[0]
    assert contrasts.attrs["estimate"] == compared["name"].iloc[0]


@pytest.mark.parametrize("name", JOINT)
def test_joint_tests_equal_emmeans(name):
    asked = QUESTIONS[name]
    model = fitted(asked.model)
    table, expected = asked.ask(model), answer(name, 1)
    assert ["|" + term for term in table.index] == list(expected["label"])
    rtol = 0 if model.family == "gaussian" else 1e-4
    if model.family == "gaussian":
        assert list(table.columns[-5:]) == ["NumDF", "DenomDF", "F-stat", "P-val", "Sig"]
        f, df1, df2 = table["F-stat"], table["NumDF"], table["DenomDF"]
        close(df2, expected["df"], DF_TOLERANCE, 0.006)
        close(table["P-val"], stats.f.sf(f, df1, df2), 1e-9)  # so F is not the rounded one
    else:
        assert list(table.columns) == ["Chisq", "Df", "P-val", "Sig"]
        df1 = table["Df"]
        f = table["Chisq"] / df1
        close(table["P-val"], stats.chi2.sf(table["Chisq"], df1), 1e-9)
    close(df1, expected["se"])
    close(f, expected["estimate"], rtol, 6e-4)  # R tells 3 places
    close(table["P-val"], expected["p"], 1e-4, P_TOLERANCE)


def test_joint_tests_of_factors_are_type_three():
    model = fitted("cells")
    tests, anova = model.joint_tests(), model.anova()
    for column in ("NumDF", "DenomDF", "F-stat", "P-val"):
        close(tests[column], anova[column], 1e-6)


# What the tables are


def test_columns_and_index():
    model = fitted("wool")
    estimates, contrasts = model.post_hoc("tension", "wool")
    assert list(estimates.columns) == ["tension", "wool", *ESTIMATED]
    assert list(contrasts.columns) == ["Contrast", "wool", *ESTIMATED, "T-stat", "P-val", "Sig"]
    assert list(estimates.index) == list(contrasts.index) == ["1", "2", "3", "4", "5", "6"]
    assert (estimates[ESTIMATED].dtypes == np.float64).all()
    assert contrasts["Contrast"].tolist() == ["L - M", "L - H", "M - H"] * 2
    assert contrasts["Sig"].map(type).eq(str).all()
    assert model.marginal_estimates is estimates
    assert model.marginal_contrasts is contrasts


def test_z_tests_have_infinite_df():
    estimates, contrasts = fitted("herds").emmeans("period")
    assert np.isinf(estimates["DF"]).all()
    assert np.isinf(contrasts["DF"]).all()
    assert "Z-stat" in contrasts.columns
    assert "T-stat" not in contrasts.columns


def test_limits_have_the_level_of_the_fit():
    for table in fitted("ninety").emmeans("Variety"):
        assert {"5_ci", "95_ci"} <= set(table.columns)
        assert table.attrs["level"] == 0.9


NAMES = {
    "cells": ("Variety", "emmean", "estimate"),
    "herds": ("period", "prob", "odds.ratio"),
    "ticks": ("YEAR", "rate", "ratio"),
    "pigs": ("source", "response", "ratio"),
    "root": ("source", "response", "estimate"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("type", ["response", "link"])
def test_tables_say_what_they_hold(name, type):
    variable, mean, contrast = NAMES[name]
    estimates, contrasts = fitted(name).emmeans(variable, type=type)
    if type == "link":
        mean, contrast = "emmean", "estimate"
    assert (estimates.attrs["estimate"], contrasts.attrs["estimate"]) == (mean, contrast)
    assert estimates.attrs["scale"] == type
    # Differences of roots can't be transformed back: they stay where they are, and say so.
    assert contrasts.attrs["scale"] == ("link" if name == "root" else type)
    ddf = "Satterthwaite" if name in ("cells", "pigs", "root") else "asymptotic"
    assert estimates.attrs["ddf"] == contrasts.attrs["ddf"] == ddf
    assert (estimates.attrs["adjust"], contrasts.attrs["adjust"]) == ("none", "tukey")


@pytest.mark.parametrize("type", ["response", "link"])
def test_slopes_say_what_they_are(type):
    for table in fitted("ticks").emtrends("cHEIGHT", "YEAR", type=type):
        assert table.attrs["scale"] == type
    estimates, contrasts = fitted("ticks").emtrends("cHEIGHT", "YEAR", type=type)
    assert (estimates.attrs["estimate"], estimates.attrs["variable"]) == ("trend", "cHEIGHT")
    assert contrasts.attrs["estimate"] == "estimate"


def test_an_adjustment_that_does_not_apply_is_told():
    _, contrasts = fitted("cells").emmeans("nitro", contrasts="consec")
    assert contrasts.attrs["adjust"] == "sidak"
    assert any("sidak" in text for text in contrasts.attrs["messages"])


def test_labels_keep_their_kind_and_order():
    estimates, contrasts = fitted("pigs").emmeans("source", "percent")
    assert list(estimates["source"].cat.categories) == ["fish", "soy", "skim"]
    assert estimates["percent"].unique().tolist() == contrasts["percent"].unique().tolist() == [9, 12, 15, 18]
    assert fitted("sleep").emmeans("half", "late")[1]["late"].tolist() == [False, True]


def test_levels_with_a_minus_keep_their_names_beside_ratios():
    data = rows_of("pigs").assign(pen2=lambda d: np.where(d.pen % 2, "a - b", "c"))
    model = Lmer("log(conc) ~ source + pen2 + (1 | pen)", data)
    model.fit(summarize=False, no_warnings=True)
    _, contrasts = model.emmeans("source", "pen2")
    assert contrasts["pen2"].unique().tolist() == ["a - b", "c"]
    assert contrasts["Contrast"].iloc[0] == "fish / soy"


def test_factors_of_fit_count_as_factors():
    model = Lmer("yield ~ Variety + nitro + (1 | Block)", rows_of("Oats"))
    contrast = {"first": {"Golden Rain": 1, "Marvellous": -0.5, "Victory": -0.5}}
    model.fit(factors={"nitro": [0, 0.2, 0.4, 0.6], "Variety": contrast}, summarize=False)
    estimates, contrasts = model.post_hoc("nitro", "Variety")
    assert (len(estimates), len(contrasts)) == (12, 18)
    plain = fitted("ml")
    plain_means = Lmer(plain.formula, rows_of("Oats"))
    plain_means.fit(summarize=False)
    close(estimates["Estimate"], plain_means.post_hoc("nitro", "Variety")[0]["Estimate"], 1e-6)


def test_a_constant_in_the_formula_is_no_variable():
    model = Lmer("yield ~ Variety + I(nitro * pi) + (1 | Block)", rows_of("Oats"))
    model.fit(summarize=False)
    close(model.emtrends("nitro")[0]["Estimate"], model.coefs["Estimate"].iloc[-1] * np.pi, 1e-6)
    with pytest.raises(OptionError, match="'pi'"):
        model.emmeans("pi")


def test_nested_factors():
    data = rows_of("Oats")
    data["place"] = np.where(data["Variety"] == "Victory", "north", "south")
    model = Lmer("yield ~ place + Variety + nitro + (1 | Block)", data)
    model.fit(summarize=False, no_warnings=True)
    estimates, contrasts = model.emmeans("Variety")
    assert list(estimates.columns) == ["Variety", "place", *ESTIMATED]
    assert list(estimates.index) == ["1", "2", "3"]
    assert contrasts["Contrast"].iloc[0] == "Victory north - Golden Rain south"
    _, contrasts = model.emmeans("Variety", "place")
    assert list(contrasts.columns[:2]) == ["Contrast", "place"]
    assert contrasts["Contrast"].tolist() == ["(nothing)", "Golden Rain - Marvellous"]  # the north has one cell
    for table in (estimates, contrasts, *model.emmeans("Variety")):
        assert any("nesting" in text for text in table.attrs["messages"])


def test_cells_without_data_are_missing():
    data = rows_of("Oats").query("not (Variety == 'Victory' and nitro == 0)")
    model = Lmer("yield ~ Variety * factor(nitro) + (1 | Block)", data)
    model.fit(summarize=False, no_warnings=True)
    estimates, _ = model.emmeans("Variety", "nitro")
    assert estimates["Estimate"].isna().tolist() == [False, False, True] + [False] * 9
    assert model.joint_tests()["F-stat"].notna().all()


# How it behaves


def test_post_hoc_prints_only_when_asked(capfd):
    model = fitted("pigs")
    assert model.post_hoc("source", summarize=False) is None
    assert capfd.readouterr() == ("", "")
    estimates, contrasts = model.post_hoc("source")
    printed = capfd.readouterr().out
    assert "link scale" in printed
    assert "log (not the response) scale" in printed
    assert "tukey" in printed
    assert estimates.attrs["scale"] == contrasts.attrs["scale"] == "link"
    assert (contrasts["Estimate"] != contrasts["Estimate"].round(3)).all()


def test_post_hoc_prints_messages_when_asked(capfd):
    model = fitted("wool")
    model.post_hoc("wool", summarize=False, verbose=True)
    assert "involvement in interactions" in capfd.readouterr().out
    model.emmeans("wool")
    assert capfd.readouterr() == ("", "")


def test_one_estimate_has_no_contrasts(capfd):
    estimates, contrasts = fitted("oats").post_hoc("nitro")
    assert len(estimates) == 1
    assert contrasts is None
    assert fitted("oats").marginal_contrasts is None
    assert fitted("oats").emmeans("Variety", at={"Variety": "Victory"})[1] is None
    assert "Pairwise" not in capfd.readouterr().out


def test_monte_carlo_repeats_and_leaves_the_random_stream():
    model = fitted("wool")
    run = rinterface.evalr
    run("function(n) set.seed(n)")(3)
    expected = run("function() runif(1)")()[0]
    run("function(n) set.seed(n)")(3)
    first = model.emmeans(["wool", "tension"], adjust="mvt")[1]
    assert run("function() runif(1)")()[0] == expected
    pd.testing.assert_frame_equal(first, model.emmeans(["wool", "tension"], adjust="mvt")[1])


def test_settings_of_emmeans_do_not_count():
    run = rinterface.evalr
    set_options = run("function(x) options(emmeans = x)")
    expected = fitted("wool").emmeans("tension")[1]
    set_options(run("function() list(lmer.df = 'asymptotic', contrast = list(infer = c(FALSE, FALSE)), sep = '_')")())
    try:
        pd.testing.assert_frame_equal(fitted("wool").emmeans("tension")[1], expected)
        assert run("function() getOption('emmeans')$sep")()[0] == "_"
    finally:
        set_options(rinterface.NULL)


def test_df_stay_above_3000_rows():
    for ddf in ("Satterthwaite", None):
        estimates, contrasts = fitted("long").emmeans("A", ddf=ddf)
        assert np.isfinite(estimates["DF"]).all()
        assert np.isfinite(contrasts["DF"]).all()
        assert estimates["DF"].max() < 100
    assert np.isinf(fitted("long").emmeans("A", ddf="asymptotic")[0]["DF"]).all()


def test_a_fit_forgets_what_the_last_one_showed():
    model = Lmer("yield ~ Variety + (1 | Block)", rows_of("Oats"))
    model.fit(summarize=False)
    first, _ = model.emmeans("Variety")
    again, _ = model.emmeans("Variety")
    pd.testing.assert_frame_equal(first, again)
    model.fit(factors={"Variety": ["Victory", "Marvellous", "Golden Rain"]}, REML=False, summarize=False)
    assert model.marginal_estimates is None
    assert model.marginal_contrasts is None
    refitted, _ = model.emmeans("Variety")
    assert refitted["Variety"].tolist() == first["Variety"].tolist()[::-1]
    assert (refitted["SE"] < first["SE"].min()).all()


def test_coefficients_and_r_model_stay():
    model = fitted("wool")
    before = model.coefs.copy()
    model.emmeans("tension", ddf="Kenward-Roger")
    pd.testing.assert_frame_equal(model.coefs, before)


def test_no_warnings_without_cause():
    spaced = Lmer("yield ~ `my var` * nitro + (1 | Block)", rows_of("Oats").rename(columns={"Variety": "my var"}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spaced.fit(summarize=False)
        for model, factor, covariate in ((fitted("oats"), "Variety", "nitro"), (spaced, "my var", "nitro")):
            model.emmeans(factor)
            model.emtrends(covariate, factor)
            model.joint_tests()


# Errors, at the boundary

WRONG = [
    ("oats", lambda m: m.post_hoc("Varety"), "'Varety', which.*mean 'Variety'.*factors: Variety; covariates: nitro"),
    ("oats", lambda m: m.post_hoc("Block"), "'Block', which is not in the fixed part"),
    ("oats", lambda m: m.post_hoc("Variety", "Nitro"), "grouping_vars names 'Nitro'.*'nitro'"),
    ("oats", lambda m: m.post_hoc("Variety", "nitro"), r"no levels.*emmeans\("),
    ("oats", lambda m: m.post_hoc(["Variety", "nitro"]), "'nitro' beside 1 more"),
    ("oats", lambda m: m.post_hoc("Variety", "Variety"), "in marginal_vars and in grouping_vars"),
    ("oats", lambda m: m.post_hoc([]), "names no variable"),
    ("oats", lambda m: m.post_hoc(3), "marginal_vars=3"),
    ("oats", lambda m: m.post_hoc("Variety", p_adjust="turkey"), "p_adjust='turkey'.*'tukey'"),
    ("oats", lambda m: m.emmeans("Variety", adjust="Holm"), "adjust='Holm'.*'holm'"),
    ("oats", lambda m: m.emmeans("Variety", contrasts="pairs"), "contrasts='pairs'.*'pairwise'"),
    ("oats", lambda m: m.emmeans("Variety", contrasts={}), "names no contrast"),
    ("oats", lambda m: m.emmeans("Variety", contrasts={"x": [1, -1]}), "2 weights for 3 cells.*Golden Rain, Marv"),
    ("oats", lambda m: m.emmeans("Variety", contrasts={"x": {"Victry": 1}}), "'Victry', which is no cell.*'Victory'"),
    ("oats", lambda m: m.emmeans("Variety", contrasts={"x": ["a", "b", "c"]}), "one finite number a cell"),
    ("oats", lambda m: m.emmeans("Variety", contrasts={"x": 1}), "one finite number a cell"),
    ("oats", lambda m: m.emmeans("Variety", type="mean"), "type='mean'.*'response', 'link'"),
    ("oats", lambda m: m.emmeans("Variety", ddf="KR"), "ddf='KR'"),
    ("oats", lambda m: m.emmeans("Variety", by="Variety"), "in specs and in by"),
    ("oats", lambda m: m.emmeans([]), "specs names no variable"),
    ("oats", lambda m: m.emmeans("Variety", at={"nitrogen": 1}), "at names 'nitrogen'.*'nitro'"),
    ("oats", lambda m: m.emmeans("Variety", at={"Variety": "victory"}), "'victory', not among the levels.*'Victory'"),
    ("oats", lambda m: m.emmeans("Variety", at={"nitro": "much"}), "has to be numbers"),
    ("oats", lambda m: m.emmeans("Variety", at={"nitro": [np.nan]}), "has to be numbers"),
    ("oats", lambda m: m.emmeans("Variety", at={"nitro": []}), "is empty"),
    ("oats", lambda m: m.emmeans("Variety", at=[1]), "is not a dict"),
    ("oats", lambda m: m.emtrends("Variety"), "is a factor, which has no slope"),
    ("oats", lambda m: m.emtrends("Days"), "var names 'Days'"),
    ("oats", lambda m: m.emtrends(["nitro"]), "not the name of one covariate"),
    ("oats", lambda m: m.joint_tests("Block"), "by names 'Block'"),
    ("oats", lambda m: m.joint_tests(["Variety", "nitro"]), "no variable to test"),
    ("pigs", lambda m: m.emmeans("percent", at={"percent": 10}), "10, not among the levels: 9, 12, 15, 18"),
    ("herds", lambda m: m.emmeans("period", ddf="Satterthwaite"), "leave ddf out"),
    ("ml", lambda m: m.emmeans("Variety", ddf="Kenward-Roger"), "REML"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "ask", "text"), WRONG)
def test_errors_say_what_was_given_and_what_is_allowed(model, ask, text):
    with pytest.raises(OptionError, match=text):
        ask(fitted(model))


ASKED = [
    lambda m: m.post_hoc("Variety"),
    lambda m: m.emmeans("Variety"),
    lambda m: m.emtrends("nitro"),
    lambda m: m.joint_tests(),
]


@pytest.mark.parametrize("ask", ASKED)
def test_nothing_before_fit(ask):
    with pytest.raises(NotFittedError):
        ask(Lmer("yield ~ Variety * nitro + (1 | Block)", rows_of("Oats")))


def test_a_model_of_nothing_has_nothing_to_ask():
    model = Lmer("yield ~ 1 + (1 | Block)", rows_of("Oats"))
    model.fit(summarize=False)
    with pytest.raises(OptionError, match=r"no variable to test.*factors: none; covariates: none"):
        model.joint_tests()
    with pytest.raises(OptionError, match="factors: none"):
        model.emmeans("Variety")


def test_what_r_refuses_comes_in_its_words():
    data = rows_of("Oats").assign(**{f"f{k}": lambda d, k=k: (d.index % (2 + k)).astype(str) for k in range(6)})
    model = Lmer(f"yield ~ {' + '.join(f'f{k}' for k in range(6))} + factor(nitro) + (1 | Block)", data)
    model.fit(summarize=False, no_warnings=True)
    with pytest.raises(RError, match="reference grid"):
        model.emmeans("f0")


@pytest.mark.parametrize("ddf", get_args(Ddf))
def test_tables_name_their_df(ddf):
    estimates, contrasts = fitted("oats").emmeans("Variety", ddf=ddf)
    assert estimates.attrs["ddf"] == contrasts.attrs["ddf"] == fitted("oats").joint_tests(ddf=ddf).attrs["ddf"] == ddf
