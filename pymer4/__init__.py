"""Mixed models for people who write Python and answer to R.

Names are loaded on first use: importing pymer4 starts neither R nor matplotlib.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "1.0.0"

_HOMES = {
    "Lm": "pymer4.models.lm",
    "Lm2": "pymer4.models.lm2",
    "Lmer": "pymer4.models.lmer",
    "compare": "pymer4.infer.compare",
    "compare_table": "pymer4.models.paper_tables",
    "lrt": "pymer4.infer.compare",
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

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in ("datasets", "doctor", "errors", "io", "models", "resampling", "simulate", "stats", "utils"):
        return importlib.import_module(f"pymer4.{name}")
    raise AttributeError(f"module 'pymer4' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
