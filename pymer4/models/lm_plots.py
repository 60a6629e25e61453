"""The pictures of the models that need no R, and the forest plot of an `Lm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pymer4.data.sample import Sample
from pymer4.fit.quantile_residuals import quantile_residuals
from pymer4.models.base import spread
from pymer4.models.diagnosis_plots import DiagnosticPlots, Residuals
from pymer4.models.forest import coefficient_forest
from pymer4.models.pictures import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WHOLE = 1e-3  # how far R's glm() lets counts be from whole numbers


class NativePlots(DiagnosticPlots):
    """What the pictures of `Lm` and `Lm2` ask of them."""

    def _outcome(self) -> tuple[str, list[str]]:
        used = self._terms.outcome
        names = [name for name in (*used.values, *used.quoted) if name in self._frame.columns]
        return f"rank of {self._terms.label}" if self.ranked_data else self._terms.label, names

    def _quantile_residuals(self, seed: int | None) -> Residuals | None:
        """Return the quantile residuals of the fitted distributions; see `plot_residuals()`."""
        found = self._sample_fitted()
        mu, trials = self.fits[found.used], found.outcome.trials
        weights = np.ones_like(mu) if found.weights is None else found.weights
        if self.family == "binomial":
            trials = weights if trials is None else trials
        if not _has_distribution(self.family, found.y, trials):
            return None
        dispersion, theta = self._dispersions(found, mu, weights)
        values = quantile_residuals(
            found.y,
            mu,
            self.family,
            np.random.default_rng(seed).random(len(mu)),
            trials=trials,
            dispersion=dispersion / weights,
            theta=theta,
        )
        drawn = spread(values, found.used)
        return Residuals("Quantile residuals", self.fits, self._fits_named(), drawn, is_standard=True)


def _has_distribution(family: str, y: np.ndarray, trials: np.ndarray | None) -> bool:
    """Return whether a family gives such outcomes: counts are whole, the others above 0."""
    if family in ("gamma", "inverse_gaussian"):
        return bool((y > 0).all())
    if family == "gaussian":
        return True
    counts = y if trials is None else np.concatenate([trials, y * trials])
    return bool((np.abs(counts - np.round(counts)) <= _WHOLE).all())


class LmPlots(NativePlots):
    """The pictures of `Lm`."""

    @picture
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

        Where the intercept takes up most of the value axis, a note says how to leave it out.

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

        Examples:
            >>> import pandas as pd
            >>> from pymer4.models import Lm
            >>> data = pd.DataFrame({"y": [1.0, 3.0, 2.0, 6.0, 5.0], "x": [0.0, 1.0, 2.0, 3.0, 4.0]})
            >>> model = Lm("y ~ x", data)
            >>> _ = model.fit(summarize=False)
            >>> model.plot_summary(plot_intercept=False).get_xlabel()
            'Estimate (y)'
        """
        return coefficient_forest(
            self.coefs,
            self._options.conf_level,
            error_bars,
            plot_intercept,
            coef_fmt=coef_fmt,
            label=self._estimates_drawn(),
            axlim=axlim,
            figsize=figsize,
            orient=orient,
            ax=ax,
        )

    def _prior_weights(self) -> np.ndarray | None:
        weights = self._estimate.weights
        return None if weights is None else spread(weights, self._fit.used)

    def _sample_fitted(self) -> Sample:
        return self._sample()

    def _dispersions(self, *_: object) -> tuple[float, float | None]:
        return getattr(self._estimate, "dispersion", 1.0), self.theta
