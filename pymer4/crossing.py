"""Values on their way between Python and R.

| Python | R | comes back as |
| --- | --- | --- |
| None | NULL | None |
| bool, int, float, str | vector of length one | scalar where R marked it, else array or list |
| 1-d array | logical, integer, double | array; float64 with NaN for gaps in integers |
| 2-d array | matrix | array, or DataFrame where it has dimnames |
| list or tuple of str (None: NA) | character | list of str |
| dict, list | named list, list | dict, list |
| `Column`, Series | logical, integer, double, factor | array, Categorical |
| DataFrame, dict of `Column` | data.frame | DataFrame |
| bytes | raw | bytes |
| `Handle` | the R object | `Handle` |

The bridge says which rpy2 does the work, and holds its lock meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pymer4.columns import NA, Column, normalise, normalise_column

retired: deque[Any] = deque()
"""R objects whose handles are gone; emptied under the lock."""

_ri: Any = None


def use(rinterface: Any) -> None:
    """Take the low-level interface that values cross through."""
    global _ri
    _ri = rinterface


class Handle:
    """Holds one live R object; R may forget the object once the handle is gone.

    The object is let go under the lock, at the next call: finalizers run on any
    thread, R's memory belongs to whoever holds the lock.
    """

    __slots__ = ("__weakref__", "sexp")

    def __init__(self, sexp: Any):
        self.sexp = sexp

    def __del__(self) -> None:
        retired.append(self.sexp)


def to_r(value: Any) -> Any:
    """Return a plain Python value as an R object; call it under the bridge's lock only."""
    if value is None:
        return _ri.NULL
    if isinstance(value, Handle):
        return value.sexp
    if isinstance(value, _ri.Sexp):
        return value
    if isinstance(value, (bool, np.bool_)):
        return _logical(np.array([value], dtype=np.int32))
    if isinstance(value, (int, np.integer)):
        small = NA < value <= 2**31 - 1
        return _integer(np.array([value], dtype=np.int32)) if small else _double(np.array([float(value)]))
    if isinstance(value, (float, np.floating)):
        return _double(np.array([value], dtype=np.float64))
    if isinstance(value, str):
        return _strings([value])
    if isinstance(value, bytes):
        return _ri.ByteSexpVector.from_memoryview(memoryview(value))
    if isinstance(value, Column):
        return _column(value)
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, pd.Series):
        return _column(normalise_column(value, str(value.name)))
    if isinstance(value, pd.DataFrame):
        return _frame(normalise(value, value.columns), len(value))
    if isinstance(value, Mapping):
        first = next(iter(value.values()), None)
        return _frame(value, len(first.values)) if isinstance(first, Column) else _named_list(value)
    if isinstance(value, Sequence):
        return _sequence(value)
    raise TypeError(f"A {type(value).__name__} can't cross into R.")


def _frame(columns: Mapping[str, Column], n_rows: int) -> Any:
    """Return columns as an R data frame with row names 1..n."""
    frame = _named_list(columns)
    frame.do_slot_assign("row.names", _integer(np.array([NA, -n_rows], dtype=np.int32)))
    frame.rclass = _strings(["data.frame"])
    return frame


def _double(values: np.ndarray) -> Any:
    return _ri.FloatSexpVector.from_memoryview(memoryview(np.ascontiguousarray(values, dtype=np.float64)))


def _integer(values: np.ndarray) -> Any:
    return _ri.IntSexpVector.from_memoryview(memoryview(np.ascontiguousarray(values, dtype=np.int32)))


def _logical(values: np.ndarray) -> Any:
    return _ri.BoolSexpVector.from_memoryview(memoryview(np.ascontiguousarray(values, dtype=np.int32)))


def _strings(values: Sequence[str | None]) -> Any:
    return _ri.StrSexpVector.from_iterable([_ri.NA_Character if v is None else v for v in values])


def _column(column: Column) -> Any:
    if column.kind == "double":
        return _double(column.values)
    if column.kind == "logical":
        return _logical(column.values)
    vector = _integer(column.values)
    if column.kind == "factor":
        vector.do_slot_assign("levels", _strings(column.levels))
        vector.rclass = _strings(["ordered", "factor"] if column.ordered else ["factor"])
    return vector


def _array(values: np.ndarray) -> Any:
    if values.dtype.kind not in "biuf":
        if values.ndim > 1:
            raise TypeError(f"An array of {values.dtype} in {values.ndim} dimensions can't cross into R.")
        return _column(normalise_column(pd.Series(values.ravel()), "values"))
    flat = values.ravel(order="F")
    if values.dtype.kind == "b":
        vector = _logical(flat)
    elif values.dtype.kind in "iu" and (flat.size == 0 or (flat.min() > NA and flat.max() <= 2**31 - 1)):
        vector = _integer(flat)
    else:
        vector = _double(flat)
    if values.ndim > 1:
        vector.do_slot_assign("dim", _integer(np.array(values.shape)))
    return vector


