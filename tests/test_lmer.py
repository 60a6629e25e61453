"""Gaussian `Lmer` against R in a process of its own, and against the identities that any fit has to keep."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import warnings
from functools import cache
from io import StringIO
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import rpy2.rinterface as rinterface
from scipy import stats

from pymer4 import Lmer, load_dataset
from pymer4.errors import DataError, NotFittedError, Pymer4Error
from pymer4.models.lmer import Ddf, Method

pytestmark = pytest.mark.r

COEFS = ["Estimate", "2.5_ci", "97.5_ci", "SE", "DF", "T-stat", "P-val", "Sig"]
DOSES = ["low", "mid", "high"]

# Tolerances, each relative to the size of the thing. Both sides run one optimizer from one start,
# so estimates agree to rounding; df are second derivatives by differences, on R's side with numDeriv.
SAME = 1e-7
DF_TOLERANCE = 1e-4
ROOT = 1e-4  # profile limits are roots of a spline
REORDERED = 1e-4  # the optimizer stops elsewhere when rows or columns are summed in another order


def trial(seed: int = 7) -> pd.DataFrame:
    """Return a crossed design, unsorted; group numbers and text sort otherwise than they come."""
    rng = np.random.default_rng(seed)
    n = 240
    g, h = rng.permutation(np.repeat(np.arange(24), 10)), rng.permutation(np.tile(np.arange(12), 20))
    frame = pd.DataFrame(
        {
            "g": 5 * (g + 1),
            "h": np.array([f"i{k}" for k in range(1, 13)])[h],
            "x": rng.normal(1, 1, n),
            "z": rng.normal(3, 1, n),
            "cond": rng.choice(["b", "a", "C"], n),
            "flag": rng.random(n) < 0.4,
            "dose": pd.Categorical(rng.choice(DOSES, n), DOSES, ordered=True),
            "w": rng.uniform(0.5, 2, n),
            "o": rng.normal(size=n),
            "s": rng.normal(size=n),
        }
    )
    slopes = 1 + rng.normal(0, 0.7, (4, 24))
    frame["y"] = (
        2 + slopes[0][g] * frame.x + 0.1 * frame.z + 0.5 * (frame.cond == "a") * frame.x + 0.4 * frame.flag
        + rng.normal(0, 1, 24)[g] + rng.normal(0, 0.8, 12)[h] + rng.normal(0, 1, n)
    )
    frame["pos"] = np.exp(0.2 * frame.y)
    frame["v"] = frame.y + slopes[1][g] * frame.o + slopes[2][g] * frame.w + slopes[3][h] * frame.s
    return frame


def with_holes() -> pd.DataFrame:
    """Return the trial with missing values in the outcome, a predictor and a group."""
    frame = trial().astype({"g": float})
    frame.loc[[3, 50], "y"] = np.nan
    frame.loc[[7, 50, 100], "x"] = np.nan
    frame.loc[11, "g"] = np.nan
    return frame


ODD = {"x": "signal", "z": "sigma", "o": "N", "w": "T", "pos": "NA", "s": "Residual", "h": "my items"}
DATA = {
    "sleep": lambda: load_dataset("sleepstudy"),
    "penicillin": lambda: load_dataset("Penicillin"),
    "pastes": lambda: load_dataset("Pastes"),
    "trial": trial,
    "holes": with_holes,
    "odd": lambda: trial().rename(columns=ODD),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One model: the formula, its data, what R's `lmer` gets, and the same for `Lmer` and `fit`."""

    formula: str
    data: str = "trial"
    r: str = ""
    given: dict = dataclasses.field(default_factory=dict)
    fit: dict = dataclasses.field(default_factory=dict)


