"""Likelihood-ratio tests between fitted models, of whatever class."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.errors import DataError, ModelWarning, NotFittedError, OptionError

_NESTED_FAMILIES = {"poisson", "nbinom"}
"""The one pair of families of which each law is a limit of the other's."""


@dataclass(frozen=True, slots=True, eq=False)
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
        quadrature: whether the likelihood is by adaptive quadrature of several points, which leaves out constants.
        fixed: names of the fixed effects.
        outcome: outcome of the rows used, as numbers, shape (n,).
        weights: prior weights of these rows, shape (n,).
    """

    formula: str
    family: str
    link: str
    n_parameters: int
    log_likelihood: float
    AIC: float
    BIC: float
    restricted: bool
    quadrature: bool
    fixed: tuple[str, ...]
    outcome: np.ndarray
    weights: np.ndarray


def compare(*models: Any, refit: bool = True) -> pd.DataFrame:
    """Compare fitted models by likelihood-ratio tests, each with the next smaller one.

    Models are sorted by the number of their parameters. The statistic is twice the difference of the log-likelihoods;
    its df is the difference in parameters of the whole model, random part included. That the smaller model is a
    restriction of the larger one is for the user to see to. Where the restriction puts a variance at zero, p is too
    large (Self & Liang 1987, JASA 82).

    Args:
        *models: two or more fitted models of the same outcome and rows.
        refit: fit again by maximum likelihood what was fitted by REML; the models given stay as they are. False
            compares restricted likelihoods, which is sound only for models with the same fixed part.

    Returns:
        One row a model, index from 0: model, npar, AIC, BIC, log-likelihood, deviance, and the test
        against the row above: Chisq, Df, P-val, Sig.

    Raises:
        OptionError: fewer than two models; families, links or likelihoods that have no common scale; two
            models with the same number of parameters.
        DataError: models of different rows, outcomes or weights.
        NotFittedError: a model that is not fitted.

    Examples:
        >>> from pymer4 import Lmer, compare, load_dataset
        >>> sleep = load_dataset("sleepstudy")
        >>> models = [Lmer(f"Reaction ~ Days + {random}", sleep) for random in ("(1 | Subject)", "(Days | Subject)")]
        >>> _ = [model.fit(summarize=False) for model in models]
        >>> compare(*models)[["npar", "Chisq", "Df"]].round(3)
           npar   Chisq   Df
        0     4     NaN  NaN
        1     6  42.139  2.0
    """
    return _compared("compare()", models, refit)


def lrt(models: Iterable[Any], refit: bool = True) -> pd.DataFrame:
    """Compare fitted models by likelihood-ratio tests; `compare` with the models in a list.

    Args:
        models: two or more fitted models of the same outcome and rows.
        refit: fit again by maximum likelihood what was fitted by REML.

    Returns:
        The table that `compare` describes.

    Raises:
        OptionError: see `compare`.
        DataError: see `compare`.
        NotFittedError: a model that is not fitted.
    """
    if hasattr(models, "_likelihood") or not isinstance(models, Iterable):
        raise OptionError("lrt() takes the models in one list: lrt([smaller, larger]).")
    return _compared("lrt()", tuple(models), refit)


def _compared(purpose: str, models: Sequence[Any], refit: bool) -> pd.DataFrame:
    """Return the table of a comparison; its caller's caller is where warnings belong."""
    _check_models(purpose, models)
    found = sorted((model._likelihood(refit) for model in models), key=lambda one: one.n_parameters)
    _check_scale(found)
    _check_outcome(found)
    _check_sizes(found)
    statistic = 2 * np.diff([one.log_likelihood for one in found])
    for text in (*_of_restricted(found), *_of_order(found, statistic)):
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
            raise OptionError(f"{purpose} compares fitted models, not a {type(model).__name__}.{hint}")
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
            "Some of the models were fitted with nAGQ > 1, whose likelihood leaves out constants, and some were not. "
            "Fit all with one nAGQ."
        )


def _check_outcome(found: Sequence[Likelihood]) -> None:
    """Refuse models of different observations. The order of rows does not count."""
    first = found[0]
    for one in found[1:]:
        if len(one.outcome) != len(first.outcome):
            raise DataError(
                f"The models were fitted to different rows: {len(first.outcome)} in {first.formula!r}, "
                f"{len(one.outcome)} in {one.formula!r}. Drop the rows where either has a missing value, and fit anew."
            )
        if not _same_numbers(first.outcome, one.outcome):
            raise DataError(
                f"{first.formula!r} and {one.formula!r} were fitted to different values of the outcome. "
                "Fit both to the same rows, with the outcome on one scale."
            )
        if not _same_numbers(first.weights, one.weights):
            raise DataError(
                f"{first.formula!r} and {one.formula!r} were fitted with different weights. Give both the same."
            )


def _check_sizes(found: Sequence[Likelihood]) -> None:
    size, times = Counter(one.n_parameters for one in found).most_common(1)[0]
    if times > 1:
        same = " and ".join(repr(one.formula) for one in found if one.n_parameters == size)
        raise OptionError(
            f"{same} have {size} parameters each, so neither is a restriction of the other and no test can tell them "
            "apart. Compare their .AIC or .BIC, or leave one out."
        )


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


def _same_numbers(a: np.ndarray, b: np.ndarray) -> bool:
    return np.allclose(np.sort(a), np.sort(b), rtol=1e-9, atol=0, equal_nan=True)
