"""The forest plot of an `Lm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pymer4.models.base import spread
from pymer4.models.forest import coefficient_forest

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class LmPlots:
    """The forest plot of `Lm`, and what the plots of every model ask of it."""

    def plot_summary(
        self,
        figsize: tuple[float, float] = (12, 6),
        error_bars: str = "ci",
        axlim: tuple[float, float] | None = None,
        plot_intercept: bool = True,
        coef_fmt: str = "o",
        orient: str = "v",
        *,
        ax: Axes | None = None,
    ) -> Axes:
        """Draw a forest plot of the coefficients.

        Args:
            figsize: inches.
            error_bars: `"ci"`, the limits computed by `fit()`, or `"se"`, one standard error either way.
            axlim: ends of the value axis; by default all that is drawn.
            plot_intercept: draw the intercept.
            coef_fmt: matplotlib format of the estimates.
            orient: `"v"` lists the terms down the page, `"h"` across it.
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
            self._settings["level"],
            error_bars,
            plot_intercept,
            coef_fmt=coef_fmt,
            axlim=axlim,
            figsize=figsize,
            orient=orient,
            ax=ax,
        )

    def _outcome(self) -> tuple[str, list[str]]:
        used = self._terms.outcome
        names = [name for name in (*used.values, *used.quoted) if name in self._frame.columns]
        return self._terms.label, names

    def _prior_weights(self) -> np.ndarray | None:
        weights = self._estimate.weights
        return None if weights is None else spread(weights, self._facts["used"])
