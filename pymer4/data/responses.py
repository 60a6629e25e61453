"""Many outcomes of one model: from a frame or an array to columns of numbers, with their names and their shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_complex_dtype, is_numeric_dtype

from pymer4.data.columns import real_array
from pymer4.data.frames import absent, frame, plain
from pymer4.data.intake import other_index
from pymer4.errors import DataError, few, shown


@dataclass(frozen=True, slots=True, eq=False)
class Responses:
    """R outcomes of n rows.

    Attributes:
        values: NaN where missing, shape (n, R).
        labels: their names, of length R.
        shape: of one row of what was given, (..), whose product is R.
    """

    values: np.ndarray
    labels: pd.Index
    shape: tuple[int, ...]


def responses(Y: Any, data: pd.DataFrame) -> Responses:
    """Return the outcomes in a frame of any kind, a Series, an array of shape (n, ...), or a list of columns.

    Rows are taken by position.

    Raises:
        DataError: no numbers, none at all, another number of rows than the data have, or another index.
    """
    names = isinstance(Y, (list, tuple)) and len(Y) > 0 and all(isinstance(name, str) for name in Y)
    if names:
        lacking = [name for name in Y if name not in data.columns]
        if lacking:
            raise DataError(
                f"Y names {few(lacking)}, which the data do not have.{absent(lacking[0], data)} Give columns of the "
                "data, or numbers."
            )
        Y = data[list(Y)]
    given = Y = by_position("Y", Y, data)
    if isinstance(Y, pd.Series):
        Y = Y.to_frame("y" if Y.name is None else Y.name)
    if isinstance(Y, pd.DataFrame):
        values, labels, shape = _numbers(Y), Y.columns, (Y.shape[1],)
    else:
        found = real_array(Y.filled(np.nan) if isinstance(Y, np.ma.MaskedArray) and Y.dtype.kind == "f" else Y)
        if found is None or found.ndim == 0:
            objects = isinstance(Y, np.ndarray) and Y.dtype.kind == "O"
            remedy = " Y.astype(float) makes numbers of objects, and NaN of None." if objects else ""
            raise DataError(f"Y={shown(Y)} has to hold numbers: a frame, or an array with observations first.{remedy}")
        shape = found.shape[1:]
        values, labels = found.reshape(len(found), -1) if found.size else found.reshape(len(found), 0), _labels(shape)
    if len(values) != len(data):
        turned = " Its columns are as many: give Y.T." if shape == (len(data),) else ""
        raise DataError(
            f"Y has {len(values)} rows and the data have {len(data)}: give one row an observation, in the same order."
            f"{turned}"
        )
    if not values.shape[1]:
        raise DataError("Y has no columns: give at least one outcome.")
    _same_index("Y", given, data)
    if not labels.is_unique:
        raise DataError(f"Y has more than one column named {few(labels[labels.duplicated()].unique())}. Rename them.")
    return Responses(values, labels, shape)


def response_weights(weights: Any, responses: Responses, data: pd.DataFrame) -> np.ndarray:
    """Return weights of each outcome, above 0 or NaN where missing, shape (n, R)."""
    found = _numbers(weights, "weights") if isinstance(weights, pd.DataFrame) else real_array(weights)
    allowed = ((len(data), *responses.shape), responses.values.shape)
    if found is None or found.shape not in allowed:
        raise DataError(
            f"weights={shown(weights)} fit neither the {len(data)} rows of the data nor Y, of shape {allowed[0]}: give "
            "a number a row, or one for each number of Y."
        )
    _same_index("weights", weights, data)
    if isinstance(weights, pd.DataFrame) and not weights.columns.equals(responses.labels):
        raise DataError(
            "weights is a DataFrame whose columns are not those of Y, in their order. Give weights[list(Y.columns)], "
            "or weights.to_numpy() to take them as they stand."
        )
    found = found.reshape(responses.values.shape)
    if np.isinf(found).any() or (found <= 0).any():
        raise DataError("weights have to be finite and above 0. Make them NaN where a row is not to count.")
    return found


def by_position(argument: str, given: Any, data: pd.DataFrame) -> Any:
    """Return a frame or a column of another library in pandas, its rows those of the data; else what is given."""
    found = frame(argument, given) if isinstance(given, Mapping) else plain(given)
    has_index = isinstance(given, Mapping) and any(isinstance(column, pd.Series) for column in given.values())
    if found is not given and not has_index and len(found) == len(data):
        found.index = data.index
    return found


def _numbers(found: pd.DataFrame, argument: str = "Y") -> np.ndarray:
    kinds = found.dtypes
    no_numbers = [k for k in kinds.unique() if not is_numeric_dtype(k) or is_complex_dtype(k)]
    if no_numbers:
        odd = kinds.index[kinds.isin(no_numbers)]
        told = f"{few([repr(name) for name in odd], 4)} (dtype {kinds[odd[0]]})"
        raise DataError(
            f"{argument} has columns that hold no numbers: {told}. Drop them, or make numbers of them by "
            ".astype(float)."
        )
    return found.to_numpy(dtype=float, na_value=np.nan)


def _same_index(argument: str, given: Any, data: pd.DataFrame) -> None:
    """Refuse another index than that of the data, but for row numbers that name no rows of theirs."""
    if not isinstance(given, (pd.Series, pd.DataFrame)) or given.index.equals(data.index):
        return
    numbered = given.index.equals(pd.RangeIndex(len(data)))
    if not numbered or given.index.isin(data.index).all():
        raise other_index(argument, given, f"Give {argument}.loc[data.index]")


def _labels(shape: tuple[int, ...]) -> pd.Index:
    """Return the names of the places of an array: numbers, or tuples of them."""
    if len(shape) < 2:
        return pd.RangeIndex(shape[0] if shape else 1)
    return pd.Index(list(np.ndindex(*shape)), tupleize_cols=False)
