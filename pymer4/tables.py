"""The vocabulary of every public table, and the functions that build them.

This is the one place that spells a public column name. Tables hold full
precision; only `rounded` makes a copy for the eye.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

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
SS = "SS"
MS = "MS"
NUM_DF = "NumDF"
DENOM_DF = "DenomDF"
F_STAT = "F-stat"
CHISQ = "Chisq"
CHISQ_DF = "Df"
CONTRAST = "Contrast"
CORRELATION = ("IV1", "IV2", "Corr")
ALL_FITS = ("Converged", "Max_abs_diff", "Max_rel_diff", "Messages")
FITS = "fits"
RESIDUALS = "residuals"

_COMPARED = ("model", "npar", "AIC", "BIC", "log-likelihood", "deviance")

_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"), (0.1, "."))


def limit_columns(level: float) -> tuple[str, str]:
    """Return the names of the two interval columns, such as `("2.5_ci", "97.5_ci")` for a level of 0.95."""
    lower, upper = (f"{percent}_ci" for percent in _percents(level))
    return lower, upper


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
    values = {name: fixed[name].to_numpy() for name in fixed.columns}
    columns: dict[str, object] = {ESTIMATE: values["estimate"], lower: values["lower"], upper: values["upper"]}
    columns[SE] = values["se"]
    if family == "binomial":
        columns |= _odds(values, (lower, upper), link)
    if n_permuted:
        columns[NUM_PERM] = np.full(len(fixed), n_permuted)
    elif (family, link) == ("gaussian", "identity"):
        columns[DF] = values["df"]
    columns[Z_STAT if family in ("binomial", "poisson", "nbinom") else T_STAT] = values["statistic"]
    columns[PERM_P_VAL if n_permuted else P_VAL] = values["p"]
    columns[SIG] = np.array(stars(values["p"]), dtype=object)
    return pd.DataFrame(columns, index=fixed.index.astype(object))


def _odds(values: Mapping[str, np.ndarray], limits: tuple[str, str], link: str) -> dict[str, np.ndarray]:
    known = 1.0 if link == "logit" else np.nan
    ends = (("", "estimate"), (f"_{limits[0]}", "lower"), (f"_{limits[1]}", "upper"))
    with np.errstate(divide="ignore", over="ignore"):
        odds = {f"{ODDS_RATIO}{name}": np.exp(known * values[column]) for name, column in ends}
        return odds | {key.replace(ODDS_RATIO, PROBABILITY, 1): 1 / (1 + 1 / ratio) for key, ratio in odds.items()}


def without_odds(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return a coefficient table without its odds ratios and probabilities, and these; None where it has none."""
    odds = [name for name in table.columns if str(name).partition("_")[0] in (ODDS_RATIO, PROBABILITY)]
    if not odds or table[odds].isna().all(axis=None):
        return table.drop(columns=odds), None
    return table.drop(columns=odds), table[odds]


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


