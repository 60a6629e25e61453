"""The state of a model as a plain tree in the two groups of a model file, and back.

`simple_atts` holds every attribute that is no table, and the name of the class; `data_atts` the tables, each as the
four entries of `frames`. What these leave out about a table stands in `simple_atts/_frames`. Arrays that are columns
of the data are stored once, and shown in their other places.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.errors import DataError, FileError
from pymer4.storage import cells, frames
from pymer4.storage.frames import Parts
from pymer4.storage.h5tree import Tagged, View, plain_scalar

CLASS = "model_class"
_FRAMES = "_frames"
_ENTRIES = ("cols", "idx", "vals", "dtypes")
_ENTRY = re.compile(r"(?:df|list_(?P<place>\d+))_(?P<entry>cols|idx|vals|dtypes)__(?P<name>.+)", re.DOTALL)
_FROM = 1000  # rows from which on a virtual dataset is smaller than a copy
_MOST_PIECES = 4000


def to_tree(state: Mapping[str, Any], class_name: str, records: Iterable[type]) -> dict[str, Any]:
    """Return the two groups of a file.

    Args:
        state: attribute to value; tables are frames, or lists of frames.
        class_name: name of the model's class.
        records: dataclasses that may occur in it.

    Raises:
        DataError: an attribute that no file holds; which one.
    """
    made = _Made(state, tuple(records))
    for name in sorted(state):
        made.add(name, state[name])
    simple = made.simple | {CLASS: class_name, _FRAMES: made.meta}
    return {"data_atts": dict(sorted(made.tables.items())), "simple_atts": dict(sorted(simple.items()))}


def from_tree(tree: Mapping[str, Any], records: Iterable[type]) -> dict[str, Any]:
    """Return the state of a model from the two groups of a file.

    Raises:
        FileError: they hold what this version does not know.
    """
    reader = _Reader({record.__name__: record for record in records})
    simple = dict(tree["simple_atts"])
    meta = simple.pop(_FRAMES, {})
    simple.pop(CLASS, None)
    state = {name: reader.value(value) for name, value in simple.items()}
    return state | tables_of(tree["data_atts"], reader.value(meta))


def tables_of(entries: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of a file, frames and lists of frames, by the name of their attribute."""
    found: dict[str, dict[int | None, dict[str, Any]]] = {}
    for key, value in entries.items():
        match = _ENTRY.fullmatch(key)
        if match is None:
            raise FileError(f"data_atts/{key} is no part of a table")
        place = None if match["place"] is None else int(match["place"])
        found.setdefault(match["name"], {}).setdefault(place, {})[match["entry"]] = value
    made = {}
    for name, parts in found.items():
        told = meta.get(name, {})
        if None in parts:
            made[name] = frames.together(Parts(**parts[None], meta=told))
        else:
            made[name] = [frames.together(Parts(**parts[i], meta=told.get(str(i), {}))) for i in sorted(parts)]
    return made


# ------------------------------------------------------------------ writing


