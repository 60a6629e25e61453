"""Columns made over before a mixed model is fitted: factors as they were asked for, numbers as ranks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.columns import NA, NUMBERS, Column, as_factor, normalise
from pymer4.data.factors import Coding, coding, present_levels, with_levels
from pymer4.data.intake import Intake, at_rows
from pymer4.data.ranks import learned_ranks
from pymer4.data.rformula import RFormula
from pymer4.errors import DataError, OptionError, near, shown


def codings(
    columns: Mapping[str, Column], complete: np.ndarray, factors: Mapping[str, Any] | None, ordered: bool
) -> dict[str, Coding]:
    """Return how each factor of `fit(factors=, ordered=)` is coded, from the rows that are used."""
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
    """Return the data with the columns of `codings` as factors."""
    made = {name: _factor(data, name, how.levels, how.ordered) for name, how in codings.items()}
    return replace(data, columns={**data.columns, **made})


def without_unused(data: Intake) -> Intake:
    """Return the data with the levels that no used row has dropped, as R drops them."""
    factors = {name: column for name, column in data.columns.items() if column.kind == "factor"}
    kept = {name: present_levels(at_rows(column, data.complete)) for name, column in factors.items()}
    fewer = {name: levels for name, levels in kept.items() if len(levels) < len(factors[name].levels)}
    made = {name: _factor(data, name, levels, factors[name].ordered) for name, levels in fewer.items()}
    return replace(data, columns={**data.columns, **made})


def _factor(data: Intake, name: str, levels: tuple[str, ...], ordered: bool) -> Column:
    """Return a column as a factor with these levels; rows that are left out lose theirs."""
    used = with_levels(at_rows(data.columns[name], data.complete), levels, ordered, name)
    values = np.full(data.n_rows, NA, dtype=np.int32)
    values[data.complete] = used.values
    return replace(used, values=values)


def contrast_matrices(codings: Mapping[str, Coding]) -> dict[str, dict[str, Any]]:
    """Return the coding matrices that R does not make by itself: those of contrasts that were written."""
    written = {name: how for name, how in codings.items() if how.requested is not None}
    return {name: {"matrix": how.matrix, "names": list(how.names)} for name, how in written.items()}


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

    A predictor that groups rows as well keeps its values, which are the labels of its groups. The levels of `within`,
    a column of the user's frame, are ranked apart; it may neither be ranked itself nor lack a level in a row used.
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
