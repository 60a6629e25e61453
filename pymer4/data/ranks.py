"""Ranks in the place of numbers: those of a fit, and where new values fall among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.columns import Column, real_array
from pymer4.data.factors import conform
from pymer4.errors import DataError, OptionError


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """The ranks that a column had at a fit, ties averaged, among all rows or in each level of another column.

    Attributes:
        within: name of the other column, or an empty text.
        levels: that column as a factor without rows; None where there is none.
        values: distinct values, ascending in each level, one level after the other, shape (m,).
        ranks: their ranks, shape (m,).
        ends: where the values of each level begin, and the last ones end, shape (levels + 1,).
    """

    within: str
    levels: Column | None
    values: np.ndarray
    ranks: np.ndarray
    ends: np.ndarray

    def put(self, values: np.ndarray, codes: np.ndarray | None = None) -> np.ndarray:
        """Return the ranks of values: those of the fit, between them by interpolation, beyond them the first or last.

        `codes` are the level of each from 0, shape (n,); a DataError names one in which nothing was ranked.
        """
        if self.levels is None or codes is None:
            return np.interp(values, self.values, self.ranks)
        order, found = np.argsort(codes, kind="stable"), np.empty(len(values))
        present, starts = np.unique(codes[order], return_index=True)
        for code, rows in zip(present, np.split(order, starts[1:]), strict=True):
            known = slice(self.ends[code], self.ends[code + 1])
            if known.start == known.stop:
                raise DataError(f"The fit ranked no row of {self.within!r} = {self.levels.levels[code]!r}.")
            found[rows] = np.interp(values[rows], self.values[known], self.ranks[known])
        return found


def learned_ranks(
    values: np.ndarray, within: str = "", levels: Column | None = None, codes: np.ndarray | None = None
) -> Ranks:
    """Return the ranks of values, shape (n,), among themselves or among those of one code, from 0."""
    table = pd.DataFrame({"code": 0 if codes is None else codes, "value": values.astype(float)})
    table["rank"] = table.groupby("code")["value"].rank()
    table = table.drop_duplicates(["code", "value"]).sort_values(["code", "value"])
    ends = np.searchsorted(table["code"], np.arange((1 if levels is None else len(levels.levels)) + 1))
    return Ranks(within, levels, table["value"].to_numpy(), table["rank"].to_numpy(), ends)


def on_ranks(columns: Mapping[str, Column], new: Mapping[str, Column], ranks: Mapping[str, Ranks]) -> dict[str, Column]:
    """Return columns, of the kinds that were fitted, put on the ranks of a fit.

    Among `new`, the columns as they were given, is the one whose levels were ranked apart.
    """
    put = dict(columns)
    for name in columns.keys() & ranks.keys():
        found, codes = ranks[name], None
        if found.levels is not None:
            codes = conform(new[found.within], found.levels, found.within, False).values - 1
        put[name] = Column("double", found.put(columns[name].values, codes))
    return put


def at_ranks(at: Any, ranks: Mapping[str, Ranks]) -> tuple[Any, list[str]]:
    """Return the values that a grid is asked for with ranks in the place of raw ones, and what a user should be told.

    Of `at` what is neither a value nor a sequence of them is left as it is. An OptionError refuses values of a column
    that was ranked in groups.
    """
    put, notes = dict(at) if isinstance(at, Mapping) else at, []
    for name in [name for name in at if name in ranks] if isinstance(at, Mapping) else ():
        found = real_array(at[name])
        if found is None or found.ndim > 1 or np.asarray(at[name]).dtype.kind == "b" or not np.isfinite(found).all():
            continue
        values = np.atleast_1d(found)
        if ranks[name].levels is not None:
            raise OptionError(
                f"at[{name!r}] can't be put on ranks: {name!r} was ranked within {ranks[name].within!r}, where a value "
                f"has another rank in each level. Leave {name!r} out of at=, which holds it at its mean rank."
            )
        put[name] = ranks[name].put(values)
        pairs = ", ".join(f"{value:g} is {rank:g}" for value, rank in zip(values, put[name], strict=True))
        notes.append(f"{name} is in ranks: {pairs}")
    return put, notes
