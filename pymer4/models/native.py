"""What the models that need no R share: the attributes of a fit, and the arguments that all of them take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pymer4.models.base import Model


class NativeModel(Model):
    """A model that is fitted by NumPy."""

    def _forget(self) -> None:
        super()._forget()
        self.rsquared: float | None = None
        self.rsquared_adj: float | None = None
        self.se_type: str | None = None
        self.marginal_estimates: pd.DataFrame | None = None
        self.marginal_contrasts: pd.DataFrame | None = None
        self.model_obj = None

    def _ranked(self, variables: Mapping[Any, Any]) -> list[Any]:
        """Return the columns of which ranks were fitted, of what a design has learned of each."""
        return [name for name, told in variables.items() if told.is_number] if self.ranked_data else []
