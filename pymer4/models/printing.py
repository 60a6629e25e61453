"""What a model prints, with its notes: tables as a terminal shows them (significant digits, small p as such)."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.papers.sheet import WIDTH, wrapped

Frames = tuple[pd.DataFrame, pd.DataFrame | None]
"""Marginal estimates, and their contrasts where there are some."""

_LEAST_P = 0.001

_TESTS = {
    "Satterthwaite": "t-tests use Satterthwaite's df",
    "Kenward-Roger": "t-tests use Kenward and Roger's SE and df",
    "asymptotic": "t-tests use infinite df",
}


def number(value: Any) -> str:
    """Return a number as text: three decimals, and never fewer than three significant digits."""
    size = abs(float(value))
    if not math.isfinite(size):
        return str(float(value)).replace("nan", "NaN")
    if size >= 1e6:
        return f"{value:.3e}"
    if 0 < size < 1e-4:
        return f"{value:.2e}"
    return f"{value:#.3g}" if 0 < size < 0.1 else f"{value:.3f}"


def p_value(value: float) -> str:
    """Return p as text."""
    return "< .001" if value < _LEAST_P else "NaN" if math.isnan(value) else f"{value:.3f}"


def block(table: pd.DataFrame) -> str:
    """Return a table as text; whole numbers and text stay as they are."""
    return laid_out(texts(table))


def laid_out(texts: pd.DataFrame) -> str:
    """Return a table of texts as a terminal shows it: closer where it is too wide, else in several blocks."""
    if texts.empty:
        return "(none)"
    columns = [["", *map(str, texts.index)], *([str(name), *texts[name]] for name in texts.columns)]
    widths = [max(map(len, column)) for column in columns]
    if sum(widths) + 2 * len(texts.columns) > WIDTH >= sum(widths) + len(texts.columns):
        index, *others = columns
        padded = [[text.rjust(max(map(len, column))) for text in column] for column in others]
        rows = zip([label.ljust(widths[0]) for label in index], *padded, strict=True)
        return "\n".join(" ".join(row) for row in rows)
    return texts.to_string(line_width=WIDTH)


def texts(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its numbers as texts."""
    shown = {place: _column(name, table.iloc[:, place]) for place, name in enumerate(table.columns)}
    return pd.DataFrame(shown, index=table.index, dtype=object).set_axis(table.columns, axis=1)


def coefficients(table: pd.DataFrame) -> str:
    """Return a table of coefficients as text, odds ratios and probabilities in a block of their own below it."""
    plain, odds = tables.without_odds(table)
    if odds is None:
        return block(plain)
    return "\n".join(
        [block(plain), "", "Odds ratios, exp(Estimate), and probabilities, plogis(Estimate):", block(odds)]
    )


def _column(name: object, values: pd.Series) -> list[str]:
    as_text = p_value if name in (tables.P_VAL, tables.PERM_P_VAL) else number
    whole = pd.api.types.is_integer_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype)
    return [str(v) if whole or not isinstance(v, numbers.Real) else as_text(float(v)) for v in values]


def mixed_summary(model: Any) -> str:
    """Return the summary of a mixed model."""
    by_reml = model._options.REML and model._linear
    title = f"Linear mixed model fit by {'REML' if by_reml else 'maximum likelihood'}; {_TESTS[model._options.ddf]}"
    if not model._linear:
        title = "Generalized linear mixed model fit by maximum likelihood"
    measures = _likelihood(model) | {"REML criterion" if by_reml else "Deviance": model._fit.criterion}
    return _summary(
        model,
        title if model._linear else _with_family(model, title),
        f"{observations(model, model._fit.n_used, 'with missing values left out')}   {_groups(model)}",
        [measures if model.theta is None else measures | {"Theta": model.theta}],
        [
            *_ranks(model),
            "",
            "Random effects:",
            block(model.ranef_var),
            *([] if model.ranef_corr is None else ["", "Correlations:", block(model.ranef_corr)]),
        ],
        "Fixed effects",
    )


def linear_summary(model: Any, fit: Any) -> str:
    """Return the summary of a regression, whose fit is as `least_squares` or `generalized` returned it."""
    if model._linear:
        how = {"OLS": "ordinary", "WLS": "weighted"}[model.estimator]
        title = f"Linear model fit by {how} least squares"
        measures = {"R2": model.rsquared, "Adjusted R2": model.rsquared_adj, "Residual SE": fit.sigma}
    else:
        title = _with_family(model, "Generalized linear model fit by maximum likelihood")
        measures = {"Null deviance": fit.null_deviance, "Deviance": fit.deviance}
        measures |= {"Theta": fit.theta} if fit.theta is not None else {"Dispersion": fit.dispersion}
    counts = f"{observations(model, len(fit.fitted))}   Residual df: {fit.df_resid}   Standard errors: {model.se_type}"
    return _summary(model, title, counts, [measures, _likelihood(model)], _ranks(model), "Coefficients")


