"""The vocabulary of every public table, and the functions that build them.

This is the one place that spells a public column name. Tables hold full precision; only `rounded` is for the eye.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
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
NUM_BOOT = "Num_boot"
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
DEGREES = (DF, NUM_DF, DENOM_DF, CHISQ_DF)
CONTRAST = "Contrast"
CORRELATION = ("IV1", "IV2", "Corr")
RMSE = "RMSE"
SHARES = ("PRE", "PRE_sd")
TRACED = ("Parameter", "Value", "Zeta")
ALL_FITS = ("Converged", "Max_abs_diff", "Max_rel_diff", "Messages")
_MEASURES = ("N", RMSE, "MAE", "R2", "Deviance", "Accuracy")
FITS = "fits"
RESIDUALS = "residuals"

_CHISQ_TESTS = {"chisq": CHISQ, "df": CHISQ_DF}
_COMPARED = ("model", "npar", "AIC", "BIC", "log-likelihood", "deviance")

ADJUSTED_P = "Adj-P-val"
MAX_T_P = "MaxT-P-val"
long_names = ("response", "term", "group", "flag")  # of tables of many fits; words of R's too

_STARS, _MARKS = (0.001, 0.01, 0.05, 0.1), np.array(["***", "**", "*", ".", ""], dtype=object)


def limit_columns(level: float, alternative: str = "two-sided", end: str = "_ci") -> tuple[str, str]:
    """Return the names of the two interval columns, such as `("2.5_ci", "97.5_ci")` for a level of 0.95."""
    lower, upper = (f"{percent}{end}" for percent in _percents(level, alternative))
    return lower, upper


def _stars(p: Sequence[float]) -> np.ndarray:
    """Return R's significance stars; an empty text where p is missing."""
    return _MARKS[np.searchsorted(_STARS, np.asarray(p, dtype=float))]


def _objects(values: Iterable[object]) -> np.ndarray:
    """Return an array of texts, of none as well."""
    return np.array(list(values), dtype=object)


def _named(names: Iterable[object]) -> pd.Index:
    return pd.Index(_objects(names), dtype=object)


def mixed_coefs(
    fixed: Mapping[str, np.ndarray] | pd.DataFrame,
    terms: Iterable[object],
    level: float,
    family: str = "gaussian",
    link: str = "identity",
    n_permuted: int = 0,
    alternative: str = "two-sided",
) -> pd.DataFrame:
    """Return the coefficient table of a model.

    Linear models have df. Families with a scale of their own have t, the others z. Binomial models
    have odds ratios, exp(Estimate), and `Prob`, plogis(Estimate); NaN unless the link is logit.

    Args:
        fixed: estimate, lower, upper, se, df, statistic and p of each term.
        terms: their names.
        level: confidence level of `lower` and `upper`.
        family: error distribution.
        link: its link.
        n_permuted: number of permutations that p comes from; it stands where df would.
        alternative: which of the limits are infinite.
    """
    lower, upper = limit_columns(level, alternative)
    values = {str(name): np.asarray(found) for name, found in fixed.items()}
    columns: dict[str, object] = {ESTIMATE: values["estimate"], lower: values["lower"], upper: values["upper"]}
    columns[SE] = values["se"]
    if family == "binomial":
        columns |= _odds(values, (lower, upper), link)
    if n_permuted:
        columns[NUM_PERM] = np.full(len(values["p"]), n_permuted)
    elif (family, link) == ("gaussian", "identity"):
        columns[DF] = values["df"]
    columns[Z_STAT if family in ("binomial", "poisson", "nbinom") else T_STAT] = values["statistic"]
    columns[PERM_P_VAL if n_permuted else P_VAL] = values["p"]
    columns[SIG] = _stars(values["p"])
    return pd.DataFrame(columns, index=_named(terms))


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
    names = _objects("" if pd.isna(term) else term for term in variances["term"])
    columns = {NAME: names, VARIANCE: variances["variance"].to_numpy(), STD: variances["sd"].to_numpy()}
    return pd.DataFrame(columns, index=_named(variances["group"]))


def correlation_table(correlations: pd.DataFrame) -> pd.DataFrame | None:
    """Return the random-effects correlations, indexed by grouping factor; None where there is none."""
    if correlations.empty:
        return None
    values = (_objects(correlations["first"]), _objects(correlations["second"]), correlations["correlation"].to_numpy())
    return pd.DataFrame(dict(zip(CORRELATION, values, strict=True)), index=_named(correlations["group"]))


def confint_table(lower: np.ndarray, upper: np.ndarray, names: Sequence[str], level: float) -> pd.DataFrame:
    """Return confidence limits of all parameters under R's column names, such as `2.5 %`."""
    low, high = (f"{percent} %" for percent in _percents(level))
    return pd.DataFrame({low: lower, high: upper}, index=_named(names))


