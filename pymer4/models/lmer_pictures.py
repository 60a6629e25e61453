"""The pictures that only an `Lmer` has: curves of groups, and random effects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.data import intake
from pymer4.data.columns import Column
from pymer4.data.group_levels import chosen
from pymer4.data.rformula import RandomTerm
from pymer4.errors import OptionError, confidence_level
from pymer4.infer import grids
from pymer4.models.lmer_diagnosis import LmerDiagnosis
from pymer4.models.lmer_marginal import LmerMarginal
from pymer4.plots import arguments
from pymer4.plots.arguments import panels, picture
from pymer4.plots.axes import Frame
from pymer4.plots.groups import NAMED, Order, alike, caterpillar, caterpillars, group_lines
from pymer4.rbridge import bridge

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class LmerPictures(LmerMarginal, LmerDiagnosis):
    """The plotting methods of `Lmer`, and what those of all models need to know of it."""

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
        index = arguments.place("ranef_idx", ranef_idx, self.grps)
        groups = chosen(_of(self.fixef, index), grps)
        predictors = [name for name in self._predictors(use_rfx=False) if name not in self.grps]
        (param,) = arguments.names_among("param", [param], list(dict.fromkeys([*predictors, *groups.columns])))
        how: dict[str, Any] = {"figsize": figsize, "ylabel": ylabel, "ax": ax}
        if param in predictors:
            return self._plot_predictor(param, groups.index, index, plot_fixef, plot_fixef and plot_ci, xlabel, how)
        varying = list(_of(self.ranef, index).columns)
        if param not in varying:
            raise OptionError(
                f"param={param!r} is a coefficient that all groups of {list(self.grps)[index]} have in common. "
                f"Those that vary between them are: {', '.join(varying)}. plot_summary() draws the others."
            )
        if plot_fixef and param in self.coefs.index:
            limits = self.coefs.loc[param, list(tables.limit_columns(self._options.conf_level))].astype(float)
            how |= {"population": self.coefs.loc[param, tables.ESTIMATE], "limits": limits if plot_ci else None}
        return caterpillar(groups[param], xlabel=xlabel or param, **how)

    @picture
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
        ranef_idx: int | str = 0,
        *,
        ax: Axes | None = None,
    ) -> Axes:
        """Draw a forest plot of the coefficients over those of the groups.

        Terms with a random effect have a point a group behind them, the others have none. The value axis names the
        outcome and the scale of the estimates. Where the intercept takes up most of it, a note says how to leave it
        out.

        Args:
            figsize: inches.
            error_bars: `"ci"`, the limits computed by `fit()`, or `"se"`, one standard error either way.
            ranef: draw the coefficients of each group behind the estimates.
            axlim: ends of the value axis; by default all that is drawn.
            plot_intercept: draw the intercept.
            ranef_alpha: opacity of the groups' points.
            coef_fmt: matplotlib format of the estimates.
            orient: `"v"` lists the terms down the page, `"h"` across it.
            ranef_idx: which grouping factor: its name, or its place from 0 in the order of `grps`.
            ax: axes to draw on.

        Returns:
            The axes drawn on.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: an argument out of its range.

        Examples:
            >>> from pymer4 import Lmer, load_dataset
            >>> model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
            >>> _ = model.fit(summarize=False)
            >>> ax = model.plot_summary(plot_intercept=False)
            >>> ax.get_xlabel(), [tick.get_text() for tick in ax.get_yticklabels()]
            ('Estimate (Reaction)', ['Days'])
        """
        index = arguments.place("ranef_idx", ranef_idx, self.grps)
        groups = _of(self.fixef, index)[list(_of(self.ranef, index).columns)] if ranef else None
        how = {"fmt": coef_fmt, "points_alpha": ranef_alpha, "axlim": axlim, "figsize": figsize, "orient": orient}
        return self._forest(error_bars, plot_intercept, groups, list(self.grps)[index], ax=ax, **how)

    @panels
    def plot_ranef(
        self,
        figsize: tuple[float, float] | None = None,
        xlabel: str = "",
        ylabel: str = "",
        grps: Sequence[Any] = (),
        ax: Axes | Sequence[Axes] | None = None,
        *,
        ranef_idx: int | str = 0,
        terms: str | Sequence[str] | None = None,
        order: Order = "value",
        conf_level: float = 0.95,
    ) -> Axes | np.ndarray:
        """Draw the random effects of each group with their intervals, one panel a term.

        An interval is the group's deviation from the population ± z times its conditional standard deviation
        (`ranef_se`), as R's `dotplot(ranef(model))` draws it.

        Args:
            figsize: inches of the whole figure; by default 7 wide, as a page, and as high as the panels need.
            xlabel: label of the value axes.
            ylabel: label of the group axis; by default the grouping factor.
            grps: only these groups (labels of `ranef`); all by default.
            ax: axes to draw on, one a term.
            ranef_idx: which grouping factor: its name, or its place from 0 in the order of `grps`.
            terms: only these terms (columns of `ranef`); all by default.
            order: `"value"` sorts each panel, the largest on top; `"first"` sorts all as the first, so that a row is
                one group; `"given"` keeps the order of `ranef`, or of `grps`, from the top.
            conf_level: level of the intervals.

        Returns:
            The axes of a single term, or those of all, shape (terms,).

        Raises:
            NotFittedError: before `fit()`.
            OptionError: no such grouping factor, group or term, another number of axes than of terms, or an argument
                out of its range.

        Examples:
            >>> from pymer4 import Lmer, load_dataset
            >>> model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
            >>> _ = model.fit(summarize=False)
            >>> [ax.get_title() for ax in model.plot_ranef(order="first")]
            ['(Intercept)', 'Days']
        """
        index = arguments.place("ranef_idx", ranef_idx, self.grps)
        ranef = chosen(_of(self.ranef, index), grps)
        if terms is not None:
            ranef = ranef[arguments.names_among("terms", terms, list(ranef.columns))]
        xlabel, ylabel = xlabel or "Deviation from the population", ylabel or list(self.grps)[index]
        frame = Frame(figsize=figsize, xlabel=xlabel, ylabel=ylabel, ax=ax)
        level = confidence_level(conf_level)
        return caterpillars(ranef, _of(self.ranef_se, index), conf_level=level, order=order, **frame)

    def _plot_predictor(
        self, param: str, groups: pd.Index, index: int, fixef: bool, band: bool, xlabel: str, how: dict[str, Any]
    ) -> Axes:
        """Draw the outcome along a predictor, in each of the groups and in the population."""
        x, grid = self._grid(param)
        name = list(self.grps)[index]
        offset = self._per_row("offset", self._offset, self._frame)
        offset = None if offset is None else float(np.mean(offset[self._used]))
        value = bridge.call(
            "predictor_curves",
            model=self._for_new_rows,
            grid=grid,
            group=name,
            effects=[f"{term.effects} {'|' if term.correlated else '||'}" for term in self._random_terms(name)],
            level=self._options.conf_level,
            offset=0.0 if offset is None else offset,
        ).value
        curves = value["curves"][_of(self.fixef, index).index.get_indexer(groups)]
        labels, told = list(groups), self._groups_told(param, name, curves)
        if len(labels) > 1 and alike(curves):
            # One line stands for all: the population's, which is the same, where that is drawn.
            curves, labels = (curves[:0], []) if fixef else (curves[:1], [f"{len(labels):,} groups"])
        text, columns = self._outcome()
        outcome = f"Probability ({columns[0]})" if self.family == "binomial" and columns else text
        how["ylabel"] = how["ylabel"] or outcome
        how["xlabel"] = xlabel or (f"rank of {param}" if param in self._ranks else param)
        note = " ".join([*told, *grids.told({name: grid[name] for name in grid if name != param}, offset)])
        population, limits = value["population"] if fixef else None, (value["lower"], value["upper"]) if band else None
        return group_lines(x, curves, labels=labels, population=population, limits=limits, note=note, **how)

    def _groups_told(self, param: str, group: str, curves: np.ndarray) -> list[str]:
        """Return what has to be said of the groups' curves: how many they are, and whether they differ."""
        count = len(curves)
        if count < 2:
            return []
        if alike(curves):
            return [f"The {count:,} groups of {group} do not differ here: one line."]
        told = [f"Thin lines: {count:,} groups of {group}."] if count > NAMED else []
        if not any(param in term.varying for term in self._random_terms(group)):
            them = "them" if told else f"groups of {group}"
            seen = "their lines are parallel" if self._linear else f"parallel on the {self.link} scale"
            told.append(f"The effect of {param} does not vary between {them}: {seen}.")
        return told

    def _outcome(self) -> tuple[str, list[str]]:
        text, columns = self._reading.response.text, list(self._reading.response.columns)
        return f"rank of {text}" if any(name in self._ranks for name in columns) else text, columns

    def _prior_weights(self) -> np.ndarray | None:
        return self._per_row("weights", self._weights, self._frame)

    def _categories(self) -> Iterable[str]:
        return self._grid_predictors().factors

    def _random_terms(self, group: str) -> list[RandomTerm]:
        """Return the random-effects terms of one grouping factor, as they are written."""
        return [term for term in self._reading.random if any(each.is_called(group) for each in term.groupings)]

    def _grid(self, param: str) -> tuple[Any, dict[str, Column]]:
        """Return places along a predictor, and new data there with the others held."""
        names = list(dict.fromkeys(self._predictors(use_rfx=False, varying=True)))
        if self._ranks:
            taken = self._sample()[0].columns
            columns = intake.subset({name: taken[name] for name in names}, self._used)
        else:
            columns = intake.rows_for(names, self._frame[self._used], "plot()")[0]
        columns, factors = self._conformed(columns), self._grid_predictors().factors
        # Numbers that the formula makes factors of, such as x in `factor(x)`.
        numeric = [name for name in factors if self._kinds[name].kind in ("double", "integer")]
        levels = {name: np.asarray(factors[name], dtype=float) for name in numeric}
        x, along = grids.along(columns[param], levels.get(param))
        held = {name: grids.held(column, len(x), levels.get(name)) for name, column in columns.items()}
        return x, held | {param: along}


def _of(frames: pd.DataFrame | list[pd.DataFrame], index: int) -> pd.DataFrame:
    """Return the frame of one grouping factor, where a model with a single one has no list."""
    return frames[index] if isinstance(frames, list) else frames
