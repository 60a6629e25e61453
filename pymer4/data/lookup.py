"""Values of a factor at the rows of a fit: found again by what they were computed from, and compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pymer4.errors import FormulaError

_SAME = 1e-8  # of the largest value; sums in another order differ by less


class Lookup:
    """A function of columns that knows the values `raw` that the fit computed from its own, and refuses others.

    A column that the others make up for, with fewer distinct rows than there are with it, takes no part: a group's
    mean is known from the group. Rows that share their columns but not their value are known in the whole data alone.
    """

    by_rows = False

    def __init__(self, raw: Any, columns: Mapping[Any, pd.Series], label: str):
        self.raw, self.label = raw, label
        values = plain(raw, len(next(iter(columns.values()))))
        assert values is not None
        self.names = _decisive(columns, values)
        self.keys = self._keys(columns)
        self.first: dict[Any, int] = {}
        for row, key in enumerate(self.keys):
            self.first.setdefault(key, row)
        for row in np.flatnonzero(_differing(values, values[[self.first[key] for key in self.keys]], values)):
            self.first.pop(self.keys[row], None)

    def __call__(self, columns: Mapping[Any, pd.Series]) -> Any:
        """Return the values of new rows, or a FormulaError where the fit does not tell them."""
        keys = self._keys(columns)
        there = [row for row, key in enumerate(keys) if key is not None]
        complete = [row for row, key in enumerate(self.keys) if key is not None]
        places = np.full(len(keys), -1)
        if [keys[row] for row in there] == [self.keys[row] for row in complete]:
            places[there] = complete
        else:
            places[there] = [self.first.get(keys[row], -1) for row in there]
        lost = [row for row in there if places[row] < 0]
        if lost:
            shown = ", ".join(f"{name} = {columns[name].iloc[lost[0]]}" for name in self.names)
            raise FormulaError(
                f"{self.label} is computed from all rows of the data at once, and what it is for a new row with "
                f"{shown} the fit does not tell. Write center(), standardize() or bs(), whose means and knots are "
                "carried to new rows, or make it a column of the data before the fit and give that column for new "
                "rows too."
            )
        return _taken(self.raw, places, columns[self.names[0]].index)

    def _keys(self, columns: Mapping[Any, pd.Series]) -> list[tuple[Any, ...] | None]:
        """Return what a row has in the columns that decide, None where a value is missing."""
        given = [columns[name] for name in self.names]
        missing = np.logical_or.reduce([column.isna().to_numpy(dtype=bool) for column in given])
        rows = zip(missing, *(column.astype(object) for column in given), strict=True)
        return [None if is_missing else tuple(key) for is_missing, *key in rows]


def plain(value: Any, n: int) -> np.ndarray | None:
    """Return values as numbers or objects, shape (n, k); None for what has no row for each of n."""
    value = _unboxed(value)
    if not isinstance(value, (np.ndarray, pd.Series, pd.DataFrame, pd.api.extensions.ExtensionArray, list)):
        return None
    if getattr(value, "ndim", 1) == 0 or len(value) != n:
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        array = np.asarray(value, dtype=object)
        try:
            array = array.astype(float)
        except (TypeError, ValueError):
            array = np.where(pd.isna(array), None, array)
    array = array.reshape(n, -1)
    return array if array.dtype == object else array.astype(float)


def same(found: np.ndarray | None, expected: np.ndarray, scale: np.ndarray | None = None) -> bool:
    """Whether values are there, and equal but for rounding, as a share of the largest of `scale`."""
    if found is None or found.shape != expected.shape:
        return False
    return not _differing(found, expected, expected if scale is None else scale).any()


def _differing(found: np.ndarray, expected: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the rows in which values differ."""
    if found.dtype == object or expected.dtype == object:
        equal = [a is b or a == b for a, b in zip(found.ravel(), expected.ravel(), strict=True)]
        return ~np.array(equal, dtype=bool).reshape(found.shape).all(axis=1)
    finite = np.abs(scale[np.isfinite(scale)])
    with np.errstate(invalid="ignore"):
        close = (found == expected) | (np.abs(found - expected) <= _SAME * finite.max(initial=0.0))
    return ~(close | (np.isnan(found) & np.isnan(expected))).all(axis=1)


def _unboxed(value: Any) -> Any:
    """Return the values inside what patsy's `C()` makes."""
    return value.data if hasattr(value, "contrast") and hasattr(value, "levels") else value


def _decisive(columns: Mapping[Any, pd.Series], values: np.ndarray) -> list[Any]:
    """Return the columns that decide on a value."""
    codes = pd.DataFrame({name: pd.factorize(column)[0] for name, column in columns.items()})

    def rows_of(names: list[Any]) -> np.ndarray:
        return codes.groupby(names).ngroup().to_numpy()

    def decide(names: list[Any]) -> bool:
        groups = rows_of(names)
        first = np.unique(groups, return_index=True)[1][groups]
        return not (_differing(values, values[first], values) & (codes[names] >= 0).all(axis=1)).any()

    names = list(columns)
    others = {name: [other for other in names if other != name] for name in names} if len(names) > 1 else {}
    count = rows_of(names).max()
    spare = [name for name, rest in others.items() if rows_of(rest).max() < count and decide(rest)]
    kept = [name for name in names if name not in spare]
    return kept if kept and decide(kept) else names


def _taken(raw: Any, places: np.ndarray, index: pd.Index) -> Any:
    """Return the values at some places, missing where a place is below 0."""
    if hasattr(raw, "contrast") and hasattr(raw, "levels"):
        from patsy import builtins

        return builtins.C(_taken(raw.data, places, index), raw.contrast, raw.levels)
    taken = pd.DataFrame(raw) if np.ndim(raw) == 2 else pd.Series(raw)
    taken = taken.reset_index(drop=True).reindex(np.where(places < 0, len(taken), places))
    taken.index = index
    return taken if isinstance(raw, (pd.Series, pd.DataFrame)) or taken.dtype.name == "category" else taken.to_numpy()
