"""What a mixed model takes in: the columns it uses, screened before R is asked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.columns import Column, floats, normalise, require_squares
from pymer4.data.rformula import Grouping, RFormula
from pymer4.errors import DataError, OptionError, near, shown


@dataclass(frozen=True, slots=True)
class Intake:
    """The data of one fit.

    Attributes:
        columns: normal form of every column that crosses into R, by name.
        complete: rows without a missing value, shape (n,).
        weights: prior weights: a column's name, an array of shape (n,), or None.
        offset: offset, given likewise.
        ranks: for each column whose ranks stand in its place, what they were made from.
    """

    columns: Mapping[str, Column]
    complete: np.ndarray
    weights: str | np.ndarray | None
    offset: str | np.ndarray | None
    ranks: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Rows of the data, used or not."""
        return len(self.complete)


def take_in(
    formula: RFormula, data: pd.DataFrame, weights: str | np.ndarray | None, offset: str | np.ndarray | None
) -> Intake:
    """Return the columns that formula, weights and offset use, in normal form and screened.

    Raises:
        DataError: infinite values, no row without a missing value, or a name that R can't give to a column.
    """
    extra = [name for name in (weights, offset) if isinstance(name, str) and name not in formula.columns]
    _refuse_reserved([*formula.columns, *extra])
    columns = normalise(data, [*formula.columns, *extra])
    arrays = [values for values in (weights, offset) if isinstance(values, np.ndarray)]
    _refuse_infinite(columns)
    if isinstance(offset, np.ndarray):
        require_squares("offset", offset)
    missing = np.zeros(len(data), dtype=bool)
    for column in columns.values():
        missing |= column.missing
    for values in arrays:
        missing |= np.isnan(values)
    if missing.all():
        lost = {name: c.missing for name, c in columns.items()}
        given = {"weights": weights, "offset": offset}
        lost |= {f"{name}=": np.isnan(values) for name, values in given.items() if isinstance(values, np.ndarray)}
        counts = ", ".join(f"{name} {int(missing.sum())}" for name, missing in lost.items() if missing.any())
        raise DataError(
            f"Each of the {len(data)} rows has a missing value in a column that the model uses ({counts} missing). "
            "Fill or drop those columns, or take them out of the formula."
        )
    return Intake(columns, ~missing, weights, offset)


def _refuse_reserved(names: Iterable[object]) -> None:
    for name in names:
        if re.fullmatch(r"\.\.\.|\.\.\d+", str(name)):
            raise DataError(
                f"R keeps the name {name!r} for itself, so a mixed model can't use a column of that name. Rename it: "
                f"data.rename(columns={{{name!r}: 'dots'}})."
            )


def per_row(argument: str, given: object, data: pd.DataFrame, positive: bool = False) -> str | np.ndarray | None:
    """Return weights or an offset as a column's name, an array of shape (n,), or None.

    Args:
        argument: "weights" or "offset", for the messages.
        given: a column's name, or one number a row.
        data: the user's frame.
        positive: whether each has to be above 0.

    Raises:
        OptionError: no such column.
        DataError: wrong length, not numbers, infinite, or too small.
    """
    if given is None:
        return None
    if isinstance(given, str):
        if given not in data.columns:
            raise OptionError(
                f"{argument}={shown(given)} is not a column of the data.{near(given, data.columns)} "
                "Give the name of a column, or one number a row."
            )
        column = normalise(data, [given])[given]
        if column.kind not in ("double", "integer"):
            raise DataError(f"{argument}={given!r} is a column of kind {column.kind}. It has to hold numbers.")
        values = np.where(column.missing, np.nan, column.values.astype(float))
    else:
        if isinstance(given, pd.Series) and not given.index.equals(data.index):
            raise DataError(
                f"{argument} is a Series whose index is not that of the data. Put it into the data as a column, or "
                f"give {argument}.to_numpy() to take it row by row."
            )
        shape = getattr(given, "shape", None)
        values = floats(argument, given) if not isinstance(shape, tuple) or len(shape) == 1 else given
        if values.shape != (len(data),):
            raise DataError(f"{argument} has shape {values.shape}; the data have {len(data)} rows: one number a row.")
    if np.isinf(values).any() or (positive and (values <= 0).any()):
        bound = "finite and above 0 (drop rows that are not to count)" if positive else "finite"
        raise DataError(f"{argument} has to be {bound}; it ranges from {np.nanmin(values):g} to {np.nanmax(values):g}.")
    return given if isinstance(given, str) else values


