"""Likelihood-ratio tests between fitted models, of whatever class."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.errors import DataError, ModelWarning, NotFittedError, OptionError, one_of

_NESTED_FAMILIES = {"poisson", "nbinom"}
"""The one pair of families of which each law is a limit of the other's."""

_SAME = 1e-9
"""Share by which one number may differ between two engines that took it in."""

_LISTED = 5


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Likelihood:
    """What a comparison needs of a fitted model; each model class gives it as `_likelihood(refit)`.

    Attributes:
        formula: the formula as the user gave it.
        family: error distribution.
        link: its link.
        n_parameters: parameters of the whole model: fixed effects, variances and correlations, scale.
        log_likelihood: at the estimate; restricted where `restricted`.
        AIC: Akaike's information criterion.
        BIC: Schwarz's information criterion.
        restricted: whether the fit is by REML.
        quadrature: whether the likelihood leaves out constants, as that by several points of quadrature does before
            lme4 2.1.
        unscaled: whether an estimated scale is taken for 1 in the random part, as it is before lme4 2.1.
        is_mixed: whether there are random effects.
        robust: which robust standard errors the model shows, or an empty text.
        own_weights: whether the weights are estimated from the model's own residuals.
        fixed: names of the fixed effects.
        design: makes the design of the fixed effects, shape (n, p).
        outcome: outcome of the rows used, as numbers, shape (n,).
        weights: prior weights of these rows, shape (n,).
        offset: offset of these rows, shape (n,).
        used: which rows of the data these are, shape (rows,).
        labels: index of the data.
    """

    formula: str
    family: str
    link: str
    n_parameters: int
    log_likelihood: float
    AIC: float
    BIC: float
    restricted: bool = False
    quadrature: bool = False
    unscaled: bool = False
    is_mixed: bool = False
    robust: str = ""
    own_weights: bool = False
    fixed: tuple[str, ...]
    design: Callable[[], np.ndarray]
    outcome: np.ndarray
    weights: np.ndarray
    offset: np.ndarray
    used: np.ndarray
    labels: pd.Index


def compared(purpose: str, models: Sequence[Any], refit: bool) -> pd.DataFrame:
    """Return the table of a comparison of models; warnings belong where its caller was called.

    Args:
        purpose: the function that users call, for messages.
        models: what they gave it.
        refit: whether what was fitted by REML is fitted again by maximum likelihood.

    Raises:
        TypeError: what is no model.
        OptionError: fewer than two models, or such as have no common scale.
        DataError: models of different observations.
        NotFittedError: a model that is not fitted.
    """
    one_of("refit", refit, (True, False))
    _check_models(purpose, models)
    found = sorted((model._likelihood(refit) for model in models), key=lambda one: one.n_parameters)
    _check_scale(found)
    _check_observations(found)
    _check_sizes(found)
    statistic = 2 * np.diff([one.log_likelihood for one in found])
    for text in (*_of_robust(found), *_of_restricted(found), *_of_order(found, statistic)):
        warnings.warn(text, ModelWarning, stacklevel=3)
    df = np.diff([one.n_parameters for one in found])
    # R, too, takes a statistic below 0 for 0.
    chisq = np.maximum(statistic, 0.0)
    from scipy.special import chdtrc

    return tables.comparison_table(found, chisq, df, chdtrc(df, chisq))


def _check_models(purpose: str, models: Sequence[Any]) -> None:
    for model in models:
        if not hasattr(model, "_likelihood"):
            hint = " Models in a list are for lrt()." if isinstance(model, (list, tuple)) else ""
            raise TypeError(f"{purpose} compares fitted models, Lmer or Lm, not a {type(model).__name__}.{hint}")
        if model._likelihood is None:
            raise OptionError(
                f"{purpose} takes Lmer and Lm, not {type(model).__name__}: it has one likelihood for each group, and "
                "tests means of coefficients over the groups, which are no restriction of another model. Fit an Lmer."
            )
    if len(models) < 2:
        raise OptionError(f"{purpose} was given {len(models)} model(s). Give two or more.")
    for model in models:
        if not model.fitted:
            raise NotFittedError(f"{purpose} needs fitted models. Call .fit() of {model.formula!r} first.")


def _check_scale(found: Sequence[Likelihood]) -> None:
    """Refuse likelihoods that measure different things."""
    families, links = {one.family for one in found}, {one.link for one in found}
    if len(links) > 1 or (len(families) > 1 and families != _NESTED_FAMILIES):
        given = ", ".join(sorted({f"{one.family} ({one.link})" for one in found}))
        raise OptionError(
            f"The models have different error distributions or links: {given}. None is then a restriction of another, "
            "and there is no test between them: fit all with one family and link (poisson and nbinom may mix)."
        )
    if len({one.quadrature for one in found}) > 1:
        raise OptionError(
            "Some of the models were fitted with nAGQ > 1, whose likelihood leaves out constants before lme4 2.1, and "
            "some were not. Fit all Lmer with one nAGQ, with nAGQ=1 beside an Lm."
        )
    if len({one.is_mixed for one in found}) > 1:
        _check_mixed_beside_plain(found)
    for one in found:
        if one.own_weights:
            raise OptionError(
                f"The weights of {one.formula!r} are variances of its own residuals in the groups of weights=, so no "
                "other model has the same. Fit both with the same numbers: weights=array."
            )
        if not np.isfinite(one.log_likelihood):
            raise DataError(f"{one.formula!r} has a log-likelihood of {one.log_likelihood}, to compare with nothing.")


