"""How the outcome of a fitted `Lmer` runs along a predictor, in each group and in the population."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pymer4 import bridge, intake, tables
from pymer4.columns import Column, level_name, normalise, places
from pymer4.errors import OptionError, near
from pymer4.formulas.formula import Name, deparse, names_in, parse
from pymer4.models.base import truth
from pymer4.models.forest import grouping, of_factor
from pymer4.plotting import caterpillars, plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GRID = 60


class LmerCurves:
    """`plot()`, and what the other pictures of a mixed model need to know of it."""

    def plot(
        self,
        param: str,
        figsize: tuple[float, float] = (8, 6),
        xlabel: str = "",
        ylabel: str = "",
        plot_fixef: bool = True,
        plot_ci: bool = True,
        grps: Sequence[Any] = (),
        ax: Axes | None = None,
        *,
        ranef_idx: int | str = 0,
    ) -> Axes:
        """Draw how the outcome changes with a predictor in each group and in the population.

        A predictor, numeric or factor, is drawn from end to end with the other numeric predictors
        and the offset at their means and the other factors at their first level; the band is the Wald interval
        of the population's mean, from the covariance of all coefficients. The name of a
        coefficient, such as `(Intercept)`, draws that coefficient of each group, sorted. Where other predictors
        are held, a note under the axis says at which values.

        Args:
            param: a column of the fixed part, or a coefficient.
            figsize: inches.
            xlabel: label of the x axis; by default the name drawn there.
            ylabel: label of the y axis; by default the name drawn there.
            plot_fixef: draw the population.
            plot_ci: draw its interval.
            grps: only these groups (labels of `fixef`); all by default.
            ax: axes to draw on, behind what is there.
            ranef_idx: which grouping factor: its name, or its place from 0 in the order of `grps`.

        Returns:
            The axes drawn on.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: no such predictor, coefficient or group.
        """
        self._require_fit("plot()")
        plot_fixef, plot_ci = truth("plot_fixef", plot_fixef), truth("plot_ci", plot_ci)
        ranef_idx = self._grouping(ranef_idx)
        groups = chosen(self._groups_at(ranef_idx), grps)
        predictors = [name for name in self._predictors(use_rfx=False) if name not in self.grps]
        if param in predictors:
            return self._plot_predictor(param, groups, ranef_idx, figsize, xlabel, ylabel, plot_fixef, plot_ci, ax)
        if param not in groups.columns:
            known = list(dict.fromkeys([*predictors, *groups.columns]))
            raise OptionError(
                f"param={param!r} is not in the model. Use one of: {', '.join(known)}.{near(param, known)}"
            )
        return self._plot_coefficient(param, groups, figsize, xlabel, ylabel, plot_fixef, plot_ci, ax)

    def _plot_predictor(self, param, groups, index, figsize, xlabel, ylabel, plot_fixef, plot_ci, ax) -> Axes:
        x, grid = self._grid(param)
        name = list(self.grps)[index]
        offset = None if self._offset is None else float(np.mean(self._numbers(self._offset)[self._used]))
        value = bridge.call(
            "predictor_curves",
            model=self._for_new_rows,
            grid=grid,
            group=name,
            random=self._random_part(name),
            level=self._facts["level"],
            offset=0.0 if offset is None else offset,
        ).value
        rows = self._groups_at(index).index.get_indexer(groups.index)
        with_band = plot_fixef and plot_ci
        return plots.group_lines(
            x,
            value["curves"][rows],
            labels=list(groups.index),
            population=value["population"] if plot_fixef else None,
            lower=value["lower"] if with_band else None,
            upper=value["upper"] if with_band else None,
            figsize=figsize,
            xlabel=xlabel or (f"rank of {param}" if param in self._ranks else param),
            ylabel=ylabel or self._outcome_label(),
            note=_note({other: column for other, column in grid.items() if other != param}, offset),
            ax=ax,
        )

    def _plot_coefficient(self, param, groups, figsize, xlabel, ylabel, plot_fixef, plot_ci, ax) -> Axes:
        row = self.coefs.loc[param] if plot_fixef and param in self.coefs.index else None
        low, high = tables.limit_columns(self._facts["level"])
        return caterpillars.caterpillar(
            groups[param],
            population=None if row is None else row[tables.ESTIMATE],
            lower=row[low] if row is not None and plot_ci else None,
            upper=row[high] if row is not None and plot_ci else None,
            figsize=figsize,
            xlabel=xlabel or param,
            ylabel=ylabel,
            ax=ax,
        )

    def _grouping(self, which: int | str) -> int:
        """Return the place of a grouping factor in `grps`."""
        return grouping(which, self.grps)

    def _groups_at(self, which: int | str) -> pd.DataFrame:
        """Return the groups' coefficients of one grouping factor."""
        return of_factor(self.fixef, self._grouping(which))

    def _outcome(self) -> tuple[str, list[str]]:
        response = self._parsed.response
        columns = [name for name in names_in(response) if name in self._frame.columns]
        text = response.name if isinstance(response, Name) else deparse(response)
        return f"rank of {text}" if any(name in self._ranks for name in columns) else text, columns

    def _prior_weights(self) -> np.ndarray | None:
        return None if self._weights is None else self._numbers(self._weights)

    def _numbers(self, given: str | np.ndarray) -> np.ndarray:
        """Return weights or an offset, shape (n,), NaN where missing."""
        if not isinstance(given, str):
            return given
        column = normalise(self._frame, [given])[given]
        return np.where(column.missing, np.nan, column.values.astype(float))

    def _categories(self) -> Iterable[str]:
        return self._grid_predictors().factors

    def _outcome_label(self) -> str:
        text, columns = self._outcome()
        return f"Probability ({columns[0]})" if self.family == "binomial" and columns else text

    def _random_part(self, group: str) -> str:
        """Return the random-effects terms of one grouping factor as a formula, such as `~(1 + x | g)`."""
        plain = group in self._frame.columns
        text = deparse(Name(group)) if plain else group
        names = {group} if plain else set(names_in(parse(f"y ~ (1 | {group})").random[0].group))
        terms = [
            f"({deparse(term.expression)} {'|' if term.correlated else '||'} {text})"
            for term in self._parsed.random
            if any(set(names_in(crossing)) == names for crossing in intake.crossings(term.group))
        ]
        return "~" + " + ".join(terms)

    def _grid(self, param: str) -> tuple[Any, dict[str, Column]]:
        """Return places along a predictor, and new data there with the others held."""
        columns = self._fitted_columns([*self._predictors(use_rfx=False), *self._varying()])
        column, levels = columns[param], self._levels_of_numbers()
        if column.kind == "factor":
            x, along = list(column.levels), replace(column, values=np.arange(1, len(column.levels) + 1, dtype=np.int32))
        elif column.kind == "logical":
            x, along = ["FALSE", "TRUE"], replace(column, values=np.array([0, 1], dtype=np.int32))
        elif param in levels:
            along = Column("double", levels[param])
            x = along.values if along.values.size > _GRID else [level_name(value) for value in along.values]
        else:
            x = np.linspace(column.values.min(), column.values.max(), _GRID)
            along = Column("double", x)
        held = {name: _held(column, len(x), levels.get(name)) for name, column in columns.items() if name != param}
        return x, {name: held.get(name, along) for name in columns}

    def _fitted_columns(self, names: Iterable[str]) -> dict[str, Column]:
        """Return columns as they were fitted, at the rows used."""
        names = list(dict.fromkeys(names))
        if not self._ranks:
            return self._conformed(intake.rows_for(names, self._frame[self._used], "plot()")[0])
        columns = self._taken_in()[0].columns
        return self._conformed(intake.subset({name: columns[name] for name in names}, self._used))

    def _levels_of_numbers(self) -> dict[str, np.ndarray]:
        """Return the values of the numbers that the formula makes factors of, such as x in `factor(x)`."""
        made = self._grid_predictors().factors
        numeric = [name for name in made if self._kinds[name].kind in ("double", "integer")]
        return {name: np.asarray(made[name], dtype=float) for name in numeric}

    def _varying(self) -> list[str]:
        """Return the columns whose coefficients vary between groups."""
        names = [name for term in self._parsed.random for name in names_in(term.expression)]
        return [name for name in names if name in self._frame.columns]


