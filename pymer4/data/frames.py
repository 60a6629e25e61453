"""Frames and columns of any kind, as pandas has them.

What is a pandas object already passes through untouched, and costs nothing. Everything else is read through narwhals,
which is imported for it. Rows keep their order and are counted from 0.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import pandas as pd

from pymer4.errors import DataError, few, near

KINDS = (
    "a pandas, polars or pyarrow frame (of polars a lazy one too), a DuckDB relation, or a dict of columns such as "
    "{'x': [1, 2]}"
)
"""The kinds of frame that are taken, for messages."""

Chooser = Callable[[Sequence[Any]], Iterable[Any]]
"""From the names of all columns to those that are needed."""

_LAZY = "lazy columns"
_LIBRARIES = {"polars", "pyarrow", "duckdb", "_duckdb", "modin", "cudf", "narwhals"}
_WAYS = ("to_frame", "toPandas", "to_dataframe", "to_pandas", "compute")


def frame(argument: str, given: Any, needed: Chooser | None = None, eager: bool = True) -> pd.DataFrame:
    """Return a frame of any kind as a pandas one: a pandas frame itself, of any other kind a copy.

    Args:
        argument: what the frame was given as, for messages.
        given: the frame.
        needed: chooses columns, before anything is converted; None for all. A pandas frame keeps all.
        eager: whether frames that are in memory are also reduced to what is needed, and not only lazy ones.

    Raises:
        DataError: a frame of an unknown kind, duplicate columns, or a dict whose columns are none.

    Examples:
        >>> frame("data", {"x": [1, 2], "g": ["a", "b"]}, lambda names: ["x"])["x"].tolist()
        [1, 2]
    """
    if isinstance(given, pd.DataFrame):
        return given
    if isinstance(given, Mapping) and not hasattr(given, "to_dataframe"):
        return _of_mapping(argument, given, needed if eager else None)
    _require_unique(argument, given)
    found = _opened(given)
    if not hasattr(found, "collect_schema"):
        raise DataError(f"{argument} has to be {KINDS}, not a {_kind(given)}.{_way_out(argument, given)}")
    names = list(found.collect_schema().names())
    lazy = not hasattr(found, "to_pandas")
    chosen = names
    if needed is not None and (lazy or eager):
        wanted = set(needed(names))
        chosen = [name for name in names if name in wanted] or names[:1]
    made = _collected(found.select(chosen) if len(chosen) < len(names) else found)
    if lazy and len(chosen) < len(names):
        made.attrs[_LAZY] = True
    return made


def plain(given: Any) -> Any:
    """Return a frame or a column of another library as pandas has it, and anything else as it is.

    Examples:
        >>> plain([1, 2]), plain(None)
        ([1, 2], None)
    """
    found = _opened(given)
    if found is given:
        return given
    if hasattr(found, "collect_schema"):
        return frame("What is given", given)
    return pd.Series(_column(found), name=found.name or None)


def texts(*given: Any) -> list[str]:
    """Return the names of columns among arguments that may be names, lists of them, numbers or None."""
    listed = [part for one in given for part in (one if isinstance(one, (list, tuple)) else [one])]
    return [name for name in listed if isinstance(name, str)]


def absent(name: object, data: pd.DataFrame, names: Collection[Any] | None = None) -> str:
    """Return a hint for a name that is no column: the one like it, and what a lazy frame has left behind."""
    hint = near(name, data.columns if names is None else names)
    if not hint and data.attrs.get(_LAZY):
        return (
            " The model was made from a lazy frame, of which it took the columns that its formula, weights, offset and "
            "groups name. Select what else is needed, collect it, and make the model from that."
        )
    return hint


def handed_out(data: pd.DataFrame) -> pd.DataFrame:
    """Return a copy of a model's frame for its user, in whose hands it is no part of a lazy one any more."""
    made = data.copy()
    made.attrs.pop(_LAZY, None)
    return made


def _kind(given: Any) -> str:
    kind = type(given).__name__
    return f"{kind} of shape {given.shape}" if isinstance(given, np.ndarray) else kind


def _way_out(argument: str, given: Any) -> str:
    """Return how a frame of an unknown kind becomes one that is known."""
    if isinstance(given, str):
        return " Read the file first: pandas.read_csv(path), or polars.scan_parquet(path)."
    if isinstance(given, (list, tuple, np.ndarray)):
        return f" Name its columns: pandas.DataFrame({argument}, columns=['y', 'x'])."
    ways = [way for way in _WAYS if callable(getattr(given, way, None))]
    return f" {argument}.{ways[0]}() may give one." if ways else ""


# ------------------------------------------------------------------ dicts


def _of_mapping(argument: str, given: Mapping[Any, Any], needed: Chooser | None) -> pd.DataFrame:
    names = list(given)
    wanted = names
    if needed is not None:
        chosen = set(needed(names))
        wanted = [name for name in names if name in chosen] or names[:1]
    columns = {name: _listed(argument, name, given[name]) for name in wanted}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        told = few([f"{name!r} {n}" for name, n in lengths.items()])
        raise DataError(f"The columns of {argument} differ in length: {told}. Give one value a row in each.")
    indexes = [values.index for values in columns.values() if isinstance(values, pd.Series)]
    if any(not index.equals(indexes[0]) for index in indexes):
        raise DataError(
            f"The Series in {argument} have different indexes, and it can't be told which rows belong together. Give "
            ".to_numpy() of each to take them row by row."
        )
    plainly = {n: v.array if isinstance(v, pd.Series) else v for n, v in columns.items()}
    return pd.DataFrame(plainly, index=indexes[0] if indexes else None, copy=True)