def _named_list(values: Mapping[str, Any]) -> Any:
    vector = _ri.ListSexpVector.from_iterable([to_r(v) for v in values.values()])
    vector.do_slot_assign("names", _strings([str(k) for k in values]))
    return vector


def _sequence(values: Sequence[Any]) -> Any:
    if all(isinstance(v, str) or v is None for v in values):
        return _strings(values)
    if all(isinstance(v, (bool, int, float, np.number, np.bool_)) for v in values):
        return _array(np.asarray(values))
    return _ri.ListSexpVector.from_iterable([to_r(v) for v in values])


def from_r(value: Any) -> Any:
    """Return an R object as a plain Python value; call it under the bridge's lock only."""
    kind = value.typeof
    types = _ri.RTYPES
    if kind == types.NILSXP:
        return None
    if kind not in (types.LGLSXP, types.INTSXP, types.REALSXP, types.STRSXP, types.VECSXP, types.RAWSXP):
        return Handle(value)
    attributes = _attributes(value)
    classes = attributes.get("class", ())
    if kind == types.VECSXP:
        return _list_from_r(value, attributes, classes)
    if "factor" in classes:
        codes = _buffer(value, np.int32)
        return pd.Categorical.from_codes(
            np.where(codes == NA, -1, codes - 1), attributes["levels"], ordered="ordered" in classes
        )
    plain = _vector_from_r(value, kind)
    if "scalar" in classes:
        return _scalar(plain)
    if "dim" in attributes:
        return _matrix(plain, attributes)
    return plain


def _attributes(value: Any) -> dict[str, Any]:
    names = value.list_attrs()
    found = {}
    for name in [names[i] for i in range(len(names))]:
        attribute = value.do_slot(name)
        if name == "dimnames":
            found[name] = [None if d.typeof == _ri.RTYPES.NILSXP else _strings_from_r(d) for d in attribute]
        elif attribute.typeof == _ri.RTYPES.STRSXP:
            found[name] = _strings_from_r(attribute)
        elif attribute.typeof == _ri.RTYPES.INTSXP:
            found[name] = _buffer(attribute, np.int32)
    return found


def _buffer(value: Any, dtype: type) -> np.ndarray:
    """Return a copy of the numbers of a vector, flat and by column.

    Not through the vector's `memoryview()`: each one that rpy2 makes drops a reference to None that it does not own,
    and before Python 3.12 the interpreter ends once none is left.
    """
    if not len(value):
        return np.empty(0, dtype)
    rlib, types = _ri.openrlib.rlib, _ri.RTYPES
    read = {types.REALSXP: rlib.REAL, types.INTSXP: rlib.INTEGER, types.LGLSXP: rlib.LOGICAL}[value.typeof]
    buffer = _ri.openrlib.ffi.buffer(read(value.__sexp__._cdata), len(value) * np.dtype(dtype).itemsize)
    return np.frombuffer(buffer, dtype).copy()


def _strings_from_r(value: Any) -> list[str | None]:
    return [None if v is _ri.NA_Character else v for v in (value[i] for i in range(len(value)))]


def _vector_from_r(value: Any, kind: int) -> Any:
    types = _ri.RTYPES
    if kind == types.STRSXP:
        return _strings_from_r(value)
    if kind == types.RAWSXP:
        return bytes(_ri.openrlib.ffi.buffer(_ri.openrlib.RAW(value.__sexp__._cdata), len(value)))
    if kind == types.REALSXP:
        return _quiet(_buffer(value, np.float64))
    numbers = _buffer(value, np.int32)
    gaps = numbers == NA
    if kind == types.LGLSXP:
        return np.where(gaps, None, numbers != 0) if gaps.any() else numbers != 0
    return np.where(gaps, np.nan, numbers) if gaps.any() else numbers


def _quiet(values: np.ndarray) -> np.ndarray:
    """Return numbers with NumPy's NaN for R's NA, a signalling one that makes arithmetic warn."""
    gaps = np.isnan(values)
    if gaps.any():
        values[gaps] = np.nan
    return values


def _scalar(plain: Any) -> Any:
    value = plain[0]
    return value.item() if isinstance(value, np.generic) else value


def _matrix(plain: Any, attributes: dict[str, Any]) -> Any:
    array = np.asarray(plain).reshape(tuple(attributes["dim"]), order="F")
    if "dimnames" not in attributes:
        return array
    rows, columns = attributes["dimnames"]
    return pd.DataFrame(array, index=rows, columns=columns)


def _list_from_r(value: Any, attributes: dict[str, Any], classes: Sequence[str]) -> Any:
    items = [from_r(value[i]) for i in range(len(value))]
    names = attributes.get("names")
    if "data.frame" in classes:
        rows = attributes["row.names"]
        n_rows = abs(int(rows[1])) if len(rows) == 2 and rows[0] == NA else len(rows)
        index = pd.RangeIndex(n_rows) if isinstance(rows, np.ndarray) else pd.Index(rows)
        frame = pd.DataFrame(dict(enumerate(items)), index=index)
        frame.columns = names or []
        return frame
    return dict(zip(names, items, strict=True)) if names is not None else items
