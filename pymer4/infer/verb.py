"""The one verb of inference: every question is rows of L applied to b, every way is written once.

A model supplies estimates, draws or statistics under the null hypothesis (`Answering`); standard errors, limits and p
are taken from them here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.errors import OptionError
from pymer4.infer.adjust import applied
from pymer4.infer.asymptotic import Alternative, around, limits, p_value, t_statistic
from pymer4.infer.draws import Interval, from_draws, from_null, quantiles, shifted_p
from pymer4.infer.options import InferOptions, On
from pymer4.infer.targets import Draws, Estimates, Null, Question

_SEVERAL = 2
_NUMBERS = 2**23  # of draws that are worked on at a time

BCA_LEAST = 50
"""Draws that limits by bca take at least: their levels hang on the share of draws below the estimate."""


class Answering(Protocol):
    """What a model supplies."""

    @property
    def _law(self) -> tuple[str, str]:
        """Family and link of the table of coefficients."""

    def _questions(self, on: On) -> Sequence[Question]:
        """Return what is asked, a table each."""

    def _estimates(self, question: Question, options: InferOptions) -> Estimates:
        """Return the quantities with standard errors and df."""

    def _boot(self, questions: Sequence[Question], options: InferOptions) -> Sequence[Draws]:
        """Return bootstrap draws for each question, all from the same replicates."""

    def _jackknife(self, question: Question, options: InferOptions) -> np.ndarray:
        """Return the quantities without each row, or group, in turn, shape (m, k)."""

    def _null(self, question: Question, options: InferOptions) -> Null:
        """Return statistics of the data and of permutations."""

    def _interval(self, options: InferOptions) -> Interval:
        """Return the kind of bootstrap limits, refusing what the model has not."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What `infer()` found.

    Attributes:
        tables: one a question.
        questions: what each is about; none where an answer is not of rows of L.
        resamples: the draws behind each, a column a quantity, or None.
        observed: of permutations the statistics of the data, (k,) each.
        told: what is to be said of draws that failed, and of what can't be tested.
    """

    tables: Sequence[pd.DataFrame]
    questions: Sequence[Question] = ()
    resamples: Sequence[pd.DataFrame] | None = None
    observed: Sequence[np.ndarray] = ()
    told: Sequence[str] = ()


def answer(model: Answering, options: InferOptions, questions: Sequence[Question] | None = None) -> Answer:
    """Return what is asked of coefficients, marginal effects or predictions; other questions may be given."""
    questions = model._questions(options.on) if questions is None else questions
    if options.how == "asymp":
        return Answer([_asymptotic(model, question, options) for question in questions], questions)
    return (_bootstrapped if options.how == "boot" else _permuted)(model, questions, options)


def columns(
    question: Question, found: Estimates, level: float, null: float = 0.0, side: Alternative = "two-sided"
) -> dict[str, np.ndarray]:
    """Return estimate, se, lower, upper, df, statistic and p as a table shows them, shape (k,) each."""
    b = found.values + question.target.offset
    df = np.where(np.isnan(b), np.nan, found.df)
    statistic = t_statistic(b, found.se, null)
    if question.adjusted is None:
        p, (lower, upper) = p_value(statistic, df, side), limits(b, found.se, df, level, side)
    else:
        p, reach = question.adjusted(found, statistic, level, side)
        lower, upper = around(b, reach * found.se, side)
    names = ("estimate", "se", "lower", "upper")
    values = dict(zip(names, question.target.carried(b, found.se, lower, upper), strict=True))
    return values | {"df": df, "statistic": statistic, "p": p}


def _asymptotic(model: Answering, question: Question, options: InferOptions) -> pd.DataFrame:
    found, level, side = model._estimates(question, options), options.conf_level, options.alternative
    values = columns(question, found, level, options.null, side)
    how = (level, question.target.side(side, found.values + question.target.offset))
    if question.about == "coefs":
        assert question.rows is not None
        table = tables.mixed_coefs(values, question.rows, level, *model._law, alternative=side)
    elif question.about == "means":
        table = tables.marginal_estimates(question.told(**values), *how)
    elif question.about == "contrasts":
        table = tables.marginal_contrasts(question.told(**values) | {"z": found.z}, *how)
    else:
        shown = {name: values[name] for name in ("estimate", "se", "lower", "upper", "df")}
        table = tables.inferred(question.told(**shown), *how)
    adjust = (question.attrs or {}).get("adjust", "none")
    return _noted(table, question, options, adjust=applied(adjust, _SEVERAL, pairwise=True, alternative=side))


def _noted(table: pd.DataFrame, question: Question, options: InferOptions, **more: Any) -> pd.DataFrame:
    table.attrs |= {**(question.attrs or {}), "how": options.how, "level": options.conf_level}
    table.attrs |= {"errors": options.errors, "null": options.null, "alternative": options.alternative, **more}
    return table


def _bootstrapped(model: Answering, questions: Sequence[Question], options: InferOptions) -> Answer:
    kind = model._interval(options)
    if kind == "bca" and options.n_boot < BCA_LEAST:
        raise OptionError(
            f"n_boot={options.n_boot} is too few for ci_type='bca', which takes {BCA_LEAST} draws at least, better "
            "1000. Give more, or use ci_type='percentile'."
        )
    drawn = model._boot(questions, options)
    found, told = [], []
    tail = (1 - options.conf_level) / (2 if options.alternative == "two-sided" else 1)
    if (options.n_boot + 1) * tail < 1:
        told.append(
            f"n_boot={options.n_boot} draws do not reach limits of level {options.conf_level:g}, which are the extreme "
            f"draws then. Take {math.ceil(1 / tail) - 1} at least, better 1000"
        )
    for question, draws in zip(questions, drawn, strict=True):
        estimates = model._estimates(question, options).values
        jackknife = model._jackknife(question, options) if kind == "bca" else None
        values = _from_replicates(question, estimates, draws.values, kind, jackknife, options)
        side = question.target.side(options.alternative, estimates + question.target.offset)
        table = tables.inferred(question.told(**values), options.conf_level, side)
        found.append(_noted(table, question, options, ci_type=kind, adjust="none", **draws.attrs))
    return Answer(found, questions, _kept(questions, drawn, options), told=[*told, *_once(drawn)])


def _from_replicates(
    question: Question,
    estimates: np.ndarray,
    draws: np.ndarray,
    kind: Interval,
    jackknife: np.ndarray | None,
    options: InferOptions,
) -> dict[str, np.ndarray]:
    """Return the columns of a table from draws (n, k): limits are carried over, se is that of the draws as shown.

    They are made of so many quantities at a time as memory is no matter.
    """
    side, target = options.alternative, question.target
    level = options.conf_level if side == "two-sided" else 2 * options.conf_level - 1
    offset = np.broadcast_to(target.offset, len(estimates))
    size, parts = max(1, _NUMBERS // len(draws)), []
    for at in (slice(start, start + size) for start in range(0, max(len(estimates), 1), size)):
        b, some = estimates[at] + offset[at], draws[:, at] + offset[at]
        found = from_draws(b, some, level, kind, None if jackknife is None else jackknife[:, at] + offset[at])
        lower = np.where(side == "less", -np.inf, found.lower)
        upper = np.where(side == "greater", np.inf, found.upper)
        shown, _, lower, upper = target.carried(b, found.se, lower, upper)
        with np.errstate(invalid="ignore", over="ignore"):
            se = found.se if target.link == "identity" else np.nanstd(target.shown(some), axis=0, ddof=1)
        p = shifted_p(b, some, options.null, side)
        parts.append((shown, lower, upper, se, np.asarray(found.n), p))
    names = ("estimate", "lower", "upper", "se", "n_boot", "p")
    return dict(zip(names, map(np.concatenate, zip(*parts, strict=True)), strict=True))


def _permuted(model: Answering, questions: Sequence[Question], options: InferOptions) -> Answer:
    nulls, found = [], []
    for question in questions:
        null, est = model._null(question, options), model._estimates(question, options)
        b, level = est.values + question.target.offset, options.conf_level
        plain = columns(question, est, level, options.null, options.alternative)
        p = from_null(null.observed, null.values, options.alternative)
        n = np.isfinite(null.values).sum(axis=0)
        values = {name: plain[name] for name in ("estimate", "lower", "upper", "se")} | {"n_perm": n}
        values |= {"z" if est.z else "statistic": plain["statistic"], "permuted_p": p}
        table = tables.inferred(
            question.told(**values), options.conf_level, question.target.side(options.alternative, b)
        )
        found.append(_noted(table, question, options, scheme=options.scheme, adjust="none", **null.attrs))
        nulls.append(null)
    observed = [null.observed for null in nulls]
    return Answer(found, questions, _kept(questions, nulls, options), observed, _once(nulls))


def require_rows(question: Question) -> None:
    """Refuse, by an OptionError, to permute quantities that are no rows of coefficients."""
    if question.target.curve is not None:
        raise OptionError(
            "Slopes on the response scale are no combinations of coefficients, which how='perm' tests. Use "
            "how='boot', or emtrends(type='link') first."
        )


def require_shuffles(question: Question, options: InferOptions, linear: bool) -> None:
    """Refuse, by an OptionError, what shuffling an outcome, or residuals, can't test."""
    require_rows(question)
    if options.scheme == "raw" and options.null != 0:
        raise OptionError(
            f"null={options.null:g} can't be tested by scheme='raw', which shuffles the outcome. Use "
            "scheme='freedman-lane' (linear models), or how='asymp'."
        )
    if options.scheme != "raw" and not linear:
        raise OptionError(
            "scheme='freedman-lane' shuffles residuals, which is defined for linear models. Use scheme='raw'."
        )
    if options.errors in ("CR2", "unequal_var"):
        raise OptionError(
            f"errors={options.errors!r} is not for how='perm', where each shuffle has standard errors of its own: use "
            "iid, HC0 to HC3, or CR0."
        )


def _kept(
    questions: Sequence[Question], drawn: Sequence[Draws | Null], options: InferOptions
) -> list[pd.DataFrame] | None:
    """Return the draws, a column a quantity, those of marginal effects as shown in their rows."""
    if not options.save_resamples:
        return None
    found = []
    for question, each in zip(questions, drawn, strict=True):
        values = each.values + question.target.offset if isinstance(each, Draws) else each.values
        found.append(pd.DataFrame(values, columns=question.names))
    return found


def _once(parts: Sequence[Draws | Null]) -> list[str]:
    return list(dict.fromkeys(text for part in parts for text in part.told))


def simulations(draws: pd.DataFrame | None, options: InferOptions) -> pd.DataFrame:
    """Return mean, standard deviation and quantiles of the simulated outcomes of each row."""
    if draws is None:
        raise OptionError("Nothing was simulated yet. Call simulate() first.")
    tails = np.array([(1 - options.conf_level) / 2, (1 + options.conf_level) / 2])
    table = tables.simulated(draws, quantiles(draws.to_numpy().T, tails), options.conf_level)
    table.attrs |= {"how": options.how, "level": options.conf_level}
    return table