class _Made:
    """The two groups while they are being made."""

    def __init__(self, state: Mapping[str, Any], records: tuple[type, ...]):
        self.simple: dict[str, Any] = {}
        self.tables: dict[str, Any] = {}
        self.meta: dict[str, Any] = {}
        self.records = records
        self.parts: Parts | None = None
        self.shown: dict[bytes, tuple[np.ndarray, int | None]] = {}
        self.used: np.ndarray | None = None
        data = state.get("data")
        if isinstance(data, pd.DataFrame):
            self.parts = frames.apart(data, "data")
            if len(data) >= _FROM:
                self.shown = _columns_of(self.parts)
            fits = state.get(tables.FITS)
            self.used = ~np.isnan(fits) if isinstance(fits, np.ndarray) and len(fits) == len(data) else None

    def add(self, name: str, value: Any) -> None:
        if isinstance(value, pd.DataFrame):
            parts = self.parts if name == "data" else frames.apart(value, name)
            self.meta[name] = self.plain(self.table(f"df_{{}}__{name}", parts), f".{name}")
        elif isinstance(value, list) and value and all(isinstance(frame, pd.DataFrame) for frame in value):
            self.meta[name] = {
                str(i): self.plain(self.table(f"list_{i}_{{}}__{name}", frames.apart(frame, f"{name}[{i}]")), name)
                for i, frame in enumerate(value)
            }
        else:
            self.simple[name] = self.plain(value, f".{name}")

    def table(self, pattern: str, parts: Parts) -> dict[str, Any]:
        """Take the entries of a table in; returns what else is to be told of it."""
        meta = dict(parts.meta)
        vals = parts.vals
        if parts is not self.parts and isinstance(vals, np.ndarray) and vals.dtype == np.float64:
            vals, rest = self.view(vals)
            if rest is not None:
                meta["rest"] = rest
        for entry, value in zip(_ENTRIES, (parts.cols, parts.idx, vals, parts.dtypes), strict=True):
            self.tables[pattern.format(entry)] = value
        return meta

    def view(self, values: np.ndarray) -> tuple[np.ndarray | View, np.ndarray | None]:
        """Return a table whose columns are shown from the data where they stand there, and the other columns."""
        runs = self.runs(len(values))
        if not runs or not self.shown:
            return values, None
        found = [self.source(values[:, j]) for j in range(values.shape[1])]
        others = [j for j, source in enumerate(found) if source is None]
        if len(others) == len(found) or len(runs) * len(found) > _MOST_PIECES:
            return values, None
        constant = next((j for j in others if np.all(values[:, j] == values[0, j])), None)
        others = [j for j in others if j != constant]
        rest = np.ascontiguousarray(values[:, others]) if others else None
        pieces: list[tuple[tuple, np.ndarray, tuple]] = []
        for j, source in enumerate(found):
            if j == constant:
                continue
            if source is None:
                everywhere = slice(0, len(values))
                pieces.append(((everywhere, j), rest, (everywhere, others.index(j))))
                continue
            column, place = source
            for here, there in runs:
                pieces.append(((here, j), column, (there,) if place is None else (there, place)))
        fill = 0.0 if constant is None else float(values[0, constant])
        return View(values.shape, tuple(pieces), fill), rest

    def runs(self, n_rows: int) -> list[tuple[slice, slice]]:
        """Return stretches of rows of a table, and where they stand in the data; none where that is not known."""
        if n_rows < _FROM or self.parts is None:
            return []
        n_data = len(self.parts.idx)
        if n_rows == n_data:
            return [(slice(0, n_rows), slice(0, n_rows))]
        if self.used is None or int(self.used.sum()) != n_rows:
            return []
        edges = np.flatnonzero(np.diff(np.r_[False, self.used, False].astype(np.int8)))
        starts, ends = edges[::2], edges[1::2]
        placed = np.cumsum(np.r_[0, ends - starts])
        return [
            (slice(int(a), int(b)), slice(int(s), int(e)))
            for a, b, s, e in zip(placed[:-1], placed[1:], starts, ends, strict=True)
        ]

    def source(self, values: np.ndarray) -> tuple[np.ndarray, int | None] | None:
        """Return the column of the data that holds these values, in the rows used where they are fewer."""
        if self.parts is not None and len(values) < len(self.parts.idx):
            if not hasattr(self, "_among_used"):
                self._among_used = {
                    _digest((column if j is None else column[:, j])[self.used]): (column, j)
                    for column, j in self.shown.values()
                }
            return self._among_used.get(_digest(values))
        return self.shown.get(_digest(values))

    # --- values

    def plain(self, value: Any, where: str) -> Any:
        value = plain_scalar(value)
        if value is None or isinstance(value, (str, bytes, bool, int, float, complex)):
            return value
        if isinstance(value, np.ndarray):
            return self.array(value, where)
        if isinstance(value, Mapping):
            return {self.key(key, where): self.plain(held, f"{where}[{key!r}]") for key, held in value.items()}
        if isinstance(value, (list, tuple, range)):
            kind = tuple if isinstance(value, tuple) else list
            return kind(self.plain(held, f"{where}[{i}]") for i, held in enumerate(value))
        if isinstance(value, (pd.DataFrame, pd.Series)):
            frame = value if isinstance(value, pd.DataFrame) else value.to_frame(0)
            parts = frames.apart(frame, where)
            entries = {name: getattr(parts, name) for name in _ENTRIES} | {"meta": self.plain(parts.meta, where)}
            if isinstance(value, pd.Series):
                return Tagged("series", entries | {"name": self.plain(value.name, where)})
            return Tagged("frame", entries)
        if isinstance(value, pd.Index):
            held, meta = frames.labels(value, where)
            return Tagged("index", {"labels": held, "meta": self.plain(meta, where)})
        if isinstance(value, pd.api.extensions.ExtensionArray):
            column = pd.Series(value)
            held, how = cells.stored(cells.array_of(column))
            return Tagged("values", {"held": held, "dtype": cells.name_of(column.dtype), "how": self.plain(how, where)})
        if isinstance(value, self.records):
            names = [field.name for field in dataclasses.fields(value)]
            fields = {name: self.plain(getattr(value, name), f"{where}.{name}") for name in names}
            return Tagged("record", {"class": type(value).__name__, "fields": fields})
        if isinstance(value, Tagged):
            return value
        return self.other(value, where)

    def array(self, value: np.ndarray, where: str) -> Any:
        if value.dtype.kind in "biufcSU" and value.dtype != np.longdouble:
            if value.ndim == 1 and value.dtype == np.float64 and self.shown and len(value) == len(self.parts.idx):
                source = self.shown.get(_digest(value))
                if source is not None:
                    column, place = source
                    rows = slice(0, len(value))
                    return column if place is None else View(value.shape, (((rows,), column, (rows, place)),))
            return value
        if value.ndim != 1:
            raise _unfit(value, where, f"an array of {value.dtype} in {value.ndim} dimensions")
        try:
            held, how = cells.stored(value)
        except DataError as error:
            raise DataError(f"{where} {error}.") from error
        return Tagged("values", {"held": held, "dtype": str(value.dtype), "how": self.plain(how, where)})

    def key(self, value: Any, where: str) -> Any:
        value = plain_scalar(value)
        if isinstance(value, tuple):
            return tuple(self.key(part, where) for part in value)
        if value is None or isinstance(value, (str, bool, int, float)):
            return value
        raise _unfit(value, where, f"a dict with a key of type {type(value).__name__}")

    def other(self, value: Any, where: str) -> Tagged:
        try:
            kind, text = cells.written(value)
        except DataError as error:
            raise _unfit(value, where, f"a {type(value).__name__}") from error
        return Tagged("scalar", {"kind": kind, "text": text})


