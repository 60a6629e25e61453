"""What an `Lm2` answers by group: predictions, pictures, dispersions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from pymer4.data.columns import Column, level_name, places
from pymer4.data.group_levels import nest
from pymer4.data.ranks import Ranks
from pymer4.data.sample import Sample
from pymer4.errors import DataError, OptionError, few, one_of, shown, tells_keywords
from pymer4.fit import overdispersion
from pymer4.fit.distributions import distribution, link_function
from pymer4.infer.grids import Predictors
from pymer4.infer.targets import Question, Target
from pymer4.models.native import Lm2Fit, NativeModel
from pymer4.models.options import Lm2Options
from pymer4.plots.arguments import picture, place

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Lm2Groups(NativeModel):
    """The methods of `Lm2` that go by group."""

    fixef: pd.DataFrame | list[pd.DataFrame]
    grps: dict[str, int] | None
    rsquared_per_group: pd.Series
    rsquared_adj_per_group: pd.Series
    iscorrs: bool | str
    _levels: list[str]
    _options: Lm2Options
    _fit: Lm2Fit

    @tells_keywords()
    def predict(
        self,
        data: Any,
        *,
        pred_type: Literal["response", "link"] = "response",
        skip_data_checks: bool = False,
        verify_predictions: bool = False,
        interval: object = None,
        new_levels: Literal["error", "population"] = "error",
    ) -> np.ndarray:
        """Predict the outcome of rows old or new, each by the regression of its group.

        Args:
            data: the raw predictors and the grouping columns, any number of rows, in a frame of any kind.
            pred_type: scale of the outcome; both are one for a linear model.
            skip_data_checks: accepted for old code.
            verify_predictions: accepted for old code.
            interval: of an `Lm`; limits of the means over groups are in `infer(on="predictions")`.
            new_levels: what rows of groups do that the fit has not seen: stop, or get the prediction of the mean
                coefficients over groups.

        Returns:
            Predictions, shape (rows,), NaN where a value is missing or the group has no regression.

        Raises:
            DataError: a column is not there, or a group or level is not known.
            OptionError: after `fit(rank=True)`, since a new row has no rank in its group; for the population after
                `fit(to_corrs=)`; or an argument out of its range.
            FormulaError: a function of a whole column, such as `x.rank()`, that the fit does not tell for a new row.
            NotFittedError: before `fit()`.

        Examples:
            >>> import pandas as pd
            >>> from pymer4 import Lm2, load_dataset
            >>> model = Lm2("DV ~ IV1", load_dataset("sample_data"), group="Group")
            >>> _ = model.fit(summarize=False)
            >>> model.predict(pd.DataFrame({"IV1": [10.0, 10.0], "Group": [1, 2]})).round(1)
            array([29.7, 55.4])
        """
        self._require_fit("predict()")
        one_of("pred_type", pred_type, ("response", "link"))
        one_of("new_levels", new_levels, ("error", "population"))
        if interval is not None:
            raise OptionError(
                f"interval={shown(interval)} is not for an Lm2, whose predictions are of a regression a group. Leave "
                "it out, and call infer(on='predictions') for limits of their means over groups."
            )
        if self.ranked_data:
            raise OptionError(
                "After fit(rank=True) new rows have no rank in their group. Fit with rank=False to predict."
            )
        if new_levels == "population" and self.iscorrs:
            raise OptionError(
                "new_levels='population' takes the mean coefficients, and after fit(to_corrs=) these are correlations. "
                "Fit with to_corrs=False for it."
            )
        data = self._new_rows(data, *self._levels)
        X = self._design.matrix(data)[:, self._fit.kept]
        group = self._group_of(data, new_levels == "population")
        self._keep_asked("predictions", [Question("predictions", Target(X, self.link), rows=data.index)])
        mean = np.full(X.shape[1], np.nan) if self.iscorrs else self._fit.b
        b = np.vstack([self._fit.of_groups.to_numpy(), mean, np.full(X.shape[1], np.nan)])
        eta = np.einsum("ij,ij->i", X, b[group])
        return link_function(self.link).inverse(eta) if pred_type == "response" and not self._linear else eta

    def _grid_ranks(self) -> Mapping[str, Ranks]:
        if not self.ranked_data:
            return {}
        none, within = np.empty(0), " and ".join(self._levels)
        one = Ranks(within, Column("factor", none), none, none, none)
        return {name: one for name, axis in self._axes.items() if not axis.is_factor}

    def _grid_predictors(self) -> Predictors:
        if self.iscorrs:
            raise OptionError(
                "Marginal means are made of coefficients, and this fit has correlations. Leave to_corrs out."
            )
        return super()._grid_predictors()

    def _group_of(self, data: pd.DataFrame, takes_new: bool) -> np.ndarray:
        """Return the position of each row's group, that behind all for a new one, −1 where it is missing, (rows,)."""
        lacking = [name for name in self._levels if name not in data.columns]
        if lacking:
            raise DataError(f"predict() needs the column(s) {', '.join(map(repr, lacking))}, to know the rows' groups.")
        of_groups = self._fit.of_groups.index
        labels = [_alike(data[name], of_groups.get_level_values(i)) for i, name in enumerate(self._levels)]
        missing = np.any([label.isna() for label in labels], axis=0)
        rows = list(zip(*labels, strict=True)) if len(labels) > 1 else list(labels[0])
        keys, known = (pd.Index(each, dtype=object, tupleize_cols=False) for each in (rows, list(of_groups)))
        found = known.get_indexer(keys)
        unseen = list(dict.fromkeys(keys[(found < 0) & ~missing]))
        if unseen and not takes_new:
            raise DataError(
                f"The model was not fitted to the group(s) {few(unseen)} of {' and '.join(map(repr, self._levels))}, "
                "and has no regression for them. Predict them by the mean coefficients with new_levels='population', "
                "or drop these rows."
            )
        return np.where(missing, -1, np.where(found < 0, len(of_groups), found))

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
            >>> from pymer4 import Lm2, load_dataset
            >>> model = Lm2("DV ~ IV1", load_dataset("sample_data"), group="Group")
            >>> _ = model.fit(to_corrs=True, summarize=False)
            >>> model.plot_summary().get_xlabel()
            'Semi-partial r with DV (Fisher z)'
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


def _alike(given: pd.Series, known: pd.Index) -> pd.Series:
    """Return labels of groups as the fit has them, which are one number however it is written."""
    labels, known = list(given.dropna().unique()), list(known.unique())
    as_numbers = not all(isinstance(label, str) for label in [*labels, *known])
    found = places(map(level_name, labels), list(map(level_name, known)), as_numbers)
    alike = {label: known[place] for label, place in zip(labels, found, strict=True) if place >= 0}
    return given.astype(object).map(lambda label: alike.get(label, label))
