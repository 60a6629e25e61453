"""Profile likelihoods of the variances of a mixed model: their traces, and what the deviance rises by at limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.errors import one_of
from pymer4.infer.options import InferOptions

VarianceScale = Literal["sd", "var"]
"""What standard deviations are told as."""

_CORRELATION = "cor_"
_NAMED = {"sd_": "var_", "sigma": "sigma^2"}


@dataclass(frozen=True, slots=True, eq=False)
class Traces:
    """The profile likelihood of standard deviations, correlations and sigma of a mixed model.

    Zeta is the signed root of what the deviance rises by where a parameter is held at a value and all others are at
    their best; a straight line of slope 1/SE where the likelihood is normal in it (Bates et al. 2015, J. Stat. Softw.
    67, section 5.1). As in lme4 the likelihood is the unrestricted one, so that zeta is 0 at the estimate by maximum
    likelihood.

    Attributes:
        table: Parameter, Value and Zeta, values in ascending order.
        found: Estimate and limits of each parameter, as `infer(how="profile")` returned them.
        threshold: rise of the deviance at the limits.
    """

    table: pd.DataFrame
    found: pd.DataFrame
    threshold: float

    def limits(self, scale: VarianceScale = "sd") -> pd.DataFrame:
        """Return estimates and limits as standard deviations, or as variances, their squares; correlations stay.

        Example:
            >>> table = tables.inferred({"rows": ["sd_x|g", "cor_z.x|g"], "labels": None, "contrast": None, "values": {
            ...     "estimate": np.array([2.0, 0.1]), "lower": np.array([1.0, -0.3]), "upper": np.array([3.0, 0.5])}},
            ...     0.95, "two-sided")
            >>> Traces(pd.DataFrame(), table, 3.84).limits("var")
                       Estimate  2.5_ci  97.5_ci
            var_x|g         4.0     1.0      9.0
            cor_z.x|g       0.1    -0.3      0.5
        """
        one_of("scale", scale, get_args(VarianceScale))
        if scale == "sd":
            return self.found.copy()
        power = np.where(self.found.index.str.startswith(_CORRELATION), 1, 2)
        return self.found.pow(power, axis=0).rename(index=_as_variance)


def _as_variance(name: str) -> str:
    kind = next((kind for kind in _NAMED if name.startswith(kind)), "")
    return _NAMED.get(kind, "") + name[len(kind) :]


def rise(options: InferOptions) -> tuple[float, float]:
    """Return what the deviance rises by at the limits, and the level that this is of."""
    from scipy.special import chdtr

    if options.threshold is None:
        return quantile(options.conf_level), options.conf_level
    return options.threshold, float(chdtr(1, options.threshold))


def quantile(level: float) -> float:
    """Return the quantile of chi-square with 1 df."""
    from scipy.special import chdtri

    return float(chdtri(1, 1 - level))


def traces(told: Mapping[str, Any], threshold: float, level: float) -> Traces:
    """Return the record of profiles.

    Args:
        told: `names`, `estimate`, `lower` and `upper` of k parameters; `points`, how many each has, shape (k,); `value`
            and `zeta` of all points, one parameter after the other.
        threshold: rise of the deviance at the limits.
        level: the level that this is of.
    """
    names = told["names"]
    values = {name: told[name] for name in ("estimate", "lower", "upper")}
    found = tables.inferred({"values": values, "labels": None, "contrast": None, "rows": names}, level, "two-sided")
    found.attrs |= {"how": "profile", "level": level, "threshold": threshold}
    parameter = np.repeat(np.array(names, dtype=object), told["points"])
    columns = dict(zip(tables.TRACED, (parameter, told["value"], told["zeta"]), strict=True))
    return Traces(pd.DataFrame(columns), found, threshold)
