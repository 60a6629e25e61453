"""Groups within groups, in the order in which the data name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.columns import level_name, normalise, places
from pymer4.data.frames import absent
from pymer4.errors import DataError, OptionError, few, once, shown
from pymer4.fit.cluster_rows import nests
from pymer4.fit.grouped import SINGULAR, TOO_FEW, UNFITTED, GroupedFit


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """The groups of one level.

    Attributes:
        codes: group of each row, counted from 0 in order of first appearance, shape (n,).
        parent: the group of the level above that each belongs to, shape (groups,); zeros at the top.
        index: what the groups are called; below the top with the names of the levels above.
    """

    codes: np.ndarray
    parent: np.ndarray
    index: pd.Index

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self.index)

    def named(self, which: np.ndarray, most: int = 8) -> str:
        """Return the names of some groups, truth values of shape (groups,), in a list for the eye."""
        names = [":".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in self.index[which]]
        return few(names, most)


def nest(columns: Sequence[pd.Series]) -> list[Level]:
    """Return the levels that complete columns make, the outermost first; a name in two groups is two groups.

    Examples:
        >>> schools, classes = nest([pd.Series(["s", "s", "t"], name="school"), pd.Series([2, 1, 2], name="class")])
        >>> classes.codes.tolist(), classes.parent.tolist(), list(classes.index)
        ([0, 1, 2], [0, 0, 1], [('s', 2), ('s', 1), ('t', 2)])
    """
    # pandas makes no index of floats of 16 bits.
    columns = [column.astype(float) if column.dtype == np.float16 else column for column in columns]
    levels: list[Level] = []
    above = np.zeros(len(columns[0]), dtype=np.int64)
    for depth, column in enumerate(columns):
        own, values = pd.factorize(column)
        codes, found = pd.factorize(above * max(len(values), 1) + own)
        first = np.zeros(len(found), dtype=np.int64)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        parts = [each.array[first] for each in columns[: depth + 1]]
        names = [each.name for each in columns[: depth + 1]]
        index = pd.MultiIndex.from_arrays(parts, names=names) if depth else pd.Index(parts[0], name=names[0])
        levels.append(Level(codes, above[first], index))
        above = codes
    return levels


def coarsest(groupings: Mapping[str, np.ndarray]) -> str | None:
    """Return the grouping in which all others are nested, of their codes, shape (n,) each; None where they are crossed.

    Examples:
        >>> coarsest({"class": np.array([0, 1, 2, 2]), "school": np.array([0, 0, 1, 1])})
        'school'
    """
    found = (name for name, codes in groupings.items() if all(nests(codes, inner) for inner in groupings.values()))
    return next(found, None)


def clusters_of(level: Level, of_rows: np.ndarray | None, name: str | None) -> np.ndarray | None:
    """Return the cluster of each group, shape (groups,), from those of its rows, shape (n,), which are one.

    `name` is the column that clusters are made of. None where there are no clusters.
    """
    if of_rows is None:
        return None
    of_groups = np.zeros(len(level), dtype=np.int64)
    of_groups[level.codes] = of_rows
    split = np.zeros(len(level), dtype=bool)
    split[level.codes[of_groups[level.codes] != of_rows]] = True
    if split.any():
        raise DataError(
            f"cluster={name!r} differs within the group(s) {level.named(split)} of {level.index.names[0]!r}. The tests "
            "are over groups, so each has to lie in one cluster."
        )
    return of_groups


def averaged(values: np.ndarray, parent: np.ndarray, n: int) -> np.ndarray:
    """Return the means of the groups (groups, p) of each of n groups above, NaN left out, shape (n, p)."""
    there = ~np.isnan(values)
    sums, counts = np.zeros((n, values.shape[1])), np.zeros((n, values.shape[1]))
    np.add.at(sums, parent, np.where(there, values, 0.0))
    np.add.at(counts, parent, there)
    with np.errstate(invalid="ignore"):
        return sums / counts


def failures(fit: GroupedFit, level: Level) -> list[str]:
    """Return what to say of the groups without coefficients."""
    why = {
        TOO_FEW: "they have fewer rows than the formula has columns",
        SINGULAR: "a predictor does not vary there, lacks a factor level, or adds up from others",
        UNFITTED: "the likelihood has no maximum that could be found",
    }
    found = [
        f"No regression in group(s) {level.named(fit.reason == reason)}: {told}"
        for reason, told in why.items()
        if (fit.reason == reason).any()
    ]
    if fit.separated.any():
        found.append(
            f"Separation in group(s) {level.named(fit.separated)}, which are left out: a predictor tells the outcomes "
            "apart there, and its coefficient grows without limit"
        )
    return found


def upward(values: np.ndarray, levels: list[Level]) -> list[np.ndarray]:
    """Return the values of the innermost groups and their averages in each level above, the outermost first."""
    found = [values]
    for above, below in zip(levels[-2::-1], levels[:0:-1], strict=True):
        found.insert(0, averaged(found[0], below.parent, len(above)))
    return found


def ranks_within(data: pd.DataFrame, columns: Sequence[Any], groups: list[Any], missing: np.ndarray) -> pd.DataFrame:
    """Return the data with ranks within groups in the place of numbers, ties averaged, among the complete rows."""
    kinds = {name: data[name].dtype for name in columns if name not in groups}
    is_number, is_bool = pd.api.types.is_numeric_dtype, pd.api.types.is_bool_dtype
    numeric = [name for name, dtype in kinds.items() if is_number(dtype) and not is_bool(dtype)]
    complete = ~missing & data[list(columns)].notna().all(axis=1).to_numpy()
    ranked = data.copy()
    found = data.loc[complete, numeric].astype(float).groupby([data.loc[complete, name] for name in groups]).rank()
    for name in numeric:
        values = np.full(len(data), np.nan)
        values[complete] = found[name].to_numpy()
        ranked[name] = values
    return ranked


def grouping_columns(group: Any, data: pd.DataFrame) -> list[str]:
    """Return the names of the grouping columns, the outermost first, each of which can be grouped by."""
    names = list(group) if isinstance(group, (list, tuple)) else [group]
    if not names:
        raise OptionError("group=[] names no column. Give one, or several from the outermost level inwards.")
    for name in names:
        if not isinstance(name, str) or name not in data.columns:
            hint = absent(name, data)
            raise OptionError(f"group={shown(group)} names {shown(name)}, which is not a column of the data.{hint}")
        if not pd.api.types.is_datetime64_any_dtype(data[name].dtype):
            normalise(data, [name])
    if len(set(names)) < len(names):
        raise OptionError(f"group={group!r} names a column twice.")
    return names


def chosen(groups: pd.DataFrame, labels: Sequence[Any]) -> pd.DataFrame:
    """Return the rows of the groups that `grps` asks for, each once; all where it asks for none."""
    names = [level_name(label) for label in labels]
    found = places(names, list(groups.index))
    unknown = [name for name, place in zip(names, found, strict=True) if place < 0]
    if unknown:
        known = ", ".join(groups.index[:12]) + (", …" if len(groups) > 12 else "")
        more = f" and {len(unknown) - 12:,} more" if len(unknown) > 12 else ""
        raise OptionError(f"grps has {', '.join(unknown[:12])}{more}, not among the groups: {known}.")
    once("grps", list(groups.index[found]))
    return groups.iloc[found] if len(found) else groups
