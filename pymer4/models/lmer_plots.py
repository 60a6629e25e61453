"""Pictures of a fitted `Lmer`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pymer4.errors import confidence_level
from pymer4.models.forest import coefficient_forest, of_factor
from pymer4.models.lmer_curves import LmerCurves, chosen
from pymer4.models.pictures import panels, picture
from pymer4.plots import arguments, caterpillars

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class LmerPlots(LmerCurves):
    """The plotting methods of `Lmer`."""

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
        index = self._grouping(ranef_idx)
        return coefficient_forest(
            self.coefs,
            self._options.conf_level,
            error_bars,
            plot_intercept,
            self._groups_at(index)[list(of_factor(self.ranef, index).columns)] if ranef else None,
            coef_fmt=coef_fmt,
            ranef_alpha=ranef_alpha,
            grouped_by=list(self.grps)[index],
            label=self._estimates_drawn(),
            axlim=axlim,
            figsize=figsize,
            orient=orient,
            ax=ax,
        )

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
        order: caterpillars.Order = "value",
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
        index = self._grouping(ranef_idx)
        ranef = chosen(of_factor(self.ranef, index), grps)
        if terms is not None:
            ranef = ranef[arguments.names_among("terms", terms, list(ranef.columns))]
        return caterpillars.caterpillars(
            ranef,
            of_factor(self.ranef_se, index),
            conf_level=confidence_level(conf_level),
            order=order,
            figsize=figsize,
            xlabel=xlabel or "Deviation from the population",
            ylabel=ylabel or list(self.grps)[index],
            ax=ax,
        )