CASES = {
    "slopes": Case("Reaction ~ Days + (Days | Subject)", "sleep"),
    "ml": Case("Reaction ~ Days + (Days | Subject)", "sleep", "REML = FALSE", fit={"REML": False}),
    "uncorrelated": Case("Reaction ~ Days + (Days || Subject)", "sleep"),
    "random_only": Case("Reaction ~ 1 + (Days | Subject)", "sleep"),
    "crossed": Case("diameter ~ 1 + (1 | plate) + (1 | sample)", "penicillin"),
    "nested": Case("strength ~ 1 + (1 | batch / cask)", "pastes"),
    "factors": Case("y ~ x * cond + flag + dose + (x | g) + (1 | h)"),
    "no_intercept": Case("y ~ 0 + cond + x + (1 | g)"),
    "weighted": Case(
        "y ~ x + cond + (1 | g)", r="weights = w, offset = o", given={"weights": "w", "offset": "o"}
    ),
    "offset_term": Case("y ~ x + offset(o) + (1 | g)"),
    "holes": Case("y ~ x + (1 | g)", "holes"),
    "transformed": Case("log(pos) ~ poly(x, 2) + scale(z) + I(s^2) + (scale(x) | g)"),
    "aliased": Case("y ~ x + I(2 * x) + (1 | g)"),
    "odd_names": Case("v ~ signal + sigma + N + T + `NA` + Residual + (N + T | g) + (Residual | `my items`)", "odd"),
    "nelder": Case(
        "y ~ x + (x | g)",
        r="control = lmerControl(optimizer = 'Nelder_Mead', optCtrl = list(FtolAbs = 1e-8, XtolRel = 1e-8))",
        fit={"control": "optimizer='Nelder_Mead', optCtrl = list(FtolAbs=1e-8, XtolRel=1e-8)"},
    ),
    "stopped": Case(
        "y ~ x + (x | g)",
        r="control = lmerControl(optCtrl = list(maxeval = 8))",
        fit={"control": {"optCtrl": {"maxeval": 8}}},
    ),
    "rescale": Case("y ~ I(1e6 * x) + z + (1 | g)"),
    "singular": Case("s ~ x + (x + z | h)"),
}
KENWARD_ROGER = ["slopes", "factors"]
NEW_ROWS = ["factors", "no_intercept", "offset_term", "transformed", "aliased"]
EVERY = pytest.mark.parametrize("case", CASES)

# The one place with R code: what R itself says, in a session that pymer4 has no part in.
SCRIPT = r"""
suppressMessages(library(lmerTest))
folder <- commandArgs(TRUE)[1]
read <- function(name) {
  d <- read.csv(file.path(folder, paste0(name, ".csv")), check.names = FALSE)
  for (text in intersect(c("cond", "h", "my items"), names(d)))
    d[[text]] <- factor(d[[text]], levels = sort(unique(d[[text]]), method = "radix"))
  if ("flag" %in% names(d)) d$flag <- d$flag == "True"
  if ("dose" %in% names(d)) d$dose <- factor(d$dose, levels = c("low", "mid", "high"), ordered = TRUE)
  d
}
tell <- function(name, quantity, value) {
  value <- as.matrix(value)
  if (!length(value)) return(invisible())
  rows <- if (is.null(rownames(value))) seq_len(nrow(value)) else rownames(value)
  columns <- if (is.null(colnames(value))) seq_len(ncol(value)) else colnames(value)
  shown <- if (is.numeric(value)) sprintf("%.17g", value) else as.character(value)
  write.table(data.frame(name, quantity, rep(rows, length(columns)), rep(columns, each = nrow(value)), c(shown)),
              sep = ",", row.names = FALSE, col.names = FALSE, qmethod = "double")
}
cases <- read.csv(file.path(folder, "cases.csv"), colClasses = "character")
for (i in seq_len(nrow(cases))) {
  name <- cases$name[i]
  d <- switch(cases$data[i], sleep = sleepstudy, penicillin = lme4::Penicillin, pastes = lme4::Pastes,
              read(cases$data[i]))
  if (cases$data[i] == "sleep") data("sleepstudy", package = "lme4")
  said <- character()
  m <- withCallingHandlers(
    eval(parse(text = sprintf("lmer(%s, data = d%s)", cases$formula[i], cases$r[i]))),
    warning = function(w) { said <<- c(said, conditionMessage(w)); invokeRestart("muffleWarning") },
    message = function(w) { said <<- c(said, sub("\n$", "", conditionMessage(w))); invokeRestart("muffleMessage") })
  tell(name, "said", said)
  tell(name, "coefs", summary(m)$coefficients)
  tell(name, "wald", confint(m, method = "Wald", oldNames = FALSE))
  tell(name, "facts", c(AIC = AIC(m), BIC = BIC(m), logLik = as.numeric(logLik(m)), sigma = sigma(m),
    code = m@optinfo$conv$opt, singular = isSingular(m), gradient = max(abs(m@optinfo$derivs$gradient))))
  tell(name, "optimizer", m@optinfo$optimizer)
  v <- as.data.frame(VarCorr(m))
  v[] <- lapply(v, function(k) if (is.numeric(k)) sprintf("%.17g", k) else k)
  tell(name, "variances", as.matrix(v))
  tell(name, "groups", ngrps(m))
  for (group in names(ranef(m))) {
    tell(name, paste0("ranef ", group), ranef(m)[[group]])
    tell(name, paste0("coef ", group), coef(m)[[group]])
  }
  tell(name, "fits", fitted(m))
  tell(name, "residuals", resid(m))
  tell(name, "X", getME(m, "X"))
  if (name %in% strsplit(commandArgs(TRUE)[2], ",")[[1]])
    tell(name, "kr", summary(m, ddf = "Kenward-Roger")$coefficients)
  if (name %in% strsplit(commandArgs(TRUE)[3], ",")[[1]]) {
    new <- read("new")
    tell(name, "population", predict(m, new, re.form = NA))
    tell(name, "conditional", predict(m, new))
  }
}
d <- read("holes")
tell("holes", "profile", confint(lmer(y ~ x + (1 | g), d), method = "profile", oldNames = FALSE, quiet = TRUE))
"""


