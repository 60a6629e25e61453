"""What a fit takes in, screened before any work: columns, complete rows, weights, offset, groups."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from pymer4.data.columns import NUMBERS, Column, as_factor, floats, normalise, require_squares
from pymer4.data.frames import absent
from pymer4.data.ranks import Ranks
from pymer4.data.rformula import Grouping, RFormula
from pymer4.errors import DataError, OptionError, shown


@dataclass(frozen=True, slots=True)
class Intake:
    """The data of one fit of a mixed model.

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
    ranks: Mapping[str, Ranks] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Rows of the data, used or not."""
        return len(self.complete)

    def kinds(self) -> dict[str, Column]:
        """Return the columns without their rows: what new ones have to be."""
        return {name: replace(column, values=column.values[:0]) for name, column in self.columns.items()}


def take_in(
    formula: RFormula, data: pd.DataFrame, weights: str | np.ndarray | None, offset: str | np.ndarray | None
) -> Intake:
    """Return the columns that formula, weights and offset use: of names that R can give, finite, some row complete."""
    names = list(dict.fromkeys([*formula.columns, *(name for name in (weights, offset) if isinstance(name, str))]))
    _refuse_reserved(names)
    columns = normalise(data, names)
    _refuse_infinite(columns)
    if isinstance(offset, np.ndarray):
        require_squares("offset", offset)
    given = {"weights=": weights, "offset=": offset}
    missing = {name: column.missing for name, column in columns.items()}
    missing |= {name: np.isnan(values) for name, values in given.items() if isinstance(values, np.ndarray)}
    complete = ~np.logical_or.reduce([np.zeros(len(data), dtype=bool), *missing.values()])
    if not complete.any():
        raise no_complete_row(missing, len(data))
    return Intake(columns, complete, weights, offset)


def no_complete_row(missing: Mapping[Any, np.ndarray], n: int) -> DataError:
    """Return the refusal of n rows of which none is complete, with the number of gaps by name."""
    told = ", ".join(f"{name} {int(gaps.sum())}" for name, gaps in missing.items() if gaps.any())
    told = told or "weights, offset or cluster"
    return DataError(
        f"Each of the {n} rows has a missing value in a column that the model uses ({told} "
        "missing). Fill or drop those columns, or take them out of the formula."
    )


def _refuse_reserved(names: Iterable[object]) -> None:
    for name in names:
        if re.fullmatch(r"\.\.\.|\.\.\d+", str(name)):
            raise DataError(
                f"R keeps the name {name!r} for itself, so a mixed model can't use a column of that name. Rename it: "
                f"data.rename(columns={{{name!r}: 'dots'}})."
            )


def _refuse_infinite(columns: Mapping[str, Column]) -> None:
    for name, column in columns.items():
        if column.kind != "double":
            continue
        require_squares(f"Column {name!r}", column.values)
        if np.isinf(column.values).any():
            raise DataError(
                f"Column {name!r} has {infinite_rows(np.isinf(column.values))}. Make them missing with "
                f"data[{name!r}].replace([np.inf, -np.inf], np.nan), or drop the rows."
            )


def infinite_rows(infinite: np.ndarray) -> str:
    """Return how many rows are infinite, and the first of them, in words."""
    rows = np.flatnonzero(infinite)
    return f"{len(rows)} infinite value(s), in row(s) {first_rows(rows)}"


def first_rows(rows: np.ndarray, most: int = 5) -> str:
    """Return the first of some rows in words."""
    return ", ".join(map(str, rows[:most])) + (", ..." if len(rows) > most else "") + " counted from 0"


@dataclass(frozen=True, slots=True, eq=False)
class RowValues:
    """What the arguments of a regression say about each row of the data, shape (rows,), or None.

    Attributes:
        weights: prior weights, or inverse variances, NaN where missing.
        offset: likewise.
        groups: codes of the groups that have a variance each, −1 where missing.
        group_names: what the groups are called.
        clusters: codes of the clusters, likewise.
        missing: rows left out on their account.
    """

    weights: np.ndarray | None
    offset: np.ndarray | None
    groups: np.ndarray | None
    group_names: tuple[str, ...]
    clusters: np.ndarray | None
    missing: np.ndarray


def row_values(
    data: pd.DataFrame, weights: Any, offset: np.ndarray | None, cluster: str | None, linear: bool
) -> RowValues:
    """Return weights, offset, groups and clusters of each row of the data.

    In a linear model the name of a column in `weights` is one whose values have a variance each.
    """
    groups, clusters, values = None, None, None
    group_names: tuple[str, ...] = ()
    if linear and isinstance(weights, str):
        groups, group_names = group_codes("weights", weights, data)
    elif weights is not None:
        values = per_row("weights", weights, data, positive=True)
    if cluster is not None:
        clusters, _ = group_codes("cluster", cluster, data)
    missing = np.zeros(len(data), dtype=bool)
    for numbers in (values, offset):
        missing |= False if numbers is None else np.isnan(numbers)
    for codes in (groups, clusters):
        missing |= False if codes is None else codes < 0
    return RowValues(values, offset, groups, group_names, clusters, missing)


def checked(argument: str, given: Any, data: pd.DataFrame, positive: bool = False) -> str | np.ndarray | None:
    """Return weights or an offset as a column's name, an array of shape (n,) or None; see `per_row`."""
    if given is None:
        return None
    values = per_row(argument, given, data, positive)
    return given if isinstance(given, str) else values


