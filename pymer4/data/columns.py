"""The columns of a frame in the four kinds that a model knows, for R and patsy alike; levels and their names."""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import EllipsisType
from typing import Any, Literal

import numpy as np
import pandas as pd

from pymer4.data.frames import plain
from pymer4.errors import DataError

NA = -(2**31)  # R's missing value in integer, logical and factor vectors
LARGEST_FLOAT = 1e150  # beyond which the squares of numbers are infinite
NUMBERS = ("double", "integer")  # the kinds of column that hold numbers
_INT32_MAX = 2**31 - 1
_INTEGER = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Column:
    """One column, ready to cross into R or into a native design.

    Attributes:
        kind: what the column is.
        values: shape (n,); float64 for `double`, int32 for the others, with `NA` where missing.
        levels: level names of a `factor`, in the order of its codes.
        ordered: whether a `factor` is ordered.
    """

    kind: Literal["double", "integer", "logical", "factor"]
    values: np.ndarray
    levels: tuple[str, ...] = ()
    ordered: bool = False

    @property
    def missing(self) -> np.ndarray:
        """Where the value is missing, shape (n,)."""
        return np.isnan(self.values) if self.kind == "double" else self.values == NA


def normalise(data: pd.DataFrame, names: Iterable[str]) -> dict[str, Column]:
    """Return the named columns of a frame in normal form, in the order given; each has to be there once.

    Numbers are doubles, whole ones that fit into 32 bits and have no gaps integers, booleans logicals, text and
    Categoricals factors. Levels of text are sorted by code point, on every machine alike; a Categorical has its
    order.

    Raises:
        DataError: for duplicate columns, and for values that have no meaning in a model (dates, nested values, text
            mixed with numbers).

    Examples:
        >>> import pandas as pd
        >>> normalise(pd.DataFrame({"g": ["b", "a", None]}), ["g"])["g"].levels
        ('a', 'b')
    """
    columns = {}
    for name in names:
        column = data[name]
        if isinstance(column, pd.DataFrame):
            raise DataError(
                f"The data have {column.shape[1]} columns named {name!r}. "
                "Rename or drop the duplicates: data.loc[:, ~data.columns.duplicated()]."
            )
        columns[name] = normalise_column(column, name)
    return columns


def normalise_column(column: pd.Series, name: str) -> Column:
    """Return one Series in normal form; see `normalise`."""
    dtype = column.dtype
    if isinstance(dtype, pd.SparseDtype):
        column, dtype = column.sparse.to_dense(), dtype.subtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _categorical(column.array, name)
    if isinstance(dtype, pd.StringDtype):
        return _text(column, name)
    if isinstance(dtype, pd.ArrowDtype):
        return _arrow(column, name)
    if pd.api.types.is_object_dtype(dtype):
        return _objects(column, name)
    if pd.api.types.is_bool_dtype(dtype):
        return _logical(column)
    if pd.api.types.is_complex_dtype(dtype) or not pd.api.types.is_numeric_dtype(dtype):
        raise _unusable(name, dtype)
    return _number(column)


def floats(argument: str, values: Any) -> np.ndarray:
    """Return a list, array or Series of numbers or booleans as floats, shape (n,), NaN where missing."""
    values = plain(values)
    if isinstance(values, Iterable) and not isinstance(values, (str, bytes)) and not hasattr(values, "ndim"):
        values = pd.Series(list(values))
    if np.ndim(values) != 1:
        shape = f" of shape {values.shape}" if hasattr(values, "shape") else ""
        raise DataError(
            f"{argument} has to be a list, array or Series of numbers, not a {type(values).__name__}{shape}."
        )
    series = pd.Series(values)
    try:
        column = normalise_column(series, argument)
    except DataError:
        column = None
    if column is None or column.kind == "factor":
        kinds = ", ".join(sorted({type(value).__name__ for value in series.dropna()}))
        raise DataError(f"{argument} has to hold numbers, not {kinds} (dtype {series.dtype}).")
    return np.where(column.missing, np.nan, column.values.astype(float))


def real_array(values: Any) -> np.ndarray | None:
    """Return numbers as a new array of floats, in whatever shape; None for what is none: dates, text, ragged rows.

    Examples:
        >>> real_array([[1, 2], [3, 4]]).shape, real_array([1j]) is None, real_array(["1"]) is None
        ((2, 2), True, True)
    """
    try:
        found = np.asarray(plain(values))
        if found.dtype.kind not in "biufO":
            return None
        if found.dtype.kind == "O" and not all(isinstance(v, (numbers.Real, Decimal)) for v in found.ravel()):
            return None
        return found.astype(float)
    except (TypeError, ValueError, OverflowError):
        return None


