"""Likelihood-ratio tests of regressions beside mixed models and beside each other, with R's `anova` as the judge."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from against_r import ask, inside
from samples import fitted, regression, trial
from scipy import stats

from pymer4 import Lm, Lmer, compare, lrt
from pymer4.errors import ModelWarning

SAME = 1e-7  # a log-likelihood at the optimum of lme4's optimizer, by the same steps on the same machine
COLUMNS = ["model", "npar", "AIC", "BIC", "log-likelihood", "deviance", "Chisq", "Df", "P-val", "Sig"]


def rows() -> pd.DataFrame:
    """Return the trial with two gaps in x."""
    frame = trial()
    frame.loc[[4, 50], "x"] = np.nan
    return frame


class Case(NamedTuple):
    """Two models of one outcome, with and without groups."""

    outcome: str
    family: str = "gaussian"
    weights: str | None = None
    offset: str | None = None
    fit: dict = {}  # noqa: RUF012

    def code(self, right: str) -> str:
        """Return what fits one of them in R."""
        mixed = "|" in right
        named = {"weights": self.weights, "offset": self.offset, **(self.fit if mixed else {})}
        how = "".join(f", {name} = {value}" for name, value in named.items() if value is not None)
        formula = f"{self.outcome} ~ {right}, data = d{how}"
        if self.family == "gaussian":
            return f"lmer({formula}, REML = FALSE)" if mixed else f"lm({formula})"
        if self.family == "nbinom":
            return f"glmer.nb({formula})" if mixed else f"MASS::glm.nb({formula})"
        return f"{'glmer' if mixed else 'glm'}({formula}, family = {self.family})"


CASES = {
    "gaussian": Case("y"),
    "weights": Case("y", weights="w"),
    "offset": Case("y", offset="o"),
    "logarithm": Case("log(pos)"),
    "binary": Case("yes", "binomial"),
    "binary, nAGQ=0": Case("yes", "binomial", fit={"nAGQ": 0}),
    "successes": Case("cbind(hits, trials - hits)", "binomial"),
    "shares": Case("share", "binomial", weights="trials"),
    "counts": Case("count", "poisson", offset="o"),
    "crowds": Case("spread", "nbinom"),
}


def both(case: Case) -> tuple[Lm, Lmer]:
    given, weights = {"family": case.family, "offset": case.offset}, case.weights and rows()[case.weights]
    plain = regression(f"{case.outcome.replace('log(', 'np.log(')} ~ x", rows(), given=given, weights=weights)
    return plain, fitted(f"{case.outcome} ~ x + (1 | g)", rows(), given=given | {"weights": case.weights}, **case.fit)


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    """R's `anova` of each case: npar, AIC, BIC, logLik, Chisq, Df and p, two rows."""
    names = ["x", "o", "w", "g", "y", "pos", "yes", "hits", "trials", "share", "count", "spread"]
    lines = [f"library(lme4); d <- data.frame({', '.join(names)}); d$g <- factor(d$g)"]
    for i, case in enumerate(CASES.values()):
        lines.append(
            f"""a <- {case.code("x")}; b <- suppressMessages(suppressWarnings({case.code("x + (1 | g)")}))
            t <- suppressMessages(anova(b, a, refit = FALSE))
            answer$case{i} <- as.matrix(t[, c("npar", "AIC", "BIC", "logLik", "Chisq", "Df", "Pr(>Chisq)")])"""
        )
    return ask("\n".join(lines), **rows()[names])


@pytest.mark.r
@pytest.mark.parametrize("name", CASES)
def test_a_regression_beside_a_mixed_model_is_r_s_anova(name, expected):
    plain, mixed = both(CASES[name])
    table, wanted = compare(mixed, plain), expected[f"case{list(CASES).index(name)}"]
    assert list(table.columns) == COLUMNS and list(table.index) == [0, 1]
    assert list(table["model"]) == [plain.formula, mixed.formula]
    # Both engines stop within 1e-4 of the optimum of theta, where the likelihood is flat to 1e-6 of itself.
    rtol = 2e-6 if name == "crowds" else SAME
    np.testing.assert_allclose(table[["npar", "AIC", "BIC", "log-likelihood", "Df"]], wanted[:, [0, 1, 2, 3, 5]], rtol)
    np.testing.assert_allclose(table["deviance"], -2 * wanted[:, 3], rtol)
    np.testing.assert_allclose(table.loc[1, "Chisq"], wanted[1, 4], atol=rtol * 2 * abs(wanted[:, 3]).sum())
    np.testing.assert_allclose(table.loc[1, "P-val"], wanted[1, 6], rtol=1e-3)
    assert table.loc[0, "Sig"] == "" and lrt([plain, mixed]).equals(table)


# ------------------------------------------------------------------ mixed models beside each other

_ANOVA = """function(refit, ...) {
  models <- setNames(list(...), letters[seq_len(...length())])
  call <- parse(text = sprintf("anova(%s, refit = refit)", toString(names(models))))
  as.list(suppressMessages(eval(call, models)))
}"""
SLEEP = [f"Reaction ~ {right} | Subject)" for right in ("1 + (1", "Days + (1", "Days + (Days", "poly(Days, 3) + (Days")]
WEIGHTED, ML, CONTROL = {"given": {"weights": "w"}}, {"REML": False}, {"control": "optimizer = 'bobyqa'"}
HITS = {"given": {"family": "binomial"}}
COUNTS = {"given": {"family": "poisson"}, "nAGQ": 0}
MIXED = {
    "linear": [(formula, {}) for formula in SLEEP],
    "unsorted": [(SLEEP[2], {}), (SLEEP[0], {})],
    "random": [(formula, {}) for formula in SLEEP[1:3]],
    "mixed methods": [(SLEEP[1], {}), (SLEEP[2], ML)],
    "weighted": [(formula, WEIGHTED) for formula in SLEEP[:2]],
    "control": [(formula, CONTROL) for formula in SLEEP[1:3]],
    "binomial": [(f"cbind(hits, trials - hits) ~ {right} + (1 | g)", HITS) for right in ("1", "x")],
    "poisson": [(f"count ~ {right} + (1 | g)", COUNTS) for right in ("x", "x * z")],
}


