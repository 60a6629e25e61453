"""Pictures of a fitted `Lmer`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pymer4.errors import OptionError, near
from pymer4.models.base import confidence_level, truth
from pymer4.models.forest import coefficient_forest, of_factor
from pymer4.models.lmer_curves import LmerCurves, chosen
from pymer4.plotting import caterpillars

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class LmerPlots(LmerCurves):
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
        ranef_idx: int | str = 0,
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
            ranef_idx: which grouping factor: its name, or its place from 0 in the order of `grps`.
            ax: axes to draw on.

        Returns:
            The axes drawn on.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: an argument out of its range.
        """
        self._require_fit("plot_summary()")
        return coefficient_forest(
            self.coefs,
            self._facts["level"],
            error_bars,
            plot_intercept,
            self._groups_at(ranef_idx) if truth("ranef", ranef) else None,
            coef_fmt=coef_fmt,
            ranef_alpha=ranef_alpha,
            axlim=axlim,
            figsize=figsize,
            orient=orient,
            ax=ax,
        )

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
            figsize: inches of the whole figure; by default as wide as the panels need.
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
            OptionError: no such grouping factor, group or term, or another number of axes than of terms.
        """
        self._require_fit("plot_ranef()")
        index = self._grouping(ranef_idx)
        ranef = chosen(of_factor(self.ranef, index), grps)
        wanted = [terms] if isinstance(terms, str) else list(ranef.columns if terms is None else terms)
        for term in wanted:
            if term not in ranef.columns:
                known = ", ".join(ranef.columns)
                raise OptionError(f"terms has {term!r}, no random effect. Use: {known}.{near(term, ranef.columns)}")
        return caterpillars.caterpillars(
            ranef[wanted],
            of_factor(self.ranef_se, index),
            conf_level=confidence_level(conf_level),
            order=order,
            figsize=figsize,
            xlabel=xlabel or "Deviation from the population",
            ylabel=ylabel or list(self.grps)[index],
            ax=ax,
        )
