"""How the outcome of a fitted `Lmer` runs along a predictor, in each group and in the population."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.data import intake
from pymer4.data.columns import Column, level_name, normalise, places
from pymer4.data.formula import names_in, parse
from pymer4.data.syntax import Name, deparse
from pymer4.errors import OptionError, near, shown
from pymer4.models.forest import grouping, of_factor
from pymer4.models.pictures import picture
from pymer4.plots import arguments, caterpillars, forest
from pymer4.rbridge import bridge

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GRID = 60
_ROUNDING = 1e-9  # relative; curves closer than that are one line


class LmerCurves:
    """`plot()`, and what the other pictures of a mixed model need to know of it."""

    @picture
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
        coefficient, such as `(Intercept)`, draws that coefficient of each group, sorted. A note under the axis says at
        which values other predictors are held, how many groups there are when they are too many (above 12) to be
        named, and where groups have the predictor's effect in common.

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
            OptionError: no such predictor, coefficient or group, a coefficient that is one for all groups, or an
                argument out of its range.

        Examples:
            >>> from pymer4 import Lmer, load_dataset
            >>> model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
            >>> _ = model.fit(summarize=False)
            >>> ax = model.plot("Days", grps=["308", "309", "310"])
            >>> [text.get_text() for text in ax.get_legend().get_texts()]
            ['308', '310', '309', 'Population']
        """
        ranef_idx = self._grouping(ranef_idx)
        groups = chosen(self._groups_at(ranef_idx), grps)
        predictors = [name for name in self._predictors(use_rfx=False) if name not in self.grps]
        if param in predictors:
            return self._plot_predictor(param, groups, ranef_idx, figsize, xlabel, ylabel, plot_fixef, plot_ci, ax)
        if param not in groups.columns:
            known = list(dict.fromkeys([*predictors, *groups.columns]))
            raise OptionError(
                f"param={shown(param)} is not in the model. Use one of: {', '.join(known)}.{near(param, known)}"
            )
        varying = list(of_factor(self.ranef, ranef_idx).columns)
        if param not in varying:
            raise OptionError(
                f"param={param!r} is a coefficient that all groups of {list(self.grps)[ranef_idx]} have in common. "
                f"Those that vary between them are: {', '.join(varying)}. plot_summary() draws the others."
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
            level=self._options.conf_level,
            offset=0.0 if offset is None else offset,
        ).value
        curves = value["curves"][self._groups_at(index).index.get_indexer(groups.index)]
        labels, told = list(groups.index), self._groups_told(param, name, curves)
        if len(labels) > 1 and _alike(curves):
            # One line stands for all: the population's, which is the same, where that is drawn.
            curves, labels = (curves[:0], []) if plot_fixef else (curves[:1], [f"{len(labels):,} groups"])
        with_band = plot_fixef and plot_ci
        return forest.group_lines(
            x,
            curves,
            labels=labels,
            population=value["population"] if plot_fixef else None,
            lower=value["lower"] if with_band else None,
            upper=value["upper"] if with_band else None,
            figsize=figsize,
            xlabel=xlabel or (f"rank of {param}" if param in self._ranks else param),
            ylabel=ylabel or self._outcome_label(),
            note=" ".join([*told, *_note({other: column for other, column in grid.items() if other != param}, offset)]),
            ax=ax,
        )

    def _groups_told(self, param: str, group: str, curves: np.ndarray) -> list[str]:
        """Return what has to be said of the groups' curves: how many they are, and whether they differ."""
        count = len(curves)
        if count < 2:
            return []
        if _alike(curves):
            return [f"The {count:,} groups of {group} do not differ here: one line."]
        told = [f"Thin lines: {count:,} groups of {group}."] if count > forest.NAMED else []
        varying = {name for term in self._random_terms(group) for name in names_in(term.expression)}
        if param not in varying:
            told.append(
                f"The effect of {param} does not vary between them"
                if told
                else f"The effect of {param} does not vary between groups of {group}"
            )
            told[-1] += ": their lines are parallel." if self._linear else f": parallel on the {self.link} scale."
        return told

    def _plot_coefficient(self, param, groups, figsize, xlabel, ylabel, plot_fixef, plot_ci, ax) -> Axes:
        row = self.coefs.loc[param] if plot_fixef and param in self.coefs.index else None
        low, high = tables.limit_columns(self._options.conf_level)
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
        text = deparse(Name(group)) if group in self._frame.columns else group
        terms = [
            f"({deparse(term.expression)} {'|' if term.correlated else '||'} {text})"
            for term in self._random_terms(group)
        ]
        return "~" + " + ".join(terms)

    def _random_terms(self, group: str) -> list[Any]:
        """Return the random-effects terms of one grouping factor, as parsed."""
        names = {group} if group in self._frame.columns else set(names_in(parse(f"y ~ (1 | {group})").random[0].group))
        return [
            term
            for term in self._parsed.random
            if any(set(names_in(crossing)) == names for crossing in intake.crossings(term.group))
        ]

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
    """Return the rows of the groups that are asked for, all where none is.

    Raises:
        OptionError: a label of no group, or a group given twice.
    """
    names = [level_name(label) for label in arguments.listed("grps", labels)]
    found = places(names, list(groups.index))
    unknown = [name for name, place in zip(names, found, strict=True) if place < 0]
    if unknown:
        known = ", ".join(groups.index[:12]) + (", …" if len(groups) > 12 else "")
        more = f" and {len(unknown) - 12:,} more" if len(unknown) > 12 else ""
        raise OptionError(f"grps has {', '.join(unknown[:12])}{more}, not among the groups: {known}.")
    arguments.once("grps", list(groups.index[found]))
    return groups.iloc[found] if len(found) else groups


def _alike(curves: np.ndarray) -> bool:
    """Whether all curves are one but for rounding."""
    apart = np.ptp(curves, axis=0)
    return bool((apart <= _ROUNDING * np.abs(curves).max(axis=0)).all())


def _note(held: Mapping[str, Column], offset: float | None) -> list[str]:
    """Return at which values the other predictors are held; empty where there is none."""
    values = {name: _value(column) for name, column in held.items()}
    if offset is not None:
        values["offset"] = f"{offset:.4g}"
    listed = ", ".join(f"{name}\u00a0=\u00a0{value}" for name, value in values.items())
    return [f"Other predictors at: {listed}"] if listed else []


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
