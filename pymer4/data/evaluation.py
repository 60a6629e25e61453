"""What patsy calls while it builds a design: factors that see a `View`, and the rows that stay."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.terms import Names, Reference
from pymer4.data.variables import View
from pymer4.errors import DataError

State = dict[str, Any]
"""What patsy keeps of a factor."""

_LISTED = 5


class Evaluated:
    """A factor of the formula that patsy evaluates on a `View`; a column as it stands where `to` is given.

    It is equal to another one whose factor is, as patsy asks where it looks for redundant terms.
    """

    def __init__(self, factor: Any, to: Reference | None):
        self.factor, self.to = factor, to
        self.origin = factor.origin
        self.name: Callable[[], str] = factor.name
        self.value: Callable[[State, Any], Any] = factor.eval
        self.memorize_passes_needed = factor.memorize_passes_needed
        self.memorize_chunk = factor.memorize_chunk

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Evaluated) and self.factor == other.factor

    def __hash__(self) -> int:
        return hash(self.factor)

    def memorize_finish(self, state: State, which_pass: int) -> None:
        """Let stateful transforms draw their conclusions."""
        try:
            self.factor.memorize_finish(state, which_pass)
        except Exception as error:  # patsy wraps what its other calls raise, but not this one
            raise told_as_patsy(error, self.factor) from error

    def eval(self, state: State, data: View) -> Any:
        """Return the values of the factor, as arrays of NumPy or categories."""
        import patsy

        try:
            if self.to is not None:
                value = self.value(state, data.referred(self.to))
            else:
                value = self.value(state, data) if data.new is None else self._of_new_rows(state, data, data.new)
        except (DataError, KeyError) as error:
            raise told_as_patsy(error, self.factor) from error
        if isinstance(value, (pd.Series, pd.DataFrame)):
            if len(value) == len(data.rows.index) and not value.index.equals(data.rows.index):
                raise patsy.PatsyError("the values have another index than the data", self.factor)
            value = _plain(value)
        return value

    def _of_new_rows(self, state: State, columns: View, new: NewRows) -> Any:
        """Return values as the fit computes them, NaN in rows where it can't."""
        import patsy

        compute = new.carried.get(self, partial(self.value, state))
        value, there = None, np.ones(len(columns.rows.index), dtype=bool)
        try:
            value = compute(columns)
        except patsy.PatsyError as error:
            if not _is_beyond(error):
                raise
        if value is not None:
            there = ~_nan_rows(value) if self in new.widths else there
            if there.all():
                return value
        if value is None or getattr(compute, "by_rows", True):
            # patsy's splines look for points beyond their knots only where no value is missing.
            value = np.full((len(there), new.widths[self]), np.nan)
            if there.any() and _fill(value, compute, columns, np.flatnonzero(there)):
                new.beyond.add(self.factor)
        new.undefined[self.factor] = _nan_rows(value)
        return value


@dataclass(frozen=True, slots=True)
class NewRows:
    """What a design does with rows that it was not fitted to, none of which has a missing value.

    Attributes:
        carried: what computes factors that would depend on the rows beside; see `whole_columns`.
        widths: how many columns each factor of numbers makes.
        undefined: factor to the rows that it has no value for, shape (n,).
        beyond: those factors of which some of these rows lie beyond the outermost knots.
    """

    carried: Mapping[Any, Callable[[Any], Any]]
    widths: Mapping[Any, int]
    undefined: dict[Any, np.ndarray] = field(default_factory=dict)
    beyond: set[Any] = field(default_factory=set)

    def without_value(self, data: pd.DataFrame, complete: np.ndarray) -> list[str]:
        """Return what is to be said of rows without a value: the factor, the first rows, and what is in them."""
        texts = []
        for factor, missing in self.undefined.items():
            rows = np.flatnonzero(complete)[missing]
            names = [name for name in Names([factor]).values if name in data.columns]
            shown = [", ".join(f"{name} = {data[name].iloc[row]}" for name in names) for row in rows[:_LISTED]]
            told = ", ".join(f"{row} ({text})" if text else str(row) for row, text in zip(rows, shown, strict=False))
            more = f", and {len(rows) - _LISTED} more" if len(rows) > _LISTED else ""
            texts.append(f"{factor.name()} has no value in row(s) {told}{more}, counted from 0: these predict NaN.")
            if factor in self.beyond:
                texts[-1] += " They lie beyond its outermost knots, which lower_bound= and upper_bound= of bs() widen."
        return texts


class _Part:
    """Some rows of a view."""

    def __init__(self, columns: View, rows: np.ndarray):
        self._columns, self._rows = columns, rows

    def __getitem__(self, name: Any) -> Any:
        return self._columns[name].iloc[self._rows]


def told_as_patsy(error: Exception, factor: Any) -> Exception:
    """Return an error of a user's expression as patsy tells it."""
    import patsy

    return patsy.PatsyError(f"Error evaluating factor: {type(error).__name__}: {error}", factor)


def _nan_rows(value: Any) -> np.ndarray:
    array = np.asarray(value, dtype=float)
    return np.isnan(array.reshape(len(array), -1)).any(axis=1) if len(array) else np.zeros(0, dtype=bool)


def _is_beyond(error: Exception) -> bool:
    """Whether an error is that of patsy's splines, which are not made for some of the rows."""
    cause = error.__cause__
    frames = [] if cause is None else [frame for frame, _ in traceback.walk_tb(cause.__traceback__)]
    return isinstance(cause, NotImplementedError) and frames[-1].f_globals.get("__name__") == "patsy.splines"


def _fill(values: np.ndarray, compute: Callable[[Any], Any], columns: View, rows: np.ndarray) -> bool:
    """Put values into some rows, and return whether there are any that the computation is not made for."""
    import patsy

    try:
        values[rows] = np.asarray(compute(_Part(columns, rows)), dtype=float).reshape(len(rows), -1)
    except patsy.PatsyError as error:
        if not _is_beyond(error):
            raise
        halves = np.array_split(rows, 2) if len(rows) > 1 else ()
        lost = [_fill(values, compute, columns, half) for half in halves]
        return any(lost) or not lost
    return False


class Kept:
    """patsy's interface for missing values: leaves rows out, and says which ones are left."""

    def __init__(self, allowed: np.ndarray):
        self.allowed = self.kept = allowed

    def is_categorical_NA(self, value: Any) -> bool:
        """Whether a single value is missing."""
        if value is None or value is pd.NA or value is pd.NaT:
            return True
        return isinstance(value, (float, np.floating)) and bool(value != value)

    def is_numerical_NA(self, values: Any) -> np.ndarray:
        """Return which rows of numbers have a missing value."""
        missing = np.isnan(np.asarray(values, dtype=float))
        return missing.any(axis=1) if missing.ndim > 1 else missing

    def handle_NA(self, values: list[Any], is_NAs: list[np.ndarray], origins: list[Any]) -> list[Any]:
        """Return the values of all factors at the rows that stay."""
        self.kept = self.allowed.copy()
        for missing in is_NAs:
            self.kept &= ~missing
        return values if self.kept.all() else [value[self.kept] for value in values]


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
