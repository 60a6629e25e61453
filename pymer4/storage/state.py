"""The state of a model as a plain tree in the two groups of a model file, and back.

`simple_atts` holds every attribute that is no table, and the name of the class; `data_atts` the tables, each as four
entries: `cols` and `idx` are the names of columns and rows, text as UTF-8 bytes; `vals` is one array where all columns
are float64, else an array a column; `dtypes` is column to the name of its dtype. What these leave out about a table,
such as the name of its index, stands in `simple_atts/_frames`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.errors import DataError
from pymer4.storage import cells
from pymer4.storage.tree import Tagged, TreeError, is_name

CLASS = "model_class"
_FRAMES = "_frames"
_ENTRY = re.compile(r"(?:df|list_(?P<place>\d+))_(?P<entry>cols|idx|vals|dtypes)__(?P<name>.+)", re.DOTALL)
_LONG = 256  # entries from which on a list or a dict of scalars is an array
_LONGEST = 15_000  # letters of text in an attribute, which ends at 64 KiB


def to_tree(state: Mapping[str, Any], class_name: str, records: Iterable[type]) -> dict[str, Any]:
    """Return the two groups of a file.

    Args:
        state: attribute to value; tables are frames, or lists of frames.
        class_name: name of the model's class.
        records: dataclasses that may occur in it.

    Raises:
        DataError: an attribute, or a column, that no file holds; which one.
    """
    for name in state:
        if not is_name(name) or name in (CLASS, _FRAMES):
            raise DataError(
                f"The model can't be saved: a file has other uses for the name of its attribute {name!r}. Call it "
                "otherwise, or keep the model with pickle or joblib."
            )
    records, state, held, told = tuple(records), dict(state), {}, {}
    for name, value in list(state.items()):
        frames = value if isinstance(value, list) else [value]
        if not frames or not all(isinstance(frame, pd.DataFrame) for frame in frames):
            continue
        parts = [apart(frame, name, as_one=name != "data") for frame in frames]
        told[name] = [part.pop("meta") for part in parts]
        for i, part in enumerate(parts):
            start = f"list_{i}" if isinstance(value, list) else "df"
            held |= {f"{start}_{entry}__{name}": content for entry, content in part.items()}
        del state[name]
    _share(state, held.get("df_vals__data"))
    simple = {name: plain(value, f".{name}", records) for name, value in state.items()} | {CLASS: class_name}
    return {"data_atts": dict(sorted(held.items())), "simple_atts": dict(sorted((simple | {_FRAMES: told}).items()))}


def from_tree(tree: Mapping[str, Any], records: Iterable[type]) -> dict[str, Any]:
    """Return the state of a model from the two groups of a file.

    Raises:
        TreeError: they hold what this version does not know.
    """
    simple = _made(tree["simple_atts"], {record.__name__: record for record in records})
    told, _ = simple.pop(_FRAMES), simple.pop(CLASS)
    return simple | tables_of(tree["data_atts"], told)


def tables_of(entries: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of a file, frames and lists of frames, by the name of their attribute."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for key, value in entries.items():
        match = _ENTRY.fullmatch(key)
        if match is None:
            raise TreeError(f"data_atts/{key} is no part of a table")
        place = -1 if match["place"] is None else int(match["place"])
        found.setdefault(match["name"], {}).setdefault(place, {})[match["entry"]] = value
    made = {}
    for name, parts in found.items():
        metas = told.get(name, [{}] * len(parts))
        frames = [together(**parts[i], meta=meta) for i, meta in zip(sorted(parts), metas, strict=True)]
        made[name] = frames[0] if -1 in parts else frames
    return made


def _share(state: dict[str, Any], data: Any) -> None:
    """Put the arrays of the data in the place of fits and residuals that equal them: a file holds an array once."""
    for name in (tables.FITS, tables.RESIDUALS):
        held = data.get(name) if isinstance(data, Mapping) else None
        if isinstance(held, np.ndarray) and isinstance(state.get(name), np.ndarray):
            state[name] = held if held.tobytes() == state[name].tobytes() else state[name]


# ------------------------------------------------------------------ frames


def apart(frame: pd.DataFrame, where: str, as_one: bool = True) -> dict[str, Any]:
    """Return a frame as the entries of a file.

    Args:
        frame: it is read only.
        where: its name, for messages.
        as_one: make one array of columns that are all float64.

    Raises:
        DataError: a column that no file holds.

    Examples:
        >>> apart(pd.DataFrame({"x": [1.0], "z": [2.0]}), "data")["vals"]
        array([[1., 2.]])
    """
    cols, columns = labels(frame.columns, f"the columns of {where}")
    idx, index = labels(frame.index, f"the index of {where}")
    meta = {"columns": columns, "index": index, "attrs": plain(dict(frame.attrs), f"{where}.attrs")}
    dtypes: Any = [cells.name_of(dtype) for dtype in frame.dtypes]
    if as_one and set(dtypes) == {"float64"}:
        vals = frame.to_numpy()
    else:
        vals = [_stored(frame.iloc[:, j], f"Column {name!r} of {where}") for j, name in enumerate(frame.columns)]
    if frame.columns.is_unique and all(map(is_name, frame.columns)):
        vals, dtypes = (
            v if isinstance(v, np.ndarray) else dict(zip(frame.columns, v, strict=True)) for v in (vals, dtypes)
        )
    return {"cols": cols, "idx": idx, "vals": vals, "dtypes": dtypes, "meta": {k: v for k, v in meta.items() if v}}


def together(cols: np.ndarray, idx: np.ndarray, vals: Any, dtypes: Any, meta: Mapping[str, Any]) -> pd.DataFrame:
    """Return the frame that entries were made of; those of the 0.7 line have dtypes in the place of their names."""
    columns, index = index_of(cols, meta.get("columns", {})), index_of(idx, meta.get("index", {}))
    names = [dtypes[name] for name in columns] if isinstance(dtypes, Mapping) else dtypes
    if isinstance(vals, np.ndarray):
        made = [pd.Series(vals[:, j].astype(name), index=index) for j, name in enumerate(names)]
    else:
        held = [vals[name] for name in columns] if isinstance(vals, Mapping) else vals
        values = [cells.restored(column, name) for column, name in zip(held, names, strict=True)]
        made = [pd.Series(column, index=index, dtype=column.dtype) for column in values]
    frame = pd.DataFrame(dict(enumerate(made)), index=index)
    frame.columns = columns
    frame.attrs = dict(meta.get("attrs", {}))
    return frame


def _stored(values: pd.Series | pd.Index, what: str) -> Any:
    try:
        return cells.stored(values)
    except DataError as error:
        raise DataError(f"{what} {error}.") from error


def labels(index: pd.Index, what: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the labels of an index as an array of bytes or numbers, and what that leaves out; `what` is its name."""
    meta = {"names": plain(list(index.names), what)}
    if isinstance(index, pd.RangeIndex):
        return np.asarray(index), meta | {"range": [index.start, index.stop, index.step]}
    if getattr(index, "freqstr", None):
        meta["freq"] = index.freqstr
    levels = [index.get_level_values(i) for i in range(index.nlevels)]
    held = [_stored(level, f"A label in {what}") for level in levels]
    meta["dtypes"] = [cells.name_of(level.dtype) for level in levels]
    if len(levels) == 1 and isinstance(held[0], np.ndarray):
        return held[0], meta
    coded = [str(label).encode("utf-8", "surrogatepass") for label in index]
    return np.array(coded, dtype="S"), meta | {"levels": held}


