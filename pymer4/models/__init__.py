"""The model classes. Each is loaded on first use, so that a mixed model does not wait for the others."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {"Lm": "pymer4.models.lm", "Lm2": "pymer4.models.lm2", "Lmer": "pymer4.models.lmer"}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pymer4.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
