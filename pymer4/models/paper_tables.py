"""Models as tables of a paper: one of its own, or several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pymer4 import tables
from pymer4.errors import OptionError, count, items, shown
from pymer4.models import printing
from pymer4.models.base import Model
from pymer4.models.reporting import INTERCEPTS, factor, has_whole_df, methods, software, statistic_of, tested
from pymer4.papers.content import Part
from pymer4.papers.numbers import degrees, interval, number, p_value, share
from pymer4.papers.sheet import Sheet

_FIXED, _RANDOM, _FIT = "Coefficients", "Random part", "Fit"


def decimals(digits: Any) -> int:
    """Return a number of decimals, checked."""
    return count("digits", digits, most=15)


def model_sheet(model: Any, digits: int = 2, whole: bool = True) -> Sheet:
    """Return the table of a model; without ICC, R2 of a mixed model and versions where it is not the whole."""
    formula = f"Formula: {model.formula}"
    if not model.fitted:
        return Sheet(type(model).__name__, (formula, f"{len(model._frame)} rows, not fitted"), (), ())
    parts = [Part(_FIXED, tuple(zip(model.coefs.index, *(columns := _columns(model, digits)).values(), strict=True)))]
    for heading, found in ((_RANDOM, _random(model, digits)), (_FIT, _fit(model, digits, whole))):
        parts += [Part(heading, tuple(found.items()))] if found else []
    return Sheet(_kind(model), (formula,), tuple(columns), tuple(parts), tuple(_notes([("", model)], whole)))


def _kind(model: Any) -> str:
    what: str = model._story().what
    return what[0].upper() + what[1:]


def _columns(model: Any, digits: int) -> dict[str, list[str]]:
    """Return the coefficients of a model as texts, by the heading of their column."""
    rows, level = tested(model), f"{100 * model._options.conf_level:g} % CI"
    found = {tables.ESTIMATE: [number(row.b, digits) for row in rows]}
    found[level] = [interval(row.lower, row.upper, digits) for row in rows]
    found[tables.SE] = [number(row.se, digits) for row in rows]
    odds = [row.odds for row in rows if row.odds is not None]
    if odds:
        found[f"{tables.ODDS_RATIO} [CI]"] = [
            f"{number(b, digits)} {interval(lower, upper, digits)}" for b, lower, upper in odds
        ]
    if tables.DF in model.coefs:
        whole = has_whole_df(model, rows)
        found["df"] = ["" if row.df is None else degrees(row.df, whole) for row in rows]
    letter = "z" if statistic_of(model.coefs) == tables.Z_STAT else "t"
    return found | {letter: [number(row.statistic, digits) for row in rows], "p": [p_value(row.p) for row in rows]}


def compare_table(*models: Model, names: Sequence[str] | None = None, digits: int = 2) -> Sheet:
    """Return fitted models side by side: coefficients with stars and limits, random parts, measures of fit.

    Models of all classes may stand beside one another. Rows are matched by name, and so are both spellings of the
    intercept. No test compares the models: that is what `compare()` does.

    Args:
        *models: fitted models.
        names: what they are called, by default Model 1, Model 2, and so on.
        digits: decimals of numbers; small ones keep as many significant digits.

    Returns:
        A table that notebooks show, with `to_markdown()`, `to_html()`, `to_latex()`, `to_docx(path)` and `to_frame()`.

    Raises:
        OptionError: no models, what is no model, another number of names, or `digits` is no number from 1 to 15.
        NotFittedError: a model that is not fitted.

    Examples:
        >>> from pymer4 import Lm, compare_table, load_dataset
        >>> data = load_dataset("sample_data")
        >>> one, two = Lm("DV ~ IV1", data), Lm("DV ~ IV1 + IV3", data)
        >>> _ = one.fit(summarize=False), two.fit(summarize=False)
        >>> print(compare_table(one, two).to_frame().loc["Fit"].iloc[:2])
                     Model 1 Model 2
        Observations     564     564
        R²               .03     .04
    """
    if not models or not all(isinstance(model, Model) for model in models):
        raise OptionError(f"compare_table() takes fitted models, one after the other, not {shown(models)}.")
    for model in models:
        model._require_fit("compare_table()")
    digits, asked = decimals(digits), [f"Model {i + 1}" for i in range(len(models))] if names is None else items(names)
    if asked is None or len(asked) != len(models):
        raise OptionError(f"names={shown(names)} is no list of {len(models)} names, one for each model.")
    kinds = [_coefficients, _random, _fit]
    parts = []
    for heading, kind in zip((_FIXED, _RANDOM, _FIT), kinds, strict=True):
        found = [kind(model, digits) for model in models]
        labels = dict.fromkeys(label for each in found for label in each)
        rows = [(label, *(each.get(label, "") for each in found)) for label in labels]
        parts += [Part(heading, tuple(rows))] if rows else []
    called = [(str(name), model) for name, model in zip(asked, models, strict=True)]
    facts = [f"{name}: {model.formula}. {_kind(model)}." for name, model in called]
    stars = "* p ≤ .05, ** p ≤ .01, *** p ≤ .001."
    return Sheet("Comparison of models", tuple(facts), tuple(asked), tuple(parts), (stars, *_notes(called)))


def _coefficients(model: Any, digits: int) -> dict[str, str]:
    stars = [str(mark).strip(".") for mark in model.coefs[tables.SIG]]
    return {
        INTERCEPTS[0] if row.term in INTERCEPTS else row.term: f"{number(row.b, digits)}{mark} "
        f"{interval(row.lower, row.upper, digits)}".rstrip()
        for row, mark in zip(tested(model), stars, strict=True)
    }


def _random(model: Any, digits: int) -> dict[str, str]:
    """Return standard deviations and correlations of a mixed model."""
    spread = getattr(model, "ranef_var", None)
    if spread is None:
        return {}
    rows = zip(spread.index, spread[tables.NAME], spread[tables.STD], strict=True)
    found: dict[str, str] = {}
    for group, name, sd in rows:
        label = f"{factor(model, group)}: SD {name}".rstrip()
        found[f"{group}: SD {name}" if label in found else label] = number(sd, digits)
    if model.ranef_corr is not None:
        for group, first, second, value in model.ranef_corr.itertuples():
            found[f"{group}: r {first}, {second}"] = share(value)
    return found


def _fit(model: Any, digits: int, whole: bool = True) -> dict[str, str]:
    found = {"Observations": f"{model.nobs:,}"}
    found |= {f"Groups: {name}": f"{size:,}" for name, size in (getattr(model, "grps", None) or {}).items()}
    found |= {name: share(value) for name, value in (model._shares() if whole else {}).items()}
    if getattr(model, "theta", None) is not None:
        found["Theta"] = number(model.theta, digits)
    restricted = model._linear and getattr(model._options, "REML", False)
    likelihood = {"AIC": model.AIC, "BIC": model.BIC}
    likelihood["Restricted log-likelihood" if restricted else "Log-likelihood"] = model.logLike
    return found | {name: number(value, digits) for name, value in likelihood.items()}


def _notes(models: Sequence[tuple[str, Any]], whole: bool = True) -> list[str]:
    """Return what has to be said of models by name: each sentence once, after the models it is about where not all."""
    found: dict[str, list[str]] = {}
    for name, model in models:
        story = model._story()
        texts = [story.tested, *methods(model, story), *model._ending()]
        if model.nobs < len(model.fits):
            texts.append(f"{printing.observations(model, model.nobs)}.")
        for text in [*filter(None, texts), *(f"Warning: {text}" for text in model.warnings)]:
            found.setdefault(text, []).append(name)
    notes = [text if len(names) == len(models) else f"{', '.join(names)}: {text}" for text, names in found.items()]
    return [*notes, f"Made with {software(model for _, model in models)}."] if whole else notes