def array(argument: str, values: Any, *shape: int | EllipsisType | None, missing: bool = False) -> np.ndarray:
    """Return numbers as a new array of floats of some shape, in which None is any size; `...` alone is any shape.

    Raises:
        DataError: what holds no numbers, another shape, numbers whose squares are infinite, or missing and infinite
            ones, unless `missing`.

    Examples:
        >>> array("X", [[1, 2], [3, 4]], None, 2).tolist()
        [[1.0, 2.0], [3.0, 4.0]]
    """
    found = real_array(values)
    if found is None:
        raise DataError(f"{argument} has to be an array of numbers, not a {type(values).__name__}.")
    fits = found.ndim == len(shape) and all(b in (None, a) for a, b in zip(found.shape, shape, strict=True))
    if shape != (...,) and not fits:
        sides = ", ".join("any" if size is None else str(size) for size in shape)
        raise DataError(f"{argument} has shape {found.shape}, and ({sides}) is needed.")
    if not missing and not np.isfinite(found).all():
        raise DataError(f"{argument} holds missing or infinite numbers. Leave out such rows first.")
    require_squares(argument, found)
    return found


def have_squares(values: np.ndarray) -> bool:
    """Whether all numbers are there and have finite squares; told in two passes, without a copy."""
    return not values.size or bool(values.min() >= -LARGEST_FLOAT and values.max() <= LARGEST_FLOAT)


def require_squares(what: str, values: np.ndarray, unit: str = "it") -> None:
    """Refuse numbers, in whatever shape, that are there and whose squares are infinite, naming the largest.

    `what` holds them, and `unit` is to be divided.
    """
    if have_squares(values):
        return
    sizes = np.abs(values)
    if (sizes[np.isfinite(sizes)] > LARGEST_FLOAT).any():
        largest = values.ravel()[np.where(np.isfinite(sizes), sizes, 0.0).argmax()]
        raise DataError(
            f"{what} holds {largest:g}, whose square is beyond what numbers can be here. Divide {unit} by a power of "
            "ten."
        )


def as_factor(column: Column) -> Column:
    """Return a column as a factor; the levels of numbers are sorted, and named by `level_name`."""
    if column.kind == "factor":
        return column
    codes, found = pd.factorize(column.values[~column.missing])
    kind = bool if column.kind == "logical" else float
    names = [level_name(kind(value)) for value in found]
    levels = tuple(dict.fromkeys(names[i] for i in np.argsort(found)))
    place = {level: i + 1 for i, level in enumerate(levels)}
    values = np.full(len(column.values), NA, dtype=np.int32)
    values[~column.missing] = np.array([place[name] for name in names], dtype=np.int32)[codes]
    return Column("factor", values, levels)


def level_name(value: object) -> str:
    """Return the name of a factor level: text as it is, `1` and `1.0` alike as "1", booleans as R spells them.

    Numbers have 15 digits, as in R, so that 0.1 + 0.2 is "0.3".
    """
    if isinstance(value, (bool, np.bool_)):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (float, np.floating)):
        if float(value).is_integer():
            return str(int(value))
        return format(value, ".15g") if isinstance(value, float) else str(value)
    return str(value)


def places(levels: Iterable[str], known: Sequence[str], as_numbers: bool = True) -> list[int]:
    """Return the place of each level among those that are known, which differ; -1 for none.

    A level is the one that is spelled so; where there is none, `as_numbers` the only one that spells the same number.

    Examples:
        >>> places(["1", "0.50", "b"], ["0.5", "1.0"])
        [1, 0, -1]
    """
    exact = {level: i for i, level in enumerate(known)}
    numbers: dict[str, int] = {}
    for i, level in enumerate(known) if as_numbers else ():
        number = number_name(level)
        numbers[number] = -1 if number in numbers else i
    return [exact.get(level, numbers.get(number_name(level), -1)) for level in levels]


def number_name(level: str) -> str:
    """Return the name of the number that a text spells, other text as it is.

    Examples:
        >>> number_name("1.0"), number_name("007"), number_name("1e2"), number_name("1.0 mg")
        ('1', '7', '100', '1.0 mg')
    """
    if _INTEGER.fullmatch(level):
        return str(int(level))
    return level_name(float(level)) if _DECIMAL.fullmatch(level) and np.isfinite(float(level)) else level


