"""The state of a model as a plain tree: dicts, lists, tuples, None, text, numbers, truth values and arrays.

What else a model holds is a dict whose entry `is` names one of `_MAKERS`, or the class of a record.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pymer4.errors import DataError
from pymer4.storage import cells
from pymer4.storage.tree import TreeError, is_name

_IS = "is"
_LONG = 256  # entries from which on a list or a dict of scalars is an array
_LONGEST = 15_000  # letters of text in an attribute, which ends at 64 KiB
_ODD = re.compile(r"[\0\ud800-\udfff]")  # in text that no attribute holds


def plain(value: Any, where: str = "", records: tuple[Any, ...] = ()) -> Any:
    """Return a value, such as the state of a model, as a plain tree; `where` is its name, `records` what it may hold.

    Raises:
        DataError: an attribute, or a column, that no file holds; which one.
    """
    value = cells.scalar(value)
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and -(2**63) <= value < 2**63):
        return value
    if isinstance(value, str) and len(value) <= _LONGEST and not _ODD.search(value):
        return value
    if isinstance(value, np.ndarray) and value.ndim and cells.is_number(value.dtype):
        return value
    if isinstance(value, Mapping):
        if len(value) < _LONG and all(map(_is_entry, value)) and list(value) == sorted(value):
            return {
                key: plain(held, f"{where}[{key!r}]" if where else f".{key}", records) for key, held in value.items()
            }
        keys = plain(list(value), f"a key of {where}")
        return {_IS: "dict", "keys": keys, "values": plain(list(value.values()), where, records)}
    if isinstance(value, (list, tuple, range)):
        kind = tuple if isinstance(value, tuple) else list
        if len(value) >= _LONG and all(isinstance(held, (str, int, float, type(None), np.generic)) for held in value):
            return {_IS: kind.__name__, "values": _stored(_objects(value), where)}
        return kind(plain(held, f"{where}[{i}]", records) for i, held in enumerate(value))
    if isinstance(value, records):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {_IS: type(value).__name__} | {n: plain(held, f"{where}.{n}", records) for n, held in fields.items()}
    if isinstance(value, pd.DataFrame):
        return _frame(value, where)
    if isinstance(value, pd.Series):
        return {_IS: "series", "frame": _frame(value.to_frame("values"), where), "name": plain(value.name, where)}
    if isinstance(value, pd.Index):
        return _index(value, where)
    if isinstance(value, pd.api.extensions.ExtensionArray) or (isinstance(value, np.ndarray) and value.ndim == 1):
        column = _objects(value) if value.dtype.kind == "U" else pd.Series(value, dtype=value.dtype)
        return {_IS: "array", "values": _stored(column, where), "dtype": cells.name_of(value.dtype)}
    with contextlib.suppress(DataError):
        return {_IS: "scalar", "values": cells.stored(_objects([value]))}
    raise DataError(
        f"The model can't be saved: its attribute {where} holds a {type(value).__name__}, which a file has no form for."
        " Give it as numbers, text, lists, dicts, arrays or frames and fit again, delete it where it is your own, or "
        "keep the model with pickle or joblib."
    )


def made(tree: Any, records: Iterable[type] = ()) -> Any:
    """Return the value that `plain()` took apart."""
    makers = _MAKERS | {record.__name__: record for record in records}
    if isinstance(tree, (list, tuple)):
        return type(tree)(made(held, records) for held in tree)
    if not isinstance(tree, dict):
        return tree
    held = {key: made(part, records) for key, part in tree.items()}
    kind = held.pop(_IS, None)
    if kind is None:
        return held
    if kind not in makers:
        raise TreeError(f"it holds a {kind!r} of a form that this version does not know")
    return makers[kind](**held)


def _is_entry(key: Any) -> bool:
    return is_name(key) and key != _IS


# ------------------------------------------------------------------ frames, indexes, cells


def _frame(frame: pd.DataFrame, where: str) -> dict[str, Any]:
    """Return a frame as a tree: columns that are all float64 are one array, others one each, by name if they can."""
    where, names = where.lstrip("."), list(frame.columns)
    dtypes = [cells.name_of(dtype) for dtype in frame.dtypes]
    values: Any
    if set(dtypes) == {"float64"}:
        values = frame.to_numpy()
    else:
        values = [_stored(frame.iloc[:, j], f"Column {name!r} of {where}") for j, name in enumerate(names)]
        if frame.columns.is_unique and all(map(_is_entry, names)):
            values = dict(zip(names, values, strict=True))
    return {
        _IS: "frame",
        "columns": _index(frame.columns, f"the columns of {where}"),
        "index": _index(frame.index, f"the index of {where}"),
        "values": values,
        "dtypes": plain(dtypes),
        "attrs": plain(dict(frame.attrs), f"{where}.attrs"),
    }


def _frame_made(columns: pd.Index, index: pd.Index, values: Any, dtypes: list[str], attrs: Mapping[Any, Any]) -> Any:
    if isinstance(values, np.ndarray):
        frame = pd.DataFrame(values, index=index, copy=True)
    else:
        held = [values[name] for name in columns] if isinstance(values, dict) else values
        restored = [cells.restored(column, name) for column, name in zip(held, dtypes, strict=True)]
        parts = [pd.Series(column, index=index, dtype=column.dtype) for column in restored]
        frame = pd.DataFrame(dict(enumerate(parts)), index=index)
    frame.columns = columns
    frame.attrs = dict(attrs)
    return frame


def _index(index: pd.Index, what: str) -> dict[str, Any]:
    if isinstance(index, pd.RangeIndex):
        ends = {"start": index.start, "stop": index.stop, "step": index.step}
        return {_IS: "range", "name": plain(index.name, what)} | ends
    levels = [index.get_level_values(i) for i in range(index.nlevels)]
    return {
        _IS: "index",
        "names": plain(list(index.names), what),
        "levels": [_stored(level, f"A label in {what}") for level in levels],
        "dtypes": [cells.name_of(level.dtype) for level in levels],
        "freq": getattr(index, "freqstr", None),
    }


def _index_made(names: list[Any], levels: list[Any], dtypes: list[str], freq: str | None) -> pd.Index:
    made = [cells.restored(level, dtype) for level, dtype in zip(levels, dtypes, strict=True)]
    if len(made) > 1:
        return pd.MultiIndex.from_arrays(made, names=names)
    index = pd.Index(made[0], dtype=made[0].dtype, name=names[0])
    if freq is not None:
        with contextlib.suppress(ValueError):  # versions of pandas spell frequencies in their own ways
            index.freq = freq
    return index


def _stored(values: pd.Series | pd.Index, what: str) -> Any:
    try:
        return cells.stored(values)
    except DataError as error:
        raise DataError(f"{what} {error}.") from error


def _objects(values: Sequence[Any]) -> pd.Series:
    return pd.Series(np.fromiter(values, dtype=object, count=len(values)), dtype=object)


_MAKERS: dict[str, Callable[..., Any]] = {
    "dict": lambda keys, values: dict(zip(keys, values, strict=True)),
    "list": lambda values: list(cells.restored(values, "object")),
    "tuple": lambda values: tuple(cells.restored(values, "object")),
    "scalar": lambda values: cells.restored(values, "object")[0],
    "array": lambda values, dtype: cells.restored(values, dtype),
    "series": lambda frame, name: frame["values"].rename(name),
    "frame": _frame_made,
    "index": _index_made,
    "range": pd.RangeIndex,
}
