"""Tests of terms by `Lmer` and by lmerTest, quantity by quantity; the numbers of lmerTest are those of `anova.csv`."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from pymer4 import Lmer

from .mixed import Row, read_rows
from .quantities import Pair, pair

MODELS, CONTESTS = read_rows("anova_models.csv"), read_rows("anova_contrasts.csv")


def contest(row: Row, model: Lmer) -> pd.DataFrame:
    """Return the table of contrasts of the means of a factor that a row asks for."""
    halves = (part.partition(":") for part in row.contrasts.split("|"))
    weights = {name: [float(weight) for weight in values.split(";")] for name, _, values in halves}
    return model.emmeans(row.variable, contrasts=weights, adjust="none", ddf=row.ddf)[1]


def ddfs(case: str) -> tuple[str, ...]:
    """Return the kinds of denominator df that a model was asked for."""
    return ("Satterthwaite", "Kenward-Roger") if MODELS[case].kenward_roger else ("Satterthwaite",)


def term_pairs(table: pd.DataFrame, expected: pd.DataFrame) -> Iterator[Pair]:
    """Yield the quantities of a table of F tests."""
    yield pair("sums of squares", table[["SS", "MS"]], expected[["Sum Sq", "Mean Sq"]])
    yield pair("numerator df", table["NumDF"], expected["NumDF"])
    yield pair("df", table["DenomDF"], expected["DenDF"])
    yield pair("F", table["F-stat"], expected["F value"])
    yield pair("p", table["P-val"], expected["Pr(>F)"], 1 - expected["Pr(>F)"])


def random_pairs(table: pd.DataFrame, expected: pd.DataFrame) -> Iterator[Pair]:
    """Yield the quantities of a table of likelihood-ratio tests of random effects."""
    yield pair("log-likelihood, AIC", table[["log-likelihood", "AIC"]], expected[["logLik", "AIC"]])
    yield pair("chi-square", table["Chisq"], expected["LRT"], 1)
    yield pair("parameters", table[["npar", "Df"]], expected[["npar", "Df"]])
    yield pair("p of random effects", table["P-val"], expected["Pr(>Chisq)"], 1 - expected["Pr(>Chisq)"])


def mean_pairs(table: pd.DataFrame, expected: pd.DataFrame) -> Iterator[Pair]:
    """Yield the quantities of a table of means, of their differences, or of contests."""
    names = {"Std. Error": "se", "t value": "t"} if "Std. Error" in expected else {}
    expected = expected.rename(columns=names)
    p = next(name for name in expected if name.startswith("Pr("))
    yield pair("means and contrasts", table["Estimate"], expected["Estimate"], expected["se"])
    yield pair("their standard errors", table["SE"], expected["se"])
    yield pair("their df", table["DF"], expected["df"])
    yield pair("their limits", table[["2.5_ci", "97.5_ci"]], expected[["lower", "upper"]], expected[["se"]])
    if "T-stat" in table:
        yield pair("their t", table["T-stat"], expected["t"], 1)
        yield pair("their p", table["P-val"], expected[p], 1 - expected[p])
