"""The comparison of fitted models, of whatever class, as users call it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from pymer4.infer.compare import compared
from pymer4.models import answers

__all__ = ["compare", "lrt"]


def compare(*models: Any, refit: bool = True) -> pd.DataFrame:
    """Compare fitted models by likelihood-ratio tests, each with the next smaller one.

    Models are sorted by the number of their parameters. The statistic is twice the difference of the log-likelihoods;
    its df is the difference in parameters of the whole model, random part included. That the smaller model is a
    restriction of the larger one is for the user to see to. Where the restriction puts a variance at zero, as where a
    regression stands beside the model with a random intercept, p is too large, about twice for a single variance
    (Self & Liang 1987, JASA 82). Robust standard errors play no part.

    Args:
        *models: two or more fitted `Lmer` or `Lm` of the same outcome and rows. Before lme4 2.1 a generalized `Lm` is
            not compared with an `Lmer` fitted with several points of quadrature, or of a family with a scale.
        refit: fit again by maximum likelihood what was fitted by REML; the models given stay as they are. False
            compares restricted likelihoods, which is sound only for models with the same fixed part.

    Returns:
        One row a model, index from 0: model, npar, AIC, BIC, log-likelihood, deviance, and the test
        against the row above: Chisq, Df, P-val, Sig.

    Raises:
        TypeError: what is no model.
        OptionError: fewer than two models, or an `Lm2`; families, links or likelihoods that have no common scale; two
            models with the same number of parameters.
        DataError: models of different rows, outcomes, weights or offsets.
        NotFittedError: a model that is not fitted.

    Examples:
        >>> from pymer4 import Lm, Lmer, compare, load_dataset
        >>> sleep = load_dataset("sleepstudy")
        >>> models = [Lmer(f"Reaction ~ Days + {random}", sleep) for random in ("(1 | Subject)", "(Days | Subject)")]
        >>> models = [Lm("Reaction ~ Days", sleep), *models]
        >>> _ = [model.fit(summarize=False) for model in models]
        >>> compare(*models)[["npar", "Chisq", "Df"]].round(3)
           npar    Chisq   Df
        0     3      NaN  NaN
        1     4  106.214  1.0
        2     6   42.139  2.0
    """
    return answers.compared(compared("compare()", models, refit), refit)


def lrt(models: Iterable[Any], refit: bool = True) -> pd.DataFrame:
    """Compare fitted models by likelihood-ratio tests; `compare` with the models in a list.

    Args:
        models: two or more fitted models of the same outcome and rows.
        refit: fit again by maximum likelihood what was fitted by REML.

    Returns:
        The table that `compare` describes.

    Raises:
        TypeError: see `compare`.
        OptionError: see `compare`.
        DataError: see `compare`.
        NotFittedError: a model that is not fitted.

    Examples:
        >>> from pymer4 import Lmer, load_dataset
        >>> data = load_dataset("sleepstudy")
        >>> models = [Lmer(f"Reaction ~ {fixed} + (1 | Subject)", data) for fixed in ("1", "Days")]
        >>> for model in models:
        ...     model.fit(REML=False, summarize=False)
        >>> lrt(models)[["Chisq", "Df"]].round(1).to_dict("list")
        {'Chisq': [nan, 116.5], 'Df': [nan, 1.0]}
    """
    if isinstance(models, str) or not isinstance(models, Iterable):
        raise TypeError("lrt() takes the models in one list: lrt([smaller, larger]).")
    return answers.compared(compared("lrt()", tuple(models), refit), refit)
