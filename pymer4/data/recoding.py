"""Columns made over before a fit: factors with the levels and contrasts asked for, numbers as ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pymer4.data.columns import NA, Column, as_factor, number_name, places
from pymer4.data.factors import Coding, coding, recode
from pymer4.data.intake import Intake
from pymer4.data.rformula import RFormula
from pymer4.errors import DataError, OptionError, near, shown


def codings(data: Intake, factors: Mapping[str, Any] | None, ordered: bool) -> dict[str, Coding]:
    """Return how each factor of `fit(factors=, ordered=)` is coded, from the rows that are used.

    Raises:
        OptionError: a column that the model does not use, or levels and contrasts that do not fit the data.
    """
    if factors is None:
        return {}
    if not isinstance(factors, Mapping):
        raise OptionError(
            f"factors has to be a dict of column names to levels or contrasts, not a {type(factors).__name__}: "
            "factors={'col': ['A', 'B', 'C']}."
        )
    for name in factors:
        if name not in data.columns:
            raise OptionError(
                f"factors names {shown(name)}, which the formula does not use.{near(name, data.columns)} "
                f"It uses: {', '.join(data.columns)}."
            )
    return {
        name: coding(name, spec, _rows(data.columns[name], data.complete), ordered) for name, spec in factors.items()
    }


def with_factors(data: Intake, codings: Mapping[str, Coding]) -> Intake:
    """Return the data with the columns of `codings` as factors; rows that are left out lose their level."""
    columns = dict(data.columns)
    for name, how in codings.items():
        used = recode(_rows(columns[name], data.complete), how)
        values = np.full(data.n_rows, NA, dtype=np.int32)
        values[data.complete] = used.values
        columns[name] = replace(used, values=values)
    return replace(data, columns=columns)


def contrast_matrices(codings: Mapping[str, Coding]) -> dict[str, dict[str, Any]]:
    """Return the coding matrices that R does not make by itself: those of contrasts that were written."""
    return {
        name: {"matrix": how.matrix, "names": list(how.names)}
        for name, how in codings.items()
        if how.requested is not None
    }


def without_unused(data: Intake) -> Intake:
    """Return the data with the levels that no used row has dropped, as R drops them."""
    columns = dict(data.columns)
    for name, column in data.columns.items():
        if column.kind == "factor":
            kept = np.unique(column.values[data.complete])
            if len(kept) < len(column.levels):
                place = np.full(len(column.levels) + 1, NA, dtype=np.int32)
                place[kept - 1] = np.arange(1, len(kept) + 1)
                levels = tuple(column.levels[code - 1] for code in kept)
                values = place[np.where(column.missing, -1, column.values - 1)]
                columns[name] = Column("factor", values, levels, column.ordered)
    return replace(data, columns=columns)


def with_groups(data: Intake, formula: RFormula) -> Intake:
    """Return the data with numbers that only name groups as factors, so that 1e5, 100000 and "100000" are one group."""
    counted = {*formula.response.columns, *formula.varying, *formula.predictors}
    groups = [name for name in formula.groups if name not in counted]
    numbers = {name: as_factor(c) for name in groups if (c := data.columns[name]).kind in ("double", "integer")}
    return replace(data, columns={**data.columns, **numbers})


def conform(column: Column, fitted: Column, name: str, grouping: bool) -> Column:
    """Return a column of new data as the kind of column that the model was fitted to.

    Args:
        column: the new column.
        fitted: the column of the fit; its kind and levels count.
        name: its name, for messages.
        grouping: whether it only names groups; levels that are new then stay, behind those of the fit.

    Raises:
        DataError: another kind of values, or a level that the fit has not seen.
    """
    if fitted.kind == "factor":
        return _with_levels(column, fitted, name, grouping)
    if fitted.kind == "logical":
        return _truths(column, name)
    if column.kind == "factor":
        raise DataError(f"Column {name!r} holds text; the model was fitted to numbers there.")
    if column.kind == "logical":
        return Column("double", np.where(column.missing, np.nan, column.values))
    return column


def _with_levels(column: Column, fitted: Column, name: str, grouping: bool) -> Column:
    factor = as_factor(column)
    # Of names of groups that are text on both sides, "01" and "1" may be two.
    as_numbers = not grouping or column.kind != "factor" or all(number_name(g) == g for g in fitted.levels)
    found = np.array([*places(factor.levels, fitted.levels, as_numbers), NA])
    present = np.unique(factor.values[~factor.missing]) - 1
    unseen = [factor.levels[code] for code in present if found[code] < 0]
    if unseen and not grouping:
        raise DataError(
            f"Column {name!r} has the level(s) {', '.join(map(repr, unseen[:8]))}, which the model was not fitted to. "
            f"It knows: {', '.join(map(repr, fitted.levels[:12]))}{', ...' if len(fitted.levels) > 12 else ''}."
        )
    for code, level in enumerate(unseen, len(fitted.levels)):
        found[factor.levels.index(level)] = code
    codes = np.where(found < 0, NA, found + 1).astype(np.int32)
    values = codes[np.where(factor.missing, -1, factor.values - 1)]
    return Column("factor", values, (*fitted.levels, *unseen), fitted.ordered)


def _truths(column: Column, name: str) -> Column:
    factor = as_factor(column)
    truth = {"0": 0, "1": 1, "FALSE": 0, "TRUE": 1, "False": 0, "True": 1}
    used = {factor.levels[code] for code in np.unique(factor.values[~factor.missing]) - 1}
    if not used <= truth.keys():
        listed = ", ".join(sorted(used - truth.keys())[:8])
        raise DataError(f"Column {name!r} holds {listed}; the model was fitted to booleans there.")
    codes = np.array([truth.get(level, NA) for level in factor.levels] + [NA], dtype=np.int32)
    return Column("logical", codes[np.where(factor.missing, -1, factor.values - 1)])


def _rows(column: Column, rows: np.ndarray) -> Column:
    return column if rows.all() else replace(column, values=column.values[rows])
