"""The models of `native_cases.csv`, made by `Lm` and `Lm2` as `native.R` makes them by lm, glm and MASS."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np

from pymer4 import Lm, Lm2
from pymer4.errors import ModelWarning

from .data import named_data
from .mixed import read_rows

NATIVES = read_rows("native_cases.csv")
SINGLE = {id: row for id, row in NATIVES.items() if not row.group}
GROUPED = {id: row for id, row in NATIVES.items() if row.group}


@cache
def fitted(id: str, kind: str = "iid") -> Lm | Lm2:
    """Return a model with the errors of a kind; the clusters are groups, or blocks of them."""
    row, data = NATIVES[id], named_data("natives")
    how = {} if kind == "iid" else {"robust": kind}
    how |= {"cluster": {"cluster": "block" if row.group else "g"}, "hac": {"n_lags": 3}}.get(kind, {})
    if row.group:
        model = Lm2(row.formula, data, row.group, row.family, link=row.link or None)
    else:
        model = Lm(row.formula, data, row.family, link=row.link or None, offset=row.offset or None)
        # A column's name would mean one variance for each of its values.
        weights = data[row.weights] if row.weights and row.linear else row.weights or None
        how |= {"weights": weights}
    with warnings.catch_warnings():
        if id == "aliased":
            warnings.simplefilter("ignore", ModelWarning)
        model.fit(summarize=False, **how)
    return model


def near_rows(n: int = 7):
    """Return the first complete rows."""
    data = named_data("natives")
    return data[np.asarray(data.notna().all(axis=1))].head(n)