def index_of(labels: np.ndarray, meta: Mapping[str, Any]) -> pd.Index:
    """Return the index that `labels()` took apart."""
    names = meta.get("names", [None])
    if "range" in meta:
        return pd.RangeIndex(*meta["range"], name=names[0])
    dtypes = meta.get("dtypes") or ["object" if labels.dtype.kind == "S" else str(labels.dtype)]
    levels = [cells.restored(*level) for level in zip(meta.get("levels", [labels]), dtypes, strict=True)]
    if len(levels) > 1:
        return pd.MultiIndex.from_arrays(levels, names=names)
    index = pd.Index(levels[0], dtype=levels[0].dtype, name=names[0])
    with contextlib.suppress(ValueError):  # versions of pandas spell frequencies in their own ways
        if "freq" in meta:
            index.freq = meta["freq"]
    return index


# ------------------------------------------------------------------ other values


def plain(value: Any, where: str, records: tuple[type, ...] = ()) -> Any:
    """Return a value as what a tree can hold; `where` is its name.

    Raises:
        DataError: no file holds it.
    """
    value = cells.scalar(value)
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and -(2**63) <= value < 2**63):
        return value
    if isinstance(value, str) and len(value) <= _LONGEST and "\0" not in value:
        return value
    if isinstance(value, np.ndarray) and value.ndim and (value.dtype.kind == "S" or cells.is_number(value.dtype)):
        return value
    if isinstance(value, Mapping):
        made = {key: plain(held, f"{where}[{key!r}]", records) for key, held in value.items()}
        if len(made) < _LONG and all(map(is_name, made)):
            return made
        keys = plain(list(made), f"a key of {where}")
        return Tagged("items", {"keys": keys, "values": plain(list(value.values()), where, records)})
    if isinstance(value, (list, tuple, range)):
        if len(value) >= _LONG and all(isinstance(held, (str, int, float, type(None), np.generic)) for held in value):
            return Tagged("long", {"held": _stored(_objects(value), where), "is_tuple": isinstance(value, tuple)})
        kind = tuple if isinstance(value, tuple) else list
        return kind(plain(held, f"{where}[{i}]", records) for i, held in enumerate(value))
    if isinstance(value, records):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return Tagged("record", {"class": type(value).__name__, "fields": plain(fields, where, records)})
    if isinstance(value, pd.DataFrame):
        return Tagged("frame", apart(value, where))
    if isinstance(value, pd.Series):
        return Tagged("series", {"frame": plain(value.to_frame("values"), where), "name": plain(value.name, where)})
    if isinstance(value, pd.Index):
        return Tagged("index", dict(zip(("labels", "meta"), labels(value, where), strict=True)))
    if isinstance(value, pd.api.extensions.ExtensionArray) or (isinstance(value, np.ndarray) and value.ndim == 1):
        column = _objects(value) if value.dtype.kind == "U" else pd.Series(value, dtype=value.dtype)
        return Tagged("values", {"held": _stored(column, where), "dtype": cells.name_of(value.dtype)})
    with contextlib.suppress(DataError):
        return Tagged("scalar", {"held": cells.stored(_objects([value]))})
    raise DataError(
        f"The model can't be saved: its attribute {where} holds a {type(value).__name__}, which a file has no form for."
        " Give it as numbers, text, lists, dicts, arrays or frames and fit again, delete it where it is your own, or "
        "keep the model with pickle or joblib."
    )


def _objects(values: Sequence[Any]) -> pd.Series:
    return pd.Series(np.fromiter(values, dtype=object, count=len(values)), dtype=object)


def _made(value: Any, known: Mapping[str, type]) -> Any:
    """Return the value that `plain()` took apart."""
    if isinstance(value, dict):
        return {key: _made(held, known) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_made(held, known) for held in value)
    if not isinstance(value, Tagged):
        return value
    held = _made(value.entries, known)
    match value.kind:
        case "items":
            return dict(zip(held["keys"], held["values"], strict=True))
        case "long":
            return (tuple if held["is_tuple"] else list)(cells.restored(held["held"], "object"))
        case "frame":
            return together(**held)
        case "series":
            return held["frame"]["values"].rename(held["name"])
        case "index":
            return index_of(**held)
        case "values":
            return cells.restored(held["held"], held["dtype"])
        case "scalar":
            return cells.restored(held["held"], "object")[0]
        case "record" if held["class"] in known:
            return known[held["class"]](**held["fields"])
    raise TreeError(f"it holds a {value.kind!r} of a form that this version does not know")
