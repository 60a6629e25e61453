"""One column or index as arrays that a file can hold, and back with its dtype.

| dtype | stored as |
| --- | --- |
| NumPy numbers and booleans | themselves |
| datetime, timedelta, period | int64: counts of the unit, the smallest where missing |
| nullable and Arrow numbers | numbers, 0 or NaN where missing; `missing` says where |
| text | fixed-width text; `bytes` and `ends` where one value is much longer than the others |
| object | text, and what kind each value is |
| category | `codes`, `categories`, `ordered` |
| interval | `left`, `right`, `closed` |
| other Arrow types | the bytes of an Arrow stream |

What the stored array and the name of the dtype do not tell stands in a second value, `how`.
"""

from __future__ import annotations

import datetime
import itertools
import warnings
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from pymer4.errors import DataError, ModelWarning

_WIDE = 2**22  # characters of a text array from which on its padding is looked at

_KINDS: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "text": (str, str, str),
    "bool": (bool, str, lambda text: text == "True"),
    "int": (int, str, int),
    "float": (float, float.hex, float.fromhex),
    "decimal": (Decimal, str, Decimal),
    "date": (datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    "datetime": (datetime.datetime, datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    "timestamp": (pd.Timestamp, pd.Timestamp.isoformat, pd.Timestamp),
    "timedelta": (pd.Timedelta, pd.Timedelta.isoformat, pd.Timedelta),
}
_MISSING = {"None": None, "nan": np.nan, "NA": pd.NA, "NaT": pd.NaT}
_CODES = {name: code for code, name in enumerate((*_KINDS, *_MISSING))}


def stored(values: Any) -> tuple[Any, dict[str, Any] | None]:
    """Return the values of a column as what a file holds, and how to read it where its dtype does not tell.

    Args:
        values: a NumPy or pandas array, one-dimensional.

    Raises:
        DataError: values that no file holds.
    """
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        categories, how = stored(array_of(values.categories))
        told = {"dtype": name_of(values.categories.dtype), "how": how}
        return {"codes": np.asarray(values.codes), "categories": categories, "ordered": bool(values.ordered)}, told
    if isinstance(dtype, pd.IntervalDtype):
        left, right = (np.asarray(getattr(values, side)) for side in ("left", "right"))
        return {"left": _numbers(left), "right": _numbers(right), "closed": values.closed}, None
    if isinstance(dtype, pd.StringDtype) or _is_arrow_text(dtype):
        missing = np.flatnonzero(pd.isna(values))
        texts = np.asarray(values, dtype=object)
        if len(missing):
            texts = np.array(texts)
            texts[missing] = ""
        return text(texts), {"missing": missing} if len(missing) else None
    if getattr(dtype, "hasobject", False):
        return _objects(np.asarray(values))
    if isinstance(dtype, pd.ArrowDtype) and dtype.kind not in "biuf":
        return _arrow_bytes(values), None
    if pd.api.types.is_extension_array_dtype(dtype) and dtype.kind in "biuf" and not isinstance(dtype, pd.SparseDtype):
        return _nullable(values)
    if isinstance(dtype, (pd.DatetimeTZDtype, pd.PeriodDtype)):
        _check_name(dtype)
        return np.asarray(values.asi8), None
    return _numbers(np.asarray(values)), None


def array_of(column: pd.Series | pd.Index) -> Any:
    """Return the values of a column or an index as an array, NumPy's where that is its own."""
    return column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array


def restored(held: Any, dtype: str, how: dict[str, Any] | None) -> Any:
    """Return the values of a column from what `stored()` made of them.

    Args:
        held: the array, or dict of arrays.
        dtype: name of the dtype.
        how: as `stored()` gave it.
    """
    how = how or {}
    if dtype == "category":
        categories = pd.Index(restored(held["categories"], how["dtype"], how["how"]))
        return pd.Categorical.from_codes(held["codes"], categories=categories, ordered=held["ordered"])
    if dtype == "arrow":
        return _from_arrow_bytes(held)
    made = dtype_named(dtype)
    if made is None:
        text = f"A column of dtype {dtype} is read as objects: this pandas has no such dtype, or lacks pyarrow for it."
        warnings.warn(text, ModelWarning, stacklevel=2)
        made = np.dtype(object)
    if isinstance(made, pd.IntervalDtype):
        left, right = (_view(held[side], np.dtype(str(made.subtype))) for side in ("left", "right"))
        return pd.arrays.IntervalArray.from_arrays(left, right, closed=held["closed"])
    if "kinds" in how:
        return _from_kinds(from_text(held), how["kinds"])
    if isinstance(made, pd.StringDtype) or _is_arrow_text(made):
        texts = from_text(held)
        texts[how.get("missing", [])] = None
        return pd.array(texts, dtype=made)
    if getattr(made, "hasobject", False):
        return from_text(held)
    if isinstance(made, pd.PeriodDtype):
        return pd.arrays.PeriodArray(held, dtype=made)
    if isinstance(made, pd.DatetimeTZDtype):
        return pd.array(held.view(f"M8[{made.unit}]")).tz_localize("UTC").tz_convert(made.tz)
    if isinstance(made, pd.SparseDtype):
        return pd.arrays.SparseArray(held, dtype=made)
    if isinstance(made, np.dtype):
        return _view(held, made)
    missing = np.zeros(len(held), dtype=bool)
    missing[how.get("missing", [])] = True
    if isinstance(made, pd.ArrowDtype):
        import pyarrow as pa

        return pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(held, made.pyarrow_dtype, mask=missing)]))
    return made.construct_array_type()(held.astype(made.numpy_dtype), missing)


