"""Columns made over before a fit: factors with the levels and contrasts asked for, numbers as ranks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pymer4.columns import NA, Column
from pymer4.errors import OptionError, near
from pymer4.factors import Coding, coding, recode
from pymer4.formula import Formula, names_in
from pymer4.intake import Intake


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
                f"factors names {name!r}, which the formula does not use.{near(name, data.columns)} "
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


def with_ranks(data: Intake, formula: Formula, within: str, excluded: Collection[str]) -> Intake:
    """Return the data with the outcome and the fixed numeric predictors as ranks, ties averaged.

    Args:
        data: the data of the fit.
        formula: its formula.
        within: column whose groups are ranked apart, or an empty text for all rows at once.
        excluded: columns that stay as they are.

    Raises:
        OptionError: a column of `within` or `excluded` that the model does not use.
    """
    named = [*names_in(formula.response), *names_in(formula.fixed)]
    ranked = [name for name in dict.fromkeys(named) if name in data.columns and name not in excluded]
    for argument, names in (("rank_group", [within] if within else []), ("rank_exclude_cols", excluded)):
        for name in names:
            if name not in data.columns:
                raise OptionError(
                    f"{argument} names {name!r}, which the formula does not use.{near(name, data.columns)} "
                    f"It uses: {', '.join(data.columns)}."
                )
    groups = data.columns[within].values if within else np.zeros(data.n_rows)
    columns = dict(data.columns)
    for name in ranked:
        if columns[name].kind in ("double", "integer"):
            values = pd.Series(np.where(data.complete, columns[name].values, np.nan))
            columns[name] = Column("double", values.groupby(groups).rank().to_numpy(dtype=float))
    return replace(data, columns=columns)


def _rows(column: Column, rows: np.ndarray) -> Column:
    return column if rows.all() else replace(column, values=column.values[rows])
