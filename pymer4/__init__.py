"""Mixed models for people who write Python and answer to R.

Names are loaded on first use: importing pymer4 starts neither R nor matplotlib.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.9.0"

_HOMES = {
    "Lmer": "pymer4.models.lmer",
    "compare": "pymer4.comparison",
    "lrt": "pymer4.comparison",
    "R2con": "pymer4.contrasts",
    "con2R": "pymer4.contrasts",
    "load_dataset": "pymer4.datasets",
    "get_resource_path": "pymer4.utils",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in ("bridge", "datasets", "doctor", "errors", "models", "utils"):
        return importlib.import_module(f"pymer4.{name}")
    raise AttributeError(f"module 'pymer4' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