def simulation_table(draws: np.ndarray, index: pd.Index) -> pd.DataFrame:
    """Return simulated responses, one column `sim_1`, `sim_2`, ... a dataset."""
    return pd.DataFrame(draws, index=index, columns=[f"sim_{i + 1}" for i in range(draws.shape[1])])


def prediction_table(
    values: Sequence[np.ndarray], level: float, index: pd.Index, attrs: Mapping[str, object]
) -> pd.DataFrame:
    """Return predictions, one a row; values are estimate, se, lower and upper, each of shape (rows,)."""
    table = pd.DataFrame(dict(zip((ESTIMATE, SE, *limit_columns(level)), values, strict=True)), index=index)
    table.attrs |= attrs
    return table


def term_tests(found: pd.DataFrame, linear: bool) -> pd.DataFrame:
    """Return F tests of model terms, from columns ss, ms, df1, df2, f and p, or chi-square tests: chisq, df and p."""
    names = {"ss": SS, "ms": MS, "df1": NUM_DF, "df2": DENOM_DF, "f": F_STAT} if linear else _CHISQ_TESTS
    return _with_stars(found, names)


def random_tests(found: pd.DataFrame) -> pd.DataFrame:
    """Return the tests of random-effects terms; columns npar, log_likelihood, AIC, chisq, df and p, one row a term."""
    names = {"npar": _COMPARED[1], "log_likelihood": _COMPARED[4], "AIC": _COMPARED[2]}
    return _with_stars(found, names | _CHISQ_TESTS).astype({_COMPARED[1]: int})