def _number(column: pd.Series) -> Column:
    if pd.api.types.is_integer_dtype(column.dtype) and not column.isna().any():
        values = column.to_numpy()
        if values.size == 0 or (values.min() > NA and values.max() <= _INT32_MAX):
            return Column("integer", np.ascontiguousarray(values, dtype=np.int32))
    return Column("double", np.ascontiguousarray(column.to_numpy(dtype=np.float64, na_value=np.nan)))


def _logical(column: pd.Series) -> Column:
    there = column.notna().to_numpy(dtype=bool)
    values = np.full(len(column), NA, dtype=np.int32)
    values[there] = column[there].to_numpy(dtype=bool)
    return Column("logical", values)


def _text(column: pd.Series, name: str) -> Column:
    codes, found = column.factorize()
    labels = [str(label) for label in found]
    order = sorted(range(len(labels)), key=labels.__getitem__)
    rank = np.empty(len(labels) + 1, dtype=np.int32)
    rank[order] = np.arange(1, len(labels) + 1, dtype=np.int32)
    rank[-1] = NA
    return Column("factor", rank[codes], _checked_levels([labels[i] for i in order], name))


def _categorical(values: pd.Categorical, name: str) -> Column:
    categories = values.categories
    # An Index hands out Python's floats: 0.1 of 32 bits would be called 0.10000000149011612.
    levels = [level_name(c) for c in (categories.to_numpy() if categories.dtype.kind == "f" else categories)]
    if not levels and len(values):
        return Column("double", np.full(len(values), np.nan))
    codes = np.asarray(values.codes, dtype=np.int32)
    codes = np.where(codes < 0, NA, codes + 1).astype(np.int32)
    return Column("factor", codes, _checked_levels(levels, name), bool(values.ordered))


def _objects(column: pd.Series, name: str) -> Column:
    values = column.to_numpy(copy=True)
    values[column.isna().to_numpy()] = np.nan
    column = pd.Series(values, dtype=object)
    inferred = pd.api.types.infer_dtype(column, skipna=True)
    if inferred == "empty":
        return Column("double", values.astype(np.float64))
    if inferred == "string":
        return _text(column, name)
    if inferred == "boolean":
        return _logical(column)
    if inferred in ("integer", "floating", "mixed-integer-float", "decimal"):
        if real_array(values) is None:
            raise _unusable(name, "numbers beyond what a float holds")
        found = pd.to_numeric(column, errors="coerce")
        # Of whole numbers held as both kinds pandas makes that of the first.
        return _number(found if inferred == "integer" else found.astype(np.float64))
    if inferred == "categorical":
        return _categorical(pd.Categorical(column), name)
    kinds = sorted({type(value).__name__ for value in column.dropna()})
    raise _unusable(name, f"values of type {', '.join(kinds)}")


def _arrow(column: pd.Series, name: str) -> Column:
    kind = column.dtype.kind
    if kind in "iuf":
        return _number(column)
    if kind == "b":
        return _logical(column)
    if str(column.dtype).startswith(("string", "large_string", "string_view")):
        return _text(column, name)
    objects = column.astype(object)
    if pd.api.types.infer_dtype(objects, skipna=True) in ("decimal", "empty"):
        return _objects(objects, name)
    if "dictionary" in str(column.dtype):
        return _categorical(pd.Categorical(objects), name)
    raise _unusable(name, column.dtype)


def _checked_levels(levels: list[str], name: str) -> tuple[str, ...]:
    for level in levels:
        if "\0" in level or (not level.isascii() and any("\ud800" <= c <= "\udfff" for c in level)):
            raise DataError(
                f"Column {name!r} has the value {level!r}, which R's text can't hold. Clean the text first."
            )
    if len(set(levels)) < len(levels):
        twice = next(level for i, level in enumerate(levels) if level in levels[:i])
        raise DataError(f"Column {name!r} has two categories that are both called {twice!r}. Rename one of them.")
    return tuple(levels)


def _unusable(name: str, what: object) -> DataError:
    return DataError(
        f"Column {name!r} holds {what}, which a model has no use for. "
        "Give numbers, booleans, text or a Categorical; for dates, a number such as days since the start: "
        f"(data[{name!r}] - data[{name!r}].min()).dt.days."
    )
