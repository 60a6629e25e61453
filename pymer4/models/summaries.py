"""What a model prints: its tables as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from pymer4 import tables
from pymer4.data.families import is_linear
from pymer4.models.printing import block, coefficients


def mixed_summary(model: Any, fit: Any, options: Any, ranked: Iterable[Any]) -> str:
    """Return the summary of a mixed model as text.

    Args:
        model: the fitted model.
        fit: the record of the fit.
        options: how it was made.
        ranked: the columns that were ranked.
    """
    by_reml = options.REML and is_linear(model.family, model.link)
    criterion = "REML criterion" if by_reml else "Deviance"
    measures = {"AIC": model.AIC, "BIC": model.BIC, "Log-likelihood": model.logLike, criterion: fit.criterion}
    groups = ", ".join(f"{name} {n}" for name, n in model.grps.items())
    parts = [
        _title(model, by_reml, options.ddf),
        f"Formula: {model.formula}",
        "",
        f"{_observations(fit.n_used, len(model.fits))}   Groups: {groups}",
        tables.lifted(measures if model.theta is None else measures | {"Theta": model.theta}),
        *_ranks(ranked),
        "",
        "Random effects:",
        block(model.ranef_var),
        *([] if model.ranef_corr is None else ["", "Correlations:", block(model.ranef_corr)]),
        "",
        f"Fixed effects ({100 * options.conf_level:g}% limits: {model.ci_type}; p: {model.sig_type}):",
        coefficients(model.coefs),
        *(f"Warning: {text.strip()}" for text in model.warnings),
    ]
    return "\n".join(parts)


def linear_summary(model: Any, level: float, fit: Any, ranked: Iterable[Any]) -> str:
    """Return the summary of a regression as text.

    Args:
        model: the fitted model.
        level: confidence level of its limits.
        fit: the record of the fit.
        ranked: the columns that were ranked.
    """
    used, given = len(fit.fitted), len(model.fits)
    rows = f"Observations: {used}" + (f" of {given} ({given - used} left out)" if used < given else "")
    quality = {"AIC": model.AIC, "BIC": model.BIC, "Log-likelihood": model.logLike}
    if is_linear(model.family, model.link):
        how = {"OLS": "ordinary", "WLS": "weighted"}[model.estimator]
        title = f"Linear model fit by {how} least squares"
        measures = {"R2": model.rsquared, "Adjusted R2": model.rsquared_adj, "Residual SE": fit.sigma}
    else:
        title = f"Generalized linear model fit by maximum likelihood\nFamily: {model.family}   Link: {model.link}"
        measures = {"Null deviance": fit.null_deviance, "Deviance": fit.deviance}
        measures |= {"Theta": fit.theta} if fit.theta is not None else {"Dispersion": fit.dispersion}
    parts = [
        title,
        f"Formula: {model.formula}",
        "",
        f"{rows}   Residual df: {fit.df_resid}   Standard errors: {model.se_type}",
        tables.lifted(measures),
        tables.lifted(quality),
        *_ranks(ranked),
        "",
        f"Coefficients ({100 * level:g}% limits: {model.ci_type}; p: {model.sig_type}):",
        coefficients(model.coefs),
        *(f"Warning: {text.strip()}" for text in model.warnings),
    ]
    return "\n".join(parts)


def two_stage_summary(model: Any, level: float, fisher_z: bool, ranked: Iterable[Any]) -> str:
    """Return the summary of a two-stage regression as text.

    Args:
        model: the fitted model.
        level: confidence level of its limits.
        fisher_z: whether correlations are Fisher's z.
        ranked: the columns that were ranked.
    """
    used, given = int(np.isfinite(model.fits).sum()), len(model.fits)
    rows = f"Observations: {used}" + (f" of {given} ({given - used} left out)" if used < given else "")
    groups = ", ".join(f"{name} {n}" for name, n in model.grps.items())
    linear = is_linear(model.family, model.link)
    first = "linear regressions" if linear else f"{model.family} regressions, link {model.link}"
    tested = {False: "Coefficients", "semi": "Semi-partial correlations", "partial": "Partial correlations"}
    fisher = " (Fisher z)" if model.iscorrs and fisher_z else ""
    measures = {} if np.isnan(model.rsquared) else {"R2": model.rsquared, "Adjusted R2": model.rsquared_adj}
    parts = [
        f"Two-stage regression: {first} in each group, one-sample tests over groups",
        f"Formula: {model.formula}",
        "",
        f"{rows}   Groups: {groups}   Standard errors: {model.se_type}",
        tables.lifted(measures | {"AIC": model.AIC, "BIC": model.BIC, "Log-likelihood": model.logLike}),
        *_ranks(ranked, " within groups"),
        "",
        f"{tested[model.iscorrs]}{fisher} ({100 * level:g}% limits: {model.ci_type}; p: {model.sig_type}):",
        coefficients(model.coefs),
        *(f"Warning: {text.strip()}" for text in model.warnings),
    ]
    return "\n".join(parts)


def _ranks(ranked: Iterable[Any], within: str = "") -> list[str]:
    """Return a line that names the columns that were ranked, none where none was."""
    names = ", ".join(map(str, ranked))
    return [f"Ranks{within}: {names}; fits and residuals are ranks too"] if names else []


def _title(model: Any, by_reml: bool, ddf: str) -> str:
    if is_linear(model.family, model.link):
        return f"Linear mixed model fit by {'REML' if by_reml else 'maximum likelihood'}; {_TESTS[ddf]}"
    return f"Generalized linear mixed model fit by maximum likelihood\nFamily: {model.family}   Link: {model.link}"


_TESTS = {
    "Satterthwaite": "t-tests use Satterthwaite's df",
    "Kenward-Roger": "t-tests use Kenward and Roger's SE and df",
    "asymptotic": "t-tests use infinite df",
}


def _observations(used: int, given: int) -> str:
    return f"Observations: {used}" + (
        f" of {given} ({given - used} with missing values left out)" if used < given else ""
    )