def two_stage_summary(model: Any) -> str:
    """Return the summary of a two-stage regression."""
    first = "linear regressions" if model._linear else f"{model.family} regressions, link {model.link}"
    tested = {False: "Coefficients", "semi": "Semi-partial correlations", "partial": "Partial correlations"}
    measures = {} if np.isnan(model.rsquared) else {"R2": model.rsquared, "Adjusted R2": model.rsquared_adj}
    return _summary(
        model,
        f"Two-stage regression: {first} in each group, one-sample tests over groups",
        f"{observations(model, model.nobs)}   {_groups(model)}   Standard errors: {model.se_type}",
        [measures | _likelihood(model)],
        _ranks(model, " within groups"),
        tested[model.iscorrs] + (" (Fisher z)" if model.iscorrs and model._options.ztrans_corrs else ""),
    )


def _summary(
    model: Any, title: str, counts: str, measures: list[Mapping[str, Any]], more: Iterable[str], tested: str
) -> str:
    level = 100 * model._options.conf_level
    parts = [
        *wrapped([title, f"Formula: {model.formula}", "", counts, *map(tables.lifted, measures)]),
        *more,
        "",
        *wrapped([f"{tested} ({level:g}% limits: {model.ci_type}; p: {model.sig_type}):"]),
        coefficients(model.coefs),
        *wrapped(f"Warning: {text.strip()}" for text in model.warnings),
    ]
    return "\n".join(parts)


def _with_family(model: Any, title: str) -> str:
    return f"{title}\nFamily: {model.family}   Link: {model.link}"


def observations(model: Any, used: int, left_out: str = "left out") -> str:
    """Return how many rows were used, and of how many where some were left out."""
    given = len(model.fits)
    return f"Observations: {used}" + (f" of {given} ({given - used} {left_out})" if used < given else "")


def _groups(model: Any) -> str:
    return f"Groups: {', '.join(f'{name} {n}' for name, n in model.grps.items())}"


def _likelihood(model: Any) -> dict[str, float]:
    return {"AIC": model.AIC, "BIC": model.BIC, "Log-likelihood": model.logLike}


def _ranks(model: Any, within: str = "") -> list[str]:
    names = ", ".join(map(str, model._ranked()))
    return [f"Ranks{within}: {names}; fits and residuals are ranks too"] if names else []


def noted(table: pd.DataFrame, found: Mapping[str, Any], notes: Sequence[str], more: Mapping[str, Any]) -> pd.DataFrame:
    """Return a table that says in `attrs` what R found of it, with notes that come before R's, and more."""
    table.attrs |= {"estimate": found["name"], "scale": found["scale"], "adjust": found["adjust"]}
    table.attrs |= {"notes": [*notes, *found["notes"]], **more}
    return table


def grid_notes(found: Mapping[str, Any], slopes: bool, response: bool) -> list[str]:
    """Return what a grid takes for the offset where nobody asked for it, and the scale of slopes, or one not left."""
    offset = found["offset"]  # values of its variables that stand at one; the mean of one without a name
    at = ", ".join(f"{name} = {value:.6g}" for name, value in (offset["values"] or {}).items())
    notes = [f"The offset counts at the mean, {at}; at= sets it."] if at else []
    if offset["mean"] is not None:
        notes.append(f"The offset counts as its mean, {offset['mean']:.6g}.")
    if slopes:
        notes.append(f"Slopes are on the {found['estimates']['scale']} scale.")
    if response and not found["undone"]:
        scale = f"the link scale, that of {found['outcome']}"
        notes.append(f"Estimates are on {scale}: no inverse is known that gives the raw outcomes back.")
    return notes


def column_notes(table: pd.DataFrame) -> list[str]:
    """Return notes on variables whose column has another name, since the table has one of that name."""
    renamed = table.attrs.get("columns", {}).items()
    return [f"{name!r} is a column of the table's own: the variable is in {column!r}." for name, column in renamed]


def marginal_summary(frames: Frames, marginal: Sequence[str], grouping: Sequence[str], one_scale: bool) -> str:
    """Return both tables as text, with our notes and R's; scales where there is more than the outcome's."""
    estimates, contrasts = frames
    what = "slopes" if "variable" in estimates.attrs else "means"
    within = f" at each level of {', '.join(grouping)}" if grouping else ""
    scale = "" if one_scale else f" ({estimates.attrs['scale']} scale)"
    parts = [f"Marginal {what} of {', '.join(marginal)}{within}{scale}:", block(estimates)]
    if contrasts is not None:
        scale = "" if one_scale else f"{contrasts.attrs['scale']} scale; "
        parts += ["", f"Pairwise differences ({scale}adjustment: {contrasts.attrs['adjust']}):", block(contrasts)]
    notes = [note for frame in frames if frame is not None for note in frame.attrs["notes"]]
    said = [text.strip().removeprefix("NOTE: ") for text in estimates.attrs["messages"]]
    return "\n".join([*parts, "", *(f"Note: {note.strip()}" for note in dict.fromkeys([*said, *notes]))])