def _check_mixed_beside_plain(found: Sequence[Likelihood]) -> None:
    for one in found:
        if one.restricted:
            raise OptionError(
                f"refit=False keeps the restricted likelihood of {one.formula!r}, and a model without random effects "
                "has none to set beside it. Use refit=True."
            )
        if one.unscaled:
            raise OptionError(
                f"Before lme4 2.1 the likelihood of family {one.family!r} with link {one.link!r} takes the scale for 1 "
                "in the random part, so it can't stand beside that of a model without one. Update lme4, or compare a "
                "linear Lmer with a linear Lm, of the outcome transformed."
            )


def _check_observations(found: Sequence[Likelihood]) -> None:
    """Refuse models of different observations. The order of rows does not count."""
    first = found[0]
    for one in found[1:]:
        both = f"{first.formula!r} and {one.formula!r}"
        n, m = len(first.outcome), len(one.outcome)
        apart = _rows_of_one(first, one)
        if n != m or len(apart):
            shown = ", ".join(map(str, apart[:_LISTED])) + (", ..." if len(apart) > _LISTED else "")
            which = f"; row(s) {shown} of the data in one of them only" if len(apart) else ""
            raise DataError(
                f"The models were fitted to different rows: {n} in {first.formula!r}, {m} in {one.formula!r}{which}. "
                "Drop the rows where either has a missing value, and fit anew."
            )
        if not _same_rows(first, one, "outcome"):
            raise DataError(
                f"{both} were fitted to different values of the outcome. Fit both to the same rows, with the outcome "
                "on one scale."
            )
        if not _same_rows(first, one, "outcome", "weights"):
            raise DataError(f"{both} were fitted with different weights. Give both the same.")
    for smaller, larger in pairwise(found):
        if not (_same_rows(smaller, larger, "outcome", "offset") or _makes_up(smaller, larger)):
            raise DataError(
                f"{smaller.formula!r} and {larger.formula!r} were fitted with different offsets, and no coefficients "
                "of the larger make up for it. Give both the same offset."
            )


def _rows_of_one(first: Likelihood, second: Likelihood) -> pd.Index:
    """Return the labels of rows that one of two models uses and the other does not, as far as labels tell."""
    if len(first.labels) != len(second.labels):
        return first.labels[:0]
    place = np.arange(len(first.labels))
    if not first.labels.equals(second.labels):
        if not (first.labels.is_unique and second.labels.is_unique):
            return first.labels[:0]
        place = second.labels.get_indexer(first.labels)
        if (place < 0).any():
            return first.labels[:0]
    used, outcomes = [], []
    for one in (first, second):
        outcome = np.full(len(one.used), np.nan)
        outcome[one.used] = one.outcome
        used.append(one.used)
        outcomes.append(outcome)
    used[1], outcomes[1] = used[1][place], outcomes[1][place]
    both = used[0] & used[1]
    # Where one label has two outcomes, the labels are those of other frames, and tell nothing.
    told = np.allclose(outcomes[0][both], outcomes[1][both], rtol=_SAME, atol=0)
    return first.labels[used[0] ^ used[1]] if told else first.labels[:0]


def _same_rows(first: Likelihood, second: Likelihood, *names: str) -> bool:
    """Whether two models have the same numbers in their rows, whatever their order."""
    pair = [np.column_stack([getattr(one, name) for name in names]) for one in (first, second)]
    in_order = (values[np.lexsort(values.T[::-1])] for values in pair)
    return np.allclose(*pair, rtol=_SAME, atol=0) or np.allclose(*in_order, rtol=_SAME, atol=0)


def _makes_up(smaller: Likelihood, larger: Likelihood) -> bool:
    """Whether a combination of the larger model's fixed effects is the difference of the offsets."""
    if not np.allclose(smaller.outcome, larger.outcome, rtol=_SAME, atol=0):
        return False
    X, apart = larger.design(), smaller.offset - larger.offset
    left = apart - X @ np.linalg.lstsq(X, apart, rcond=None)[0]
    return np.linalg.norm(left) <= 1e-8 * np.linalg.norm(apart)


def _check_sizes(found: Sequence[Likelihood]) -> None:
    size, times = Counter(one.n_parameters for one in found).most_common(1)[0]
    if times > 1:
        same = " and ".join(repr(one.formula) for one in found if one.n_parameters == size)
        raise OptionError(
            f"{same} have {size} parameters each, so neither is a restriction of the other and no test can tell them "
            "apart. Compare their .AIC or .BIC, or leave one out."
        )


def _of_robust(found: Sequence[Likelihood]) -> list[str]:
    """Return that robust standard errors do not count here, once for all models."""
    robust = [f"{one.formula!r} ({one.robust})" for one in found if one.robust]
    if not robust:
        return []
    return [f"Likelihood-ratio tests do not know the robust standard errors of {', '.join(robust)}."]


def _of_restricted(found: Sequence[Likelihood]) -> list[str]:
    """Return what is doubtful about likelihoods that are restricted."""
    if not any(one.restricted for one in found):
        return []
    if not all(one.restricted for one in found):
        return ["Some models were fitted by REML, some not: their likelihoods can't be compared. Use refit=True."]
    if len({frozenset(one.fixed) for one in found}) > 1:
        return ["Restricted likelihoods of models with different fixed parts can't be compared. Use refit=True."]
    return []


def _of_order(found: Sequence[Likelihood], statistic: np.ndarray) -> list[str]:
    """Return which larger models have the lower likelihood, beyond the noise of the optimizer."""
    return [
        f"{larger.formula!r} has more parameters than {smaller.formula!r} and a lower likelihood: "
        "it does not contain the smaller model, or did not converge."
        for smaller, larger, value in zip(found, found[1:], statistic, strict=False)
        if value < -1e-3
    ]
