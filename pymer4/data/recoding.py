"""Columns made over before a mixed model is fitted: factors as they were asked for, numbers as ranks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.columns import NA, NUMBERS, Column, as_factor, normalise
from pymer4.data.factors import Coding, coding, with_levels
from pymer4.data.intake import Intake, at_rows
from pymer4.data.ranks import learned_ranks
from pymer4.data.rformula import RFormula
from pymer4.errors import DataError, OptionError, near, shown


def codings(
    columns: Mapping[str, Column], complete: np.ndarray, factors: Mapping[str, Any] | None, ordered: bool
) -> dict[str, Coding]:
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
        if name not in columns:
            raise OptionError(
                f"factors names {shown(name)}, which the formula does not use.{near(name, columns)} "
                f"It uses: {', '.join(columns)}."
            )
    return {name: coding(name, spec, at_rows(columns[name], complete), ordered) for name, spec in factors.items()}


def with_factors(data: Intake, codings: Mapping[str, Coding]) -> Intake:
    """Return the data with the columns of `codings` as factors; rows that are left out lose their level."""
    columns = dict(data.columns)
    for name, how in codings.items():
        used = with_levels(at_rows(columns[name], data.complete), how.levels, how.ordered, name)
        values = np.full(data.n_rows, NA, dtype=np.int32)
        values[data.complete] = used.values
        columns[name] = replace(used, values=values)
    return replace(data, columns=columns)


def contrast_matrices(codings: Mapping[str, Coding]) -> dict[str, dict[str, Any]]:
    """Return the coding matrices that R does not make by itself: those of contrasts that were written."""
    written = {name: how for name, how in codings.items() if how.requested is not None}
    return {name: {"matrix": how.matrix, "names": list(how.names)} for name, how in written.items()}


def without_unused(data: Intake) -> Intake:
    """Return the data with the levels that no used row has dropped, as R drops them."""
    columns = dict(data.columns)
    for name, column in data.columns.items():
        if column.kind == "factor":
            kept = np.unique(column.values[data.complete])
            if len(kept) < len(column.levels):
                place = np.full(len(column.levels) + 1, NA, dtype=np.int32)
                place[kept - 1] = np.arange(1, len(kept) + 1)
                values = place[np.where(column.missing, -1, column.values - 1)]
                columns[name] = replace(column, values=values, levels=tuple(column.levels[code - 1] for code in kept))
    return replace(data, columns=columns)


def with_groups(data: Intake, formula: RFormula) -> Intake:
    """Return the data with numbers that only name groups as factors, so that 1e5, 100000 and "100000" are one group."""
    counted = {*formula.response.columns, *formula.varying, *formula.predictors}
    named = {name: data.columns[name] for name in formula.groups if name not in counted}
    groups = {name: as_factor(column) for name, column in named.items() if column.kind in NUMBERS}
    return replace(data, columns={**data.columns, **groups})


def with_ranks(
    data: Intake, formula: RFormula, frame: pd.DataFrame, within: str | None, excluded: Collection[str]
) -> Intake:
    """Return the data with the outcome and the fixed numeric predictors as ranks, and these ranks by column.

    A predictor that groups rows as well keeps its values, which are the labels of its groups.

    Args:
        data: the data of the fit.
        formula: its formula.
        frame: the user's frame.
        within: column of it whose levels are ranked apart, or nothing for all rows at once.
        excluded: columns that stay as they are.

    Raises:
        DataError: a row that is used has no level.
        OptionError: the column whose levels are ranked apart is ranked itself.
    """
    predictors = set(formula.predictors).difference(formula.groups)
    named = {*formula.response.columns, *predictors}.difference(excluded)
    numeric = [name for name in data.columns if name in named and data.columns[name].kind in NUMBERS]
    if within in numeric:
        raise OptionError(
            f"rank_group={within!r} is ranked itself, and within its own values all ranks are equal. Name a column of "
            "groups, or leave rank_group out."
        )
    held, codes = None, None
    if within:
        levels = as_factor(normalise(frame, [within])[within])
        lost = int((levels.missing & data.complete).sum())
        if lost:
            raise DataError(
                f"rank_group={within!r} is missing in {lost} row(s) that the model uses. Fill or drop these rows."
            )
        held, codes = replace(levels, values=levels.values[:0]), levels.values[data.complete] - 1
    columns, ranks = dict(data.columns), {}
    for name in numeric:
        values = columns[name].values[data.complete].astype(float)
        ranks[name] = learned_ranks(values, within or "", held, codes)
        ranked = np.full(data.n_rows, np.nan)
        ranked[data.complete] = ranks[name].put(values, codes)
        columns[name] = Column("double", ranked)
    return replace(data, columns=columns, ranks=ranks)