def _listed(argument: str, name: Any, values: Any) -> Any:
    """Return a column of a dict: something with a length and one value a row."""
    found = plain(values)
    shape = getattr(found, "shape", None)
    shaped = isinstance(shape, tuple) and len(shape) != 1
    if isinstance(found, (str, bytes, Mapping, Set)) or not hasattr(found, "__len__") or shaped:
        told = f"an array of shape {shape}" if shaped and shape else f"a {type(values).__name__}"
        raise DataError(
            f"Column {name!r} of {argument} is {told}. In a dict every column is a list, an array or a Series with one "
            "value a row."
        )
    known = (pd.Series, pd.Index, pd.api.extensions.ExtensionArray, np.ndarray, list)
    if isinstance(found, known):
        return found
    return np.asarray(found) if hasattr(found, "__array__") else list(found)


# ------------------------------------------------------------------ frames and columns of other libraries


def _opened(given: Any) -> Any:
    """Return what narwhals makes of a frame or a column, the object itself where it is none that is taken."""
    if not _libraries(given) & _LIBRARIES:
        return given
    import narwhals.stable.v2 as nw

    found = nw.from_native(_whole(given), pass_through=True, allow_series=True)
    if not isinstance(found, (nw.DataFrame, nw.LazyFrame, nw.Series)):
        return given
    kind = found.implementation
    known = kind.is_polars() or kind.is_pyarrow() or kind.is_pandas_like() or kind.is_duckdb()
    return found if known else given


def _whole(given: Any) -> Any:
    """Return a part of what pyarrow has as the whole that it may be part of: a batch as a table."""
    pa: Any = sys.modules.get("pyarrow")
    if pa is None:
        return given
    if isinstance(given, pa.RecordBatch):
        return pa.Table.from_batches([given])
    return pa.chunked_array([given]) if isinstance(given, pa.Array) else given


def _libraries(given: Any) -> set[str]:
    """Return the packages that the class of an object, and those that it inherits from, are of."""
    return {kind.__module__.partition(".")[0] for kind in type(given).__mro__}


def _require_unique(argument: str, given: Any) -> None:
    """Refuse what has several columns of one name, where a library allows it."""
    libraries, names = _libraries(given), []
    if "pyarrow" in libraries and hasattr(given, "schema"):
        names = given.schema.names
    elif libraries & {"duckdb", "_duckdb"}:
        names = getattr(given, "columns", [])
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"{argument} has more than one column named {', '.join(map(repr, twice))}. Rename them first.")


def _collected(found: Any) -> pd.DataFrame:
    """Return all columns of a frame; a lazy one is computed for it."""
    kind = found.implementation
    if kind.is_duckdb():
        made = found.collect("pandas").to_native()
        enums = made.select_dtypes("category")
        return made.assign(**{name: column.cat.as_unordered() for name, column in enums.items()})
    if not kind.is_polars():
        made = found.to_pandas()
        return made.copy() if kind.is_pandas() else made
    if not hasattr(found, "to_pandas"):
        found = found.collect()
    return pd.DataFrame({name: _column(found[name]) for name in found.columns}, index=pd.RangeIndex(len(found)))


def _column(found: Any) -> Any:
    """Return a column of narwhals' as pandas keeps it."""
    import narwhals.stable.v2 as nw

    if found.implementation.is_pyarrow():
        return found.to_native().to_pandas()  # narwhals' own way loses what a dictionary refers to
    if not found.implementation.is_polars():
        return found.to_pandas()
    dtype = found.dtype
    if isinstance(dtype, nw.Enum):
        # Sorted by its categories, an Enum is still no ordered factor: its levels are coded by treatment contrasts.
        codes = found.to_native().to_physical().to_numpy().astype(float)
        return pd.Categorical.from_codes(np.nan_to_num(codes, nan=-1).astype(np.intp), list(dtype.categories))
    if dtype in (nw.Categorical, nw.String):
        return _text(found, dtype == nw.Categorical)
    if isinstance(dtype, nw.Datetime) and dtype.time_zone is not None:
        return pd.Series(found.to_numpy()).dt.tz_localize("UTC").dt.tz_convert(dtype.time_zone).array
    temporal = (nw.Datetime, nw.Date, nw.Duration)
    if (dtype.is_numeric() or dtype in (*temporal, nw.Boolean)) and dtype not in (nw.Decimal, nw.Int128, nw.UInt128):
        return pd.Series(found.to_numpy()).array
    return pd.Series(found.to_list(), dtype=object).array


def _text(values: Any, is_category: bool) -> Any:
    """Return a column of polars' text, or its Categorical with the categories in the order of their first rows.

    The categories themselves are not asked for: polars shares them between columns, and their order there hangs on
    what else the process has seen.
    """
    import narwhals.stable.v2 as nw

    coded = values.cast(nw.Categorical)
    codes = pd.factorize(coded.to_native().to_physical().to_numpy())[0]
    names = pd.Series(coded.unique(maintain_order=True).drop_nulls().cast(nw.String).to_list(), dtype=_TEXT)
    if is_category:
        return pd.Categorical.from_codes(codes, names)
    return names.array.take(codes, allow_fill=True)


_TEXT = pd.Series(["text"]).dtype  # str in pandas 3, object before
