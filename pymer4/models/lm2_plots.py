"""The pictures of an `Lm2`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pymer4.data.group_levels import nest
from pymer4.data.sample import Sample
from pymer4.fit import overdispersion
from pymer4.fit.distributions import distribution
from pymer4.models.forest import coefficient_forest, grouping, of_factor
from pymer4.models.lm_plots import NativePlots
from pymer4.models.pictures import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Lm2Plots(NativePlots):
    """The pictures of `Lm2`."""

    @picture
    def plot_summary(
        self,
        figsize: tuple[float, float] = (12, 6),
        error_bars: str = "ci",
        ranef: bool = True,
        axlim: tuple[float, float] | None = None,
        ranef_alpha: float = 0.5,
        coef_fmt: str = "o",
        orient: str = "v",
        *,
        plot_intercept: bool = True,
        ranef_idx: int | str = 0,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Axes:
        """Draw a forest plot of the coefficients over those of the groups.

        After `fit(to_corrs=)` they are correlations, which the value axis names. Where the intercept takes up most of
        that axis, a note says how to leave it out.

        Args:
            figsize: inches.
            error_bars: `"ci"`, the limits computed by `fit()`, or `"se"`, one standard error either way.
            ranef: draw the coefficients of each group behind the estimates.
            axlim: ends of the value axis; by default all that is drawn.
            ranef_alpha: opacity of the groups' points.
            coef_fmt: matplotlib format of the estimates.
            orient: `"v"` lists the terms down the page, `"h"` across it.
            plot_intercept: draw the intercept.
            ranef_idx: the groups of which level: the name of its column, or its place in `group`, 0 the outermost.
            ax: axes to draw on.
            **kwargs: there is no other argument.

        Returns:
            The axes drawn on.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: an argument out of its range.

        Examples:
            >>> import pandas as pd
            >>> from pymer4.models import Lm2
            >>> x = [0.0, 1.0, 2.0, 3.0] * 2
            >>> y = [1.0, 2.0, 3.5, 3.0, 0.0, 2.0, 4.5, 5.0]
            >>> model = Lm2("y ~ x", pd.DataFrame({"y": y, "x": x, "g": list("aaaabbbb")}), group="g")
            >>> _ = model.fit(to_corrs=True, summarize=False)
            >>> model.plot_summary().get_xlabel()
            'Semi-partial r with y (Fisher z)'
        """
        place = grouping(ranef_idx, self._levels)
        groups = of_factor(self.fixef, place).dropna()
        return coefficient_forest(
            self.coefs,
            self._options.conf_level,
            error_bars,
            plot_intercept,
            groups if ranef else None,
            coef_fmt=coef_fmt,
            ranef_alpha=ranef_alpha,
            grouped_by=self._levels[place],
            label=self._estimates_drawn(),
            axlim=axlim,
            figsize=figsize,
            orient=orient,
            ax=ax,
        )

    def _estimates_drawn(self) -> str:
        if not self.iscorrs:
            return super()._estimates_drawn()
        kind = {"semi": "Semi-partial", "partial": "Partial"}[str(self.iscorrs)]
        scale = " (Fisher z)" if self._options.ztrans_corrs else ""
        return f"{kind} r with {self._outcome()[0]}{scale}"

    def _sample_fitted(self) -> Sample:
        return self._sample()[1]

    def _dispersions(self, found: Sample, mu: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return Pearson's dispersion of each row's regression, 1 for a family without one, and its theta, if any."""
        level = nest([self._frame[name][found.used].reset_index(drop=True) for name in self._levels])[-1]
        if self.family == "nbinom":
            theta = np.full(len(mu), np.nan)
            for code in np.unique(level.codes[np.isfinite(mu)]):
                here = level.codes == code
                counts = overdispersion.Outcomes(found.y[here], weights[here])
                theta[here] = overdispersion.estimate(counts, mu[None, here])[0]
            return np.ones(1), theta
        law = distribution(self.family)
        if not law.has_dispersion:
            return np.ones(1), None
        squares = weights * (found.y - mu) ** 2 / law.variance(mu)
        df = np.bincount(level.codes) - found.X.shape[1]
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.bincount(level.codes, squares) / np.where(df > 0, df, np.nan)
        return spread[level.codes], None
