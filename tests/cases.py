"""Linear mixed models of many kinds, each fitted once for the whole run."""

from __future__ import annotations

from functools import cache
from typing import Any

import pandas as pd
from samples import dataset, fitted, trial, with_holes

from pymer4 import Lmer

CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "slopes": ("Reaction ~ Days + (Days | Subject)", "sleepstudy", {}),
    "ml": ("Reaction ~ Days + (Days | Subject)", "sleepstudy", {"REML": False}),
    "uncorrelated": ("Reaction ~ Days + (Days || Subject)", "sleepstudy", {}),
    "random only": ("Reaction ~ 1 + (Days | Subject)", "sleepstudy", {}),
    "nested": ("strength ~ 1 + (1 | batch / cask)", "Pastes", {}),
    "factors": ("y ~ x * cond + flag + dose + (x | g) + (1 | h)", "trial", {}),
    "no intercept": ("y ~ 0 + cond + x + (1 | g)", "trial", {}),
    "weighted": ("y ~ x + cond + (1 | g)", "trial", {"weights": "w", "offset": "o"}),
    "offset term": ("y ~ x + offset(o) + (1 | g)", "trial", {}),
    "holes": ("y ~ x + (1 | g)", "holes", {}),
    "transformed": ("log(pos) ~ poly(x, 2) + scale(z) + I(s^2) + (scale(x) | g)", "trial", {}),
    "aliased": ("y ~ x + I(2 * x) + (1 | g)", "trial", {}),
    "stopped": ("y ~ x + (x | g)", "trial", {"control": {"optCtrl": {"maxeval": 8}}}),
    "singular": ("s ~ x + (x + z | h)", "trial", {}),
}
"""Linear models by what they are of: formula, data, arguments."""


def rows_of(data: str) -> pd.DataFrame:
    """Return the trial, the trial with holes, or one of R's data sets."""
    return trial() if data == "trial" else with_holes() if data == "holes" else dataset(data)


@cache
def case(name: str) -> Lmer:
    """Return one of the cases, fitted once for the whole run: tests read it."""
    formula, data, given = CASES[name]
    return fitted(formula, rows_of(data), **given)


def refit(name: str, **given: Any) -> Lmer:
    """Return one of the cases fitted anew, with other arguments."""
    formula, data, its_own = CASES[name]
    return fitted(formula, rows_of(data), **{**its_own, **given})


def parameters(model: Lmer) -> dict[str, float]:
    """Return the estimates of all parameters under the names that their limits have."""
    found = {}
    for group, term, _, std in model.ranef_var.itertuples():
        found["sigma" if group == "Residual" else f"sd_{term}|{group.split('.')[0]}"] = std
    if model.ranef_corr is not None:
        found |= {f"cor_{second}.{first}|{group}": r for group, first, second, r in model.ranef_corr.itertuples()}
    return found | model.coefs["Estimate"].to_dict()