def _columns_of(parts: Parts) -> dict[bytes, tuple[np.ndarray, int | None]]:
    """Return where the columns of numbers stand, by their digest."""
    if isinstance(parts.vals, np.ndarray):
        if parts.vals.dtype != np.float64:
            return {}
        return {_digest(parts.vals[:, j]): (parts.vals, j) for j in reversed(range(parts.vals.shape[1]))}
    numbers = [v for v in parts.columns() if isinstance(v, np.ndarray) and v.dtype == np.float64 and v.ndim == 1]
    return {_digest(values): (values, None) for values in reversed(numbers)}


def _digest(values: np.ndarray) -> bytes:
    return hashlib.sha1(np.ascontiguousarray(values), usedforsecurity=False).digest()


def _unfit(value: Any, where: str, what: str) -> DataError:
    return DataError(
        f"The model can't be saved: its attribute {where} holds {what}, which a file has no form for. Give it as "
        "numbers, text, lists, dicts, arrays or frames and fit again, or keep the model with pickle or joblib."
    )


# ------------------------------------------------------------------ reading


class _Reader:
    def __init__(self, records: Mapping[str, type]):
        self.records = records

    def value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.value(held) for key, held in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self.value(held) for held in value)
        if not isinstance(value, Tagged):
            return value
        if value.kind not in self._KINDS:
            raise FileError(f"it holds a {value.kind!r}, which this version does not know")
        return self._KINDS[value.kind](self, value.entries)

    def frame(self, entries: Mapping[str, Any]) -> pd.DataFrame:
        parts = {name: entries[name] for name in _ENTRIES}
        return frames.together(Parts(**parts, meta=self.value(entries["meta"])))

    def series(self, entries: Mapping[str, Any]) -> pd.Series:
        return self.frame(entries)[0].rename(self.value(entries["name"]))

    def index(self, entries: Mapping[str, Any]) -> pd.Index:
        return frames.index_of(entries["labels"], self.value(entries["meta"]))

    def values(self, entries: Mapping[str, Any]) -> Any:
        return cells.restored(entries["held"], entries["dtype"], self.value(entries["how"]))

    def record(self, entries: Mapping[str, Any]) -> Any:
        fields = self.value(entries["fields"])
        kind = self.records.get(entries["class"])
        if kind is None or not set(fields) <= {field.name for field in dataclasses.fields(kind)}:
            raise FileError(f"it holds a {entries['class']!r} of a form that this version does not know")
        return kind(**fields)

    def scalar(self, entries: Mapping[str, Any]) -> Any:
        return cells.read(entries["kind"], entries["text"])

    _KINDS: ClassVar[dict[str, Callable[[Any, Mapping[str, Any]], Any]]] = {
        "frame": frame,
        "series": series,
        "index": index,
        "values": values,
        "record": record,
        "scalar": scalar,
    }
