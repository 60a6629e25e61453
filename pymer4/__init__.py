"""Mixed models for people who write Python and answer to R.

Names are loaded on first use: importing pymer4 starts neither R nor matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what editors and type checkers see of names that are loaded on first use
    from pymer4 import datasets as datasets
    from pymer4 import doctor as doctor
    from pymer4 import errors as errors
    from pymer4 import io as io
    from pymer4 import models as models
    from pymer4 import resampling as resampling
    from pymer4 import simulate as simulate
    from pymer4 import stats as stats
    from pymer4 import utils as utils
    from pymer4.data.contrasts import R2con as R2con
    from pymer4.data.contrasts import con2R as con2R
    from pymer4.datasets import load_dataset as load_dataset
    from pymer4.io import load_model as load_model
    from pymer4.io import save_model as save_model
    from pymer4.models.comparison import compare as compare
    from pymer4.models.comparison import lrt as lrt
    from pymer4.models.lm import Lm as Lm
    from pymer4.models.lm2 import Lm2 as Lm2
    from pymer4.models.lmer import Lmer as Lmer
    from pymer4.models.paper_tables import compare_table as compare_table
    from pymer4.simulate import discrete_inverse_logit as discrete_inverse_logit
    from pymer4.simulate import easy_multivariate_normal as easy_multivariate_normal
    from pymer4.simulate import simulate_lm as simulate_lm
    from pymer4.simulate import simulate_lmm as simulate_lmm
    from pymer4.statistics.bootstrap import boot_func as boot_func
    from pymer4.statistics.bootstrap import cohens_d as cohens_d
    from pymer4.statistics.equivalence import tost_equivalence as tost_equivalence
    from pymer4.statistics.fit_measures import rsquared as rsquared
    from pymer4.statistics.fit_measures import rsquared_adj as rsquared_adj
    from pymer4.statistics.fit_measures import vif as vif
    from pymer4.statistics.permutation import perm_test as perm_test
    from pymer4.statistics.psd import isPSD as isPSD
    from pymer4.statistics.psd import nearestPSD as nearestPSD
    from pymer4.statistics.pvalues import correct_pvals as correct_pvals
    from pymer4.stats import welch_dof as welch_dof
    from pymer4.utils import get_resource_path as get_resource_path
    from pymer4.utils import result_to_table as result_to_table

__version__ = "1.0.0"

_HOMES = {
    "Lm": "pymer4.models.lm",
    "Lm2": "pymer4.models.lm2",
    "Lmer": "pymer4.models.lmer",
    "compare": "pymer4.models.comparison",
    "compare_table": "pymer4.models.paper_tables",
    "lrt": "pymer4.models.comparison",
    "R2con": "pymer4.data.contrasts",
    "con2R": "pymer4.data.contrasts",
    "load_dataset": "pymer4.datasets",
    "load_model": "pymer4.io",
    "save_model": "pymer4.io",
    "get_resource_path": "pymer4.utils",
    "result_to_table": "pymer4.utils",
    "easy_multivariate_normal": "pymer4.simulate",
    "simulate_lm": "pymer4.simulate",
    "simulate_lmm": "pymer4.simulate",
    "discrete_inverse_logit": "pymer4.simulate",
    "boot_func": "pymer4.statistics.bootstrap",
    "cohens_d": "pymer4.statistics.bootstrap",
    "correct_pvals": "pymer4.statistics.pvalues",
    "perm_test": "pymer4.statistics.permutation",
    "rsquared": "pymer4.statistics.fit_measures",
    "rsquared_adj": "pymer4.statistics.fit_measures",
    "tost_equivalence": "pymer4.statistics.equivalence",
    "vif": "pymer4.statistics.fit_measures",
    "welch_dof": "pymer4.stats",
    "isPSD": "pymer4.statistics.psd",
    "nearestPSD": "pymer4.statistics.psd",
}

__all__ = [
    "Lm",
    "Lm2",
    "Lmer",
    "R2con",
    "__version__",
    "boot_func",
    "cohens_d",
    "compare",
    "compare_table",
    "con2R",
    "correct_pvals",
    "discrete_inverse_logit",
    "easy_multivariate_normal",
    "get_resource_path",
    "isPSD",
    "load_dataset",
    "load_model",
    "lrt",
    "nearestPSD",
    "perm_test",
    "result_to_table",
    "rsquared",
    "rsquared_adj",
    "save_model",
    "simulate_lm",
    "simulate_lmm",
    "tost_equivalence",
    "vif",
    "welch_dof",
]


if not TYPE_CHECKING:  # else every name would be there, as Any

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            return getattr(importlib.import_module(_HOMES[name]), name)
        if name in ("datasets", "doctor", "errors", "io", "models", "resampling", "simulate", "stats", "utils"):
            return importlib.import_module(f"pymer4.{name}")
        raise AttributeError(f"module 'pymer4' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
