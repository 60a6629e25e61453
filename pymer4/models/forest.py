"""The forest plot that all models share, and which groups stand behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.errors import OptionError, near, one_of, shown
from pymer4.plots import forest

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_INTERCEPTS = ("(Intercept)", "Intercept")
_NARROW = 0.1  # share of the value axis; when all terms but one have less, they can't be read


def coefficient_forest(
    coefs: pd.DataFrame,
    level: float,
    error_bars: str,
    plot_intercept: bool,
    points: pd.DataFrame | None = None,
    *,
    coef_fmt: str,
    label: str,
    grouped_by: str = "",
    ranef_alpha: float = 0.5,
    axlim: tuple[float, float] | None,
    **how: Any,
) -> Axes:
    """Draw a table of coefficients, behind each the values of the groups.

    Args:
        coefs: coefficient table of a model.
        level: confidence level of its limits.
        error_bars: `"ci"` for those limits, `"se"` for one standard error either way.
        plot_intercept: whether to draw the intercept.
        points: one row a group, a column for each term that varies between groups; None for no groups.
        coef_fmt: matplotlib format of the estimates.
        label: what the estimates are.
        grouped_by: what the groups are groups of.
        ranef_alpha: opacity of the groups' points.
        axlim: ends of the value axis; None for all that is drawn.
        **how: further arguments of `plots.forest`.

    Raises:
        OptionError: an argument out of its range.
    """
    one_of("error_bars", error_bars, ("ci", "se"))
    if not plot_intercept:
        coefs = coefs.drop(index=list(_INTERCEPTS), errors="ignore")
    estimates = coefs[tables.ESTIMATE]
    if error_bars == "ci":
        lower, upper = (coefs[name].to_numpy() for name in tables.limit_columns(level))
    else:
        lower, upper = ((estimates + side * coefs[tables.SE]).to_numpy() for side in (-1, 1))
    shown = [] if points is None else [term for term in coefs.index if term in points.columns]
    notes = [f"Points: the {len(points):,} groups of {grouped_by}."] if shown else []
    if axlim is None:
        notes += _crowded_out(estimates, lower, upper, points)
    return forest.forest(
        estimates,
        lower,
        upper,
        points=points if shown else None,
        fmt=coef_fmt,
        points_alpha=ranef_alpha,
        axlim=axlim,
        xlabel=label,
        note=" ".join(notes),
        **how,
    )


def _crowded_out(estimates: pd.Series, lower: np.ndarray, upper: np.ndarray, points: pd.DataFrame | None) -> list[str]:
    """Return a hint where one term takes so much of the value axis that the others, zero with them, are a dot."""
    reach = []
    for term, *values in zip(estimates.index, estimates, lower, upper, strict=True):
        values += list(points[term]) if points is not None and term in points.columns else []
        drawn = [value for value in (*values, 0.0) if np.isfinite(value)]
        reach.append((min(drawn), max(drawn)))
    low, high = np.array(reach).reshape(-1, 2).T
    if len(reach) < 2:
        return []
    widest = int(np.argmax(high - low))
    others = np.arange(len(reach)) != widest
    if high[others].max() - low[others].min() >= _NARROW * (high.max() - low.min()):
        return []
    term = str(estimates.index[widest])
    remedy = "plot_intercept=False leaves it out" if term in _INTERCEPTS else "axlim= cuts the axis"
    return [f"{term} takes up most of the axis; {remedy}."]


def grouping(which: int | str, names: Iterable[str]) -> int:
    """Return the place of a grouping factor, given by its name or as that place.

    Raises:
        OptionError: it is none of `names`.
    """
    names = list(names)
    if isinstance(which, str) and which in names:
        return names.index(which)
    if isinstance(which, (int, np.integer)) and not isinstance(which, bool) and 0 <= which < len(names):
        return int(which)
    listed = ", ".join(f"{i} ({name})" for i, name in enumerate(names))
    raise OptionError(f"ranef_idx={shown(which)} is not a grouping factor. Use one of: {listed}.{near(which, names)}")


def of_factor(frames: pd.DataFrame | list[pd.DataFrame], index: int) -> pd.DataFrame:
    """Return the frame of one grouping factor, where a model with a single one has no list."""
    return frames[index] if isinstance(frames, list) else frames
