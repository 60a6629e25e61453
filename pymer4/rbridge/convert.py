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

The bridge hands over the interface that does the work, and holds its lock meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.columns import NA, Column, normalise, normalise_column

retired: deque[Any] = deque()
"""R objects whose handles are gone; emptied under the lock."""

_NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)


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


class Converter:
    """Turns values into R's and back, through the low-level interface of rpy2; under the bridge's lock only."""

    def __init__(self, rinterface: Any):
        self._ri = rinterface
        types, rlib = rinterface.RTYPES, rinterface.openrlib.rlib
        self._made_by = {
            "double": (rinterface.FloatSexpVector, np.float64),
            "integer": (rinterface.IntSexpVector, np.int32),
            "logical": (rinterface.BoolSexpVector, np.int32),
        }
        self._read_by = {
            types.REALSXP: (rlib.REAL, np.dtype(np.float64)),
            types.INTSXP: (rlib.INTEGER, np.dtype(np.int32)),
            types.LGLSXP: (rlib.LOGICAL, np.dtype(np.int32)),
        }

    def to_r(self, value: Any) -> Any:
        """Return a plain Python value as an R object."""
        if value is None:
            return self._ri.NULL
        if isinstance(value, Handle):
            return value.sexp
        if isinstance(value, self._ri.Sexp):
            return value
        if isinstance(value, _NUMBERS):
            return self._array(np.array([value]))
        if isinstance(value, str):
            return self._strings([value])
        if isinstance(value, bytes):
            return self._ri.ByteSexpVector.from_memoryview(memoryview(value))
        if isinstance(value, Column):
            return self._column(value)
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, pd.Series):
            return self._column(normalise_column(value, str(value.name)))
        if isinstance(value, pd.DataFrame):
            return self._frame(normalise(value, value.columns), len(value))
        if isinstance(value, Mapping):
            first = next(iter(value.values()), None)
            return self._frame(value, len(first.values)) if isinstance(first, Column) else self._named_list(value)
        if isinstance(value, Sequence):
            return self._sequence(value)
        raise TypeError(f"A {type(value).__name__} can't cross into R.")

    def _numbers(self, values: np.ndarray, kind: str) -> Any:
        vector, dtype = self._made_by[kind]
        return vector.from_memoryview(memoryview(np.ascontiguousarray(values, dtype=dtype)))

    def _strings(self, values: Sequence[str | None]) -> Any:
        return self._ri.StrSexpVector.from_iterable([self._ri.NA_Character if v is None else v for v in values])

    def _array(self, values: np.ndarray) -> Any:
        if values.dtype.kind not in "biuf":
            if values.ndim > 1:
                raise TypeError(f"An array of {values.dtype} in {values.ndim} dimensions can't cross into R.")
            return self._column(normalise_column(pd.Series(values.ravel()), "values"))
        flat, kind = values.ravel(order="F"), "double"
        if values.dtype.kind == "b":
            kind = "logical"
        elif values.dtype.kind in "iu" and (flat.size == 0 or (flat.min() > NA and flat.max() <= 2**31 - 1)):
            kind = "integer"
        vector = self._numbers(flat, kind)
        if values.ndim > 1:
            vector.do_slot_assign("dim", self._numbers(np.array(values.shape), "integer"))
        return vector

    def _column(self, column: Column) -> Any:
        if column.kind != "factor":
            return self._numbers(column.values, column.kind)
        vector = self._numbers(column.values, "integer")
        vector.do_slot_assign("levels", self._strings(column.levels))
        vector.rclass = self._strings(["ordered", "factor"] if column.ordered else ["factor"])
        return vector

    def _frame(self, columns: Mapping[str, Column], n_rows: int) -> Any:
        """Return columns as an R data frame with row names 1..n."""
        frame = self._named_list(columns)
        frame.do_slot_assign("row.names", self._numbers(np.array([NA, -n_rows]), "integer"))
        frame.rclass = self._strings(["data.frame"])
        return frame

    def _named_list(self, values: Mapping[str, Any]) -> Any:
        vector = self._ri.ListSexpVector.from_iterable([self.to_r(v) for v in values.values()])
        vector.do_slot_assign("names", self._strings([str(k) for k in values]))
        return vector

    def _sequence(self, values: Sequence[Any]) -> Any:
        if all(isinstance(v, str) or v is None for v in values):
            return self._strings(values)
        if all(isinstance(v, _NUMBERS) for v in values):
            return self._array(np.asarray(values))
        return self._ri.ListSexpVector.from_iterable([self.to_r(v) for v in values])

    def from_r(self, value: Any) -> Any:
        """Return an R object as a plain Python value."""
        kind, types = value.typeof, self._ri.RTYPES
        if kind == types.NILSXP:
            return None
        if kind not in self._read_by and kind not in (types.STRSXP, types.VECSXP, types.RAWSXP):
            return Handle(value)
        attributes = self._attributes(value)
        classes = attributes.get("class", ())
        if kind == types.VECSXP:
            return self._list_from_r(value, attributes, classes)
        if "factor" in classes:
            codes = self._buffer(value)
            return pd.Categorical.from_codes(
                np.where(codes == NA, -1, codes - 1), attributes["levels"], ordered="ordered" in classes
            )
        plain = self._vector_from_r(value, kind)
        if "scalar" in classes:
            return plain[0].item() if isinstance(plain[0], np.generic) else plain[0]
        return _matrix(plain, attributes) if "dim" in attributes else plain

    def _attributes(self, value: Any) -> dict[str, Any]:
        types = self._ri.RTYPES
        found: dict[str, Any] = {}
        for name in value.list_attrs():
            attribute = value.do_slot(name)
            if name == "dimnames":
                found[name] = [None if d.typeof == types.NILSXP else self._strings_from_r(d) for d in attribute]
            elif attribute.typeof == types.STRSXP:
                found[name] = self._strings_from_r(attribute)
            elif attribute.typeof == types.INTSXP:
                found[name] = self._buffer(attribute)
        return found

    def _strings_from_r(self, value: Any) -> list[str | None]:
        return [None if v is self._ri.NA_Character else v for v in value]

    def _buffer(self, value: Any) -> np.ndarray:
        """Return a copy of the numbers of a vector, flat and by column.

        Not through the vector's `memoryview()`: each one that rpy2 makes drops a reference to None that it does not
        own, and before Python 3.12 the interpreter ends once none is left.
        """
        read, dtype = self._read_by[value.typeof]
        if not len(value):
            return np.empty(0, dtype)
        buffer = self._ri.openrlib.ffi.buffer(read(value.__sexp__._cdata), len(value) * dtype.itemsize)
        return np.frombuffer(buffer, dtype).copy()

    def _vector_from_r(self, value: Any, kind: int) -> Any:
        types = self._ri.RTYPES
        if kind == types.STRSXP:
            return self._strings_from_r(value)
        if kind == types.RAWSXP:
            return bytes(self._ri.openrlib.ffi.buffer(self._ri.openrlib.RAW(value.__sexp__._cdata), len(value)))
        numbers = self._buffer(value)
        if kind == types.REALSXP:
            numbers[np.isnan(numbers)] = np.nan  # R's NA is a signalling NaN, which makes arithmetic warn
            return numbers
        gaps = numbers == NA
        if kind == types.LGLSXP:
            return np.where(gaps, None, numbers != 0) if gaps.any() else numbers != 0
        return np.where(gaps, np.nan, numbers) if gaps.any() else numbers

    def _list_from_r(self, value: Any, attributes: dict[str, Any], classes: Sequence[str]) -> Any:
        items, names = [self.from_r(item) for item in value], attributes.get("names")
        if "data.frame" in classes:
            rows = attributes["row.names"]
            n_rows = abs(int(rows[1])) if len(rows) == 2 and rows[0] == NA else len(rows)
            index = pd.RangeIndex(n_rows) if isinstance(rows, np.ndarray) else pd.Index(rows)
            frame = pd.DataFrame(dict(enumerate(items)), index=index)
            frame.columns = names or []
            return frame
        return dict(zip(names, items, strict=True)) if names is not None else items


def _matrix(plain: Any, attributes: dict[str, Any]) -> Any:
    array = np.asarray(plain).reshape(tuple(attributes["dim"]), order="F")
    if "dimnames" not in attributes:
        return array
    rows, columns = attributes["dimnames"]
    return pd.DataFrame(array, index=rows, columns=columns)