def chosen(groups: pd.DataFrame, labels: Sequence[Any]) -> pd.DataFrame:
    """Return the rows of the groups that are asked for, all where none is."""
    given = [labels] if isinstance(labels, str) else list(labels)
    found = places([level_name(label) for label in given], list(groups.index))
    unknown = [str(label) for label, place in zip(given, found, strict=True) if place < 0]
    if unknown:
        raise OptionError(f"grps has {', '.join(unknown)}, not among the groups: {', '.join(groups.index[:12])}.")
    return groups.iloc[found] if found else groups


def _note(held: Mapping[str, Column], offset: float | None) -> str:
    """Say at which values the other predictors are held; empty where there is none."""
    values = {name: _value(column) for name, column in held.items()}
    if offset is not None:
        values["offset"] = f"{offset:.4g}"
    listed = ", ".join(f"{name}\u00a0=\u00a0{value}" for name, value in values.items())
    return f"Other predictors at: {listed}" if listed else ""


def _value(column: Column) -> str:
    """Return the first value of a column as text."""
    first = column.values[0]
    if column.kind == "factor":
        return column.levels[first - 1]
    return ("FALSE", "TRUE")[first] if column.kind == "logical" else f"{first:.4g}"


def _held(column: Column, n: int, levels: np.ndarray | None) -> Column:
    """Return `n` rows at the mean of a number, or at the first level of a factor."""
    if column.kind in ("double", "integer"):
        return Column("double", np.full(n, column.values.mean() if levels is None else levels[0]))
    first = 1 if column.kind == "factor" else 0
    return replace(column, values=np.full(n, first, dtype=np.int32))
