"""Ranks in the place of numbers: those of a fit, and where new values fall among them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.columns import Column, as_factor, normalise, real_array
from pymer4.data.intake import Intake
from pymer4.data.recoding import conform
from pymer4.data.rformula import RFormula
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

        Args:
            values: shape (n,).
            codes: the level of each, from 0, shape (n,); None where there is one for all.

        Raises:
            DataError: a level in which nothing was ranked.
        """
        codes = np.zeros(len(values), dtype=int) if codes is None else codes
        order, found = np.argsort(codes, kind="stable"), np.empty(len(values))
        present, starts = np.unique(codes[order], return_index=True)
        for code, rows in zip(present, np.split(order, starts[1:]), strict=True):
            known = slice(self.ends[code], self.ends[code + 1])
            if known.start == known.stop:
                raise DataError(f"The fit ranked no row of {self.within!r} = {self.levels.levels[code]!r}.")
            found[rows] = np.interp(values[rows], self.values[known], self.ranks[known])
        return found


def with_ranks(
    data: Intake, formula: RFormula, frame: pd.DataFrame, within: str | None, excluded: Collection[str]
) -> Intake:
    """Return the data with the outcome and the fixed numeric predictors as ranks, and these ranks by column.

    A predictor that groups rows as well keeps its values, which are the labels of its groups.

    Args:
        data: the data of the fit.
        formula: its formula.
        frame: the user's frame.
        within: column of it whose levels are ranked apart, or an empty text for all rows at once.
        excluded: columns that stay as they are.

    Raises:
        DataError: a row that is used has no level.
        OptionError: the column whose levels are ranked apart is ranked itself.
    """
    predictors = set(formula.predictors).difference(formula.groups)
    named = {*formula.response.columns, *predictors}.difference(excluded)
    numeric = [name for name in data.columns if name in named and data.columns[name].kind in ("double", "integer")]
    if within in numeric:
        raise OptionError(
            f"rank_group={within!r} is ranked itself, and within its own values all ranks are equal. Name a column of "
            "groups, or leave rank_group out."
        )
    levels = _levels(within, frame, data.complete) if within else None
    codes = np.zeros(int(data.complete.sum()), dtype=int) if levels is None else levels.values[data.complete] - 1
    held = None if levels is None else replace(levels, values=levels.values[:0])
    columns, ranks = dict(data.columns), {}
    for name in numeric:
        values = columns[name].values[data.complete].astype(float)
        ranks[name] = _learned(values, codes, within, held)
        ranked = np.full(data.n_rows, np.nan)
        ranked[data.complete] = ranks[name].put(values, codes)
        columns[name] = Column("double", ranked)
    return replace(data, columns=columns, ranks=ranks)


def on_ranks(columns: Mapping[str, Column], new: Mapping[str, Column], ranks: Mapping[str, Ranks]) -> dict[str, Column]:
    """Return columns with new values put on the ranks of a fit.

    Args:
        columns: new columns, of the kinds that were fitted.
        new: new columns as they were given; the one whose levels were ranked apart is among them.
        ranks: of the fit, by column.

    Raises:
        DataError: a level in which nothing was ranked.
    """
    put = dict(columns)
    for name in columns.keys() & ranks.keys():
        found = ranks[name]
        codes = (
            None if found.levels is None else conform(new[found.within], found.levels, found.within, False).values - 1
        )
        put[name] = Column("double", found.put(columns[name].values, codes))
    return put


def at_ranks(at: Any, ranks: Mapping[str, Ranks]) -> tuple[Any, list[str]]:
    """Return the values that a grid is asked for with ranks in the place of raw ones, and what a user should be told.

    Args:
        at: variable to one value, or to a sequence of values; what is none of these is left as it is.
        ranks: of the fit, by column.

    Raises:
        OptionError: values of a column that was ranked in groups.
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


def _learned(values: np.ndarray, codes: np.ndarray, within: str, levels: Column | None) -> Ranks:
    table = pd.DataFrame({"code": codes, "value": values})
    table["rank"] = table.groupby("code")["value"].rank()
    table = table.drop_duplicates(["code", "value"]).sort_values(["code", "value"])
    ends = np.searchsorted(table["code"], np.arange((1 if levels is None else len(levels.levels)) + 1))
    return Ranks(within, levels, table["value"].to_numpy(), table["rank"].to_numpy(), ends)


def _levels(within: str, frame: pd.DataFrame, complete: np.ndarray) -> Column:
    column = as_factor(normalise(frame, [within])[within])
    lost = int((column.missing & complete).sum())
    if lost:
        raise DataError(
            f"rank_group={within!r} is missing in {lost} row(s) that the model uses. Fill or drop these rows."
        )
    return column