def group_coefficients(estimates: pd.Series, ranef: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Return the coefficients of the groups of each grouping factor: the population's plus the group's deviation.

    As R's `coef` every frame has all terms, the fixed ones and those that vary between the groups of any factor. Those
    without a fixed part come first, and are 0 where they do not vary.

    Args:
        estimates: fixed effects, one value a term.
        ranef: deviations, one frame a factor, one row a group, one column a term.
    """
    extra = dict.fromkeys(term for frame in ranef for term in frame.columns if term not in estimates.index)
    terms = [*extra, *estimates.index]
    population = np.concatenate([np.zeros(len(extra)), estimates.to_numpy(dtype=float)])
    found = []
    for frame in ranef:
        values = np.tile(population, (len(frame), 1))
        values[:, [terms.index(term) for term in frame.columns]] += frame.to_numpy()
        found.append(pd.DataFrame(values, index=frame.index, columns=pd.Index(terms, dtype=object)))
    return found


def confint_table(lower: np.ndarray, upper: np.ndarray, names: Sequence[str], level: float) -> pd.DataFrame:
    """Return confidence limits of all parameters under R's column names, such as `2.5 %`."""
    low, high = (f"{percent} %" for percent in _percents(level))
    return pd.DataFrame({low: lower, high: upper}, index=pd.Index(list(names), dtype=object))


def simulation_table(draws: np.ndarray, index: pd.Index) -> pd.DataFrame:
    """Return simulated responses, one column `sim_1`, `sim_2`, ... a dataset."""
    return pd.DataFrame(draws, index=index, columns=[f"sim_{i + 1}" for i in range(draws.shape[1])])


def prediction_table(
    estimate: np.ndarray,
    se: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    level: float,
    index: pd.Index,
    attrs: Mapping[str, object],
) -> pd.DataFrame:
    """Return predictions with their limits, one a row; all arrays have shape (rows,)."""
    columns = zip((ESTIMATE, SE, *limit_columns(level)), (estimate, se, lower, upper), strict=True)
    table = pd.DataFrame(dict(columns), index=index)
    table.attrs |= attrs
    return table


def f_tests(found: pd.DataFrame) -> pd.DataFrame:
    """Return the F tests of model terms; columns ss, ms, df1, df2, f and p, one row a term."""
    names = {"ss": SS, "ms": MS, "df1": NUM_DF, "df2": DENOM_DF, "f": F_STAT, "p": P_VAL}
    return _with_stars(found[list(names)].rename(columns=names))


def chisq_tests(found: pd.DataFrame) -> pd.DataFrame:
    """Return the chi-square tests of model terms; columns chisq, df and p, one row a term."""
    names = {"chisq": CHISQ, "df": CHISQ_DF, "p": P_VAL}
    return _with_stars(found[list(names)].rename(columns=names))


def random_tests(found: pd.DataFrame) -> pd.DataFrame:
    """Return the tests of random-effects terms; columns npar, log_likelihood, AIC, chisq, df and p, one row a term."""
    names = {"npar": _COMPARED[1], "log_likelihood": _COMPARED[4], "AIC": _COMPARED[2]}
    names |= {"chisq": CHISQ, "df": CHISQ_DF, "p": P_VAL}
    table = _with_stars(found[list(names)].rename(columns=names))
    return table.astype({_COMPARED[1]: int})


def optimizer_table(found: Mapping[str, Any], attrs: Mapping[str, object]) -> pd.DataFrame:
    """Return the fits of one model by k optimizers, one a row.

    Args:
        found: `optimizers`, log_likelihood, converged and messages, each of length k; `terms`; coefficients, shape
            (k, terms), NaN where a fit failed. A term with the name of a column of ours has another, as variables do in
            `marginal_estimates`.
        attrs: what else is to be said of them; `best` is added: the first whose likelihood is the highest, or within
            1e-6 of it, by which optimizers stop apart.
    """
    coefficients, likelihood = np.asarray(found["coefficients"], dtype=float), np.asarray(found["log_likelihood"])
    best = None if np.isnan(likelihood).all() else int(np.argmax(likelihood >= np.nanmax(likelihood) - 1e-6))
    apart = np.abs(coefficients - (np.nan if best is None else coefficients[best]))
    size = np.abs(coefficients[best]) if best is not None else 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(apart == 0, 0.0, apart / size)
    widest = [part.max(axis=1, initial=0.0) for part in (apart, relative)]
    columns = [likelihood, np.asarray(found["converged"], dtype=bool), *widest]
    columns += [pd.array(found["messages"], dtype=object), *coefficients.T]
    table = pd.DataFrame(dict(enumerate(columns)), index=pd.Index(found["optimizers"], dtype=object))
    ours = [_COMPARED[4], *ALL_FITS]
    terms = _apart(found["terms"], ours)
    table.columns = pd.Index([*ours, *terms.values()], dtype=object)
    _renamed(table, terms).attrs |= {"best": None if best is None else found["optimizers"][best], **attrs}
    return table


def comparison_table(models: Sequence[Any], chisq: np.ndarray, df: np.ndarray, p: np.ndarray) -> pd.DataFrame:
    """Return the comparison of k models, each tested against the one above it.

    Args:
        models: k records with formula, n_parameters, AIC, BIC and log_likelihood, in the order of the rows.
        chisq: statistics, shape (k - 1,).
        df: their df, shape (k - 1,).
        p: their p, shape (k - 1,).
    """
    rows = [(m.formula, m.n_parameters, m.AIC, m.BIC, m.log_likelihood, -2 * m.log_likelihood) for m in models]
    columns = dict(zip(_COMPARED, zip(*rows, strict=True), strict=True))
    columns |= {name: np.r_[np.nan, values] for name, values in ((CHISQ, chisq), (CHISQ_DF, df), (P_VAL, p))}
    columns[_COMPARED[0]] = pd.Series(columns[_COMPARED[0]], dtype=object)
    columns[SIG] = pd.Series(stars(columns[P_VAL]), dtype=object)
    return pd.DataFrame(columns)


def marginal_estimates(found: Mapping[str, Any], level: float) -> pd.DataFrame:
    """Return marginal means or slopes, one a row.

    A variable that has the name of a column of ours is in one with another name, which `attrs["columns"]` tells.

    Args:
        found: `labels`, the values of each variable; `values`: estimate, lower, upper, se and df.
        level: confidence level of `lower` and `upper`.
    """
    return _numbered(found["labels"], _estimated(found["values"], level), _marginal(level))


def marginal_contrasts(found: Mapping[str, Any], level: float) -> pd.DataFrame:
    """Return contrasts of marginal means or slopes, one a row, columns named as those of the estimates.

    Args:
        found: `contrast`, what they are called; `labels`, the values of each variable that they are made by; `values`
            as those of estimates, with statistic and p as well; `z`, whether the statistic is one.
        level: confidence level of the limits.
    """
    values = found["values"]
    columns = [*_estimated(values, level), (Z_STAT if found["z"] else T_STAT, values["statistic"])]
    table = _numbered(found["labels"], [*columns, *_tested(values["p"])], _marginal(level))
    table.insert(0, CONTRAST, pd.array(found["contrast"], dtype=object))
    return table


def joint_table(found: Mapping[str, Any], linear: bool) -> pd.DataFrame:
    """Return joint tests of model terms, one a row; names of columns as in `marginal_estimates`.

    Args:
        found: `terms`; `labels`, the values of each variable that tests are made by; `values`: df1, df2, f, chisq, p.
        linear: whether they are F tests; else chi-square tests.
    """
    values = found["values"]
    kinds = {NUM_DF: "df1", DENOM_DF: "df2", F_STAT: "f"} if linear else {CHISQ: "chisq", CHISQ_DF: "df1"}
    tests = [*((name, values[key]) for name, key in kinds.items()), *_tested(values["p"])]
    table = _numbered(found["labels"], tests, [name for name, _ in tests])
    table.index = pd.Index(found["terms"], dtype=object)
    return table


def _marginal(level: float) -> tuple[str, ...]:
    """Return the columns that tables of marginal means and of their contrasts have of their own."""
    return (CONTRAST, ESTIMATE, *limit_columns(level), SE, DF, T_STAT, Z_STAT, P_VAL, SIG)


def _estimated(values: Mapping[str, np.ndarray], level: float) -> list[tuple[str, np.ndarray]]:
    names = (ESTIMATE, *limit_columns(level), SE, DF)
    return list(zip(names, (values[key] for key in ("estimate", "lower", "upper", "se", "df")), strict=True))


def _tested(p: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [(P_VAL, p), (SIG, np.array(stars(p), dtype=object))]


def _numbered(
    variables: Mapping[str, Any] | None, columns: Sequence[tuple[str, Any]], taken: Sequence[str]
) -> pd.DataFrame:
    """Return a table with the index "1", "2", .., first the variables of the user, under names not yet taken."""
    variables = variables or {}
    names = _apart(variables, taken)
    values = [*variables.values(), *(column for _, column in columns)]
    index = pd.Index([str(i + 1) for i in range(len(values[-1]))], dtype=object)
    table = pd.DataFrame(dict(enumerate(values)), index=index)
    table.columns = pd.Index([*names.values(), *(name for name, _ in columns)], dtype=object)
    return _renamed(table, names)


def _apart(names: Collection[str], taken: Collection[str]) -> dict[str, str]:
    """Return columns for names of the user, none of them taken by a column of ours."""
    columns: dict[str, str] = {}
    for name in names:
        columns[name] = name
        while columns[name] in taken or (columns[name] != name and columns[name] in names):
            columns[name] += " (variable)"
    return columns


def _renamed(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Return a table that tells the columns which have another name than the user's."""
    other = {name: column for name, column in columns.items() if column != name}
    table.attrs |= {"columns": other} if other else {}
    return table


def _with_stars(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of tests with its stars; numbers are float64, the index is of plain text."""
    table = table.astype(float).set_axis(table.index.astype(object))
    table[SIG] = pd.Series(stars(table[P_VAL]), index=table.index, dtype=object)
    return table


def rounded(table: pd.DataFrame, places: int = 3) -> pd.DataFrame:
    """Return a copy for the eye, numbers rounded."""
    return table.round(places)


def lifted(statistics: Mapping[str, float], places: int = 3) -> str:
    """Return named numbers as one line of text."""
    return "   ".join(f"{name}: {value:.{places}f}" for name, value in statistics.items())


def _percents(level: float) -> tuple[str, str]:
    tail = 50 * (1 - level)
    return f"{round(tail, 6):g}", f"{round(100 - tail, 6):g}"
