"""What can be said of a fit in sentences: how it was made, and what it found. Every one is true of the fit at hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd

from pymer4 import __version__, tables
from pymer4.papers.numbers import degrees, equated, interval, number, p_value, share
from pymer4.rbridge import machine

INTERCEPTS = ("(Intercept)", "Intercept")

_FAMILIES = {"inverse_gaussian": "inverse Gaussian", "nbinom": "negative binomial"}
_DDF = {
    "Satterthwaite": "Satterthwaite's df",
    "Kenward-Roger": "Kenward and Roger's SE and df",
    "asymptotic": "infinite df",
}


@dataclass(frozen=True, slots=True)
class Story:
    """How a model was fitted, in pieces of sentences.

    Attributes:
        what: the kind of model and the criterion.
        random: its random part, or an empty text.
        tested: what is tested beyond coefficients, or an empty text.
        limits: what plain limits are.
        drawn: what a bootstrap draws.
        shuffled: what permutations do.
        weights: what the weights are, or None.
        offset: what the offset is, or None.
        estimate: the letter of an estimate.
        within: what ranks were taken within, or an empty text.
    """

    what: str
    random: str
    tested: str
    limits: str
    drawn: str
    shuffled: str
    weights: Any
    offset: Any = None
    estimate: str = "b"
    within: str = ""


@dataclass(frozen=True, slots=True)
class Tested:
    """One row of a table of coefficients; `df` and `odds`, three numbers, are None where it has none."""

    term: str
    b: float
    lower: float
    upper: float
    se: float
    df: float | None
    statistic: float
    p: float
    odds: tuple[float, float, float] | None


def statistic_of(coefs: pd.DataFrame) -> str:
    """Return the column that the statistics of a table are in."""
    return tables.Z_STAT if tables.Z_STAT in coefs else tables.T_STAT


def tested(model: Any) -> list[Tested]:
    """Return the rows of the coefficient table of a model."""
    coefs, limits = model.coefs, tables.limit_columns(model._options.conf_level)
    p = tables.PERM_P_VAL if tables.PERM_P_VAL in coefs else tables.P_VAL
    names = [tables.ESTIMATE, *limits, tables.SE, tables.DF, statistic_of(coefs), p]
    odds = [tables.ODDS_RATIO, *(f"{tables.ODDS_RATIO}_{limit}" for limit in limits)]
    has_odds = tables.without_odds(coefs)[1] is not None
    found = []
    for term, row in zip(coefs.index, coefs.to_dict("records"), strict=True):
        values: list[Any] = [None if row.get(name) is None else float(row[name]) for name in names]
        values.append(tuple(float(row[name]) for name in odds) if has_odds else None)
        found.append(Tested(str(term), *values))
    return found


def has_whole_df(model: Any, rows: Sequence[Tested]) -> bool:
    """Return whether df are counted, and not estimated: those of a mixed model may come near a whole number."""
    counted = [row.df for row in rows if row.df is not None and math.isfinite(row.df)]
    return not hasattr(model, "ranef_var") and all(abs(df - round(df)) < 1e-9 for df in counted)


def listed(texts: Iterable[Any]) -> str:
    """Return texts as a list in a sentence.

    Examples:
        >>> listed("abc"), listed("a")
        ('a, b and c', 'a')
    """
    *some, last = map(str, texts)
    return f"{', '.join(some)} and {last}" if some else last


# ------------------------------------------------------------------ how each kind of model is made


def family_of(model: Any) -> str:
    """Return the family and the link of a model, as a piece of a sentence."""
    return f"{_FAMILIES.get(model.family, model.family)} family, {model.link} link"


def mixed(model: Any) -> Story:
    """Return how an `Lmer` was fitted."""
    options = model._options
    if model._linear:
        by = ("REML" if options.REML else "maximum likelihood") + ("" if options.permute else f", {_DDF[options.ddf]}")
        what = f"linear mixed model ({by})"
    else:
        how = {0: "with nAGQ = 0", 1: "by Laplace's approximation"}
        points = how.get(options.nAGQ, f"by adaptive quadrature with {options.nAGQ} points")
        what = f"generalized linear mixed model ({family_of(model)}, maximum likelihood {points})"
    limits = "Wald limits, by the normal quantile" if options.conf_int == "Wald" else "limits of the profile likelihood"
    return Story(
        what=what,
        random=f", with {listed(_varying(model))}",
        tested="",
        limits=limits,
        drawn="of a parametric bootstrap",
        shuffled=f"permutations of the outcome within {options.permute_within or next(iter(model.grps))}",
        weights=model._weights,
        offset=f"{listed(own)}, by offset() in the formula" if (own := model._reading.offset) else model._offset,
        within=f" within {options.rank_group}" if options.rank_group else "",
    )


def _varying(model: Any) -> list[str]:
    """Return what varies between the groups of each grouping factor."""
    correlated = set() if model.ranef_corr is None else set(model.ranef_corr.index)
    found = []
    for group in dict.fromkeys(model.ranef_var.index):
        names = list(model.ranef_var.loc[[group], tables.NAME])
        if not any(names):
            continue  # the residual
        slopes = [name for name in names if name not in INTERCEPTS]
        kinds = [
            *(["intercepts"] if len(slopes) < len(names) else []),
            *([f"slopes of {listed(slopes)}"] if slopes else []),
        ]
        alone = "" if len(names) < 2 else "correlated " if group in correlated else "uncorrelated "
        found.append(f"{alone}random {listed(kinds)} by {factor(model, group)}")
    return found


def factor(model: Any, group: str) -> str:
    """Return the grouping factor of a row of variances, without the number that R gives a second term of it."""
    base, _, number = group.rpartition(".")
    return base if group not in model.grps and base in model.grps and number.isdigit() else group


def linear(model: Any) -> Story:
    """Return how an `Lm` was fitted."""
    options, errors = model._options, _errors(model)
    weights = options.weights
    if model._linear:
        by = {"OLS": "ordinary", "WLS": "weighted"}[model.estimator]
        what = f"linear regression ({by} least squares{errors})"
        if isinstance(weights, str):
            weights = f"one variance of the errors for each value of {weights}"
    else:
        what = f"generalized linear regression ({family_of(model)}, maximum likelihood{errors})"
    lane = options.scheme == "freedman-lane"
    within = f" within {options.cluster}" if options.clustered_by else ""
    return Story(
        what=what,
        random="",
        tested="",
        limits=_native_limits(model),
        drawn=f"of {f'clusters of {options.cluster}' if options.clustered_by else 'rows'}",
        shuffled=f"{'Freedman and Lane’s permutations' if lane else 'permutations of the outcome'}{within}",
        weights=weights,
        offset=model._offset,
    )


def two_stage(model: Any) -> Story:
    """Return how an `Lm2` was fitted."""
    options = model._options
    of = {False: "coefficients", "semi": "semi-partial correlations", "partial": "partial correlations"}[model.iscorrs]
    fisher = ", as Fisher's z," if model.iscorrs and options.ztrans_corrs else ""
    outer, *inner = model.grps
    what = "linear regression" if model._linear else f"generalized linear regression ({family_of(model)})"
    upward = f", averaged within {outer}," if inner else ""
    over = f"{upward} were tested over {outer} by one-sample t-tests{_errors(model)}"
    unit = f"clusters of {options.cluster}" if options.clustered_by else f"groups of {outer}"
    return Story(
        what=f"{what} in each group of {[outer, *inner][-1]}",
        random="",
        tested=f"The {of} of the groups{fisher}{over}.",
        limits=_native_limits(model),
        drawn=f"of {unit}",
        shuffled=f"sign flips of {unit}, compared by {'t' if options.perm_on == 'tstat' else 'the mean'}",
        weights=None,
        estimate="mean Fisher z" if fisher else "mean r" if model.iscorrs else "mean b",
        within=" within groups",
    )


def _native_limits(model: Any) -> str:
    if statistic_of(model.coefs) == tables.Z_STAT:
        return "limits by the normal quantile"
    residual = "" if model._linear else f" with {number(model.df_resid, 0)} df"
    return f"limits by t{residual}"


def _errors(model: Any) -> str:
    """Return what is to be said of the standard errors, after a comma."""
    options = model._options
    if not options.robust:
        return ""
    if options.robust == "cluster":
        return f", standard errors clustered by {options.cluster}"
    lags = f" with {options.n_lags} lag{'s' * (options.n_lags != 1)}" if options.robust == "hac" else ""
    return f", {options.robust.upper()} standard errors{lags}"


# ------------------------------------------------------------------ sentences


def methods(model: Any, story: Story) -> list[str]:
    """Return where limits and p come from, and what else the estimates hang on."""
    options, level = model._options, 100 * model._options.conf_level
    booted = options.conf_int == "boot"
    limits = f"percentiles of {options.n_boot:,} draws {story.drawn}" if booted else story.limits
    found = [f"The {level:g} % confidence intervals (CI) are {limits}."]
    if options.permute:
        found.append(f"p comes from {options.permute:,} {story.shuffled}.")
    elif booted:
        found.append("p inverts these percentiles.")
    elif not model._linear and story.random and tables.T_STAT in model.coefs:
        found.append("p refers t to the normal distribution.")
    if story.weights is not None:
        found.append(f"Weights: {_given(story.weights)}.")
    if story.offset is not None:
        found.append(f"Offset: {_given(story.offset)}.")
    if model.ranked_data:
        found.append(f"Ranks{story.within} stood in the place of {listed(model._ranked())}.")
    return found


def _given(what: Any) -> str:
    return what if isinstance(what, str) else "one number a row"


def report(model: Any, digits: int) -> str:
    """Return a paragraph on a fit, in the style of the American Psychological Association."""
    story, rows = model._story(), tested(model)
    terms = model._term_names()
    predictors = f" from {listed(terms)}" if terms else " from no predictor"
    n, given = model.nobs, len(model.fits)
    left_out = f"{given - n:,} of {given:,} rows were left out." if n < given else ""
    groups = "; ".join(f"{name}: {size:,} groups" for name, size in (getattr(model, "grps", None) or {}).items())
    first = (
        f"We fitted a {story.what} predicting {model._outcome()[0]}{predictors}{story.random}, to {n:,} "
        f"observations{f' ({groups})' if groups else ''}."
    )
    effects = [row for row in rows if row.term not in INTERCEPTS] or rows
    whole, options = has_whole_df(model, rows), model._options
    kind = "permutation " if options.permute else "bootstrap " if options.conf_int == "boot" else ""
    told = [_effect(row, model, digits, whole, kind, story.estimate) for row in effects]
    warned = [" ".join(text.split()) for text in model.warnings]
    parts = [first, story.tested, *methods(model, story), left_out, *told, *_spread(model, digits), _shares(model)]
    parts += [f"The fit warned: {'; '.join(warned)}." if warned else "", f"Made with {software([model])}."]
    return " ".join(part for part in parts if part)


def _effect(row: Tested, model: Any, digits: int, whole: bool, kind: str, letter: str) -> str:
    statistic = "z" if statistic_of(model.coefs) == tables.Z_STAT else "t"
    df = "" if row.df is None else f"({degrees(row.df, whole)})"
    level = f"{100 * model._options.conf_level:g} % CI"
    facts = [
        f"{letter} = {number(row.b, digits)}",
        f"{level} {interval(row.lower, row.upper, digits) or 'not available'}",
    ]
    if row.odds is not None:
        facts.append(f"odds ratio {number(row.odds[0], digits)}")
    facts.append(f"{statistic}{df} = {number(row.statistic, digits)}")
    facts.append(f"{kind}p {equated(p_value(row.p))}" if row.p == row.p else f"{kind}p not available")
    what = "The intercept" if row.term in INTERCEPTS else f"The effect of {row.term}"
    return f"{what} was {', '.join(facts)}."


def _spread(model: Any, digits: int) -> list[str]:
    """Return a sentence on the random part."""
    table = getattr(model, "ranef_var", None)
    if table is None:
        return []
    rows = zip(table.index, table[tables.NAME], table[tables.STD], strict=True)
    told = [
        f"{number(sd, digits)} ({f'{name}, {factor(model, group)}' if name else str(group).lower()})"
        for group, name, sd in rows
    ]
    return [f"Standard deviations of the random part: {listed(told)}."]


def _shares(model: Any) -> str:
    found = model._shares()
    scale = "" if model._linear else f" on the {model.link} scale"
    told = ", ".join(f"{name} = {share(value)}" for name, value in found.items())
    return f"Shares of variance{scale}: {told}." if found else ""


def software(models: Iterable[Any]) -> str:
    """Return the versions at hand of what models of these kinds are made with."""
    packages = dict.fromkeys(name for model in models for name in model._packages())
    return ", ".join([f"pymer4 {__version__}", *filter(None, map(_version, packages))])


@cache
def _version(package: str) -> str:
    r = machine.find_r()
    if r is None:
        return ""
    found = r.version if package == "R" else machine.package_version(package, machine.package_folders(r))
    return f"{package} {found}" if found else ""
