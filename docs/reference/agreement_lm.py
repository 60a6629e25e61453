"""`Lm` beside R, for the page agreement_lm.md: every formula with every covariance, with and without weights."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from pymer4 import Lm

# Terms of numbers alone come after those of groups in patsy, whatever the order they are written in.
FORMULAS = {
    "y ~ x + z": "y ~ x + z",
    "y ~ x * g": "y ~ g * x",
    "y ~ C(g, Sum) + x": "y ~ C(g, sum) + x",
    "y ~ x + I(x**2)": "y ~ x + I(x^2)",
    "y ~ 0 + g + z": "y ~ 0 + g + z",
    "np.log(y) ~ z + g:x": "log(y) ~ z + g:x",
}
KINDS = ("iid", "hc0", "hc1", "hc2", "hc3", "hac", "cluster")
_SCRIPT = """
suppressMessages(library(sandwich))
folder <- commandArgs(TRUE)[1]
d <- read.csv(file.path(folder, "data.csv"), stringsAsFactors = TRUE)
for (line in readLines(file.path(folder, "formulas"))) for (weighted in c(FALSE, TRUE)) {
  m <- if (weighted) lm(as.formula(line), d, weights = w) else lm(as.formula(line), d)
  V <- list(iid = vcov(m), hc0 = vcovHC(m, "HC0"), hc1 = vcovHC(m, "HC1"), hc2 = vcovHC(m, "HC2"),
    hc3 = vcovHC(m, "HC3"), hac = NeweyWest(m, lag = 2, prewhite = FALSE, adjust = FALSE),
    cluster = vcovCL(m, cluster = d$family, type = "HC1", cadjust = TRUE))
  for (kind in names(V)) {
    se <- sqrt(diag(V[[kind]]))
    df <- if (kind == "cluster") nlevels(d$family) - length(se) else m$df.residual
    p <- 2 * pt(-abs(coef(m) / se), df)
    cat(line, weighted, kind, sprintf("%.17g", c(coef(m), se, p, AIC(m), logLik(m))), sep = "\\t", fill = FALSE)
    cat("\\n")
  }
}
"""


def data() -> pd.DataFrame:
    """Return 240 rows with three groups and forty families."""
    rng = np.random.default_rng(11)
    frame = pd.DataFrame(rng.normal(size=(240, 2)), columns=["x", "z"])
    frame["g"] = np.tile(list("abc"), 80)
    frame["family"] = [f"f{i:02d}" for i in np.arange(240) // 6]
    frame["w"] = rng.uniform(0.5, 2, 240)
    frame["y"] = np.exp(1 + 0.2 * frame["x"] - 0.1 * frame["z"] + 0.3 * rng.normal(size=240))
    return frame


def compared() -> pd.DataFrame:
    """Return the largest relative differences of all coefficients, a row a model."""
    frame, rows = data(), []
    for (formula, weighted, kind), theirs in _asked(frame).items():
        model = Lm(formula, frame)
        how = {"robust": False if kind == "iid" else kind}
        how |= {"hac": {"n_lags": 2}, "cluster": {"cluster": "family"}}.get(kind, {})
        model.fit(**how, weights=frame["w"] if weighted else None, summarize=False)
        table = model.coefs
        ours = np.r_[table["Estimate"], table["SE"], table["P-val"], model.AIC, model.logLike]
        apart = np.abs(ours - theirs) / np.abs(theirs)
        k = len(table)
        parts = [apart[:k].max(), apart[k : 2 * k].max(), apart[2 * k : 3 * k].max(), apart[3 * k :].max()]
        rows.append([formula, "array" if weighted else "none", kind, ours[2 * k - 1], theirs[2 * k - 1], *parts])
    columns = ["formula", "weights", "vcov", "last SE", "R's", "estimates", "SE", "p", "AIC, logLik"]
    return pd.DataFrame(rows, columns=columns)


def _asked(frame: pd.DataFrame) -> dict[tuple[str, bool, str], np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        frame.to_csv(Path(folder) / "data.csv", index=False, float_format="%.17g")
        (Path(folder) / "formulas").write_text("\n".join(FORMULAS.values()) + "\n")
        (Path(folder) / "ask.R").write_text(_SCRIPT)
        command = ["Rscript", "--vanilla", str(Path(folder) / "ask.R"), folder]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    ours = {theirs: formula for formula, theirs in FORMULAS.items()}
    found = {}
    for line in told.splitlines():
        formula, weighted, kind, *numbers = line.split("\t")
        found[ours[formula], weighted == "TRUE", kind] = np.array([float(n) for n in numbers if n])
    return found
