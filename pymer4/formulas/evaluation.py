"""What patsy calls while it builds a design: factors that see a `View`, and the rows that stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pymer4.errors import DataError
from pymer4.formulas.terms import Reference
from pymer4.formulas.variables import View


class Evaluated:
    """A factor of the formula that patsy evaluates on a `View`.

    It is equal to another one whose factor is, as patsy asks where it looks for redundant terms.
    """

    def __init__(self, factor: Any, to: Reference | None):
        self._factor, self._to = factor, to
        self.origin = getattr(factor, "origin", None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Evaluated) and self._factor == other._factor

    def __hash__(self) -> int:
        return hash(self._factor)

    def name(self) -> str:
        """Return what the factor is called in coefficients."""
        return self._factor.name()

    def memorize_passes_needed(self, state: dict, eval_env: Any) -> int:
        """Return how often the factor has to see the data before it can be evaluated."""
        return self._factor.memorize_passes_needed(state, eval_env)

    def memorize_chunk(self, state: dict, which_pass: int, data: View) -> None:
        """Let stateful transforms see the data."""
        self._factor.memorize_chunk(state, which_pass, data)

    def memorize_finish(self, state: dict, which_pass: int) -> None:
        """Let stateful transforms draw their conclusions."""
        import patsy

        try:
            self._factor.memorize_finish(state, which_pass)
        except Exception as error:  # patsy wraps what its other calls raise, but not this one
            raise patsy.PatsyError(f"Error evaluating factor: {type(error).__name__}: {error}", self._factor) from error

    def eval(self, state: dict, data: View) -> Any:
        """Return the values of the factor, as arrays of NumPy or categories."""
        import patsy

        try:
            value = self._factor.eval(state, data if self._to is None else data.referred(self._to))
        except (DataError, KeyError) as error:
            raise patsy.PatsyError(f"Error evaluating factor: {type(error).__name__}: {error}", self._factor) from error
        if isinstance(value, (pd.Series, pd.DataFrame)):
            if len(value) == len(data.rows.index) and not value.index.equals(data.rows.index):
                raise patsy.PatsyError("the values have another index than the data", self._factor)
            return _plain(value)
        return value


class Kept:
    """patsy's interface for missing values: leaves rows out, and says which ones are left."""

    def __init__(self, allowed: np.ndarray | None):
        self.allowed = allowed
        self.kept: np.ndarray | None = None

    def is_categorical_NA(self, value: Any) -> bool:
        """Whether a single value is missing."""
        if value is None or value is pd.NA or value is pd.NaT:
            return True
        return isinstance(value, (float, np.floating)) and bool(value != value)

    def is_numerical_NA(self, values: Any) -> np.ndarray:
        """Return which rows of numbers have a missing value."""
        missing = np.isnan(np.asarray(values, dtype=float))
        return missing.any(axis=1) if missing.ndim > 1 else missing

    def handle_NA(self, values: list, is_NAs: list, origins: list) -> list:
        """Return the values of all factors at the rows that stay."""
        self.kept = self.allowed.copy()
        for missing in is_NAs:
            self.kept &= ~missing
        return [value[self.kept] for value in values]


def _plain(value: pd.Series | pd.DataFrame) -> Any:
    """Return what an expression made as an array of NumPy, or as a Categorical."""
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, pd.CategoricalDtype):
        return value.array
    if isinstance(dtype, pd.api.extensions.ExtensionDtype):
        if pd.api.types.is_bool_dtype(dtype) or not pd.api.types.is_numeric_dtype(dtype):
            values = value.to_numpy(dtype=object, na_value=None)
            return values.astype(bool) if pd.api.types.is_bool_dtype(dtype) and not value.isna().any() else values
        return value.to_numpy(dtype=float, na_value=np.nan)
    return value.to_numpy()