def name_of(dtype: Any) -> str:
    """Return the name that `dtype_named()` finds a dtype by; `arrow` for Arrow's own beyond numbers and text."""
    if isinstance(dtype, pd.StringDtype):
        return "str" if dtype.na_value is np.nan else f"string[{dtype.storage}]"
    if _is_arrow_text(dtype):
        return f"arrow[{dtype.pyarrow_dtype}]"
    return "arrow" if isinstance(dtype, pd.ArrowDtype) and dtype.kind not in "biuf" else str(dtype)


def dtype_named(name: str) -> Any:
    """Return the dtype of a name; None where this pandas does not know it, or lacks pyarrow for it."""
    try:
        if name in ("arrow[string]", "arrow[large_string]"):
            import pyarrow as pa

            return pd.ArrowDtype(getattr(pa, name[6:-1])())
        return pd.api.types.pandas_dtype(name)
    except (TypeError, ImportError, ValueError):
        return None


def _is_arrow_text(dtype: Any) -> bool:
    return isinstance(dtype, pd.ArrowDtype) and dtype.type is str


# ------------------------------------------------------------------ text


def text(values: np.ndarray) -> Any:
    """Return text as an array of fixed width; as one run of bytes where that would be mostly padding."""
    joined = "".join(values)
    width = max(map(len, values), default=0)
    padding = len(values) * max(width, 1) - len(joined)
    if "\0" in joined or not _encodes(joined) or (len(values) * width > _WIDE and padding > 3 * len(joined)):
        coded = [value.encode("utf-8", "surrogatepass") for value in values]
        ends = np.cumsum([len(value) for value in coded], dtype=np.int64)
        return {"bytes": np.frombuffer(b"".join(coded), dtype=np.uint8), "ends": ends}
    return np.array(values, dtype=f"<U{max(width, 1)}")


def from_text(held: Any) -> np.ndarray:
    """Return text as an array of objects."""
    if isinstance(held, np.ndarray):
        return held.astype(object) if held.dtype.kind != "S" else np.char.decode(held, "utf-8").astype(object)
    run, starts = held["bytes"].tobytes(), [0, *held["ends"].tolist()]
    found = np.empty(len(starts) - 1, dtype=object)
    found[:] = [run[a:b].decode("utf-8", "surrogatepass") for a, b in itertools.pairwise(starts)]
    return found


def _encodes(joined: str) -> bool:
    return joined.isascii() or not any("\ud800" <= c <= "\udfff" for c in joined)


# ------------------------------------------------------------------ objects


def _objects(values: np.ndarray) -> tuple[Any, dict[str, Any] | None]:
    others = np.flatnonzero(np.fromiter((type(value) is not str for value in values), bool, len(values)))
    if not len(others):
        return text(values), None
    texts, kinds = values.copy(), np.zeros(len(values), dtype=np.uint8)
    for place in others:
        kind, texts[place] = written(values[place])
        kinds[place] = _CODES[kind]
    return text(texts), {"kinds": kinds}


def written(value: Any) -> tuple[str, str]:
    """Return the kind of an object, and its text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value != value:
        return "nan", ""
    for name, missing in _MISSING.items():
        if value is missing:
            return name, ""
    for name, (kind, write, _) in _KINDS.items():
        if type(value) is kind:
            return name, write(value)
    raise DataError(
        f"holds a value of type {type(value).__name__}, which can't be saved. Make it text or numbers, or leave the "
        "column out of the data of the model"
    )


def _from_kinds(texts: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    names = list(_CODES)
    for place in np.flatnonzero(kinds):
        texts[place] = read(names[kinds[place]], texts[place])
    return texts


def read(kind: str, text: str) -> Any:
    """Return the object that `written()` told the kind and the text of."""
    return _MISSING[kind] if kind in _MISSING else _KINDS[kind][2](text)


# ------------------------------------------------------------------ numbers


def _numbers(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "mM":
        return values.view(np.int64)
    if values.dtype.kind not in "biufc" or values.dtype.itemsize > 16 or values.dtype == np.longdouble != np.float64:
        raise DataError(f"is of dtype {values.dtype}, which can't be saved. Make it text or numbers")
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _view(held: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return held.view(dtype) if dtype.kind in "mM" else held.astype(dtype, copy=False)


def _nullable(values: Any) -> tuple[np.ndarray, dict[str, Any] | None]:
    kind = values.dtype.numpy_dtype
    missing = np.flatnonzero(values.isna()) if kind.kind != "f" else np.flatnonzero(_is_na(values))
    filled = values.to_numpy(dtype=kind, na_value=np.nan if kind.kind == "f" else kind.type(0))
    return filled, {"missing": missing} if len(missing) else None


def _is_na(values: Any) -> np.ndarray:
    """Return where a float is missing; NaN beside NA is a number of its own."""
    return np.fromiter((value is pd.NA for value in values), dtype=bool, count=len(values))


def _check_name(dtype: Any) -> None:
    if dtype_named(str(dtype)) != dtype:
        raise DataError(f"is of dtype {dtype}, which can't be saved. Convert it to UTC, or make it text or numbers")


def _arrow_bytes(values: Any) -> np.ndarray:
    import pyarrow as pa

    table = pa.table({"values": pa.chunked_array(values.__arrow_array__())})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return np.frombuffer(sink.getvalue(), dtype=np.uint8)


def _from_arrow_bytes(held: np.ndarray) -> Any:
    import pyarrow as pa

    table = pa.ipc.open_stream(pa.py_buffer(held.tobytes())).read_all()
    table.validate(full=True)
    return pd.arrays.ArrowExtensionArray(table["values"])