def new_rows() -> pd.DataFrame:
    """Return rows that the fits have not seen: one condition alone, doses in another order, known groups."""
    frame = trial(seed=8).iloc[:9]
    return frame.assign(cond=["b", "a"] * 4 + ["b"], dose=["high", "high", "mid"] * 3, g=[5, 120, 100] * 3, h="i10")


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> dict[tuple[str, str], pd.DataFrame]:
    """What R says of every case: (case, quantity) to a frame of text or numbers."""
    folder = tmp_path_factory.mktemp("reference")
    for name in ("trial", "holes", "odd"):
        DATA[name]().to_csv(folder / f"{name}.csv", index=False)
    new_rows().to_csv(folder / "new.csv", index=False)
    rows = [(k, c.formula.replace(" batch / cask", " batch/cask"), c.data, c.r and f", {c.r}") for k, c in CASES.items()]
    pd.DataFrame(rows, columns=["name", "formula", "data", "r"]).to_csv(folder / "cases.csv", index=False)
    script = folder / "reference.R"
    script.write_text(SCRIPT)
    command = ["Rscript", "--vanilla", str(script), str(folder), ",".join(KENWARD_ROGER), ",".join(NEW_ROWS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = ["case", "quantity", "row", "column", "value"]
    long = pd.read_csv(StringIO(done.stdout), names=names, dtype=str, keep_default_na=False)
    found = {}
    for key, part in long.groupby(["case", "quantity"], sort=False):
        columns = list(part["column"].unique())
        n = len(part) // len(columns)
        wide = pd.DataFrame(part["value"].to_numpy().reshape(-1, n).T, index=list(part["row"][:n]), columns=columns)
        numeric = key[1] not in ("said", "optimizer", "variances")
        found[key] = wide.replace("NA", "nan").astype(float) if numeric else wide
    return found


@cache
def fitted(case: str) -> Lmer:
    """Return a case fitted once for the whole file; tests only read it."""
    spec = CASES[case]
    model = Lmer(spec.formula, DATA[spec.data](), **spec.given)
    model.fit(summarize=False, no_warnings=True, **spec.fit)
    return model


def close(found, expected, rtol=SAME, scale=None):
    """Compare to `rtol` of the size of the whole, since single numbers may be zero."""
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    assert found.shape == expected.shape
    assert (np.isnan(found) == np.isnan(expected)).all()
    size = scale if scale is not None else np.nanmax(np.abs(expected), initial=1e-12)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * size)


def frames(value) -> list[pd.DataFrame]:
    return value if isinstance(value, list) else [value]
