"""The model classes. Each is loaded on first use, so that a mixed model does not wait for the others."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what editors and type checkers see of names that are loaded on first use
    from pymer4.models.lm import Lm as Lm
    from pymer4.models.lm2 import Lm2 as Lm2
    from pymer4.models.lmer import Lmer as Lmer

_HOMES = {"Lm": "pymer4.models.lm", "Lm2": "pymer4.models.lm2", "Lmer": "pymer4.models.lmer"}

__all__ = [
    "Lm",
    "Lm2",
    "Lmer",
]


if not TYPE_CHECKING:  # else every name would be there, as Any

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            return getattr(importlib.import_module(_HOMES[name]), name)
        raise AttributeError(f"module 'pymer4.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