def per_row(argument: str, given: Any, data: pd.DataFrame, positive: bool = False) -> np.ndarray:
    """Return weights or an offset, a column's name or one number a row, as floats, NaN where missing, shape (n,).

    Raises:
        OptionError: no such column.
        DataError: wrong length, not numbers, infinite, or too small.
    """
    if isinstance(given, str):
        if given not in data.columns:
            raise OptionError(
                f"{argument}={shown(given)} is not a column of the data.{absent(given, data)} "
                "Give the name of a column, or one number a row."
            )
        values = numbers_of(argument, given, data)
    else:
        if isinstance(given, pd.Series) and not given.index.equals(data.index):
            raise other_index(argument, given, "Put it into the data as a column")
        shape = getattr(given, "shape", None)
        values = floats(argument, given) if not isinstance(shape, tuple) or len(shape) == 1 else given
        if values.shape != (len(data),):
            raise DataError(f"{argument} has shape {values.shape}; the data have {len(data)} rows: one number a row.")
    if np.isinf(values).any() or (positive and (values <= 0).any()):
        bound = "finite and above 0 (drop rows that are not to count)" if positive else "finite"
        raise DataError(f"{argument} has to be {bound}; it ranges from {np.nanmin(values):g} to {np.nanmax(values):g}.")
    return values


def other_index(argument: str, given: pd.Series | pd.DataFrame, remedy: str) -> DataError:
    """Return what is said of numbers by row whose index is not that of the data."""
    return DataError(
        f"{argument} is a {type(given).__name__} whose index is not that of the data. {remedy}, or give "
        f"{argument}.to_numpy() to take it row by row."
    )


def numbers_of(argument: str, name: str, data: pd.DataFrame) -> np.ndarray:
    """Return a column of numbers as floats, NaN where missing, shape (n,)."""
    column = normalise(data, [name])[name]
    if column.kind not in NUMBERS:
        raise DataError(f"{argument}={name!r} is a column of kind {column.kind}. It has to hold numbers.")
    return np.where(column.missing, np.nan, column.values.astype(float))


def group_codes(argument: str, name: Any, data: pd.DataFrame) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the group of each row, shape (n,), −1 where it is missing, and the names of the groups."""
    if not isinstance(name, str) or name not in data.columns:
        raise OptionError(
            f"{argument}={shown(name)} is not a column of the data.{absent(name, data)} Give the name of a column."
        )
    factor = as_factor(normalise(data, [name])[name])
    if not len(factor.levels):
        raise DataError(f"{argument}={name!r} is a column without a value.")
    return np.where(factor.missing, -1, factor.values - 1).astype(np.int64), factor.levels


def codes_of_rows(argument: str, name: str, data: pd.DataFrame, used: np.ndarray) -> np.ndarray:
    """Return the group of each row used, shape (n,), 0, 1, ... without a gap; a DataError tells that some have none."""
    codes = group_codes(argument, name, data)[0][used]
    if (codes < 0).any():
        raise DataError(
            f"{argument}={name!r} is missing in {int((codes < 0).sum())} of the rows fitted. Leave these out of the "
            "data, and fit again."
        )
    return np.unique(codes, return_inverse=True)[1].ravel()


def check_groups(formula: RFormula, intake: Intake, skipped: Iterable[str], linear: bool = True) -> None:
    """Refuse grouping variables of one level, or in a linear model of as many as there are rows, as lme4 does.

    Groupings that are computed, such as `factor(g)`, are left to R; `skipped` are the names of lme4's checks that the
    user's `control` sets.
    """
    skipped = set(skipped)
    n_used = int(intake.complete.sum())
    for term in formula.random:
        for group in (each for each in term.groupings if each.is_crossing):
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


def _n_levels(group: Grouping, intake: Intake) -> int:
    """Return the number of levels of crossed columns in the rows used."""
    codes = {name: intake.columns[name].values[intake.complete] for name in group.columns}
    if len(codes) == 1:
        return len(pd.unique(next(iter(codes.values()))))
    # Not numpy.unique: its comparison of rows turns Ctrl-C into a TypeError.
    return int((~pd.DataFrame(codes).duplicated()).sum())


def check_levels(formula: RFormula, intake: Intake) -> None:
    """Refuse a factor of the fixed part that has one level in the rows used."""
    for name in formula.predictors:
        column = at_rows(intake.columns[name], intake.complete)
        if column.kind == "factor" and np.ptp(column.values) == 0:
            raise one_level(name, column.levels[column.values[0] - 1])


def one_level(name: str, level: str) -> DataError:
    """Return the refusal of a predictor that has one level."""
    return DataError(
        f"The predictor {name!r} is a factor with one level, {level!r}, in the rows used. Take it out of the formula: "
        "it has nothing to compare."
    )


def rows_for(names: Iterable[str], data: pd.DataFrame, purpose: str) -> tuple[dict[str, Column], np.ndarray]:
    """Return named columns of a new frame in normal form, and which rows are complete; see `require_columns`."""
    names = list(names)
    require_columns(names, data, purpose)
    columns = normalise(data, names)
    complete = np.ones(len(data), dtype=bool)
    for column in columns.values():
        complete &= ~column.missing
    return columns, complete


def require_columns(names: list[Any], data: pd.DataFrame, purpose: str) -> None:
    """Refuse new data that lack a column; `purpose` says what needs it."""
    lacking = [name for name in names if name not in data.columns]
    if lacking:
        raise DataError(
            f"{purpose} needs the column(s) {', '.join(map(repr, lacking))}, which the data do not have. "
            f"It needs: {', '.join(map(repr, names))}."
        )


def at_rows(column: Column, rows: np.ndarray) -> Column:
    """Return a column at the rows where `rows` is true."""
    return column if rows.all() else replace(column, values=column.values[rows])


def subset(columns: Mapping[str, Column], rows: np.ndarray) -> dict[str, Column]:
    """Return columns at the rows where `rows` is true."""
    return {name: at_rows(column, rows) for name, column in columns.items()}
