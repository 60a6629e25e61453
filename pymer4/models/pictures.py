"""The pictures that every kind of model has: its coefficients, residuals, partial regressions and marginal means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.data.families import link_named
from pymer4.errors import NotFittedError, OptionError, confidence_level, one_of
from pymer4.models.base import Model
from pymer4.plots import forest, marginal, residuals
from pymer4.plots.arguments import names_among, panels, picture
from pymer4.plots.axes import Frame
from pymer4.plots.residuals import Residuals
from pymer4.work import Seed, whole_seed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INTERCEPTS = ("(Intercept)", "Intercept")


class Pictures(Model):
    """Plotting methods of all models, of what any fit has."""

    @picture
    def plot_residuals(
        self,
        figsize: tuple[float, float] = (7, 5),
        xlabel: str = "",
        ylabel: str = "",
        ax: Axes | None = None,
        *,
        seed: Seed = 0,
    ) -> Axes:
        """Draw residuals against fitted values, with a smooth line that should lie near zero.

        Those of a linear model with weights are drawn times the square root of the weight, which makes their
        variances equal. Above 5,000 rows they are counted in hexagons.

        Generalized models have randomized quantile residuals (Dunn & Smyth 1996, Journal of Computational and
        Graphical Statistics 5): the normal quantile of each outcome's place in its fitted distribution, drawn evenly
        within the jump of a discrete one. They are standard normal under the right model, for 0 and 1 as well. In an
        `Lmer` the place is the rank of the outcome among 250 outcomes simulated with new random effects, ties at
        random, and the fitted values are those of the population, without random effects; residuals of one group then
        move together. Outcomes that no distribution of the family gives, such as counts that are not whole, leave
        deviance residuals.

        Args:
            figsize: inches.
            xlabel: label of the x axis; by default it names the outcome.
            ylabel: label of the y axis; by default the kind of residual.
            ax: axes to draw on.
            seed: what quantile residuals are drawn with, so that one seed gives one picture, here and in `plot_qq()`;
                None draws new ones each time.

        Returns:
            The axes drawn on.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: an argument out of its range.

        Examples:
            >>> import pandas as pd
            >>> from pymer4.models import Lm
            >>> data = pd.DataFrame({"hits": [0, 1, 1, 4, 3, 9], "x": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]})
            >>> model = Lm("hits ~ x", data, family="poisson")
            >>> _ = model.fit(summarize=False)
            >>> ax = model.plot_residuals()
            >>> ax.get_xlabel(), ax.get_ylabel()
            ('Fitted values (hits)', 'Quantile residuals')
        """
        drawn = self._residuals_drawn(seed)
        xlabel = xlabel or labelled(drawn.about, self._outcome_drawn("response"))
        frame = Frame(figsize=figsize, xlabel=xlabel, ylabel=ylabel or drawn.kind, ax=ax)
        return residuals.residuals_against_fitted(drawn.fits, drawn.values, robust=drawn.is_even, **frame)

    @picture
    def plot_qq(
        self,
        figsize: tuple[float, float] = (7, 5),
        xlabel: str = "",
        ylabel: str = "",
        ax: Axes | None = None,
        *,
        conf_level: float | None = 0.95,
        seed: Seed = 0,
    ) -> Axes:
        """Draw the residuals of `plot_residuals()` against normal quantiles.

        The line is R's `qqline`; for quantile residuals it is that of the standard normal distribution, so that more
        spread than the model allows for shows as a steeper slope. The band holds each ordered residual of an
        independent normal sample with probability `conf_level`. Deviance residuals are normal only roughly.

        Args:
            figsize: inches.
            xlabel: label of the x axis.
            ylabel: label of the y axis; by default the kind of residual.
            ax: axes to draw on.
            conf_level: probability of the band; None for no band.
            seed: what quantile residuals are drawn with; see `plot_residuals()`.

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
            >>> ax = model.plot_qq(conf_level=0.9)
            >>> ax.get_xlabel(), ax.get_ylabel()
            ('Normal quantiles', 'Residuals')
        """
        drawn = self._residuals_drawn(seed)
        level = None if conf_level is None else confidence_level(conf_level)
        frame = Frame(figsize=figsize, xlabel=xlabel or "Normal quantiles", ylabel=ylabel or drawn.kind, ax=ax)
        return residuals.quantiles(drawn.values, conf_level=level, is_standard=drawn.is_standard, **frame)

    @picture
    def plot_partial(
        self,
        term: str,
        figsize: tuple[float, float] = (7, 5),
        xlabel: str = "",
        ylabel: str = "",
        ax: Axes | None = None,
    ) -> Axes:
        """Draw an added-variable plot: the outcome against one column of the design, both less all other columns.

        The slope of the line is the coefficient of `term`. The offset is taken off the outcome, and where a model has
        groups with effects of their own, these too: that is what the coefficients are the least squares fit to
        (Henderson, 1975, Biometrics 31). With weights the regressions are weighted.

        Args:
            term: a coefficient, as `coefs` names it.
            figsize: inches.
            xlabel: label of the x axis.
            ylabel: label of the y axis.
            ax: axes to draw on.

        Returns:
            The axes drawn on.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: no such coefficient, a generalized model, or an argument out of its range.

        Examples:
            >>> import pandas as pd
            >>> from pymer4.models import Lm
            >>> data = pd.DataFrame({"y": [1.0, 3.0, 2.0, 6.0], "x": [0.0, 1.0, 2.0, 3.0], "z": [1.0, 0.0, 0.0, 1.0]})
            >>> model = Lm("y ~ x + z", data)
            >>> _ = model.fit(summarize=False)
            >>> model.plot_partial("x").get_ylabel()
            'y | others'
        """
        if not self._linear:
            raise OptionError(
                f"plot_partial() is for linear models; this one has family {self.family!r} and link {self.link!r}. "
                "Use plot_residuals()."
            )
        b = self.coefs[tables.ESTIMATE]
        (term,) = names_among("term", [term], list(b.index))
        design, used = self.design_matrix[list(b.index)], np.isfinite(self.residuals)
        x, others = (part.to_numpy(dtype=float) for part in (design[term], design.drop(columns=term)))
        y = design.to_numpy(dtype=float) @ b.to_numpy(dtype=float) + self.residuals[used]
        weights = self._prior_weights()
        weights = None if weights is None else weights[used]
        labels = xlabel or f"{term} | others", ylabel or f"{self._outcome()[0]} | others"
        frame = Frame(figsize=figsize, xlabel=labels[0], ylabel=labels[1], ax=ax)
        return residuals.partial_regression(x, y, others, weights=weights, **frame)

    @panels
    def plot_marginal(
        self,
        figsize: tuple[float, float] | None = None,
        xlabel: str = "",
        ylabel: str = "",
        ax: Axes | Sequence[Axes] | None = None,
        *,
        contrasts: bool = False,
    ) -> Axes | np.ndarray:
        """Draw the marginal means or slopes that `post_hoc()`, `emmeans()` or `emtrends()` returned last.

        The first variable runs along the x axis, a number as a line with a band; the second has a colour a level, with
        a kind of line or a mark of its own, each combination of the others a panel. The intervals are those of the
        table.

        Args:
            figsize: inches of the whole figure; by default 7 wide, as a page, and as high as the panels need.
            xlabel: label of the x axis.
            ylabel: label of the y axis; by default what the table holds, on which scale, and the outcome.
            ax: axes to draw on, as many as there are panels.
            contrasts: draw the contrasts in their place, down the page.

        Returns:
            The axes of a single panel, or those of all, shape (panels,).

        Raises:
            NotFittedError: before `fit()`, or when there are none yet.
            OptionError: another number of axes than of panels, or an argument out of its range.

        Examples:
            >>> from pymer4 import Lmer, load_dataset
            >>> model = Lmer("yield ~ Variety * nitro + (1 | Block)", load_dataset("Oats"))
            >>> _ = model.fit(summarize=False)
            >>> _ = model.emmeans("Variety", at={"nitro": [0.2]})
            >>> model.plot_marginal().get_ylabel(), model.plot_marginal(contrasts=True).get_xlabel()
            ('Marginal mean (yield)', 'Difference (yield)')
        """
        table = self.marginal_contrasts if contrasts else self.marginal_estimates
        if table is None:
            raise NotFittedError(
                f"plot_marginal() draws marginal {'contrasts' if contrasts else 'means or slopes'}, and there are none "
                "yet. Call post_hoc(), emmeans() or emtrends() first."
            )
        return self._marginal_picture(table, Frame(figsize=figsize, xlabel=xlabel, ylabel=ylabel, ax=ax))

    def _marginal_picture(self, table: pd.DataFrame, frame: Frame) -> Axes | np.ndarray:
        columns = table.attrs.get("columns", {})
        categories = [columns.get(name, name) for name in self._categories()]
        return marginal.marginal(table, categories=categories, label=self._marginal_drawn(table), **frame)

    # The left side of the formula as text and the columns it names; quantile residuals, if the outcome has some.
    _outcome: Callable[[], tuple[str, list[str]]]
    _quantile_residuals: Callable[[int | None], Residuals | None]

    def _prior_weights(self) -> np.ndarray | None:
        """Return the weight of each row of the data, shape (n,), or None."""
        return None

    def _categories(self) -> Iterable[str]:
        """Return the variables whose numbers are names of levels."""
        return ()

    def _residuals_drawn(self, seed: Seed) -> Residuals:
        """Return the residuals that the pictures are of."""
        seed, drawn = whole_seed(seed), Residuals("Residuals", self.fits, self._fits_named(), self.residuals)
        if not self._linear:
            return self._quantile_residuals(seed) or replace(drawn, kind="Deviance residuals", is_even=False)
        weights = self._prior_weights()
        if weights is None:
            return drawn
        return replace(drawn, kind="Residuals × √weight", values=self.residuals * np.sqrt(weights))

    def _forest(
        self, error_bars: str, plot_intercept: bool, groups: pd.DataFrame | None = None, of: str = "", **how: Any
    ) -> Axes:
        """Draw the coefficients, and behind them those of groups: a row each, a column a term that varies."""
        one_of("error_bars", error_bars, ("ci", "se"))
        across = one_of("orient", how["orient"], ("v", "h")) == "h"
        coefs = self.coefs if plot_intercept else self.coefs.drop(index=list(_INTERCEPTS), errors="ignore")
        estimates = coefs[tables.ESTIMATE]
        if error_bars == "ci":
            lower, upper = (coefs[name] for name in tables.limit_columns(self._options.conf_level))
        else:
            lower, upper = (estimates + side * coefs[tables.SE] for side in (-1, 1))
        notes = []
        if groups is not None and groups.columns.intersection(coefs.index).size:
            notes = [f"Points: the {len(groups):,} groups of {of}."]
        wide = forest.crowding(estimates, lower, upper, groups) if how["axlim"] is None else None
        if wide is not None:
            remedy = "plot_intercept=False leaves it out" if wide in _INTERCEPTS else "axlim= cuts the axis"
            notes += [f"{wide} takes up most of the axis; {remedy}."]
        how |= {"ylabel" if across else "xlabel": self._estimates_drawn(), "note": " ".join(notes)}
        return forest.forest(estimates, lower, upper, points=groups, **how)

    def _fits_named(self) -> str:
        return "Fitted probabilities" if self.family == "binomial" else "Fitted values"

    def _outcome_drawn(self, scale: str, undone: bool = False, sloped: bool = False) -> str:
        """Return what the outcome, a slope of it, or what a function of it was undone to, is called on a scale."""
        text, columns = self._outcome()
        if self._linear and undone and columns:
            return columns[0]
        if self._linear:
            return "" if sloped and scale == "response" and text not in columns else text
        if self.family == "binomial":
            text = columns[0] if columns else text
            text = f"probability of {text}" if sloped and scale == "response" else text
        return f"{link_named(self.family, self.link)}{text}" if scale == "link" else text

    def _estimates_drawn(self) -> str:
        """Return what the coefficients are, on which scale, and of which outcome."""
        return labelled(tables.ESTIMATE, self._outcome_drawn("link"))

    def _marginal_drawn(self, table: pd.DataFrame) -> str:
        """Return what marginal effects are, on which scale, and of which outcome."""
        return labelled(marginal.kind(table), self._outcome_drawn(**marginal.scale_of(table)))


def labelled(what: str, outcome: str) -> str:
    """Return a label with the outcome in brackets, where that has a name."""
    return f"{what} ({outcome})" if outcome else what
