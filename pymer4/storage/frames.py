"""Data frames as the four entries that the model files of the 0.7 line give each, and back.

`cols` and `idx` are the names of columns and rows, text as UTF-8 bytes; `vals` is one array where all columns are
numbers, else one array a column; `dtypes` is column to the name of its dtype. A fifth value, `meta`, tells what these
leave out: names of the index, indexes of other kinds, how columns are coded, `attrs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pymer4.errors import DataError
from pymer4.storage import cells

_EXACT = 2**53  # whole numbers that float64 holds


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """A frame taken apart.

    Attributes:
        cols: names of the columns, shape (k,).
        idx: names of the rows, shape (n,).
        vals: shape (n, k); or column to values, in a list where names are no text, or not unique.
        dtypes: column to the name of its dtype.
        meta: what else there is to know.
    """

    cols: np.ndarray
    idx: np.ndarray
    vals: np.ndarray | Mapping[Any, Any] | Sequence[Any]
    dtypes: Mapping[Any, Any]
    meta: Mapping[str, Any]

    def columns(self) -> list[Any]:
        """Return the values of each column, as they are stored."""
        if isinstance(self.vals, np.ndarray):
            return [self.vals[:, j] for j in range(self.vals.shape[1])]
        return list(self.vals.values()) if isinstance(self.vals, Mapping) else list(self.vals)


def apart(frame: pd.DataFrame, what: str) -> Parts:
    """Return a frame as the entries of a file.

    Args:
        frame: it is read only.
        what: its name, for messages.

    Raises:
        DataError: a column that no file holds.

    Examples:
        >>> apart(pd.DataFrame({"x": [1.0], "n": [2]}), "data").vals
        array([[1., 2.]])
    """
    cols, columns = labels(frame.columns, f"the columns of {what}")
    idx, index = labels(frame.index, f"the index of {what}")
    meta = {"columns": columns, "index": index, "attrs": dict(frame.attrs) or None}
    by_name = frame.columns.is_unique and all(isinstance(name, str) for name in frame.columns)
    names = [cells.name_of(dtype) for dtype in frame.dtypes]
    dtypes = dict(zip(frame.columns if by_name else map(str, frame.columns), names, strict=True))
    if not by_name:
        meta["dtypes"] = names
    if _is_one_array(frame):
        vals = frame.to_numpy()
    else:
        held, how = [], {}
        for j, name in enumerate(frame.columns):
            value, told = _stored(frame.iloc[:, j], f"Column {name!r} of {what}")
            held.append(value)
            if told is not None:
                how[str(j)] = told
        meta["how"] = how or None
        vals = dict(zip(frame.columns, held, strict=True)) if by_name else held
    return Parts(cols, idx, vals, dtypes, {key: value for key, value in meta.items() if value is not None})


def together(parts: Parts) -> pd.DataFrame:
    """Return the frame that parts were made of; parts of the 0.7 line have dtypes in the place of their names."""
    meta = parts.meta
    columns, index = (index_of(held, meta.get(key)) for held, key in ((parts.cols, "columns"), (parts.idx, "index")))
    held = parts.columns()
    names = meta.get("dtypes") or [_dtype_of(parts.dtypes, name) for name in columns]
    one = isinstance(parts.vals, np.ndarray)
    if one and len(set(map(str, names))) == 1 and parts.vals.dtype == names[0]:
        frame = pd.DataFrame(parts.vals, index=index)
    elif one:
        frame = pd.DataFrame({j: values.astype(name) for j, (values, name) in enumerate(zip(held, names, strict=True))})
        frame.index = index
    else:
        how = meta.get("how") or {}
        made = {j: cells.restored(held[j], str(name), how.get(str(j))) for j, name in enumerate(names)}
        frame = pd.DataFrame({j: pd.Series(values, index=index, dtype=values.dtype) for j, values in made.items()})
    frame.columns = columns
    frame.attrs = dict(meta.get("attrs") or {})
    return frame


def _dtype_of(dtypes: Mapping[Any, Any], name: Any) -> Any:
    return dtypes[name]


def _is_one_array(frame: pd.DataFrame) -> bool:
    """Whether all columns are numbers that one array holds without loss."""
    kinds = {dtype.kind if isinstance(dtype, np.dtype) else "O" for dtype in frame.dtypes}
    if not kinds <= set("biuf") or ("b" in kinds and len(kinds) > 1) or (kinds >= {"i", "u"} and "f" not in kinds):
        return False
    common = np.result_type(*frame.dtypes) if len(frame.columns) else np.dtype(float)
    if common.itemsize > 8:
        return False
    whole = [frame.iloc[:, j].to_numpy() for j, d in enumerate(frame.dtypes) if d.kind in "iu" and common.kind == "f"]
    return all(len(values) == 0 or (values.min() >= -_EXACT and values.max() <= _EXACT) for values in whole)


def _stored(values: pd.Series | pd.Index, what: str) -> tuple[Any, Any]:
    try:
        return cells.stored(cells.array_of(values))
    except DataError as error:
        raise DataError(f"{what} {error}.") from error


# ------------------------------------------------------------------ indexes


def labels(index: pd.Index, what: str) -> tuple[np.ndarray, dict[str, Any] | None]:
    """Return the labels of an index as an array of bytes or numbers, and what that leaves out; `what` is its name."""
    meta: dict[str, Any] = {} if index.name is None else {"name": index.name}
    if isinstance(index, pd.RangeIndex):
        return np.arange(index.start, index.stop, index.step), meta | {"range": [index.start, index.stop, index.step]}
    if isinstance(index, pd.MultiIndex):
        levels = [labels(level, what) for level in index.levels]
        held = [{"labels": labels, "meta": told} for labels, told in levels]
        meta = {"names": list(index.names), "levels": held, "codes": [np.asarray(codes) for codes in index.codes]}
        return _coded([str(label) for label in index]), meta
    held, how = _stored(index, f"A label in {what}")
    if isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)) and index.freq is not None:
        meta["freq"] = index.freqstr
    dtype = cells.name_of(index.dtype)
    if isinstance(held, np.ndarray) and how is None and held.dtype.kind != "U":
        return held, (meta if str(held.dtype) == dtype else meta | {"dtype": dtype}) or None
    if isinstance(held, np.ndarray) and how is None:
        return _coded(held), (meta if dtype == "object" else meta | {"dtype": dtype}) or None
    return _coded([str(label) for label in index]), meta | {"dtype": dtype, "held": held, "how": how}


def index_of(labels: np.ndarray, meta: Mapping[str, Any] | None) -> pd.Index:
    """Return the index that `labels()` took apart."""
    meta = meta or {}
    if "range" in meta:
        return pd.RangeIndex(*meta["range"], name=meta.get("name"))
    if "levels" in meta:
        levels = [index_of(level["labels"], level["meta"]) for level in meta["levels"]]
        return pd.MultiIndex(levels=levels, codes=meta["codes"], names=meta["names"])
    held = meta.get("held", labels)
    dtype = meta.get("dtype", "object" if not isinstance(held, np.ndarray) or held.dtype.kind in "SUO" else held.dtype)
    values = cells.restored(held, str(dtype), meta.get("how"))
    index = pd.Index(values, dtype=values.dtype, name=meta.get("name"))
    if "freq" in meta:
        index.freq = meta["freq"]
    return index


def _coded(labels: Sequence[str] | np.ndarray) -> np.ndarray:
    """Return text as UTF-8 bytes, as old readers expect names."""
    coded = [str(label).replace("\0", " ").encode("utf-8", "replace") for label in labels]
    return np.array(coded, dtype=f"S{max(map(len, coded), default=1) or 1}")
