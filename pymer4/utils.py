"""Documented names of small utilities."""

from __future__ import annotations

import numbers
import os
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.data.contrasts import R2con, con2R
from pymer4.errors import OptionError, shown, truth
from pymer4.models import reporting
from pymer4.models.base import Model
from pymer4.statistics.psd import isPSD, nearestPSD

__all__ = ["R2con", "con2R", "get_resource_path", "isPSD", "nearestPSD", "result_to_table"]


def get_resource_path() -> str:
    """Return the folder of the bundled sample data, ending in a separator.

    Examples:
        >>> get_resource_path().endswith("/")
        True
    """
    return os.path.join(str(resources.files("pymer4") / "resources"), "")


def result_to_table(
    model: Any,
    drop_intercept: bool = True,
    iv_name: str = "Predictor",
    round: bool = True,
    pval_text: str = "< .001",
    pval_thresh: float = 0.001,
) -> pd.DataFrame:
    """Return the coefficients of a fitted model as a frame to be copied into a spreadsheet.

    `model.to_docx()` and `compare_table()` make tables for papers.

    Args:
        model: a fitted `Lmer`, `Lm` or `Lm2`.
        drop_intercept: leave the intercept out.
        iv_name: the column that holds the names of the predictors.
        round: round numbers to 3 places.
        pval_text: what stands for p below `pval_thresh`.
        pval_thresh: the least p that is shown as a number.

    Returns:
        One row a predictor: its name, `b`, `ci` (both limits as text), the df where the model has some, the statistic,
        and `p` as text.

    Raises:
        NotFittedError: before `fit()`.
        OptionError: what is no model, or an argument of another type.

    Examples:
        >>> from pymer4 import Lm, load_dataset
        >>> model = Lm("DV ~ IV1", load_dataset("sample_data"))
        >>> _ = model.fit(summarize=False)
        >>> result_to_table(model)
          Predictor      b             ci     DF  T-stat       p
        0       IV1  1.222  (0.668 1.775)  562.0   4.337  < .001
    """
    if not isinstance(model, Model):
        raise OptionError(f"model={shown(model)} is no model. Give an Lmer, an Lm or an Lm2 that is fitted.")
    model._require_fit("result_to_table()")
    for argument, value in (("iv_name", iv_name), ("pval_text", pval_text)):
        if not isinstance(value, str):
            raise OptionError(f"{argument}={shown(value)} has to be text.")
    if not isinstance(pval_thresh, numbers.Real):
        raise OptionError(f"pval_thresh={shown(pval_thresh)} has to be a number, such as 0.001.")
    coefs = tables.rounded(model.coefs) if truth("round", round) else model.coefs
    if truth("drop_intercept", drop_intercept):
        coefs = coefs.drop(index=[name for name in reporting.INTERCEPTS if name in coefs.index])
    lower, upper = tables.limit_columns(model._options.conf_level)
    p = coefs[tables.PERM_P_VAL if tables.PERM_P_VAL in coefs else tables.P_VAL]
    ends = zip(coefs[lower], coefs[upper], strict=True)
    columns = {iv_name: coefs.index, "b": coefs[tables.ESTIMATE], "ci": [f"({low} {high})" for low, high in ends]}
    columns |= {name: coefs[name] for name in (tables.DF, reporting.statistic_of(coefs)) if name in coefs}
    return pd.DataFrame(
        {name: np.asarray(values) for name, values in columns.items()}
        | {"p": [pval_text if value < pval_thresh else str(value) for value in p]}
    )