def _with_stars(found: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Return tests of terms under our names, with p and its stars."""
    table = found[[*names, "p"]].rename(columns={**names, "p": P_VAL}).astype(float)
    table = table.set_axis(_named(table.index))
    return table.assign(**{SIG: pd.Series(_stars(table[P_VAL]), table.index, dtype=object)})


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
    values = [likelihood, np.asarray(found["converged"], dtype=bool), *widest, _objects(found["messages"])]
    names = (_COMPARED[4], *ALL_FITS)
    terms = dict(zip(found["terms"], coefficients.T, strict=True))
    table = beside(list(zip(names, values, strict=True)), terms, names, found["optimizers"], ours_first=True)
    table.attrs |= {"best": None if best is None else found["optimizers"][best], **attrs}
    return table


def comparison_table(models: Sequence[Any], chisq: np.ndarray, df: np.ndarray, p: np.ndarray) -> pd.DataFrame:
    """Return the comparison of k models, each tested against the one above it: chisq, df and p have shape (k - 1,)."""
    rows = [(m.formula, m.n_parameters, m.AIC, m.BIC, m.log_likelihood, -2 * m.log_likelihood) for m in models]
    columns = dict(zip(_COMPARED, zip(*rows, strict=True), strict=True))
    columns |= {name: np.r_[np.nan, values] for name, values in ((CHISQ, chisq), (CHISQ_DF, df), (P_VAL, p))}
    texts = {_COMPARED[0]: columns[_COMPARED[0]], SIG: _stars(columns[P_VAL])}
    return pd.DataFrame(columns | {name: pd.Series(values, dtype=object) for name, values in texts.items()})


def marginal_estimates(found: Mapping[str, Any], level: float, alternative: str = "two-sided") -> pd.DataFrame:
    """Return marginal means or slopes, one a row.

    A variable that has the name of a column of ours is in one with another name, which `attrs["columns"]` tells.

    Args:
        found: `labels`, the values of each variable; `values`: estimate, lower, upper, se and df.
        level: confidence level of `lower` and `upper`.
        alternative: which of these are infinite.
    """
    limits = limit_columns(level, alternative)
    return beside(_estimated(found["values"], limits), found["labels"], _marginal(limits))


def marginal_contrasts(found: Mapping[str, Any], level: float, alternative: str = "two-sided") -> pd.DataFrame:
    """Return contrasts of marginal means or slopes, as `marginal_estimates` does.

    Beside labels (of the variables that they are made by) and values, with statistic and p as well, `found` has
    `contrast`, what they are called, and `z`, whether the statistic is one.
    """
    values, limits = found["values"], limit_columns(level, alternative)
    statistic = (Z_STAT if found["z"] else T_STAT, values["statistic"])
    columns = [*_estimated(values, limits), statistic, *_tested(values["p"])]
    return beside(columns, found["labels"], _marginal(limits), contrast=found["contrast"])


def inferred(found: Mapping[str, Any], level: float, alternative: str) -> pd.DataFrame:
    """Return estimates, limits and SE of coefficients, means, contrasts or predictions, and what else is known of them.

    `found` has `rows`, their names; `labels` and `contrast` as in `marginal_contrasts`, or None; `values`: estimate,
    lower, upper, se, and some of n_boot, n_perm, statistic and z, p and permuted_p, df.
    """
    values, limits = found["values"], limit_columns(level, alternative)
    names = {"n_boot": NUM_BOOT, "n_perm": NUM_PERM, "df": DF, "z": Z_STAT, "statistic": T_STAT, "p": P_VAL}
    names |= {"permuted_p": PERM_P_VAL}
    columns = _estimated(values, limits)[:4] + [(name, values[key]) for key, name in names.items() if key in values]
    columns += [(SIG, _stars(values[key])) for key in ("p", "permuted_p") if key in values]
    return beside(
        columns, found["labels"], {*_marginal(limits), *names.values()}, found["rows"], contrast=found["contrast"]
    )


def simulated(draws: pd.DataFrame, quantiles: np.ndarray, level: float) -> pd.DataFrame:
    """Return mean, standard deviation and two quantiles, shape (2, rows), of the simulated outcomes of each row."""
    ends = dict(zip(limit_columns(level, end="_q"), quantiles, strict=True))
    return pd.DataFrame({"Mean": draws.mean(axis=1), "SD": draws.std(axis=1), **ends}, index=draws.index)


def cv_measures(found: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return n, rmse, mae, r2, deviance and accuracy of the rows held out in each of k folds, and last of all rows."""
    keys = ("n", "rmse", "mae", "r2", "deviance", "accuracy")
    values = dict(zip(_MEASURES, (found[key] for key in keys), strict=True))
    table = pd.DataFrame(values, index=_named([*range(1, len(found["n"])), "overall"]))
    return table.astype({_MEASURES[0]: int})


def cv_terms(estimate: np.ndarray, terms: Iterable[object], error: np.ndarray, sd: np.ndarray) -> pd.DataFrame:
    """Return coefficients, and by how much their term reduces the error out of sample, with its sd over folds."""
    return pd.DataFrame(dict(zip((ESTIMATE, *SHARES), (estimate, error, sd), strict=True)), index=_named(terms))


def joint_table(found: Mapping[str, Any], linear: bool) -> pd.DataFrame:
    """Return joint tests of model terms, F or chi-square tests; names of columns as in `marginal_estimates`.

    `found` has `terms`; `labels`, the values of each variable that tests are made by; `values`: df1, df2, f, chisq, p.
    """
    values = found["values"]
    kinds = {NUM_DF: "df1", DENOM_DF: "df2", F_STAT: "f"} if linear else {CHISQ: "chisq", CHISQ_DF: "df1"}
    tests = [*((name, values[key]) for name, key in kinds.items()), *_tested(values["p"])]
    return beside(tests, found["labels"], [name for name, _ in tests], found["terms"])


def _marginal(limits: tuple[str, str]) -> tuple[str, ...]:
    """Return the columns that tables of marginal means and of their contrasts have of their own."""
    return (CONTRAST, ESTIMATE, *limits, SE, DF, T_STAT, Z_STAT, P_VAL, SIG)


def _estimated(values: Mapping[str, np.ndarray], limits: tuple[str, str]) -> list[tuple[str, np.ndarray]]:
    names = (ESTIMATE, *limits, SE, DF)
    keys = ("estimate", "lower", "upper", "se", "df")
    return [(name, values[key]) for name, key in zip(names, keys, strict=True) if key in values]


def _tested(p: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [(P_VAL, p), (SIG, _stars(p))]


def beside(
    ours: Sequence[tuple[str, Any]],
    users: Mapping[str, Any] | None,
    taken: Collection[str],
    rows: Iterable[object] | None = None,
    ours_first: bool = False,
    contrast: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return contrasts, the user's variables and our columns; rows are "1", "2", .. where they have no names.

    A variable whose name is taken by a column of ours has another, which `attrs["columns"]` tells.
    """
    users = users or {}
    names: dict[str, str] = {}
    for name in users:
        names[name] = name
        while names[name] in taken or (names[name] != name and names[name] in users):
            names[name] += " (variable)"
    theirs = list(zip(names.values(), users.values(), strict=True))
    columns = [*ours, *theirs] if ours_first else [*theirs, *ours]
    columns = columns if contrast is None else [(CONTRAST, _objects(contrast)), *columns]
    index = rows if isinstance(rows, pd.Index) else _named(rows or (str(i + 1) for i in range(len(ours[0][1]))))
    table = pd.DataFrame(dict(enumerate(values for _, values in columns)), index=index)
    table.columns = _named(name for name, _ in columns)
    other = {name: column for name, column in names.items() if column != name}
    table.attrs |= {"columns": other} if other else {}
    return table


def rounded(table: pd.DataFrame, places: int = 3) -> pd.DataFrame:
    """Return a copy for the eye, numbers rounded."""
    return table.round(places)


def lifted(statistics: Mapping[str, float], places: int = 3) -> str:
    """Return named numbers as one line of text."""
    return "   ".join(f"{name}: {value:.{places}f}" for name, value in statistics.items())


def _percents(level: float, alternative: str = "two-sided") -> tuple[str, str]:
    tail = (50 if alternative == "two-sided" else 100) * (1 - level)
    lower, upper = 0 if alternative == "less" else tail, 100 if alternative == "greater" else 100 - tail
    return f"{round(lower, 6):g}", f"{round(upper, 6):g}"
