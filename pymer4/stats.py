"""Documented names of statistics for samples, p-values and designs.

| function | about | missing values |
| --- | --- | --- |
| `perm_test`, `cohens_d`, `tost_equivalence`, `welch_dof` | samples | left out, from each or by pairs |
| `boot_func` | a function of your own | given to it as they are |
| `correct_pvals`, `discrete_inverse_logit` | numbers one by one | stay missing, in place |
| `rsquared`, `rsquared_adj` | a fit | rows left out |
| `vif` | a design | refused |
| `lrt` | fitted models | rows were left out in the fits |
"""

from __future__ import annotations

from typing import Any

from pymer4.models.comparison import lrt
from pymer4.simulate import discrete_inverse_logit
from pymer4.statistics.bootstrap import boot_func, cohens_d
from pymer4.statistics.equivalence import tost_equivalence
from pymer4.statistics.fit_measures import rsquared, rsquared_adj, vif
from pymer4.statistics.permutation import perm_test
from pymer4.statistics.pvalues import correct_pvals
from pymer4.statistics.samples import degrees_of_freedom, require_spread, sample

__all__ = [
    "boot_func",
    "cohens_d",
    "correct_pvals",
    "discrete_inverse_logit",
    "lrt",
    "perm_test",
    "rsquared",
    "rsquared_adj",
    "tost_equivalence",
    "vif",
    "welch_dof",
]


def welch_dof(x: Any, y: Any) -> float:
    """Return the degrees of freedom of Welch's t test of two samples.

    (s²ₓ/n + s²ᵧ/m)² / ((s²ₓ/n)²/(n − 1) + (s²ᵧ/m)²/(m − 1)) (Welch 1947, Biometrika 34, 28-35).

    Args:
        x: numbers of the first sample; missing ones are left out.
        y: numbers of the second sample, likewise.

    Raises:
        DataError: fewer than two numbers, or no spread in either sample.

    Examples:
        >>> round(welch_dof([1, 2, 3, 4], [2, 4, 6, 8, 10]), 4)
        5.5208
    """
    first, second = sample("x", x), sample("y", y)
    require_spread(first, second, "Welch's df")
    return degrees_of_freedom(first, second, equal_var=False)
