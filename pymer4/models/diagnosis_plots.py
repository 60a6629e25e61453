"""The pictures that every kind of model has: residuals, quantiles, partial regression, marginal means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.errors import NotFittedError, OptionError, near
from pymer4.families import is_linear
from pymer4.models.base import confidence_level, truth
from pymer4.plotting import diagnostic_plots, marginal_plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class DiagnosticPlots:
    """Plotting methods of all models.

    They read `fits`, `residuals`, `design_matrix`, `coefs` and the marginal tables. What a model knows beyond that it
    tells by `_outcome`, `_prior_weights` and `_categories`.
    """

    def plot_residuals(
        self,
        figsize: tuple[float, float] = (8, 6),
        xlabel: str = "",
        ylabel: str = "",
        ax: Axes | None = None,
    ) -> Axes:
        """Draw residuals against fitted values, with a smooth line that should lie near zero.

        Generalized models have deviance residuals. Those of a linear model with weights are drawn times the
        square root of the weight, which makes their variances equal. Above 5,000 rows they are counted in hexagons.

        Args:
            figsize: inches.
            xlabel: label of the x axis; by default it names the outcome.
            ylabel: label of the y axis; by default the kind of residual.
            ax: axes to draw on.

        Returns:
            The axes drawn on.

        Raises:
            NotFittedError: before `fit()`.
        """
        self._require_fit("plot_residuals()")
        what, residuals = self._residuals_drawn()
        kind = "probabilities" if self.family == "binomial" else "values"
        return diagnostic_plots.residuals_against_fitted(
            self.fits,
            residuals,
            robust=self._is_least_squares(),
            figsize=figsize,
            xlabel=xlabel or _labelled(f"Fitted {kind}", self._outcome_drawn("response")),
            ylabel=ylabel or what,
            ax=ax,
        )

    def plot_qq(
        self,
        figsize: tuple[float, float] = (8, 6),
        xlabel: str = "",
        ylabel: str = "",
        ax: Axes | None = None,
        *,
        conf_level: float | None = 0.95,
    ) -> Axes:
        """Draw the residuals of `plot_residuals()` against normal quantiles, with R's `qqline`.

        The band holds each ordered residual of an independent normal sample with probability `conf_level`. Deviance
        residuals are normal only roughly; those of counts near zero, and of 0 and 1, are not.

        Args:
            figsize: inches.
            xlabel: label of the x axis.
            ylabel: label of the y axis; by default the kind of residual.
            ax: axes to draw on.
            conf_level: probability of the band; None for no band.

        Returns:
            The axes drawn on.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: a level that is none.
        """
        self._require_fit("plot_qq()")
        what, residuals = self._residuals_drawn()
        return diagnostic_plots.quantiles(
            residuals,
            conf_level=None if conf_level is None else confidence_level(conf_level),
            figsize=figsize,
            xlabel=xlabel or "Normal quantiles",
            ylabel=ylabel or what,
            ax=ax,
        )

    def plot_partial(
        self,
        term: str,
        figsize: tuple[float, float] = (8, 6),
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
            OptionError: no such coefficient, or a generalized model.
        """
        self._require_fit("plot_partial()")
        if not self._is_least_squares():
            raise OptionError(
                f"plot_partial() is for linear models; this one has family {self.family!r} and link {self.link!r}. "
                "Use plot_residuals()."
            )
        b = self.coefs[tables.ESTIMATE]
        if term not in b.index:
            raise OptionError(
                f"term={term!r} is no coefficient. Use one of: {', '.join(b.index)}.{near(term, b.index)}"
            )
        design, used = self.design_matrix[list(b.index)], np.isfinite(self.residuals)
        weights = self._prior_weights()
        return diagnostic_plots.partial_regression(
            design[term].to_numpy(dtype=float),
            design.to_numpy(dtype=float) @ b.to_numpy(dtype=float) + self.residuals[used],
            design.drop(columns=term).to_numpy(dtype=float),
            weights=None if weights is None else weights[used],
            figsize=figsize,
            xlabel=xlabel or f"{term} | others",
            ylabel=ylabel or f"{self._outcome()[0] or 'outcome'} | others",
            ax=ax,
        )

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

        The first variable runs along the x axis, a number as a line with a band; the second has a colour a level,
        each combination of the others a panel. The intervals are those of the table.

        Args:
            figsize: inches of the whole figure; by default as large as the panels need.
            xlabel: label of the x axis.
            ylabel: label of the y axis; by default what the table holds, on which scale, and the outcome.
            ax: axes to draw on, as many as there are panels.
            contrasts: draw the contrasts in their place, down the page.

        Returns:
            The axes of a single panel, or those of all, shape (panels,).

        Raises:
            NotFittedError: before `fit()`, or when there are none yet.
            OptionError: another number of axes than of panels.
        """
        self._require_fit("plot_marginal()")
        contrasts = truth("contrasts", contrasts)
        table = self.marginal_contrasts if contrasts else self.marginal_estimates
        if table is None:
            raise NotFittedError(
                f"plot_marginal() draws marginal {'contrasts' if contrasts else 'means or slopes'}, and there are none "
                "yet. Call post_hoc(), emmeans() or emtrends() first."
            )
        label = _labelled(marginal_plots.kind(table), self._outcome_drawn(**_about(table)))
        columns = table.attrs.get("columns", {})
        return marginal_plots.marginal(
            table,
            categories=[columns.get(name, name) for name in self._categories()],
            figsize=figsize,
            xlabel=xlabel or (label if contrasts else ""),
            ylabel=ylabel or ("" if contrasts else label),
            ax=ax,
        )

    def _outcome(self) -> tuple[str, list[str]]:
        """Return the left side of the formula as text, and the columns it names; empty where they are not known."""
        return "", []

    def _prior_weights(self) -> np.ndarray | None:
        """Return the weight of each row of the data, shape (n,), or None."""
        return None

    def _categories(self) -> Iterable[str]:
        """Return the variables whose numbers are names of levels."""
        return ()

    def _is_least_squares(self) -> bool:
        return is_linear(self.family, self.link)

    def _residuals_drawn(self) -> tuple[str, np.ndarray]:
        """Return what the residuals are, and these, shape (n,)."""
        if not self._is_least_squares():
            return "Deviance residuals", self.residuals
        weights = self._prior_weights()
        if weights is None:
            return "Residuals", self.residuals
        return "Residuals × √weight", self.residuals * np.sqrt(weights)

    def _outcome_drawn(self, scale: str, undone: bool = False, sloped: bool = False) -> str:
        """Return what the outcome is called on a scale.

        Args:
            scale: "response" or "link".
            undone: whether a function of the outcome was undone.
            sloped: whether it is a slope or a difference.
        """
        text, columns = self._outcome()
        if not text:
            return ""
        if self._is_least_squares():
            if undone and columns:
                return columns[0]
            return "" if sloped and scale == "response" and text not in columns else text
        if self.family == "binomial":
            text = columns[0] if columns else text
            text = f"probability of {text}" if sloped and scale == "response" else text
        return f"{self.link} of {text}" if scale == "link" else text


def _about(table: pd.DataFrame) -> dict[str, Any]:
    """Return the scale of a table of marginal estimates and contrasts, as `_outcome_drawn` takes it."""
    name = table.attrs.get("estimate", "emmean")
    return {
        "scale": table.attrs.get("scale", "response"),
        "undone": name in ("response", "ratio"),
        "sloped": name in ("trend", "estimate"),
    }


def _labelled(what: str, outcome: str) -> str:
    return f"{what} ({outcome})" if outcome else what
