"""The vocabulary of every public table, and the functions that build them.

This is the one place that spells a public column name. Tables hold full
precision; only `rounded` makes a copy for the eye.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

ESTIMATE = "Estimate"
SE = "SE"
DF = "DF"
T_STAT = "T-stat"
Z_STAT = "Z-stat"
ODDS_RATIO = "OR"
PROBABILITY = "Prob"
P_VAL = "P-val"
PERM_P_VAL = "Perm-P-val"
NUM_PERM = "Num_perm"
SIG = "Sig"
NAME = "Name"
VARIANCE = "Var"
STD = "Std"
CORRELATION = ("IV1", "IV2", "Corr")
FITS = "fits"
RESIDUALS = "residuals"

_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"), (0.1, "."))


def limit_columns(level: float) -> tuple[str, str]:
    """Return the names of the two interval columns, such as `("2.5_ci", "97.5_ci")` for a level of 0.95."""
    return tuple(f"{percent}_ci" for percent in _percents(level))


def stars(p: Sequence[float]) -> list[str]:
    """Return R's significance stars; an empty text where p is missing."""
    return [next((mark for bound, mark in _STARS if value <= bound), "") for value in p]


def mixed_coefs(
    fixed: pd.DataFrame, level: float, family: str = "gaussian", link: str = "identity", n_permuted: int = 0
) -> pd.DataFrame:
    """Return the coefficient table of a mixed model.

    Linear models have df. Families with a scale of their own have t, the others z. Binomial models
    have odds ratios, exp(Estimate), and `Prob`, plogis(Estimate); NaN unless the link is logit.

    Args:
        fixed: one row a term, with columns estimate, lower, upper, se, df, statistic and p.
        level: confidence level of `lower` and `upper`.
        family: error distribution.
        link: its link.
        n_permuted: number of permutations that p comes from; it stands where df would.
    """
    lower, upper = limit_columns(level)
    columns: dict[str, pd.Series] = {ESTIMATE: fixed["estimate"], lower: fixed["lower"], upper: fixed["upper"]}
    columns[SE] = fixed["se"]
    if family == "binomial":
        columns |= _odds(fixed, (lower, upper), link)
    if n_permuted:
        columns[NUM_PERM] = pd.Series(n_permuted, index=fixed.index)
    elif (family, link) == ("gaussian", "identity"):
        columns[DF] = fixed["df"]
    columns[Z_STAT if family in ("binomial", "poisson", "nbinom") else T_STAT] = fixed["statistic"]
    columns[PERM_P_VAL if n_permuted else P_VAL] = fixed["p"]
    columns[SIG] = pd.Series(stars(fixed["p"]), index=fixed.index, dtype=object)
    return pd.DataFrame(columns, index=fixed.index.astype(object))


def _odds(fixed: pd.DataFrame, limits: tuple[str, str], link: str) -> dict[str, pd.Series]:
    values = fixed[["estimate", "lower", "upper"]] * (1.0 if link == "logit" else np.nan)
    names = ("", f"_{limits[0]}", f"_{limits[1]}")
    odds = {f"{ODDS_RATIO}{name}": np.exp(values[column]) for name, column in zip(names, values, strict=True)}
    return odds | {key.replace(ODDS_RATIO, PROBABILITY, 1): 1 / (1 + 1 / ratio) for key, ratio in odds.items()}


def variance_table(variances: pd.DataFrame) -> pd.DataFrame:
    """Return the random-effects variances, one row a term, indexed by grouping factor."""
    names = ["" if pd.isna(term) else term for term in variances["term"]]
    return pd.DataFrame(
        {
            NAME: pd.array(names, dtype=object),
            VARIANCE: variances["variance"].to_numpy(),
            STD: variances["sd"].to_numpy(),
        },
        index=pd.Index(list(variances["group"]), dtype=object),
    )


def correlation_table(correlations: pd.DataFrame) -> pd.DataFrame | None:
    """Return the random-effects correlations, indexed by grouping factor; None where there is none."""
    if correlations.empty:
        return None
    values = (
        correlations[c].to_numpy(dtype=kind)
        for c, kind in (("first", object), ("second", object), ("correlation", float))
    )
    index = pd.Index(list(correlations["group"]), dtype=object)
    return pd.DataFrame(dict(zip(CORRELATION, values, strict=True)), index=index)


def group_coefficients(estimates: pd.Series, ranef: pd.DataFrame) -> pd.DataFrame:
    """Return each group's coefficients: the population's estimate plus the group's deviation.

    A term that varies between groups but has no fixed part stands first, as in R's `coef`.

    Args:
        estimates: fixed effects, one value a term.
        ranef: deviations, one row a group, one column a term.
    """
    extra = [term for term in ranef.columns if term not in estimates.index]
    terms = [*extra, *estimates.index]
    values = pd.DataFrame(0.0, index=ranef.index, columns=pd.Index(terms, dtype=object))
    values[list(estimates.index)] = np.tile(estimates.to_numpy(dtype=float), (len(ranef), 1))
    values[list(ranef.columns)] += ranef.to_numpy()
    return values


def confint_table(lower: np.ndarray, upper: np.ndarray, names: Sequence[str], level: float) -> pd.DataFrame:
    """Return confidence limits of all parameters under R's column names, such as `2.5 %`."""
    low, high = (f"{percent} %" for percent in _percents(level))
    return pd.DataFrame({low: lower, high: upper}, index=pd.Index(list(names), dtype=object))


def simulation_table(draws: np.ndarray, index: pd.Index) -> pd.DataFrame:
    """Return simulated responses, one column `sim_1`, `sim_2`, ... a dataset."""
    return pd.DataFrame(draws, index=index, columns=[f"sim_{i + 1}" for i in range(draws.shape[1])])


def rounded(table: pd.DataFrame, places: int = 3) -> pd.DataFrame:
    """Return a copy for the eye, numbers rounded."""
    return table.round(places)


def lifted(statistics: Mapping[str, float], places: int = 3) -> str:
    """Return named numbers as one line of text."""
    return "   ".join(f"{name}: {value:.{places}f}" for name, value in statistics.items())


def _percents(level: float) -> tuple[str, str]:
    tail = 50 * (1 - level)
    return f"{round(tail, 6):g}", f"{round(100 - tail, 6):g}"