@pytest.mark.r
@pytest.mark.parametrize("name", MIXED)
def test_mixed_models_beside_each_other_are_r_s_anova(name, sleep):
    data = None if name in ("binomial", "poisson") else sleep.assign(w=np.tile([1.0, 2.0, 0.5, 1.5], 45))
    models = [fitted(formula, data, **how) for formula, how in MIXED[name]]
    refit = name != "random"
    table, told = compare(*models, refit=refit), inside(_ANOVA, refit, *(model.model_obj for model in models))
    assert list(table.columns) == COLUMNS and list(table.index) == list(range(len(models)))
    wanted = np.array(list(told.values()), dtype=float).T
    np.testing.assert_allclose(table[COLUMNS[1:8]].astype(float), wanted[:, :7], rtol=1e-6)
    np.testing.assert_allclose(table["P-val"], wanted[:, 7], 1e-4, 1e-6)
    np.testing.assert_allclose(table["P-val"], stats.chi2.sf(table["Chisq"], table["Df"]), 1e-10)
    assert sorted(table["model"]) == sorted(model.formula for model in models)
    assert table.loc[0, "Sig"] == "" and all(isinstance(mark, str) for mark in table["Sig"])
    assert lrt(models, refit).equals(table)


@pytest.mark.r
def test_contrasts_and_families_do_not_keep_models_apart():
    smaller, plain, coded = (
        fitted(f"y ~ {right} + (1 | g)", factors=factors)
        for right, factors in (("x", None), ("x + cond", None), ("x + cond", {"cond": {"a": 1, "b": -0.5, "C": -0.5}}))
    )
    numbers = COLUMNS[1:9]
    np.testing.assert_allclose(compare(smaller, coded)[numbers], compare(smaller, plain)[numbers], 1e-6)
    crowds = [fitted("spread ~ x + (1 | g)", given={"family": each}, nAGQ=0) for each in ("poisson", "nbinom")]
    assert compare(*crowds)["npar"].to_list() == [3, 4]


@pytest.mark.r
def test_restricted_likelihoods_of_other_fixed_parts_are_warned_of(sleep):
    models = [fitted(formula, sleep) for formula in SLEEP[:2]]
    with pytest.warns(ModelWarning, match="different fixed parts") as told:
        compare(*models, refit=False)
    assert told[0].filename == __file__
    with pytest.warns(ModelWarning, match="some not") as told:
        lrt([models[0], fitted(SLEEP[1], sleep, REML=False)], refit=False)
    assert told[0].filename == __file__


@pytest.mark.r
def test_models_that_are_not_nested_are_warned_of():
    models = [fitted(f"y ~ {right} + (1 | g)", REML=False) for right in ("x", "cond")]
    with pytest.warns(ModelWarning, match="lower likelihood"):
        table = compare(*models)
    assert table.loc[1, "Chisq"] == 0 and table.loc[1, "P-val"] == 1


@pytest.mark.r
def test_a_fit_by_ml_needs_no_other():
    plain, by_ml, restricted = regression("y ~ x"), *(fitted("y ~ x + (1 | g)", REML=REML) for REML in (False, True))
    pd.testing.assert_frame_equal(compare(plain, by_ml, refit=False), compare(plain, restricted), rtol=1e-6)


# ------------------------------------------------------------------ regressions beside each other


def test_regressions_wake_no_r():
    code = """
import sys, numpy as np, pandas as pd
from pymer4 import Lm, compare
d = pd.DataFrame({"y": [1.0, 2, 4, 3, 6], "x": [0.0, 1, 2, 3, 4]})
models = [Lm("y ~ 1", d), Lm("y ~ x", d)]
[m.fit(summarize=False) for m in models]
assert list(compare(*models)["npar"]) == [2, 3]
assert not any(name.startswith("rpy2") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_robust_errors_play_no_part_and_that_is_said_once():
    models = [regression("y ~ x", robust="hc3"), regression("y ~ x + z", robust="hc1"), regression("y ~ x + z + w")]
    with pytest.warns(ModelWarning, match=r"'y ~ x' \(hc3\), 'y ~ x \+ z' \(hc1\)") as told:
        table = compare(*models)
    assert len(told) == 1 and told[0].filename == __file__
    pd.testing.assert_frame_equal(table, compare(*(regression(model.formula) for model in models)))


def test_an_offset_may_be_what_a_coefficient_is_held_to():
    free, held = regression("y ~ x + o"), regression("y ~ x", given={"offset": "o"})
    row = compare(free, held).loc[1]
    t = (free.coefs.loc["o", "Estimate"] - 1) / free.coefs.loc["o", "SE"]
    assert row["Df"] == 1
    np.testing.assert_allclose(row["Chisq"], len(trial()) * np.log1p(t**2 / (len(trial()) - 3)), 1e-9)


def test_rows_may_come_in_another_order_and_under_other_labels():
    shuffled = trial().sample(frac=1, random_state=3)
    first, same = regression("y ~ x"), regression("y ~ x + z")
    for frame in (shuffled, shuffled.reset_index(drop=True), shuffled.set_index(np.zeros(len(shuffled)))):
        other = regression("y ~ x + z", frame, weights=np.ones(len(frame)))
        np.testing.assert_allclose(compare(first, other)["Chisq"][1], compare(first, same)["Chisq"][1], 1e-9)
