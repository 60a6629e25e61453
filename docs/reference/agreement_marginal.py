"""Marginal means of `Lm` beside R's emmeans, for the page agreement_marginal.md: data sets, families, adjustments."""

from __future__ import annotations

import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import pandas as pd

from pymer4 import Lm, load_dataset
from pymer4.infer.grids import Family


class Fit(NamedTuple):
    """A data set, a formula for patsy and for R, a family, and the means asked for."""

    data: str
    formula: str
    in_r: str
    family: str
    specs: str
    by: str


FITS = (
    Fit("pigs", "np.log(conc) ~ source + C(percent)", "log(conc) ~ source + factor(percent)", "", "percent", "source"),
    Fit("pigs", "conc ~ source * percent", "conc ~ source * percent", "", "source", ""),
    Fit("warpbreaks", "breaks ~ wool * tension", "breaks ~ wool * tension", "", "tension", "wool"),
    Fit("warpbreaks", "breaks ~ wool * tension", "breaks ~ wool * tension", "poisson", "tension", "wool"),
    Fit("Oats", "Q('yield') ~ Variety + C(nitro) + Block", "yield ~ Variety + factor(nitro) + Block", "", "nitro", ""),
    Fit("oranges", "sales1 ~ price1 + day + store", "sales1 ~ price1 + day + store", "", "day", ""),
    Fit("nutrition", "gain ~ (age + group + race)**2", "gain ~ (age + group + race)^2", "", "race", "group"),
    Fit("fiber", "strength ~ diameter + machine", "strength ~ diameter + machine", "", "machine", ""),
    Fit("ToothGrowth", "len ~ supp * C(dose)", "len ~ supp * factor(dose)", "", "dose", "supp"),
)
ADJUSTMENTS = (
    "none",
    "tukey",
    "scheffe",
    "sidak",
    "bonferroni",
    "holm",
    "hochberg",
    "hommel",
    "BH",
    "BY",
    "dunnettx",
    "mvt",
)
_SCRIPT = r"""
suppressMessages(library(emmeans))
folder <- commandArgs(TRUE)[1]
lines <- strsplit(readLines(file.path(folder, "fits")), "\t")
for (i in seq_along(lines)) {
  line <- lines[[i]]
  d <- read.csv(file.path(folder, paste0(line[1], ".csv")), stringsAsFactors = TRUE)
  for (told in strsplit(strsplit(line[6], ";")[[1]], "=|,")) d[[told[1]]] <- factor(d[[told[1]]], told[-1])
  f <- as.formula(line[2])
  m <- if (line[3] == "-") lm(f, d) else glm(f, line[3], d, epsilon = 1e-14, maxit = 100)
  means <- suppressMessages(emmeans(m, line[4], by = if (line[5] != "-") line[5]))
  say <- function(what, adjust, s, names) {
    numbers <- unlist(lapply(names, function(n) s[[n]]))
    cat(i, what, adjust, sprintf("%.17g", numbers), sep = "\t")
    cat("\n")
  }
  s <- summary(means)
  say("means", "none", s, c(attr(s, "estName"), "SE", "df"))
  for (method in FAMILIES) for (adjust in ADJUSTMENTS) {
    set.seed(1)
    s <- suppressMessages(summary(contrast(means, method, adjust = adjust), infer = TRUE))
    say(method, adjust, s, c(attr(s, "estName"), "SE", attr(s, "clNames"), "p.value"))
  }
}
"""


@cache
def compared() -> pd.DataFrame:
    """Return the largest differences, a row a fit, a family of contrasts, and an adjustment."""
    rows = []
    for (place, what, adjust), theirs in _asked().items():
        fit = FITS[place]
        contrasts = None if what == "means" else what
        found = _fitted(fit).emmeans(fit.specs, fit.by or None, contrasts=contrasts, adjust=adjust, type="link")
        table = found[0 if contrasts is None else 1]
        ends = [name for name in table if name.endswith("_ci")]
        numbers = table[["Estimate", "SE", *(["DF"] if contrasts is None else [*ends, "P-val"])]].to_numpy(dtype=float)
        with np.errstate(invalid="ignore"):
            apart = np.abs(numbers - theirs.reshape(numbers.shape[1], -1).T)
        scale = _largest(np.abs(numbers[:, :2]))
        row = {"data": fit.data, "formula": fit.in_r, "quantity": what, "adjust": adjust if contrasts else ""}
        row |= {"estimates, SE": _largest(apart[:, :2]) / scale}
        if contrasts is not None:
            reach = (numbers[:, 3] - numbers[:, 2])[:, None]
            row |= {"limits": _largest(apart[:, 2:4] / reach), "p": _largest(apart[:, 4])}
        rows.append(row)
    return pd.DataFrame(rows)


def _largest(numbers: np.ndarray) -> float:
    """Return the largest number, NaN where there is none."""
    return np.fmax.reduce(numbers, axis=None)


@cache
def _fitted(fit: Fit) -> Lm:
    model = Lm(fit.formula, load_dataset(fit.data), family=fit.family or "gaussian")
    model.fit(summarize=False)
    return model


def _asked() -> dict[tuple[int, str, str], np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        for name in {fit.data for fit in FITS}:
            load_dataset(name).to_csv(Path(folder) / f"{name}.csv", index=False, float_format="%.17g")
        lines = ["\t".join([f.data, f.in_r, f.family or "-", f.specs, f.by or "-", _factors(f.data)]) for f in FITS]
        (Path(folder) / "fits").write_text("\n".join(lines) + "\n")
        script = _SCRIPT.replace("FAMILIES", f"c{get_args(Family)}").replace("ADJUSTMENTS", f"c{ADJUSTMENTS}")
        (Path(folder) / "ask.R").write_text(script)
        command = ["Rscript", "--vanilla", str(Path(folder) / "ask.R"), folder]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    parts = [line.split("\t") for line in told.splitlines()]
    return {(int(i) - 1, what, adjust): np.array([float(n) if n != "NA" else np.nan for n in numbers]) for i, what, adjust, *numbers in parts}  # fmt: skip # noqa: E501


def _factors(name: str) -> str:
    factors = load_dataset(name).select_dtypes("category")
    return ";".join(f"{factor}={','.join(map(str, factors[factor].cat.categories))}" for factor in factors)


def by_data() -> pd.DataFrame:
    """Return the largest differences of each fit, over families, with p not adjusted."""
    table = compared()
    plain = table[table["adjust"].isin(["", "none"])]
    return plain.groupby(["data", "formula"], sort=False)[["estimates, SE", "limits", "p"]].max().reset_index()


def by_adjustment() -> pd.DataFrame:
    """Return the largest differences of each adjustment, over all fits and families."""
    table = compared()
    return table[table["adjust"] != ""].groupby("adjust", sort=False)[["limits", "p"]].max().reset_index()
