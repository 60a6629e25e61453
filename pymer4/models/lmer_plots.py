"""Pictures of a fitted `Lmer`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pymer4 import bridge, intake, plots, tables
from pymer4.columns import Column
from pymer4.errors import OptionError, near, one_of
from pymer4.formula import Name, deparse, names_in, parse
from pymer4.models.base import truth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GRID = 60


class LmerPlots:
    """The plotting methods of `Lmer`."""

    def plot_summary(
        self,
        figsize: tuple[float, float] = (12, 6),
        error_bars: str = "ci",
        ranef: bool = True,
        axlim: tuple[float, float] | None = None,
        plot_intercept: bool = True,
        ranef_alpha: float = 0.5,
        coef_fmt: str = "o",
        orient: str = "v",
        ranef_idx: int = 0,
        *,
        ax: Axes | None = None,
    ) -> Axes:
        """Draw a forest plot of the coefficients over those of the groups.

        Args:
            figsize: inches.
            error_bars: `"ci"`, the limits computed by `fit()`, or `"se"`, one standard error either way.
            ranef: draw the coefficients of each group behind the estimates.
            axlim: ends of the value axis; by default all that is drawn.
            plot_intercept: draw the intercept.
            ranef_alpha: opacity of the groups' points.
            coef_fmt: matplotlib format of the estimates.
            orient: `"v"` lists the terms down the page, `"h"` across it.
            ranef_idx: which grouping factor, counted from 0 in the order of `grps`.
            ax: axes to draw on.

        Returns:
            The axes drawn on.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: an argument out of its range.
        """
        self._require_fit("plot_summary()")
        one_of("error_bars", error_bars, ("ci", "se"))
        coefs = self.coefs if plot_intercept else self.coefs.drop(index="(Intercept)", errors="ignore")
        estimates = coefs[tables.ESTIMATE]
        if error_bars == "ci":
            lower, upper = (coefs[name] for name in tables.limit_columns(self._facts["level"]))
        else:
            lower, upper = estimates - coefs[tables.SE], estimates + coefs[tables.SE]
        return plots.forest(
            estimates,
            lower.to_numpy(),
            upper.to_numpy(),
            points=self._groups_at(ranef_idx) if ranef else None,
            axlim=axlim,
            figsize=figsize,
            fmt=coef_fmt,
            points_alpha=ranef_alpha,
            orient=orient,
            xlabel=tables.ESTIMATE,
            ax=ax,
        )

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
        ranef_idx: int = 0,
    ) -> Axes:
        """Draw how the outcome changes with a predictor in each group and in the population.

        A predictor, numeric or factor, is drawn from end to end with the other numeric predictors
        and the offset at their means and the other factors at their first level; the band is the Wald interval
        of the population's mean, from the covariance of all coefficients. The name of a
        coefficient, such as `(Intercept)`, draws that coefficient of each group, sorted.

        Args:
            param: a column of the fixed part, or a coefficient.
            figsize: inches.
            xlabel: label of the x axis; by default the name drawn there.
            ylabel: label of the y axis; by default the name drawn there.
            plot_fixef: draw the population.
            plot_ci: draw its interval.
            grps: only these groups (labels of `fixef`); all by default.
            ax: axes to draw on, behind what is there.
            ranef_idx: which grouping factor, counted from 0 in the order of `grps`.

        Returns:
            The axes drawn on.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: no such predictor, coefficient or group.
        """
        self._require_fit("plot()")
        plot_fixef, plot_ci = truth("plot_fixef", plot_fixef), truth("plot_ci", plot_ci)
        groups = self._groups_at(ranef_idx)
        if len(grps):
            labels = [str(label) for label in grps]
            unknown = [label for label in labels if label not in groups.index]
            if unknown:
                raise OptionError(
                    f"grps has {', '.join(unknown)}, not among the groups: {', '.join(groups.index[:12])}."
                )
            groups = groups.loc[labels]
        predictors = [name for name in self._predictors(use_rfx=False) if name not in self.grps]
        if param in predictors:
            return self._plot_predictor(param, groups, ranef_idx, figsize, xlabel, ylabel, plot_fixef, plot_ci, ax)
        if param not in groups.columns:
            known = list(dict.fromkeys([*predictors, *groups.columns]))
            raise OptionError(
                f"param={param!r} is not in the model. Use one of: {', '.join(known)}.{near(param, known)}"
            )
        return self._plot_coefficient(param, groups, figsize, xlabel, ylabel, plot_fixef, plot_ci, ax)

    def _groups_at(self, index: int) -> pd.DataFrame:
        """Return the groups' coefficients of one grouping factor."""
        frames = self.fixef if isinstance(self.fixef, list) else [self.fixef]
        if not 0 <= index < len(frames):
            listed = ", ".join(f"{i} ({name})" for i, name in enumerate(self.grps))
            raise OptionError(f"ranef_idx={index!r} is not a grouping factor. Use one of: {listed}.")
        return frames[index]

    def _plot_predictor(self, param, groups, index, figsize, xlabel, ylabel, plot_fixef, plot_ci, ax) -> Axes:
        x, grid = self._grid(param)
        name = list(self.grps)[index]
        value = bridge.call(
            "predictor_curves",
            model=self._handle,
            grid=grid,
            group=name,
            random=self._random_part(name),
            level=self._facts["level"],
            offset=0.0 if self._offset is None else float(np.mean(self._offset_of(self._frame)[self._used])),
        ).value
        chosen = [self._groups_at(index).index.get_loc(label) for label in groups.index]
        with_band = plot_fixef and plot_ci
        return plots.group_lines(
            x,
            value["curves"][chosen],
            labels=list(groups.index),
            population=value["population"] if plot_fixef else None,
            lower=value["lower"] if with_band else None,
            upper=value["upper"] if with_band else None,
            figsize=figsize,
            xlabel=xlabel or param,
            ylabel=ylabel or self._outcome_label(),
            ax=ax,
        )

    def _outcome_label(self) -> str:
        response = self._parsed.response
        return response.name if isinstance(response, Name) else deparse(response)

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

    def _plot_coefficient(self, param, groups, figsize, xlabel, ylabel, plot_fixef, plot_ci, ax) -> Axes:
        row = self.coefs.loc[param] if plot_fixef and param in self.coefs.index else None
        low, high = tables.limit_columns(self._facts["level"])
        return plots.caterpillar(
            groups[param],
            population=None if row is None else row[tables.ESTIMATE],
            lower=row[low] if row is not None and plot_ci else None,
            upper=row[high] if row is not None and plot_ci else None,
            figsize=figsize,
            xlabel=xlabel or param,
            ylabel=ylabel,
            ax=ax,
        )

    def _grid(self, param: str) -> tuple[Any, dict[str, Column]]:
        """Return places along a predictor, and new data there with the others held."""
        names = list(dict.fromkeys([*self._predictors(use_rfx=False), *self._varying()]))
        columns = self._conformed(intake.rows_for(names, self._frame[self._used], "plot()")[0])
        column = columns[param]
        if column.kind == "factor":
            x, along = list(column.levels), replace(column, values=np.arange(1, len(column.levels) + 1, dtype=np.int32))
        elif column.kind == "logical":
            x, along = ["FALSE", "TRUE"], replace(column, values=np.array([0, 1], dtype=np.int32))
        else:
            x = np.linspace(column.values.min(), column.values.max(), _GRID)
            along = Column("double", x)
        return x, {name: along if name == param else _held(columns[name], len(x)) for name in names}

    def _varying(self) -> list[str]:
        """Return the columns whose coefficients vary between groups."""
        names = [name for term in self._parsed.random for name in names_in(term.expression)]
        return [name for name in names if name in self._frame.columns]


def _held(column: Column, n: int) -> Column:
    """Return `n` rows at the mean of a number, or at the first level of a factor."""
    if column.kind in ("double", "integer"):
        return Column("double", np.full(n, column.values.mean()))
    first = 1 if column.kind == "factor" else 0
    return replace(column, values=np.full(n, first, dtype=np.int32))
