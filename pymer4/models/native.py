"""What the models that need no R share, and what each of them draws of its coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pymer4.data.group_levels import nest
from pymer4.data.sample import Sample
from pymer4.fit import overdispersion
from pymer4.fit.distributions import distribution
from pymer4.fit.quantile_residuals import quantile_residuals
from pymer4.models.base import Model, spread
from pymer4.models.pictures import Pictures
from pymer4.plots.arguments import picture, place
from pymer4.plots.residuals import Residuals
from pymer4.work import one_blas_thread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WHOLE = 1e-3  # how far R's glm() lets counts be from whole numbers


class NativeModel(Pictures, Model):
    """A model that is fitted by NumPy."""

    def _fit_with(self, options: Any, show: bool) -> pd.DataFrame | None:
        with one_blas_thread(self.data.size):
            return super()._fit_with(options, show)

    def _forget(self) -> None:
        super()._forget()
        self.rsquared: float | None = None
        self.rsquared_adj: float | None = None
        self.se_type: str | None = None
        self.marginal_estimates: pd.DataFrame | None = None
        self.marginal_contrasts: pd.DataFrame | None = None
        self.model_obj = None

    def _ranked(self, variables: Mapping[Any, Any]) -> list[Any]:
        """Return the columns of which ranks were fitted, of what a design has learned of each."""
        return [name for name, told in variables.items() if told.is_number] if self.ranked_data else []

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


class LmPictures:
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
        how = {"fmt": coef_fmt, "axlim": axlim, "figsize": figsize, "orient": orient, "ax": ax}
        return self._forest(error_bars, plot_intercept, **how)

    def _prior_weights(self) -> np.ndarray | None:
        weights = self._estimate.weights
        return None if weights is None else spread(weights, self._fit.used)

    def _sample_fitted(self) -> Sample:
        return self._sample()

    def _dispersions(self, *_: object) -> tuple[float, float | None]:
        return getattr(self._estimate, "dispersion", 1.0), self.theta


class Lm2Pictures:
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
        level = self._levels[place("ranef_idx", ranef_idx, self._levels)]
        groups = self.fixef[self._levels.index(level)] if isinstance(self.fixef, list) else self.fixef
        how = {"fmt": coef_fmt, "points_alpha": ranef_alpha, "axlim": axlim, "figsize": figsize, "orient": orient}
        return self._forest(error_bars, plot_intercept, groups.dropna() if ranef else None, level, ax=ax, **how)

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


def _has_distribution(family: str, y: np.ndarray, trials: np.ndarray | None) -> bool:
    """Return whether a family gives such outcomes: counts are whole, the others above 0."""
    if family in ("gamma", "inverse_gaussian"):
        return bool((y > 0).all())
    if family == "gaussian":
        return True
    counts = y if trials is None else np.concatenate([trials, y * trials])
    return bool((np.abs(counts - np.round(counts)) <= _WHOLE).all())