def check_groups(formula: RFormula, intake: Intake, skipped: Iterable[str], linear: bool = True) -> None:
    """Refuse grouping variables that identify nothing, as lme4 does by default.

    A generalized model may have as many groups as rows.

    Groupings that are computed, such as `factor(g)`, are left to R.

    Args:
        formula: the model.
        intake: its data.
        skipped: names of lme4's checks that the user's `control` sets.
        linear: whether the model is a linear one.

    Raises:
        DataError: a group with one level, or with as many levels as there are rows.
    """
    skipped = set(skipped)
    n_used = int(intake.complete.sum())
    for term in formula.random:
        for group in term.groupings:
            if not group.is_crossing:
                continue
            n_levels, label = _n_levels(group, intake), group.label
            if n_levels < 2 and "check.nlev.gtr.1" not in skipped:
                raise DataError(
                    f"The grouping variable {label!r} has one level in the rows used. A random effect needs at least "
                    f"two groups, better five: take {term.text!r} out of the formula."
                )
            if linear and n_levels >= n_used and "check.nobs.vs.nlev" not in skipped:
                raise DataError(
                    f"The grouping variable {label!r} has as many levels as there are rows ({n_used}), so its effect "
                    "can't be told from the residual. Use a grouping with several rows a group, or switch the check "
                    'off with control=\'check.nobs.vs.nlev="ignore", check.nobs.vs.nRE="ignore"\'.'
                )


def check_levels(formula: RFormula, intake: Intake) -> None:
    """Refuse a factor of the fixed part that has one level in the rows used.

    Raises:
        DataError: naming it.
    """
    for name in formula.predictors:
        column = intake.columns[name]
        if column.kind == "factor" and np.ptp(column.values[intake.complete]) == 0:
            level = column.levels[column.values[intake.complete][0] - 1]
            raise DataError(
                f"The predictor {name!r} is a factor with one level, {level!r}, in the rows used. Take it out of the "
                "formula: it has nothing to compare."
            )


def _refuse_infinite(columns: Mapping[str, Column]) -> None:
    for name, column in columns.items():
        if column.kind == "double":
            require_squares(f"Column {name!r}", column.values)
        if column.kind == "double" and np.isinf(column.values).any():
            rows = np.flatnonzero(np.isinf(column.values))
            shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
            raise DataError(
                f"Column {name!r} has {len(rows)} infinite value(s), in row(s) {shown} counted from 0. "
                f"Make them missing with data[{name!r}].replace([np.inf, -np.inf], np.nan), or drop the rows."
            )


def _n_levels(group: Grouping, intake: Intake) -> int:
    """Return the number of levels of crossed columns in the rows used."""
    codes = [intake.columns[name].values[intake.complete] for name in group.columns]
    return len(np.unique(np.column_stack(codes), axis=0))


def rows_for(names: Iterable[str], data: pd.DataFrame, purpose: str) -> tuple[dict[str, Column], np.ndarray]:
    """Return named columns of a new frame in normal form, and which rows are complete.

    Raises:
        DataError: a column is not there; `purpose` says what needs it.
    """
    if not isinstance(data, pd.DataFrame):
        raise DataError(f"{purpose} takes a pandas DataFrame, not a {type(data).__name__}.")
    names = list(names)
    lacking = [name for name in names if name not in data.columns]
    if lacking:
        raise DataError(
            f"{purpose} needs the column(s) {', '.join(map(repr, lacking))}, which the data do not have. "
            f"It needs: {', '.join(map(repr, names))}."
        )
    columns = normalise(data, names)
    complete = np.ones(len(data), dtype=bool)
    for column in columns.values():
        complete &= ~column.missing
    return columns, complete


def subset(columns: Mapping[str, Column], rows: np.ndarray) -> dict[str, Column]:
    """Return the columns at the rows where `rows` is true."""
    if rows.all():
        return dict(columns)
    return {name: Column(c.kind, c.values[rows], c.levels, c.ordered) for name, c in columns.items()}
