"""One column or index as arrays that a file can hold, and back with its dtype.

docs/explanation/files.md has a table of the forms.

Files know a dtype by its name, that of pandas but for text and categories; see `name_of`.
"""

from __future__ import annotations

import datetime
import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from pymer4.errors import DataError, ModelWarning

_OBJECT = np.dtype(object)
_WIDE = 2**22  # bytes of a text array from which on its padding is looked at

_KINDS: dict[type, tuple[Callable[[Any], str], Callable[[str], Any]]] = {
    str: (str, str),
    bool: (str, "True".__eq__),
    int: (str, int),
    float: (float.hex, float.fromhex),
    datetime.date: (datetime.date.isoformat, datetime.date.fromisoformat),
    type(None): (str, lambda _: None),
    type(pd.NA): (str, lambda _: pd.NA),
    type(pd.NaT): (str, lambda _: pd.NaT),
}
"""Types of values in an object column, how each is written as text, and read; files know them by their place here."""


def stored(column: pd.Series | pd.Index) -> Any:
    """Return the values of a column as an array, or a dict of arrays, or a DataError whose text follows a name."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        values = column.array
        return {"codes": values.codes, "categories": stored(values.categories), "ordered": bool(values.ordered)}
    if _is_text(dtype) or dtype == _OBJECT:
        return _objects(column.to_numpy(dtype=object))
    if isinstance(dtype, np.dtype) and (dtype.kind in "mM" or is_number(dtype)):
        return column.to_numpy().view(np.int64) if dtype.kind in "mM" else column.to_numpy()
    if dtype_named(name_of(dtype)) == dtype:
        if isinstance(dtype, pd.DatetimeTZDtype):
            return column.array.asi8
        if str(dtype).startswith(("timestamp", "duration")):
            column = column.astype("int64[pyarrow]")
        if hasattr(column.dtype, "numpy_dtype") and column.dtype.numpy_dtype.kind in "biuf":
            return _nullable(column.array)
    raise DataError(
        f"is of dtype {dtype}, which can't be saved. Make it text, numbers or dates in UTC, or leave the column out of "
        "the data of the model"
    )


def restored(held: Any, name: str) -> Any:
    """Return the values of a column from what `stored()` made of them, and the name of its dtype."""
    if name.startswith("category["):
        categories = restored(held["categories"], name[9:-1])
        categories = pd.Index(categories, dtype=categories.dtype)
        return pd.Categorical.from_codes(held["codes"], categories=categories, ordered=held["ordered"])
    dtype = dtype_named(name)
    if dtype is None:
        text = f"A column of dtype {name} is read as objects: this pandas has no such dtype, or lacks pyarrow for it."
        warnings.warn(text, ModelWarning, stacklevel=2)
        dtype = _OBJECT
    if _is_text(dtype) or dtype.kind in "OU":
        values = _values(held)
        return values.astype(dtype) if isinstance(dtype, np.dtype) else pd.array(values, dtype=dtype)
    if isinstance(dtype, pd.DatetimeTZDtype):
        return pd.array(held.view(f"M8[{dtype.unit}]")).tz_localize("UTC").tz_convert(dtype.tz)
    if isinstance(dtype, np.dtype):
        return held.view(dtype) if dtype.kind in "mM" else held.astype(dtype, copy=False)
    values, missing = (held["values"], held["missing"]) if isinstance(held, dict) else (held, [])
    gone = np.isin(np.arange(len(values)), missing)
    if isinstance(dtype, pd.ArrowDtype):
        import pyarrow as pa

        return pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(values, mask=gone).cast(dtype.pyarrow_dtype)]))
    return dtype.construct_array_type()(values.astype(dtype.numpy_dtype), gone)


def name_of(dtype: Any) -> str:
    """Return the name that `dtype_named()` finds a dtype by."""
    if isinstance(dtype, pd.CategoricalDtype):
        return f"category[{name_of(dtype.categories.dtype)}]"
    if isinstance(dtype, pd.StringDtype):
        return "str" if dtype.na_value is np.nan else f"string[{dtype.storage}]"
    return f"arrow[{dtype.pyarrow_dtype}]" if isinstance(dtype, pd.ArrowDtype) and _is_text(dtype) else str(dtype)


def dtype_named(name: str) -> Any:
    """Return the dtype of a name; None where this pandas does not know it, or lacks pyarrow for it."""
    try:
        if name.startswith("arrow["):
            import pyarrow as pa

            return pd.ArrowDtype({"string": pa.string, "large_string": pa.large_string}[name[6:-1]]())
        return pd.StringDtype(na_value=np.nan) if name == "str" else pd.api.types.pandas_dtype(name)
    except (TypeError, ImportError, ValueError, LookupError, NotImplementedError):
        return _OBJECT if name == "str" else None


def is_number(dtype: np.dtype) -> bool:
    """Whether HDF5 holds numbers of this dtype as they are."""
    return dtype.kind in "biufc" and dtype.char not in "gG"


def scalar(value: Any) -> Any:
    """Return a number, truth value or text of NumPy as the Python value it is; others as they are."""
    return value.item() if isinstance(value, np.generic) and value.dtype.kind in "biufU" else value


def _is_text(dtype: Any) -> bool:
    return isinstance(dtype, pd.StringDtype) or (isinstance(dtype, pd.ArrowDtype) and dtype.type is str)


# ------------------------------------------------------------------ text, objects, and what is missing


def _objects(values: np.ndarray) -> Any:
    kinds, texts, places = np.zeros(len(values), dtype=np.uint8), values.copy(), {k: i for i, k in enumerate(_KINDS)}
    for place, value in enumerate(map(scalar, values)):
        kind = type(value)
        if kind not in _KINDS:
            raise DataError(
                f"holds a value of type {kind.__name__}, which can't be saved. Make it text or numbers, or leave the "
                "column out of the data of the model"
            )
        kinds[place], texts[place] = places[kind], _KINDS[kind][0](value)
    coded = [text.encode("utf-8", "surrogatepass") for text in texts]
    run, width = b"".join(coded), max(map(len, coded), default=0)
    held: Any = np.array(coded, dtype="S")
    if b"\0" in run or len(coded) * width > max(_WIDE, 4 * len(run)):
        ends = np.cumsum(list(map(len, coded)), dtype=np.int64)
        held = {"bytes": np.frombuffer(run, dtype=np.uint8), "ends": ends}
    return {"values": held, "kinds": kinds} if kinds.any() else held


def _values(held: Any) -> np.ndarray:
    kinds, missing = (held.get(key, []) if isinstance(held, dict) else [] for key in ("kinds", "missing"))
    held = held["values"] if isinstance(held, dict) and "values" in held else held
    if isinstance(held, dict):
        run, ends = held["bytes"].tobytes(), held["ends"].tolist()
        held = np.array([run[a:b] for a, b in itertools.pairwise([0, *ends])], dtype=object)
    texts = [value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value for value in held.tolist()]
    values, readers = np.fromiter(texts, dtype=object, count=len(texts)), [read for _, read in _KINDS.values()]
    values[missing] = None
    for place in np.flatnonzero(kinds):
        values[place] = readers[kinds[place]](values[place])
    return values


def _nullable(values: Any) -> Any:
    """Return nullable numbers, 0 or NaN where one is missing; NaN beside NA is a number of its own."""
    kind = values.dtype.numpy_dtype
    missing = np.array([i for i in np.flatnonzero(values.isna()) if values[int(i)] is pd.NA], dtype=np.int64)
    numbers = values.to_numpy(dtype=kind, na_value=np.nan if kind.kind == "f" else kind.type(0))
    return {"values": numbers, "missing": missing} if len(missing) else numbers
